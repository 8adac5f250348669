"""Rules of values: what is allowed, in words for the message, and a test."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from e3d.files import url_scheme


class Rule(NamedTuple):
    """What a value may be.

    Attributes:
      allowed: in words, to follow "allowed is".
      accepts: whether a value may stand there.
    """

    allowed: str
    accepts: Callable[[Any], bool]


def whole(minimum: int, maximum: float = math.inf) -> Rule:
    """A whole number."""
    words = f'a whole number of at least {minimum}'
    words += '' if maximum == math.inf else f' and at most {maximum}'
    return Rule(words, lambda value: _is_whole(value) and minimum <= value <= maximum)


def number(minimum: float, maximum: float = math.inf, above: bool = False) -> Rule:
    """A finite number; with `above` the minimum itself is excluded."""
    words = f'a number {"above" if above else "of at least"} {minimum:g}'
    words += '' if maximum == math.inf else f' and at most {maximum:g}'

    def accepts(value):
        real = isinstance(value, int | float) and not isinstance(value, bool)
        inside = real and math.isfinite(value) and minimum <= value <= maximum
        return inside and not (above and value == minimum)

    return Rule(words, accepts)


def one_of(*values: Any) -> Rule:
    """One of a few values."""
    return Rule(' or '.join(repr(value) for value in values), lambda value: value in values)


def sizes(length: int) -> Rule:
    """A tuple of whole numbers of at least 1."""
    return Rule(
        f'{length} whole numbers of at least 1, as "({", ".join("8" * length)})"',
        lambda value: (
            isinstance(value, tuple | list)
            and len(value) == length
            and all(_is_whole(item) and item >= 1 for item in value)
        ),
    )


def optional(rule: Rule) -> Rule:
    """What `rule` allows, or None."""
    return Rule(f'{rule.allowed}, or None', lambda value: value is None or rule.accepts(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _names_axes(value: str) -> bool:
    axes = set(value)
    return len(axes) == len(value) and set('THW') <= axes <= set('NTHWC')


def _sums_to_one(value: Any) -> bool:
    numbers = isinstance(value, tuple | list) and all(number(0).accepts(item) for item in value)
    return numbers and len(value) == 3 and math.isclose(sum(value), 1.0, abs_tol=1e-6)


PATH = Rule(
    "a path of this machine (no URL), or '' for none",
    lambda value: isinstance(value, str) and not url_scheme(value),
)
FOLDER = Rule(
    'a folder of this machine (no URL)',
    lambda value: isinstance(value, str) and bool(value) and not url_scheme(value),
)
NAME = Rule('a text that is not empty', lambda value: isinstance(value, str) and bool(value))
SWITCH = Rule('True or False', lambda value: isinstance(value, bool))
FRACTIONS = Rule('three numbers of at least 0 whose sum is 1, as "(0.8, 0.1, 0.1)"', _sums_to_one)
PARTS = Rule(
    '() or numbers above 0 and at most 1, as "(0.25, 0.5)"',
    lambda value: (
        isinstance(value, tuple | list)
        and all(number(0, 1, above=True).accepts(item) for item in value)
    ),
)
FIT = one_of('crop', 'stretch')
FRAME_RATE = optional(number(0, above=True))
LAYOUT = Rule(
    "'', where the array tells itself, or its axes in order: T, H, W, and N and C where it has them, "
    'as "NTHWC"',
    lambda value: value == '' or (isinstance(value, str) and _names_axes(value)),
)
COPY_TEST = Rule(
    '() or two whole numbers of at least 1, as "(10, 10)"',
    lambda value: value in ((), []) or sizes(2).accepts(value),
)
PERSONS = Rule(
    'different whole numbers of at least 1 and at most 25, as "(15, 16)"',
    lambda value: (
        isinstance(value, tuple | list)
        and all(_is_whole(item) and 1 <= item <= 25 for item in value)
        and len(set(value)) == len(value)
    ),
)
