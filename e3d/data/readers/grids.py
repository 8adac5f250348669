"""Grids over time from `.npy`, `.npz` and `.h5` files, in pieces: variables by name, and their times.

For netCDF and zarr see `labeled_grids`, which gives the same.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from e3d.data.readers.array_files import load_arrays, map_array
from e3d.data.readers.array_layouts import AXES, arrange, grid_layout
from e3d.data.readers.grid_times import Times, as_text, parse_times
from e3d.data.readers.hdf5_files import check_dataset, open_hdf5
from e3d.errors import InputError

MAX_ARCHIVE_BYTES = 2**33
MAX_TIMES = 10**8
TIME_NAMES = (
    'time', 'times', 'date', 'dates', 'datetime', 'datetimes', 'timestamp', 'timestamps',
    'valid_time', 'xtime',
)  # fmt: skip
SUFFIXES = {'.npy', '.npz', '.h5', '.hdf5'}
_ATTRIBUTES = (
    'scale_factor',
    'add_offset',
    '_FillValue',
    'missing_value',
    'valid_range',
    'valid_min',
    'valid_max',
    '_Unsigned',
    'units',
    'calendar',
)
# What netCDF fills float variables with that state no `_FillValue`, 9.97e36 in float32 and in float64.
_NETCDF_FILL = float(np.float32(9.969209968386869e36))


class Field(NamedTuple):
    """A variable of a file that has no times.

    Attributes:
      read: from the stored number that stands for no value, beside what the file says, or None, to
        float32 `[H, W]`, NaN where there is none.
      axes: as those of a `Grid`.
    """

    read: Callable[[float | None], np.ndarray]
    axes: Mapping[str, tuple[float, ...]] = {}


class Grid(NamedTuple):
    """A variable of a file.

    Attributes:
      name: of the variable.
      file: that holds it.
      shape: (N, T, H, W, C): series, times of each, rows, columns, channels.
      unit: as the file says; '' where it does not.
      read: from (series, first time, the one after the last, the stored number that stands for no
        value, beside what the file says, or None) to float32 `[t, H, W, C]` in the unit, NaN where
        nothing was measured.
      absent: how many pieces the file leaves out, and what stands for them; '' where none.
      axes: by the names of the rows and of the columns, where they have some, the first and the last
        coordinate, or () where they have none.
      channels: the coordinates of the channels, as text; () where they have none.
    """

    name: str
    file: Path
    shape: tuple[int, int, int, int, int]
    unit: str
    read: Callable[[int, int, int, float | None], np.ndarray]
    absent: str = ''
    axes: Mapping[str, tuple[float, ...]] = {}
    channels: tuple[str, ...] = ()


class GridFile(NamedTuple):
    """What a file holds.

    Attributes:
      path: of the file.
      grids: variables with a time axis, by name.
      fields: those without one, `[H, W]`, by name.
      times: of its frames; None where it has none.
      close: ends reading.
    """

    path: Path
    grids: Mapping[str, Grid]
    fields: Mapping[str, Field]
    times: Times | None
    close: Callable[[], None]


def open_grid_file(path: Path, layout: str = '', wanted: Collection[str] = ()) -> GridFile:
    """Opens a file; values are read when they are asked for, but those of `.npz` at once.

    Args:
      path: `.npy`, `.npz`, `.h5` or `.hdf5`.
      layout: of its arrays, see `array_layouts`; '' where their shapes must tell.
      wanted: names of the arrays that are needed; others may be whatever they are. () for all.

    Raises:
      InputError: it cannot be read, or does not tell which axis is which.
    """
    groups: list[str] = []
    with contextlib.ExitStack() as stack:
        match path.suffix.lower():
            case '.npy':
                arrays: Mapping[str, Any] = {path.stem: map_array(path)}
            case '.npz':
                arrays = load_arrays(path, MAX_ARCHIVE_BYTES)
            case _:
                content = stack.enter_context(open_hdf5(path))
                arrays, groups = _sound_datasets(content, wanted), groups_of(content)
        attributes = {name: _attributes_of(array) for name, array in arrays.items()}
        fields = {
            name: _field(array, attributes[name], layout)
            for name, array in arrays.items()
            if array.ndim == 2 and array.dtype.kind in 'iufb'
        }
        grids = each_grid(
            [name for name, array in arrays.items() if array.ndim > 2],
            lambda name: _grid(arrays[name], attributes[name], layout, name, path),
            wanted,
        )
        if not grids and not fields:
            raise InputError(
                f'{path} holds no grids over time: it must have an array [T, H, W], [T, H, W, C] or '
                f'[N, T, H, W, C]; it has {describe_arrays(arrays)}.{describe_groups(groups)}'
            )
        lengths = {grids[name].shape[1] for name in wanted or grids if name in grids}
        times = _find_times(arrays, attributes, lengths, path)
        return GridFile(path, grids, fields, times, stack.pop_all().close)
    raise AssertionError  # an ExitStack may suppress, this one does not


def describe_arrays(arrays: Mapping[str, Any]) -> str:
    """Names and shapes, for a message."""
    return ', '.join(f'{name} {list(array.shape)}' for name, array in arrays.items()) or 'nothing'


def groups_of(content: h5py.File) -> list[str]:
    """The names of what lies at the top of a file and holds more; no link is followed."""
    links = {name: content.get(name, getlink=True) for name in content}
    own = [name for name, link in links.items() if isinstance(link, h5py.HardLink)]
    return [name for name in own if content.get(name, getclass=True) is h5py.Group]


def describe_groups(names: Collection[str]) -> str:
    """Says of groups, at the end of a message, that no variable of them is found; '' for none."""
    if not names:
        return ''
    first, more = ', '.join(sorted(names)[:5]), ', ...' * (len(names) > 5)
    return (
        f' Nor are its groups looked into, {first}{more}: copy the variable, its dimensions and its '
        'times to the top of a file.'
    )


def each_grid(
    names: Collection[str], make: Callable[[str], Grid], wanted: Collection[str]
) -> dict[str, Grid]:
    """Variables by name, without those that cannot be used where nobody asked for them.

    Args:
      names: of all that there are.
      make: gives one, or raises InputError.
      wanted: names of those that are needed; () for all.

    Raises:
      InputError: as `make`.
    """
    made = {}
    for name in names:
        try:
            made[name] = make(name)
        except InputError as error:
            if not wanted and len(names) > 1:
                raise InputError(
                    f'{error} Or leave it out: name the others with dataset.variables.'
                ) from error
            if not wanted or name in wanted:
                raise
    return made


def _sound_datasets(content: h5py.File, wanted: Collection[str]) -> dict[str, h5py.Dataset]:
    """What lies at the top of a file, without what cannot be read where nobody asked for it."""
    sound = {}
    for name in _datasets(content):
        try:
            sound[name] = check_dataset(content, name)
        except InputError:
            # Times without which frames would follow each other are asked for by all.
            if not wanted or name in wanted or name.lower() in TIME_NAMES:
                raise
    return sound


def _datasets(content: h5py.File) -> Iterator[str]:
    """The names of what lies at the top of a file and is no group."""
    for name in content:
        link = content.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or content.get(name, getclass=True) is h5py.Dataset:
            yield name


def _attributes_of(array: Any) -> dict[str, Any]:
    stored = getattr(array, 'attrs', {})
    return stated({name: stored[name] for name in _ATTRIBUTES if name in stored})


def stated(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that have a value: HDF5 knows some that have a type alone."""
    return {k: value for k, value in attributes.items() if not isinstance(value, h5py.Empty)}


def _grid(array: Any, attributes: Mapping[str, Any], layout: str, name: str, path: Path) -> Grid:
    if array.dtype.kind not in 'iufb':
        raise InputError(f"'{name}' in {path} has dtype {array.dtype}; grids must be numbers.")
    axes = grid_layout(array, layout, f"'{name}' in {path}")
    sizes = dict(zip(axes, array.shape, strict=True))

    def read(series: int, start: int, stop: int, missing: float | None) -> np.ndarray:
        places = {'N': slice(series, series + 1), 'T': slice(start, stop)}
        piece = np.asarray(array[tuple(places.get(axis, slice(None)) for axis in axes)])
        return arrange(decode(piece, attributes, missing), axes)[0]

    shape = tuple(int(sizes.get(axis, 1)) for axis in AXES)
    return Grid(name, path, shape, as_text(attributes.get('units', '')), read)  # type: ignore[arg-type]


def _field(array: Any, attributes: Mapping[str, Any], layout: str) -> Field:
    return Field(
        lambda missing: arrange_field(decode(np.asarray(array[()]), attributes, missing), layout)
    )


def arrange_field(field: np.ndarray, layout: str) -> np.ndarray:
    """A view [H, W] of a field that lies as the grids of a layout do."""
    return field.T if columns_first(layout) else field


def columns_first(layout: str) -> bool:
    """Whether columns come before rows in a layout; '' has them after."""
    return layout.find('W') < layout.find('H')


def explain_damage(opened: GridFile) -> GridFile:
    """The same file; what goes wrong when its values are read, long after this, is an InputError."""

    def explain(read: Callable[..., np.ndarray], name: str) -> Callable[..., np.ndarray]:
        return _explained(read, name, opened.path)

    return opened._replace(
        grids={n: grid._replace(read=explain(grid.read, n)) for n, grid in opened.grids.items()},
        fields={n: f._replace(read=explain(f.read, n)) for n, f in opened.fields.items()},
    )


def _explained(read: Callable[..., np.ndarray], name: str, path: Path) -> Callable[..., np.ndarray]:
    def explained(*arguments: Any) -> np.ndarray:
        try:
            return read(*arguments)
        except Exception as error:  # of any type: the libraries expect no damage
            reason = str(error).rstrip('.') or type(error).__name__
            raise InputError(
                f"The values of '{name}' in {path} cannot be read: {reason}. Fetch or write the file "
                'again.'
            ) from error

    return explained


def decode(
    values: np.ndarray, attributes: Mapping[str, Any], missing: npt.ArrayLike | None = None
) -> np.ndarray:
    """Stored numbers in their unit, float32: `scale_factor`, `add_offset`, NaN for what is missing.

    Missing are `_FillValue` and `missing_value`, and as the CF conventions have it (2.5.1) what lies
    outside of `valid_range`, or of `valid_min` and `valid_max`.

    Args:
      values: as stored.
      attributes: of netCDF, as the file has them.
      missing: one more stored number that stands for no value, or several.

    Raises:
      ValueError: an attribute is no number.
    """
    # NetCDF 3 has no unsigned integers: they are stored as signed ones.
    unsigned = as_text(attributes.get('_Unsigned', '')).lower() == 'true'
    if values.dtype.kind == 'b' or (unsigned and values.dtype.kind == 'i'):
        values = values.astype(f'u{values.dtype.itemsize}')
    stated = [_numbers(attributes, name) for name in ('_FillValue', 'missing_value')]
    stated += [np.array([_NETCDF_FILL])] * ('_FillValue' not in attributes)
    gaps = [
        np.isin(values, _as_stored(numbers, values.dtype, unsigned))
        for numbers in [*stated, np.ravel([] if missing is None else missing)]
    ]
    with np.errstate(over='ignore', invalid='ignore'):
        # A large offset, as in 10,000 hPa, is subtracted before digits are lost.
        unpacked = _unpacked(values, attributes)
        numbers = unpacked.astype(np.float32)
    for gap in (*gaps, _outside(values, unpacked, attributes, unsigned)):
        numbers[gap] = np.nan
    return numbers


def _unpacked(values: np.ndarray, attributes: Mapping[str, Any]) -> np.ndarray:
    """Stored numbers by `scale_factor` and `add_offset`, float64 where there are any.

    Raises:
      ValueError: they are no numbers.
    """
    factor, offset = (
        _number(attributes, name, default)
        for name, default in (('scale_factor', 1.0), ('add_offset', 0.0))
    )
    return values if (factor, offset) == (1, 0) else values.astype(np.float64) * factor + offset


def _outside(
    values: np.ndarray, unpacked: np.ndarray, attributes: Mapping[str, Any], unsigned: bool
) -> np.ndarray:
    """Which values lie outside of the valid range that the attributes state, if they do."""
    outside = np.zeros(values.shape, bool)
    ends = _numbers(attributes, 'valid_range')
    if ends.size not in (0, 2):
        raise ValueError(f'its valid_range has {ends.size} numbers, not two')
    for name, end, beyond in (
        ('valid_min', ends[:1], np.less),
        ('valid_max', ends[1:], np.greater),
    ):
        for numbers in (end, _numbers(attributes, name)):
            # Of packed values it is packed as well, unless it has the type of the unpacked ones.
            is_packed = numbers.dtype.kind in 'iu' or values.dtype.kind == 'f'
            if is_packed and unsigned:
                numbers = numbers.astype(values.dtype)
            for number in numbers:
                outside |= beyond(values if is_packed else unpacked, number)
    return outside


def _numbers(attributes: Mapping[str, Any], name: str) -> np.ndarray:
    """The numbers of an attribute; none where it is not there.

    Raises:
      ValueError: it is text.
    """
    numbers = np.ravel(attributes.get(name, np.zeros(0)))
    if numbers.dtype.kind not in 'iufb':
        raise ValueError(f'its {name} is {as_text(attributes[name])[:60]!r}, which is no number')
    return numbers


def _number(attributes: Mapping[str, Any], name: str, default: float) -> float:
    """An attribute that is a number, alone or in an array of one.

    Raises:
      ValueError: it is something else.
    """
    stored = np.ravel(attributes.get(name, default))
    if stored.size != 1 or stored.dtype.kind not in 'iuf' or not np.isfinite(stored[0]):
        raise ValueError(f'its {name} is {as_text(attributes[name])[:60]!r}, which is no number')
    return float(stored[0])


def _as_stored(numbers: np.ndarray, dtype: np.dtype[Any], unsigned: bool) -> np.ndarray:
    """Numbers as a dtype holds them, without those that it cannot hold: they occur nowhere.

    The attributes of a file may have another dtype than its values: -999.9 in float64 is none of the
    float32 that were stored for it.
    """
    if numbers.dtype.kind not in 'iuf':
        return np.zeros(0, dtype)
    if dtype.kind == 'u' and numbers.dtype.kind == 'i':
        least = -(2 ** (8 * dtype.itemsize - 1))
        wraps = (numbers < 0) & (numbers >= least)  # written as signed: -1 is the largest number
        numbers = np.where(wraps | unsigned, numbers.astype(dtype).astype(np.int64), numbers)
    with np.errstate(over='ignore', invalid='ignore'):
        stored = numbers.astype(dtype)
    held = np.isinf(stored) == np.isinf(numbers) if dtype.kind == 'f' else stored == numbers
    return stored[held]


def name_of_times(names: Collection[str], dated: Collection[str], path: Path) -> str | None:
    """Which array tells when frames are: by its name, or else the only one of dates.

    Args:
      names: of the arrays `[T]`.
      dated: of those for as many frames as there are that are dates, whatever they are called.
      path: of the file.

    Raises:
      InputError: there are several of dates.
    """
    ordered = sorted(names, key=str.islower)  # of Time and time the latter
    named = {name.lower(): name for name in ordered}
    known = next((named[name] for name in TIME_NAMES if name in named), None)
    if known is None and len(dated) > 1:
        raise InputError(
            f'{path} has several arrays of dates, {", ".join(dated)}, which do not tell when its frames '
            "are. Call the one that does 'time'."
        )
    return known or next(iter(dated), None)


def states_dates(array: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether an array is dates, by its type or by units such as 'hours since 2020-01-01'."""
    return array.dtype.kind == 'M' or ' since ' in as_text(attributes.get('units', ''))


def _find_times(
    arrays: Mapping[str, Any],
    attributes: Mapping[str, Mapping[str, Any]],
    lengths: Collection[int],
    path: Path,
) -> Times | None:
    names = [name for name, array in arrays.items() if array.ndim == 1]
    dated = [
        name
        for name in names
        if arrays[name].size in lengths and states_dates(arrays[name], attributes[name])
    ]
    name = name_of_times(names, dated, path)
    if name is None:
        return None
    if arrays[name].size > MAX_TIMES:
        raise InputError(f"'{name}' in {path} has more than {MAX_TIMES:,} times.")
    values = np.asarray(arrays[name][()])
    try:
        values = _unpacked(values, attributes[name]) if values.dtype.kind in 'iuf' else values
    except ValueError as error:
        raise InputError(f"'{name}' in {path}: the times cannot be parsed: {error}.") from error
    units, calendar = (as_text(attributes[name].get(key, '')) for key in ('units', 'calendar'))
    return parse_times(values, units, f"'{name}' in {path}", calendar)
