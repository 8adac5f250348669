"""Grids, fields and times that lie on axes of their own: where the cells are, and when the frames."""

import h5py
import numpy as np
import pytest
import xarray
from grid_fixtures import HEIGHT, dataset_of, dates, labeled, outside, placed, setup_of, write_zarr

from e3d.data.sources.registry import open_source
from e3d.errors import InputError

HALF_HOUR = np.timedelta64(30, 'm')


def square():
    """Rain and the height of the ground on as many rows as columns, with coordinates."""
    return placed(labeled().isel(x=slice(0, HEIGHT)))


def written(content, path):
    content.to_netcdf(path, engine='h5netcdf')
    return path


def mask_like(content):
    """A file with a mask alone, of the cells of a file of grids, of which some are left out."""
    there = ~outside()[: content.sizes['latitude'], : content.sizes['longitude']]
    there[:2] = False  # so that up and down differ
    dims = ('latitude', 'longitude')
    return xarray.Dataset({'land': (dims, there.astype('i1'))}, {d: content[d] for d in dims})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda mask: mask.isel(latitude=slice(None, None, -1)),
         r"'latitude' goes from 52 to 60 in the mask .*mask.nc, but from 60 to 52 in 'rain' of"),
        (lambda mask: mask.isel(latitude=slice(None, None, -1)).rename(latitude='lat'),
         r"'lat' goes from 52 to 60 in the mask .*mask.nc, but from 60 to 52 in 'rain' of"),
        (lambda mask: mask.transpose(),
         r'Rows and columns are longitude and latitude in the mask .*, but latitude and longitude'),
        (lambda mask: mask.assign_coords(longitude=mask.longitude + 1),
         r"^The mask .* lies elsewhere than 'rain' of .*: 'longitude' goes from 1 to .*same cells"),
    ],
)  # fmt: skip
def test_a_mask_of_other_cells_is_refused(tmp_path, change, message):
    content = square()
    mask = mask_like(content)
    path = written(content, tmp_path / 'rain.nc')
    kept = setup_of(path, mask=str(written(mask, tmp_path / 'same.nc'))).mask
    np.testing.assert_array_equal(kept[..., 0], mask.land.values)
    changed = written(change(mask), tmp_path / 'mask.nc')
    with pytest.raises(InputError, match=message):
        setup_of(path, mask=str(changed))


@pytest.mark.parametrize('layout', ['', 'TWH'])
@pytest.mark.parametrize('turned', [('rain', 'wind'), ('orography',), ()])
def test_fields_are_turned_as_the_grids_of_their_file_are(tmp_path, layout, turned):
    content = square()
    names = ['time', *('longitude', 'latitude')[:: 1 if 'rain' in turned else -1]]
    for name in ('rain', 'wind'):
        content[name] = content[name].transpose(*names)
    if 'orography' in turned:
        content['orography'] = content['orography'].transpose()
    path = written(content, tmp_path / 'rain.nc')
    setup = setup_of(path, static=('orography',), mask='orography', layout=layout)
    first = content.transpose('time', *(names[:0:-1] if layout else names[1:])).isel(time=0)
    np.testing.assert_array_equal(setup.static[..., 0], first.orography.transpose(*first.rain.dims))
    np.testing.assert_array_equal(setup.mask[..., 0], setup.static[..., 0] != 0)


@pytest.mark.parametrize('kind', ['npz', 'h5', 'nc'])
def test_without_names_a_layout_tells_how_fields_lie(tmp_path, kind):
    rain, ground = np.random.default_rng(0).random((2, 20, 8, 8), np.float32)
    path, arrays = tmp_path / f'rain.{kind}', {'rain': rain, 'ground': ground[0]}
    if kind == 'npz':
        np.savez(path, **arrays)
    else:
        with h5py.File(path, 'w') as file:
            file.update(arrays)
    for layout, turned in (('THW', False), ('TWH', True)):
        setup = setup_of(path, static=('ground',), layout=layout)
        frame, field = setup.read('rain', 0, 1)[0, ..., 0], setup.static[..., 0]
        np.testing.assert_array_equal(frame, rain[0].T if turned else rain[0])
        np.testing.assert_array_equal(field, ground[0].T if turned else ground[0])


@pytest.mark.parametrize('layout', ['THW', 'TWH'])
def test_a_mask_of_its_own_lies_as_that_of_the_file_does(tmp_path, layout):
    rain, land = np.random.default_rng(0).random((20, 8, 8), np.float32), np.ones((8, 8), 'u1')
    land[2] = land[5, 1] = 0
    np.savez(tmp_path / 'rain.npz', rain=rain, land=land)
    np.save(tmp_path / 'mask.npy', land)
    np.savez(tmp_path / 'mask.npz', land=land)
    for kind in ('h5', 'nc'):
        with h5py.File(tmp_path / f'mask.{kind}', 'w') as file:
            file['land'] = land
    names = ['land', *(str(tmp_path / f'mask.{kind}') for kind in ('npy', 'npz', 'h5', 'nc'))]
    for name in names:
        mask = setup_of(tmp_path / 'rain.npz', mask=name, layout=layout).mask[..., 0]
        np.testing.assert_array_equal(mask, land.T if layout == 'TWH' else land, err_msg=name)


def two_axes(later=0, dated=True):
    """Rain along one axis of times and wind along another, which may be some steps later."""
    content, steps = labeled()[['rain']], np.arange(40)
    content['wind'] = ('time1', 'y', 'x'), content.rain.values + 5
    if not dated:
        return content.drop_vars('time')
    return content.assign_coords(time1=('time1', content.time.values[0] + steps * HALF_HOUR)).isel(
        time=slice(0, 40 - later), time1=slice(later, 40)
    )


@pytest.mark.parametrize('kind', ['nc', 'zarr'])
def test_variables_of_other_times_are_not_paired(tmp_path, kind):
    def write(content, name):
        path = tmp_path / f'{name}.{kind}'
        if kind == 'nc':
            return written(content, path)
        write_zarr(content, path)
        return path

    same = setup_of(write(two_axes(), 'same'))
    assert same.variables == ('rain', 'wind') and same.timeline.length == 40
    for later in (1, 12):
        path = write(two_axes(later), f'later_{later}')
        first = two_axes(later).time1.values[0].astype('M8[s]')
        with pytest.raises(
            InputError,
            match=rf"'wind' in .* lies along 'time1' from {first} on, but 'rain' along 'time' from 2020",
        ):
            setup_of(path)
        assert setup_of(path, variables=('wind',)).timeline.times[0] == first
    undated = write(two_axes(dated=False), 'undated')
    with pytest.raises(
        InputError, match=r"along 'time1' without times, but 'rain' along 'time' wi"
    ):
        setup_of(undated, layout='THW', variables=('rain', 'wind'))


def with_hole(count=40):
    """Times of as many frames, half an hour apart, of which some are left out after the tenth."""
    return np.delete(dates(count + 3), [10, 11, 12])


@pytest.mark.parametrize('name', ['timestamps', 'DateTimes', 'XTIME', 'measured'])
@pytest.mark.parametrize('kind', ['npz', 'h5', 'nc', 'zarr'])
def test_dates_are_seen_by_whatever_name(tmp_path, kind, name):
    path, times, rain = tmp_path / f'rain.{kind}', with_hole(), labeled().rain.values
    minutes = (times - times[0]) / np.timedelta64(1, 'm')
    units = {'units': f'minutes since {times[0]}'}
    match kind:
        case 'npz':
            np.savez(path, data=rain, beside=np.arange(40), **{name: times})
        case 'h5':
            with h5py.File(path, 'w') as file:
                file['data'], file[name], file['beside'] = rain, minutes, np.arange(40)
                file[name].attrs.update(units)
        case _:
            content = xarray.Dataset({'data': (('Time', 'south_north', 'west_east'), rain)})
            content = content.assign_coords(
                {name: ('Time', minutes, units), 'beside': ('Time', np.arange(40))}
            )
            written(content, path) if kind == 'nc' else write_zarr(content, path)
    timeline = setup_of(path).timeline
    np.testing.assert_array_equal(timeline.times, times)
    assert timeline.runs.tolist() == [[0, 10], [10, 40]]


def test_dates_beside_the_numbers_of_frames_are_the_times(tmp_path):
    content = labeled()[['rain']].drop_vars('time').rename(time='frame')
    content = content.assign_coords(frame=np.arange(40))
    path = written(content, tmp_path / 'numbers.nc')
    assert not setup_of(path, layout='THW').timeline.has_dates
    content['started'] = 'frame', with_hole().astype('M8[ns]')
    path = written(content, tmp_path / 'dates.nc')
    np.testing.assert_array_equal(setup_of(path, layout='THW').timeline.times, with_hole())


def test_times_of_the_weather_model_are_read_as_it_writes_them(tmp_path):
    texts = np.char.replace(with_hole().astype('S19'), b'T', b'_')
    content = xarray.Dataset(
        {'RAIN': (('Time', 'south_north', 'west_east'), labeled().rain.values)}
    )
    content['Times'] = 'Time', texts
    content['XTIME'] = 'Time', np.arange(40.0), {'description': 'minutes since a start'}
    for kind in ('NETCDF4', 'NETCDF3_64BIT'):
        path = tmp_path / f'{kind}.nc'
        content.to_netcdf(path, engine='h5netcdf' if kind == 'NETCDF4' else 'scipy', format=kind)
        np.testing.assert_array_equal(setup_of(path).timeline.times, with_hole())


@pytest.mark.parametrize('kind', ['npz', 'nc'])
def test_of_several_arrays_of_dates_none_is_taken(tmp_path, kind):
    path, rain, times = tmp_path / f'rain.{kind}', labeled().rain.values, with_hole()
    both = {'start': times, 'end': times + HALF_HOUR}
    for named in ({}, {'time': times}):
        if kind == 'npz':
            np.savez(path, data=rain, **both, **named)
        else:
            content = xarray.Dataset({'data': (('time', 'y', 'x'), rain)})
            content = content.assign_coords({n: ('time', t) for n, t in (both | named).items()})
            written(content, path)
        if named:
            np.testing.assert_array_equal(setup_of(path).timeline.times, times)
        else:
            with pytest.raises(
                InputError, match=r"several arrays of dates, .*the one that does 'ti"
            ):
                setup_of(path)


def test_dates_of_other_things_are_no_times(tmp_path):
    built = dates(7)  # of as many stations
    np.savez(tmp_path / 'rain.npz', data=labeled().rain.values, built=built)
    assert setup_of(tmp_path / 'rain.npz').timeline.times is None


def test_without_times_nothing_is_said_of_gaps(tmp_path):
    rain = labeled().rain.values
    np.savez(tmp_path / 'one.npz', rain=rain)
    np.save(tmp_path / 'three.npy', np.stack([rain, rain, rain])[..., None])
    for name, count in (('one.npz', '40 frames in 1'), ('three.npy', '120 frames in 3')):
        account = open_source(dataset_of(tmp_path / name), 'train').account[0]
        told = 'series without times: the frames of each are taken to follow each other'
        assert account.endswith(f'{name}: {count} {told}')
