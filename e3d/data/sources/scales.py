"""What the numbers that a model sees stand for: pixels, or data with a unit and a range of their own."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

REFLECTIVITY = 200.0, 1.6  # a and b of Z = a R^b, R in mm/h (Marshall and Palmer 1948)


def _to_decibels(rain: np.ndarray) -> np.ndarray:
    """mm/h to 10 log10(1 + Z): no rain is 0, and from 10 on it is dBZ to half a dB."""
    factor, power = map(np.float32, REFLECTIVITY)
    return np.float32(10) * np.log10(1 + factor * np.maximum(rain, 0) ** power)


def _to_rain(decibels: np.ndarray) -> np.ndarray:
    factor, power = map(np.float32, REFLECTIVITY)
    linear = np.expm1(np.maximum(decibels, 0) * np.float32(math.log(10) / 10))
    return (linear / factor) ** (1 / power)


UNNAMED_UNIT = 'the unit of the data'  # that nothing states

Bound = float | tuple[float, ...]  # a number, or one for each channel


def numbered(count: int) -> tuple[str, ...]:
    """What so many channels are called that have no names."""
    return tuple(f'channel {number}' for number in range(1, count + 1))


class Transform(NamedTuple):
    """What is done to values before they are mapped to [0, 1], and its inverse; for values >= 0."""

    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


TRANSFORMS = {
    'log1p': Transform(np.log1p, np.expm1),
    'dBZ': Transform(_to_decibels, _to_rain),
}


class Scale(NamedTuple):
    """How the values of the data and those of the model belong together.

    Attributes:
      value_range: (low, high), what 0 and 1 stand for in the unit of the data; None for pictures,
        where they are black and white, and for data whose unit is not known. Of several channels
        that differ that of the first.
      bounds: the least and the largest value there can be, as the model sees them, each a number
        for all channels or a tuple with one of each; infinite where there is none. Later flows may be
        larger than all of the training, which end at 1.
      ranges: (low, high) of each channel where they differ; () where they are all `value_range`.
      transform: a key of `TRANSFORMS`, by which values go before they are mapped; '' for none.
      unit: its name, such as 'mm/h'; '' where it is not known.
      beside: (low, high) of each channel that the data have beside the frames and that is scaled.
    """

    value_range: tuple[float, float] | None = None
    bounds: tuple[Bound, Bound] = (0.0, 1.0)
    ranges: tuple[tuple[float, float], ...] = ()
    transform: str = ''
    unit: str = ''
    beside: tuple[tuple[float, float], ...] = ()

    @property
    def of_pixels(self) -> bool:
        """Whether the data are pictures, from black to white."""
        return self == PIXELS

    @property
    def is_linear(self) -> bool:
        """Whether one factor brings every error of the model to the unit of the data."""
        return self.value_range is not None and not self.ranges and not self.transform

    def from_unit(self, values: npt.ArrayLike) -> np.ndarray:
        """Values in the unit of the data as the model sees them, float32 of any shape.

        The last axis is that of the channels where these differ.
        """
        array = np.asarray(values, np.float32)
        if self.value_range is None:
            return array
        if self.transform:
            array = TRANSFORMS[self.transform].forward(array)
        low, high = self._ends()
        return (array - low) / (high - low)

    def to_unit(self, values: npt.ArrayLike) -> np.ndarray:
        """The inverse of `from_unit`."""
        array = np.asarray(values, np.float32)
        if self.value_range is None:
            return array
        low, high = self._ends()
        array = array * (high - low) + low
        if not self.transform:
            return array
        with np.errstate(over='ignore'):  # of cells without truth, or of a model that diverged
            return TRANSFORMS[self.transform].inverse(array)

    def _ends(self) -> np.ndarray:
        """What 0 and 1 stand for after the transform, [2] or [2, C]."""
        ends = np.array(self.ranges or self.value_range, np.float32).T
        return TRANSFORMS[self.transform].forward(ends) if self.transform else ends

    def describe(self) -> str:
        """What 0 and 1 stand for, in words; '' for pictures and what has no other unit."""
        if self.value_range is None:
            return ''
        after = f' by {self.transform}' if self.transform else ''
        pairs = [f'{low:g} and {high:g}' for low, high in self.ranges or (self.value_range,)]
        unit = f' {self.unit}' if self.unit else f' in {UNNAMED_UNIT}'
        return f'0 and 1 stand{after} for {"; ".join(pairs)}{unit}'

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Values as the model sees them, brought within the bounds."""
        return np.clip(values, *(np.array(bound, values.dtype) for bound in self.bounds))

    def to_json(self) -> dict[str, Any]:
        """The scale as `from_json` reads it; JSON has no infinite numbers, so they become None."""
        stored = {
            'value_range': None if self.value_range is None else list(self.value_range),
            'bounds': [_stored_bound(bound) for bound in self.bounds],
        }
        more = {
            'ranges': [list(ends) for ends in self.ranges],
            'transform': self.transform,
            'unit': self.unit,
            'beside': [list(ends) for ends in self.beside],
        }
        return stored | {name: value for name, value in more.items() if value}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> 'Scale':
        """What `to_json` wrote.

        Raises:
          ValueError, TypeError, KeyError: it is something else.
        """
        low, high = stored['bounds']
        value_range = stored['value_range']
        ranges, beside = (
            tuple(_rising(ends) for ends in stored.get(name, ())) for name in ('ranges', 'beside')
        )
        transform = str(stored.get('transform', ''))
        if transform and transform not in TRANSFORMS:
            raise ValueError(f'there is no transform {transform!r}')
        return cls(
            None if value_range is None else _rising(value_range),
            (_read_bound(low, -math.inf), _read_bound(high, math.inf)),
            ranges,
            transform,
            str(stored.get('unit', '')),
            beside,
        )


def _stored_bound(bound: Bound) -> Any:
    if isinstance(bound, tuple):
        return [_stored_bound(one) for one in bound]
    return bound if math.isfinite(bound) else None


def _read_bound(stored: Any, none: float) -> Bound:
    if isinstance(stored, list):
        return tuple(_read_number(one, none) for one in stored)
    return _read_number(stored, none)


def _read_number(stored: Any, none: float) -> float:
    number = none if stored is None else float(stored)
    if math.isnan(number):
        raise ValueError('a bound of the values is not a number')
    return number


def _rising(ends: Any) -> tuple[float, float]:
    low, high = map(float, ends)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f'the range {(low, high)} of the values does not rise')
    return low, high


PIXELS = Scale()
