"""Metrics as other codes compute them, to be compared with what their papers print.

They stand beside the metrics of `frame_metrics`, by name, where `evaluation.presets` asks for them,
as do metrics of one's own under `register_metric`; each tells what is odd about it. SSIM with a data
range of 2 is always there (`ssim_data_range_2`).
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from e3d.errors import InputError
from e3d.evaluation.metrics import PSNR_CAP, SSIM_K1, SSIM_K2, SSIM_WINDOW, structural_similarity
from e3d.options.tables import enter

GAUSSIAN_SIDE, GAUSSIAN_DEVIATION = 11, 1.5  # pixels

Metric = Callable[[Array, Array], Array]
PRESETS: dict[str, Metric] = {}
_LEAST_SIDES: dict[str, int] = {}


def register_metric(name: str, least_side: int = 1) -> Callable[[Metric], Metric]:
    """Enters a function from forecast and true frames `[B, T, H, W, C]` to a number of each, `[B, T]`.

    It is called within `jax.jit`, so it computes with `jax.numpy`, of float32 as the model sees
    them: for pictures in [0, 1], for data with a unit scaled, so that a metric with the dimension of
    an error is not in that unit. The forecast is brought within the bounds of the data before.

    Args:
      name: in reports and in `evaluation.presets`.
      least_side: of the frames, pixels.

    Raises:
      InputError: another metric has the name.
    """

    def decorate(metric: Metric) -> Metric:
        _LEAST_SIDES[name] = least_side
        return enter(PRESETS, name, 'metric')(metric)

    return decorate


@register_metric('psnr_wrapped')
def psnr_wrapped(prediction: Array, truth: Array) -> Array:
    """PSNR of bytes whose differences wrap around, as SimVP and codes made from it compute it.

    The difference of two bytes is taken modulo 256, and so is its square: a difference of 16 counts as
    none, no square exceeds 249, and nothing can have less than 24.17 dB. 0.5 against 0.6 everywhere
    has 25.98 dB instead of 19.83. The KTH columns of SimVP, TAU and SwinLSTM are of this kind.

    Args:
      prediction: `[..., H, W, C]` in [0, 1].
      truth: of the same shape.

    Returns:
      Float32 `[...]`, dB.
    """
    difference = _bytes(prediction) - _bytes(truth)
    squares = difference * difference
    return _decibels(squares.astype(jnp.float32).mean(axis=(-3, -2, -1)) / 255.0**2)


@register_metric('psnr_uint8')
def psnr_uint8(prediction: Array, truth: Array) -> Array:
    """PSNR of bytes, cut off and not rounded, as PredRNN and the published E3D-LSTM compute it.

    Arguments and result as for `psnr_wrapped`.
    """
    difference = (_bytes(prediction).astype(jnp.float32) - _bytes(truth)) / 255.0
    return _decibels(jnp.square(difference).mean(axis=(-3, -2, -1)))


@register_metric('ssim_uint8', SSIM_WINDOW)
def ssim_uint8(prediction: Array, truth: Array) -> Array:
    """SSIM of bytes, cut off and not rounded, as PredRNN computes it.

    Window and constants are those of `frame_metrics`. Arguments and result as for `psnr_wrapped`.
    """
    p, t = (_bytes(x).astype(jnp.float32) / 255.0 for x in (prediction, truth))
    return structural_similarity(p, t)['ssim']


@register_metric('ssim_gaussian', GAUSSIAN_SIDE)
def ssim_gaussian(prediction: Array, truth: Array) -> Array:
    """SSIM in a Gaussian window of 11 x 11 pixels, as FRNN, TensorFlow and torchmetrics have it.

    Deviation 1.5 pixels, K1 = 0.01, K2 = 0.03, data range 1, windows that lie in the frame as a whole;
    MCnet mirrors the border, and counts windows around every pixel.
    Arguments and result as for `psnr_wrapped`.
    """
    prediction, truth = prediction.astype(jnp.float32), truth.astype(jnp.float32)
    mean_x, mean_y = _blurred(prediction), _blurred(truth)
    variance_x = _blurred(prediction**2) - mean_x**2
    variance_y = _blurred(truth**2) - mean_y**2
    covariance = _blurred(prediction * truth) - mean_x * mean_y
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(axis=(-3, -2, -1))


def check_presets(
    names: Sequence[str], frame_shape: tuple[int, int, int], gaps: bool = False
) -> None:
    """Raises InputError for a preset that cannot be computed of frames `[H, W, C]`.

    They are too small, or have gaps, which none knows; or a function of one's own is none that JAX
    traces, or gives something else than a number of each frame.
    """
    if names and gaps:
        raise InputError(
            f'evaluation.presets: {", ".join(names)} cannot leave out values that were not measured, as '
            'these data have; leave it out.'
        )
    shortest = min(frame_shape[:2])
    for name in names:
        least = _LEAST_SIDES[name]
        if shortest < least:
            raise InputError(
                f'evaluation.presets: {name} needs frames of at least {least} pixels a side, and '
                f'these have {frame_shape[0]} x {frame_shape[1]}; leave it out.'
            )
        _check_result(name, frame_shape)


def _check_result(name: str, frame_shape: tuple[int, int, int]) -> None:
    """Traces a metric, which computes nothing: what is wrong with it is not to end a training."""
    leading = (2, 3)  # that differ, so that B and T are not exchanged
    frames = jax.ShapeDtypeStruct((*leading, *frame_shape), jnp.float32)
    try:
        found = jax.eval_shape(PRESETS[name], frames, frames)
        shape = getattr(found, 'shape', None)
        problem = f'gives {type(found).__name__ if shape is None else f"the shape {shape}"}'
    except Exception as error:  # of any type: it is the user's own code
        said = next(iter(str(error).splitlines()), '').rstrip('.')
        shape, problem = None, f'fails with {type(error).__name__}: {said}'
    if shape != leading:
        raise InputError(
            f'evaluation.presets: {name} {problem}. Of frames {frames.shape} it must give a number of '
            f'each, {leading}, and as JAX traces it, compute with jax.numpy in place of numpy and '
            'without branches on values. Mend it, or leave it out.'
        )


def _bytes(frames: Array) -> Array:
    return (jnp.clip(frames, 0.0, 1.0) * 255.0).astype(jnp.uint8)


def _decibels(mean_square: Array) -> Array:
    return -10.0 * jnp.log10(jnp.maximum(mean_square, 10.0 ** (-PSNR_CAP / 10.0)))


def _blurred(x: Array) -> Array:
    """The weighted means of all whole windows, `[..., H - 10, W - 10, C]`."""
    places = np.arange(GAUSSIAN_SIDE) - GAUSSIAN_SIDE // 2
    weights = np.exp(-(places**2) / (2 * GAUSSIAN_DEVIATION**2))
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (x.ndim - 3, x.ndim - 2):
        size = x.shape[axis] - GAUSSIAN_SIDE + 1
        parts = (
            weight * jax.lax.slice_in_dim(x, place, place + size, axis=axis)
            for place, weight in enumerate(weights)
        )
        x = sum(parts)
    return x
