"""Strips: one sequence as a figure, frames side by side, with times, labels and scales.

Where everything stands is worked out once; it is drawn as a picture, or as a figure of matplotlib
for formats whose text stays text (PDF, SVG).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from e3d.evaluation.pictures import (
    GAP,
    INK,
    LINE,
    PAPER,
    as_colors,
    drawn_parts,
    drawn_size,
    ends_of,
    resized,
)

SIDES = (96, 160)  # longer side of a frame, least and most
MOST_COLUMNS = 20  # of longer sequences evenly spread frames are shown
MARGIN = 112  # for the labels; pixels
TEXT, SMALL_TEXT = 14, 10  # heights of letters, pixels
DOTS_PER_INCH = 100
_BAR = 6  # height of a scale
_HORIZONTAL = {'l': 'left', 'm': 'center', 'r': 'right'}
_VERTICAL = {'t': 'top', 'm': 'center', 's': 'baseline'}


class Text(NamedTuple):
    """A text at a place, in pixels; `anchor` as Pillow has it."""

    x: float
    y: float
    text: str
    anchor: str
    size: int = TEXT


class Tile(NamedTuple):
    """A picture uint8 `[H, W, 3]` at a place, and its size there, in pixels."""

    left: int
    top: int
    pixels: np.ndarray
    height: int
    width: int


class Strip(NamedTuple):
    """What a strip consists of; `size` is (width, height)."""

    size: tuple[int, int]
    tiles: Sequence[Tile]
    texts: Sequence[Text]

    def image(self) -> Image.Image:
        """As a picture."""
        canvas = Image.new('RGB', self.size, PAPER)
        draw = ImageDraw.Draw(canvas)
        for tile in self.tiles:
            canvas.paste(resized(tile.pixels, tile.height, tile.width), (tile.left, tile.top))
        for text in self.texts:
            font = ImageFont.load_default(size=text.size)
            draw.text((text.x, text.y), text.text, INK, font, anchor=text.anchor)
        return canvas

    def figure(self) -> Figure:
        """As a figure."""
        width, height = self.size
        inches = width / DOTS_PER_INCH, height / DOTS_PER_INCH
        figure = Figure(figsize=inches, dpi=DOTS_PER_INCH)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        for tile in self.tiles:
            right, bottom = tile.left + tile.width, tile.top + tile.height
            extent = (tile.left, right, bottom, tile.top)
            axes.imshow(tile.pixels, extent=extent, interpolation='nearest', aspect='auto')
        for text in self.texts:
            axes.text(
                text.x,
                text.y,
                text.text,
                ha=_HORIZONTAL[text.anchor[0]],
                va=_VERTICAL[text.anchor[1]],
                fontsize=0.8 * text.size * 72 / DOTS_PER_INCH,
                color=[part / 255 for part in INK],
            )
        axes.set(xlim=(0, width), ylim=(height, 0))
        return figure


def largest_difference(
    frames: np.ndarray, predictions: np.ndarray, channels: Sequence[str] = ()
) -> float:
    """What a scale of differences reaches to: of all sequences `[..., T, H, W, C]`, as drawn."""
    truth = frames[..., -predictions.shape[-4] :, :, :, :]
    differences = predictions - truth
    if len(drawn_parts(differences.shape[-1], channels)) == 1:
        differences = differences.mean(axis=-1)
    known = np.abs(differences[~np.isnan(differences)])
    return max(float(known.max(initial=0.0)), 0.01)


def lay_out(
    frames: np.ndarray,
    prediction: np.ndarray,
    observed: np.ndarray,
    value_range: tuple[float, float] | None = None,
    limit: float | None = None,
    channels: Sequence[str] = (),
    unit: str = '',
) -> Strip:
    """One sequence as four rows: input, truth, prediction and difference.

    The difference is prediction less truth: red where the prediction is too high, blue where it is
    too low. Three channels without names are colors, and it is their mean; otherwise each channel
    has four rows of its own.

    Args:
      frames: `[T, H, W, C]`, the whole true sequence; in [0, 1], or beyond where the data have no
        hard bounds; NaN where nothing was measured.
      prediction: `[T_out, H, W, C]`, the forecast of its last frames.
      observed: bool `[T - T_out]`, which of the frames before were seen: all of them, but for the
        copy test.
      value_range: what 0 and 1 stand for in the unit of the data, if they have one; the scales are
        in that unit then, and a single channel is in colors.
      limit: what the scale of differences reaches to; None for the largest one here.
      channels: names of the channels, if they have any.
      unit: of the data.
    """
    limit = largest_difference(frames, prediction, channels) if limit is None else limit
    ends = ends_of(frames)
    height, width = drawn_size(frames.shape[1], frames.shape[2], SIDES)
    most = max(int(observed.sum()), len(prediction))
    columns = min(most, MOST_COLUMNS)
    tiles: list[Tile] = []
    texts: list[Text] = []
    top = 0
    for name, part in drawn_parts(frames.shape[-1], channels):
        colored = value_range is not None or bool(name) or bool(unit)
        rows = _rows(frames[..., part], prediction[..., part], observed, limit, ends, colored)
        for label, (row, times) in rows.items():
            middle = top + (LINE if times is not None else 0) + height / 2
            if times is not None:
                top += LINE
                texts.append(Text(MARGIN - 2 * GAP, top - 2 * GAP, 't =', 'rs'))
            texts.append(Text(MARGIN - 2 * GAP, middle - 8 * bool(name), label, 'rm'))
            if name:
                texts.append(Text(MARGIN - 2 * GAP, middle + 9, name, 'rm', SMALL_TEXT))
            shown = np.unique(np.linspace(0, len(row) - 1, columns).round().astype(int))
            for column, index in enumerate(shown):
                left = MARGIN + column * (width + GAP)
                tiles.append(Tile(left, top, row[index], height, width))
                if times is not None:
                    number = str(times[index])
                    texts.append(Text(left + width / 2, top - 2 * GAP, number, 'ms'))
            if label == 'prediction' and colored:
                low, high = (_in_unit(end, value_range) for end in ends)
                _add_scale(
                    tiles,
                    texts,
                    'viridis',
                    (low, high),
                    middle + 18,
                    unit if value_range else 'scaled',
                )
            if label == 'difference':
                factor = 1.0 if value_range is None else value_range[1] - value_range[0]
                reach = -limit * factor, limit * factor
                _add_scale(tiles, texts, 'RdBu_r', reach, middle + 18, 'too low, too high')
            top += height + GAP
    return Strip((MARGIN + columns * (width + GAP) + GAP, top + GAP), tiles, texts)


def _rows(
    frames: np.ndarray,
    prediction: np.ndarray,
    observed: np.ndarray,
    limit: float,
    ends: tuple[float, float],
    colored: bool,
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The rows of a channel or of three: their colors, and the times above them."""
    seen, truth = frames[: len(observed)][observed], frames[len(observed) :]

    return {
        'input': (as_colors(seen, ends, colored), np.flatnonzero(observed) + 1),
        'truth': (as_colors(truth, ends, colored), np.arange(len(observed), len(frames)) + 1),
        'prediction': (as_colors(prediction, ends, colored), None),
        'difference': (_as_signs((prediction - truth).mean(axis=-1) / limit), None),
    }


def _as_signs(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] as uint8 colors: blue below zero, white at zero, red above."""
    signs = colormaps['RdBu_r'].resampled(255)
    return signs((values + 1.0) / 2.0, bytes=True)[..., :3]


def _in_unit(value: float, value_range: tuple[float, float] | None) -> float:
    low, high = value_range or (0.0, 1.0)
    return low + value * (high - low)


def _add_scale(
    tiles: list[Tile],
    texts: list[Text],
    colors: str,
    ends: tuple[float, float],
    top: float,
    below: str,
) -> None:
    """Puts a scale into the left margin: its colors, the values at its ends, and a line below."""
    left, right = GAP, MARGIN - 2 * GAP
    ramp = colormaps[colors](np.linspace(0.0, 1.0, right - left), bytes=True)[None, :, :3]
    tiles.append(Tile(left, int(top), np.repeat(ramp, _BAR, axis=0), _BAR, right - left))
    sign = '+' if ends[0] < 0 < ends[1] else ''
    texts.append(Text(left, top + _BAR + 2, _number(ends[0]), 'lt', SMALL_TEXT))
    texts.append(Text(right, top + _BAR + 2, sign + _number(ends[1]), 'rt', SMALL_TEXT))
    first, _, second = below.partition(', ')
    texts.append(Text(left, top + _BAR + 14, first, 'lt', SMALL_TEXT))
    texts.append(Text(right, top + _BAR + 14, second, 'rt', SMALL_TEXT))


def _number(value: float) -> str:
    return f'{value:.2f}' if not value or 0.1 <= abs(value) < 10 else f'{value:.4g}'
