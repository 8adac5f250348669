"""What the numbers that a model sees stand for: pixels, or data with a unit and a range of their own."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Scale(NamedTuple):
    """How the values of the data and those of the model belong together.

    Attributes:
      value_range: (low, high), what 0 and 1 stand for in the unit of the data; None for pictures,
        where they are black and white, and for data whose unit is not known.
      bounds: the least and the largest value there can be, as the model sees them; infinite where
        there is none. Later flows may be larger than all of the training, which end at 1.
    """

    value_range: tuple[float, float] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def of_pixels(self) -> bool:
        """Whether the data are pictures, from black to white."""
        return self == PIXELS

    def from_unit(self, values: npt.ArrayLike) -> np.ndarray:
        """Values in the unit of the data as the model sees them, float32 of any shape."""
        values = np.asarray(values, np.float32)
        if self.value_range is None:
            return values
        low, high = map(np.float32, self.value_range)
        return (values - low) / (high - low)

    def to_unit(self, values: npt.ArrayLike) -> np.ndarray:
        """The inverse of `from_unit`."""
        values = np.asarray(values, np.float32)
        if self.value_range is None:
            return values
        low, high = map(np.float32, self.value_range)
        return values * (high - low) + low

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Values as the model sees them, brought within the bounds."""
        return np.clip(values, *self.bounds)

    def to_json(self) -> dict[str, Any]:
        """The scale as `from_json` reads it; JSON has no infinite numbers, so they become None."""
        bounds = [bound if math.isfinite(bound) else None for bound in self.bounds]
        return {
            'value_range': None if self.value_range is None else list(self.value_range),
            'bounds': bounds,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> 'Scale':
        """What `to_json` wrote.

        Raises:
          ValueError, TypeError, KeyError: it is something else.
        """
        low, high = stored['bounds']
        bounds = (
            -math.inf if low is None else float(low),
            math.inf if high is None else float(high),
        )
        value_range = stored['value_range']
        if value_range is not None:
            low, high = map(float, value_range)
            value_range = (low, high)
            if not low < high:
                raise ValueError(f'the range {value_range} of the values does not rise')
        return cls(value_range, bounds)


PIXELS = Scale()
