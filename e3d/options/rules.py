"""Rules of values: what is allowed, in words for the message, and a test."""

import itertools
import math
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any, NamedTuple

from e3d.files import url_scheme

MOST_WHOLE = 2**31 - 1  # of what is counted in int32, as steps are
MOST_SHOWN = 200  # characters of a value in a message
MOST_FRAMES = 100_000  # of a sequence
MOST = 1e30  # that float32 holds with room for a sum
# Bounds that no machine of today reaches; what fits into one is known when it is tried.
MOST_SEQUENCES = 2**20  # of a batch
MOST_FIXED = 10**8  # sequences of a set that is made beforehand
MOST_PIXELS = 8192  # of a side
MOST_FEATURES = 2**16
MOST_LAYERS = 1024


class Rule(NamedTuple):
    """What a value may be.

    Attributes:
      allowed: in words, to follow "must be".
      accepts: whether a value may stand there.
      kind: the type of the value where it may be None as well, or None.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    kind: type | None = None

    @property
    def brief(self) -> str:
        """What is allowed, but for the bounds that only an absurd value meets."""
        return self.allowed.replace(f' and <= {MOST_WHOLE}', '').replace(f' and <= {MOST:g}', '')


def shown_value(value: Any) -> str:
    """A value in a message, not longer than a few lines."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return '(a number with too many digits to show)'
    return text if len(text) <= MOST_SHOWN else f'{text[:MOST_SHOWN]}...'


def whole(minimum: int, maximum: int = MOST_WHOLE) -> Rule:
    """An integer."""
    words = f'an integer >= {minimum} and <= {maximum}'
    return Rule(words, lambda value: _is_whole(value) and minimum <= value <= maximum, int)


def number(minimum: float, maximum: float = MOST, above: bool = False) -> Rule:
    """A finite number; with `above` the minimum itself is excluded."""
    words = f'a number {">" if above else ">="} {minimum:g} and <= {maximum:g}'

    def accepts(value: Any) -> bool:
        real = isinstance(value, Real) and not isinstance(value, bool)
        # Of not-a-number no comparison is true.
        return real and minimum <= value <= maximum and not (above and value == minimum)

    return Rule(words, accepts, float)


def one_of(*values: Any) -> Rule:
    """One of a few values."""
    return Rule(' or '.join(repr(value) for value in values), lambda value: value in values)


def several(names: Collection[str]) -> Rule:
    """Any number of different names out of a few; more may be entered later."""
    return Rule(
        f'names among {", ".join(map(repr, names))}, such as "({min(names)!r},)"',
        lambda value: (
            isinstance(value, tuple | list)
            and all(isinstance(item, str) and item in names for item in value)
            and len(set(value)) == len(value)
        ),
    )


def ascending(minimum: float, example: tuple[float, ...]) -> Rule:
    """Finite numbers, each larger than the one before; any number of them."""
    several = numbers(minimum, example)
    return Rule(
        several.allowed.replace('numbers', 'ascending numbers'),
        lambda value: (
            several.accepts(value) and all(low < high for low, high in itertools.pairwise(value))
        ),
    )


def numbers(minimum: float, example: tuple[float, ...]) -> Rule:
    """Any number of finite numbers."""
    one = number(minimum)
    return Rule(
        f'() or numbers{"" if minimum <= -MOST else f" >= {minimum:g}"}, such as "{example}"',
        lambda value: isinstance(value, tuple | list) and all(map(one.accepts, value)),
    )


def sizes(example: tuple[int, ...], maximum: int) -> Rule:
    """As many integers >= 1 as an example has."""
    shown = ', '.join(map(str, example))
    return Rule(
        f'{len(example)} integers from 1 to {maximum}, such as "({shown})"',
        lambda value: (
            isinstance(value, tuple | list)
            and len(value) == len(example)
            and all(_is_whole(item) and 1 <= item <= maximum for item in value)
        ),
    )


def distinct(minimum: int, maximum: int, example: tuple[int, ...]) -> Rule:
    """Different integers, any number of them."""
    return Rule(
        f'different integers from {minimum} to {maximum}, such as "{example}"',
        lambda value: (
            isinstance(value, tuple | list)
            and all(_is_whole(item) and minimum <= item <= maximum for item in value)
            and len(set(value)) == len(value)
        ),
    )


def optional(rule: Rule) -> Rule:
    """What `rule` allows, or None."""
    return Rule(
        f'{rule.allowed}, or None',
        lambda value: value is None or rule.accepts(value),
        rule.kind,
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_folder_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.strip(' .') != ''
        and len(value.encode('utf-8', 'replace')) <= 200
        and not set(value) & set('/\\')
        and value.isprintable()
    )


def _names_axes(value: str) -> bool:
    axes = set(value)
    return len(axes) == len(value) and set('THW') <= axes <= set('NTHWC')


def _sums_to_one(value: Any) -> bool:
    are_numbers = isinstance(value, tuple | list) and all(map(number(0).accepts, value))
    return are_numbers and len(value) == 3 and math.isclose(sum(value), 1.0, abs_tol=1e-6)


ANYTHING = Rule('anything', lambda value: True)
TEXT = Rule('a string', lambda value: isinstance(value, str), str)
PATH = Rule(
    "a local path (not a URL), or '' for none",
    lambda value: isinstance(value, str) and not url_scheme(value),
)
FOLDER = Rule(
    'a local folder (not a URL)',
    lambda value: isinstance(value, str) and bool(value) and not url_scheme(value),
)
NAME = Rule(
    'a folder name: not empty, printable, at most 200 bytes, without / and \\, and not . or ..',
    _is_folder_name,
)
SWITCH = Rule('True or False', lambda value: isinstance(value, bool), bool)
FRACTIONS = Rule('three numbers >= 0 whose sum is 1, such as "(0.8, 0.1, 0.1)"', _sums_to_one)
PARTS = Rule(
    '() or numbers > 0 and <= 1, such as "(0.25, 0.5)"',
    lambda value: (
        isinstance(value, tuple | list)
        and all(number(0, 1, above=True).accepts(item) for item in value)
    ),
)
FIT = one_of('crop', 'stretch')
FRAME_RATE = optional(number(0, 1e6, above=True))
LAYOUT = Rule(
    "'' if the shape of the array is enough, or its axes in order: T, H, W, and N and C if it has "
    'them, such as "NTHWC"',
    lambda value: value == '' or (isinstance(value, str) and _names_axes(value)),
)
VARIABLES = Rule(
    """() or names of variables, such as "('rain', 'wind')\"""",
    lambda value: (
        isinstance(value, tuple | list)
        and all(isinstance(item, str) and item for item in value)
        and len(set(value)) == len(value)
    ),
)
COPY_TEST = Rule(
    f'() or {sizes((10, 10), MOST_FRAMES).allowed}',
    lambda value: value in ((), []) or sizes((10, 10), MOST_FRAMES).accepts(value),
)
