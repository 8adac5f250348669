"""Names beside lines, in place of a legend."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from e3d.evaluation.styles import Style

SIZE = 8  # of the letters, in points


def label_ends(axes: Axes, lines: Sequence[Line2D], styles: Sequence[Style]) -> None:
    """Writes the names of lines to the right of their axes, each joined to the end of its line.

    Names that would overlap are moved apart. To be called when everything is drawn, for the limits of
    the axes are taken as they are.

    Args:
      axes: of the lines.
      lines: that are named.
      styles: of the lines.
    """
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    axes.get_ylim()  # matplotlib finds its limits when they are asked for
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [to_axes.transform(end)[1] for end in ends]
    points = 72 * axes.figure.get_figheight() * 0.8  # about what the layout leaves to the axes
    places = spread(heights, 1.3 * SIZE / points)
    for style, end, place in zip(styles, ends, places, strict=True):
        axes.annotate(
            style.label,
            end,
            (1.06, place),
            textcoords='axes fraction',
            fontsize=SIZE,
            fontweight='bold' if style.emphasized else 'normal',
            verticalalignment='center',
            arrowprops={
                'arrowstyle': '-',
                'color': style.color,
                'linestyle': style.line,
                'linewidth': 0.8,
                'relpos': (0, 0.5),
                'shrinkA': 1,
                'shrinkB': 2,
            },
            annotation_clip=False,
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """The values nearest to these, by squares, that keep their order and are a gap apart or more."""
    order = np.argsort(values, kind='stable')
    # Without the gaps that stand before it, each place must not be below the one before: means of
    # neighbors that are in the wrong order, pooled until none is.
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([values[index] - rank * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    free = [np.mean(pool) for pool in pools for _ in pool]
    places = [0.0] * len(values)
    for rank, index in enumerate(order):
        places[index] = float(free[rank] + rank * gap)
    return places
