"""The models that E3D-LSTM is compared with, against their equations read plainly in NumPy."""

import functools
import itertools
import pathlib
import re
import typing

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameter_values import make_params

from e3d.errors import InputError
from e3d.kernels.convolution import same_padding
from e3d.model import (
    FORECASTERS,
    CausalLSTMCell,
    ConvLSTMCell,
    Forecaster,
    GradientHighwayUnit,
    RecurrentCell,
    RecurrentStack,
    STLSTMCell,
    build_model,
    register_forecaster,
)
from e3d.model.predrnn import memory_overlap

CELLS = {
    'ConvLSTM': (ConvLSTMCell, {}),
    'ConvLSTM with peepholes': (ConvLSTMCell, {'peephole': True}),
    'ST-LSTM': (STLSTMCell, {'decoupling': True}),
    'ST-LSTM with LayerNorm': (STLSTMCell, {'layer_norm': True}),
    '3D ST-LSTM': (STLSTMCell, {'kernel_size': (2, 3, 3)}),
    'Causal LSTM': (CausalLSTMCell, {}),
    'gradient highway': (GradientHighwayUnit, {}),
}
MODELS = {
    'ConvLSTM': ('convlstm', {'peephole': True}),
    'PredRNN': ('predrnn', {'decoupling': 0.5}),
    '3D-CNN at bottom and on top': ('predrnn', {'encoder_layers': 1, 'decoder_layers': 2}),
    'PredRNN++': ('predrnn_plus_plus', {}),
}
SMALL = {'layers': 2, 'features': 3, 'kernel_size': (1, 3, 3), 'patch_size': 2}


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def convolve(inputs, kernel, depth='same'):
    """SAME in space and, if asked for, depth; an even kernel has its extra zero at the end."""
    pads = [((size - 1) // 2, size // 2) for size in kernel.shape[:3]]
    if depth == 'valid':
        pads[0] = (0, 0)
    padded = np.pad(inputs, [(0, 0), *pads, (0, 0)])
    sizes = [1 + side - size for side, size in zip(padded.shape[1:4], kernel.shape, strict=False)]
    outputs = 0
    for d, h, w in itertools.product(*map(range, kernel.shape[:3])):
        part = padded[:, d : d + sizes[0], h : h + sizes[1], w : w + sizes[2]]
        outputs = outputs + part @ kernel[d, h, w]
    return outputs


def gates(group, operand, count):
    outputs = convolve(operand, group['kernel'])
    if 'norm_scale' in group:
        axes = (1, 2, 3, 4)
        deviation = np.sqrt(outputs.var(axis=axes, keepdims=True) + 1e-5)
        outputs = (outputs - outputs.mean(axis=axes, keepdims=True)) / deviation
        outputs = outputs * group['norm_scale'] + group['norm_bias']
    outputs = outputs + group.get('bias', 0)
    return np.split(outputs, count, axis=-1)


def conv_lstm(weights, inputs, cell, hidden):
    x_i, x_f, x_g, x_o = gates(weights['input_gates'], inputs, 4)
    h_i, h_f, h_g, h_o = gates(weights['hidden_gates'], hidden, 4)
    w_i, w_f, w_o = weights.get('peepholes', np.zeros(3))
    i = sigmoid(x_i + h_i + w_i * cell)
    f = sigmoid(x_f + h_f + w_f * cell)
    cell = f * cell + i * np.tanh(x_g + h_g)
    return cell, sigmoid(x_o + h_o + w_o * cell) * np.tanh(cell)


def st_lstm(weights, inputs, cell, hidden, memory, overlap):
    x_i, x_g, x_f, x_i2, x_g2, x_f2, x_o = gates(weights['input_gates'], inputs, 7)
    h_i, h_g, h_f, h_o = gates(weights['hidden_gates'], hidden, 4)
    m_i, m_g, m_f = gates(weights['memory_gates'], memory, 3)
    of_cell = sigmoid(x_i + h_i) * np.tanh(x_g + h_g)
    of_memory = sigmoid(x_i2 + m_i) * np.tanh(x_g2 + m_g)
    cell = sigmoid(x_f + h_f) * cell + of_cell
    memory = sigmoid(x_f2 + m_f) * memory + of_memory
    both = np.concatenate([cell, memory], axis=-1)
    output = sigmoid(x_o + h_o + gates(weights['output_gate'], both, 1)[0])
    if 'adapter' in weights:
        a, b = of_cell @ weights['adapter'], of_memory @ weights['adapter']
        a, b = (v.reshape(len(v), -1, v.shape[-1]) for v in (a, b))
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        overlap = overlap + np.abs(cosine).mean(-1)
    return cell, output * np.tanh(both @ weights['projection']), memory, overlap


def causal_lstm(weights, inputs, cell, hidden, memory):
    x_i, x_g, x_f, x_i2, x_g2, x_f2, x_o = gates(weights['input_gates'], inputs, 7)
    h_i, h_g, h_f, h_o = gates(weights['hidden_gates'], hidden, 4)
    c_i, c_g, c_f = gates(weights['cell_gates'], cell, 3)
    m_i, m_f, m_m = gates(weights['memory_gates'], memory, 3)
    cell = sigmoid(x_f + h_f + c_f) * cell + sigmoid(x_i + h_i + c_i) * np.tanh(x_g + h_g + c_g)
    n_i, n_g, n_f, n_o = gates(weights['new_cell_gates'], cell, 4)
    memory = sigmoid(x_f2 + n_f + m_f) * np.tanh(m_m) + sigmoid(x_i2 + n_i + m_i) * np.tanh(
        x_g2 + n_g
    )
    output = np.tanh(x_o + h_o + n_o + gates(weights['memory_output'], memory, 1)[0])
    both = np.concatenate([cell, memory], axis=-1) @ weights['projection']
    return cell, output * np.tanh(both), memory


def highway(weights, inputs, hidden):
    x_p, x_s = gates(weights['input_gates'], inputs, 2)
    z_p, z_s = gates(weights['hidden_gates'], hidden, 2)
    switch = sigmoid(x_s + z_s)
    return (switch * np.tanh(x_p + z_p) + (1 - switch) * hidden,)


PLAIN = {
    ConvLSTMCell: conv_lstm,
    STLSTMCell: st_lstm,
    CausalLSTMCell: causal_lstm,
    GradientHighwayUnit: highway,
}


def make_frames(batch=2, time=4, size=(6, 8), channels=1):
    return np.random.default_rng(0).random((batch, time, *size, channels), np.float32)


@pytest.mark.parametrize('name', CELLS)
def test_steps_equal_the_equations_in_float64(name):
    kind, options = CELLS[name]
    with jax.enable_x64(True):
        options = {'kernel_size': (1, 3, 3), 'dtype': 'float64', 'param_dtype': 'float64'} | options
        cell = kind(3, **options)
        inputs = np.random.default_rng(1).random((3, 2, options['kernel_size'][0], 5, 4, 2))
        carry = cell.initialize_carry(jax.random.key(0), inputs[0].shape)
        params = make_params(cell.init, carry, inputs[0], dtype=np.float64, spread=0.3)['params']
        plain = [np.asarray(leaf) for leaf in carry]
        step = jax.jit(cell.apply)
        for x in inputs:
            carry, hidden = step({'params': params}, carry, x)
            plain = PLAIN[kind](params, x, *plain)
            for ours, other in zip(carry, plain, strict=True):
                np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-13)
            np.testing.assert_array_equal(hidden, carry.hidden)


def plain_forecast(model, params, frames, output_frames):
    """The whole network in NumPy, from its own predictions after the given frames."""
    batch, length, height, width, channels = frames.shape
    p = model.patch_size
    shape = (batch, length, height // p, p, width // p, p, channels)
    patches = frames.reshape(shape).transpose(0, 1, 2, 4, 3, 5, 6)
    patches = patches.reshape(*patches.shape[:4], -1)
    layers = [params['stack'][f'cells_{layer}'] for layer in range(len(params['stack']))]
    adapter = layers[0].get('adapter')
    kinds = [{'convlstm': conv_lstm, 'predrnn': st_lstm}.get(NAME_OF[type(model)], causal_lstm)]
    kinds *= len(layers)
    if kinds[0] is causal_lstm:
        kinds[1] = highway
    zeros = np.zeros((batch, 1, *patches.shape[2:4], model.features))
    number = {conv_lstm: 2, st_lstm: 4, causal_lstm: 3, highway: 1}
    states = [[zeros] * number[kind] for kind in kinds]
    memory, overlaps, predictions = zeros, [], []
    inputs = [np.zeros_like(patches[:, 0])] * model.encoder_layers
    outputs = [zeros[:, 0]] * model.decoder_layers
    for t in range(length + output_frames - 1):
        inputs.append(patches[:, t] if t < length else predictions[-1])
        x = np.stack(inputs[-1 - model.encoder_layers :], axis=1)
        for layer in range(model.encoder_layers):
            kernel, bias = params[f'encoder_{layer}_kernel'], params[f'encoder_{layer}_bias']
            x = np.maximum(convolve(x, kernel, depth='valid') + bias, 0)
        for layer, kind in enumerate(kinds):
            weights = layers[layer]
            if kind is st_lstm:
                weights = weights | ({} if adapter is None else {'adapter': adapter})
                *states[layer], overlap = kind(weights, x, *states[layer][:2], memory, 0)
                overlaps.append(overlap)
            elif kind is causal_lstm:
                states[layer] = kind(weights, x, *states[layer][:2], memory)
            else:
                states[layer] = kind(weights, x, *states[layer])
            memory = states[layer][2] if kind in (st_lstm, causal_lstm) else memory
            x = states[layer][0 if kind is highway else 1]
        outputs.append(x[:, 0])
        x = np.stack(outputs[-1 - model.decoder_layers :], axis=1)
        for layer in range(model.decoder_layers):
            kernel, bias = params[f'decoder_{layer}_kernel'], params[f'decoder_{layer}_bias']
            x = np.maximum(convolve(x, kernel, depth='valid') + bias, 0)
        predictions.append(x[:, 0] @ params['decoder_kernel'][0] + params['decoder_bias'])
    predictions = np.stack(predictions, axis=1)
    shape = (batch, -1, height // p, width // p, p, p, channels)
    predictions = predictions.reshape(shape).transpose(0, 1, 2, 4, 3, 5, 6)
    return predictions.reshape(batch, -1, height, width, channels), np.mean(overlaps or 0)


NAME_OF = {type(build_model(name)): name for name, _ in MODELS.values()}


@pytest.mark.parametrize('case', MODELS)
def test_the_network_equals_its_plain_reading_in_float64(case):
    name, options = MODELS[case]
    with jax.enable_x64(True):
        model = build_model(name, **SMALL, **options, dtype='float64')
        frames = make_frames(time=3).astype(np.float64)
        init = functools.partial(model.init, output_frames=3)
        params = make_params(init, frames, dtype=np.float64, spread=0.3)['params']
        ours, collected = jax.jit(
            lambda params: model.apply({'params': params}, frames, 3, mutable='losses')
        )(params)
        plain, overlap = plain_forecast(model, params, frames, 3)
        np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)
        if 'decoupling' in options:
            (penalty,) = collected['losses']['decoupling']
            np.testing.assert_allclose(penalty, 0.5 * overlap, rtol=1e-10)
            assert 0.0 < penalty < 0.5
        else:
            assert not collected


@pytest.fixture(scope='module', params=MODELS)
def small(request):
    name, options = MODELS[request.param]
    model = build_model(name, **SMALL, **options)
    frames = make_frames()
    init = functools.partial(model.init, output_frames=2)
    return model, make_params(init, frames, spread=0.0)['params'], frames


def test_predictions_depend_on_no_later_frame(small):
    model, params, frames = small
    forecast = jax.jit(lambda frames: model.apply({'params': params}, frames, 2))
    full = forecast(frames)
    assert full.shape == (2, 5, 6, 8, 1)
    changed = frames.copy()
    changed[:, 2] += 0.5
    changed = forecast(changed)
    np.testing.assert_array_equal(changed[:, :2], full[:, :2])
    assert all(np.abs(changed[:, t] - full[:, t]).max() > 1e-6 for t in range(2, 5))


def test_every_parameter_gets_a_gradient_whatever_is_kept(small):
    model, params, frames = small

    def gradients(memory):
        def loss(params):
            predictions, collected = model.clone(memory=memory).apply(
                {'params': params}, frames, 2, mutable='losses'
            )
            return jnp.square(predictions - 0.3).mean() + sum(jax.tree.leaves(collected))

        return jax.jit(jax.grad(loss))(params)

    saved, recomputed = gradients('save'), gradients('recompute')
    for path, gradient in jax.tree_util.tree_leaves_with_path(saved):
        assert np.isfinite(gradient).all() and np.any(gradient), jax.tree_util.keystr(path)
    for ours, other in zip(jax.tree.leaves(saved), jax.tree.leaves(recomputed), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(('size', 'channels', 'batch'), [((4, 6), 3, 1), ((16, 8), 1, 3)])
def test_shapes(size, channels, batch):
    for name in NAME_OF.values():
        model = build_model(name, **SMALL)
        frames = make_frames(batch, 2, size, channels)
        run = functools.partial(model.init_with_output, output_frames=3)
        predictions, _ = jax.eval_shape(run, jax.random.key(0), frames)
        assert predictions.shape == (batch, 4, *size, channels)


@pytest.mark.parametrize('case', MODELS)
def test_bfloat16_states_give_float32_predictions(case):
    name, options = MODELS[case]
    model = build_model(name, **SMALL, **options, dtype='bfloat16')
    run = functools.partial(model.init_with_output, output_frames=3)
    predictions, variables = jax.eval_shape(run, jax.random.key(0), make_frames())
    assert all(leaf.dtype == jnp.float32 for leaf in [predictions, *jax.tree.leaves(variables)])


# In the counts that OpenSTL publishes for four layers of 128 channels: two convolutions that the cells
# of its ConvLSTM declare and do not use (5 x 5 and 1 x 1, from 2C to C), and one in its PredRNN++.
UNUSED = {'convlstm': 4 * (25 + 1) * 256 * 128, 'predrnn_plus_plus': 4 * 25 * 256 * 128}


@pytest.mark.parametrize(
    ('name', 'options', 'patch_size', 'channels', 'published'),
    [
        ('convlstm', {}, 2, 2, 14.98),
        ('predrnn', {}, 4, 1, 23.8),
        ('predrnn', {'decoupling': 0.1}, 4, 1, 23.9),
        ('predrnn_plus_plus', {}, 4, 1, 38.6),
    ],
)
def test_the_published_numbers_of_parameters(name, options, patch_size, channels, published):
    model = build_model(name, patch_size=patch_size, **options)
    frames = jax.ShapeDtypeStruct((1, 2, 16, 16, channels), jnp.float32)
    variables = jax.eval_shape(
        lambda key, frames: model.init(key, frames, 1), jax.random.key(0), frames
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(variables)) + UNUSED.get(name, 0)
    assert abs(count / 1e6 - published) < (0.01 if published == 14.98 else 0.05)


def test_rnn_equals_a_loop_and_a_stack_of_one_is_the_cell():
    inputs = np.random.default_rng(1).random((2, 3, 1, 4, 5, 2), np.float32)
    cell = STLSTMCell(3, (1, 3, 3))
    network = nn.RNN(cell, return_carry=True)
    params = jax.jit(network.init)(jax.random.key(0), inputs)['params']
    last, outputs = network.apply({'params': params}, inputs)
    carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
    for t in range(3):
        carry, output = cell.apply({'params': params['cell']}, carry, inputs[:, t])
        np.testing.assert_allclose(output, outputs[:, t], rtol=1e-4, atol=1e-6)
    for ours, other in zip(carry, last, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-6)
    stack = nn.RNN(RecurrentStack((cell,)))
    stacked = stack.apply({'params': {'cell': {'cells_0': params['cell']}}}, inputs)
    np.testing.assert_array_equal(stacked, outputs)


def test_the_overlap_is_one_for_equal_and_zero_for_unrelated_updates():
    update = np.random.default_rng(0).standard_normal((2, 1, 4, 4, 3), np.float32)
    other = update.copy()
    other[:, :, ::2] *= -1
    other[:, :, 1::2] *= np.square(update[:, :, ::2]).sum((1, 2, 3), keepdims=True)
    other[:, :, 1::2] /= np.square(update[:, :, 1::2]).sum((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(memory_overlap(jnp.eye(3), update, -2 * update), 1, rtol=1e-5)
    np.testing.assert_allclose(memory_overlap(jnp.eye(3), update, other), 0, atol=1e-5)
    gradient = jax.grad(lambda update: memory_overlap(jnp.eye(3), update, update).sum())
    assert np.isfinite(gradient(jnp.zeros((1, 1, 2, 2, 3)))).all()


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'kernel_size': (5, 5)}, '3 integers'),
        ({'features': 0}, 'features=0'),
        ({'recall': False}, 'recall'),
    ],
)
def test_fields_that_are_not_allowed_are_rejected(fields, words):
    with pytest.raises(InputError, match=words):
        build_model('predrnn', **(SMALL | fields)).init(jax.random.key(0), make_frames(), 1)


def test_peepholes_are_for_one_size():
    model = build_model('convlstm', **SMALL, peephole=True)
    variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), make_frames(), 1)
    with pytest.raises(InputError, match=r'8 x 4.*for 3 x 4'):
        model.apply(variables, make_frames(size=(16, 8)), 1)


@pytest.fixture
def build_md():
    """What the example of BUILD.md defines."""
    text = (pathlib.Path(__file__).parent.parent / 'BUILD.md').read_text(encoding='utf-8')
    (example,) = re.findall(r'## Add a model.*?```python\n(.*?)```', text, re.DOTALL)
    names = {'__name__': 'my_model'}
    exec(compile(example, 'BUILD.md', 'exec'), names)
    yield names
    del FORECASTERS['my_model']


def trace_training(model):
    """Traces a forecast and its gradient; the shapes of the parameters."""
    frames = make_frames(2, 2)
    run = functools.partial(model.init_with_output, output_frames=3)
    predictions, variables = jax.eval_shape(run, jax.random.key(0), frames)
    assert predictions.shape == (2, 4, 6, 8, 1) and predictions.dtype == jnp.float32
    jax.eval_shape(jax.grad(lambda params: model.apply(params, frames, 3).sum()), variables)
    return variables['params']


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('memory', ['save', 'recompute'])
def test_the_model_that_build_md_adds_forecasts(build_md, dtype, memory):
    model = build_model('my_model', **SMALL, dtype=dtype, memory=memory)
    assert len(jax.tree.leaves(trace_training(model))) == 2 * 3 + 2


def test_a_name_is_given_once(build_md):
    with pytest.raises(InputError, match=r"'predrnn'.*PredRNN"):
        register_forecaster('predrnn')(build_md['MyModel'])


class OwnState(typing.NamedTuple):
    hidden: jax.Array


class OwnCell(RecurrentCell):
    """A cell whose equations take the kernels apart, and loop over a convolution."""

    State = OwnState

    @staticmethod
    def update(weights, state, inputs, operations):
        kernel = weights['gates']['kernel']
        padding = same_padding(kernel.shape[:3])
        hidden = state.hidden
        inputs = operations.convolve(inputs, kernel[:, :, :, : inputs.shape[-1], :3], padding)

        def again(hidden, _):
            half = operations.convolve(hidden, kernel[..., :3][..., :3, :], padding)
            return jnp.tanh(half + inputs), None

        hidden, _ = jax.lax.scan(again, hidden, None, length=2)
        return OwnState(hidden * weights['scale'].astype(hidden.dtype))

    @nn.compact
    def weights(self, shape):
        channels = max(shape[-1], 3)
        return {
            'gates': self.declare_gates('gates', channels, 2),
            'scale': self.param('scale', nn.initializers.ones_init(), (self.features,)),
        }


class Careless(OwnCell):
    """Without the cast of its parameter."""

    @staticmethod
    def update(weights, state, inputs, operations):
        return OwnState(
            OwnCell.update(weights, state, inputs, operations).hidden * weights['scale']
        )


class OwnModel(Forecaster):
    cell: type = OwnCell
    cell_dtype: str | None = None

    @nn.nowrap
    def build_stack(self):
        dtype = self.cell_dtype or self.dtype
        return RecurrentStack((self.cell(3, (1, 3, 3), dtype=dtype, parent=None),), parent=None)


@pytest.mark.parametrize('memory', ['save', 'recompute'])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_an_update_may_take_kernels_apart_and_loop_over_convolutions(dtype, memory):
    trace_training(OwnModel(**SMALL, dtype=dtype, memory=memory))


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        (
            {'cell_dtype': 'float32'},
            r'compute in float32, the model in .*bfloat16.*dtype=self\.dtype',
        ),
        ({'cell': Careless}, r'layer 0.*`hidden` as float32.*bfloat16.*astype'),
    ],
)
def test_types_that_do_not_fit_are_named_with_the_remedy(fields, words):
    with pytest.raises(InputError, match=words):
        trace_training(OwnModel(**SMALL, dtype='bfloat16', **fields))
