import jax.numpy as jnp
import numpy as np
import pytest

from e3d.kernels.history import (
    add_to_newest,
    ages_of_slots,
    empty_slots,
    newest,
    newest_history,
    read,
    write,
)


def number_of(state):
    """A state that tells its number by its values."""
    return jnp.full((2, 1, 2, 2, 3), state, jnp.float32)


@pytest.mark.parametrize('slots', [3, 9, 1])
def test_the_newest_states_stand_in_the_valid_slots(slots):
    states = empty_slots(number_of(0), slots)
    assert states.shape == (2, slots, 4, 3)
    for steps in range(8):
        states = write(states, jnp.int32(steps - 1), number_of(steps - 1))
        ages = np.asarray(ages_of_slots(states, jnp.int32(steps)))
        assert ages.shape == (2, slots)
        numbers = np.asarray(states).max((-1, -2))
        found = [sorted(row[ages[0] > 0].tolist()) for row in numbers]
        last_ones = list(range(max(0, steps - slots), steps))
        assert found == [last_ones, last_ones]
        np.testing.assert_array_equal((steps - numbers)[ages > 0], ages[ages > 0])
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
    assert ages_of_slots(states, steps).tolist() == [[0] * 3, [1, 3, 2]]


@pytest.mark.parametrize('limit', [1, 3, 5, 6, 9])
def test_a_step_has_before_it_the_states_that_it_recalls_and_adds_to_no_others(limit):
    count = 6
    states = jnp.stack([jnp.full((2, 4, 3), number, jnp.float32) for number in range(count)], 1)
    for steps in map(jnp.int32, range(count)):
        history = newest_history(newest(states, steps, limit), steps, count)
        assert history.states.shape[1] == (limit if limit < count - 1 else count)
        recalled = list(range(max(0, int(steps) - limit), int(steps)))
        found = np.asarray(history.states)[:, :, 0, 0][np.asarray(history.valid)]
        assert found.tolist() == recalled * 2
        ages = np.asarray(history.ages)[np.asarray(history.valid)]
        np.testing.assert_array_equal(found, int(steps) - ages)
        ones = jnp.where(history.valid[..., None, None], jnp.ones_like(history.states), 0)
        added = np.asarray(add_to_newest(states, steps, ones) - states)[0, :, 0, 0]
        assert np.flatnonzero(added).tolist() == recalled
