"""What training leaves out at random, whatever the number of devices that share a batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.model.needs import RANDOM, Training


def draw_for_share(
    key: jax.Array, keep: float, shape: tuple[int, ...], training: Training
) -> jax.Array:
    """What of this device's share of a batch is kept, bool of this shape.

    Drawn for the whole batch on every device, so that it does not depend on how many there are.

    Args:
      key: the same on all devices.
      keep: the probability.
      shape: of the share, sequences first.
      training: which devices there are, and how often each sequence is in a share.
    """
    if training.axis_name is None:
        return jax.random.bernoulli(key, keep, shape)
    (size, *others), draws = shape, training.draws
    count = size // draws
    devices = jax.lax.psum(1, training.axis_name)
    everyone = jax.random.bernoulli(key, keep, (draws, count * devices, *others))
    first = jax.lax.axis_index(training.axis_name) * count
    return jax.lax.dynamic_slice_in_dim(everyone, first, count, axis=1).reshape(shape)


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
        kept = draw_for_share(self.make_rng(RANDOM), keep, x.shape, training)
        return jnp.where(kept, x / keep, jnp.zeros_like(x))
