"""The head that turns the newest states of a network into scores of the classes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.clips import convolve_clips

POOL = (2, 2, 2)
STRIDES = (2, 2, 2)
# Of each value of `separable` how many top layers there must be, for it to change any.
LEAST_LAYERS = {'none': 0, 'bottom': 2, 'top': 1}


def newest(outputs: jax.Array, lengths: jax.Array, window: int) -> jax.Array:
    """The slots of the last `window` steps that each sequence has seen, in the order of time.

    Args:
      outputs: of every step, time first: `[N, B, D, h, w, C]`.
      lengths: steps that count, int `[B]`; those of later steps are not looked at.
      window: number of steps.

    Returns:
      `[B, window * D, h, w, C]`. Where a sequence has fewer steps, zeros stand before them, as the
      states before the first step are zero.
    """
    steps = lengths[:, None] - window + jnp.arange(window)  # [B, window]
    batch = jnp.arange(outputs.shape[1])[:, None]
    chosen = outputs[jnp.clip(steps, 0, outputs.shape[0] - 1), batch]
    chosen = jnp.where((steps >= 0)[..., None, None, None, None], chosen, 0)
    return chosen.reshape(chosen.shape[0], -1, *chosen.shape[3:])


class Classifier(nn.Module):
    """The classifier of section 4.4, for any size and number of slots.

    `top_layers` 3D convolutions that keep the size; two of stride 2, each with a ReLU; max pooling
    over 2 x 2 x 2; the mean over what depth is left; two fully connected layers.

    Attributes:
      classes: how many there are.
      features: channels of the strided convolutions (2 x 3 x 3).
      hidden: channels of the first fully connected layer.
      top_layers: number of layers before them, with the width of the states.
      top_kernel: depth, height and width of these.
      separable: which half of these layers is factored into space and time: 'none', 'bottom' or
        'top'.
      dtype: type of the computation; the scores are float32 at least.
    """

    classes: int
    features: int = 128
    hidden: int = 512
    top_layers: int = 0
    top_kernel: tuple[int, int, int] = (2, 5, 5)
    separable: str = 'none'
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, slots: jax.Array) -> jax.Array:
        """Scores (logits) `[B, classes]` for slots `[B, S, h, w, C]`."""
        depth, *space = self.top_kernel
        # What ReLUs halve; without it a stack of them ends near zero.
        common: dict[str, Any] = {'dtype': self.dtype, 'kernel_init': nn.initializers.he_normal()}
        convolution = functools.partial(nn.Conv, conv_general_dilated=convolve_clips, **common)
        for layer in range(self.top_layers):
            width = slots.shape[-1]
            lower = layer < self.top_layers // 2
            if self.separable == ('bottom' if lower else 'top'):
                slots = convolution(width, (1, *space), name=f'top_{layer}')(slots)
                slots = nn.relu(slots)
                slots = convolution(width, (depth, 1, 1), name=f'top_{layer}_depth')(slots)
            else:
                slots = convolution(width, tuple(self.top_kernel), name=f'top_{layer}')(slots)
            slots = nn.relu(slots)
        for layer in range(2):
            strided = convolution(self.features, (2, 3, 3), STRIDES, name=f'strided_{layer}')
            slots = nn.relu(strided(slots))
        slots = nn.max_pool(slots, POOL, POOL, 'SAME').mean(axis=1)
        hidden = nn.Dense(self.hidden, name='hidden', **common)(slots.reshape(len(slots), -1))
        scores = nn.Dense(self.classes, dtype=self.dtype, name='scores')(nn.relu(hidden))
        return scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
