r"""The time loop that owns the eidetic memory.

A plain `jax.lax.scan` has to carry the growing history as a buffer, and its automatic reverse pass
keeps one copy of that buffer for every step: memory grows with the square of the sequence length.
`eidetic_scan` keeps the history out of the carry instead. With C_t the cell states that step t
returns and C_{-1} the initial ones,

    forward, t = 0 .. N-1:   slot t of the buffer <- C_{t-1}
                             carry_t, C_t, y_t = step(weights, carry_{t-1}, C_{t-1}, x_t; C_0 .. C_{t-1})

writes every state once. The reverse pass runs over the same finished buffer, masked to what step t
could see, and gathers for every slot the gradient from all later steps that recalled it:

    reverse, t = N-1 .. 0:   vector-Jacobian product of step t at (dcarry_t, dC_t, dy_t)
                             dhistory += its gradient with respect to C_0 .. C_{t-1}
                             dC_{t-1}  = its gradient with respect to C_{t-1} + dhistory[t]
                             dweights += its gradient with respect to the weights

A step's small carry is kept for each t. With `memory='save'` so are the results of its convolutions
and RECALLs, and the reverse pass computes nothing twice but element-wise functions; with
'recompute' the whole step is computed again. Either way memory is linear in N. Without a gradient
nothing is kept at all, and the buffer has no more slots than RECALL looks back.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from e3d.kernels.modes import Operations, Recording, Remembered, Replaying

MEMORY = ('save', 'recompute')

Step = Callable[[Any, Any, tuple[jax.Array, ...], Any, Operations], tuple[Any, tuple, Any]]


def _flat(cell: jax.Array) -> jax.Array:
    """`[B, D, H, W, C]` to one slot of the history, `[B, P, C]`."""
    return cell.reshape(cell.shape[0], -1, cell.shape[-1])


def _empty_histories(cells, slots: int) -> list[jax.Array]:
    return [
        jnp.zeros((flat.shape[0], slots, *flat.shape[1:]), flat.dtype) for flat in map(_flat, cells)
    ]


def _write(histories, cells, slot) -> list[jax.Array]:
    return [
        lax.dynamic_update_index_in_dim(history, _flat(cell), slot, axis=1)
        for history, cell in zip(histories, cells, strict=True)
    ]


def _read(histories, cells, slot):
    """The cell states that entered step `slot`, in the shapes of `cells`."""
    return tuple(
        lax.dynamic_index_in_dim(history, slot, axis=1, keepdims=False).reshape(cell.shape)
        for history, cell in zip(histories, cells, strict=True)
    )


def remembered(histories, step: jax.Array, history: int) -> Remembered:
    """What step t may recall: the newest `history` of C_0 .. C_{t-1}.

    Slot s was last written at the newest step u <= t with u = s modulo the number of slots, and holds
    C_{u-1}; the initial state (u = 0) is not remembered.
    """
    if not histories:  # a recurrence without RECALL
        return Remembered(histories, jnp.ones((0, 0), bool))
    batch, slots = histories[0].shape[:2]
    written = step - (step - jnp.arange(slots)) % slots
    valid = (written >= 1) & (written > step - history)
    return Remembered(histories, jnp.broadcast_to(valid, (batch, slots)))


def _number_of_steps(inputs) -> int:
    return jax.tree.leaves(inputs)[0].shape[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def eidetic_scan(step: Step, history: int, memory: str, weights, carry, cells, inputs):
    """Runs a recurrence whose steps recall the cell states of all earlier steps.

    Args:
      step: pure function `(weights, carry, cells, x, operations) -> (carry, cells, y)`. It must carry
        out convolutions and RECALL through `operations` and close over no traced value.
      history: how many of the newest cell states RECALL looks at, >= 1; N - 1 is all.
      memory: 'save' or 'recompute', what the reverse pass keeps.
      weights: tree of parameters, the same at every step.
      carry: tree of everything a step hands to the next one except the cell states.
      cells: cell states C of each layer before the first step, `[B, D, H, W, C]`; () where nothing
        is recalled.
      inputs: tree of arrays with a leading axis of N steps.

    Returns:
      The last carry, the last cell states, and every `y` stacked over N.
    """
    slots = min(history + 1, _number_of_steps(inputs))

    def body(state, x):
        carry, cells, histories, t = state
        histories = _write(histories, cells, t % slots)
        operations = Operations(remembered(histories, t, history))
        carry, cells, y = step(weights, carry, cells, x, operations)
        return (carry, cells, histories, t + 1), y

    start = (carry, cells, _empty_histories(cells, slots), jnp.int32(0))
    (carry, cells, _, _), outputs = lax.scan(body, start, inputs)
    return carry, cells, outputs


def _forward(step, history, memory, weights, carry, cells, inputs):
    """The same loop, keeping what the reverse pass needs."""

    def body(state, x):
        carry, cells, histories, t = state
        histories = _write(histories, cells, t)
        operations = Recording(remembered(histories, t, history))
        new_carry, cells, y = step(weights, carry, cells, x, operations)
        kept = operations.kept if memory == 'save' else []
        return (new_carry, cells, histories, t + 1), (y, carry, kept)

    histories = _empty_histories(cells, _number_of_steps(inputs))
    start = (carry, cells, histories, jnp.int32(0))
    (carry, last_cells, histories, _), (outputs, carries, kept) = lax.scan(body, start, inputs)
    residuals = (weights, cells, inputs, histories, carries, kept)
    return (carry, last_cells, outputs), residuals


def _reverse(step, history, memory, residuals, cotangents):
    weights, cells, inputs, histories, carries, kept = residuals
    of_carry, of_cells, of_outputs = cotangents

    def body(state, at_step):
        of_carry, of_cells, of_histories, of_weights = state
        t, x, carry, kept, of_output = at_step

        def run(weights, carry, cells, x, histories):
            past = remembered(histories, t, history)
            operations = Replaying(past, kept) if memory == 'save' else Operations(past)
            return step(weights, carry, cells, x, operations)

        _, pull_back = jax.vjp(run, weights, carry, _read(histories, cells, t), x, histories)
        gradients = pull_back((of_carry, of_cells, of_output))
        of_weights = jax.tree.map(jnp.add, of_weights, gradients[0])
        of_histories = jax.tree.map(jnp.add, of_histories, gradients[4])
        of_cells = jax.tree.map(jnp.add, gradients[2], _read(of_histories, cells, t))
        return (gradients[1], of_cells, of_histories, of_weights), gradients[3]

    steps = jnp.arange(_number_of_steps(inputs), dtype=jnp.int32)
    zeros = jax.tree.map(jnp.zeros_like, (histories, weights))
    (of_carry, of_cells, _, of_weights), of_inputs = lax.scan(
        body,
        (of_carry, of_cells, *zeros),
        (steps, inputs, carries, kept, of_outputs),
        reverse=True,
    )
    return of_weights, of_carry, of_cells, of_inputs


eidetic_scan.defvjp(_forward, _reverse)
