r"""The time loop that owns the history.

A plain `jax.lax.scan` has to carry the growing history as a buffer, and its automatic reverse pass
keeps one copy of that buffer for every step: memory grows with the square of the sequence length.
`scan_with_history` keeps the history out of the carry instead. With C_t the remembered states that
step t returns and C_{-1} the initial ones,

    forward, t = 0 .. N-1:   history <- C_{t-1}
                             carry_t, C_t, y_t = step(weights, carry_{t-1}, C_{t-1}, C_0 .. C_{t-1}, x_t)

writes every state once. The reverse pass runs over the same finished history, masked to what step t
could see, and gathers for every slot the gradient from all later steps that recalled it:

    reverse, t = N-1 .. 0:   vector-Jacobian product of step t at (dcarry_t, dC_t, dy_t)
                             dhistory += its gradient with respect to C_0 .. C_{t-1}, or the newest
                                         of them, where RECALL looks at no others
                             dC_{t-1}  = its gradient with respect to C_{t-1} + dhistory[t-1]
                             dweights += its gradient with respect to the weights

A step's small carry is kept for each t. With the policy 'save' so are the results of its
convolutions and RECALLs, and the reverse pass computes nothing twice but element-wise functions;
with 'recompute' the whole step is computed again. Either way memory is linear in N, and the history
has a slot for each of the N states that entered a step. Without a gradient nothing is kept, and the
history has no more slots than RECALL looks back.

Gradients are those of reverse mode, once: `jax.grad`, `jax.vjp`, `jax.jacrev`. JAX has no forward mode
(`jax.jvp`, `jax.jacfwd`, `jax.hessian`) for functions with a gradient rule of their own, and the loops
of the reverse pass have no gradient themselves.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from e3d.kernels.bundles import bundle
from e3d.kernels.history import (
    History,
    add_to_newest,
    ages_of_slots,
    empty_slots,
    newest,
    newest_history,
    read,
    write,
)
from e3d.kernels.modes import Operations, Recording, Replaying
from e3d.kernels.precision import chosen_precision

POLICIES = ('save', 'recompute')
_SMALL = 2**14  # elements of an array

Arrays = tuple[jax.Array, ...]
Step = Callable[
    [Any, Any, Arrays, tuple[History, ...], Any, Operations], tuple[Any, Arrays, Any]
]  # weights, carry, remembered, histories, x, operations -> carry, remembered, y


def _number_of_steps(inputs) -> int:
    return jax.tree.leaves(inputs)[0].shape[0]


def _empty(remembered: Arrays, slots: int) -> Arrays:
    return tuple(empty_slots(state, slots) for state in remembered)


def write_each(slots: Arrays, number: jax.Array, remembered: Arrays) -> Arrays:
    """Puts the state of each layer in its slot, see `history.write`."""
    return tuple(write(one, number, state) for one, state in zip(slots, remembered, strict=True))


def _read(slots: Arrays, number: jax.Array, like: Arrays) -> Arrays:
    return tuple(read(one, number, state.shape) for one, state in zip(slots, like, strict=True))


def histories_at(slots: Arrays, steps: jax.Array) -> tuple[History, ...]:
    """What the step after `steps` steps may recall of each layer, see `history.ages_of_slots`."""
    return tuple(History(one, ages_of_slots(one, steps)) for one in slots)


def _recalled(slots: Arrays, steps: jax.Array, limit: int) -> Arrays:
    """Of the slots of all states those that the step after `steps` steps recalls."""
    return tuple(newest(one, steps, limit) for one in slots)


def _recalled_histories(recalled: Arrays, slots: Arrays, steps: jax.Array) -> tuple[History, ...]:
    pairs = zip(recalled, slots, strict=True)
    return tuple(newest_history(one, steps, all_slots.shape[1]) for one, all_slots in pairs)


def _add_recalled(slots: Arrays, steps: jax.Array, parts: Arrays) -> Arrays:
    pairs = zip(slots, parts, strict=True)
    return tuple(add_to_newest(one, steps, part) for one, part in pairs)


def scan_with_history(
    step: Step, limit: int, policy: str, weights, carry, remembered: Arrays, inputs
):
    """Runs a recurrence whose steps recall the states of all earlier steps.

    Args:
      step: pure function `(weights, carry, remembered, histories, x, operations) -> (carry, remembered,
        y)`. It must carry out convolutions and RECALL through `operations` and close over no traced
        value.
      limit: how many of the newest states RECALL looks at, >= 1; N - 1 is all.
      policy: 'save' or 'recompute', what the reverse pass keeps.
      weights: tree of parameters, the same at every step.
      carry: tree of everything a step hands to the next one except the remembered states.
      remembered: the states before the first step of each layer that recalls, `[B, D, H, W, C]`; ()
        where nothing is recalled.
      inputs: tree of arrays with a leading axis of N steps.

    Returns:
      The last carry, the last remembered states, and every `y` stacked over N.
    """
    loop = _Loop(step, limit, policy, chosen_precision())
    return _scan(loop, weights, carry, remembered, inputs)


class _Loop(NamedTuple):
    """What is fixed of a loop: see `scan_with_history`, and how products of a step are rounded."""

    step: Step
    limit: int
    policy: str
    precision: str | None


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(loop: _Loop, weights, carry, remembered: Arrays, inputs):
    slots = max(min(loop.limit, _number_of_steps(inputs) - 1), 1)

    def body(state, x):
        t, carry, remembered, slots = state
        slots = write_each(slots, t - 1, remembered)
        histories = histories_at(slots, t)
        carry, remembered, y = loop.step(weights, carry, remembered, histories, x, Operations())
        return (t + 1, carry, remembered, slots), y

    start = (jnp.int32(0), carry, remembered, _empty(remembered, slots))
    with jax.default_matmul_precision(loop.precision):
        (_, carry, remembered, _), outputs = lax.scan(body, start, inputs)
    return carry, remembered, outputs


def _forward(loop: _Loop, weights, carry, remembered, inputs):
    """The same loop, keeping what the reverse pass needs."""

    def body(state, x):
        t, carry, remembered, slots = state
        slots = write_each(slots, t - 1, remembered)
        operations = Recording()
        histories = _recalled_histories(_recalled(slots, t, loop.limit), slots, t)
        new_carry, remembered, y = loop.step(weights, carry, remembered, histories, x, operations)
        kept = operations.kept if loop.policy == 'save' else []
        return (t + 1, new_carry, remembered, slots), (y, bundle(carry), bundle(kept))

    start = (jnp.int32(0), carry, remembered, _empty(remembered, _number_of_steps(inputs)))
    with jax.default_matmul_precision(loop.precision):
        (_, carry, last, slots), (outputs, *bundles) = lax.scan(body, start, inputs)
    return (carry, last, outputs), (weights, remembered, inputs, slots, bundles)


def _reverse(loop: _Loop, residuals, cotangents):
    weights, initial, inputs, slots, bundles = residuals
    of_carry, of_remembered, of_outputs = cotangents

    def body(state, at_step):
        of_carry, of_remembered, of_slots, of_weights = state
        t, x, bundles, of_output = at_step
        carry, kept = (one.tree() for one in bundles)

        def run(weights, carry, remembered, recalled, x):
            operations = Replaying(kept) if loop.policy == 'save' else Operations()
            histories = _recalled_histories(recalled, slots, t)
            return loop.step(weights, carry, remembered, histories, x, operations)

        before, recalled = _read(slots, t - 1, initial), _recalled(slots, t, loop.limit)
        _, pull_back = jax.vjp(run, weights, carry, before, recalled, x)
        gradients = pull_back((of_carry, of_remembered, of_output))
        of_weights = jax.tree.map(jnp.add, of_weights, _small_as_one(gradients[0])[0])
        of_slots = _add_recalled(of_slots, t, gradients[3])
        of_remembered = jax.tree.map(jnp.add, gradients[2], _read(of_slots, t - 1, initial))
        return (gradients[1], of_remembered, of_slots, of_weights), gradients[4]

    steps = jnp.arange(_number_of_steps(inputs), dtype=jnp.int32)
    small_as_one, apart = _small_as_one(weights)
    zeros = jax.tree.map(jnp.zeros_like, (slots, small_as_one))
    with jax.default_matmul_precision(loop.precision):
        (of_carry, of_remembered, _, of_weights), of_inputs = lax.scan(
            body,
            (of_carry, of_remembered, *zeros),
            (steps, inputs, bundles, of_outputs),
            reverse=True,
        )
    return apart(of_weights), of_carry, of_remembered, of_inputs


def _small_as_one(weights) -> tuple[tuple[list[jax.Array], jax.Array], Callable]:
    """The large arrays of a tree and all small ones as one vector, and what makes the tree of them.

    So biases and the like are added up by one kernel of a GPU and not by one for each.
    """
    leaves, structure = jax.tree.flatten(weights)
    large = [leaf for leaf in leaves if leaf.size > _SMALL]
    vector, of_vector = ravel_pytree([leaf for leaf in leaves if leaf.size <= _SMALL])

    def apart(parts):
        of_large, of_small = iter(parts[0]), iter(of_vector(parts[1]))
        return jax.tree.unflatten(
            structure, [next(of_large if leaf.size > _SMALL else of_small) for leaf in leaves]
        )

    return (large, vector), apart


_scan.defvjp(_forward, _reverse)
