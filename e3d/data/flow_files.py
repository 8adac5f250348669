"""Flows of people over the grid of a city, as they are distributed with ST-ResNet and after it.

* `.h5` files such as BJ13_M32x32_T30_InOut.h5: `data` [N, C, H, W], counts of who came and who
  left in a slot of time, and `date` [N], `yyyymmddss` with the slot 01, 02, ... of the day.
* `dataset.npz`: ready sequences X_train, Y_train, X_test, Y_test [N, T, C, H, W] in [-1, 1].
"""

import datetime
import pathlib
import re
from typing import NamedTuple

import h5py
import numpy as np

from e3d.data.array_files import array_names, load_arrays
from e3d.errors import InputError

MAX_BYTES = 2**34
MINUTES_A_DAY = 24 * 60
ARCHIVE_KEYS = ('X_train', 'Y_train', 'X_test', 'Y_test')
TOLERANCE = 1e-3  # by so much stored values may leave [-1, 1]

REMEDY = (
    'dataset.path must name an .h5 file of flows, a folder of those that follow each other '
    '(BJ13_M32x32_T30_InOut.h5, ...), or dataset.npz.'
)


class Flows(NamedTuple):
    """What the files hold, in the order of time.

    Attributes:
      counts: float32 [N, H, W, C], at least 0.
      slots: int [N], rising; the slots of time counted through from day to day.
      slots_per_day: Number of slots in a day.
    """

    counts: np.ndarray
    slots: np.ndarray
    slots_per_day: int

    @property
    def days(self) -> np.ndarray:
        """The day of each slot, int [N]."""
        return self.slots // self.slots_per_day


def find_files(path: str) -> list[pathlib.Path]:
    """The .h5 files, or the one .npz file, that a path names.

    Raises:
      InputError: there are none.
    """
    place = pathlib.Path(path).expanduser()
    if not path or not place.exists():
        raise InputError(f"dataset.path is '{path}', which does not exist; {REMEDY}")
    if place.is_file():
        return [place]
    # Beside the flows lie files of the weather and of holidays.
    files = [file for file in sorted(place.glob('*.h5')) if re.search(r'_T\d+', file.stem)]
    files = files or sorted(place.glob('*.npz'))[:1]
    if not files:
        raise InputError(f'The folder {place} holds no flows; {REMEDY}')
    return files


def read_flows(files: list[pathlib.Path], slots_per_day: int | None) -> Flows:
    """Reads .h5 files that follow each other in time. Negative counts become 0.

    Args:
      files: In any order.
      slots_per_day: If None, the file name tells (T30 are slots of 30 minutes), or else the
        largest slot of the dates.

    Raises:
      InputError: a file cannot be read, has another form, or does not fit to the others.
    """
    parts = sorted((_read_flow_file(file, slots_per_day) for file in files), key=_first_slot)
    for part in parts[1:]:
        if (part.slots_per_day, part.counts.shape[1:]) != (
            parts[0].slots_per_day,
            parts[0].counts.shape[1:],
        ):
            raise InputError(
                f'The files in {files[0].parent} differ in their grid or their slots of time; '
                'dataset.path must name files of one kind.'
            )
    slots = np.concatenate([part.slots for part in parts])
    if (np.diff(slots) <= 0).any():
        raise InputError(
            f'The files {", ".join(file.name for file in files)} overlap in time; remove one.'
        )
    return Flows(np.concatenate([part.counts for part in parts]), slots, parts[0].slots_per_day)


def drop_days_with_holes(flows: Flows) -> Flows:
    """Keeps the days of which every slot is there."""
    days, counts = np.unique(flows.days, return_counts=True)
    whole = np.isin(flows.days, days[counts == flows.slots_per_day])
    return Flows(flows.counts[whole], flows.slots[whole], flows.slots_per_day)


def read_archive(file: pathlib.Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the sequences of `dataset.npz`.

    Args:
      file: The archive.
      part: 'train' or 'test'.

    Returns:
      The frames before and after, each float32 [N, T, H, W, C], mapped from [-1, 1] to [0, 1].

    Raises:
      InputError: the file cannot be read or has another form.
    """
    keys = (f'X_{part}', f'Y_{part}')
    missing = set(ARCHIVE_KEYS) - array_names(file)
    if missing:
        raise InputError(
            f'{file} holds no {" and no ".join(sorted(missing))}; it must hold '
            f'{", ".join(ARCHIVE_KEYS)}, each [N, T, C, H, W].'
        )
    before, after = load_arrays(file, MAX_BYTES, keys).values()
    shapes = [array.shape for array in (before, after)]
    if any(len(s) != 5 or 0 in s for s in shapes) or {*map(_without_time, shapes)} != {
        _without_time(shapes[0])
    }:
        raise InputError(
            f'In {file}, {keys[0]} has the shape {shapes[0]} and {keys[1]} {shapes[1]}; both must '
            'be [N, T, C, H, W] with the same N, C, H and W.'
        )
    return tuple(
        _from_signed(array, f'{key} in {file}')
        for key, array in zip(keys, (before, after), strict=True)
    )


def _without_time(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:1], *shape[2:])


def _from_signed(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind != 'f' or not np.isfinite(array).all() or array.min() < -1 - TOLERANCE:
        raise InputError(f'{name} must hold finite floats of at least -1; it is {array.dtype}.')
    frames = np.moveaxis(array, 2, -1)
    return np.clip((frames.astype(np.float32) + 1) / 2, 0, None)


def _read_flow_file(file: pathlib.Path, slots_per_day: int | None) -> Flows:
    try:
        with h5py.File(file) as content:
            data, date = (_member(content, key, file) for key in ('data', 'date'))
            counts, dates = data[()], date[()]
    except InputError:
        raise
    except Exception as error:  # of any type: the library expects no damage
        raise InputError(
            f'{file} cannot be read as HDF5: {error}. It must be a whole file; fetch it again.'
        ) from error
    if counts.ndim != 4 or dates.ndim != 1 or len(counts) != len(dates) or not counts.size:
        raise InputError(
            f'In {file}, data has the shape {counts.shape} and date {dates.shape}; they must be '
            '[N, C, H, W] and [N].'
        )
    if counts.dtype.kind not in 'iuf' or not np.isfinite(counts).all():
        raise InputError(f'The data in {file} must be finite numbers; they are {counts.dtype}.')
    days, slots = _parse_dates(dates, file)
    per_day = slots_per_day or _slots_from_name(file) or int(slots.max())
    if slots.max() > per_day:
        raise InputError(
            f'{file} has the slot {slots.max()} of a day, but dataset.slots_per_day is {per_day}.'
        )
    order = days * per_day + slots - 1
    if (np.diff(order) <= 0).any():
        raise InputError(f'The dates in {file} do not rise from entry to entry.')
    counts = np.moveaxis(np.maximum(counts, 0).astype(np.float32), 1, -1)
    return Flows(np.ascontiguousarray(counts), order, per_day)


def _member(content: h5py.File, key: str, file: pathlib.Path) -> h5py.Dataset:
    member = content.get(key)
    if not isinstance(member, h5py.Dataset):
        raise InputError(
            f"{file} has no '{key}'; it holds {', '.join(content) or 'nothing'}. {REMEDY}"
        )
    if member.size * member.dtype.itemsize > MAX_BYTES:
        raise InputError(
            f"'{key}' in {file} takes {member.size * member.dtype.itemsize / 2**30:.1f} GiB, more "
            f'than the {MAX_BYTES / 2**30:g} GiB that are read.'
        )
    return member


def _parse_dates(dates: np.ndarray, file: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Days since the year 1 and slots from 1, each int [N]."""
    try:
        texts = [
            date.decode('ascii') if isinstance(date, bytes) else date for date in dates.tolist()
        ]
        days = {text[:8]: datetime.datetime.strptime(text[:8], '%Y%m%d') for text in texts}
        slots = np.array([int(text[8:]) for text in texts])
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(
            f'The dates in {file} must be like 2015110148, year, month, day and slot: {error}.'
        ) from error
    if slots.min() < 1:
        raise InputError(f'The dates in {file} count the slots of a day from 0; they must from 1.')
    return np.array([days[text[:8]].toordinal() for text in texts]), slots


def _slots_from_name(file: pathlib.Path) -> int | None:
    match = re.search(r'_T(\d+)(?:_|$)', file.stem)
    minutes = int(match[1]) if match else 0
    return MINUTES_A_DAY // minutes if minutes and MINUTES_A_DAY % minutes == 0 else None


def _first_slot(flows: Flows) -> int:
    return int(flows.slots[0])
