import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from parameter_values import make_params

from e3d import InputError, observe, start
from e3d.kernels.convolution import VALID
from e3d.kernels.modes import Operations
from e3d.model import CNNRecognizer, E3DRecognizer, STLSTMRecognizer
from e3d.model.classifier import newest
from e3d.model.strided import convolve_strided, double, halve, halve_kernel

TINY = {
    'classes': 3,
    'features': 2,
    'classifier_features': 12,
    'classifier_hidden': 16,
    'window': 3,
}
MODELS = {
    'e3d': E3DRecognizer(layers=2, kernel_size=(2, 3, 3), **TINY),
    'online': E3DRecognizer(layers=1, kernel_size=(2, 3, 3), history=2, **TINY),
    'nearby': E3DRecognizer(
        layers=1, kernel_size=(2, 3, 3), variant='refined', recall='nearby', **TINY
    ),
    'st_lstm': STLSTMRecognizer(
        layers=1, kernel_size=(1, 3, 3), encoder_depth=1, top_layers=2, **TINY
    ),
    'cnn': CNNRecognizer(top_layers=2, kernel_size=(2, 3, 3), separable='top', **TINY),
}
SHAPE = (7, 9, 1)  # sides that 4 does not divide
STEPS = 5


@functools.cache
def prepared(name):
    frames = jax.random.uniform(jax.random.key(1), (2, STEPS, *SHAPE))
    model = MODELS[name]
    return model, make_params(model.init, frames[:, :1])['params'], frames


@functools.cache
def applied(name):
    model = MODELS[name]
    return jax.jit(lambda params, *args: model.apply({'params': params}, *args), static_argnums=2)


@pytest.mark.parametrize('kernel', [(2, 5, 5), (1, 3, 3), (2, 4, 2), (1, 1, 1)])
def test_strided_convolution(kernel):
    inputs = jax.random.normal(jax.random.key(0), (2, 3, 7, 10, 3))
    weights = jax.random.normal(jax.random.key(1), (*kernel, 3, 4))
    found = convolve_strided(inputs, halve_kernel(weights), Operations())
    pads = [((size - 1) // 2, size) for size in kernel[1:]]
    expected = lax.conv_general_dilated(
        inputs, weights, (1, 2, 2), [VALID[0], *pads], dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )
    assert found.shape == (2, 4 - kernel[0], 4, 5, 4)
    np.testing.assert_allclose(found, expected[:, :, :4, :5], atol=1e-4)


def test_double_undoes_halve():
    slots = jax.random.normal(jax.random.key(0), (2, 2, 5, 4, 3))
    np.testing.assert_array_equal(double(halve(slots), (5, 4)), slots)


@pytest.mark.parametrize('name', MODELS)
def test_no_frame_after_the_observed_ones_influences_the_scores(name):
    _, params, frames = prepared(name)
    lengths = jnp.array([2, 4])
    changed = frames.at[0, 2:].set(0.9).at[1, 4:].set(0.1)
    mask = jnp.ones((2, STEPS), bool)  # even where true frames enter later
    first = applied(name)(params, frames, 1, mask, lengths)
    second = applied(name)(params, changed, 1, mask, lengths)
    np.testing.assert_array_equal(first.scores, second.scores)
    third = applied(name)(params, frames.at[0, 1].set(0.9).at[1, 3].set(0.1), 1, mask, lengths)
    assert (np.abs(third.scores - first.scores).max(axis=1) > 1e-6).all()


@pytest.mark.parametrize('name', MODELS)
def test_frame_by_frame_equals_the_batch(name):
    model, params, frames = prepared(name)
    lengths = jnp.tile(jnp.arange(1, STEPS + 1), (2, 1))
    expected = jax.nn.softmax(applied(name)(params, frames, 1, None, lengths).scores)
    state = start(model, params, SHAPE, 2)
    for step in range(STEPS):
        before = sum(leaf.size for leaf in jax.tree.leaves(state))
        state, probabilities = observe(model, params, state, frames[:, step])
        assert sum(leaf.size for leaf in jax.tree.leaves(state)) == before
        np.testing.assert_allclose(probabilities, expected[:, step], atol=1e-5)


def test_a_stream_remembers_as_many_states_as_recall_looks_back():
    state = start(MODELS['online'], {'any': jnp.zeros(1)}, SHAPE)
    assert MODELS['online'].history == 2
    assert [history.shape[:2] for history in state.histories] == [(1, 2)]


def test_a_stream_without_history_remembers_more_than_its_first_memory():
    model, params, frames = prepared('e3d')
    clip = jnp.tile(frames[:1], (1, 2, 1, 1, 1))
    expected = jax.nn.softmax(applied('e3d')(params, clip).scores[0])
    state = start(model, params, SHAPE)
    for frame in clip[0]:
        state, probabilities = observe(model, params, state, frame)
    assert state.histories[0].shape[1] == 16
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize('name', MODELS)
def test_gradients_reach_every_part(name):
    _, params, frames = prepared(name)

    def loss(params, memory):
        model = MODELS[name].clone(memory=memory)
        predictions, scores = model.apply({'params': params}, frames, 3)
        return (predictions**2).mean() + nn.log_softmax(scores)[:, 0].sum()

    gradients = jax.jit(jax.grad(loss), static_argnums=1)(params, 'save')
    for path, leaf in jax.tree_util.tree_flatten_with_path(gradients)[0]:
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    if name == 'nearby':
        again = jax.jit(jax.grad(loss), static_argnums=1)(params, 'recompute')
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradients, again)


def test_the_slots_of_the_newest_steps_stand_in_the_order_of_time():
    outputs = np.random.default_rng(0).random((5, 2, 2, 1, 1, 3), np.float32)
    found = newest(outputs, jnp.array([2, 5]), 3)
    zeros = np.zeros((2, 1, 1, 3))
    expected = [
        np.concatenate([zeros, outputs[0, 0], outputs[1, 0]]),  # shorter than the window
        np.concatenate([outputs[2, 1], outputs[3, 1], outputs[4, 1]]),
    ]
    np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'separable': 'middle'}, "separable='middle'"),
        ({'window': 0}, 'window=0: must be an integer >= 1'),
        ({'classes': 1}, 'classes=1: must be an integer >= 2'),
        ({'history': 0}, 'history=0'),
        ({'encoder_layers': 0}, 'encoder_layers=0: must be an integer >= 1'),
    ],
)
def test_impossible_fields_are_rejected(fields, message):
    with pytest.raises(InputError, match=message):
        E3DRecognizer(**{**TINY, **fields}).init(jax.random.key(0), jnp.zeros((1, 1, *SHAPE)))


def test_impossible_arguments_are_rejected():
    model, params, frames = prepared('online')
    for arguments in (
        (0,),
        (6,),
        (1, jnp.ones((2, 2), bool)),
        (1, None, jnp.ones(3, int)),
        (1, None, jnp.array([0, 9])),
    ):
        with pytest.raises(InputError):
            model.apply({'params': params}, frames, *arguments)
    with pytest.raises(InputError, match='frame of shape'):
        observe(model, params, start(model, params, SHAPE), frames[0, 0, :3])
