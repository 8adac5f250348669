"""Errors that weigh more where the truth is large: B-MSE and B-MAE (Shi et al. 2017, section 3.3)."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def balanced_weights(truth: Array, levels: ArrayLike, weights: Sequence[float]) -> Array:
    """What each pixel weighs: 1 below the first level, from each level on its weight.

    Args:
      truth: `[..., H, W, C]`.
      levels: ascending, `[K]`, or `[K, C]` where channels differ.
      weights: K of them.

    Returns:
      Float32 `[..., H, W, C]`.
    """
    weight = jnp.ones(truth.shape, jnp.float32)
    for level, value in zip(jnp.asarray(levels), weights, strict=True):
        weight = jnp.where(truth >= level, value, weight)
    return weight


def balanced_errors(
    prediction: Array,
    truth: Array,
    levels: ArrayLike,
    weights: Sequence[float],
    valid: Array | None = None,
) -> dict[str, Array]:
    """'b_mse' and 'b_mae' of frames `[..., H, W, C]`: weighted sums over their pixels, `[...]`.

    Only over those that are `valid`, bool of the same shape, where that is given; NaN of a frame
    without any.
    """
    if valid is not None:
        prediction, truth = (jnp.where(valid, x, 0.0) for x in (prediction, truth))
    weight, error = balanced_weights(truth, levels, weights), prediction - truth
    terms = {'b_mse': jnp.square(error), 'b_mae': jnp.abs(error)}
    frame = (-3, -2, -1)
    sums = {name: (weight * term).sum(axis=frame) for name, term in terms.items()}
    if valid is None:
        return sums
    return {name: jnp.where(valid.any(axis=frame), total, jnp.nan) for name, total in sums.items()}
