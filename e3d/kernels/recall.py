"""RECALL: the attention of the recall gate over the remembered cell states, and its gradient.

What a position attends to is chosen by a radius:

    None    every position of the remembered steps, equation 1 as printed: see `everywhere.py`
    0       the same position at the remembered steps: see `nearby.py`
    r       the positions at most r from it in height and width: see `nearby.py`

A slot may have a bias, which is added to all its logits. To what computes it, one that is not remembered
is a slot whose bias is minus infinity.

How the first two are computed is chosen here for each backend, all of it exact. NVIDIA's GPUs have one
kernel for each that goes over what is remembered by itself, where tiles fit the arrays: see `fused.py`
and `in_place.py`. Else, of the first,

    CPUs        take one remembered step after the other, and no others: a loop costs nothing
    all others  take blocks as large as `_BLOCK_BYTES` allow, their number known to the compiler
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from e3d.kernels import everywhere, fused, in_place, nearby, platforms, triton
from e3d.kernels.history import by_positions
from e3d.kernels.precision import chosen_precision

# Of the logits of one block: enough to keep a chip busy, little beside the states that training keeps.
_BLOCK_BYTES = 2**26


class _Call(NamedTuple):
    """What is fixed of a call of RECALL: its radius, and how products are rounded."""

    radius: int | None
    precision: str | None


def recall_forward(
    gate: jax.Array,
    history: jax.Array,
    valid: jax.Array,
    radius: int | None = None,
    bias: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """RECALL and the logarithm of its softmax sums.

    Args:
      gate: recall gate R, `[B, D, H, W, C]`.
      history: remembered cell states, `[B, K, P, C]`: K slots of P = D*H*W positions.
      valid: which slots each sequence remembers, bool `[B, K]`.
      radius: see above.
      bias: of each slot, `[B, K]`; None is 0.

    Returns:
      The recalled memory, of the gate's shape, zero for a sequence that remembers nothing, and the
      log-sum-exp of the logits, which the backward pass needs.
    """
    bias = _of_slots(gate, valid, bias)
    return _forward(_Call(radius, chosen_precision()), gate, history, bias)


def _of_slots(gate: jax.Array, valid: jax.Array, bias: jax.Array | None) -> jax.Array:
    """The bias of each slot `[B, K]`, minus infinity where it is not remembered."""
    dtype = jnp.promote_types(gate.dtype, jnp.float32)
    return jnp.where(valid, 0 if bias is None else bias.astype(dtype), -jnp.asarray(jnp.inf, dtype))


def _forward(call: _Call, gate, history, bias) -> tuple[jax.Array, jax.Array]:
    if call.radius is not None:
        return _nearby('recall_forward', call.radius, gate, history, bias)
    recalled, log_sum = _for_backend(
        'recall_forward', call.precision, by_positions(gate), history, bias
    )
    return recalled.reshape(gate.shape), log_sum


def _backward(call: _Call, gate, history, bias, recalled, log_sum, cotangent):
    if call.radius is not None:
        others = (recalled, log_sum, cotangent)
        return _nearby('recall_backward', call.radius, gate, history, bias, *others)
    of_gate, *of_others = _for_backend(
        'recall_backward',
        call.precision,
        *(
            by_positions(gate),
            history,
            bias,
            by_positions(recalled),
            log_sum,
            by_positions(cotangent),
        ),
    )
    return of_gate.reshape(gate.shape), *of_others


def _nearby(name: str, radius: int, gate: jax.Array, history: jax.Array, *others: jax.Array):
    """Runs the function of this name of what was near."""
    by_shifts = functools.partial(getattr(nearby, name), radius=radius)
    if radius == 0 and triton.fits(by_positions(gate), history):
        branches = {'default': by_shifts, 'cuda': getattr(in_place, name)}
        return platforms.choose(gate, history, *others, **branches)
    return by_shifts(gate, history, *others)


def _for_backend(
    name: str, precision: str | None, gate: jax.Array, history: jax.Array, *others: jax.Array
):
    """Runs the function of this name that is best for the backend."""
    by_steps = functools.partial(getattr(everywhere, name), precision=precision)
    # Of one sequence where the size of the batch is open, as in programs that are exported.
    batch = gate.shape[0] if isinstance(gate.shape[0], int) else 1
    logits_of_a_slot = 4 * batch * gate.shape[1] * history.shape[2]
    by_blocks = functools.partial(by_steps, slots=max(1, _BLOCK_BYTES // logits_of_a_slot))
    branches = {'cpu': by_steps, 'default': by_blocks}
    if triton.fits(gate, history):
        branches['cuda'] = functools.partial(getattr(fused, name), precision=precision)
    return platforms.choose(gate, history, *others, **branches)


def recall(
    gate: jax.Array,
    history: jax.Array,
    valid: jax.Array,
    radius: int | None = None,
    bias: jax.Array | None = None,
) -> jax.Array:
    """Differentiable RECALL(R, history); arguments as in `recall_forward`."""
    return _recall(_Call(radius, chosen_precision()), gate, history, _of_slots(gate, valid, bias))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recall(call: _Call, gate, history, bias):
    return _forward(call, gate, history, bias)[0]


def _recall_saving(call, gate, history, bias):
    recalled, log_sum = _forward(call, gate, history, bias)
    return recalled, (gate, history, bias, recalled, log_sum)


def _recall_gradient(call, residuals, cotangent):
    return _backward(call, *residuals, cotangent)


_recall.defvjp(_recall_saving, _recall_gradient)


def recall_again(gate, history, valid, recalled, log_sum, radius=None, bias=None):
    """RECALL whose result is already known: nothing is computed but the gradient.

    Used by the backward pass of the time loop, which kept `recalled` and `log_sum`.
    """
    call = _Call(radius, chosen_precision())
    return _recall_again(call, gate, history, _of_slots(gate, valid, bias), recalled, log_sum)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recall_again(call: _Call, gate, history, bias, recalled, log_sum):
    return recalled


def _recall_again_saving(call, gate, history, bias, recalled, log_sum):
    return recalled, (gate, history, bias, recalled, log_sum)


def _recall_again_gradient(call, residuals, cotangent):
    return *_backward(call, *residuals, cotangent), None, None


_recall_again.defvjp(_recall_again_saving, _recall_again_gradient)
