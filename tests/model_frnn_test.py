"""FRNN: states that encoder and decoder share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from e3d.kernels.modes import Operations
from e3d.model import build_model, frnn
from e3d.model.frnn import InputState, decode, encode, fold
from e3d.model.layers import convolve, max_pool

FRAMES = np.random.default_rng(0).random((2, 3, 32, 16, 1), np.float32)


@pytest.fixture(autouse=True)
def three_layers(monkeypatch):
    """All eight take minutes to compile."""
    monkeypatch.setattr(frnn, '_CELLS', frnn._CELLS[:3])


@pytest.fixture
def model():
    return build_model('frnn', width=1 / 64)


@pytest.fixture
def variables(model):
    initialize = jax.jit(functools.partial(model.init, method='weights'), static_argnums=1)
    return initialize(jax.random.key(0), (32, 16, 1))


def weights(model, variables):
    return model.apply(variables, (32, 16, 1), method='weights')


def random_state(model, variables):
    """A state between two frames of the input, none of whose values is zero."""
    shapes = model.initial_state(weights(model, variables), FRAMES[:, 0].shape)
    generator = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape)), shapes)


def test_without_weights_states_halve_at_each_step(model, variables):
    nothing = jax.tree.map(jnp.zeros_like, variables)
    state = random_state(model, variables)

    @jax.jit
    def run(state):
        layers, operations = weights(model, nothing), Operations()
        taken_in = encode(layers, state, FRAMES[:, 0], operations)
        first, frame = decode(layers, fold(state), operations)
        second, _ = decode(layers, first, operations)
        return taken_in, first, second, frame

    taken_in, first, second, frame = run(state)
    folded = fold(state)
    for new, old in zip(taken_in.upper, state.upper, strict=True):
        np.testing.assert_allclose(new, old / 2, rtol=1e-6)
    np.testing.assert_allclose(frame, 0.5)
    for once, twice, old in zip(first.lower, second.lower, folded.lower, strict=True):
        np.testing.assert_allclose(once, old / 2, rtol=1e-6)
        np.testing.assert_allclose(twice, old / 4, rtol=1e-6)
    np.testing.assert_allclose(second.top, folded.top / 4, rtol=1e-6)


def test_the_second_phase_begins_with_the_states_of_the_first(model, variables):
    state = random_state(model, variables)
    lower, top = fold(state)
    assert isinstance(state, InputState) and len(lower) == len(state.upper) == 3
    np.testing.assert_array_equal(lower[0], state.lowest)
    np.testing.assert_array_equal(lower[1], state.upper[0])
    np.testing.assert_array_equal(lower[2], max_pool(state.upper[1]))
    np.testing.assert_array_equal(top, state.upper[2])


def test_a_tied_convolution_backwards_is_the_transpose(model, variables):
    for layer in weights(model, variables)['convolutions']:
        up, down = ({'kernel': layer[way]['kernel']} for way in ('up', 'down'))
        channels, features = up['kernel'].shape[-2:]
        generator = np.random.default_rng(2)
        x = generator.normal(size=(1, 6, 5, channels)).astype(np.float32)
        y = generator.normal(size=(1, 6, 5, features)).astype(np.float32)
        forwards, backwards = convolve(up, x, Operations()), convolve(down, y, Operations())
        np.testing.assert_allclose((forwards * y).sum(), (x * backwards).sum(), rtol=1e-4)


def test_initial_kernels_have_orthonormal_columns_of_the_right_deviation():
    kernel = build_model('frnn').kernel_init(jax.random.key(0), (5, 5, 3, 4))
    columns = kernel.reshape(-1, 4)
    norm = (
        4 / (25 * (3 + 4)) * 75
    )  # of a column: 75 entries of deviation 2 / sqrt(fan-in + fan-out)
    np.testing.assert_allclose(columns.T @ columns, norm * np.eye(4), atol=1e-5)


@pytest.mark.slow
def test_it_learns_and_forecasting_farther_begins_with_the_same_frames(model, variables):
    frames = np.zeros((2, 5, 16, 16, 1), np.float32)
    for row, time in np.ndindex(2, 5):  # a bar that moves to the right
        frames[row, time, :, 3 * time : 3 * time + 4 + row] = 1.0
    optimizer = optax.adam(1e-2)
    model = model.clone(width=1 / 16)
    initialize = jax.jit(functools.partial(model.init, method='weights'), static_argnums=1)
    params = initialize(jax.random.key(0), (16, 16, 1))['params']

    def loss(params):
        forecast = model.apply({'params': params}, frames[:, :3], 2)
        return jnp.square(forecast - frames[:, 3:]).mean(), forecast

    @jax.jit
    def train(params):
        def body(_, carry):
            params, state = carry
            gradients = jax.grad(loss, has_aux=True)(params)[0]
            updates, state = optimizer.update(gradients, state)
            return optax.apply_updates(params, updates), state

        params, _ = jax.lax.fori_loop(0, 100, body, (params, optimizer.init(params)))
        return params, *loss(params)

    params, value, forecast = train(params)
    assert value < 0.5 * np.square(frames[:, 3:] - frames.mean((0, 1))).mean()
    farther = jax.jit(model.apply, static_argnums=2)({'params': params}, frames[:, :3], 4)
    np.testing.assert_allclose(farther[:, :2], forecast, rtol=1e-4, atol=1e-5)
