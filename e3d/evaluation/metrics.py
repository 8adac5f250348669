"""Errors of forecast frames, frame by frame: MSE, MAE, PSNR and SSIM."""

import functools
import operator
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from e3d.data.sources.scales import PIXELS, Bound, Scale
from e3d.errors import InputError
from e3d.model.frames import scale_types
from e3d.pixel_values import ROUNDING, extent_of

PSNR_CAP = 100.0  # dB; a frame without error would have infinitely many
SSIM_WINDOW = 7  # side of the uniform window, pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03


def frame_metrics(
    prediction: Array,
    truth: Array,
    bounds: tuple[Bound, Bound] = PIXELS.bounds,
    valid: Array | None = None,
) -> dict[str, Array]:
    """Compares every forecast frame with the true one. Can be jitted.

    The prediction is brought within the bounds of the data first, for pictures to [0, 1] as in the
    published evaluations. What has no truth counts nowhere.

    Args:
      prediction: `[B, T, H, W, C]`, floats of any range. Within [0, 1], the bounds of pictures, also
        uint8, uint16 or bool, which become floats in [0, 1]; within others numbers of any type, as
        they are.
      truth: of the same shape, and within the bounds.
      bounds: the least and the largest value there can be, each a number for all channels or a
        tuple with one of each; infinite where there is none. `(-math.inf, math.inf)` of data in a
        unit, such as degrees: errors are in it then, but PSNR and SSIM, which are of values in
        [0, 1], tell nothing.
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
      InputError: the two shapes differ or lack axes; or, of pictures, another type, or true frames
        beyond [0, 1], which under tracing is not looked at.

    Example:
      >>> truth = np.zeros((1, 2, 16, 16, 1))
      >>> metrics = e3d.frame_metrics(truth + 0.5, truth)
      >>> metrics['mse'].tolist(), metrics['mse_mean'].tolist()
      ([[64.0, 64.0]], [[0.25, 0.25]])
    """
    of_pictures = [bound for bound in bounds if isinstance(bound, int | float)] == [0, 1]
    prediction = _as_floats(prediction, 'prediction', of_pictures)
    truth = _as_floats(truth, 'truth', of_pictures)
    if prediction.shape != truth.shape:
        raise InputError(
            f'prediction has shape {prediction.shape}, but truth has {truth.shape}; they must have '
            'the same frames: choose those that were forecast.'
        )
    if of_pictures:
        _check_range(truth, valid)
    prediction = within(prediction, bounds)
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
        metrics |= structural_similarity(prediction, truth, valid)
    return metrics


def within(frames: Array, bounds: tuple[Bound, Bound]) -> Array:
    """Frames `[..., C]` brought within bounds as `frame_metrics` takes them. Can be jitted."""
    return jnp.clip(frames, *(jnp.asarray(bound, frames.dtype) for bound in bounds))


def errors_in_unit(
    prediction: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray | None,
    scale: Scale,
    by_channel: bool = False,
) -> dict[str, np.ndarray]:
    """Mean squared and absolute errors of frames `[B, T]` in the unit of the data.

    Arguments as for `frame_metrics`; `by_channel`, as of variables with units of their own, gives
    `[B, T, C]`. NaN where a frame has no truth.
    """
    error = np.float64(1) * scale.to_unit(scale.clip(prediction)) - scale.to_unit(truth)
    weights = np.broadcast_to(True if valid is None else valid, error.shape)
    frame = (-3, -2) if by_channel else (-3, -2, -1)
    with np.errstate(invalid='ignore', over='ignore'):
        count = weights.sum(axis=frame)
        squared = np.square(error).sum(axis=frame, where=weights) / count
        absolute = np.abs(error).sum(axis=frame, where=weights) / count
    return {'squared_in_unit': squared, 'mae_in_unit': absolute}


def structural_similarity(x: Array, y: Array, valid: Array | None = None) -> dict[str, Array]:
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


def _as_floats(frames: Array, name: str, of_pictures: bool) -> Array:
    """Frames as float32 `[..., B, T, H, W, C]`, those of pictures scaled by their type."""
    frames = jnp.asarray(frames)
    if frames.ndim < 5:
        raise InputError(
            f'{name} has shape {frames.shape}; it must be [B, T, H, W, C] (batch, time, height, '
            'width, channels): add the axes, to [T, H, W] by frames[None, ..., None].'
        )
    return (scale_types(frames, name) if of_pictures else frames).astype(jnp.float32)


def _check_range(truth: Array, valid: Array | None) -> None:
    """Raises InputError for true values that pictures do not have; of a forecast any may come."""
    if isinstance(truth, jax.core.Tracer) or isinstance(valid, jax.core.Tracer):
        return
    known = np.asarray(truth)
    if valid is not None:
        known = known[np.broadcast_to(valid, known.shape)]
    low, high, _ = extent_of(known) if known.size else (0.0, 1.0, 0)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(
            f'truth has values from {low:g} to {high:g}, but those of pictures lie in [0, 1]. Give '
            'pixels of 8 bits as uint8, or divide both by 255. Give data in a unit of their own '
            'with bounds=(-math.inf, math.inf), or with their least and largest value; only MSE and '
            'MAE are of use then.'
        )


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
