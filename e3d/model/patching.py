"""Space-to-depth patching of frames (the `reshape_patch` of the PredRNN family)."""

import jax
import jax.numpy as jnp

from e3d.errors import InputError


def to_patches(frames: jax.Array, patch_size: int) -> jax.Array:
    """`[..., H, W, C]` to `[..., H/p, W/p, p*p*C]`, the last axis in the order (row, column, C).

    Raises:
      InputError: the patch size does not divide height and width.
    """
    *leading, height, width, channels = frames.shape
    if height % patch_size or width % patch_size:
        raise InputError(
            f'frames of {height} x {width} cannot be cut into patches of {patch_size} x '
            f'{patch_size}: choose a patch_size that divides both, or set pad_frames=True'
        )
    rows, columns = height // patch_size, width // patch_size
    frames = frames.reshape(*leading, rows, patch_size, columns, patch_size, channels)
    frames = jnp.swapaxes(frames, -4, -3)
    return frames.reshape(*leading, rows, columns, patch_size * patch_size * channels)


def from_patches(patches: jax.Array, patch_size: int) -> jax.Array:
    """The inverse of `to_patches`."""
    *leading, rows, columns, depth = patches.shape
    channels = depth // (patch_size * patch_size)
    patches = patches.reshape(*leading, rows, columns, patch_size, patch_size, channels)
    patches = jnp.swapaxes(patches, -4, -3)
    return patches.reshape(*leading, rows * patch_size, columns * patch_size, channels)


def pad_to_patches(frames: jax.Array, patch_size: int) -> jax.Array:
    """Repeats the last rows and columns until the patch size divides height and width."""
    height, width = frames.shape[-3:-1]
    padding = [(0, 0)] * frames.ndim
    padding[-3] = (0, -height % patch_size)
    padding[-2] = (0, -width % patch_size)
    return jnp.pad(frames, padding, mode='edge')
