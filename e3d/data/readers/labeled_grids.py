"""Grids over time from netCDF files and zarr stores, whose dimensions have names; read by xarray."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from e3d.data.readers.grids import TIME_NAMES, Grid, GridFile, arranged, describe_arrays
from e3d.data.readers.hdf5_files import check_dataset, open_hdf5
from e3d.data.readers.zarr_stores import check_store, is_zarr
from e3d.errors import InputError
from e3d.files import regular_file

SUFFIXES = {'.nc', '.nc4', '.cdf', '.netcdf'}
SERIES_NAMES = ('sample', 'sequence', 'event', 'series', 'case', 'batch', 'n')
CHANNEL_NAMES = ('channel', 'channels', 'band', 'level', 'lev', 'plev', 'pressure', 'height', 'c')
_HDF5 = b'\x89HDF\r\n\x1a\n'


def is_labeled(path: Path) -> bool:
    """Whether a path is what this file reads."""
    return path.suffix.lower() in SUFFIXES or (path.is_dir() and is_zarr(path))


def open_labeled_grids(path: Path, layout: str = '') -> GridFile:
    """Opens a netCDF file or a zarr store; values are read when they are asked for.

    Args:
      path: of the file or of the folder of the store.
      layout: letters for the dimensions of the variables in their order, see `array_layouts`; ''
        where their names tell: the time by its dates or its name, rows and columns as the last two,
        and of others `CHANNEL_NAMES` and `SERIES_NAMES`.

    Raises:
      InputError: it cannot be read, or does not tell which dimension is which.
    """
    try:
        import xarray
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} is read by the package {error.name}: pip install 'e3d[grids]'"
        ) from error
    engine = _checked_engine(path)
    options: dict[str, Any] = {'consolidated': False} if engine == 'zarr' else {}
    with contextlib.ExitStack() as stack:
        try:
            # One variable after the other is read; decoded, gaps are NaN and times are dates.
            content = xarray.open_dataset(path, engine=engine, chunks=None, cache=False, **options)
            stack.callback(content.close)
            return _read_content(content, layout, path, stack.pop_all().close)
        except InputError:
            raise
        except Exception as error:  # of any type: the libraries expect no damage
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip('.')
            raise InputError(
                f'{path} cannot be read as {engine}: {reason}. It must be whole, with dates of the '
                'usual calendar.'
            ) from error
    raise AssertionError  # an ExitStack may suppress, this one does not


def _checked_engine(path: Path) -> str:
    """What reads a path, after what it could lead astray was looked for."""
    if path.is_dir():
        check_store(path)
        return 'zarr'
    with regular_file(path).open('rb') as file:
        if file.read(len(_HDF5)) != _HDF5:
            return 'scipy'  # netCDF 3
    with open_hdf5(path) as content:
        for name in content:
            # A dimension without values is a data set that was never written.
            group = content.get(name, getclass=True) is h5py.Group
            if not group and not _is_dimension(content, name):
                check_dataset(content, name)
    return 'h5netcdf'


def _is_dimension(content: Any, name: str) -> bool:
    value = content.get(name)
    stated = getattr(value, 'attrs', {}).get('NAME', b'')
    return bytes(stated).startswith(b'This is a netCDF dimension but not a netCDF variable')


def _read_content(content: Any, layout: str, path: Path, close: Any) -> GridFile:
    grids, fields, times = {}, {}, None
    numbers = {
        name: array for name, array in content.data_vars.items() if array.dtype.kind in 'iufb'
    }
    for name, array in numbers.items():
        if array.ndim == 2:
            fields[str(name)] = array.values.astype(np.float32)
        elif array.ndim > 2:
            axes = _axes(array, layout, f"'{name}' in {path}")
            grids[str(name)] = _grid(array, axes, str(name), path)
            times = _times_of(array, axes) if times is None else times
    if not grids:
        raise InputError(
            f'{path} holds no grids over time: it must have a variable with a time and two more '
            f'dimensions; it has {describe_arrays(numbers)}.'
        )
    return GridFile(path, grids, fields, times, close)


def _axes(array: Any, layout: str, name: str) -> str:
    if layout:
        if len(layout) != array.ndim:
            raise InputError(
                f'{name} has the dimensions {array.dims}, but dataset.layout={layout!r} names '
                f'{len(layout)}. Name each.'
            )
        return layout
    dims = [str(dim) for dim in array.dims]
    times = [dim for dim in dims if _is_time(array, dim)]
    rest = [dim for dim in dims if dim not in times]
    letters = {dim: 'T' for dim in times}
    for dim in list(rest):
        letter = 'C' if dim.lower() in CHANNEL_NAMES else 'N' if dim.lower() in SERIES_NAMES else ''
        if letter and letter not in letters.values() and len(rest) > 2:
            letters[dim] = letter
            rest.remove(dim)
    if len(times) != 1 or len(rest) != 2:
        shown = ', '.join(f'{dim}={size}' for dim, size in zip(dims, array.shape, strict=True))
        raise InputError(
            f'{name} has the dimensions {shown}, which do not tell time, rows and columns. Say so: '
            '--config.dataset.layout=NTHWC or the like, a letter for each in their order (N series, T '
            'time, H rows, W columns, C channels).'
        )
    letters |= dict(zip(rest, 'HW', strict=True))
    return ''.join(letters[dim] for dim in dims)


def _is_time(array: Any, dim: str) -> bool:
    known = dim in array.coords and array.coords[dim].dtype.kind == 'M'
    return known or dim.lower() in (*TIME_NAMES, 't')


def _grid(array: Any, axes: str, name: str, path: Path) -> Grid:
    sizes = dict(zip(axes, array.shape, strict=True))
    dims = {axis: dim for axis, dim in zip(axes, array.dims, strict=True)}

    def read(series: int, start: int, stop: int) -> np.ndarray:
        places: Mapping[Any, slice] = {dims['T']: slice(start, stop)}
        if 'N' in dims:
            places = {**places, dims['N']: slice(series, series + 1)}
        return arranged(array.isel(places).values.astype(np.float32), axes)

    shape = tuple(int(sizes.get(axis, 1)) for axis in 'NTHWC')
    return Grid(name, path, shape, str(array.attrs.get('units', '')), read)  # type: ignore[arg-type]


def _times_of(array: Any, axes: str) -> np.ndarray | None:
    dim = array.dims[axes.index('T')]
    if dim not in array.coords:
        return None
    values = array.coords[dim].values
    if values.dtype.kind == 'M':
        return values.astype('datetime64[s]')
    if values.dtype.kind == 'O':
        raise InputError(
            f"The times of '{array.name}' follow a calendar of their own, such as one without leap "
            'days, which is not read. Convert them to dates of the usual one.'
        )
    return values.astype(np.float64)
