"""How sharp forecasts are: the size of their gradients beside that of the true frames."""

import jax.numpy as jnp
from jax import Array


def total_gradient(frames: Array) -> Array:
    """The sum of the absolute differences between neighbors, down and across.

    A forecast's mean of it, divided by that of the truth, is its sharpness: 1 is as sharp as the
    truth; the blur of a model that hedges makes it less.

    Args:
      frames: `[..., H, W, C]`.

    Returns:
      Float32 `[...]`.
    """
    frames = frames.astype(jnp.float32)
    down, across = (jnp.abs(jnp.diff(frames, axis=axis)) for axis in (-3, -2))
    return down.sum(axis=(-3, -2, -1)) + across.sum(axis=(-3, -2, -1))
