import jax.numpy as jnp
import numpy as np
import pytest

from e3d.kernels.history import empty_slots, read, valid_slots, write


def number_of(state):
    """A state that tells its number by its values."""
    return jnp.full((2, 1, 2, 2, 3), state, jnp.float32)


@pytest.mark.parametrize(('slots', 'limit'), [(3, None), (5, 2), (9, 4), (1, None)])
def test_the_newest_states_stand_in_the_valid_slots(slots, limit):
    states = empty_slots(number_of(0), slots)
    assert states.shape == (2, slots, 4, 3)
    for steps in range(8):
        states = write(states, jnp.int32(steps - 1), number_of(steps - 1))
        valid = valid_slots(states, jnp.int32(steps), limit)
        assert valid.shape == (2, slots)
        found = [sorted(row[valid[0]].max((-1, -2)).tolist()) for row in np.asarray(states)]
        newest = list(range(max(0, steps - (limit or slots)), steps))
        assert found == [newest, newest]
        last = read(states, jnp.int32(steps - 1), (2, 1, 2, 2, 3))
        np.testing.assert_array_equal(last, number_of(steps - 1))


def test_each_sequence_counts_for_itself():
    states = jnp.zeros((2, 3, 1, 2, 2, 3))
    steps = jnp.array([0, 4])
    written = write(states, steps, number_of(7))
    assert np.asarray(written).any((2, 3, 4, 5)).tolist() == [
        [True, False, False],
        [False, True, False],
    ]
    assert valid_slots(states, steps).tolist() == [[False] * 3, [True] * 3]
    assert valid_slots(states, steps, 2).tolist() == [[False] * 3, [True, False, True]]
