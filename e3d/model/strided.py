"""Strided convolutions as convolutions of stride 1 over patches of 2 x 2 pixels, and their counterpart.

So they have the gradients that are fast in a loop.
"""

import jax
import jax.numpy as jnp

from e3d.kernels.convolution import VALID, Kernel
from e3d.kernels.modes import Operations


def halve(slots: jax.Array) -> jax.Array:
    """Patches of 2 x 2 in the channels; odd sides get a row or column of zeros at the end."""
    batch, depth, height, width, channels = slots.shape
    slots = jnp.pad(slots, ((0, 0), (0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    rows, columns = slots.shape[2] // 2, slots.shape[3] // 2
    slots = slots.reshape(batch, depth, rows, 2, columns, 2, channels)
    return slots.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, depth, rows, columns, -1)


def double(slots: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The inverse of `halve`, for frames of `size`."""
    batch, depth, rows, columns, _ = slots.shape
    slots = slots.reshape(batch, depth, rows, columns, 2, 2, -1).transpose(0, 1, 2, 4, 3, 5, 6)
    return slots.reshape(batch, depth, 2 * rows, 2 * columns, -1)[:, :, : size[0], : size[1]]


def halve_kernel(kernel: jax.Array, padding: int | None = None) -> jax.Array:
    """The kernel for `halve`d slots that does what `kernel` does with a stride of 2.

    `[kd, kh, kw, C, F]` to `[kd, ceil, ceil, 4 C, F]`. Before each row and column there are `padding`
    zeros, (k - 1) // 2 if None.
    """
    depth, *space, channels, features = kernel.shape
    before = [((size - 1) // 2 if padding is None else padding) % 2 for size in space]
    after = [(low + size) % 2 for low, size in zip(before, space, strict=True)]
    kernel = jnp.pad(kernel, [(0, 0), *zip(before, after, strict=True), (0, 0), (0, 0)])
    rows, columns = kernel.shape[1] // 2, kernel.shape[2] // 2
    kernel = kernel.reshape(depth, rows, 2, columns, 2, channels, features)
    return kernel.transpose(0, 1, 3, 2, 4, 5, 6).reshape(depth, rows, columns, -1, features)


def convolve_strided(
    slots: jax.Array, halved: Kernel | jax.Array, operations: Operations
) -> jax.Array:
    """3D convolution of stride (1, 2, 2), VALID in depth and padded by (k - 1) // 2 in space.

    Args:
      slots: `[B, D, H, W, C]`.
      halved: the kernel, from `halve_kernel`.
      operations: carries out the convolution.

    Returns:
      `[B, D - kd + 1, ceil(H / 2), ceil(W / 2), F]`.
    """
    space = [(size // 2, size - 1 - size // 2) for size in halved.shape[1:3]]
    return operations.convolve(halve(slots), halved, (VALID[0], *space))
