"""One's own grids: files to sequences, what is left out of them, and what a scale makes of them."""

import os
import pickle

import h5py
import numpy as np
import pytest
from grid_fixtures import (
    HEIGHT,
    WIDTH,
    dataset_of,
    dates,
    labeled,
    moving_rain,
    outside,
    write_zarr,
)
from numpy.lib.stride_tricks import sliding_window_view

from e3d.data.preparation import describe
from e3d.data.sources import grid_setup, grid_survey, hour_averages
from e3d.data.sources.calendar import calendar_features
from e3d.data.sources.grids import GridsDataset
from e3d.data.sources.registry import open_source, scale_of, simple_forecasts, with_scale
from e3d.data.sources.scales import Scale
from e3d.errors import InputError

SPLITS = ('train', 'validation', 'test')
ALL = {'split_fractions': (1.0, 0.0, 0.0)}


def opened(path, split='train', **values):
    return open_source(dataset_of(path, **values), split)


@pytest.fixture(scope='module')
def rain():
    return moving_rain(40)


@pytest.mark.parametrize('kind', ['npy', 'npz', 'h5', 'nc', 'zarr', 'folder'])
def test_every_kind_of_file_gives_the_same_sequences(tmp_path, rain, kind):
    path, values = tmp_path / f'rain.{kind}', {}
    match kind:
        case 'npy':
            np.save(path, rain)
        case 'npz':
            np.savez(path, rain=rain, time=dates(40))
        case 'h5':
            with h5py.File(path, 'w') as file:
                stored = np.where(np.isnan(rain), -1, np.rint(rain * 1000)).astype(np.int32)
                file.create_dataset('rain', data=stored, chunks=(1, HEIGHT, WIDTH), compression=1)
                file['rain'].attrs.update(
                    {'scale_factor': 0.001, '_FillValue': -1, 'units': 'mm/h'}
                )
                file['time'] = np.arange(40) * 0.5
                file['time'].attrs['units'] = 'hours since 2020-03-01 22:00'
        case 'nc' | 'zarr':
            values = {'variables': ('rain',)}
            content = labeled()
            content.to_netcdf(path, engine='h5netcdf') if kind == 'nc' else write_zarr(
                content, path
            )
        case _:  # of days, in any order of their names
            path.mkdir()
            for name, part in (('b', slice(0, 17)), ('a', slice(17, 40))):
                np.savez(path / f'{name}.npz', rain=rain[part], time=dates(40)[part])
    source = opened(path, **values)
    assert len(source) == 29 and source.masked  # of 32 frames
    first = source[3]
    valid = ~np.isnan(rain[3:7, ..., None])
    np.testing.assert_array_equal(first['valid'], valid)
    low, high = np.nanmin(rain[:32]), np.nanmax(rain[:32])
    expected = np.where(valid, (rain[3:7, ..., None] - low) / (high - low), 0)
    np.testing.assert_allclose(first['frames'], expected, atol=1e-4)
    np.testing.assert_allclose(source.scale.value_range, (low, high), atol=1e-3)
    assert [len(opened(path, split, **values)) for split in SPLITS] == [29, 3, 3]
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[3]['frames'], first['frames'])


def test_nothing_is_read_that_is_not_asked_for(tmp_path, rain, monkeypatch):
    monkeypatch.setattr(grid_survey, 'BLOCK_BYTES', 4 * HEIGHT * WIDTH * 3)
    np.save(tmp_path / 'rain.npy', rain)
    read = []
    inner = grid_setup.Timeline.read
    monkeypatch.setattr(
        grid_setup.Timeline, 'read', lambda self, *a: read.append(a[2] - a[1]) or inner(self, *a)
    )
    source = opened(tmp_path / 'rain.npy')
    assert max(read) == 3 and sum(read) == 40
    source[5]
    opened(tmp_path / 'rain.npy', 'test')  # of the same files, which are not looked through again
    assert read[-1] == 4 and sum(read) == 44


def test_gaps_in_time_are_not_crossed_and_series_are_kept_apart(tmp_path, rain):
    labeled(without=(10, 11)).to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    source = opened(tmp_path / 'rain.nc', variables=('rain',), **ALL)
    assert source.starts.tolist() == [*range(7), *range(10, 35)]
    assert 'in 2 stretches without a gap' in source.account[0]
    series = np.stack([rain[:5], rain[20:25], rain[30:35]])
    np.save(tmp_path / 'rain.npy', series[..., None])
    source = opened(tmp_path / 'rain.npy', stride=2, **ALL)
    assert source.starts.tolist() == [0, 5, 10]
    thirds = {'split_fractions': (0.4, 0.3, 0.3)}
    assert [opened(tmp_path / 'rain.npy', s, **thirds).starts.tolist() for s in SPLITS] == [
        [0, 1], [5, 6], [10, 11],
    ]  # fmt: skip


def test_dates_divide_and_only_what_is_forecast_must_lie_in_the_part(tmp_path):
    labeled().to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    values = {'variables': ('rain',), 'split_dates': ('2020-03-02T08:00', '2020-03-02T13:00')}
    found = [opened(tmp_path / 'rain.nc', split, **values).starts for split in SPLITS]
    assert [(starts[0], starts[-1]) for starts in found] == [(0, 16), (18, 26), (28, 36)]


def test_the_mask_and_a_missing_value_hide_whatever_stands_there(tmp_path, rain):
    paths = []
    for number, hidden in enumerate((0.0, 1e30)):
        folder = tmp_path / str(number)
        folder.mkdir()
        values = np.where(outside(), np.float32(hidden), rain)
        values[12, 4, 4] = 65535
        np.save(folder / 'rain.npy', values)
        paths.append(folder / 'rain.npy')
    np.save(tmp_path / 'mask.npy', ~outside())
    options = {'mask': str(tmp_path / 'mask.npy'), 'missing': 65535.0, 'transform': 'dBZ'}
    one, other = (opened(path, **options) for path in paths)
    assert one.scale == other.scale and one.scale.value_range[1] < 50
    for index in range(len(one)):
        for key, array in one[index].items():
            np.testing.assert_array_equal(other[index][key], array)
    assert not one[11]['valid'][1, 4, 4] and one[11]['valid'][0, 4, 4]


@pytest.mark.parametrize('name', ['mask.npz', 'mask.h5', 'mask.nc'])
def test_a_mask_lies_in_a_file_of_any_kind(tmp_path, rain, name):
    mask = (~outside()).astype(np.uint8)
    match name:
        case 'mask.npz':
            np.savez(tmp_path / name, land=mask)
        case 'mask.h5':
            with h5py.File(tmp_path / name, 'w') as file:
                file['land'] = mask
        case _:
            xarray = pytest.importorskip('xarray')
            xarray.Dataset({'land': (('y', 'x'), mask)}).to_netcdf(tmp_path / name)
    np.save(tmp_path / 'mask.npy', mask)
    np.save(tmp_path / 'rain.npy', rain)
    one, other = (
        opened(tmp_path / 'rain.npy', mask=str(tmp_path / file)) for file in ('mask.npy', name)
    )
    np.testing.assert_array_equal(one[0]['valid'], other[0]['valid'])
    for file, field in (('mask.npy', 'mask'), (name, 'land')):
        message = rf'no grids over time, only fields \[H, W\]: {field}'
        with pytest.raises(InputError, match=message):
            opened(tmp_path / file)


def test_a_mask_for_each_channel_is_told_where_it_must_lie(tmp_path, rain):
    np.savez(tmp_path / 'mask.npz', land=np.ones((*rain.shape[1:3], 2), bool))
    np.save(tmp_path / 'rain.npy', rain)
    with pytest.raises(
        InputError, match=r'one for each channel, \[H, W, C\], must be an .npy file'
    ):
        opened(tmp_path / 'rain.npy', mask=str(tmp_path / 'mask.npz'))


@pytest.mark.parametrize('kind', ['npz', 'npy'])
def test_a_mask_for_each_channel_hides_its_own(tmp_path, kind):
    values = np.random.default_rng(0).random((40, HEIGHT, WIDTH, 3), np.float32)
    path, mask = tmp_path / f'all.{kind}', np.ones((HEIGHT, WIDTH, 3), bool)
    if kind == 'npz':  # a variable of two channels, and one of one
        np.savez(path, uv=values[..., :2], rain=values[..., 2])
    else:
        np.save(path, values)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = False
    np.save(tmp_path / 'mask.npy', mask)
    sequence = opened(path, mask=str(tmp_path / 'mask.npy'))[0]
    for frame in sequence['valid']:
        np.testing.assert_array_equal(frame, mask)
    assert sequence['frames'].shape == (4, HEIGHT, WIDTH, 3)
    for shape in ((HEIGHT, WIDTH, 2), (HEIGHT, WIDTH, 4), (1, HEIGHT, WIDTH)):
        np.save(tmp_path / 'mask.npy', np.ones(shape, bool))
        with pytest.raises(
            InputError, match=r'shape \(.*\); it must be \(9, 10\), .* or \(9, 10, 3\), with a chan'
        ):
            opened(path, mask=str(tmp_path / 'mask.npy'))


def test_targets_and_what_is_known_beside_them(tmp_path):
    labeled().to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    values = {'static': ('orography',), 'calendar': ('hour', 'weekday')}
    before = opened(tmp_path / 'rain.nc', targets=('rain',), **values)[5]
    assert {key: array.shape[-1] for key, array in before.items()} == {
        'frames': 1, 'valid': 1, 'known': 5, 'others': 2,
    }  # fmt: skip
    assert all(before[key].min() >= 0 and before[key].max() <= 1 for key in ('known', 'others'))
    np.testing.assert_allclose(
        before['known'][:, 0, 0, 1],
        [0.5 + 0.5 * np.sin(t * np.pi / 24) for t in (1, 2, 3, 4)],
        atol=1e-6,
    )
    ahead = opened(tmp_path / 'rain.nc', known=('wind',), **values)[5]
    np.testing.assert_array_equal(ahead['known'][..., :5], before['known'])
    np.testing.assert_array_equal(ahead['known'][..., 5:], before['others'])
    both = opened(tmp_path / 'rain.nc')
    assert both[0]['frames'].shape[-1] == 2 and len(both.scale.ranges) == 2


def test_each_variable_is_scaled_by_its_own_range_and_the_calendar_goes_on(tmp_path):
    random = np.random.default_rng(0)
    ranges = {'rain': (0, 10), 'wind': (-5, 5), 'heat': (50, 100)}
    arrays = {name: random.uniform(*ends, (40, 8, 8)) for name, ends in ranges.items()}
    np.savez(tmp_path / 'all.npz', time=dates(40), **arrays)
    source = opened(tmp_path / 'all.npz', targets=('rain',), known=('wind',), **ALL)
    whole = source.setup.sequence(0, 40, source.scale, source.masked)
    for kind, name in (('frames', 'rain'), ('known', 'wind'), ('others', 'heat')):
        low, high = arrays[name].min(), arrays[name].max()
        expected = (arrays[name] - low) / (high - low)
        np.testing.assert_allclose(whole[kind][..., 0], expected, atol=1e-5)
    source = opened(tmp_path / 'all.npz', calendar=('hour',), **ALL)
    ahead = source.setup.sequence(38, 40, source.scale, source.masked, ahead=3)['known']
    expected = calendar_features(dates(43)[38:], ('hour',))
    np.testing.assert_allclose(ahead[:, 2, 3], expected, atol=1e-6)


def test_sequences_without_truth_are_left_out_by_name(tmp_path, rain):
    values = rain.copy()
    values[14:17] = np.nan
    np.save(tmp_path / 'rain.npy', values)
    source = opened(tmp_path / 'rain.npy', **ALL)
    assert [one.name for one in source.left_out] == [
        'the sequence from frame 12 on', 'the sequence from frame 13 on',
    ]  # fmt: skip
    values[10:] = np.nan
    np.save(tmp_path / 'rain.npy', values)
    with pytest.raises(InputError, match=r"split 'test' .* has no sequences: none of what is"):
        opened(tmp_path / 'rain.npy', 'test')


def test_crops_are_cut_out_anywhere_for_training_alone(tmp_path, rain):
    np.save(tmp_path / 'rain.npy', rain)
    whole, source = (opened(tmp_path / 'rain.npy', crop=crop) for crop in ((), (4, 6)))
    assert len(source) == 16 * len(whole)
    places = []
    for index in range(160):
        part = source[index]
        assert {array.shape for array in part.values()} == {(4, 4, 6, 1)}
        all_parts = sliding_window_view(whole[index // 16]['frames'], (4, 6), axis=(1, 2))
        same = (all_parts[:, :, :, 0] == part['frames'][:, None, None, ..., 0]).all(axis=(0, 3, 4))
        places.append(np.argwhere(same)[0])
    assert [set(of_axis.tolist()) for of_axis in np.transpose(places)] == [
        set(range(HEIGHT - 3)), set(range(WIDTH - 5)),
    ]  # fmt: skip
    other = open_source(dataset_of(tmp_path / 'rain.npy', crop=(4, 6)), 'train', 1)
    assert any((other[index]['frames'] != source[index]['frames']).any() for index in range(8))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(source))[17]['frames'], source[17]['frames']
    )
    assert opened(tmp_path / 'rain.npy', 'test', crop=(4, 6))[0]['frames'].shape == (4, 9, 10, 1)
    with pytest.raises(InputError, match=r'dataset.crop=\(4, 60\): must be at most'):
        opened(tmp_path / 'rain.npy', crop=(4, 60))


def test_units_ranges_and_transforms(tmp_path, rain, monkeypatch):
    stored = np.nan_to_num(np.rint(rain * 10)).astype(np.uint16)
    np.save(tmp_path / 'rain.npy', stored)
    source = opened(tmp_path / 'rain.npy', unit='0.1 mm/h', scale='0,40', transform='log1p')
    assert (source.scale.unit, source.scale.value_range) == ('mm/h', (0, 40))
    assert source.scale.bounds == (0, np.inf) and not source.masked
    np.testing.assert_allclose(
        source.scale.to_unit(source[2]['frames']), stored[2:6, ..., None] / 10, atol=1e-4
    )
    assert '0 and 1 stand by log1p for 0 and 40 mm/h' in describe(
        dataset_of(tmp_path / 'rain.npy'), {'train': source}
    )
    monkeypatch.setattr(grid_survey, 'BLOCK_BYTES', 4 * HEIGHT * WIDTH * 3)
    source = opened(tmp_path / 'rain.npy', scale='meanstd', split_fractions=(0.5, 0.2, 0.3))
    half = stored[:20].astype(np.float64)
    np.testing.assert_allclose(
        source.scale.value_range, (half.mean(), half.mean() + half.std()), rtol=1e-6
    )


def test_nothing_below_0_is_forecast_of_a_variable_that_is_never_below_it(tmp_path):
    random = np.random.default_rng(0)
    ranges = {'rain': (0, 10), 'heat': (50, 100), 'wind': (-5, 5)}
    arrays = {name: random.uniform(*ends, (40, 8, 8)) for name, ends in ranges.items()}
    np.savez(tmp_path / 'both.npz', rain=arrays['rain'], heat=arrays['heat'])
    np.savez(tmp_path / 'all.npz', **arrays)
    for name, lows in (('both', [0, 0]), ('all', [0, 0, -np.inf])):
        scale = opened(tmp_path / f'{name}.npz', scale='minmax').scale
        np.testing.assert_allclose(
            scale.to_unit(scale.clip(np.float32([-np.inf]))), lows, atol=1e-5
        )
    fixed = opened(tmp_path / 'all.npz', scale='0,100').scale
    assert fixed.bounds == ((0, 0, -np.inf), np.inf) and not fixed.ranges


@pytest.mark.parametrize(
    ('stated', 'values'),
    [
        *[(unit, {}) for unit in ('degree_C', 'degrees_C', '℃', '°C', 'deg. C', 'degC', 'Celsius')],
        *[(unit, {}) for unit in ('deg_F', 'degrees Fahrenheit', '℉', 'dBZ', 'C', 'ºC')],
        *[(unit, {'unit': 'degC'}) for unit in ('1', 'mm', '')],
        ('mm', {'unit': '0.1 degC'}),
        ('mm', {'scale': '-40,60'}),
    ],
)  # fmt: skip
def test_what_may_fall_below_0_has_no_end_there(tmp_path, stated, values):
    path = tmp_path / 'warm.h5'
    with h5py.File(path, 'w') as file:
        file['heat'] = np.random.default_rng(0).uniform(1, 9, (40, 8, 9))
        file['heat'].attrs['units'] = stated
    assert opened(path, **values).scale.bounds == (-np.inf, np.inf)
    if not values:
        assert opened(path, unit='mm').scale.bounds[0] > -np.inf
    assert opened(path, unit='mm', scale='0,60').scale.bounds == (0, np.inf)


def test_flows_of_a_city_are_read_with_their_dates(tmp_path):
    counts = np.random.default_rng(0).integers(0, 90, (72, 2, 8, 6)).astype(float)
    with h5py.File(tmp_path / 'NYC.h5', 'w') as file:
        file['data'] = counts
        days = [f'201404{day:02d}{slot:02d}'.encode() for day in (1, 2, 4) for slot in range(1, 25)]
        file['date'] = days
    source = opened(tmp_path / 'NYC.h5', calendar=('hour',), **ALL)
    assert len(source) == 45 + 21 and source[0]['frames'].shape == (4, 8, 6, 2)
    assert str(source.setup.timeline.times[-1]) == '2014-04-04T23:00:00'


def bad_files():
    """What is wrong, by name: what is stored, the values of the config, what the message says."""
    rain, times = np.nan_to_num(moving_rain(40)), dates(40)
    plain = {'rain': rain, 'time': times}
    infinite = np.where(np.arange(40)[:, None, None] == 7, np.inf, rain)
    yield 'axes', {'rain': rain[:, :6, :3]}, {}, 'does not tell which axis is which'
    yield 'four axes', {'rain': np.zeros((6, 7, 8, 9))}, {}, 'dataset.layout=THWC'
    yield 'layout', plain, {'layout': 'NTHW'}, 'names 4'
    yield 'no variable', plain, {'variables': ('snow',)}, "'snow'.*it has rain"
    yield 'no target', plain, {'targets': ('snow',)}, "dataset.targets names 'snow'"
    yield 'known', plain, {'known': ('rain',)}, 'all variables are in dataset.known'
    yield 'no field', plain, {'static': ('ground',)}, "no field 'ground'"
    yield 'infinite', {'rain': infinite}, {}, "'rain' in .*, frame 7, has infinite values, 90"
    yield 'below 0', plain | {'rain': rain - 1}, {'transform': 'dBZ'}, 'below 0'
    yield 'constant', {'rain': rain * 0}, {}, "All values of 'rain' in the training part are 0"
    yield 'mask', plain | {'m': np.ones((3, 3))}, {'mask': 'm'}, r'mask .* shape \(3, 3\)'
    yield 'empty mask', plain | {'m': np.zeros((HEIGHT, WIDTH))}, {'mask': 'm'}, 'leaves no cell'
    yield 'no mask', plain, {'mask': 'land.npy'}, 'neither a file nor one of the fields'
    yield 'backwards', plain | {'time': times[::-1]}, {}, 'goes back in time at'
    yield 'doubles', plain | {'time': np.repeat(times[::2], 2)}, {}, 'has the time .* twice'
    yield 'times', plain | {'time': times[:-1]}, {}, '39 times'
    yield 'dates', plain | {'time': np.array(['yesterday'] * 40)}, {}, 'cannot be parsed'
    yield 'no dates', {'rain': rain}, {'calendar': ('hour',)}, 'has no dates'
    yield 'split dates', plain, {'split_dates': ('now', 'then')}, 'must be two ISO dates'
    yield 'empty split', plain, {'split_fractions': (0.95, 0.05, 0.0)}, "split 'test'"
    yield 'unit', plain, {'unit': '-3 mm'}, 'dataset.unit=.*cannot be parsed'
    yield 'unit number', plain, {'unit': '0.1'}, 'cannot be parsed'
    yield 'shapes', plain | {'wind': rain[:, :5]}, {}, 'must share'
    yield 'texts', plain | {'rain': np.full((40, HEIGHT, WIDTH), 'a')}, {}, 'must be numbers'
    yield 'nothing', {'time': times}, {}, 'holds no grids'


@pytest.mark.parametrize(
    ('arrays', 'values', 'message'), [pytest.param(*bad, id=name) for name, *bad in bad_files()]
)
def test_one_message_says_what_is_wrong(tmp_path, arrays, values, message):
    np.savez(tmp_path / 'bad.npz', **arrays)
    with pytest.raises(InputError, match=message):
        opened(tmp_path / 'bad.npz', 'test', **values)


def test_paths_that_hold_no_grids(tmp_path):
    (tmp_path / 'text.nc').write_text('no netCDF')
    with pytest.raises(InputError, match=r'text.nc cannot be read as scipy'):
        opened(tmp_path / 'text.nc')
    (tmp_path / 'rain.npy').touch()
    for path, message in (('missing.nc', 'does not exist'), ('', 'files of several kinds')):
        with pytest.raises(InputError, match=message):
            opened(tmp_path / path)


def test_files_that_lead_elsewhere_or_fill_the_memory_are_rejected(tmp_path, monkeypatch):
    with h5py.File(tmp_path / 'link.h5', 'w') as file:
        file['rain'] = h5py.ExternalLink('other.h5', 'rain')
    with pytest.raises(InputError, match=r"'rain' in .* is a link"):
        opened(tmp_path / 'link.h5')
    write_zarr(labeled(), tmp_path / 'rain.zarr')
    (tmp_path / 'linked.zarr').mkdir()
    (tmp_path / 'linked.zarr' / '.zgroup').write_text('{}')
    (tmp_path / 'linked.zarr' / 'rain').symlink_to(tmp_path / 'rain.zarr' / 'rain')
    with pytest.raises(InputError, match='is a link'):
        opened(tmp_path / 'linked.zarr')
    labeled().to_netcdf(
        tmp_path / 'rain.nc', engine='h5netcdf', encoding={'rain': {'chunksizes': (40, 9, 10)}}
    )
    monkeypatch.setattr('e3d.data.readers.hdf5_files.MAX_CHUNK_BYTES', 2**10)
    for name in ('rain.nc', 'rain.zarr'):
        with pytest.raises(InputError, match=r"'rain' in .* is stored in chunks of \(40, 9, 10\)"):
            opened(tmp_path / name)
    monkeypatch.undo()
    described = tmp_path / 'rain.zarr' / 'rain' / 'zarr.json'
    described.write_text(described.read_text().replace('"zstd"', '"numcodecs.pickle"'))
    with pytest.raises(InputError, match=r"^'rain' in .* packed by the codec 'numcodecs.pickle'"):
        opened(tmp_path / 'rain.zarr')


def test_named_pipes_that_files_lead_to_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    path = tmp_path / 'rain.nc'
    for link in (
        h5py.ExternalLink(str(tmp_path / 'pipe'), 'rain'),
        h5py.SoftLink('/group/far/rain'),
    ):
        labeled().to_netcdf(path, engine='h5netcdf')
        with h5py.File(path, 'r+') as file:
            file['group/far'] = h5py.ExternalLink(str(tmp_path / 'pipe'), '/')
            file['beside'] = link
        with pytest.raises(InputError, match=r"'beside' in .* is a link"):
            opened(path)
    write_zarr(labeled(), tmp_path / 'rain.zarr')
    chunks = (tmp_path / 'rain.zarr' / 'rain' / 'c').rglob('*')
    chunk = next(file for file in chunks if file.is_file())
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(InputError, match='is a named pipe'):
        opened(tmp_path / 'rain.zarr')


def test_keys_that_do_not_go_together():
    dataset = dataset_of('', scale='-5,5', transform='dBZ', copy_test=(2, 2))
    problems = list(GridsDataset.problems(dataset))
    assert len(problems) == 2 and 'copy_test' in problems[0] and 'begin at 0' in problems[1]


def test_the_calendar_turns_once_a_day_a_week_and_a_year():
    texts = ['2020-03-02', '2020-03-02T06', '2020-03-08T12', '2021-01-01', '2020-07-02']
    features = calendar_features(np.array(texts, 'M8[s]'), ('hour', 'weekday', 'season'))
    assert features.min() >= 0 and features.max() <= 1
    turns = np.arctan2(2 * features[:, ::2] - 1, 2 * features[:, 1::2] - 1) / (2 * np.pi) % 1
    expected = [
        [0, 1 / 4, 1 / 2, 0, 0],
        [0, 0, 6 / 7, 4 / 7, 3 / 7],
        [61 / 366, 61.25 / 366, 67.5 / 366, 0, 1 / 2],
    ]
    np.testing.assert_allclose(turns.T, expected, atol=1e-6)


def test_the_calendar_forecasts_the_mean_of_the_hour(tmp_path, rain, monkeypatch):
    days, steps = 6, 48
    random = np.random.default_rng(0)
    values = np.tile(rain[:4].repeat(12, axis=0), (days, 1, 1)) + random.random(
        (days * steps, 1, 1)
    )
    values[5, 1:3] = np.nan
    hours = np.arange(days * steps) % steps // 2
    values[hours == 7, 4, 4] = np.nan
    np.savez(tmp_path / 'days.npz', rain=values, time=dates(days * steps, '2020-03-01T00:00'))
    source = opened(tmp_path / 'days.npz', 'test', split_fractions=(0.5, 0.25, 0.25))
    forecasts = simple_forecasts(source)['hour_average'][np.array([0, 7])]
    training = source.scale.from_unit(values[: days * steps // 2])
    for forecast, start in zip(forecasts, source.starts[[0, 7]], strict=True):
        for frame, hour in zip(forecast, hours[start + 2 : start + 4], strict=True):
            mean = np.nanmean(training[hours[: len(training)] == hour][:, ~outside()], axis=0)
            np.testing.assert_allclose(frame[~outside(), 0], mean, rtol=1e-5)
            np.testing.assert_array_equal(frame[outside()], 0)
    other = Scale((-10.0, 90.0), (0.1, np.inf), unit='mm/h')
    rescaled = with_scale(source, other)
    assert simple_forecasts(source)['hour_average'].means[9].max() > 0
    for one in (rescaled, pickle.loads(pickle.dumps(rescaled))):
        assert scale_of(one) == other
        seen, own = one[3], source[3]
        np.testing.assert_allclose(
            np.where(own['valid'], other.to_unit(seen['frames']), 0),
            np.where(own['valid'], source.scale.to_unit(own['frames']), 0),
            atol=1e-4,
        )
    again = simple_forecasts(rescaled)['hour_average'][np.array([0, 7])]
    there = ~outside()[..., None] & np.ones(again.shape, bool)
    np.testing.assert_allclose(
        other.to_unit(again)[there], source.scale.to_unit(forecasts)[there], atol=1e-4
    )
    # Where an hour knows nothing it is the mean of all.
    means = simple_forecasts(source)['hour_average'].means
    np.testing.assert_allclose(means[7, 4, 4, 0], np.nanmean(training[:, 4, 4]), rtol=1e-5)
    monkeypatch.setattr(hour_averages, 'MOST', 2)  # of six frames the first and the last
    source = opened(tmp_path / 'days.npz', 'test', split_fractions=(0.5, 0.2, 0.3))
    means = simple_forecasts(source)['hour_average'].means
    expected = training[hours[: len(training)] == 12][[0, -1]].mean(axis=0)[~outside()]
    np.testing.assert_allclose(means[12, ~outside(), 0], expected, rtol=1e-5)
    assert not simple_forecasts(opened(tmp_path / 'days.npz', split_fractions=(0.1, 0.4, 0.5)))
    np.save(tmp_path / 'undated.npy', values)
    assert not simple_forecasts(opened(tmp_path / 'undated.npy'))
