"""Curves with bars that can be told apart where curves coincide."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from e3d.evaluation.styles import Style


def bars_aside(count: int) -> list[float]:
    """Where the bars of each of several curves stand, in distances between points from their point."""
    return [0.24 * (place - (count - 1) / 2) / max(1, count - 1) for place in range(count)]


def draw_with_bars(
    axes: Axes,
    places: Sequence[float],
    means: Sequence[float],
    spread: Any,
    style: Style,
    aside: float = 0.0,
) -> Line2D:
    """Draws a curve, which it returns, with bars a little beside its points.

    Args:
      axes: drawn in.
      places: of the points.
      means: their values.
      spread: how far the bars reach from them, as `Axes.errorbar` takes it; None for no bars.
      style: of the curve.
      aside: how far to the right of their points the bars stand.
    """
    if spread is not None:
        beside = [place + aside for place in places]
        bars = {'color': style.color, 'zorder': style.of_line['zorder']}
        axes.errorbar(beside, means, spread, fmt='none', capsize=2, elinewidth=0.8, **bars)
    return axes.plot(places, means, **style.of_line)[0]
