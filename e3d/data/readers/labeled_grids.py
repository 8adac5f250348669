"""Grids over time from netCDF files and zarr stores, whose dimensions have names; read by xarray."""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from e3d.data.readers.array_layouts import AXES, arrange
from e3d.data.readers.grid_times import Times, as_text, parse_times
from e3d.data.readers.grids import (
    TIME_NAMES,
    Field,
    Grid,
    GridFile,
    arrange_field,
    columns_first,
    decode,
    describe_arrays,
    describe_groups,
    each_grid,
    groups_of,
    name_of_times,
    stated,
    states_dates,
)
from e3d.data.readers.hdf5_files import check_dataset, open_hdf5
from e3d.data.readers.zarr_stores import NO_STORE, Store, check_store, is_zarr
from e3d.errors import InputError
from e3d.files import regular_file

SUFFIXES = {'.nc', '.nc4', '.cdf', '.netcdf'}
SERIES_NAMES = ('sample', 'sequence', 'event', 'series', 'case', 'batch', 'n')
CHANNEL_NAMES = ('channel', 'channels', 'band', 'c')
# Of levels: channels where there are none, and rows and columns beside them.
LEVEL_NAMES = (
    'level', 'lev', 'plev', 'pressure', 'pressure_level', 'isobaricinhpa', 'depth', 'height',
)  # fmt: skip
_UNNAMED = 'phony_dim_'  # begins the names that h5netcdf gives to dimensions without one
# What netCDF fills integer variables with that state no `_FillValue`; of bytes each number is a value.
_FILLS = {
    'i2': -(2**15) + 1, 'i4': -(2**31) + 1, 'i8': -(2**63) + 2,
    'u2': 2**16 - 1, 'u4': 2**32 - 1, 'u8': 2**64 - 2,
}  # fmt: skip
_UNDATED: Any = {'decode_times': False, 'decode_timedelta': False}
_HDF5 = b'\x89HDF\r\n\x1a\n'


def is_labeled(path: Path) -> bool:
    """Whether a path is what this file reads."""
    return path.suffix.lower() in SUFFIXES or (path.is_dir() and is_zarr(path))


def open_labeled_grids(path: Path, layout: str = '', wanted: Collection[str] = ()) -> GridFile:
    """Opens a netCDF file or a zarr store; values are read when they are asked for.

    Args:
      path: of the file or of the folder of the store.
      layout: letters for the dimensions of the variables in their order, see `array_layouts`; ''
        where their names tell: the time by its dates or its name, rows and columns as the last two,
        and of others `CHANNEL_NAMES`, `LEVEL_NAMES` and `SERIES_NAMES`.
      wanted: names of the variables that are needed; others may be whatever they are. () for all.

    Raises:
      InputError: it cannot be read, or does not tell which dimension is which.
    """
    try:
        import xarray

        source, store, groups = _checked_source(path)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} is read by the package {error.name}: pip install 'e3d[grids]'"
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            # One variable after the other is read, as it is stored: `decode` has one way for all files.
            content = xarray.open_dataset(
                **source, chunks=None, cache=False, mask_and_scale=False, decode_times=False
            )
            stack.callback(content.close)
            if path.is_dir():  # which has no order: that of its listing is another on each disk
                content = content[sorted(content.variables, key=str)]
            for name, variable in content.variables.items():
                left = ('_FillValue',) if name in store.zeros else ()
                variable.attrs = {k: v for k, v in stated(variable.attrs).items() if k not in left}
            if not path.is_dir():
                _state_fills(content)
            axes = [dim for dim in content.dims if dim in content.coords]
            # Times are parsed by `parse_times`, as those of all files.
            coords = xarray.decode_cf(content[axes], **_UNDATED).coords
            opened = _read_content(
                content, coords, layout, wanted, path, groups, stack.pop_all().close
            )
            told = {n: g._replace(absent=_account(store, n)) for n, g in opened.grids.items()}
            return opened._replace(grids=told)
        except InputError:
            raise
        except Exception as error:  # of any type: the libraries expect no damage
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip('.')
            raise InputError(
                f'{path} cannot be read as {source["engine"]}: {reason}. It must be whole; fetch or '
                'write it again.'
            ) from error
    raise AssertionError  # an ExitStack may suppress, this one does not


def _state_fills(content: Any) -> None:
    """Enters what netCDF fills with where nothing is stated of it; a valid range says it all."""
    for variable in content.data_vars.values():
        told = {'_FillValue', 'valid_range', 'valid_min', 'valid_max'} & variable.attrs.keys()
        fill = _FILLS.get(variable.dtype.str[1:])
        if variable.ndim > 1 and fill is not None and not told:
            variable.attrs['_FillValue'] = np.array(fill, variable.dtype)


def _account(store: Store, name: str) -> str:
    """What is to be said of a variable of a zarr store; '' for others."""
    zeros = '0, the fill value that zarr takes by default, is a gap only with dataset.missing=0'
    return '; '.join(filter(None, [store.absent.get(name, ''), zeros * (name in store.zeros)]))


def _checked_source(path: Path) -> tuple[dict[str, Any], Store, list[str]]:
    """What xarray is to open, and with what, after what could lead it astray was looked for.

    Also what a zarr store tells, nothing of other files, and the groups of a netCDF file.
    """
    if path.is_dir():
        from e3d.data.readers.zarr_codecs import open_store

        store = check_store(path)
        times = [name for name in store.texts if name.lower() in TIME_NAMES]
        if times:
            raise InputError(
                f"'{times[0]}' in {path} is text of any length. Write the times as dates, or as text of "
                'one length.'
            )
        options = {'consolidated': False, 'drop_variables': store.texts}
        source = {'filename_or_obj': open_store(path), 'engine': 'zarr', **options}
        return source, store, []
    with regular_file(path).open('rb') as file:
        if file.read(len(_HDF5)) != _HDF5:
            return {'filename_or_obj': path, 'engine': 'scipy'}, NO_STORE, []  # netCDF 3
    with open_hdf5(path) as content:
        groups = groups_of(content)
        for name in content:
            # What a link leads to is not looked at: opening a named pipe waits for its writer.
            own = isinstance(content.get(name, getlink=True), h5py.HardLink)
            # A dimension without values is a data set that was never written.
            if name not in groups and not (own and _is_dimension(content, name)):
                check_dataset(content, name)
    # Dimensions that have no name get one.
    return {'filename_or_obj': path, 'engine': 'h5netcdf', 'phony_dims': 'sort'}, NO_STORE, groups


def _is_dimension(content: Any, name: str) -> bool:
    value = content.get(name)
    stated = as_text(getattr(value, 'attrs', {}).get('NAME', ''))
    return stated.startswith('This is a netCDF dimension but not a netCDF variable')


def _read_content(
    content: Any,
    coords: Any,
    layout: str,
    wanted: Collection[str],
    path: Path,
    groups: Collection[str],
    close: Any,
) -> GridFile:
    """What an opened file holds, stored as `content` has it, with the times of `coords`."""
    numbers = {str(name): array for name, array in content.data_vars.items() if _is_measured(array)}
    timed = [
        name for name, array in numbers.items() if any(_is_time(coords, d) for d in array.dims)
    ]
    fields = {
        name: _field(array, coords, layout)
        for name, array in numbers.items()
        if array.ndim == 2 and name not in timed
    }
    # Without a time there is no grid over time, unless no name tells which dimension it is.
    axes = {}

    def make(name: str) -> Grid:
        axes[name] = _axes(numbers[name], coords, layout, f"'{name}' in {path}")
        return _grid(numbers[name], axes[name], coords, path)

    grids = each_grid(
        [
            name
            for name, array in numbers.items()
            if array.ndim > 2 and (name in timed or name in wanted or not timed)
        ],
        make,
        wanted,
    )
    if not grids and not fields:
        raise InputError(
            f'{path} holds no grids over time: it must have a variable with a time and two more '
            f'dimensions; it has {describe_arrays(numbers)}.{describe_groups(groups)}'
        )
    along = {
        name: numbers[name].dims[axes[name].index('T')] for name in wanted or grids if name in grids
    }
    times = _shared_times(content, coords, along, path) if along else None
    return GridFile(path, grids, fields, times, close)


def _is_measured(array: Any) -> bool:
    """Whether a variable is numbers, and these are no dates."""
    return array.dtype.kind in 'iufb' and not states_dates(array, array.attrs)


def _unit(array: Any) -> str:
    return as_text(array.attrs.get('units', ''))


def _axes(array: Any, coords: Any, layout: str, name: str) -> str:
    if layout:
        if len(layout) != array.ndim:
            raise InputError(
                f'{name} has the dimensions {array.dims}, but dataset.layout={layout!r} names '
                f'{len(layout)}. Name each.'
            )
        return layout
    dims = [str(dim) for dim in array.dims]
    times = [dim for dim in dims if _is_time(coords, dim)]
    rest = [dim for dim in dims if dim not in times]
    letters = {dim: 'T' for dim in times}
    # Beside a width a height is that of frames.
    levels = [
        name for name in LEVEL_NAMES if name != 'height' or 'width' not in map(str.lower, rest)
    ]
    for letter, names in (('N', SERIES_NAMES), ('C', CHANNEL_NAMES), ('C', levels)):
        found = next((dim for dim in rest if dim.lower() in names), None)
        if found and letter not in letters.values() and len(rest) > 2:
            letters[found] = letter
            rest.remove(found)
    if len(times) != 1 or len(rest) != 2:
        shown = ', '.join(f'{dim}={size}' for dim, size in zip(dims, array.shape, strict=True))
        raise InputError(
            f'{name} has the dimensions {shown}, which do not tell time, rows and columns. Say so: '
            '--config.dataset.layout=NTHWC or the like, a letter for each in their order (N series, T '
            'time, H rows, W columns, C channels).'
        )
    letters |= dict(zip(rest, 'HW', strict=True))
    return ''.join(letters[dim] for dim in dims)


def _is_time(coords: Any, dim: Any) -> bool:
    known = dim in coords and states_dates(coords[dim], coords[dim].attrs)
    return known or str(dim).lower() in (*TIME_NAMES, 't')


def _grid(array: Any, axes: str, coords: Any, path: Path) -> Grid:
    sizes = dict(zip(axes, array.shape, strict=True))
    dims = {axis: dim for axis, dim in zip(axes, array.dims, strict=True)}

    def read(series: int, start: int, stop: int, missing: float | None) -> np.ndarray:
        places: Mapping[Any, slice] = {dims['T']: slice(start, stop)}
        if 'N' in dims:
            places = {**places, dims['N']: slice(series, series + 1)}
        return arrange(decode(array.isel(places).values, array.attrs, missing), axes)[0]

    shape = tuple(int(sizes.get(axis, 1)) for axis in AXES)
    places = _places(coords, [dims[axis] for axis in 'HW' if axis in dims])
    channels = _labels(coords, dims['C']) if 'C' in dims else ()
    return Grid(array.name, path, shape, _unit(array), read, axes=places, channels=channels)  # type: ignore[arg-type]


def _labels(coords: Any, dim: Any) -> tuple[str, ...]:
    """The coordinates of a dimension as text; () where it has none."""
    if dim not in coords:
        return ()
    values = coords[dim].values
    return tuple(f'{v:g}' if values.dtype.kind in 'iuf' else as_text(v) for v in values.tolist())


def _places(coords: Any, dims: Iterable[Any]) -> dict[str, tuple[float, ...]]:
    """What `Grid.axes` are of rows and columns: nothing of those without a name of their own."""
    return {str(dim): _ends(coords, dim) for dim in dims if not str(dim).startswith(_UNNAMED)}


def _ends(coords: Any, dim: Any) -> tuple[float, ...]:
    """The first and the last coordinate of a dimension; () where it has no numbers."""
    if dim not in coords or coords[dim].dtype.kind not in 'iuf' or coords[dim].size < 2:
        return ()
    ends = coords[dim].values[[0, -1]].astype(np.float64)
    return tuple(ends.tolist()) if np.isfinite(ends).all() else ()


def _field(array: Any, coords: Any, layout: str) -> Field:
    dims = array.dims[::-1] if columns_first(layout) else array.dims
    return Field(
        lambda missing: arrange_field(decode(array.values, array.attrs, missing), layout),
        _places(coords, dims),
    )


def _shared_times(content: Any, coords: Any, along: Mapping[str, Any], path: Path) -> Times | None:
    """The times of variables, given the dimension of time of each, which frames are paired by.

    Raises:
      InputError: they cannot be parsed, or those of two variables are not the same.
    """
    (first, axis), *others = along.items()
    times = _times_of(content, coords, axis, first, path)
    for name, dim in others:
        own = times if dim == axis else _times_of(content, coords, dim, name, path)
        if dim != axis and not _same_times(times, own):
            raise InputError(
                f"'{name}' in {path} lies along '{dim}'{_beginning(own)}, but '{first}' along "
                f"'{axis}'{_beginning(times)}: nothing says that their frames are of the same times. "
                'Name variables of one time axis with dataset.variables, or write them along one.'
            )
    return times


def _times_of(content: Any, coords: Any, dim: Any, name: str, path: Path) -> Times | None:
    """The times along a dimension of a variable; None where nothing tells them.

    They are the coordinates of the dimension, or what lies beside them where these are no times, as
    the dates `XTIME(Time)` of WRF.
    """
    if dim in coords and _is_time(coords, dim):
        found: Any = dim
    else:
        beside = {str(n): v for n, v in content.variables.items() if v.dims == (dim,) != (n,)}
        dated = [n for n, v in beside.items() if states_dates(v, v.attrs)]
        found = name_of_times(beside, dated, path) or dim
    if found not in coords and found not in content.variables:
        return None
    times = coords[found] if found in coords else _undated(content, found)
    units, calendar = (as_text(times.attrs.get(key, '')) for key in ('units', 'calendar'))
    return parse_times(np.asarray(times.values), units, f"'{found}' in {path}", calendar)


def _undated(content: Any, name: str) -> Any:
    """A variable in its unit; no other one is looked at."""
    import xarray

    return xarray.decode_cf(xarray.Dataset({name: content.variables[name]}), **_UNDATED)[name]


def _same_times(one: Times | None, other: Times | None) -> bool:
    if one is None or other is None or one.values.dtype.kind != other.values.dtype.kind:
        return False
    return np.array_equal(one.values, other.values)


def _beginning(times: Times | None) -> str:
    return ' without times' if times is None else f' from {times.values[0]} on'
