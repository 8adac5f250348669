"""Filters that differ from pixel to pixel or from picture to picture, with gradients that are fast."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp


def _padded(frames: jax.Array, size: int) -> jax.Array:
    margin = (size // 2, size // 2)
    return jnp.pad(frames, ((0, 0), margin, margin, (0, 0)))


def _windows(padded: jax.Array, size: int) -> Iterator[jax.Array]:
    """Of padded frames, what each tap of a filter sees, in the order (row, column)."""
    height, width = (side - size + 1 for side in padded.shape[1:3])
    for row in range(size):
        for column in range(size):
            yield padded[:, row : row + height, column : column + width]


# Automatic differentiation would write an array of zeros for each tap; here all taps are one sum.
@jax.custom_vjp
def filter_locally(frames: jax.Array, filters: jax.Array) -> jax.Array:
    """Applies to each pixel a filter of its own, without flipping it; zeros outside of the frame.

    Args:
      frames: `[B, H, W, C]`.
      filters: `[B, H, W, k * k]`, in the order (row, column), k odd.

    Returns:
      `[B, H, W, C]`.
    """
    size = round(filters.shape[-1] ** 0.5)
    windows = enumerate(_windows(_padded(frames, size), size))
    return sum(filters[..., tap, None] * window for tap, window in windows)


def _local_gradients(residuals, cotangent: jax.Array):
    frames, filters = residuals
    size = round(filters.shape[-1] ** 0.5)
    windows = _windows(_padded(frames, size), size)
    of_filters = jnp.stack([(cotangent * window).sum(-1) for window in windows], axis=-1)
    # A pixel is seen through the last tap by the first of those around it, and so on.
    opposite = zip(
        _windows(_padded(filters, size), size),
        _windows(_padded(cotangent, size), size),
        strict=True,
    )
    of_frames = sum(
        taps[..., size**2 - 1 - place, None] * part for place, (taps, part) in enumerate(opposite)
    )
    return of_frames, of_filters


filter_locally.defvjp(
    lambda frames, filters: (filter_locally(frames, filters), (frames, filters)), _local_gradients
)


def filter_each(frames: jax.Array, filters: jax.Array) -> jax.Array:
    """Applies filters to whole pictures, each picture its own; zeros outside of the frame.

    Args:
      frames: `[B, H, W, C]`.
      filters: `[B, k, k, N]`, k odd; not flipped, the same for every channel.

    Returns:
      `[N, B, H, W, C]`.
    """
    batch, size, _, number = filters.shape
    height, width = frames.shape[1:3]
    padded = _padded(frames, size)
    columns = jnp.stack([padded[:, :, first : first + width] for first in range(size)], axis=1)
    patches = jnp.stack([columns[:, :, first : first + height] for first in range(size)], axis=1)
    patches = patches.reshape(batch, size * size, -1)
    filters = filters.reshape(batch, size * size, number)
    filtered = jnp.einsum('bkn,bkp->nbp', filters, patches, precision='highest')
    return filtered.reshape(number, *frames.shape)
