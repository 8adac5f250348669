"""LPIPS by frame and FVD of the forecasts of a split, collected batch by batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from e3d.errors import InputError
from e3d.evaluation.perceptual.frechet import Moments, frechet_distance
from e3d.evaluation.perceptual.fvd import LOGITS, clip_logits, load_i3d
from e3d.evaluation.perceptual.lpips import LEAST_SIDE, compare, extract, load_lpips
from e3d.evaluation.perceptual.packaged import ALEXNET, I3D_KINETICS_400, is_installed
from e3d.model.i3d import LEAST_FRAMES
from e3d.terminal import tell

TRUTH = 'truth'  # beside the names of the forecasts

_extract = jax.jit(extract)
_compare = jax.jit(compare)
_clip_logits = jax.jit(clip_logits)


class Perception:
    """LPIPS of a split, and the features of its clips so far."""

    def __init__(self, metrics: Sequence[str]):
        """Of no clips.

        Args:
          metrics: of `choose_metrics`, at least 'lpips'.
        """
        self.with_fvd = 'fvd' in metrics
        self._clips: dict[str, Moments] = {}

    def look(self, frames: np.ndarray) -> list[jax.Array]:
        """What LPIPS compares of frames `[B, T, H, W, C]`, brought into [0, 1] before."""
        return _extract(load_lpips(), np.clip(frames, 0.0, 1.0))

    def distances(self, prediction: np.ndarray, looks_of_truth: list[jax.Array]) -> np.ndarray:
        """LPIPS `[B, T]` of forecast frames and true ones at which one has looked."""
        distances = _compare(load_lpips(), self.look(prediction), looks_of_truth)
        return np.asarray(distances).reshape(prediction.shape[:2])

    def watch(self, name: str, seen: np.ndarray, following: np.ndarray, mask: np.ndarray) -> None:
        """Notes the features of clips for FVD; the frames seen before are a part of them.

        Args:
          name: of the forecast, or `TRUTH`.
          seen: `[B, T_in, H, W, C]`.
          following: `[B, T_out, H, W, C]`.
          mask: bool `[B]`, which of them count.
        """
        if not self.with_fvd:
            return
        clips = np.concatenate([seen, np.clip(following, 0.0, 1.0)], axis=1)
        logits = np.asarray(_clip_logits(load_i3d(), clips))
        self._clips.setdefault(name, Moments(LOGITS)).add(logits[mask])

    def to_json(self) -> dict[str, Any]:
        """What other processes need of this one."""
        return {name: moments.to_json() for name, moments in self._clips.items()}

    def fvd(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The FVD of every forecast by name; of fewer than two clips there is none.

        Args:
          parts: the `to_json` of all processes.
        """
        sets: dict[str, Moments] = {}
        for part in parts:
            for name, value in part.items():
                sets.setdefault(name, Moments(LOGITS)).merge(Moments.from_json(value))
        truth = sets.pop(TRUTH, None)
        if truth is None or truth.count < 2:
            return {}
        return {name: frechet_distance(truth, moments) for name, moments in sets.items()}


def choose_metrics(
    wanted: bool | None,
    frames: int,
    frame_shape: tuple[int, int, int],
    are_pixels: bool,
    on_accelerator: bool,
) -> tuple[str, ...]:
    """What can be measured of forecasts: ('lpips', 'fvd'), ('lpips',) or nothing.

    Args:
      wanted: True measures LPIPS and FVD; None measures LPIPS where its package is installed, and
        FVD where its package is and an accelerator, as a CPU takes about a second a clip; False
        measures neither.
      frames: of a clip, those that are seen included; FVD needs `LEAST_FRAMES` of them, and where it
        is `wanted` it is said that it is left out.
      frame_shape: (H, W, C).
      are_pixels: whether the values are those of pictures.
      on_accelerator: whether there is a GPU or TPU.

    Raises:
      InputError: `wanted`, and a package is missing or the frames are not fit for it.
    """
    if wanted is False:
        return ()
    problem = _find_problem(frame_shape, are_pixels)
    if wanted is None:
        if problem or not is_installed(ALEXNET):
            return ()
        with_fvd = on_accelerator and is_installed(I3D_KINETICS_400)
    else:
        if problem:
            raise InputError(f'evaluation.perceptual=True: {problem}. Leave it at None or False.')
        load_lpips()
        load_i3d()
        with_fvd = True
        if frames < LEAST_FRAMES:
            tell(
                f'FVD is left out: it is for clips of at least {LEAST_FRAMES} frames, and these have '
                f'{frames}, those that are seen included.'
            )
    return ('lpips', 'fvd') if with_fvd and frames >= LEAST_FRAMES else ('lpips',)


def _find_problem(frame_shape: tuple[int, int, int], are_pixels: bool) -> str | None:
    rows, columns, channels = frame_shape
    if not are_pixels:
        return 'LPIPS and FVD are for pictures, and these data have another unit'
    if channels not in (1, 3):
        return f'LPIPS and FVD are for frames with 1 or 3 channels, and these have {channels}'
    if min(rows, columns) < LEAST_SIDE:
        return (
            f'LPIPS needs frames of at least {LEAST_SIDE} pixels a side, and these have '
            f'{rows} x {columns}'
        )
    return None
