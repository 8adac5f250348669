"""The models whose step is written out: against their plain reading, and what every one must do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import plain_rivals
import pytest
from parameter_values import make_params

from e3d.errors import InputError
from e3d.model import build_model, frnn
from e3d.model.patching import pad_to_patches

# Name, fields and size of the frames at which a case is tested, and the plain reading of its model.
CASES = {
    'DFN': ('dfn', {'features': 8, 'filter_size': 3}, (4, 6, 2), plain_rivals.dfn),
    'CDNA': ('cdna', {'features': 2, 'transformations': 2}, (8, 16, 1), plain_rivals.cdna),
    'CDNA, released': (
        'cdna',
        {'features': 2, 'transformations': 2, 'variant': 'released'},
        (8, 8, 2),
        functools.partial(plain_rivals.cdna, released=True),
    ),
    'VPN baseline': (
        'vpn_baseline',
        {'features': 2, 'patch_size': 2, 'encoder_blocks': 1, 'decoder_blocks': 2},
        (4, 6, 2),
        plain_rivals.vpn_baseline,
    ),
    'FRNN': ('frnn', {'width': 1 / 64}, (4, 8, 2), plain_rivals.frnn),
    'MCnet': (
        'mcnet',
        {'features': 1, 'adversarial_weight': 0.0},
        (8, 16, 3),
        plain_rivals.mcnet,
    ),
}

COUNTS = [
    ('dfn', {}, (64, 64, 1), 637_361),
    ('dfn', {}, (128, 128, 1), 637_361),
    ('cdna', {}, (64, 64, 1), 8_309_607),
    ('cdna', {}, (64, 64, 3), 8_311_337),
    ('cdna', {}, (128, 128, 1), 14_453_607),
    ('cdna', {}, (32, 32, 2), 6_774_472),
    # The authors' count has a state and an action of 5 numbers each beside the 64 channels of enc2.
    ('cdna', {'variant': 'released'}, (64, 64, 3), 8_311_967 - 10 * 64 - 55),
    ('frnn', {}, (64, 64, 1), 105_705_313 + 2_304),
    ('vpn_baseline', {}, (64, 64, 1), 29_652_225),
    ('vpn_baseline', {'features': 96, 'patch_size': 4}, (64, 64, 1), 16_690_768),
]


def make_frames(size, batch=2, time=3, dtype=np.float32):
    return np.random.default_rng(0).random((batch, time, *size)).astype(dtype)


def start(model, frames):
    """The parameters that training begins with."""
    initialize = jax.jit(functools.partial(model.init, method='weights'), static_argnums=1)
    return initialize(jax.random.key(1), frames.shape[2:])['params']


def initialize(model, frames, spread=0.1):
    """Parameters none of which is at its special starting value, in the type of the frames."""

    def init(key):
        return model.init(key, frames.shape[2:], method='weights')

    return make_params(init, dtype=frames.dtype, spread=spread)['params']


@pytest.mark.parametrize(('name', 'fields', 'size', 'expected'), COUNTS)
def test_the_published_numbers_of_parameters(name, fields, size, expected):
    frames = jax.ShapeDtypeStruct((1, 1, *size), jnp.float32)
    create = functools.partial(build_model(name, **fields).init, output_frames=1)
    params = jax.eval_shape(create, jax.random.key(0), frames)['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize(
    ('case', 'memory'),
    [
        *((case, 'save') for case in CASES if case != 'MCnet'),
        ('DFN', 'recompute'),
        pytest.param('MCnet', 'save', marks=pytest.mark.slow),  # compiles for half a minute
    ],
)
def test_forecast_and_gradients_equal_the_plain_reading_in_float64(case, memory, monkeypatch):
    name, fields, size, plain = CASES[case]
    monkeypatch.setattr(frnn, '_CELLS', frnn._CELLS[:3])  # all eight take minutes to compile
    with jax.enable_x64(True):
        model = build_model(name, **fields, dtype='float64', memory=memory)
        frames = make_frames(size, dtype=np.float64)
        # With smaller biases its few ReLUs let nothing through.
        params = initialize(model, frames, spread=0.3 if case == 'MCnet' else 0.1)

        def results(forecast):
            def loss(params, frames):
                predictions = forecast(params, frames)
                weights = np.random.default_rng(4).random(predictions.shape)
                return (weights * predictions).sum(), predictions

            return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, frames)

        ours = results(lambda params, frames: model.apply({'params': params}, frames, 3))
        other = results(lambda params, frames: plain(params, frames, 3))
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(other), strict=True
        ):
            error = jnp.abs(a - b).max()
            assert np.any(b) and error <= 1e-10 * jnp.abs(b).max(), jax.tree_util.keystr(path)


# Those that feed their predictions back, each once.
@pytest.fixture(scope='module', params=['DFN', 'CDNA', 'VPN baseline'])
def small(request):
    name, fields, size, _ = CASES[request.param]
    model = build_model(name, **fields)
    frames = make_frames(size, time=5)
    variables = {'params': initialize(model, frames)}
    return model, variables, frames, jax.jit(model.apply, static_argnums=2)


def test_no_target_leaks_and_the_mask_lets_in_just_the_frames_it_names(small):
    _, variables, frames, apply = small
    nothing = jnp.zeros((2, 2), bool)
    full = apply(variables, frames, 3, nothing)
    assert full.shape == frames.shape and full.dtype == jnp.float32
    changed = frames.copy()
    changed[:, 3:] = 0.5
    np.testing.assert_array_equal(apply(variables, changed, 3, nothing), full)
    earlier = frames.copy()
    earlier[:, 2] = 0.5
    earlier = apply(variables, earlier, 3, nothing)
    np.testing.assert_array_equal(earlier[:, :2], full[:, :2])
    assert all(np.abs(earlier[:, t] - full[:, t]).max() > 1e-6 for t in range(2, 5))
    mask = jnp.array([[True, False], [False, False]])
    some = apply(variables, frames, 3, mask)
    np.testing.assert_array_equal(some[1], full[1])
    assert np.abs(some[0, 3] - full[0, 3]).max() > 1e-6


def test_forecasting_farther_begins_with_the_same_frames(small):
    _, variables, frames, apply = small
    near, far = (apply(variables, frames[:, :2], ahead) for ahead in (2, 4))
    np.testing.assert_allclose(far[:, :3], near, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_fixed_batch_is_learned(small):
    model = small[0]
    size = small[2].shape[2:]
    # A square that moves to the right.
    frames = np.zeros((2, 5, *size), np.float32)
    for row, time in np.ndindex(2, 5):
        frames[row, time, 1 + row : 3 + row, time % size[1] : time % size[1] + 2] = 1.0
    params = start(model, frames)
    optimizer = optax.adam(1e-2)

    def loss(params):
        predictions = model.apply({'params': params}, frames[:, :3], 2)
        return jnp.square(predictions[:, -2:] - frames[:, 3:]).mean()

    @jax.jit
    def train(params, state):
        def body(_, carry):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return optax.apply_updates(params, updates), state

        params, _ = jax.lax.fori_loop(0, 100, body, (params, state))
        return loss(params)

    mean_image = np.square(frames[:, 3:] - frames.mean((0, 1))).mean()
    assert train(params, optimizer.init(params)) < 0.5 * mean_image


@pytest.mark.parametrize(('case', 'size'), [('DFN', (5, 6, 1)), ('CDNA', (16, 12, 1))])
def test_frames_of_other_sizes_are_refused_or_padded(case, size):
    name, fields, *_ = CASES[case]
    frames, (height, width, _) = make_frames(size), size
    model = build_model(name, **fields)
    with pytest.raises(InputError, match=f'{height} x {width}.*multiples of .*pad_frames'):
        model.init(jax.random.key(0), frames, 2)
    padded = np.asarray(pad_to_patches(frames, model.multiple))
    assert padded.shape != frames.shape
    variables = {'params': initialize(model, padded)}
    expected = jax.jit(model.apply, static_argnums=2)(variables, padded, 2)
    model = build_model(name, **fields, pad_frames=True)
    found = jax.jit(model.apply, static_argnums=2)(variables, frames, 2)
    np.testing.assert_allclose(found, expected[:, :, :height, :width], rtol=1e-5)
