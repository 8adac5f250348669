"""What training leaves out at random, whatever the number of devices that share a batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.model.needs import RANDOM, Training


def draw_for_share(
    key: jax.Array, keep: float, shape: tuple[int, ...], axis_name: str | None
) -> jax.Array:
    """What of this device's share of a batch is kept, bool of this shape.

    Drawn for the whole batch on every device, so that it does not depend on how many there are.

    Args:
      key: the same on all devices.
      keep: the probability.
      shape: of the share, sequences first.
      axis_name: of the devices; None for one.
    """
    if axis_name is None:
        return jax.random.bernoulli(key, keep, shape)
    count, *others = shape
    everyone = jax.random.bernoulli(key, keep, (count * jax.lax.psum(1, axis_name), *others))
    first = jax.lax.axis_index(axis_name) * count
    return jax.lax.dynamic_slice_in_dim(everyone, first, count)


class Dropout(nn.Module):
    """Sets a share of the features to zero in training, and scales the others by 1 / (1 - share).

    As `nn.Dropout`, which would draw the same for the share of every device.

    Attributes:
      share: from 0 to below 1.
    """

    share: float

    @nn.compact
    def __call__(self, x: jax.Array, training: Training | None = None) -> jax.Array:
        """`[B, ...]` to the same shape; as it is where `training` is None."""
        if training is None or not self.share:
            return x
        keep = 1.0 - self.share
        kept = draw_for_share(self.make_rng(RANDOM), keep, x.shape, training.axis_name)
        return jnp.where(kept, x / keep, jnp.zeros_like(x))
