"""The history of a recurrent layer: the states of earlier steps, in slots that are used in turn.

State i is the one after step i, counted from 0; it has slot i modulo the number K of slots, so the
oldest makes room for the newest. The state before the first step is number -1: it has a slot until
another state needs it, and is never recalled.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class History(NamedTuple):
    """What a step may recall of one layer.

    Attributes:
      states: `[B, K, P, C]`, K slots of the P = D*H*W positions of a state.
      ages: int32 `[B, K]`, how many steps ago the state of each slot was made, 1 for the step before;
        0 where a slot holds none that may be recalled.
    """

    states: jax.Array
    ages: jax.Array

    @property
    def valid(self) -> jax.Array:
        """Which slots hold a state that may be recalled, bool `[B, K]`."""
        return self.ages > 0


def empty_slots(state: jax.Array, slots: int) -> jax.Array:
    """Slots `[B, K, P, C]` for states like this one, `[B, D, H, W, C]`."""
    batch, *sides, channels = state.shape
    return jnp.zeros((batch, slots, math.prod(sides), channels), state.dtype)


def by_positions(state: jax.Array) -> jax.Array:
    """A state `[B, D, H, W, C]` as a slot holds it, `[B, P, C]`."""
    return state.reshape(state.shape[0], -1, state.shape[-1])


def write(slots: jax.Array, number: jax.Array, state: jax.Array) -> jax.Array:
    """Puts a state in its slot.

    Args:
      slots: `[B, K, ...]`.
      number: of the state, int32; or `[B]`, where each sequence has its own.
      state: `[B, ...]`, of as many elements as a slot.
    """
    state = state.reshape(slots.shape[0], *slots.shape[2:])
    slot = number % slots.shape[1]
    if jnp.ndim(slot):
        return jax.vmap(lambda slots, slot, state: slots.at[slot].set(state))(slots, slot, state)
    return lax.dynamic_update_index_in_dim(slots, state, slot, axis=1)


def read(slots: jax.Array, number: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The state of this number, in the given shape `[B, D, H, W, C]`."""
    slot = number % slots.shape[1]
    return lax.dynamic_index_in_dim(slots, slot, axis=1, keepdims=False).reshape(shape)


def newest(slots: jax.Array, steps: jax.Array, limit: int) -> jax.Array:
    """Of slots for all N states those that a step recalls, `[B, n, P, C]`.

    n is `limit`, or N where that leaves out no more than the last state, which no step recalls.

    Args:
      slots: `[B, N, P, C]`.
      steps: how many steps are over, int32.
      limit: how many of the newest states may be recalled.
    """
    size = slots.shape[1]
    count = limit if limit < size - 1 else size
    return lax.dynamic_slice_in_dim(slots, _first_of_newest(steps, count, size), count, axis=1)


def newest_history(states: jax.Array, steps: jax.Array, size: int) -> History:
    """What a step may recall of its `newest` slots `[B, n, P, C]` out of N = `size`."""
    batch, count = states.shape[:2]
    ages = steps - _first_of_newest(steps, count, size) - jnp.arange(count, dtype=jnp.int32)
    return History(states, jnp.broadcast_to(jnp.maximum(ages, 0), (batch, count)))


def add_to_newest(slots: jax.Array, steps: jax.Array, part: jax.Array) -> jax.Array:
    """Adds `[B, n, P, C]` to the `newest` slots and touches no others."""
    count, size = part.shape[1], slots.shape[1]
    first = _first_of_newest(steps, count, size)
    part = part + lax.dynamic_slice_in_dim(slots, first, count, axis=1)
    return lax.dynamic_update_slice_in_dim(slots, part, first, axis=1)


def _first_of_newest(steps: jax.Array, count: int, size: int) -> jax.Array:
    return jnp.clip(steps - count, 0, size - count)


def with_zero_state(history: History) -> History:
    """The history with a state of zeros before its first slot, older than all, that can be recalled."""
    states = jnp.pad(history.states, ((0, 0), (1, 0), (0, 0), (0, 0)))
    oldest = np.iinfo(np.int32).max
    return History(states, jnp.pad(history.ages, ((0, 0), (1, 0)), constant_values=oldest))


def ages_of_slots(slots: jax.Array, steps: jax.Array) -> jax.Array:
    """How old each of the newest K states is, as `History.ages`, int32 `[B, K]`.

    Args:
      slots: `[B, K, ...]`.
      steps: how many steps are over, int32; or `[B]`, where each sequence has its own.
    """
    batch, size = slots.shape[:2]
    steps = jnp.asarray(steps, jnp.int32)[..., None]
    ages = 1 + (steps - 1 - jnp.arange(size, dtype=jnp.int32)) % size
    return jnp.broadcast_to(jnp.where(ages <= steps, ages, 0), (batch, size))
