"""Errors of forecast frames, frame by frame: MSE, MAE, PSNR and SSIM."""

import functools
import operator
from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from e3d.data.sources.scales import Bound, Scale

PSNR_CAP = 100.0  # dB; a frame without error would have infinitely many
SSIM_WINDOW = 7  # side of the uniform window, pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03


def frame_metrics(
    prediction: Array,
    truth: Array,
    bounds: tuple[Bound, Bound] = (0.0, 1.0),
    valid: Array | None = None,
) -> dict[str, Array]:
    """Compares every forecast frame with the true one. Can be jitted.

    The prediction is brought within the bounds of the data first, for pictures to [0, 1] as in the
    published evaluations. What has no truth counts nowhere.

    Args:
      prediction: `[B, T, H, W, C]`, any range.
      truth: `[B, T, H, W, C]` in [0, 1]; data without hard bounds may leave it.
      bounds: the least and the largest value there can be, each a number for all channels or a
        tuple with one of each; infinite where there is none.
      valid: which of the true values are known, bool `[B, T, H, W, C]`; None: all.

    Returns:
      Float32 arrays `[B, T]` by name, NaN where a frame has no truth at all:
        mse: squared error summed over the pixels and channels of a frame, the unit of the papers.
        mse_mean: squared error, mean over pixels and channels.
        mae, mae_mean: the same for the absolute error.
        psnr: peak signal-to-noise ratio in dB, peak 1, at most `PSNR_CAP`.
        ssim: structural similarity as scikit-image computes it with `data_range=1`.
        ssim_data_range_2: the same with `data_range=2`, which was the default for floats when
          the papers were written. It flatters: compare it only with numbers made alike.
      The two `ssim` are left out where a side of the frames is shorter than `SSIM_WINDOW`.

    Raises:
      ValueError: if the two shapes differ.

    Example:
      >>> truth = np.zeros((1, 2, 16, 16, 1))
      >>> metrics = e3d.frame_metrics(truth + 0.5, truth)
      >>> metrics['mse'].tolist(), metrics['mse_mean'].tolist()
      ([[64.0, 64.0]], [[0.25, 0.25]])
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f'The predictions have shape {prediction.shape}, but the true frames have {truth.shape}.'
        )
    prediction = within(prediction.astype(jnp.float32), bounds)
    truth = truth.astype(jnp.float32)
    frame = (-3, -2, -1)
    if valid is None:
        pixels: int | Array = truth.shape[-3] * truth.shape[-2] * truth.shape[-1]
        error = prediction - truth
        mse_mean, mae_mean = (jnp.mean(x, axis=frame) for x in (jnp.square(error), jnp.abs(error)))
    else:
        prediction, truth = (jnp.where(valid, x, 0.0) for x in (prediction, truth))
        pixels, error = jnp.sum(valid, axis=frame), prediction - truth
        sums = (jnp.sum(x, axis=frame) for x in (jnp.square(error), jnp.abs(error)))
        mse_mean, mae_mean = (total / pixels for total in sums)  # 0 / 0 is NaN, as it is to be
    metrics = {
        'mse': mse_mean * pixels,
        'mse_mean': mse_mean,
        'mae': mae_mean * pixels,
        'mae_mean': mae_mean,
        'psnr': -10.0 * jnp.log10(jnp.maximum(mse_mean, 10.0 ** (-PSNR_CAP / 10.0))),
    }
    if min(truth.shape[-3:-1]) >= SSIM_WINDOW:
        metrics |= _structural_similarity(prediction, truth, valid)
    return metrics


def within(frames: Array, bounds: tuple[Bound, Bound]) -> Array:
    """Frames `[..., C]` brought within bounds as `frame_metrics` takes them. Can be jitted."""
    return jnp.clip(frames, *(jnp.asarray(bound, frames.dtype) for bound in bounds))


def errors_in_unit(
    prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray | None, scale: Scale
) -> dict[str, np.ndarray]:
    """Mean squared and absolute errors of frames `[B, T]` in the unit of the data.

    Arguments as for `frame_metrics`. NaN where a frame has no truth.
    """
    error = np.float64(1) * scale.to_unit(scale.clip(prediction)) - scale.to_unit(truth)
    weights = np.broadcast_to(True if valid is None else valid, error.shape)
    frame = (-3, -2, -1)
    with np.errstate(invalid='ignore', over='ignore'):
        count = weights.sum(axis=frame)
        squared = np.square(error).sum(axis=frame, where=weights) / count
        absolute = np.abs(error).sum(axis=frame, where=weights) / count
    return {'squared_in_unit': squared, 'mae_in_unit': absolute}


def _structural_similarity(x: Array, y: Array, valid: Array | None = None) -> dict[str, Array]:
    """SSIM of `[..., H, W, C]`: the mean over all whole windows and channels (Wang 2004).

    Windows with a cell that is not valid do not count. Equal to scikit-image's
    `structural_similarity(x, y, channel_axis=-1)`: uniform window, sample
    covariance, a border of half a window left out.
    """
    mean_x, deviations_x = _window_statistics(x)
    mean_y, deviations_y = _window_statistics(y)
    variance_x = _covariance(deviations_x, deviations_x)
    variance_y = _covariance(deviations_y, deviations_y)
    covariance = _covariance(deviations_x, deviations_y)
    whole = None if valid is None else _whole_windows(valid)
    similarities = {}
    for name, data_range in (('ssim', 1.0), ('ssim_data_range_2', 2.0)):
        c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
        similarities[name] = jnp.mean(luminance * structure, axis=(-3, -2, -1), where=whole)
    return similarities


def _whole_windows(valid: Array) -> Array:
    """Which windows have valid cells alone, bool `[..., H - 6, W - 6, C]`."""
    rows = functools.reduce(operator.and_, _shifted(valid, axis=-2))
    return functools.reduce(operator.and_, _shifted(rows, axis=-3))


class _Deviations(NamedTuple):
    """What is left of every window when its mean is taken away, in two parts.

    The mean of squares less the square of the mean would lose all digits of a small variance in
    float32, so products are made of deviations: of the pixels from the mean of their row of the
    window, and of the row means from the mean of the window.
    """

    of_pixels: list[Array]  # by column of the window, [..., H, W - 6, C]
    of_rows: list[Array]  # by row of the window, [..., H - 6, W - 6, C]


def _window_statistics(x: Array) -> tuple[Array, _Deviations]:
    """Mean of every window `[..., H - 6, W - 6, C]`, and the deviations from it."""
    columns = _shifted(x, axis=-2)
    row_mean = _sum(columns) / SSIM_WINDOW
    rows = _shifted(row_mean, axis=-3)
    mean = _sum(rows) / SSIM_WINDOW
    return mean, _Deviations([c - row_mean for c in columns], [r - mean for r in rows])


def _covariance(x: _Deviations, y: _Deviations) -> Array:
    """Sample covariance of x and y in every window, `[..., H - 6, W - 6, C]`."""
    within_rows = _sum(a * b for a, b in zip(x.of_pixels, y.of_pixels, strict=True))
    between_rows = _sum(a * b for a, b in zip(x.of_rows, y.of_rows, strict=True))
    scatter = _sum(_shifted(within_rows, axis=-3)) + SSIM_WINDOW * between_rows
    return scatter / (SSIM_WINDOW**2 - 1)


def _sum(terms: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, terms)


def _shifted(x: Array, axis: int) -> list[Array]:
    """The elements of every whole window along an axis: all first ones, all second ones, ..."""
    windows = x.shape[axis] - SSIM_WINDOW + 1
    return [lax.slice_in_dim(x, k, k + windows, axis=axis) for k in range(SSIM_WINDOW)]
