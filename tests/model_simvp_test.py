"""SimVP and its translators, against their published sizes and a plain reading."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.errors import InputError
from e3d.model import build_model
from e3d.model.needs import Training, call_in_training, initialize
from e3d.model.simvp import divergence_of_differences, shuffle_pixels

TRANSLATORS = ('gsta', 'tau', 'convmixer', 'incepu')
SMALL = {'layers': 2, 'features': 4, 'encoder_layers': 2, 'encoder_features': 2}
SHAPE, LENGTHS = (4, 8, 1), (2, 3)
# Height, width and channels; frames; sizes of the model (OpenSTL's configs).
SETTINGS = {
    'moving_mnist': ((64, 64, 1), (10, 10), {}),
    'kth': (
        (128, 128, 1),
        (10, 20),
        {'features': 256, 'layers': 6, 'encoder_layers': 2, 'encoder_features': 64},
    ),
    'taxibj': (
        (32, 32, 2),
        (4, 4),
        {'features': 256, 'encoder_layers': 2, 'encoder_features': 32},
    ),
}
# As `sum(p.numel() for p in model.parameters())` counts them there.
PUBLISHED = {
    'gsta': {'moving_mnist': 46_769_665, 'kth': 15_632_961, 'taxibj': 9_961_058},
    'tau': {'moving_mnist': 44_656_001, 'kth': 14_955_201, 'taxibj': 9_545_442},
    'convmixer': {'moving_mnist': 3_919_361, 'kth': 1_532_481, 'taxibj': 841_314},
    'incepu': {'moving_mnist': 57_946_113, 'taxibj': 13_794_914},
}


def shapes_of(model, shape=SHAPE, lengths=LENGTHS):
    return jax.eval_shape(functools.partial(initialize, model, jax.random.key(0), shape, lengths))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ('translator', 'setting'), [(name, data) for name in PUBLISHED for data in PUBLISHED[name]]
)
def test_the_published_numbers_of_parameters(translator, setting):
    shape, lengths, fields = SETTINGS[setting]
    model = build_model('simvp', translator=translator, **fields)
    variables = shapes_of(model, shape, lengths)
    assert count(variables['params']) == PUBLISHED[translator][setting]
    if translator == 'gsta' and setting == 'moving_mnist':
        parts = variables['params']['network']
        assert count(parts['translator']) == 46_287_872
        assert count([p for name, p in parts.items() if 'encoder' in name]) == 111_936
        assert count(parts['translator']['blocks_0']) == 8_304_000
        assert count(parts['translator']['blocks_1']) == 5_332_480


def convolve(values, kernel, bias, stride=1, dilation=1, groups=1):
    """`[N, h, w, C]` in float64, tap by tap, in NumPy."""
    size = kernel.shape[0]
    pad = dilation * (size // 2)
    padded = np.pad(values, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    rows, columns = values.shape[1:3]
    outputs = 0.0
    for i in range(size):
        for j in range(size):
            top, left = i * dilation, j * dilation
            part = padded[:, top : top + rows, left : left + columns][:, ::stride, ::stride]
            outputs = outputs + (part * kernel[i, j] if groups > 1 else part @ kernel[i, j])
    return outputs + bias


def normalize(values, axes, group):
    mean, variance = values.mean(axis=axes, keepdims=True), values.var(axis=axes, keepdims=True)
    return (values - mean) / np.sqrt(variance + 1e-5) * group['scale'] + group['bias']


def group_norm(values, group):
    halves = values.reshape(*values.shape[:-1], 2, -1)
    shape = {name: leaf.reshape(2, -1) for name, leaf in group.items()}
    return normalize(halves, (1, 2, 4), shape).reshape(values.shape)


def gelu(values):
    erf = np.vectorize(__import__('math').erf)
    return values * 0.5 * (1 + erf(values / np.sqrt(2)))


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def point(values, group):
    return values @ group['kernel'] + group.get('bias', 0.0)


def depthwise(values, group, dilation=1):
    return convolve(values, group['kernel'], group['bias'], dilation=dilation, groups=2)


def attention_block(values, p, dynamic):
    """By the statistics of the batch, as in training."""
    shortcut = normalize(values, (0, 1, 2), p['norm_1'])
    u = gelu(point(shortcut, p['before']))
    large = point(depthwise(depthwise(u, p['near']), p['far'], 3), p['gate'])
    if dynamic:
        excited = np.maximum(point(u.mean(axis=(1, 2)), p['squeeze']), 0)
        gated = sigmoid(point(excited, p['excite']))[:, None, None] * large * u
    else:
        filtered, gate = np.split(large, 2, axis=-1)
        gated = sigmoid(gate) * filtered
    values = values + p['scale_1'] * (point(gated, p['after']) + shortcut)
    hidden = point(normalize(values, (0, 1, 2), p['norm_2']), p['expand'])
    return values + p['scale_2'] * point(gelu(depthwise(hidden, p['mix'])), p['contract'])


def mixer_block(values, p):
    values = values + normalize(gelu(depthwise(values, p['mix'])), (0, 1, 2), p['norm_1'])
    return normalize(gelu(point(values, p['point'])), (0, 1, 2), p['norm_2'])


def plain_pass(params, frames, translator):
    """One pass with two layers everywhere."""
    p = params['network']
    batch, length, rows, columns, channels = frames.shape
    values = frames.reshape(-1, rows, columns, channels)

    def layer(values, group, stride=1, up=False):
        values = convolve(values, group['conv']['kernel'], group['conv']['bias'], stride)
        if up:
            n, h, w, c = values.shape
            grown = np.zeros((n, 2 * h, 2 * w, c // 4))
            for i in range(2):
                for j in range(2):
                    grown[:, i::2, j::2] = values[..., 2 * i + j :: 4]
            values = grown
        values = group_norm(values, group['norm'])
        return values * sigmoid(values)

    skip = layer(values, p['encoder_0'])
    values = layer(skip, p['encoder_1'], stride=2)
    h, w, c = values.shape[1:]
    values = np.concatenate(np.split(values.reshape(batch, length, h, w, c), length, axis=1), -1)
    values = values[:, 0]
    for index in range(2):
        block = p['translator'][f'blocks_{index}']
        if translator == 'convmixer':
            values = mixer_block(values, block)
        else:
            values = attention_block(values, block, translator == 'tau')
        values = point(values, p['translator'].get(f'point_{index}', {'kernel': np.eye(4)}))
    values = np.stack(np.split(values, length, axis=-1), axis=1).reshape(-1, h, w, c)
    values = layer(values, p['decoder_0'], up=True)
    values = layer(values + skip, p['decoder_1'])
    return point(values, p['readout']).reshape(frames.shape)


@functools.cache
def small(translator, **fields):
    """A model, its variables, none of which is at a special value, and frames."""
    model = build_model('simvp', translator=translator, **SMALL, **fields)
    generator = np.random.default_rng(3)
    variables = jax.tree.map(
        lambda leaf: (0.5 + generator.random(leaf.shape, np.float32)) / 2,
        shapes_of(model),
    )
    return model, variables, generator.random((3, 5, *SHAPE), np.float32)


@pytest.mark.parametrize('translator', ['gsta', 'tau', 'convmixer'])
def test_training_is_that_of_a_plain_reading_in_float64(translator):
    model, variables, frames = small(translator)
    with jax.enable_x64(True):
        model = model.clone(dtype='float64')
        # Older NumPy makes a scalar of one value by `np.float64`.
        variables, frames = jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64), (variables, frames)
        )
        found, changed = jax.jit(
            lambda variables: model.apply(
                variables, frames[:, :2], 3, training=Training(), mutable=['batch_stats']
            )
        )(variables)
        first = plain_pass(variables['params'], frames[:, :2], translator)
        expected = np.concatenate([first, plain_pass(variables['params'], first, translator)], 1)
        np.testing.assert_allclose(found, expected[:, :3], rtol=1e-9, atol=1e-9)
    # The running statistics have moved twice, a tenth of the way each time.
    before = variables['batch_stats']['network']['translator']['blocks_0']['norm_1']['mean']
    after = changed['batch_stats']['network']['translator']['blocks_0']['norm_1']['mean']
    assert np.abs(np.asarray(after) - before).max() > 1e-3


def test_incepu_forecasts_as_far_as_is_asked_with_the_same_frames():
    model, variables, frames = small('incepu')
    forecast = jax.jit(model.apply, static_argnums=2)
    found = [forecast(variables, frames[:, :2], horizon) for horizon in (2, 5)]
    assert found[1].shape == (3, 5, *SHAPE)
    np.testing.assert_allclose(found[1][:, :2], found[0], rtol=1e-5, atol=1e-6)
    again = forecast(variables, found[0], 2)
    np.testing.assert_allclose(found[1][:, 2:4], again, rtol=1e-4, atol=1e-5)


def test_the_shortest_paths():
    """A readout of zeros gives its bias; blocks of scale zero do nothing, for permuted frames too."""
    model, variables, frames = small('gsta')
    forecast = jax.jit(model.apply, static_argnums=2)
    params = variables['params']['network']
    readout = {'kernel': jnp.zeros((2, 1)), 'bias': jnp.array([0.7])}
    changed = {'params': {'network': params | {'readout': readout}}}
    np.testing.assert_allclose(forecast(variables | changed, frames[:, :2], 2), 0.7, rtol=1e-6)

    still = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.zeros_like(leaf) if 'scale_' in str(path[-1]) else leaf,
        params['translator'],
    )
    still = {name: part for name, part in still.items() if 'blocks' in name}
    changed = {'params': {'network': params | {'translator': still}}}
    plain = forecast(variables | changed, frames[:, :2], 2)
    swapped = forecast(variables | changed, frames[:, 1::-1], 2)
    np.testing.assert_allclose(swapped, plain[:, ::-1], rtol=1e-5, atol=1e-6)


def test_an_update_reaches_every_parameter_and_does_not_depend_on_the_number_of_devices():
    model, variables, frames = small('tau', drop_path=0.5)
    frames = np.concatenate([frames, 1 - frames[:1]])[:, :4]

    def loss(variables, frames, axis_name):
        predictions, terms, collections = call_in_training(
            model,
            variables,
            (frames[:, :2], 2),
            {},
            frames,
            jax.random.key(4),
            Training(axis_name),
        )
        value = jnp.square(predictions - frames[:, 2:]).mean() + sum(terms.values())
        return value, (collections, terms)

    def update(variables, frames, axis_name='batch'):
        of = lambda params: loss(variables | {'params': params}, frames, axis_name)  # noqa: E731
        (value, more), gradients = jax.value_and_grad(of, has_aux=True)(variables['params'])
        return jax.lax.pmean((value, more[1], gradients), axis_name), more[0]

    found = []
    for devices in (1, 2):
        shares = frames.reshape(devices, -1, *frames.shape[1:])
        run = jax.pmap(update, 'batch', in_axes=(None, 0), devices=jax.devices()[:devices])
        results = run(variables, shares)
        found.append(jax.tree.map(lambda leaf: np.asarray(leaf[-1]), results))
    chex.assert_trees_all_close(found[0], found[1], rtol=2e-3, atol=1e-5)
    (_, terms, gradients), _ = found[0]
    assert terms['divergence'] > 0.0
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all() and np.any(gradient), jax.tree_util.keystr(path)


def test_the_divergence_is_that_of_its_equation():
    generator = np.random.default_rng(0)
    forecast, truth = generator.random((2, 2, 4, 3, 2, 1), np.float32)

    def shares(frames):
        weights = np.exp((frames[:, 1:] - frames[:, :-1]).reshape(2, 3, -1) / 0.1)
        return weights / weights.sum(axis=-1, keepdims=True)

    p, q = shares(forecast), shares(truth)
    expected = (p * np.log(p / (q + 1e-12) + 1e-12)).mean()
    found = divergence_of_differences(jnp.asarray(forecast), jnp.asarray(truth))
    assert float(found) == pytest.approx(expected, rel=1e-4) and expected > 0.01
    assert abs(float(divergence_of_differences(truth, truth))) < 1e-6
    assert divergence_of_differences(truth[:, :1], forecast[:, :1]) == 0.0


@pytest.mark.parametrize(
    ('translator', 'divergence', 'weight'),
    [
        ('tau', None, 0.1),
        ('tau', 0.7, 0.7),
        ('tau', 0.0, 0.0),
        ('gsta', None, 0.0),
        ('gsta', 2.0, 2.0),
    ],
)
def test_the_divergence_counts_as_much_as_its_weight(translator, divergence, weight):
    model = build_model('simvp', **SMALL, translator=translator, divergence=divergence)
    assert model.needs.losses == (weight > 0)
    frames, forecast = np.random.default_rng(1).random((2, 2, 5, 4, 4, 1), np.float32)
    terms = model.apply({}, forecast[:, 2:], frames, Training(), method='extra_losses')
    alone = float(divergence_of_differences(forecast[:, 2:], frames[:, 2:]))
    assert terms.keys() == {'divergence'} and alone > 0.01
    assert float(terms['divergence']) == pytest.approx(weight * alone, rel=1e-6)


def test_pixels_are_shuffled_as_in_pytorch():
    values = np.arange(2 * 3 * 8).reshape(1, 2, 3, 8)
    shuffled = shuffle_pixels(values)
    assert shuffled.shape == (1, 4, 6, 2)
    for channel, row, column in [(0, 0, 0), (1, 0, 1), (1, 1, 0), (0, 1, 1)]:
        expected = values[0, 1, 2, 4 * channel + 2 * row + column]
        assert shuffled[0, 2 + row, 4 + column, channel] == expected


@pytest.mark.parametrize(
    ('fields', 'shape', 'words'),
    [
        ({'translator': 'vit'}, (8, 8, 1), "'gsta' or 'tau' or 'convmixer' or 'incepu'"),
        ({'layers': 1}, (8, 8, 1), 'layers=1: must be an integer >= 2'),
        ({'encoder_features': 3}, (8, 8, 1), 'encoder_features=3: must be even'),
        ({}, (6, 8, 1), r'6 x 8 cannot be halved 2 times: .* multiples of 4'),
    ],
)
def test_what_cannot_be_is_rejected(fields, shape, words):
    with pytest.raises(InputError, match=words):
        shapes_of(build_model('simvp', **({'features': 4} | fields)), shape)


@pytest.mark.parametrize('fields', [{'features': 17}, {'features': 16, 'encoder_features': 2}])
def test_incepu_has_any_width(fields):
    """Groups are for widths that are multiples of 8; three frames of 2 channels make 6."""
    model = build_model('simvp', translator='incepu', **fields)
    assert jax.tree.leaves(shapes_of(model, (8, 8, 1)))


def test_frames_of_another_number_do_not_fit():
    model, variables, frames = small('convmixer')
    with pytest.raises(InputError, match='parameters are not for inputs'):
        jax.eval_shape(lambda: model.apply(variables, frames[:, :3], 1))
