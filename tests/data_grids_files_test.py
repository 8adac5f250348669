"""Files of grids as others wrote them: times, numbers that stand for no value, names of dimensions."""

import os

import h5py
import numpy as np
import pytest
import xarray
from grid_fixtures import (
    HEIGHT,
    WIDTH,
    dataset_of,
    dates,
    labeled,
    moving_rain,
    placed,
    setup_of,
    with_unit,
    write_zarr,
)

from e3d.data.readers.grid_times import parse_times
from e3d.data.readers.grids import decode
from e3d.data.readers.labeled_grids import open_labeled_grids
from e3d.data.sources import grid_setup
from e3d.data.sources.grid_setup import open_setup
from e3d.data.sources.registry import open_source
from e3d.errors import InputError

DAYS = np.datetime64('2020-01-30', 's') + np.timedelta64(86_400, 's') * np.arange(5)


def written(times, form):
    return [time.item().strftime(form) for time in times]


@pytest.mark.parametrize(
    ('form', 'step', 'read_as'),
    [
        ('%Y%m%d', 86_400, 'yyyymmdd'),
        ('%Y%m%d%H', 3600, 'yyyymmddHH'),
        ('%Y%m%d%H%M', 600, 'yyyymmddHHMM'),
        ('%Y%m%d%H%M%S', 5, 'yyyymmddHHMMSS'),
    ],
)
@pytest.mark.parametrize('kind', ['text', 'bytes', 'int', 'float'])
def test_digits_are_dates(form, step, read_as, kind):
    times = np.datetime64('2020-02-27', 's') + np.timedelta64(step, 's') * np.arange(50)
    texts = written(times, form)
    values = np.array(texts, {'text': 'U', 'bytes': 'S', 'int': np.int64, 'float': float}[kind])
    found = parse_times(values, '', 'times')
    np.testing.assert_array_equal(found.values, times)
    assert found.form == read_as


@pytest.mark.parametrize('per_day', [24, 48, 96])
def test_digits_of_flows_are_slots_of_the_day(per_day):
    texts = [f'202002{day}{slot:02d}' for day in (28, 29) for slot in range(1, per_day + 1)]
    found = parse_times(np.array(texts, 'S'), '', 'times')
    step = np.timedelta64(86_400 // per_day, 's')
    np.testing.assert_array_equal(
        found.values, np.datetime64('2020-02-28', 's') + step * np.arange(2 * per_day)
    )
    assert found.form == f'yyyymmdd and the slot, {per_day} a day'


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (
            [f'20200101{hour:02d}' for hour in range(6, 21)],
            r'go from 06 to 20, which tells neither',
        ),
        (
            [f'20200101{slot:02d}' for slot in range(1, 48)],
            r'go from 01 to 47, which tells neither',
        ),
        ([f'20200101{slot:02d}' for slot in range(48)], r'go from 00 to 47, which tells neither'),
        (['202001', '202002'], r"'202001' is no date of 8, 10, 12 or 14 digits"),
        (['20200101', '2020-01-02'], r"'2020-01-02' is no date of 8"),
        (['20200101', '202001020000'], r"'202001020000' is no date of 8"),
        (['20201301'], r'Month out of range'),
        (['202001012360'], r"'202001012360' is no yyyymmddHHMM"),
    ],
)
def test_digits_that_are_no_dates_are_rejected(texts, message):
    with pytest.raises(InputError, match=rf'{message}.*They must be ISO dates.*yyyymmddHHMM'):
        parse_times(np.array(texts), '', 'times')


def test_numbers_that_are_hours_or_slots_are_rejected_and_other_numbers_stay_numbers():
    with pytest.raises(InputError, match='which tells neither'):
        parse_times(2020010106 + np.arange(15), '', 'times')
    for numbers in (np.arange(9), 1577836800 + 3600 * np.arange(9), [20200131.5], [-20200101]):
        found = parse_times(np.asarray(numbers), '', 'times')
        np.testing.assert_array_equal(found.values, np.float64(numbers))
        assert found.values.dtype == np.float64 and not found.form


@pytest.mark.parametrize('kind', ['npz', 'h5', 'nc'])
def test_days_written_as_one_number_divide_by_dates_and_have_no_gap(tmp_path, kind):
    path, times = tmp_path / f'daily.{kind}', DAYS[0] + np.timedelta64(86_400, 's') * np.arange(40)
    rain, numbers = np.nan_to_num(moving_rain(40)), np.array(written(times, '%Y%m%d'), np.int32)
    match kind:
        case 'npz':
            np.savez(path, rain=rain, date=numbers)
        case 'h5':
            with h5py.File(path, 'w') as file:
                file['rain'], file['time'] = rain, numbers
                file['time'].attrs['units'] = 'day as %Y%m%d'
        case _:
            days = 'time', numbers, {'units': 'day as %Y%m%d'}
            labeled = xarray.Dataset({'rain': (('time', 'y', 'x'), rain)}, {'time': days})
            labeled.to_netcdf(path, engine='h5netcdf')
    source = open_source(dataset_of(path, split_dates=('2020-02-20', '2020-03-01')), 'train')
    np.testing.assert_array_equal(source.setup.timeline.times, times)
    assert '2020-03-09T00:00:00 (read as yyyymmdd) in steps of 1 d, in 1 str' in source.account[0]


@pytest.mark.parametrize('name', ['Time', 'DATE'])
@pytest.mark.parametrize('kind', ['npz', 'h5'])
def test_times_are_known_by_their_name_in_any_case(tmp_path, kind, name):
    path, times = tmp_path / f'rain.{kind}', np.delete(dates(12), 5)
    arrays = {'rain': np.nan_to_num(moving_rain(11)), name: times.astype(str).astype('S')}
    if kind == 'npz':
        np.savez(path, **arrays)
    else:
        with h5py.File(path, 'w') as file:
            file.update(arrays)
            file['valid_time'] = np.zeros(0)  # comes after the others
    assert setup_of(path).timeline.runs.tolist() == [[0, 5], [5, 11]]


@pytest.mark.parametrize('kind', ['h5', 'nc'])
def test_times_have_a_scale_as_values_do(tmp_path, kind):
    path, times = tmp_path / f'rain.{kind}', dates(11, '2020-03-01T00:00')
    with h5py.File(path, 'w') as file:
        file['rain'], file['time'] = np.nan_to_num(moving_rain(11)), np.arange(11)
        file['time'].attrs.update(
            {'units': 'hours since 2020-02-29', 'scale_factor': 0.5, 'add_offset': 24.0}
        )
        file['y'], file['x'] = np.arange(9), np.arange(10)
        for axis, name in enumerate(('time', 'y', 'x')):
            file[name].make_scale(name)
            file['rain'].dims[axis].attach_scale(file[name])
    np.testing.assert_array_equal(setup_of(path).timeline.times, times)
    with h5py.File(path, 'r+') as file:
        file['time'].attrs['scale_factor'] = 'half'
    with pytest.raises(InputError, match='rain'):
        setup_of(path)


def with_times(path, numbers, **attributes):
    """A file with rain at times that are numbers with attributes."""
    rain = np.nan_to_num(moving_rain(len(numbers)))
    if path.suffix == '.h5':
        with h5py.File(path, 'w') as file:
            file['rain'], file['time'] = rain, numbers
            file['time'].attrs.update(attributes)
    else:
        content = xarray.Dataset(
            {'rain': (('time', 'y', 'x'), rain)}, {'time': ('time', numbers, attributes)}
        )
        content.to_netcdf(path, engine='h5netcdf')
    return path


@pytest.mark.parametrize('kind', ['h5', 'nc'])
@pytest.mark.parametrize('calendar', ['noleap', '360_day', 'julian'])
def test_days_of_another_calendar_are_rejected(tmp_path, kind, calendar):
    usual, path = (tmp_path / f'{name}.{kind}' for name in ('usual', 'rain'))
    since = {'units': 'days since 2020-02-25'}
    with pytest.raises(
        InputError, match=r"'time' in .*: the times follow a calendar of their own"
    ) as raised:
        setup_of(with_times(path, np.arange(11), calendar=calendar, **since))
    assert 'decode_times' not in str(raised.value)
    setup = setup_of(with_times(usual, np.arange(11), calendar='Gregorian', **since))
    assert setup.timeline.times[-1] == np.datetime64('2020-03-06')


@pytest.mark.parametrize('kind', ['h5', 'nc'])
def test_months_have_no_one_length(tmp_path, kind):
    path = with_times(tmp_path / f'rain.{kind}', np.arange(11), units='months since 2000-01-01')
    with pytest.raises(InputError, match=r"months since 2000-01-01', which have no one") as raised:
        setup_of(path)
    assert 'decode_times' not in str(raised.value)


@pytest.mark.parametrize('kind', ['h5', 'nc'])
@pytest.mark.parametrize(
    ('units', 'calendar', 'first', 'expected'),
    [
        ('days since 0001-01-01', 'proleptic_gregorian', 711_126, '1948-01-01'),
        ('hours since 1-1-1 00:00:0.0', 'standard', 17_067_072, '1948-01-01'),  # as of NCEP
        ('days since 1582-10-04', 'gregorian', 1, '1582-10-15'),
        ('days since 1500-03-01', 'standard', 30_246, '1583-01-01'),
        ('days since 1500-02-28', 'standard', 30_248, '1583-01-01'),  # a leap year before 1582
        ('hours since 2020-1-1 06:00 +02:00', 'standard', 0, '2020-01-01T04:00'),
        ('minutes since 2020-01-01 06:30:00 -0530', 'standard', 0, '2020-01-01T12:00'),
        ('milliseconds since 2020-01-01T00:00:30Z', 'standard', 30_000, '2020-01-01T00:01'),
        ('hours since 2020-01-01 00:00:00.5 UTC', '', 0, '2020-01-01T00:00:00.5'),
        ('days since 1900', '', 1, '1900-01-02'),
    ],
)
def test_times_count_since_dates_as_files_write_them(
    tmp_path, kind, units, calendar, first, expected
):
    attributes = {'units': units} | ({'calendar': calendar} if calendar else {})
    path = with_times(tmp_path / f'rain.{kind}', first + np.arange(11.0), **attributes)
    assert setup_of(path).timeline.times[0] == np.datetime64(expected)


@pytest.mark.parametrize('kind', ['h5', 'nc'])
@pytest.mark.parametrize(
    ('since', 'message'),
    [
        ('0001-01-01', r"since '0001-01-01', before 1582-10-15, .* 'calendar' must say whether"),
        ('2020-13-01', 'Month out of range'),
        ('2020-01-01 25:00', 'is no time of day'),
        ('yesterday', "'yesterday' is no date"),
    ],
)
def test_times_that_count_since_no_date_are_rejected(tmp_path, kind, since, message):
    path = with_times(tmp_path / f'rain.{kind}', np.arange(11), units=f'days since {since}')
    with pytest.raises(
        InputError, match=rf"'time' in .*: the times cannot be parsed \(.*{message}"
    ):
        setup_of(path)


@pytest.mark.filterwarnings('error')
def test_a_date_that_is_missing_is_no_step_back(tmp_path):
    for times in (np.where(np.arange(8) == 3, np.datetime64('NaT', 's'), dates(8)), ['NaT'] * 8):
        with pytest.raises(InputError, match=r'a date is missing'):
            parse_times(np.array(times), '', 'times')
    with pytest.raises(InputError, match=r'a date is missing'):
        parse_times(np.arange(8) * 1e300, 'days since 2020-01-01', 'times')


def test_files_of_a_folder_say_alike_when_their_frames_are(tmp_path):
    rain = np.nan_to_num(moving_rain(48))
    for day, slots in ((1, 48), (2, 24)):
        texts = [f'202001{day:02d}{slot:02d}' for slot in range(1, slots + 1)]
        np.savez(tmp_path / f'{day}.npz', rain=rain[:slots], date=texts)
    with pytest.raises(InputError, match=r'2.npz has times as .* 24 a day, but .* 48 a day; all'):
        setup_of(tmp_path)
    np.savez(tmp_path / '2.npz', rain=rain)
    with pytest.raises(InputError, match=r'2.npz has no times, but .*1.npz has times as'):
        setup_of(tmp_path)


def runs_of(tmp_path, times, rain=None):
    rain = np.nan_to_num(moving_rain(len(times))) if rain is None else rain
    np.savez(tmp_path / 'rain.npz', rain=rain, time=times)
    return setup_of(tmp_path / 'rain.npz').timeline.runs.tolist()


@pytest.mark.parametrize('hours', [12, 30])
def test_a_stretch_has_one_rate(tmp_path, hours):
    first = dates(hours, minutes=60)
    times = np.concatenate([first, first[-1] + np.timedelta64(600, 's') * np.arange(1, 21)])
    runs = runs_of(tmp_path, times)
    long = [run for run in runs if run[1] - run[0] > 1]
    assert long == ([[0, 30]] if hours == 30 else [[11, 32]])
    source = open_source(dataset_of(tmp_path / 'rain.npz', split_fractions=(1.0, 0, 0)), 'train')
    step, unused = ('1 h', 20) if hours == 30 else ('10 min', 11)
    assert f' in steps of {step}, in ' in source.account[0]
    assert f'or a step much unlike that; {unused} frames' in source.account[0]
    with pytest.raises(InputError, match=f'no 60 frames that follow each other in steps of {step}'):
        open_source(dataset_of(tmp_path / 'rain.npz', output_frames=58), 'train')


def test_as_many_steps_of_two_rates_are_those_of_one_of_them(tmp_path):
    times = np.cumsum([0, *[10] * 8, *[60] * 8]).astype(float)
    assert [run for run in runs_of(tmp_path, times) if run[1] - run[0] > 1] == [[0, 9]]


def test_months_are_one_stretch(tmp_path):
    months = np.arange('2019-01', '2022-01', dtype='datetime64[M]').astype('datetime64[s]')
    assert runs_of(tmp_path, months) == [[0, 36]]


@pytest.mark.parametrize('step', [0.1, 1.5, 1 / 3])
@pytest.mark.parametrize('kind', ['dates', 'text', 'seconds', 'days'])
def test_steps_may_be_parts_of_a_second(tmp_path, step, kind):
    since = step * np.arange(40) + 7.25
    dates = np.datetime64('2020-01-01T00:00', 'us') + (1e6 * since).astype('timedelta64[us]')
    times, units = dates.astype('datetime64[ns]'), ''
    if kind == 'text':
        times = dates.astype(str)
    elif kind != 'dates':
        times, units = since / {'seconds': 1, 'days': 86_400}[kind], f'{kind} since 2020-01-01'
    found = parse_times(times, units, 'times').values
    assert np.abs((found - dates) / np.timedelta64(1, 'ms')).max() <= 0.5
    assert runs_of(tmp_path, found) == [[0, 40]]
    assert setup_of(tmp_path / 'rain.npz').timeline.step == pytest.approx(step, abs=1e-3)


def test_dates_that_were_rounded_are_whole_seconds():
    days = (np.arange(40) * 600 + 1e-4) / 86_400 + 43_000
    found = parse_times(days, 'days since 1900-01-01', 'times').values
    assert found.dtype == 'datetime64[s]' and (np.diff(found).astype(int) == 600).all()
    late = np.array(['2020-01-01T00:59:59.9999999', '2020-01-01T01:59:59.9999999'], 'M8[ns]')
    assert str(parse_times(late, '', 'times').values[0]) == '2020-01-01T01:00:00'


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        (np.arange('2019-01', '2021-03', dtype='M8[M]'), ['2021-03-01', '2021-04-01']),
        (np.arange('2019-01-15', '2019-03-02', dtype='M8[D]'), ['2019-03-02', '2019-03-03']),
        (
            np.array([f'{year}-07-01' for year in range(1990, 2020)], 'M8'),
            ['2020-07-01', '2021-07-01'],
        ),
        (np.array(['2019-01-31', '2019-02-28', '2019-03-31'], 'M8'), ['2019-04-28', '2019-05-26']),
    ],
)
def test_dates_ahead_follow_the_calendar(tmp_path, times, expected):
    count = len(times)
    runs_of(tmp_path, times.astype('datetime64[s]'), moving_rain(count))
    ahead = setup_of(tmp_path / 'rain.npz').times(count - 1, count + 2)
    assert ahead.astype('datetime64[D]').astype(str).tolist()[1:] == expected


def test_series_beside_each_other_have_gaps_in_time_too(tmp_path):
    times = np.delete(dates(12), 5)
    rain = np.stack([np.nan_to_num(moving_rain(11))] * 2)[..., None]
    assert runs_of(tmp_path, times, rain) == [[0, 5], [5, 11], [11, 16], [16, 22]]


GAPS = [
    (np.float32, {'_FillValue': 1e20}, 1e20),
    (np.float32, {'missing_value': -999.9}, -999.9),
    (np.float32, {'_FillValue': np.nan, 'missing_value': [-1.0, -999.9]}, -999.9),
    (np.float64, {'missing_value': np.float32(-999.0)}, -999.0),
    (np.int16, {'_FillValue': -9999.0}, -9999),
    (np.int16, {'_FillValue': np.nan, 'missing_value': [1e20, 0.5, -9999.0]}, -9999),
    (np.int8, {'_FillValue': np.int8(-1), '_Unsigned': 'true'}, -1),
    (
        np.int16,
        {'_FillValue': h5py.Empty('i2'), 'missing_value': -1, 'units': h5py.Empty('S1')},
        -1,
    ),
]


RANGES = [
    (
        np.uint8,
        {'valid_range': np.array([0, 100], 'u1'), 'scale_factor': 0.1},
        [101, 254],
        [0, 100],
    ),
    (np.int16, {'valid_range': [0.0, 10.0], 'scale_factor': 0.1}, [-1, 101], [0, 100]),
    (np.int16, {'valid_min': np.int16(-5), 'valid_max': np.int16(5)}, [-6, 6], [-5, 5]),
    (np.float32, {'valid_max': np.float32(9.5)}, [9.6], [-1e9, 9.5]),
    (
        np.int8,
        {'valid_range': np.array([0, -56], 'i1'), '_Unsigned': 'true'},
        [-55, -1],
        [0, 127, -56],
    ),
    (np.uint8, {'_FillValue': np.int8(-1)}, [255], [0, 254]),
    (np.float32, {}, [9.969209968386869e36], [9.9e36]),
    (np.float64, {}, [9.969209968386869e36], [9.9e36]),
]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(('dtype', 'attributes', 'gaps', 'values'), RANGES)
def test_what_lies_outside_of_the_valid_range_is_none(dtype, attributes, gaps, values):
    stored = np.array([*gaps, *values]).astype(dtype)
    found = np.isnan(decode(stored, attributes))
    assert found.tolist() == [True] * len(gaps) + [False] * len(values)


@pytest.mark.parametrize('name', ['_FillValue', 'missing_value', 'valid_max', 'valid_range'])
def test_attributes_that_are_text_are_rejected(tmp_path, name):
    with h5py.File(tmp_path / 'rain.h5', 'w') as file:
        file['rain'] = np.zeros((40, 8, 9), np.float32)
        file['rain'].attrs[name] = '-32768'
    with pytest.raises(InputError, match=f"its {name} is '-32768', which is no number"):
        open_source(dataset_of(tmp_path / 'rain.h5'), 'train')


def test_files_without_times_follow_each_other_by_their_numbers(tmp_path):
    for number in range(1, 13):
        np.save(tmp_path / f'rain_{number}.npy', np.full((8, 9), number, np.float32)[None])
    files = [piece.file.path.name for piece in setup_of(tmp_path).timeline.pieces]
    assert files == [f'rain_{number}.npy' for number in range(1, 13)]


@pytest.mark.parametrize('own', [True, False])
def test_the_mask_of_frames_in_memory_is_read_once_until_it_changes(tmp_path, monkeypatch, own):
    """A stream asks for it at every frame."""
    opened, open_files = [], grid_setup.open_file
    monkeypatch.setattr(
        grid_setup, 'open_file', lambda *a, **k: opened.append(a) or open_files(*a, **k)
    )
    monkeypatch.setattr(grid_setup, 'open_setup', lambda d: opened.append(d) or open_setup(d))
    content = labeled()[['rain']]
    content.to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    name = str(tmp_path / 'mask.nc') if own else 'mask'
    dataset = dataset_of(tmp_path / 'rain.nc', mask=name).to_dict()
    frame = np.ones((HEIGHT, WIDTH, 1), np.float32)
    for row in (0, 1):
        mask = xarray.DataArray(np.ones((HEIGHT, WIDTH), np.int8), dims=('y', 'x'))
        mask[row] = 0
        if own:
            mask.to_dataset(name='mask').to_netcdf(tmp_path / 'mask.nc', engine='h5netcdf')
        else:
            content.assign(mask=mask).to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
        for file in tmp_path.iterdir():
            os.utime(file, ns=(row, row))  # clocks of file systems may be coarse
        opened.clear()
        for _ in range(3):
            hidden = np.isnan(grid_setup.hide_missing(frame, dataset))
            assert hidden[row].all() and hidden.sum() == WIDTH
        assert len(opened) == 1


@pytest.mark.parametrize('changed', ['mask', 'chunk'])
def test_what_changes_in_a_program_is_read_again(tmp_path, monkeypatch, changed):
    monkeypatch.setenv('HOME', str(tmp_path))
    content = labeled()[['rain']].fillna(0)
    write_zarr(content, tmp_path / 'rain.zarr')
    np.save(tmp_path / 'mask.npy', np.arange(90).reshape(9, 10) > 20)
    values = {'mask': '~/mask.npy'}
    before = open_source(dataset_of(tmp_path / 'rain.zarr', **values), 'train')
    if changed == 'mask':
        np.save(tmp_path / 'mask.npy', np.arange(90).reshape(9, 10) > 40)
    else:
        root = (tmp_path / 'rain.zarr').stat()
        write_zarr(50 * content[['rain']].drop_vars('time'), tmp_path / 'rain.zarr', mode='r+')
        os.utime(tmp_path / 'rain.zarr', ns=(root.st_atime_ns, root.st_mtime_ns))
    after = open_source(dataset_of(tmp_path / 'rain.zarr', **values), 'train')
    share, high = (
        [one[0]['valid'].mean() for one in (before, after)],
        [one.scale.value_range[1] for one in (before, after)],
    )
    assert (share[1] < share[0]) == (changed == 'mask')
    assert (high[1] > 40 * high[0]) == (changed == 'chunk')


def stored_values(tmp_path, kind, dtype, attributes, gap):
    """What is read of numbers, one of which is the gap, and what was stored."""
    stored = np.random.default_rng(0).integers(1, 99, (6, 8, 9)).astype(dtype)
    stored[2, 3, 4] = gap
    path = tmp_path / f'rain.{kind}'
    with h5py.File(path, 'w') as file:
        file['rain'] = stored
        file['rain'].attrs.update(attributes | {'scale_factor': 0.5, 'add_offset': 1.0})
        if kind == 'nc':
            for axis, (name, size) in enumerate(zip(('time', 'y', 'x'), stored.shape, strict=True)):
                file[name] = np.arange(size, dtype=float)
                file[name].make_scale(name)
                file['rain'].dims[axis].attach_scale(file[name])
    return setup_of(path).read('rain', 0, 6)[..., 0], stored


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('kind', ['h5', 'nc'])
@pytest.mark.parametrize(('dtype', 'attributes', 'gap'), GAPS)
def test_what_a_file_says_stands_for_no_value_is_none(tmp_path, kind, dtype, attributes, gap):
    values, stored = stored_values(tmp_path, kind, dtype, attributes, gap)
    assert np.argwhere(np.isnan(values)).tolist() == [[2, 3, 4]]
    known = ~np.isnan(values)
    np.testing.assert_allclose(values[known], stored[known] * 0.5 + 1)


@pytest.mark.parametrize(
    ('dtype', 'fill', 'attributes'),
    [
        ('i2', -32_767, {}),
        ('i4', -2_147_483_647, {'missing_value': np.int32(-1)}),
        ('i8', -9_223_372_036_854_775_806, {}),
        ('u2', 65_535, {}),
        ('i2', -32_767, {'_Unsigned': 'true'}),
        ('u4', 4_294_967_295, {}),
        ('u8', 18_446_744_073_709_551_614, {}),
    ],
)
def test_what_netcdf_fills_integers_with_is_no_value(tmp_path, dtype, fill, attributes):
    def gaps(kind, dtype, attributes, fill):
        values, _ = stored_values(tmp_path, kind, dtype, attributes, fill)
        return np.argwhere(np.isnan(values)).tolist()

    assert gaps('nc', dtype, attributes, fill) == [[2, 3, 4]]
    assert gaps('h5', dtype, attributes, fill) == []
    stated = {'_FillValue': np.array(7, dtype), 'valid_min': np.array(fill, dtype)}
    for name, number in stated.items():
        assert [2, 3, 4] not in gaps('nc', dtype, attributes | {name: number}, fill)
    for byte, number in (('i1', -127), ('u1', 255)):
        assert gaps('nc', byte, {}, number) == []


@pytest.mark.filterwarnings('error:.*cast')
@pytest.mark.parametrize('kind', ['npy', 'npz', 'h5', 'nc', 'zarr'])
def test_missing_is_the_number_that_is_stored(tmp_path, kind):
    stored = np.random.default_rng(0).integers(0, 2000, (40, 8, 9)).astype(np.uint16)
    stored[7, 3, 4] = 65000
    ground = stored[0].copy()
    ground[2, 1] = 65000
    path, values = tmp_path / f'rain.{kind}', {'static': ('ground',)}
    packed, factor = {'scale_factor': 0.01, 'add_offset': 5.0}, 0.01
    match kind:
        case 'npy':
            np.save(path, stored)
            values, factor = {}, 1
        case 'npz':
            np.savez(path, rain=stored, ground=ground)
            factor = 1
        case 'h5':
            with h5py.File(path, 'w') as file:
                file['rain'], file['ground'] = stored, ground
                file['rain'].attrs.update(packed)
        case _:
            content = xarray.Dataset(
                {'rain': (('time', 'y', 'x'), stored, packed), 'ground': (('y', 'x'), ground)},
                {'time': dates(40).astype('datetime64[ns]')},
            )
            if kind == 'nc':
                content.to_netcdf(path, engine='h5netcdf')
            else:
                content.to_zarr(path, consolidated=False, zarr_format=2)
    setup = setup_of(path, missing=65000.0, **values)
    read = setup.read(setup.targets[0], 0, 40)[..., 0]
    assert np.argwhere(np.isnan(read)).tolist() == [[7, 3, 4]]
    known = ~np.isnan(read)
    np.testing.assert_allclose(read[known], stored[known] * factor + 5 * (factor != 1), rtol=1e-6)
    if values:
        assert np.argwhere(np.isnan(setup.static[..., 0])).tolist() == [[2, 1]]
    for nowhere in (1e30, -1.0, 0.5, 70000.0):  # the dtype cannot hold them
        setup = setup_of(path, missing=nowhere, **values)
        assert not np.isnan(setup.read(setup.targets[0], 0, 40)).any()


def test_missing_hides_nothing_of_a_mask(tmp_path):
    inside = np.full((8, 9), 255, np.uint8)
    inside[0] = 0
    np.savez(tmp_path / 'rain.npz', rain=np.ones((6, 8, 9), np.uint8), inside=inside)
    setup = setup_of(tmp_path / 'rain.npz', mask='inside', missing=255.0)
    np.testing.assert_array_equal(setup.mask[..., 0], inside > 0)


SIZES = {
    'time': 6, 'sample': 2, 'height': 8, 'y': 8, 'lat': 8, 'width': 9, 'x': 9, 'lon': 9, 'channel': 3,
    'level': 3, 'pressure_level': 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ('dims', 'axes'),
    [
        ('time height width channel', 'THWC'),
        ('time channel height width', 'TCHW'),
        ('sample time height width channel', 'NTHWC'),
        ('time height width', 'THW'),
        ('time level height width', 'TCHW'),
        ('time level lat lon', 'TCHW'),
        ('time height y x', 'TCHW'),
        ('time height y x channel', ''),
        ('time y x channel', 'THWC'),
        ('time pressure_level lat lon', 'TCHW'),
    ],
)
def test_dimensions_are_known_by_their_names(tmp_path, dims, axes):
    names = dims.split()
    stored = np.random.default_rng(0).random([SIZES[name] for name in names], np.float32)
    content = xarray.Dataset({'rain': (names, stored)})
    content.to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    if not axes:
        with pytest.raises(InputError, match='do not tell time, rows and columns'):
            setup_of(tmp_path / 'rain.nc')
        return
    setup = setup_of(tmp_path / 'rain.nc')
    grid = setup.timeline.pieces[0].file.grids['rain']
    assert grid.shape == tuple(
        dict(zip(axes, stored.shape, strict=True)).get(a, 1) for a in 'NTHWC'
    )
    first = stored[0] if 'N' in axes else stored
    kept = axes.replace('N', '')
    wanted = np.einsum(f'{kept}->{"THWC" if "C" in kept else "THW"}', first)
    np.testing.assert_array_equal(setup.read('rain', 0, 6), wanted.reshape(6, *grid.shape[2:]))


def test_arrays_that_nobody_asked_for_may_be_whatever_they_are(tmp_path):
    rain = np.nan_to_num(moving_rain(40))
    link = h5py.ExternalLink('elsewhere.h5', 'rain')
    for name, beside in (('odd', {'other': np.zeros((40, 5, 7, 9))}), ('linked', {'other': link})):
        with h5py.File(tmp_path / f'{name}.h5', 'w') as file:
            file['rain'], file['other'] = rain, beside['other']
        for layout in ('', 'THW'):
            setup = setup_of(tmp_path / f'{name}.h5', variables=('rain',), layout=layout)
            np.testing.assert_array_equal(setup.read('rain', 3, 5)[..., 0], rain[3:5])
    with pytest.raises(
        InputError, match=r"'other' .*; or the like.*name the others with dataset.var"
    ):
        setup_of(tmp_path / 'odd.h5')
    with pytest.raises(InputError, match=r"'other' .*does not tell which axis is which"):
        setup_of(tmp_path / 'odd.h5', variables=('other',))
    for variables in ((), ('other',)):
        with pytest.raises(InputError, match=r"'other' in .* is a link"):
            setup_of(tmp_path / 'linked.h5', variables=variables)
    with h5py.File(tmp_path / 'timed.h5', 'w') as file:
        file['rain'], file['time'] = rain, link
    with pytest.raises(InputError, match=r"'time' in .* is a link"):  # or gaps would not be seen
        setup_of(tmp_path / 'timed.h5', variables=('rain',))


def test_variables_without_a_time_are_no_grids_over_time(tmp_path):
    rain = np.nan_to_num(moving_rain(40))
    corners = (('y', 'x', 'vertices'), np.zeros((*rain.shape[1:], 4), np.float32))
    content = xarray.Dataset(
        {
            'lon_vertices': corners,
            'rain': (('time', 'y', 'x'), rain),
            'measured_at': (('time', 'y', 'x'), rain, {'units': 'seconds since 2020-01-01'}),
            'dry': (('time', 'y', 'x'), rain, {'units': 'days'}),
            'time_bounds': (('time', 'bound'), np.zeros((40, 2))),
            'ground': (('y', 'x'), rain[0]),
        },
        {'time': dates(40).astype('datetime64[ns]')},
    )
    content.to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    for layout in ('', 'THW'):
        opened = open_labeled_grids(tmp_path / 'rain.nc', layout)
        assert set(opened.grids) == {'rain', 'dry'} and set(opened.fields) == {'ground'}
    with pytest.raises(InputError, match=r"'lon_vertices' .*do not tell time"):
        setup_of(tmp_path / 'rain.nc', variables=('lon_vertices',))
    content['lines'] = (('time', 'a', 'b', 'y', 'x'), np.zeros((40, 2, 2, *rain.shape[1:])))
    content.to_netcdf(tmp_path / 'more.nc', engine='h5netcdf')
    assert setup_of(tmp_path / 'more.nc', variables=('rain',)).targets == ('rain',)
    with pytest.raises(InputError, match=r"'lines' .*name the others with dataset.variables"):
        setup_of(tmp_path / 'more.nc')
    content[['lines']].to_netcdf(tmp_path / 'lines.nc', engine='h5netcdf')
    with pytest.raises(InputError, match='no grids over time'):  # whose dimensions nobody asked for
        setup_of(tmp_path / 'lines.nc', variables=('rain',))
    undated = content[['rain', 'lon_vertices']].rename(time='frame').drop_vars('frame')
    undated.to_netcdf(tmp_path / 'undated.nc', engine='h5netcdf')
    with pytest.raises(InputError, match='do not tell time, rows and columns'):
        setup_of(tmp_path / 'undated.nc', variables=('rain',))
    assert setup_of(tmp_path / 'undated.nc', variables=('rain',), layout='THW').targets == ('rain',)


@pytest.mark.parametrize('kind', ['h5', 'nc'])
def test_groups_that_are_not_looked_into_are_named(tmp_path, kind):
    path, content = tmp_path / f'rain.{kind}', placed(labeled())
    content.to_netcdf(path, group='PRODUCT/DATA', engine='h5netcdf')
    content.to_netcdf(path, group='METADATA', engine='h5netcdf', mode='a')
    message = r'it has nothing\. Nor are its groups looked into, METADATA, PRODUCT: copy the var'
    for variables in ((), ('rain',)):
        with pytest.raises(InputError, match=message):
            setup_of(path, variables=variables)
    with xarray.open_dataset(path, group='PRODUCT/DATA', engine='h5netcdf') as grouped:
        grouped.to_netcdf(tmp_path / f'top.{kind}', engine='h5netcdf')
    assert setup_of(tmp_path / f'top.{kind}').variables == ('rain', 'wind')


@pytest.mark.parametrize('kind', ['h5', 'nc', 'zarr'])
def test_values_that_cannot_be_read_once_the_file_is_open_are_explained(tmp_path, kind):
    path, content = tmp_path / f'rain.{kind}', labeled()
    rain = content.rain.values[..., np.newaxis]
    if kind == 'zarr':
        content.to_zarr(path, consolidated=False, encoding={'rain': {'chunks': (10, 9, 10)}})
        (path / 'rain' / 'c' / '2' / '0' / '0').write_bytes(b'no chunk')
    else:
        checked = {'fletcher32': True, 'chunksizes': (10, 9, 10)}
        content.to_netcdf(path, engine='h5netcdf', encoding={'rain': checked})
        with h5py.File(path) as file:
            place = file['rain'].id.get_chunk_info(2).byte_offset
        with path.open('r+b') as file:
            file.seek(place)
            file.write(b'\xff' * 8)
    setup = setup_of(path, variables=('rain',))
    np.testing.assert_array_equal(setup.read('rain', 0, 20), rain[:20])
    with pytest.raises(InputError, match=r"The values of 'rain' in .* cannot be read: .*again"):
        setup.read('rain', 15, 25)


@pytest.mark.parametrize('kind', ['h5', 'nc'])
@pytest.mark.parametrize('factor', ['abc', [], [0.5, 2.0], np.nan, 1j])
def test_a_scale_factor_that_is_no_number_is_rejected(tmp_path, kind, factor):
    path = tmp_path / f'rain.{kind}'
    labeled(6).to_netcdf(path, engine='h5netcdf')
    with h5py.File(path, 'r+') as file:
        file['rain'].attrs['scale_factor'] = factor
    with pytest.raises(InputError, match=r"'rain' in .* its scale_factor is .*, which is no num"):
        setup_of(path, variables=('rain',)).read('rain', 0, 6)


def two_days(tmp_path, changed):
    """A folder with two files that follow each other, the second of which was changed."""
    for name, content, first in (('1.nc', placed(labeled()), 0), ('2.nc', changed, 20)):
        part = content.isel(time=slice(first, first + 20))
        part.to_netcdf(tmp_path / name, engine='h5netcdf')
    return tmp_path


def test_files_of_a_folder_state_one_unit_of_each_variable(tmp_path):
    content = placed(labeled())
    for name, unit in (('rain', 'm/s'), ('wind', 'knots')):
        path = two_days(tmp_path, with_unit(content, unit, name))
        with pytest.raises(InputError, match=rf"'{name}' is in '{unit}' in .*2.nc, but in 'm"):
            setup_of(path)
    setup_of(two_days(tmp_path, with_unit(content, 'm/s')), variables=('wind',))
    setup_of(two_days(tmp_path, with_unit(content, '')))  # not stated


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda content: content.isel(latitude=slice(None, None, -1)),
         r"'latitude' goes from 52 to 60 in 'rain' of .*2.nc, but from 60 to 52 in .*1.nc"),
        (lambda content: content.isel(longitude=slice(None, None, -1)), "'longitude' goes from 8 to 0"),
        (lambda content: content.transpose('time', 'longitude', 'latitude'),
         r'Rows and columns are longitude and latitude in .* but latitude and longitude in'),
    ],
)  # fmt: skip
def test_rows_and_columns_run_one_way_in_all_files(tmp_path, change, message):
    content = placed(labeled()).isel(longitude=slice(0, 9))
    content.isel(time=slice(0, 20)).to_netcdf(tmp_path / '1.nc', engine='h5netcdf')
    changed = change(content.isel(time=slice(20, 40)))
    changed.to_netcdf(tmp_path / '2.nc', engine='h5netcdf')
    with pytest.raises(InputError, match=message):
        setup_of(tmp_path)


def test_files_of_other_places_are_told_and_have_no_fields_of_one(tmp_path):
    path = two_days(tmp_path, placed(labeled(), rows=(50, 42)))
    told = (
        f"1 of 2 files lie elsewhere than {path}/1.nc: in {path}/2.nc 'latitude' goes from 50 to 42"
    )
    assert any(line.startswith(told) for line in open_source(dataset_of(path), 'train').account)
    for values in ({'static': ('orography',)}, {'mask': 'orography'}):
        with pytest.raises(InputError, match=r'is of one place, but 1 of 2 files lie elsewhere'):
            setup_of(path, **values)
    (tmp_path / 'rounded').mkdir()
    rounded = two_days(tmp_path / 'rounded', placed(labeled(), rows=(60.000001, 52)))
    account = open_source(dataset_of(rounded, static=('orography',)), 'train').account
    assert not any('elsewhere' in line for line in account)


def test_targets_of_several_units_are_not_called_by_that_of_the_first(tmp_path):
    content = labeled()
    content.to_netcdf(tmp_path / 'both.nc', engine='h5netcdf')
    source = open_source(dataset_of(tmp_path / 'both.nc'), 'train')
    assert source.scale.unit == 'mm/h and m/s'
    assert 'forecast: wind [9, 10, 1] [H, W, C] in m/s' in source.account
    assert setup_of(tmp_path / 'both.nc', targets=('wind',)).unit == 'm/s'
    with pytest.raises(
        InputError, match=r"unit='mm/h' is one unit, but .* rain, wind are mm/h, m/s"
    ):
        setup_of(tmp_path / 'both.nc', unit='mm/h')
    given = dataset_of(tmp_path / 'both.nc', unit='0.1 mm/h', targets=('rain',))
    assert open_setup(given).unit == 'mm/h'
    told = ' in 0.1 mm/h, as dataset.unit says, where the file says mm/h'
    assert any(line.endswith(told) for line in open_source(given, 'train').account)
    with_unit(content, '').to_netcdf(tmp_path / 'one.nc', engine='h5netcdf')
    assert setup_of(tmp_path / 'one.nc').unit == 'm/s and a unit not stated'


def levels(order, name='level'):
    """Rain on levels, all values of which are the level."""
    values = np.tile(np.array(order, np.float32)[:, None, None], (20, 1, 9, 10))
    dims = ('time', name, 'y', 'x')
    return xarray.Dataset({'rain': (dims, values)}, {name: list(order)})


def test_channels_are_the_same_in_all_files(tmp_path):
    levels((1000, 850, 500)).to_netcdf(tmp_path / '1.nc', engine='h5netcdf')
    assert setup_of(tmp_path / '1.nc').channel_names == ('rain 1000', 'rain 850', 'rain 500')
    for order in ((500, 850, 1000), (1000, 500, 850), (1000, 850, 400)):
        levels(order).to_netcdf(tmp_path / '2.nc', engine='h5netcdf')
        with pytest.raises(
            InputError, match=r'are .*0 in .*2.nc, but 1000, 850, 500 in .*1.nc\. Give'
        ):
            setup_of(tmp_path)
    np.save(tmp_path / 'plain.npy', np.zeros((20, 9, 10, 2)))
    assert setup_of(tmp_path / 'plain.npy').channel_names == ('values 1', 'values 2')
    labeled().to_netcdf(tmp_path / 'both.nc', engine='h5netcdf')
    assert setup_of(tmp_path / 'both.nc').channel_names == ('rain', 'wind')
