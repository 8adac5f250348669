"""Events by the conventions of radar data sets, which `evaluation.presets` names.

Data with a unit are taken to have that of the convention. Pictures are taken to be what the data set
stores: their values, 0 to 1, stand for the unit as it says.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from e3d.evaluation.events import ROUNDING, Events


class Convention(NamedTuple):
    """Which events are counted for a data set.

    Attributes:
      thresholds: in the unit of the data set.
      to_pixel: the value from 0 to 1 that stands for one in the unit.
      balance: values in the unit, ascending, from each of which on an error weighs as much as that
        value, before the first one 1: of B-MSE and B-MAE; () leaves these out.
    """

    thresholds: tuple[float, ...]
    to_pixel: Callable[[float], Any]
    balance: tuple[float, ...] = ()


def rain_to_pixel(rate: float) -> float:
    """The pixel of HKO-7 for mm/h: (dBZ + 10) / 70 with dBZ = 10 log10(58.53) + 15.6 log10(rate)."""
    return (10 * math.log10(58.53) + 15.6 * math.log10(rate) + 10) / 70


CONVENTIONS = {
    # SEVIR and SEVIR-LR: vertically integrated liquid, 0 to 255 (Veillette et al. 2020). Earthformer
    # takes the ratio of all counts ('csi_mean'); the SEVIR challenge and DiffCast one for each lead
    # time, and then their mean.
    'sevir': Convention((16, 74, 133, 160, 181, 219), lambda value: value / 255),
    # HKO-7: rain rate in mm/h (Shi et al. 2017), with the ratio of all counts.
    'hko7': Convention((0.5, 2, 5, 10, 30), rain_to_pixel, (2, 5, 10, 30)),
}


def event_problems(values: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong between the keys of a config that choose events, by 'section.key'."""
    named = [name for name in values['evaluation.presets'] if name in CONVENTIONS]
    if len(named) > 1:
        yield f'evaluation.presets: {" and ".join(named)} have other thresholds; name one of them'
    if named and values['evaluation.thresholds']:
        yield (
            f'evaluation.thresholds={tuple(values["evaluation.thresholds"])}: must be () with the '
            f'preset {named[0]!r}, which has its own'
        )


def choose_events(
    thresholds: Sequence[float],
    presets: Collection[str],
    from_unit: Callable[[float], Any],
    are_pixels: bool,
) -> Events | None:
    """The events that `evaluation.thresholds`, or the convention among `evaluation.presets`, asks for.

    Args:
      thresholds: in the unit of the data.
      presets: at most one of `CONVENTIONS` among them, and then no thresholds.
      from_unit: a value in the unit of the data as the model sees it.
      are_pixels: whether the data are pictures.
    """
    found = [CONVENTIONS[name] for name in presets if name in CONVENTIONS]
    if not found and not thresholds:
        return None
    convention = found[0] if found else Convention(tuple(thresholds), from_unit)
    scaled = convention.to_pixel if are_pixels else from_unit
    # Far from 0 values are coarse, as pressures are: so are then the scaled ones, however small.
    rounding = 0.0 if are_pixels else ROUNDING * np.abs(from_unit(0.0))

    def levels(values: Sequence[float]) -> np.ndarray:
        return np.array([scaled(value) - rounding for value in values], np.float32)

    balance = convention.balance
    return Events(
        tuple(map(float, convention.thresholds)),
        levels(convention.thresholds),
        (levels(balance), balance) if balance else None,
    )
