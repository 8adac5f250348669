"""LayerNorm of a state, with a gradient that is fast on CPU."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

EPSILON = 1e-5
_POSITIONS = (-4, -3, -2)  # depth, height and width


def layer_norm(
    inputs: jax.Array, group: Mapping[str, jax.Array], epsilon: float = EPSILON
) -> jax.Array:
    """LayerNorm over D, H, W and C of each sample; scale and bias for each channel.

    Mean and variance are taken in float32 at least. The epsilon keeps the gradient finite at the
    first step, where every state is zero.
    """
    return _layer_norm(inputs, group['norm_scale'], group['norm_bias'], epsilon)


# A gradient rule of its own, for its four sums follow from two over the positions of each
# channel. Sums that keep the channels are also much faster on CPU than those over everything.
@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _layer_norm(inputs: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    normalized, _ = _normalize(inputs, epsilon)
    return (normalized * scale + bias).astype(inputs.dtype)


def _normalize(inputs: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """Inputs of mean 0 and variance 1 `[..., D, H, W, C]`, and what they were multiplied by."""
    values = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
    centered = values - _mean(values)
    factor = jax.lax.rsqrt(_mean(centered * centered) + epsilon)
    return centered * factor, factor


def _mean(values: jax.Array) -> jax.Array:
    return values.mean(_POSITIONS, keepdims=True).mean(-1, keepdims=True)


def _layer_norm_gradients(epsilon: float, residuals, cotangent: jax.Array):
    inputs, scale, bias = residuals
    normalized, factor = _normalize(inputs, epsilon)
    cotangent = cotangent.astype(normalized.dtype)
    by_channel = cotangent.mean(_POSITIONS, keepdims=True)
    aligned = (cotangent * normalized).mean(_POSITIONS, keepdims=True)
    of_normalized = cotangent * scale
    of_normalized -= (by_channel * scale).mean(-1, keepdims=True)
    of_normalized -= (aligned * scale).mean(-1, keepdims=True) * normalized
    positions = normalized.size // by_channel.size
    of_scale, of_bias = (
        positions * sums.reshape(-1, sums.shape[-1]).sum(0) for sums in (aligned, by_channel)
    )
    return (
        (of_normalized * factor).astype(inputs.dtype),
        of_scale.astype(scale.dtype),
        of_bias.astype(bias.dtype),
    )


_layer_norm.defvjp(
    lambda *arguments: (_layer_norm(*arguments), arguments[:3]), _layer_norm_gradients
)
