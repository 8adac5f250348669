"""Forecasts as pictures: strips of frames, animations, and curves over the horizon."""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from e3d.evaluation.report import describe_others
from e3d.files import atomic_write

STRIP_SIDES, ANIMATION_SIDES = (96, 160), (192, 320)  # longer side of a frame, least and most
MOST_COLUMNS = 20  # of a strip; of longer sequences evenly spread frames are shown
GAP, LINE, MARGIN = 4, 24, 96  # between frames, for a line of text, for the labels; pixels
MILLISECONDS = 150  # that a frame of an animation stands
DASHES = ('--', ':', '-.', (0, (1, 4)), (0, (8, 3)))  # of the curves that need no learning
FONT, SMALL_FONT = ImageFont.load_default(size=14), ImageFont.load_default(size=10)
STRIPES = (150, 190)  # grays of what has no value
INK, PAPER = (40, 40, 40), (255, 255, 255)
# Borders of the animation, by what the model makes of a frame.
SEEN, HIDDEN, FORECAST = (44, 123, 182), (160, 160, 160), (230, 97, 1)


def as_colors(frames: np.ndarray, white: float = 1.0) -> np.ndarray:
    """Makes frames visible: `[..., H, W, C]`, floats or uint8, to uint8 `[..., H, W, 3]`.

    Floats go from 0 to `white`; what lies outside is drawn as these. One channel is shown as gray,
    three as red, green and blue. Of any other number (two in traffic flow) the first is shown, in
    the colors of matplotlib's viridis. NaN is hatched.
    """
    frames = np.asarray(frames)
    hidden = np.isnan(frames).any(axis=-1) if frames.dtype != np.uint8 else np.zeros(())
    if hidden.any():
        return _hatched(as_colors(np.where(hidden[..., None], 0.0, frames), white), hidden)
    if frames.dtype != np.uint8:
        frames = np.round(np.clip(frames / white, 0.0, 1.0) * 255.0).astype(np.uint8)
    if frames.shape[-1] == 3:
        return frames
    if frames.shape[-1] == 1:
        return np.repeat(frames, 3, axis=-1)
    return colormaps['viridis'](frames[..., 0], bytes=True)[..., :3]


def white_of(frames: np.ndarray) -> float:
    """What to draw as white: 1, or the largest value of data that go beyond."""
    known = np.asarray(frames)[~np.isnan(frames)]
    return max(1.0, float(known.max())) if known.size else 1.0


def _hatched(colors: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Colors `[..., H, W, 3]` with diagonal stripes where there is nothing to show."""
    rows, columns = np.indices(hidden.shape[-2:])
    stripes = np.where((rows + columns) % 4 < 2, *STRIPES).astype(np.uint8)
    return np.where(hidden[..., None], stripes[..., None], colors)


def draw_strip(
    frames: np.ndarray,
    prediction: np.ndarray,
    observed: np.ndarray,
    value_range: tuple[float, float] | None = None,
) -> Image.Image:
    """One sequence as a figure of four rows: input, truth, prediction and difference.

    The difference is prediction less truth, mean over the channels: red where the prediction is
    too bright, blue where it is too dark, on a scale that its largest value fills.

    Args:
      frames: `[T, H, W, C]`, the whole true sequence; in [0, 1], or beyond where the data have no
        hard bounds; NaN where nothing was measured.
      prediction: `[T_out, H, W, C]`, the forecast of its last frames.
      observed: bool `[T - T_out]`, which of the frames before were seen: all of them, but for the
        copy test.
      value_range: what 0 and 1 stand for in the unit of the data, if they have one; the scale of
        the differences is in that unit then.
    """
    truth, white = frames[len(observed) :], white_of(frames)
    difference = np.mean(prediction - truth, axis=-1)
    limit = max(np.abs(difference[~np.isnan(difference)]).max(initial=0), 0.01)
    rows = {
        'input': as_colors(frames[: len(observed)][observed], white),
        'truth': as_colors(truth, white),
        'prediction': as_colors(prediction, white),
        'difference': _as_signs(difference / limit),
    }
    if value_range is not None:
        limit *= value_range[1] - value_range[0]
    # The rows with time indices above.
    times = {
        'input': np.flatnonzero(observed) + 1,
        'truth': np.arange(len(observed), len(frames)) + 1,
    }

    height, width = _drawn_size(frames.shape[1], frames.shape[2], STRIP_SIDES)
    columns = min(max(map(len, times.values())), MOST_COLUMNS)
    size = (MARGIN + columns * (width + GAP) + GAP, 4 * (height + GAP) + 2 * LINE + GAP)
    canvas = Image.new('RGB', size, PAPER)
    draw = ImageDraw.Draw(canvas)
    top = 0
    for label, row in rows.items():
        if label in times:
            top += LINE
            draw.text((MARGIN - 2 * GAP, top - 2 * GAP), 't =', INK, FONT, anchor='rs')
        draw.text((MARGIN - 2 * GAP, top + height / 2), label, INK, FONT, anchor='rm')
        shown = np.unique(np.linspace(0, len(row) - 1, columns).round().astype(int))
        for column, index in enumerate(shown):
            left = MARGIN + column * (width + GAP)
            canvas.paste(_resized(row[index], height, width), (left, top))
            if label in times:
                number = str(times[label][index])
                draw.text((left + width / 2, top - 2 * GAP), number, INK, FONT, anchor='ms')
        top += height + GAP
    _draw_scale(canvas, limit, top - GAP - height / 2 + 14)
    return canvas


def draw_animation(
    frames: np.ndarray, prediction: np.ndarray, observed: np.ndarray
) -> list[Image.Image]:
    """One sequence as moving pictures: the truth on the left, what the model makes on the right.

    While the model still sees the truth, both are alike and framed in blue; then its forecast
    begins and the frames turn orange. What it does not see before is black on the right and
    framed in gray. Arguments as for `draw_strip`.
    """
    shown = observed[:, None, None, None]
    seen = np.where(shown, frames[: len(observed)], np.zeros((), frames.dtype))
    panels = {'truth': frames, 'prediction': np.concatenate([seen, prediction])}
    white = white_of(frames)
    panels = {label: as_colors(panel, white) for label, panel in panels.items()}
    height, width = _drawn_size(frames.shape[1], frames.shape[2], ANIMATION_SIDES)
    step = width + 4 * GAP  # from one panel to the next
    images = []
    for index in range(len(frames)):
        image = Image.new('RGB', (2 * step + 2 * GAP, height + 2 * LINE + 2 * GAP), PAPER)
        draw = ImageDraw.Draw(image)
        part, color = ('forecast', FORECAST)
        if index < len(observed):
            part, color = ('seen', SEEN) if observed[index] else ('hidden', HIDDEN)
        for column, (label, panel) in enumerate(panels.items()):
            left, top = 3 * GAP + column * step, LINE + GAP
            draw.text((left + width / 2, LINE - 2 * GAP), label, INK, FONT, anchor='ms')
            border = (left - GAP, top - GAP, left + width + GAP - 1, top + height + GAP - 1)
            draw.rectangle(border, fill=color)
            image.paste(_resized(panel[index], height, width), (left, top))
        foot = (image.width / 2, image.height - 2 * GAP)
        draw.text(foot, f't = {index + 1}, {part}', color, FONT, anchor='ms')
        images.append(image)
    return images


def write_samples(
    folder: str | os.PathLike[str],
    step: int,
    frames: np.ndarray,
    predictions: np.ndarray,
    observed: np.ndarray,
    value_range: tuple[float, float] | None = None,
) -> list[Path]:
    """Writes a strip (PNG) and an animation (GIF) of every sequence; returns their paths.

    Args:
      folder: where the pictures go; made if need be.
      step: of the weights, part of the names: `step_00002000_sample_0.png`.
      frames: `[N, T, H, W, C]`.
      predictions: `[N, T_out, H, W, C]`.
      observed: bool `[T - T_out]`, see `draw_strip`.
      value_range: see `draw_strip`.
    """
    frames, predictions = np.asarray(frames), np.asarray(predictions)
    paths = []
    for index, (sequence, prediction) in enumerate(zip(frames, predictions, strict=True)):
        path = Path(folder) / f'step_{step:08d}_sample_{index}.png'
        with atomic_write(path) as temporary:
            draw_strip(sequence, prediction, observed, value_range).save(temporary)
        paths.append(path)
        images = draw_animation(sequence, prediction, observed)
        durations = [MILLISECONDS] * (len(images) - 1) + [8 * MILLISECONDS]
        with atomic_write(path.with_suffix('.gif')) as temporary:
            images[0].save(
                temporary, save_all=True, append_images=images[1:], duration=durations, loop=0
            )
        paths.append(path.with_suffix('.gif'))
    return paths


def write_curves(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws MSE, PSNR, SSIM and LPIPS over the forecast frames, model beside forecasts without learning.

    Args:
      report: of `e3d.evaluation.evaluate.evaluate`.
      path: of the picture; the suffix tells the kind (.png, .svg, .pdf).
    """
    panels = {'mse': 'MSE per frame', 'psnr': 'PSNR (dB)', 'ssim': 'SSIM', 'lpips': 'LPIPS'}
    panels = {metric: label for metric, label in panels.items() if metric in report}
    marked: dict[str, Any] = {'color': '#2c7bb6', 'marker': 'o', 'markersize': 3.5, 'zorder': 3}
    lines: list[tuple[str, Any, dict[str, Any]]] = [('model', report, marked)]
    for name, dashes in zip(describe_others(report), itertools.cycle(DASHES)):
        style = {'color': '#777777', 'linestyle': dashes}
        lines.append((name.replace('_', ' '), report[name], style))
    figure = Figure(figsize=(3.2 * len(panels), 2.9), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    for axes, (metric, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, metrics, style in lines:
            values = metrics[f'{metric}_per_frame']
            axes.plot(range(1, len(values) + 1), values, label=name, **style)
        axes.set(title=label, xlabel='forecast frame')
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(alpha=0.25)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside upper center', ncols=len(lines))
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _as_signs(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] as uint8 colors: blue below zero, white at zero, red above, NaN hatched."""
    hidden = np.isnan(values)
    colors = colormaps['RdBu_r']((np.where(hidden, 0.0, values) + 1.0) / 2.0, bytes=True)[..., :3]
    return _hatched(colors, hidden) if hidden.any() else colors


def _draw_scale(canvas: Image.Image, limit: float, top: float) -> None:
    """Puts the colors of the differences and their range into the left margin."""
    left, right, height = GAP, MARGIN - 2 * GAP, 6
    ramp = np.broadcast_to(np.linspace(-1.0, 1.0, right - left), (height, right - left))
    canvas.paste(Image.fromarray(_as_signs(ramp)), (left, int(top)))
    draw = ImageDraw.Draw(canvas)
    number = f'{limit:.2f}' if limit < 10 else f'{limit:.4g}'
    draw.text((left, top + height + 2), f'-{number}', INK, SMALL_FONT, anchor='lt')
    draw.text((right, top + height + 2), f'+{number}', INK, SMALL_FONT, anchor='rt')


def _drawn_size(height: int, width: int, sides: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which frames are drawn: small ones enlarged by an integer."""
    longest = max(height, width)
    least, most = sides
    if longest > most:
        return max(1, round(height * most / longest)), max(1, round(width * most / longest))
    factor = -(-least // longest)
    return height * factor, width * factor


def _resized(frame: np.ndarray, height: int, width: int) -> Image.Image:
    smaller = frame.shape[0] > height
    resampling = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
    return Image.fromarray(frame).resize((width, height), resampling)
