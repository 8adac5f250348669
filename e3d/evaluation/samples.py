"""Forecasts of some sequences as files: a strip and an animation of each."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from e3d.evaluation.figures import save_figure
from e3d.evaluation.pictures import draw_animation, save_animation
from e3d.evaluation.strips import largest_difference, lay_out
from e3d.files import atomic_write


def write_samples(
    folder: str | os.PathLike[str],
    step: int,
    frames: np.ndarray,
    predictions: np.ndarray,
    observed: np.ndarray,
    value_range: tuple[float, float] | None = None,
    channels: Sequence[str] = (),
    unit: str = '',
    figures: str = 'png',
) -> list[Path]:
    """Writes a strip (PNG) and an animation (GIF) of every sequence; returns their paths.

    The scale of differences is the same in all strips.

    Args:
      folder: where the pictures go; made if need be.
      step: of the weights, part of the names: `step_00002000_sample_0.png`.
      frames: `[N, T, H, W, C]`.
      predictions: `[N, T_out, H, W, C]`.
      observed: bool `[T - T_out]`, see `e3d.evaluation.strips.lay_out`.
      value_range: see there.
      channels: see there.
      unit: see there.
      figures: 'pdf' or 'svg' for a strip of that kind as well.
    """
    frames, predictions = np.asarray(frames), np.asarray(predictions)
    limit = largest_difference(frames, predictions, channels)
    paths = []
    for index, (sequence, prediction) in enumerate(zip(frames, predictions, strict=True)):
        path = Path(folder) / f'step_{step:08d}_sample_{index}.png'
        strip = lay_out(sequence, prediction, observed, value_range, limit, channels, unit)
        with atomic_write(path) as temporary:
            strip.image().save(temporary)
        paths.append(path)
        with atomic_write(path.with_suffix('.gif')) as temporary:
            images = draw_animation(sequence, prediction, observed, channels)
            save_animation(images, temporary)
        paths.append(path.with_suffix('.gif'))
        if figures != 'png':
            save_figure(strip.figure(), [path.with_suffix(f'.{figures}')])
            paths.append(path.with_suffix(f'.{figures}'))
    return paths
