"""Figures as files, of as many formats as are asked for."""

import os
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from e3d.files import atomic_write

# Text stays text, which can be searched, and whose font a paper may replace; dollars in it are the
# user's. The last is for what is made while a figure is drawn, as numbers of axes are.
_TEXT: Any = {'svg.fonttype': 'none', 'pdf.fonttype': 42, 'text.parse_math': False}


def save_figure(figure: Figure, paths: Sequence[str | os.PathLike[str]]) -> None:
    """Writes a figure; the suffixes of the paths tell the kinds (.png, .svg, .pdf).

    Its texts are drawn as they are: no part of a name of a class, a model or a unit is a formula.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with matplotlib.rc_context(_TEXT):
        for path in paths:
            with atomic_write(path) as temporary:
                figure.savefig(temporary)


def add_legend(figure: Figure, lines: Sequence[Line2D], **options: Any) -> None:
    """Adds a legend of lines by their labels, those too that begin with '_', which matplotlib hides.

    Args:
      figure: to be saved by `save_figure`.
      lines: in the order of the legend.
      **options: as `Figure.legend` has them.
    """
    legend = figure.legend(lines, ['label'] * len(lines), **options)
    for text, line in zip(legend.get_texts(), lines, strict=True):
        text.set_text(str(line.get_label()))


def make_plain(axes: Axes) -> None:
    """Gives axes the look of all figures: a faint grid, no frame on top and on the right."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(alpha=0.25)
