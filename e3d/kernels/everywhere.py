r"""RECALL as printed in equation 1: each position attends to every position of all remembered steps.

    RECALL(R, S) = softmax(R . S^T + b) . S,    R [Q, C] queries,  S [K P, C] states

b is the bias of a step, the same at all its positions; minus infinity where it is not remembered.
There is no 1/sqrt(C), and keys and values are the same states. Written plainly it stores Q x K P
logits for every step and layer: 5 GB a step at the paper's recognition setting. Here the history is
visited block by block with the running maximum and sum of the online softmax; the backward pass
computes the weights of a block again from the kept log-sum-exp. Nothing is approximated, and the
largest temporary is as large as the logits of one block.

A block is one remembered step, in a loop over those that are remembered and no others: `slots` is
None. That is least work, but the bounds of the loop depend on data, and a GPU's host would have to
wait for them. With a number of `slots` a block has as many, there is a fixed number of blocks, and
what is not remembered has no weight.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def _statistics_dtype(dtype) -> jnp.dtype:
    """Logits and softmax sums are float32 even where the states are bfloat16."""
    return jnp.promote_types(dtype, jnp.float32)


def _bounds(bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First and one past the last slot that any sequence of the batch remembers."""
    any_valid = (bias > -jnp.inf).any(axis=0)
    slots = jnp.arange(bias.shape[1])
    first = jnp.min(jnp.where(any_valid, slots, bias.shape[1]))
    last = jnp.max(jnp.where(any_valid, slots + 1, 0))
    return first, last


def _visit_blocks(
    history: jax.Array, bias: jax.Array, slots: int | None, visit: Callable, start: Any
) -> Any:
    """Runs `visit(first slot, states [B, n P, C], bias [B, n P or 1], state) -> state`."""
    batch, size, positions, channels = history.shape

    def visit_one(slot, state):
        states = lax.dynamic_index_in_dim(history, slot, axis=1, keepdims=False)
        return visit(slot, states, lax.dynamic_slice_in_dim(bias, slot, 1, axis=1), state)

    if slots is None:
        return lax.fori_loop(*_bounds(bias), visit_one, start)

    def visit_some(turn, state):
        first = jnp.minimum(turn * slots, size - slots)
        states = lax.dynamic_slice_in_dim(history, first, slots, axis=1)
        of_slots = lax.dynamic_slice_in_dim(bias, first, slots, axis=1)
        # The last block begins among the slots of the one before, if they are no multiple.
        is_new = first + jnp.arange(slots) >= turn * slots
        of_slots = jnp.repeat(jnp.where(is_new, of_slots, -jnp.inf), positions, axis=1)
        states = states.reshape(batch, -1, channels)
        # A weight of zero is not enough for what is not finite.
        states = jnp.where((of_slots > -jnp.inf)[..., None], states, 0)
        return visit(first, states, of_slots, state)

    slots = min(slots, size)
    turns = -(-size // slots)
    return visit_some(0, start) if turns == 1 else lax.fori_loop(0, turns, visit_some, start)


def _add(slots: jax.Array, part: jax.Array, first: jax.Array) -> jax.Array:
    """Adds to n of the slots `[B, K, ...]`, from the first one on."""
    part = part.astype(slots.dtype).reshape(len(slots), -1, *slots.shape[2:])
    if part.shape[1] > 1:  # blocks of several slots may have some in common
        part += lax.dynamic_slice_in_dim(slots, first, part.shape[1], axis=1)
    return lax.dynamic_update_slice_in_dim(slots, part, first, axis=1)


def recall_forward(
    gate: jax.Array,
    history: jax.Array,
    bias: jax.Array,
    slots: int | None = None,
    precision: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """RECALL and the logarithm of its softmax sums.

    Args:
      gate: recall gate R as queries, `[B, Q, C]`.
      history: remembered cell states, `[B, K, P, C]`: K slots of P = D*H*W positions.
      bias: of each slot `[B, K]`, minus infinity where a sequence does not remember it.
      slots: of a block, see above.
      precision: how products are rounded, see `precision.py`.

    Returns:
      The recalled memory `[B, Q, C]`, zero for a sequence that remembers nothing, and the
      log-sum-exp of the logits `[B, Q]`, which the backward pass needs.
    """
    dtype = _statistics_dtype(gate.dtype)
    product = functools.partial(jnp.einsum, precision=precision, preferred_element_type=dtype)

    def visit(first, block, of_block, state):
        maximum, total, recalled = state
        of_block = of_block[:, None]
        remembered = of_block > -jnp.inf
        logits = product('bqc,bpc->bqp', gate, block) + of_block
        if slots is None:  # the whole block is remembered, or nothing of it
            highest = jnp.where(remembered[..., 0], logits.max(axis=-1), lowest)
        else:
            highest = jnp.where(remembered, logits, lowest).max(axis=-1)
        new_maximum = jnp.maximum(maximum, highest)
        weights = jnp.where(remembered, jnp.exp(logits - new_maximum[..., None]), 0)
        rescale = jnp.exp(maximum - new_maximum)
        total = total * rescale + weights.sum(axis=-1)
        update = product('bqp,bpc->bqc', weights.astype(gate.dtype), block)
        return new_maximum, total, recalled * rescale[..., None] + update

    lowest = jnp.asarray(jnp.finfo(dtype).min / 2, dtype)
    none = jnp.zeros(gate.shape, dtype)
    start = (jnp.full(gate.shape[:2], lowest), none[..., 0], none)
    maximum, total, recalled = _visit_blocks(history, bias, slots, visit, start)
    total = jnp.where(total == 0, 1, total)
    return (recalled / total[..., None]).astype(gate.dtype), maximum + jnp.log(total)


def recall_backward(
    gate: jax.Array,
    history: jax.Array,
    bias: jax.Array,
    recalled: jax.Array,
    log_sum: jax.Array,
    cotangent: jax.Array,
    slots: int | None = None,
    precision: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients with respect to the gate `[B, Q, C]`, the history `[B, K, P, C]` and the bias."""
    dtype = _statistics_dtype(gate.dtype)
    product = functools.partial(jnp.einsum, precision=precision, preferred_element_type=dtype)
    mean = (cotangent.astype(dtype) * recalled.astype(dtype)).sum(axis=-1)[:, None]
    positions = history.shape[2]

    # All with the positions of the block before the queries: so no product needs a large transpose.
    def visit(first, block, bias_of_block, gradients):
        gate_gradient, history_gradient, bias_gradient = gradients
        bias_of_block = bias_of_block[..., None]
        logits = product('bpc,bqc->bpq', block, gate) + bias_of_block
        alignment = product('bpc,bqc->bpq', block, cotangent)
        weights = jnp.where(bias_of_block > -jnp.inf, jnp.exp(logits - log_sum[:, None]), 0)
        of_logits = weights * (alignment - mean)
        of_bias = of_logits.reshape(len(history), -1, positions * of_logits.shape[2]).sum(axis=2)
        bias_gradient = _add(bias_gradient, of_bias, first)
        of_logits = of_logits.astype(gate.dtype)
        of_block = product('bpq,bqc->bpc', of_logits, gate)
        of_block += product('bpq,bqc->bpc', weights.astype(gate.dtype), cotangent)
        history_gradient = _add(history_gradient, of_block, first)
        transposed_block = jnp.swapaxes(block, 1, 2)
        gate_gradient += product('bcp,bpq->bcq', transposed_block, of_logits)
        return gate_gradient, history_gradient, bias_gradient

    start = (
        jnp.zeros(jnp.swapaxes(gate, 1, 2).shape, dtype),
        jnp.zeros_like(history),
        jnp.zeros_like(bias),
    )
    gate_gradient, *others = _visit_blocks(history, bias, slots, visit, start)
    return jnp.swapaxes(gate_gradient, 1, 2).astype(gate.dtype), *others
