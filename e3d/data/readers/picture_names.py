"""What the names of pictures say: numbers, dates and times.

A name has several readings: `t1.25` holds a decimal number or two whole ones, `t-2` a negative
number or a hyphen, `2021-03-01_0930` a time or four numbers.
"""

import datetime
import functools
import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

_CHAIN = re.compile(r'(-?)(\d+(?:[.,]\d+)*)')
_CLOCK = (
    r'(?P<hour>[01]\d|2[0-3])[-_:.h]?(?P<minute>[0-5]\d)'
    r'(?:[-_:.m]?(?P<second>[0-5]\d)(?:[.,]?(?P<fraction>\d{1,9}))?)?'
)
_YEAR, _MONTH = r'(?P<year>(?:19|20)\d\d)', r'(?P<month>0[1-9]|1[0-2])'
_DAY = r'(?P<day>0[1-9]|[12]\d|3[01])'
_HOURS = rf'(?:[-_.T ]?(?:{_CLOCK}|(?P<alone>[01]\d|2[0-3])))?'
_EPOCH = datetime.datetime(1970, 1, 1)


class Name(NamedTuple):
    """A name in one reading.

    Attributes:
      texts: what stands before, between and behind the numbers, in small letters.
      numbers: as many as there are texts, less one.
    """

    texts: tuple[str, ...]
    numbers: tuple[int | Fraction, ...]


class Reading(NamedTuple):
    """A way to read names.

    Attributes:
      words: what it takes the numbers for.
      sign: what some name must have for it to differ from the plain one.
      read: makes a `Name` of a name without its suffix; None where this is no way to read it.
    """

    words: str
    sign: re.Pattern[str]
    read: Callable[[str], Name | None]


def read_numbers(stem: str, decimal: bool = False, signed: bool = False) -> Name:
    """Reads numbers.

    Args:
      stem: of the file.
      decimal: whether one point between digits makes a decimal number. Several never do, as in
        2021.03.01.
      signed: whether a hyphen after a letter is a sign; after a digit it never is, and otherwise
        always, as in `frame_-2`.
    """
    texts, end = [''], 0
    numbers: list[int | Fraction] = []
    for match in _CHAIN.finditer(stem):
        hyphen, digits = match.groups()
        before = stem[max(0, match.start() - 1) : match.start()]
        parts = re.split('[.,]', digits)
        values: list[int | Fraction] = [int(part) for part in parts]
        if decimal and len(parts) == 2:
            values = [Fraction('.'.join(parts))]
        negative = hyphen and (signed or not before.isalpha()) and not before.isdecimal()
        negative = negative and len(values) == 1  # of 1.2.10 no part is negative
        texts[-1] += stem[end : match.start()].lower() + ('' if negative else hyphen)
        numbers += [-values[0]] if negative else values
        texts += ['.'] * (len(values) - 1) + ['']
        end = match.end()
    texts[-1] += stem[end:].lower()
    return Name(tuple(texts), tuple(numbers))


def _time(pattern: re.Pattern[str], stem: str) -> Name | None:
    """Reads a date or a time as one number: months where there is no day, else seconds."""
    match = pattern.search(stem)
    if not match:
        return None
    found = {key: value for key, value in match.groupdict().items() if value}
    parts = {key: int(found.get(key, default)) for key, default in _DEFAULTS.items()}
    if 'day' not in found and 'year' in found:
        value: int | Fraction = 12 * parts['year'] + parts['month']
    else:
        parts['hour'] += int(found.get('alone', 0))
        try:
            day = parts['year'], parts['month'], parts['day']
            clock = parts['hour'], parts['minute'], parts['second']
            moment = datetime.datetime(*day, *clock)
            value = int((moment - _EPOCH).total_seconds())
        except ValueError:  # February 30
            return None
        if 'fraction' in found:
            value += Fraction(int(found['fraction']), 10 ** len(found['fraction']))
    # Names of which one has a part of the time that the other has not are not of one form.
    before, after = read_numbers(stem[: match.start()]), read_numbers(stem[match.end() :])
    form = f'{before.texts[-1]}<{",".join(found)}>'
    return Name((*before.texts[:-1], form, *after.texts), (*before.numbers, value, *after.numbers))


_DEFAULTS = {'year': 1970, 'month': 1, 'day': 1, 'hour': 0, 'minute': 0, 'second': 0}


def _time_reading(words: str, pattern: str) -> Reading:
    compiled = re.compile(rf'(?<!\d){pattern}(?!\d)')
    return Reading(words, compiled, functools.partial(_time, compiled))


def _number_reading(words: str, sign: str, decimal: bool = False, signed: bool = False) -> Reading:
    read = functools.partial(read_numbers, decimal=decimal, signed=signed)
    return Reading(words, re.compile(sign), read)


BY_DAY = ('dates (day first)', 'dates (month first)')
# The first that fits as well as any other is taken.
READINGS = (
    _time_reading(
        'dates and times', rf'{_YEAR}(?P<mark>[-_.]?){_MONTH}(?:(?P=mark){_DAY}{_HOURS})?'
    ),
    _time_reading(BY_DAY[0], rf'{_DAY}(?P<mark>[-_.]){_MONTH}(?P=mark){_YEAR}{_HOURS}'),
    _time_reading(BY_DAY[1], rf'{_MONTH}(?P<mark>[-_.]){_DAY}(?P=mark){_YEAR}{_HOURS}'),
    _number_reading('numbers', r'\d'),
    _number_reading('decimal numbers', r'\d[.,]\d', decimal=True),
    _number_reading('numbers with a sign', r'[^\W\d_]-\d', signed=True),
    _number_reading(
        'decimal numbers with a sign', r'[^\W\d_]-\d+[.,]\d', decimal=True, signed=True
    ),
    _time_reading('times of day', _CLOCK),
)
