"""When the frames of grids are: dates as files write them, or plain numbers."""

import re
from typing import Any, NamedTuple

import numpy as np

from e3d.errors import InputError

# In microseconds.
_UNITS = {
    'nanosecond': 1e-3, 'microsecond': 1, 'millisecond': 10**3, 'msec': 10**3,
    's': 10**6, 'sec': 10**6, 'second': 10**6, 'min': 60 * 10**6, 'minute': 60 * 10**6,
    'h': 3600 * 10**6, 'hr': 3600 * 10**6, 'hour': 3600 * 10**6,
    'd': 86_400 * 10**6, 'day': 86_400 * 10**6,
}  # fmt: skip
# Since when numbers count, as netCDF files write it: '1-1-1 00:00:0.0', '2020-01-01 06:00 +02:00'.
_START = re.compile(
    r'(-?\d{1,5})(?:-(\d{1,2})(?:-(\d{1,2}))?)?'
    r'(?:[T ]+(\d{1,2})(?::(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?)?)?'
    r'\s*(?:Z|UTC|GMT|([+-]\d{1,2})(?::?(\d{2}))?)?'
)
# Dates without anything between their parts, by how many digits they have.
_DIGITS = {8: 'yyyymmdd', 10: 'yyyymmddHH', 12: 'yyyymmddHHMM', 14: 'yyyymmddHHMMSS'}
_YEARS = (1800, 2200)  # numbers whose digits are dates of these are such dates
_HOURS, _MINUTES = 24, 1440  # of a day
_ROUNDED = 0.01  # of the smallest step, or of a second, that a date may be moved to a whole one
_PROLEPTIC = 'proleptic_gregorian'  # which goes on before 1582
_USUAL_CALENDARS = ('standard', 'gregorian', _PROLEPTIC, '')
_REFORM = np.datetime64('1582-10-15', 's')  # before which 'standard' has Julian dates
OTHER_CALENDAR = (
    'follow a calendar of their own, such as one without leap days, which is not read. Convert them to '
    'dates of the usual one.'
)


class Times(NamedTuple):
    """When the frames of a file are.

    Attributes:
      values: dates, datetime64[s], or datetime64[ms] where seconds do not tell them apart; or float64
        `[T]`.
      form: how dates are written that are no ISO dates, such as 'yyyymmdd'; else ''.
    """

    values: np.ndarray
    form: str = ''


def as_text(value: Any) -> str:
    """An attribute as text."""
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value)


def parse_times(values: np.ndarray, units: str, name: str, calendar: str = '') -> Times:
    """Times as dates, or as plain numbers where nothing says since when they count.

    Args:
      values: datetime64, texts, or numbers. Texts are dates in ISO 8601, or digits: yyyymmdd,
        yyyymmddHHMM, yyyymmddHHMMSS, or yyyymmdd and two more, which are hours where some are 00 and
        slots of the day where they go up to 24, 48, 72 or 96, as in the flows of ST-ResNet. Numbers
        whose units tell no beginning, and whose digits are all such dates, are these.
      units: of the numbers, as in 'hours since 2020-01-01'; others and '' tell no beginning.
      name: what to call them in messages.
      calendar: in which units count days, as netCDF names it; '' for the usual one. Dates before
        1582-10-15 in 'standard' are Julian ones, and become what they are in the one that goes on.

    Raises:
      InputError: they cannot be parsed, or follow another calendar.
    """
    if ' since ' in units and calendar.lower() not in _USUAL_CALENDARS:
        raise InputError(f'{name}: the times {OTHER_CALENDAR}')
    try:
        if values.dtype.kind == 'M':
            return Times(_in_seconds(values))
        if values.dtype.kind in 'SUO':
            return _parse_texts([as_text(value) for value in values.tolist()])
        if values.dtype.kind not in 'iuf' or not np.isfinite(values).all():
            raise ValueError(f'dtype {values.dtype}, or not finite')
        if ' since ' not in units:  # such as bare hours, or 'day as %Y%m%d'
            digits = _digits_of_dates(values)
            return _parse_digits(digits) if digits else Times(values.astype(np.float64))
        match = re.fullmatch(r'\s*(\w+?)s?\s+since\s+(.+?)\s*', units)
        if not match or match[1].lower() not in _UNITS:
            varied = ', which have no one length' * bool(match and match[1] in ('month', 'year'))
            raise ValueError(f'units {units!r}{varied}')
        start, scale = _start(match[2], calendar.lower()), _UNITS[match[1].lower()]
        with np.errstate(over='ignore', invalid='ignore'):  # too many of them make no date
            microseconds = np.rint(values.astype(np.float64) * scale)
            return Times(_in_seconds(start + microseconds.astype('timedelta64[us]')))
    except (ValueError, OverflowError) as error:
        raise InputError(
            f'{name}: the times cannot be parsed ({error}). They must be ISO dates, such as '
            '2020-05-01T13:00, or yyyymmdd, yyyymmddHHMM or yyyymmddHHMMSS, or numbers with units such '
            "as 'hours since 2020-01-01'."
        ) from error


def _start(text: str, calendar: str) -> np.datetime64:
    """The date since which numbers count, in a calendar of `_USUAL_CALENDARS`.

    Raises:
      ValueError: it is none, or lies before 1582 and nothing says in which calendar.
    """
    match = _START.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is no date")
    year, month, day = (int(part or 1) for part in match.groups()[:3])
    hour, minute, second = (float(part or 0) for part in match.groups()[3:6])
    if hour >= _HOURS or minute >= 60 or second >= 60:
        raise ValueError(f"'{text}' is no time of day")
    date = np.datetime64(f'{year:04}-{month:02}-{day:02}', 's')
    if date < _REFORM and calendar != _PROLEPTIC:
        if not calendar:
            raise ValueError(
                f"they count since '{text}', before 1582-10-15, where 'standard' has Julian dates; the "
                "attribute 'calendar' must say whether it is that or 'proleptic_gregorian'"
            )
        # A year that begins in March has its leap day last.
        century = (year - (month < 3)) // 100
        date += np.timedelta64(century - century // 4 - 2, 'D')
    hours, minutes = match.groups('0')[6:]  # ahead of UTC
    ahead = 60 * int(hours) + (-1 if hours.startswith('-') else 1) * int(minutes)
    seconds = 3600 * hour + 60 * (minute - ahead) + second
    return date + np.timedelta64(round(1e6 * seconds), 'us')


def _parse_texts(texts: list[str]) -> Times:
    # A number alone is a year to NumPy, however long it is.
    if any(re.fullmatch('[0-9]+', text) for text in texts):
        return _parse_digits(texts)
    # As WRF writes them, 2020-05-01_13:00:00.
    texts = [re.sub('(?<=-[0-9]{2})_', 'T', text) for text in texts]
    return Times(_in_seconds(np.array(texts, 'datetime64[us]')))


def _in_seconds(dates: np.ndarray) -> np.ndarray:
    """Dates to the second, to which they may have been rounded; to the millisecond where it tells.

    Raises:
      ValueError: one is missing.
    """
    if np.isnat(dates).any():
        raise ValueError('a date is missing')
    microseconds = dates.astype('datetime64[us]').astype(np.int64)
    milliseconds = (microseconds + 500) // 1000
    seconds = (milliseconds + 500) // 1000
    steps = np.diff(np.unique(milliseconds))
    shift = np.abs(1000 * seconds - milliseconds).max(initial=0)
    if shift > _ROUNDED * steps.min(initial=1000):
        return milliseconds.astype('datetime64[ms]')
    return seconds.astype('datetime64[s]')


def _parse_digits(texts: list[str]) -> Times:
    """Dates without anything between their parts, see `parse_times`."""
    form = _DIGITS.get(len(texts[0]))
    odd = [text for text in texts if not re.fullmatch('[0-9]+', text) or len(text) != len(texts[0])]
    if not form or odd:
        raise ValueError(f"'{(odd or texts)[0]}' is no date of 8, 10, 12 or 14 digits")
    days = _days(texts)
    if form == _DIGITS[10]:
        return _parse_hours(days, texts)
    clock = [[int(text[at : at + 2] or 0) for text in texts] for at in (8, 10, 12)]
    for parts, end in zip(clock, (_HOURS, 60, 60), strict=True):
        if max(parts) >= end:
            raise ValueError(f"'{texts[parts.index(max(parts))]}' is no {form}")
    seconds = np.array([3600, 60, 1]) @ np.array(clock)
    return Times(days + seconds.astype('timedelta64[s]'), form)


def _parse_hours(days: np.ndarray, texts: list[str]) -> Times:
    """Dates of which the last two digits are the hour, 00 to 23, or the slot of the day, from 01 on."""
    numbers = np.array([int(text[8:]) for text in texts])
    least, most = int(numbers.min()), int(numbers.max())
    if least == 0 and most < _HOURS:
        first, minutes, form = 0, _MINUTES // _HOURS, _DIGITS[10]
    elif least > 0 and most % _HOURS == 0:
        first, minutes, form = 1, _MINUTES // most, f'yyyymmdd and the slot, {most} a day'
    else:
        raise ValueError(
            f"the last two digits of '{texts[0]}' and the others go from {least:02d} to {most:02d}, "
            'which tells neither hours, of which some are 00, nor slots of a day, up to 24, 48, 72 or '
            '96'
        )
    return Times(days + ((numbers - first) * minutes * 60).astype('timedelta64[s]'), form)


def _days(texts: list[str]) -> np.ndarray:
    return np.array([f'{text[:4]}-{text[4:6]}-{text[6:8]}' for text in texts], 'datetime64[s]')


def _digits_of_dates(values: np.ndarray) -> list[str] | None:
    """Numbers as texts where the digits of all are those of plausible dates; else None."""
    if not values.size or (values != np.rint(values)).any():
        return None
    first, last = str(int(values.min())), str(int(values.max()))
    years = range(*_YEARS)
    if len(first) != len(last) or len(first) not in _DIGITS:
        return None
    if int(first[:4]) not in years or int(last[:4]) not in years:
        return None
    texts = [str(int(value)) for value in values.tolist()]
    try:
        _days(texts)
    except ValueError:  # such as seconds since 1970
        return None
    return texts
