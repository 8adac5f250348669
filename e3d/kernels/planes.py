"""A 3D convolution as one of two axes, with the depth among the channels.

Where inputs are as deep as the kernel and padded SAME, as the gates of a cell are, each slot of the
outputs sees all slots of the inputs. So all slots together are the channels of a picture, and with
T[a, b] = K[a - b + p], the kernel's tap in depth from slot a to slot b, and zero where it has none,

    y[b, h, w] = sum over a, i, j of x[a, h + i, w + j] T[a, b][i, j]

takes as many products as a convolution that zeros are put before and behind. GPUs and TPUs have better
programs for two axes than for three, pad height and width without a copy, and get twice the channels.
"""

import jax
import jax.numpy as jnp
from jax import lax

from e3d.kernels.winograd import Padding

_LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def transform_kernel(taps: jax.Array) -> jax.Array:
    """T of a kernel `[kd, kh, kw, C, F]`, `[kh, kw, kd, C, kd, F]`."""
    depth = taps.shape[0]
    before = (depth - 1) // 2
    none = jnp.zeros_like(taps[0])

    def tap(slot: int, output: int) -> jax.Array:
        number = slot - output + before
        return taps[number] if 0 <= number < depth else none

    rows = [jnp.stack([tap(slot, output) for output in range(depth)], 3) for slot in range(depth)]
    return jnp.stack(rows, 2)


def convolve(
    inputs: jax.Array, kernel: jax.Array, padding: Padding, precision: str | None
) -> jax.Array:
    """As `convolution.convolve`, of inputs `[B, kd, H, W, C]` with a transformed kernel."""
    batch, depth, height, width, channels = inputs.shape
    pictures = jnp.moveaxis(inputs, 1, 3).reshape(batch, height, width, depth * channels)
    outputs = lax.conv_general_dilated(
        pictures,
        kernel.reshape(*kernel.shape[:2], depth * channels, -1).astype(inputs.dtype),
        (1, 1),
        padding[1:],
        dimension_numbers=_LAYOUT,
        precision=precision,
    )
    outputs = outputs.reshape(*outputs.shape[:3], depth, kernel.shape[-1])
    return jnp.moveaxis(outputs, 3, 1)
