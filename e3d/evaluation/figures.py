"""Figures as files, of as many formats as are asked for."""

import os
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e3d.files import atomic_write

# Text stays text, which can be searched, and whose font a paper may replace.
_TEXT: Any = {'svg.fonttype': 'none', 'pdf.fonttype': 42}


def save_figure(figure: Figure, paths: Sequence[str | os.PathLike[str]]) -> None:
    """Writes a figure; the suffixes of the paths tell the kinds (.png, .svg, .pdf)."""
    with matplotlib.rc_context(_TEXT):
        for path in paths:
            with atomic_write(path) as temporary:
                figure.savefig(temporary)


def make_plain(axes: Axes) -> None:
    """Gives axes the look of all figures: a faint grid, no frame on top and on the right."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(alpha=0.25)
