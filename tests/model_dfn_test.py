"""DFN: dynamic filters whose result is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.errors import InputError
from e3d.kernels.local_filters import filter_each, filter_locally
from e3d.kernels.modes import Operations
from e3d.model import build_model
from e3d.model.dfn import generate_filters

FRAMES = np.random.default_rng(0).random((2, 12, 11, 3), np.float32)


def one_hot(tap):
    return jnp.zeros((*FRAMES.shape[:3], 81)).at[..., tap].set(1.0)


def moved(frames, down, right):
    """Frames moved so far down and to the right, with zeros where nothing came from."""
    padded = np.pad(frames, ((0, 0), (4, 4), (4, 4), (0, 0)))
    height, width = frames.shape[1:3]
    return padded[:, 4 - down : 4 - down + height, 4 - right : 4 - right + width]


@pytest.mark.parametrize('tap', [(4, 4), (0, 0), (0, 8), (3, 6), (8, 1)])
def test_one_hot_filters_shift_and_their_gradient_shifts_back(tap):
    row, column = tap
    down, right = 4 - row, 4 - column
    filters = one_hot(9 * row + column)
    filtered, pull_back = jax.vjp(lambda frames: filter_locally(frames, filters), FRAMES)
    np.testing.assert_array_equal(filtered, moved(FRAMES, down, right))
    np.testing.assert_array_equal(pull_back(FRAMES)[0], moved(FRAMES, -down, -right))


def test_filters_of_whole_pictures_shift_as_well():
    filters = np.zeros((2, 5, 5, 3), np.float32)
    filters[:, 2, 2, 0] = filters[:, 0, 4, 1] = filters[0, 4, 3, 2] = 1.0
    same, shifted, one = filter_each(FRAMES, filters)
    np.testing.assert_array_equal(same, FRAMES)
    np.testing.assert_array_equal(shifted, moved(FRAMES, 2, -2))
    np.testing.assert_array_equal(one[0], moved(FRAMES, -2, -1)[0])
    assert not np.any(one[1])


def test_filters_sum_to_one_and_without_weights_they_are_a_box():
    model = build_model('dfn', features=8)
    frame = jnp.asarray(FRAMES[:, :, :10])
    initialize = functools.partial(model.init, method='weights')
    variables = jax.jit(initialize, static_argnums=1)(jax.random.key(0), frame.shape[1:])

    @jax.jit
    def run(variables, frame):
        weights = model.apply(variables, frame.shape[1:], method='weights')
        hidden = jnp.ones((2, 6, 5, 8))
        _, filters = generate_filters(weights, hidden, frame, Operations())
        return filters, filter_locally(frame, filters)

    filters, filtered = run(variables, frame)
    np.testing.assert_allclose(filters.sum(-1), 1.0, rtol=1e-5)
    assert filtered.max() <= frame.max()
    _, blurred = run(jax.tree.map(jnp.zeros_like, variables), jnp.ones_like(frame))
    np.testing.assert_allclose(blurred[:, 4:8, 4:6], 1.0, rtol=1e-5)
    np.testing.assert_allclose(blurred[:, 0, 0], 25 / 81, rtol=1e-5)
    np.testing.assert_allclose(blurred[:, 0, 4], 45 / 81, rtol=1e-5)


@pytest.mark.parametrize('fields', [{'filter_size': 4}, {'filter_size': 0}, {'features': 3}])
def test_fields_that_are_not_allowed_are_refused(fields):
    (name,) = fields
    with pytest.raises(InputError, match=f'{name}={fields[name]}: must be'):
        build_model('dfn', **fields).init(jax.random.key(0), FRAMES[:, None], 1)
