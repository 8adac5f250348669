"""What 0 and 1 stand for: the range of grids that a model sees, chosen by their training part."""

import math
import re

import numpy as np

from e3d.data.sources.grid_setup import GridSetup
from e3d.data.sources.grid_survey import Spread, Survey
from e3d.data.sources.scales import TRANSFORMS, Bound, Scale
from e3d.errors import InputError
from e3d.options.rules import MOST

KINDS = ('minmax', 'meanstd')
# Units whose 0 was chosen, as `_letters` has them.
BELOW_ZERO = {
    'c', '°c', '℃', 'degc', 'degsc', 'celsius', 'degcelsius', 'degreec', 'degreesc', 'degreecelsius',
    'degreescelsius', 'f', '°f', '℉', 'degf', 'degsf', 'fahrenheit', 'degfahrenheit', 'degreef',
    'degreesf', 'degreefahrenheit', 'degreesfahrenheit', 'dbz', 'db',
}  # fmt: skip


def fixed_range(text: str) -> tuple[float, float] | None:
    """The numbers of 'LOW,HIGH'; None for anything else."""
    try:
        low, high = map(float, text.split(','))
    except (ValueError, AttributeError):
        return None
    return (low, high) if -MOST <= low < high <= MOST else None


def choose_scale(setup: GridSetup, found: Survey) -> Scale:
    """The scale that `dataset.scale` and `dataset.transform` ask for, by the training part.

    Raises:
      InputError: all values of a channel are the same.
    """
    dataset = setup.dataset
    kind, transform = dataset['scale'], dataset['transform']
    fixed = fixed_range(kind)
    ranges = []
    for name in setup.targets:
        for channel, spread in enumerate(found.spreads[name]):
            ends = fixed or _ends(spread, kind)
            if not ends[0] < ends[1]:
                raise InputError(
                    f"All values of '{name}' in the training part are {spread.low:g} (channel "
                    f'{channel}). Leave it out with dataset.targets, or set dataset.scale=LOW,HIGH.'
                )
            if transform and not fixed:
                low, high = TRANSFORMS[transform].inverse(np.array(ends, np.float32)).tolist()
                ends = low, high
            ranges.append(ends)
    beside = [_beside_ends(field) for field in np.moveaxis(setup.static, -1, 0)]
    for name in (*setup.known, *setup.others):
        for spread in found.spreads[name]:
            low, high = _ends(spread, kind)
            beside.append((low, high if low < high else low + 1.0))
    alike = len(set(ranges)) == 1
    scale = Scale(
        value_range=ranges[0],
        bounds=(-math.inf, math.inf),
        ranges=() if alike else tuple(ranges),
        transform=transform,
        unit=setup.unit,
        beside=tuple(beside),
    )
    return scale._replace(bounds=(_lowest(setup, found, scale), math.inf))


def training_ends(setup: GridSetup, found: Survey) -> np.ndarray:
    """The least and the largest value of each channel in the training part, in the unit, [2, C]."""
    spreads = [spread for name in setup.targets for spread in found.spreads[name]]
    ends = np.array([(spread.low, spread.high) for spread in spreads], np.float32).T
    transform = setup.dataset['transform']
    return TRANSFORMS[transform].inverse(ends) if transform else ends


def _lowest(setup: GridSetup, found: Survey, scale: Scale) -> Bound:
    """Where nothing of a variable that is measured lies below 0, nothing that is forecast does.

    A temperature in °C that never fell below 0 may do so later: its 0 is no end of anything. Nor is 0
    the end of a range that the user lets begin below it.
    """
    given, stated = setup.dataset['unit'], setup.facts.units
    fixed = fixed_range(setup.dataset['scale'])
    ends = [
        found.least[name] >= 0
        and _letters(given or stated[name]) not in BELOW_ZERO
        and not (fixed and fixed[0] < 0)
        for name in setup.targets
        for _ in found.spreads[name]
    ]
    zeros = scale.from_unit(np.zeros(len(ends))).tolist()
    lows = [zero if is_end else -math.inf for zero, is_end in zip(zeros, ends, strict=True)]
    return lows[0] if len(set(lows)) == 1 else tuple(lows)


def _letters(unit: str) -> str:
    """A unit without what files write in many ways: 'degC' and 'deg. C' are the same."""
    return re.sub('[^a-z°℃℉]', '', unit.lower())


def _ends(spread: Spread, kind: str) -> tuple[float, float]:
    if kind == 'meanstd':
        return spread.mean, spread.mean + spread.deviation
    return spread.low, spread.high


def _beside_ends(field: np.ndarray) -> tuple[float, float]:
    known = field[np.isfinite(field)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return low, high if low < high else low + 1.0
