"""Grids over time from `.npy`, `.npz` and `.h5` files, in pieces: variables by name, and their times.

For netCDF and zarr see `labeled_grids`, which gives the same.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from e3d.data.readers.array_files import load_arrays, map_array
from e3d.data.readers.array_layouts import AXES, grid_layout
from e3d.data.readers.hdf5_files import check_dataset, open_hdf5
from e3d.errors import InputError

MAX_ARCHIVE_BYTES = 2**33
MAX_TIMES = 10**8
TIME_NAMES = ('time', 'times', 'date', 'dates', 'datetime', 'timestamp', 'valid_time')
SUFFIXES = {'.npy', '.npz', '.h5', '.hdf5'}
_UNITS = {'s': 1, 'sec': 1, 'second': 1, 'min': 60, 'minute': 60, 'h': 3600, 'hour': 3600}
_UNITS |= {'d': 86400, 'day': 86400}
_ATTRIBUTES = ('scale_factor', 'add_offset', '_FillValue', 'missing_value', 'units')


class Grid(NamedTuple):
    """A variable of a file.

    Attributes:
      name: of the variable.
      file: that holds it.
      shape: (N, T, H, W, C): series, times of each, rows, columns, channels.
      unit: as the file says; '' where it does not.
      read: from (series, first time, the one after the last) to float32 `[t, H, W, C]` in the unit,
        NaN where nothing was measured.
    """

    name: str
    file: Path
    shape: tuple[int, int, int, int, int]
    unit: str
    read: Callable[[int, int, int], np.ndarray]


class GridFile(NamedTuple):
    """What a file holds.

    Attributes:
      path: of the file.
      grids: variables with a time axis, by name.
      fields: those without one, `[H, W]`, by name.
      times: datetime64[s] or float64 `[T]`; None where it has none.
      close: ends reading.
    """

    path: Path
    grids: Mapping[str, Grid]
    fields: Mapping[str, np.ndarray]
    times: np.ndarray | None
    close: Callable[[], None]


def open_grid_file(path: Path, layout: str = '') -> GridFile:
    """Opens a file; values are read when they are asked for, but those of `.npz` at once.

    Args:
      path: `.npy`, `.npz`, `.h5` or `.hdf5`.
      layout: of its arrays, see `array_layouts`; '' where their shapes must tell.

    Raises:
      InputError: it cannot be read, or does not tell which axis is which.
    """
    with contextlib.ExitStack() as stack:
        match path.suffix.lower():
            case '.npy':
                arrays: Mapping[str, Any] = {path.stem: map_array(path)}
            case '.npz':
                arrays = load_arrays(path, MAX_ARCHIVE_BYTES)
            case _:
                content = stack.enter_context(open_hdf5(path))
                arrays = {name: check_dataset(content, name) for name in _datasets(content)}
        attributes = {name: _attributes_of(array) for name, array in arrays.items()}
        times = _find_times(arrays, attributes, path)
        grids, fields = {}, {}
        for name, array in arrays.items():
            if array.ndim == 2 and array.dtype.kind in 'iufb':
                fields[name] = decode(np.asarray(array[()]), attributes[name])
            elif array.ndim > 2:
                grids[name] = _grid(array, attributes[name], layout, name, path)
        if not grids:
            raise InputError(
                f'{path} holds no grids over time: it must have an array [T, H, W], [T, H, W, C] or '
                f'[N, T, H, W, C]; it has {describe_arrays(arrays)}.'
            )
        return GridFile(path, grids, fields, times, stack.pop_all().close)
    raise AssertionError  # an ExitStack may suppress, this one does not


def describe_arrays(arrays: Mapping[str, Any]) -> str:
    """Names and shapes, for a message."""
    return ', '.join(f'{name} {list(array.shape)}' for name, array in arrays.items()) or 'nothing'


def _datasets(content: h5py.File) -> Iterator[str]:
    """The names of what lies at the top of a file and is no group."""
    for name in content:
        link = content.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or content.get(name, getclass=True) is h5py.Dataset:
            yield name


def _attributes_of(array: Any) -> dict[str, Any]:
    stored = getattr(array, 'attrs', {})
    return {name: stored[name] for name in _ATTRIBUTES if name in stored}


def _grid(array: Any, attributes: Mapping[str, Any], layout: str, name: str, path: Path) -> Grid:
    if array.dtype.kind not in 'iufb':
        raise InputError(f"'{name}' in {path} has dtype {array.dtype}; grids must be numbers.")
    axes = grid_layout(array, layout, f"'{name}' in {path}")
    sizes = dict(zip(axes, array.shape, strict=True))

    def read(series: int, start: int, stop: int) -> np.ndarray:
        places = {'N': slice(series, series + 1), 'T': slice(start, stop)}
        piece = np.asarray(array[tuple(places.get(axis, slice(None)) for axis in axes)])
        return arranged(decode(piece, attributes), axes)

    shape = tuple(int(sizes.get(axis, 1)) for axis in AXES)
    return Grid(name, path, shape, as_text(attributes.get('units', '')), read)  # type: ignore[arg-type]


def arranged(piece: np.ndarray, axes: str) -> np.ndarray:
    """A piece of one series as `[t, H, W, C]`."""
    order = [axes.index(axis) for axis in AXES if axis in axes]
    missing = tuple(place for place, axis in enumerate(AXES) if axis not in axes)
    return np.expand_dims(piece.transpose(order), missing)[0]


def decode(values: np.ndarray, attributes: Mapping[str, Any]) -> np.ndarray:
    """Stored numbers in their unit, float32: `scale_factor`, `add_offset`, NaN for what is missing."""
    gaps = [
        values == np.asarray(attributes[name]).ravel()[0]
        for name in ('_FillValue', 'missing_value')
        if name in attributes
    ]
    # A large offset, as in 10,000 hPa, is subtracted before digits are lost.
    with np.errstate(over='ignore', invalid='ignore'):
        kind = np.float64 if values.dtype.itemsize > 2 else np.float32
        wide: np.ndarray[Any, np.dtype[np.floating]] = values.astype(kind)
        factor, offset = (
            float(np.asarray(attributes.get(name, default)).ravel()[0])
            for name, default in (('scale_factor', 1.0), ('add_offset', 0.0))
        )
        if (factor, offset) != (1.0, 0.0):
            wide = wide * factor + offset
        numbers = wide.astype(np.float32)
    for gap in gaps:
        numbers[gap] = np.nan
    return numbers


def as_text(value: Any) -> str:
    """An attribute as text."""
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value)


def _find_times(
    arrays: Mapping[str, Any], attributes: Mapping[str, Mapping[str, Any]], path: Path
) -> np.ndarray | None:
    name = next((name for name in TIME_NAMES if name in arrays and arrays[name].ndim == 1), None)
    if name is None:
        return None
    if arrays[name].size > MAX_TIMES:
        raise InputError(f"'{name}' in {path} has more than {MAX_TIMES:,} times.")
    units = as_text(attributes[name].get('units', ''))
    return parse_times(np.asarray(arrays[name][()]), units, f"'{name}' in {path}")


def _parse_texts(texts: list[str]) -> np.ndarray:
    """ISO dates, or yyyymmddss with the slot 01, 02, ... of the day, as flows of ST-ResNet have it."""
    if not all(re.fullmatch('[0-9]{10}', text) for text in texts):
        times = np.array(texts, 'datetime64[s]')
        if np.isnat(times).any():
            raise ValueError('a date is missing')
        return times
    days = np.array([f'{text[:4]}-{text[4:6]}-{text[6:8]}' for text in texts], 'datetime64[s]')
    slots = np.array([int(text[8:]) for text in texts])
    first, per_day = (0, 24) if slots.min() == 0 else (1, int(slots.max()))
    return days + ((slots - first) * 86_400 // per_day).astype('timedelta64[s]')


def parse_times(values: np.ndarray, units: str, name: str) -> np.ndarray:
    """Times as datetime64[s], or as plain numbers where nothing says since when they count.

    Args:
      values: datetime64, texts in ISO 8601 or yyyymmddss, or numbers.
      units: of the numbers, as in 'hours since 2020-01-01'; '' for none.
      name: what to call them in messages.

    Raises:
      InputError: they cannot be parsed.
    """
    try:
        if values.dtype.kind == 'M':
            return values.astype('datetime64[s]')
        if values.dtype.kind in 'SUO':
            return _parse_texts([as_text(value) for value in values.tolist()])
        if values.dtype.kind not in 'iuf' or not np.isfinite(values).all():
            raise ValueError(f'dtype {values.dtype}, or not finite')
        if not units:
            return values.astype(np.float64)
        match = re.fullmatch(r'\s*(\w+?)s?\s+since\s+(.+?)\s*', units)
        if not match or match[1].lower() not in _UNITS:
            raise ValueError(f'units {units!r}')
        start = np.datetime64(match[2].removesuffix('Z').removesuffix(' UTC'), 's')
        seconds = np.rint(values.astype(np.float64) * _UNITS[match[1].lower()])
        return start + seconds.astype('timedelta64[s]')
    except (ValueError, OverflowError) as error:
        raise InputError(
            f'{name}: the times cannot be parsed ({error}). They must be ISO dates, such as '
            "2020-05-01T13:00, or numbers with units such as 'hours since 2020-01-01'."
        ) from error
