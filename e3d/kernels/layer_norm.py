"""LayerNorm of a state, with a gradient that is fast on every platform.

CPUs take all sums over the positions of each channel first, which they add up with vectors, where XLA
adds up everything at once one by one; and mean and variance one after the other. GPUs and TPUs, where
each pass over an array costs a kernel or two, take both in one.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from e3d.kernels import platforms

EPSILON = 1e-5
_POSITIONS = (-4, -3, -2)  # depth, height and width


class Statistics(NamedTuple):
    """Of each sample over D, H, W and C, each `[..., 1, 1, 1, 1]`, float32 at least.

    Attributes:
      mean: of the inputs.
      factor: what gives them a variance of 1.
    """

    mean: jax.Array
    factor: jax.Array


def layer_norm(
    inputs: jax.Array, group: Mapping[str, jax.Array], epsilon: float = EPSILON
) -> jax.Array:
    """LayerNorm over D, H, W and C of each sample; scale and bias for each channel.

    Mean and variance are taken in float32 at least. The epsilon keeps the gradient finite at the
    first step, where every state is zero; in float16 one below 1e-9 does not.
    """
    return layer_norm_again(inputs, group, statistics(inputs, epsilon))


def layer_norm_again(
    inputs: jax.Array, group: Mapping[str, jax.Array], known: Statistics
) -> jax.Array:
    """LayerNorm where the `statistics` are known; with the gradient of `layer_norm`."""
    return _layer_norm(inputs, group['norm_scale'], group['norm_bias'], known)


def statistics(inputs: jax.Array, epsilon: float = EPSILON) -> Statistics:
    """What LayerNorm has to know of its inputs `[..., D, H, W, C]`; it has no gradient of its own."""
    values = lax.stop_gradient(jnp.asarray(inputs))
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    mean, variance = _moments(values)
    return Statistics(mean, lax.rsqrt(variance + epsilon))


@platforms.traced_once()
def _moments(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of each sample."""
    return platforms.choose(values, cpu=_moments_in_two_passes, default=_moments_in_one_pass)


def _moments_in_two_passes(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    def mean_of(values):
        return values.mean(_POSITIONS, keepdims=True).mean(-1, keepdims=True)

    mean = mean_of(values)
    centered = values - mean
    return mean, mean_of(centered * centered)


def _moments_in_one_pass(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """No less exact: no squares of values are added up whose mean is far from 0.

    Of two parts with their numbers of values, means and sums of squared deviations follow those of
    both (Chan, Golub, LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample
    variances).
    """

    def join(part, other):
        (count, mean, squares), (other_count, other_mean, other_squares) = part, other
        total = count + other_count
        share, distance = other_count / jnp.maximum(total, 1), other_mean - mean
        squares = squares + other_squares + distance * distance * (count * share)
        return total, mean + distance * share, squares

    axes = tuple(range(values.ndim - 4, values.ndim))
    one_by_one = (jnp.ones_like(values), values, jnp.zeros_like(values))
    count, mean, squares = lax.reduce(one_by_one, (values.dtype.type(0),) * 3, join, axes)
    return tuple(jnp.expand_dims(moment, axes) for moment in (mean, squares / count))


# A gradient rule of its own, for its four sums follow from two over the positions of each channel.
@jax.custom_vjp
def _layer_norm(
    inputs: jax.Array, scale: jax.Array, bias: jax.Array, known: Statistics
) -> jax.Array:
    return (_normalize(inputs, known) * scale + bias).astype(inputs.dtype)


def _normalize(inputs: jax.Array, known: Statistics) -> jax.Array:
    """Inputs with mean 0 and variance 1."""
    return (inputs.astype(known.mean.dtype) - known.mean) * known.factor


@platforms.traced_once()
def _means_by_channel(first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The means of two arrays over D, H and W, `[..., 1, 1, 1, C]`."""

    def one_by_one(*arrays):
        return tuple(array.mean(_POSITIONS, keepdims=True) for array in arrays)

    def at_once(*arrays):
        axes = tuple(range(first.ndim - 4, first.ndim - 1))
        zero = first.dtype.type(0)

        def add(sums, others):
            return tuple(one + other for one, other in zip(sums, others, strict=True))

        sums = lax.reduce(arrays, (zero, zero), add, axes)
        positions = first[..., 0].size // first[..., 0, 0, 0, 0].size
        return tuple(jnp.expand_dims(one, axes) / positions for one in sums)

    return platforms.choose(first, second, cpu=one_by_one, default=at_once)


def _layer_norm_gradients(residuals, cotangent: jax.Array):
    inputs, scale, bias, known = residuals
    normalized = _normalize(inputs, known)
    cotangent = cotangent.astype(normalized.dtype)
    by_channel, aligned = _means_by_channel(cotangent, cotangent * normalized)
    of_normalized = cotangent * scale
    of_normalized -= (by_channel * scale).mean(-1, keepdims=True)
    of_normalized -= (aligned * scale).mean(-1, keepdims=True) * normalized
    positions = normalized.size // by_channel.size
    of_scale, of_bias = (
        positions * sums.reshape(-1, sums.shape[-1]).sum(0) for sums in (aligned, by_channel)
    )
    return (
        (of_normalized * known.factor).astype(inputs.dtype),
        of_scale.astype(scale.dtype),
        of_bias.astype(bias.dtype),
        None,
    )


_layer_norm.defvjp(lambda *arguments: (_layer_norm(*arguments), arguments), _layer_norm_gradients)
