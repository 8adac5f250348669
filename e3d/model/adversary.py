"""The adversary of MCnet: a discriminator of whole sequences, its loss, and when it rests."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

MARGIN = 0.3
_LEAK = 0.2
_EPSILON = 1e-5


class Discriminator(nn.Module):
    """Tells true sequences from forecasts.

        conv 5 x 5, stride 2, to 64, leaky ReLU of slope 0.2
        the same to 128, 256, 512, with normalization by the batch before the leaky ReLU
        linear map of everything to one logit

    The normalization has scale and bias for each channel and takes the statistics of the batch at hand,
    never others; over all devices where each has a share of the batch.

    Attributes:
      features: channels of the first convolution.
    """

    features: int = 64

    @nn.compact
    def __call__(self, sequences: jax.Array, axis_name: str | None = None) -> jax.Array:
        """Logits `[B]`, large for what looks true.

        Args:
          sequences: frames in [-1, 1], `[B, T, H, W, C]`.
          axis_name: of the devices, where each has a share of the batch.
        """
        convolve = functools.partial(
            nn.Conv, kernel_size=(5, 5), strides=2, kernel_init=nn.initializers.glorot_uniform()
        )
        outputs = jnp.moveaxis(sequences, 1, -2)
        outputs = outputs.reshape(*outputs.shape[:3], -1)
        for number, factor in enumerate((1, 2, 4, 8), 1):
            outputs = convolve(factor * self.features, name=f'conv_{number}')(outputs)
            if number > 1:
                channels = outputs.shape[-1:]
                scale = self.param(f'norm_{number}_scale', nn.initializers.ones_init(), channels)
                bias = self.param(f'norm_{number}_bias', nn.initializers.zeros_init(), channels)
                outputs = _normalize(outputs, axis_name) * scale + bias
            outputs = nn.leaky_relu(outputs, _LEAK)
        glorot = nn.initializers.glorot_uniform()
        return nn.Dense(1, kernel_init=glorot, name='logit')(outputs.reshape(len(outputs), -1))[
            :, 0
        ]


def _normalize(inputs: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean 0 and variance 1 of each channel over the batch."""
    centered = inputs - _mean(inputs, axis_name)
    return centered * jax.lax.rsqrt(_mean(jnp.square(centered), axis_name) + _EPSILON)


def _mean(inputs: jax.Array, axis_name: str | None) -> jax.Array:
    means = inputs.mean((0, 1, 2))
    return means if axis_name is None else jax.lax.pmean(means, axis_name)


def cross_entropy(logits: jax.Array, are_true: bool) -> jax.Array:
    """The error of a discriminator about sequences that are all true, or all forecast."""
    labels = jnp.full_like(logits, are_true)
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean()


def updated_next(
    updates: tuple[jax.Array, jax.Array], errors: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Which of the two networks are updated after an update with these errors.

    The discriminator rests from when one of its errors is below the margin, the generator from when one
    is above 1 - margin. Only when both rest are both updated again.

    Args:
      updates: whether the generator and the discriminator were updated, bool.
      errors: cross-entropy of the discriminator about true sequences and about forecasts.
    """
    least, most = jnp.minimum(*errors), jnp.maximum(*errors)
    generator = updates[0] & ~(most > 1 - MARGIN)
    discriminator = updates[1] & ~(least < MARGIN)
    again = ~generator & ~discriminator
    return generator | again, discriminator | again
