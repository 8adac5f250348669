"""How sharp forecasts are: the size of their gradients beside that of the true frames."""

import jax.numpy as jnp
from jax import Array


def total_gradient(frames: Array, valid: Array | None = None) -> Array:
    """The sum of the absolute differences between neighbors, down and across.

    A forecast's mean of it, divided by that of the truth, is its sharpness: 1 is as sharp as the
    truth; the blur of a model that hedges makes it less.

    Args:
      frames: `[..., H, W, C]`.
      valid: bool of the same shape, the cells of which both neighbors must be; None: all.

    Returns:
      Float32 `[...]`.
    """
    frames = frames.astype(jnp.float32)
    if valid is not None:
        frames = jnp.where(valid, frames, 0.0)
    down, across = (jnp.abs(jnp.diff(frames, axis=axis)) for axis in (-3, -2))
    if valid is not None:
        down = down * (valid[..., 1:, :, :] & valid[..., :-1, :, :])
        across = across * (valid[..., 1:, :] & valid[..., :-1, :])
    return down.sum(axis=(-3, -2, -1)) + across.sum(axis=(-3, -2, -1))
