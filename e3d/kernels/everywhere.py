r"""RECALL as printed in equation 1: each position attends to every position of all remembered steps.

    RECALL(R, S) = softmax(R . S^T) . S,    R [Q, C] queries,  S [K P, C] states

There is no 1/sqrt(C), and keys and values are the same states. Written plainly it stores Q x K P
logits for every step and layer: 5 GB a step at the paper's recognition setting. Here the history is
visited block by block, one remembered step at a time, with the running maximum and sum of the online
softmax; the backward pass computes the weights of a block again from the kept log-sum-exp. Nothing is
approximated, slots outside the remembered range are never computed, and the largest temporary is
`[B, Q, P]`.

A fused attention kernel is not used behind these functions: `jax.nn.dot_product_attention` forms the
full logits where it has no kernel (CPU, TPU), and its cuDNN kernel takes 16-bit inputs only and rounds
the softmax weights to them, which float32 parameters and the exactness asked for here rule out.
"""

import jax
import jax.numpy as jnp
from jax import lax


def _statistics_dtype(dtype) -> jnp.dtype:
    """Logits and softmax sums are float32 even where the states are bfloat16."""
    return jnp.promote_types(dtype, jnp.float32)


def _bounds(valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First and one past the last slot that any sequence of the batch remembers."""
    any_valid = valid.any(axis=0)
    slots = jnp.arange(valid.shape[1])
    first = jnp.min(jnp.where(any_valid, slots, valid.shape[1]))
    last = jnp.max(jnp.where(any_valid, slots + 1, 0))
    return first, last


def _block(history: jax.Array, valid: jax.Array, slot: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The states of one slot `[B, P, C]` and which sequences remember it `[B, 1, 1]`."""
    states = lax.dynamic_index_in_dim(history, slot, axis=1, keepdims=False)
    remembered = lax.dynamic_index_in_dim(valid, slot, axis=1, keepdims=False)
    return states, remembered[:, None, None]


def _product(equation: str, left: jax.Array, right: jax.Array, dtype) -> jax.Array:
    return jnp.einsum(equation, left, right, preferred_element_type=dtype)


def recall_forward(
    gate: jax.Array, history: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """RECALL and the logarithm of its softmax sums.

    Args:
      gate: recall gate R as queries, `[B, Q, C]`.
      history: remembered cell states, `[B, K, P, C]`: K slots of P = D*H*W positions.
      valid: which slots each sequence remembers, bool `[B, K]`.

    Returns:
      The recalled memory `[B, Q, C]`, zero for a sequence that remembers nothing, and the
      log-sum-exp of the logits `[B, Q]`, which the backward pass needs.
    """
    dtype = _statistics_dtype(gate.dtype)

    def visit(slot, state):
        maximum, total, recalled = state
        block, remembered = _block(history, valid, slot)
        logits = _product('bqc,bpc->bqp', gate, block, dtype)
        new_maximum = jnp.where(
            remembered[..., 0], jnp.maximum(maximum, logits.max(axis=-1)), maximum
        )
        weights = jnp.where(remembered, jnp.exp(logits - new_maximum[..., None]), 0)
        rescale = jnp.exp(maximum - new_maximum)
        total = total * rescale + weights.sum(axis=-1)
        update = _product('bqp,bpc->bqc', weights.astype(gate.dtype), block, dtype)
        return new_maximum, total, recalled * rescale[..., None] + update

    lowest = jnp.full(gate.shape[:2], jnp.finfo(dtype).min / 2, dtype)
    start = (lowest, jnp.zeros(gate.shape[:2], dtype), jnp.zeros(gate.shape, dtype))
    maximum, total, recalled = lax.fori_loop(*_bounds(valid), visit, start)
    total = jnp.where(total == 0, 1, total)
    return (recalled / total[..., None]).astype(gate.dtype), maximum + jnp.log(total)


def recall_backward(
    gate: jax.Array,
    history: jax.Array,
    valid: jax.Array,
    recalled: jax.Array,
    log_sum: jax.Array,
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Gradients of RECALL with respect to the gate `[B, Q, C]` and the history `[B, K, P, C]`."""
    dtype = _statistics_dtype(gate.dtype)
    mean = (cotangent.astype(dtype) * recalled.astype(dtype)).sum(axis=-1)[:, None]

    # All with the positions of the block before the queries: so no product needs a large transpose.
    def visit(slot, gradients):
        gate_gradient, history_gradient = gradients
        block, remembered = _block(history, valid, slot)
        logits = _product('bpc,bqc->bpq', block, gate, dtype)
        alignment = _product('bpc,bqc->bpq', block, cotangent, dtype)
        weights = jnp.where(remembered, jnp.exp(logits - log_sum[:, None]), 0)
        of_logits = (weights * (alignment - mean)).astype(gate.dtype)
        of_block = _product('bpq,bqc->bpc', of_logits, gate, dtype)
        of_block += _product('bpq,bqc->bpc', weights.astype(gate.dtype), cotangent, dtype)
        history_gradient = lax.dynamic_update_index_in_dim(
            history_gradient, of_block.astype(history.dtype), slot, axis=1
        )
        transposed_block = jnp.swapaxes(block, 1, 2)
        gate_gradient += _product('bcp,bpq->bcq', transposed_block, of_logits, dtype)
        return gate_gradient, history_gradient

    start = (jnp.zeros(jnp.swapaxes(gate, 1, 2).shape, dtype), jnp.zeros_like(history))
    gate_gradient, history_gradient = lax.fori_loop(*_bounds(valid), visit, start)
    return jnp.swapaxes(gate_gradient, 1, 2).astype(gate.dtype), history_gradient
