"""3D convolutions of whole clips, for networks that see a clip at once.

XLA's 3D convolutions of few channels are slow on CPUs, forward and in their gradients, and its 2D ones
are not (`benchmarks/README.md` has the measurements). So there the frames that the taps in time meet are
put side by side in the channels, and one 2D convolution takes them all:

    y[t, h, w] = sum over a, i, j of x[s t + a, ...] K[a, i, j] = sum over i, j of X[t, ...] K'[i, j],

where X[t] joins the frames s t + a, and K' the taps a, of each pixel. Elsewhere it is XLA's own.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from e3d.kernels import platforms

Pads = tuple[tuple[int, int], ...]


def convolve_clips(
    clips: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> jax.Array:
    """As `jax.lax.conv_general_dilated`; for `flax.linen.Conv(conv_general_dilated=...)`.

    Args:
      clips: `[B, T, H, W, C]`.
      kernel: `[kt, kh, kw, C, F]`, of the same type.
      strides: along time, height and width.
      padding: 'SAME', 'VALID', or zeros before and after each of the three.
      **options: the defaults of `flax.linen.Conv`, and the `precision`.

    Returns:
      `[B, T', H', W', F]`.
    """
    strides = tuple(strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(clips.shape[1:4], kernel.shape[:3], strides, padding)
    pads = tuple((int(before), int(after)) for before, after in padding)
    return _convolve(clips, kernel, strides, pads, options.get('precision'))


@platforms.traced_once('strides', 'pads', 'precision')
def _convolve(clips: jax.Array, kernel: jax.Array, strides, pads: Pads, precision) -> jax.Array:
    return platforms.choose(
        clips,
        kernel,
        cpu=lambda clips, kernel: as_pictures(clips, kernel, strides, pads, precision),
        default=lambda clips, kernel: natively(clips, kernel, strides, pads, precision),
    )


def natively(clips: jax.Array, kernel: jax.Array, strides, pads: Pads, precision=None) -> jax.Array:
    """By one 3D convolution."""
    return lax.conv_general_dilated(
        clips,
        kernel,
        strides,
        pads,
        dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
        precision=precision,
    )


def as_pictures(
    clips: jax.Array, kernel: jax.Array, strides, pads: Pads, precision=None
) -> jax.Array:
    """By one 2D convolution of all frames."""
    taps, *size, channels, features = kernel.shape
    clips = jnp.pad(clips, [(0, 0), pads[0], *[(0, 0)] * 3])
    batch, frames = clips.shape[:2]
    last = (frames - taps) // strides[0] * strides[0]
    met = [clips[:, tap : tap + last + 1 : strides[0]] for tap in range(taps)]
    joined = jnp.concatenate(met, axis=-1)
    outputs = lax.conv_general_dilated(
        joined.reshape(-1, *joined.shape[2:]),
        jnp.moveaxis(kernel, 0, 2).reshape(*size, taps * channels, features),
        strides[1:],
        pads[1:],
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        precision=precision,
    )
    return outputs.reshape(batch, -1, *outputs.shape[1:])
