"""Flows of people over the grid of a city, as they are distributed with ST-ResNet.

The `.h5` files, such as BJ13_M32x32_T30_InOut.h5, have `data` [N, C, H, W], counts of who came and
who left in a slot of time, and `date` [N], `yyyymmddss` with the slot 01, 02, ... of the day.
"""

import datetime
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np

from e3d.data.readers.hdf5_files import open_hdf5, read_dataset
from e3d.errors import InputError
from e3d.files import local_path, regular_file

MAX_BYTES = 2**33
MINUTES_A_DAY = 24 * 60
# Up to this share of negative numbers are taken for 0, as in the code of ST-ResNet; data with more
# of them are no counts.
MAX_NEGATIVE = 0.01

INSTRUCTIONS = (
    'TaxiBJ (Beijing): BJ13_M32x32_T30_InOut.h5, BJ14_..., BJ15_... and BJ16_..., up to 370 MB '
    'together, in one folder. BikeNYC (New York): NYC14_M16x8_T60_NewEnd.h5, up to 9 MB. The '
    'authors of ST-ResNet distribute them through the links in '
    'https://github.com/lucktroy/DeepST/tree/master/data. Fetch them by hand, and name the folder '
    'or the file with --config.dataset.path=PATH. Other flows are read from .h5 files with the '
    'data sets data [N, C, H, W] and date [N], and from dataset.npz of OpenSTL. '
    '--config=quickstart needs no download.'
)


class Flows(NamedTuple):
    """What the files hold, in the order of time.

    Attributes:
      counts: float32 [N, H, W, C], at least 0.
      slots: int [N], rising; the slots of time counted through from day to day.
      slots_per_day: number of slots in a day.
      account: how the files were understood, in lines for the user.
    """

    counts: np.ndarray
    slots: np.ndarray
    slots_per_day: int
    account: tuple[str, ...] = ()

    @property
    def days(self) -> np.ndarray:
        """The day of each slot, int [N]."""
        return self.slots // self.slots_per_day

    def rows_before(self, rows: np.ndarray, days: int | np.ndarray, step: int) -> np.ndarray:
        """The rows of the same slots `days` before, a number for all of them or one for each.

        Where that day is missing it is the first that is there of those `step` days before it and so
        on; -1 where the flows begin too late.
        """
        wanted = self.slots[rows] - days * self.slots_per_day
        while True:
            found = np.minimum(np.searchsorted(self.slots, wanted), len(self.slots) - 1)
            early = wanted < self.slots[0]
            missing = (self.slots[found] != wanted) & ~early
            if not missing.any():
                return np.where(early, -1, found)
            wanted = np.where(missing, wanted - step * self.slots_per_day, wanted)


def find_files(path: str) -> list[pathlib.Path]:
    """The .h5 files, or the one .npz file, that a path names.

    Raises:
      InputError: there are none.
    """
    place = local_path(path, 'dataset.path') if path else None
    if not place or not os.path.exists(place):
        found = f"is '{path}', which does not exist" if path else 'is not given'
        raise InputError(f'The flows were not found: dataset.path {found}. {INSTRUCTIONS}')
    if not place.is_dir():
        return [regular_file(place)]
    # Beside the flows lie files of the weather and of holidays.
    files = [file for file in sorted(place.glob('*.h5')) if re.search(r'_T\d+', file.stem)]
    alone = [*place.glob('*.h5'), *place.glob('*.npz')]
    files = files or (alone if len(alone) == 1 else sorted(place.glob('dataset.npz')))
    if not files:
        raise InputError(f'The folder {place} holds no flows. {INSTRUCTIONS}')
    return files


def read_flows(files: list[pathlib.Path], slots_per_day: int | None) -> Flows:
    """Reads .h5 files that follow each other in time.

    Args:
      files: in any order.
      slots_per_day: if None, the file name tells (T30 are slots of 30 minutes), or else the
        largest slot of the dates.

    Raises:
      InputError: a file cannot be read, has another form, or does not fit to the others.
    """
    parts = [_read_flow_file(file, slots_per_day) for file in files]
    parts.sort(key=lambda part: int(part.slots[0]))
    if len({(part.slots_per_day, part.counts.shape[1:]) for part in parts}) > 1:
        raise InputError(
            f'The files in {files[0].parent} differ in their grid or their slots of time; '
            'dataset.path must name files of one kind.'
        )
    slots = np.concatenate([part.slots for part in parts])
    if (np.diff(slots) <= 0).any():
        raise InputError(
            f'The files {", ".join(file.name for file in files)} overlap in time; remove one.'
        )
    counts = np.concatenate([part.counts for part in parts])
    account = tuple(line for part in parts for line in part.account)
    return Flows(counts, slots, parts[0].slots_per_day, account)


def drop_days_with_holes(flows: Flows) -> Flows:
    """Keeps the days of which every slot is there, and says which are left out."""
    days, present = np.unique(flows.days, return_counts=True)
    broken = days[present != flows.slots_per_day]
    whole = ~np.isin(flows.days, broken)
    account = flows.account
    if broken.size:
        named = ', '.join(str(datetime.date.fromordinal(day)) for day in broken[:5].tolist())
        more = f' and {broken.size - 5} more' if broken.size > 5 else ''
        verb = 'is' if broken.size == 1 else 'are'
        account += (
            f'{broken.size} of {days.size} days {verb} left out, as not all of their '
            f'{flows.slots_per_day} slots are there: {named}{more}',
        )
    return Flows(flows.counts[whole], flows.slots[whole], flows.slots_per_day, account)


def _read_flow_file(file: pathlib.Path, slots_per_day: int | None) -> Flows:
    with open_hdf5(file) as content:
        data, dates = (read_dataset(content, name, MAX_BYTES) for name in ('data', 'date'))
    if data.ndim != 4 or dates.ndim != 1 or len(data) != len(dates) or not data.size:
        raise InputError(
            f'In {file}, data has the shape {data.shape} and date {dates.shape}; they must be '
            '[N, C, H, W] and [N].'
        )
    counts, note = _check_counts(data, dates, file)
    days, slots = _parse_dates(dates, file)
    per_day, reason = _find_slots_per_day(file, slots_per_day, slots)
    slots = days * per_day + slots - 1
    order = np.argsort(slots, kind='stable')
    notes = [note] * bool(note)
    if (np.diff(slots) < 0).any():
        notes.append('its dates do not rise and were put in order')
    repeated = np.flatnonzero(np.diff(slots[order]) == 0)
    if repeated.size:
        raise InputError(
            f'{file} has the date {_as_text(dates[order[repeated[0]]])} twice; each slot of time '
            'must be there once.'
        )
    account = (
        f'{file}: data {data.dtype} {list(data.shape)} read as [slots, C, H, W], {per_day} slots '
        f'a day ({reason}), {datetime.date.fromordinal(int(days.min()))} to '
        f'{datetime.date.fromordinal(int(days.max()))}' + ''.join(f'; {note}' for note in notes)
    )
    return Flows(np.ascontiguousarray(counts[order]), slots[order], per_day, (account,))


def _check_counts(
    data: np.ndarray, dates: np.ndarray, file: pathlib.Path
) -> tuple[np.ndarray, str]:
    """The counts, float32 [N, H, W, C], and what was changed in them, '' for nothing."""
    if data.dtype.kind not in 'iuf':
        raise InputError(f'The data in {file} must be numbers; they are {data.dtype}.')
    if data.shape[1] > 4 >= data.shape[3]:
        raise InputError(
            f'In {file}, data has the shape {data.shape}, as if the channels came last; it must be '
            '[N, C, H, W]. Move them: np.moveaxis(data, -1, 1).'
        )
    unusable = ~np.isfinite(data).all(axis=(1, 2, 3))
    if unusable.any():
        raise InputError(
            f'The data in {file} are NaN or infinite in {np.count_nonzero(unusable):,} of '
            f'{len(data):,} slots, the first {_as_text(dates[unusable.argmax()])}; all must be '
            'finite. Fill them with counts, or remove these slots and their dates: a day in which '
            'slots are missing is left out.'
        )
    negative = np.count_nonzero(data < 0)
    if negative > MAX_NEGATIVE * data.size:
        raise InputError(
            f'In {file}, {negative:,} of {data.size:,} numbers are below 0, so they are no counts '
            'of people. Data of another kind can be read as an array, see dataset.layout, once '
            'they are mapped to [0, 1].'
        )
    counts = np.moveaxis(np.maximum(data, 0).astype(np.float32), 1, -1)
    note = f'{negative:,} negative counts are taken for 0, as in the code of ST-ResNet'
    return counts, note if negative else ''


def _parse_dates(dates: np.ndarray, file: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Days since the year 1 and slots from 1, each int [N]."""
    texts = [_as_text(date) for date in dates.tolist()]
    days = {}
    for text in texts:
        try:
            if not re.fullmatch('[0-9]{9,12}', text):
                raise ValueError(f'{text[:30]!r} is not')
            if text[:8] not in days:
                days[text[:8]] = datetime.datetime.strptime(text[:8], '%Y%m%d').toordinal()
        except ValueError as error:
            raise InputError(
                f'The dates in {file} must be like 2015110148, year, month, day and slot: {error}.'
            ) from error
    slots = np.array([int(text[8:]) for text in texts])
    if slots.min() < 1:
        raise InputError(
            f'{file} has the date {texts[int(slots.argmin())]}: the slots of a day are counted from '
            '1, not from 0. Add 1 to all of them.'
        )
    return np.array([days[text[:8]] for text in texts]), slots


def _as_text(date: object) -> str:
    return date.decode('latin-1') if isinstance(date, bytes) else str(date)


def _find_slots_per_day(
    file: pathlib.Path, wanted: int | None, slots: np.ndarray
) -> tuple[int, str]:
    """The number of slots in a day, and what told it."""
    match = re.search(r'_T(\d+)(?:_|$)', file.stem)
    minutes = int(match[1]) if match else 0
    if wanted:
        per_day, reason = wanted, 'dataset.slots_per_day'
    elif match and minutes and MINUTES_A_DAY % minutes == 0:
        per_day, reason = MINUTES_A_DAY // minutes, f'T{match[1]} in its name: minutes'
    else:
        per_day, reason = int(slots.max()), 'the largest of its dates'
    if slots.max() > per_day:
        raise InputError(
            f'{file} has the slot {slots.max()} of a day, but dataset.slots_per_day is {per_day} '
            f'({reason}).'
        )
    return per_day, reason
