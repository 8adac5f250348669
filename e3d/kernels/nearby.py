r"""RECALL of what was near: each position attends to the remembered steps at and around its place.

    RECALL(R, S)[p] = sum_kq w[k, q] S_k[q],    w = softmax_kq(R[p] . S_k[q] + b_k)

k runs over the remembered steps, q over the positions of a state in the depth of p that are at most
`radius` from p in height and in width. Outside the frame there is no key. With radius 0 the softmax
is over the steps alone, at each place. b_k is the bias of a step, minus infinity where it is not
remembered. No 1/sqrt(C), and keys are values, as in `everywhere.py`.

For each shift of that neighborhood the queries are shifted, not the history, which has K times their
size; they have a margin as wide as the radius, and what is recalled there is cut off. The running
maximum and sum of the online softmax go over the shifts. The loop has a fixed number of rounds; in each
one all slots are computed at once, and those not remembered have no weight. Temporaries are no
larger than the history.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def _margin(array: jax.Array, radius: int) -> jax.Array:
    """Zeros around height and width of `[B, D, H, W, ...]`."""
    sides = [(radius, radius) if axis in (2, 3) else (0, 0) for axis in range(array.ndim)]
    return jnp.pad(array, sides)


def _without_margin(array: jax.Array, radius: int) -> jax.Array:
    height, width = (side - 2 * radius for side in array.shape[2:4])
    return array[:, :, radius : radius + height, radius : radius + width]


def _shifted(array: jax.Array, shift: tuple[jax.Array, jax.Array], size) -> jax.Array:
    """The part `[B, D, H, W, ...]` of an array with a margin."""
    starts = (0, 0, *shift, *(0 for _ in array.shape[4:]))
    return lax.dynamic_slice(array, starts, (*array.shape[:2], *size, *array.shape[4:]))


def _put(array: jax.Array, part: jax.Array, shift: tuple[jax.Array, jax.Array]) -> jax.Array:
    starts = (0, 0, *shift, *(0 for _ in array.shape[4:]))
    return lax.dynamic_update_slice(array, part, starts)


def _for_each_shift(radius: int, visit: Callable, start: Any) -> Any:
    side = 2 * radius + 1
    if side == 1:
        return visit((0, 0), start)
    return lax.fori_loop(
        0, side**2, lambda shift, state: visit((shift // side, shift % side), state), start
    )


def _remembered(gate, history, bias) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The states `[B, K, D, H, W, C]`, their bias, and which are remembered, both `[B, K, 1, 1, 1]`."""
    states, bias = (
        history.reshape(*history.shape[:2], *gate.shape[1:]),
        bias[:, :, None, None, None],
    )
    return states, bias, bias > -jnp.inf


def _sum(left: jax.Array, states: jax.Array, axis: int) -> jax.Array:
    """Sums a product over the slots or channels in the type of `left`, at least float32."""
    return (left * states.astype(left.dtype)).sum(axis=axis)


def recall_forward(
    gate: jax.Array, history: jax.Array, bias: jax.Array, radius: int
) -> tuple[jax.Array, jax.Array]:
    """RECALL of what was near and the logarithm of its softmax sums.

    Args:
      gate: recall gate R, `[B, D, H, W, C]`.
      history: remembered cell states, `[B, K, P, C]`: K slots of P = D*H*W positions.
      bias: of each slot `[B, K]`, minus infinity where a sequence does not remember it.
      radius: how far a key may be from the query in height and width, >= 0.

    Returns:
      The recalled memory `[B, D, H, W, C]`, zero for a sequence that remembers nothing, and the
      log-sum-exp of the logits `[B, D, H, W]`, which the backward pass needs.
    """
    dtype = jnp.promote_types(gate.dtype, jnp.float32)
    size = gate.shape[2:4]
    states, bias, valid = _remembered(gate, history, bias)
    queries = _margin(gate.astype(dtype), radius)

    def visit(shift, state):
        maximum, total, recalled = (_shifted(array, shift, size) for array in state)
        logits = _sum(_shifted(queries, shift, size)[:, None], states, axis=-1) + bias
        highest = jnp.where(valid, logits, lowest).max(axis=1)
        new_maximum = jnp.maximum(maximum, highest)
        weights = jnp.where(valid, jnp.exp(logits - new_maximum[:, None]), 0)
        rescale = jnp.exp(maximum - new_maximum)
        total = total * rescale + weights.sum(axis=1)
        recalled = recalled * rescale[..., None] + _sum(weights[..., None], states, axis=1)
        parts = (new_maximum, total, recalled)
        return tuple(_put(array, part, shift) for array, part in zip(state, parts, strict=True))

    lowest = jnp.finfo(dtype).min / 2
    zeros = jnp.zeros_like(queries)
    start = (jnp.full(queries.shape[:-1], lowest, dtype), zeros[..., 0], zeros)
    state = _for_each_shift(radius, visit, start)
    maximum, total, recalled = (_without_margin(array, radius) for array in state)
    total = jnp.where(total == 0, 1, total)
    return (recalled / total[..., None]).astype(gate.dtype), maximum + jnp.log(total)


def recall_backward(
    gate: jax.Array,
    history: jax.Array,
    bias: jax.Array,
    recalled: jax.Array,
    log_sum: jax.Array,
    cotangent: jax.Array,
    radius: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients with respect to the gate `[B, D, H, W, C]`, the history `[B, K, P, C]` and the bias."""
    dtype = jnp.promote_types(gate.dtype, jnp.float32)
    size = gate.shape[2:4]
    states, bias, valid = _remembered(gate, history, bias)
    mean = (cotangent.astype(dtype) * recalled.astype(dtype)).sum(axis=-1)
    of_queries = tuple(
        _margin(array.astype(dtype), radius) for array in (gate, cotangent, mean, log_sum)
    )

    def visit(shift, gradients):
        gate_gradient, history_gradient, bias_gradient = gradients
        query, of_recalled, mean, log_sum = (
            _shifted(array, shift, size)[:, None] for array in of_queries
        )
        logits = _sum(query, states, axis=-1) + bias
        weights = jnp.where(valid, jnp.exp(logits - log_sum), 0)
        of_logits = weights * (_sum(of_recalled, states, axis=-1) - mean)
        history_gradient += of_logits[..., None] * query + weights[..., None] * of_recalled
        part = _shifted(gate_gradient, shift, size) + _sum(of_logits[..., None], states, axis=1)
        bias_gradient += of_logits.sum(axis=(2, 3, 4))
        return _put(gate_gradient, part, shift), history_gradient, bias_gradient

    zeros = jnp.zeros(states.shape, dtype)
    start = (jnp.zeros_like(of_queries[0]), zeros, zeros[:, :, 0, 0, 0, 0])
    gate_gradient, history_gradient, bias_gradient = _for_each_shift(radius, visit, start)
    gate_gradient = _without_margin(gate_gradient, radius).astype(gate.dtype)
    history_gradient = history_gradient.astype(history.dtype).reshape(history.shape)
    return gate_gradient, history_gradient, bias_gradient
