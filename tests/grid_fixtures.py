"""Grids as users have them: rain in mm/h that moves, measured within a circle alone."""

import warnings

import numpy as np
import xarray

from e3d.configuration import default_config
from e3d.data.sources.grid_setup import open_setup

HEIGHT, WIDTH = 9, 10


def moving_rain(times, seed=0):
    """Blobs that move on by a known motion, `[T, H, W]`, NaN outside of the reach of the radar."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rain = np.zeros((times, HEIGHT, WIDTH), np.float32)
    for place, height in zip(random.random((3, 2)), random.uniform(2, 20, 3), strict=True):
        for time in range(times):
            dy, dx = (
                (axis - size * start - speed * time + size / 2) % size - size / 2
                for axis, size, start, speed in zip(
                    (y, x), (HEIGHT, WIDTH), place, (0.7, 1.1), strict=True
                )
            )
            rain[time] += height * np.exp(-(dy**2 + dx**2) / 4)
    rain[:, outside()] = np.nan
    return rain


def outside():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (y - HEIGHT / 2) ** 2 + (x - WIDTH / 2) ** 2 > (WIDTH / 2) ** 2


def dates(count, start='2020-03-01T22:00', minutes=30):
    step = np.timedelta64(60 * minutes, 's')
    return np.datetime64(start, 's') + step * np.arange(count)


def labeled(times=40, without=()):
    """Rain, wind and the height of the ground, with dates of which some may be missing."""
    keep = np.setdiff1d(np.arange(times), without)
    random = np.random.default_rng(1)
    wind = random.normal(size=(times, HEIGHT, WIDTH)).astype(np.float32)
    rain = moving_rain(times)
    return xarray.Dataset(
        {
            'rain': (('time', 'y', 'x'), rain[keep], {'units': 'mm/h'}),
            'wind': (('time', 'y', 'x'), wind[keep], {'units': 'm/s'}),
            'orography': (('y', 'x'), random.uniform(0, 900, (HEIGHT, WIDTH)).astype(np.float32)),
        },
        coords={'time': dates(times)[keep].astype('datetime64[ns]')},
    )


def placed(content, rows=(60, 52), columns=(0, 9)):
    """The same with coordinates of rows and columns, from the first to the last."""
    return content.rename(y='latitude', x='longitude').assign_coords(
        latitude=np.linspace(*rows, content.sizes['y']),
        longitude=np.linspace(*columns, content.sizes['x']),
    )


def with_unit(content, unit, name='rain'):
    """The same with another unit of a variable."""
    changed = content.copy()
    changed[name] = content[name].assign_attrs(units=unit)
    return changed


def write_zarr(content, path, **options):
    """Writes a store without the warnings of codecs, types and metadata that are in no specification."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        content.to_zarr(path, consolidated=False, **options)


def dataset_of(path, **values):
    """The section of a config for grids in a file, 2 frames to 2."""
    dataset = default_config('grids').dataset
    dataset.update({'path': str(path), 'input_frames': 2, 'output_frames': 2, **values})
    return dataset


def setup_of(path, **values):
    """The opened files of such a section."""
    return open_setup(dataset_of(path, **values))
