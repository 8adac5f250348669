"""A forecaster takes frames one at a time, and forecasts whenever it is asked."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameter_values import make_params

from e3d.errors import InputError
from e3d.model import E3DLSTM, E3DLSTMCell, build_model, forecast_from, observe, start
from e3d.model.e3d_lstm import E3DLSTMStack
from e3d.model.forecaster import Forecaster
from e3d.model.stack import RecurrentStack
from e3d.model.streaming import _continue, _see
from e3d.weights.stream_file import load_stream, save_stream

OPTIONS = {'layers': 2, 'features': 2, 'patch_size': 2}
E3D = OPTIONS | {'kernel_size': (2, 3, 3), 'variant': 'timed'}  # that knows how old a state is
MODELS = {
    'all of the past': ('e3d_lstm', E3D),
    'bounded': ('e3d_lstm', E3D | {'history': 2}),
    'without recall': ('predrnn', OPTIONS | {'kernel_size': (1, 3, 3)}),
    'padded, encoder and decoder': (
        'convlstm',
        OPTIONS
        | {'kernel_size': (1, 3, 3), 'patch_size': 4, 'pad_frames': True}
        | {'encoder_layers': 1, 'decoder_layers': 1},
    ),
}
SHAPE = (4, 6, 1)
FRAMES = np.random.default_rng(0).random((2, 10, *SHAPE), np.float32)


@functools.cache
def prepared(name):
    model = build_model(MODELS[name][0], **MODELS[name][1])
    init = functools.partial(model.init, output_frames=1)
    params = make_params(init, FRAMES[:, :1])['params']
    params = jax.tree.map(lambda leaf: 1.5 * leaf + 0.1, params)
    return model, params, jax.jit(model.apply, static_argnums=2)


def stream(model, params, frames):
    state = start(model, params, frames.shape[2:], len(frames))
    for step in range(frames.shape[1]):
        state, prediction = observe(model, params, state, frames[:, step])
    return state, prediction


@pytest.mark.parametrize('name', MODELS)
def test_a_stream_equals_the_batch_call(name):
    model, params, apply = prepared(name)
    expected = apply({'params': params}, FRAMES, 4)
    state = start(model, params, SHAPE, 2)
    for step in range(FRAMES.shape[1]):
        state, prediction = observe(model, params, state, FRAMES[:, step])
        np.testing.assert_allclose(prediction, expected[:, step], atol=1e-5)
    assert np.ptp(expected) > 0.1
    for horizon in (4, 1):  # the first does not change the state
        future = forecast_from(model, params, state, horizon)
        np.testing.assert_allclose(future, expected[:, 9 : 9 + horizon], atol=1e-5)


def test_a_bounded_stream_has_one_size_and_one_program_for_every_length_and_horizon():
    model, params, _ = prepared('bounded')
    state, _ = stream(model, params, FRAMES[:, :3])
    sizes = jax.tree.map(jnp.shape, state)
    futures = [forecast_from(model, params, state, 3)]
    programs = _continue._cache_size(), _see._cache_size()
    for step in range(3, 10):
        state, _ = observe(model, params, state, FRAMES[:, step])
        futures.append(forecast_from(model, params, state, 3 * step))
        assert futures[-1].shape == (2, 3 * step, *SHAPE)
    assert jax.tree.map(jnp.shape, state) == sizes
    assert (_continue._cache_size(), _see._cache_size()) == programs
    assert forecast_from(model, params, state, 33).shape[1] == 33
    assert _continue._cache_size() == programs[0] + 1  # so the count is real


def test_a_stream_of_one_clip_and_of_bytes():
    model, params, _ = prepared('bounded')
    levels = np.round(FRAMES[0] * 255).astype(np.uint8)
    state = start(model, params, SHAPE)
    for frame in levels[:2]:
        state, prediction = observe(model, params, state, frame)
    assert prediction.shape == SHAPE
    _, expected = stream(model, params, levels[None, :2] / np.float32(255))
    np.testing.assert_allclose(prediction, expected[0], atol=1e-6)


@pytest.mark.parametrize('name', ['bounded', 'all of the past'])
def test_a_stream_goes_on_from_its_file(tmp_path, name):
    model, params, _ = prepared(name)
    state, _ = stream(model, params, FRAMES)
    save_stream(state, tmp_path / 'stream.safetensors')
    loaded = load_stream(tmp_path / 'stream.safetensors', model, params, SHAPE, 2)
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, loaded, state)
    futures = [forecast_from(model, params, one, 2) for one in (state, loaded)]
    np.testing.assert_array_equal(*futures)
    with pytest.raises(InputError, match='not the state of a stream'):
        load_stream(tmp_path / 'stream.safetensors', model, params, SHAPE, 3)
    content = (tmp_path / 'stream.safetensors').read_bytes()
    (tmp_path / 'cut').write_bytes(content[:-1])
    with pytest.raises(InputError, match='cut cannot be read'):
        load_stream(tmp_path / 'cut', model, params, SHAPE, 2)


class OfCells(Forecaster):
    """A forecaster of one's own, whose memory is no field of it."""

    depth: int = 2
    windows: tuple[int | None, ...] = (2, 2)

    @nn.nowrap
    def build_stack(self):
        cells = [E3DLSTMCell(2, (2, 3, 3), window, parent=None) for window in self.windows]
        return RecurrentStack(tuple(cells), parent=None)


class OfOneStack(OfCells):
    @nn.nowrap
    def build_stack(self):
        return E3DLSTMStack(2, 2, (2, 3, 3), self.windows[0], parent=None)


@pytest.mark.parametrize('window', [2, None])
def test_cells_in_a_stack_of_ones_own_remember_as_much_as_they_say(window):
    fields = OPTIONS | {'kernel_size': (2, 3, 3), 'windows': (window, window)}
    model, same = OfCells(**fields), OfOneStack(**fields)
    variables = make_params(functools.partial(model.init, output_frames=1), FRAMES[:, :1])
    variables = jax.tree.map(lambda leaf: 1.5 * leaf + 0.1, variables)
    expected = jax.jit(same.apply, static_argnums=2)(variables, FRAMES, 3)
    found = jax.jit(model.apply, static_argnums=2)(variables, FRAMES, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    short = jax.jit(model.clone(windows=(1, 1)).apply, static_argnums=2)(variables, FRAMES, 3)
    assert np.abs(short - expected).max() > 1e-3
    state, _ = stream(model, variables['params'], FRAMES)
    future = forecast_from(model, variables['params'], state, 3)
    np.testing.assert_allclose(future, expected[:, 9:], atol=1e-5)
    if window:
        assert state.histories[0].shape[1] == window


def test_cells_of_one_stack_have_equal_windows():
    model = OfCells(**OPTIONS, kernel_size=(2, 3, 3), windows=(2, None))
    with pytest.raises(
        InputError, match='history of 2 and None: cells that recall must have equal'
    ):
        jax.eval_shape(functools.partial(model.init, output_frames=1), jax.random.key(0), FRAMES)


def test_impossible_streams_are_rejected():
    model, params, _ = prepared('bounded')
    state = start(model, params, SHAPE)
    with pytest.raises(InputError, match='no frame was observed yet'):
        forecast_from(model, params, state, 1)
    with pytest.raises(InputError, match=r'frame of shape \(4, 4, 1\)'):
        observe(model, params, state, np.zeros((4, 4, 1), np.float32))
    with pytest.raises(InputError, match='not finite'):
        observe(model, params, state, np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(InputError, match='horizon=0'):
        forecast_from(model, params, state, 0)
    with pytest.raises(InputError, match='has no stack of cells'):
        start(build_model('simvp'), params, SHAPE)
    with pytest.raises(
        InputError, match=r'kernel_size=\[2, 3, 3\]: must be a tuple, kernel_size=\(2'
    ):
        start(E3DLSTM(layers=1, features=2, kernel_size=[2, 3, 3]), params, SHAPE)
