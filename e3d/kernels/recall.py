"""RECALL: the attention of the recall gate over the remembered cell states, and its gradient.

What a position attends to is chosen by a radius:

    None    every position of the remembered steps, equation 1 as printed: see `everywhere.py`
    0       the same position at the remembered steps: see `nearby.py`
    r       the positions at most r from it in height and width: see `nearby.py`

How much is visited at once is chosen here for each backend. A CPU visits one remembered step after
the other, and only what is remembered: it has little memory to spare for the logits, and a loop costs
it nothing. For all others the number of visits is known when the program is compiled, and each is as
large as `_BLOCK_BYTES` allow.
"""

import functools
from collections.abc import Callable

import jax
from jax import lax

from e3d.kernels import everywhere, nearby

# Of the logits of one block: enough to keep a GPU busy, little beside the states that training keeps.
_BLOCK_BYTES = 2**26


def recall_forward(
    gate: jax.Array, history: jax.Array, valid: jax.Array, radius: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """RECALL and the logarithm of its softmax sums.

    Args:
      gate: recall gate R, `[B, D, H, W, C]`.
      history: remembered cell states, `[B, K, P, C]`: K slots of P = D*H*W positions.
      valid: which slots each sequence remembers, bool `[B, K]`.
      radius: see above.

    Returns:
      The recalled memory, of the gate's shape, zero for a sequence that remembers nothing, and the
      log-sum-exp of the logits, which the backward pass needs.
    """
    if radius is not None:
        return nearby.recall_forward(gate, history, valid, radius)
    recalled, log_sum = _for_backend(everywhere.recall_forward, _flat(gate), history, valid)
    return recalled.reshape(gate.shape), log_sum


def _recall_backward(radius, gate, history, valid, recalled, log_sum, cotangent):
    if radius is not None:
        return nearby.recall_backward(gate, history, valid, radius, recalled, log_sum, cotangent)
    of_gate, of_history = _for_backend(
        everywhere.recall_backward,
        *(_flat(gate), history, valid, _flat(recalled), log_sum, _flat(cotangent)),
    )
    return of_gate.reshape(gate.shape), of_history


def _for_backend(function: Callable, gate: jax.Array, history: jax.Array, *others: jax.Array):
    """Runs a function of `everywhere.py` on blocks as large as the backend is to have them."""
    batch, queries = gate.shape[:2]
    logits_of_a_slot = 4 * batch * queries * history.shape[2]
    slots = max(1, _BLOCK_BYTES // logits_of_a_slot)
    return lax.platform_dependent(
        *(gate, history, *others), cpu=function, default=functools.partial(function, slots=slots)
    )


def _flat(array: jax.Array) -> jax.Array:
    """`[B, P, C]`"""
    return array.reshape(array.shape[0], -1, array.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def recall(
    gate: jax.Array, history: jax.Array, valid: jax.Array, radius: int | None = None
) -> jax.Array:
    """Differentiable RECALL(R, history); arguments as in `recall_forward`."""
    return recall_forward(gate, history, valid, radius)[0]


def _recall_saving(gate, history, valid, radius):
    recalled, log_sum = recall_forward(gate, history, valid, radius)
    return recalled, (gate, history, valid, recalled, log_sum)


def _recall_gradient(radius, residuals, cotangent):
    return *_recall_backward(radius, *residuals, cotangent), None


recall.defvjp(_recall_saving, _recall_gradient)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def recall_again(gate, history, valid, recalled, log_sum, radius=None):
    """RECALL whose result is already known: nothing is computed but the gradient.

    Used by the backward pass of the time loop, which kept `recalled` and `log_sum`.
    """
    return recalled


def _recall_again_saving(gate, history, valid, recalled, log_sum, radius):
    return recalled, (gate, history, valid, recalled, log_sum)


def _recall_again_gradient(radius, residuals, cotangent):
    return *_recall_backward(radius, *residuals, cotangent), None, None, None


recall_again.defvjp(_recall_again_saving, _recall_again_gradient)
