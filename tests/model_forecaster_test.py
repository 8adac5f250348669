import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameter_values import make_params
from plain_network import reference_forecast
from selection import fast

from e3d.errors import InputError
from e3d.model import E3DLSTM, build_model
from e3d.model.patching import from_patches, pad_to_patches, to_patches

SMALL = {'layers': 2, 'features': 3, 'kernel_size': (2, 3, 3), 'patch_size': 2}

OPTIONS = {
    'paper': {},
    'released': {'variant': 'released'},
    'transposed': {'convolution': 'transposed', 'layers': 1},
    'separable, released': {'convolution': 'separable', 'variant': 'released', 'layers': 1},
    'history 1': {'history': 1},
    'history 5': {'history': 5, 'layers': 1},
    'without attention': {'recall': 'none', 'layers': 1},
    'in place': {'recall': 'in_place'},
    'in place, released, history 1': {'recall': 'in_place', 'variant': 'released', 'history': 1},
    'nearby': {'recall': 'nearby'},
    'refined': {'variant': 'refined', 'recall': 'in_place', 'history': 2},
    'gated': {'variant': 'gated', 'recall': 'in_place', 'layers': 1},
    'timed, history 2': {'variant': 'timed', 'recall': 'in_place', 'history': 2},
    'timed, everywhere': {'variant': 'timed', 'layers': 1},
    'refined, nearby, separable': {
        'variant': 'refined',
        'recall': 'nearby',
        'convolution': 'separable',
        'layers': 1,
    },
    'refined without attention': {'variant': 'refined', 'recall': 'none', 'layers': 1},
    'nearby, released, history 5': {
        'recall': 'nearby',
        'recall_radius': 2,
        'variant': 'released',
        'history': 5,
        'layers': 1,
    },
    'nearby, depth 1': {'recall': 'nearby', 'depth': 1, 'kernel_size': (1, 3, 3), 'layers': 1},
    'depth 1': {'depth': 1, 'kernel_size': (1, 3, 3), 'layers': 1},
    'depth 3, kernel 2 x 5 x 5': {'depth': 3, 'kernel_size': (2, 5, 5), 'layers': 1},
    'three layers': {'layers': 3, 'features': 2},
    'published': {'variant': 'published'},
    'openstl, stride 2': {'variant': 'openstl', 'stride': 2, 'layers': 1},
}
# Every value of every option; the others combine them otherwise.
EACH_OPTION = (
    'paper',
    'transposed',
    'separable, released',
    'without attention',
    'in place, released, history 1',
    'refined',
    'timed, history 2',
    'refined, nearby, separable',
    'nearby, released, history 5',
    'depth 1',
    'published',
    'openstl, stride 2',
)


def make_frames(batch=2, time=5, size=(8, 12), channels=1, dtype=jnp.float32):
    return jax.random.uniform(jax.random.key(0), (batch, time, *size, channels), dtype)


def abstract_params(model, frames):
    initialize = functools.partial(model.init, output_frames=1)
    return jax.eval_shape(initialize, jax.random.key(0), frames)


def initialize(model, frames):
    """Parameters none of which is at its special starting value, in the type of the frames."""
    init = functools.partial(model.init, output_frames=1)
    return make_params(init, frames, dtype=frames.dtype)['params']


def loss_and_gradients(forecast, params, frames, output_frames, truth_mask, options=None):
    steps = frames.shape[1] + (output_frames - 1 if truth_mask is None else 0)
    target = jax.random.uniform(jax.random.key(5), (frames.shape[0], steps, *frames.shape[2:]))

    def loss(params, frames):
        return ((forecast(params, frames, output_frames, truth_mask) - target) ** 2).mean()

    return jax.jit(jax.value_and_grad(loss, (0, 1)), compiler_options=options)(params, frames)


def assert_equals_reference(model, frames, output_frames, truth_mask, options=None):
    """Loss and the gradient of every parameter and frame, to 1e-10 of the largest entry."""
    params = initialize(model, frames)
    ours = loss_and_gradients(
        lambda params, *rest: model.apply({'params': params}, *rest),
        params,
        frames,
        output_frames,
        truth_mask,
        options,
    )
    plain = loss_and_gradients(
        functools.partial(reference_forecast, model), params, frames, output_frames, truth_mask
    )
    assert jax.tree.structure(ours) == jax.tree.structure(plain)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(plain), strict=True
    ):
        error = jnp.abs(a - b).max()
        assert error <= 1e-10 * jnp.abs(b).max(), (jax.tree_util.keystr(path), error)


@pytest.mark.parametrize('name', fast(EACH_OPTION, OPTIONS))
def test_core_equals_the_plain_reading_in_float64(name):
    with jax.enable_x64(True):
        model = E3DLSTM(**(SMALL | OPTIONS[name] | {'dtype': 'float64'}))
        truth_mask = jnp.array([[True, False], [False, False]])
        assert_equals_reference(model, make_frames(dtype=jnp.float64), 3, truth_mask)


OPTIMIZED = {'xla_backend_optimization_level': 3, 'xla_llvm_disable_expensive_passes': False}


def test_what_accelerators_are_given_equals_the_plain_reading(as_on_accelerators):
    with jax.enable_x64(True):
        model = E3DLSTM(**(SMALL | {'dtype': 'float64'}))
        assert_equals_reference(model, make_frames(dtype=jnp.float64, time=3), 2, None, OPTIMIZED)
    assert as_on_accelerators


def test_an_optimized_program_equals_the_plain_reading():
    """Unlike the programs of other tests, which are compiled in less time."""
    with jax.enable_x64(True):
        model = E3DLSTM(**(SMALL | {'dtype': 'float64', 'layers': 1}))
        assert_equals_reference(model, make_frames(dtype=jnp.float64, time=3), 2, None, OPTIMIZED)


# Recall, batch, input and output frames, and whether the truth is seen among the output.
LENGTHS = [
    ('everywhere', 1, 3, 1, None),
    ('everywhere', 2, 1, 6, None),
    ('everywhere', 2, 2, 4, True),
    ('everywhere', 3, 2, 3, False),
    ('in_place', 2, 1, 6, None),
    ('nearby', 2, 2, 4, True),
]


@pytest.mark.parametrize(
    ('memory', 'lengths'),
    fast(
        [*zip(2 * ['save', 'recompute', 'recompute'], LENGTHS, strict=True)],
        itertools.product(['save', 'recompute'], LENGTHS),
    ),
)
def test_core_equals_the_plain_reading_for_all_lengths(memory, lengths):
    recall, batch, input_frames, output_frames, mask = lengths
    with jax.enable_x64(True):
        options = {'dtype': 'float64', 'memory': memory, 'history': 3, 'recall': recall}
        model = E3DLSTM(**(SMALL | options | {'layers': 1}))
        truth_mask = None if mask is None else jnp.full((batch, output_frames - 1), mask)
        time = input_frames + (0 if mask is None else output_frames - 1)
        frames = make_frames(batch, time, size=(4, 6), channels=2, dtype=jnp.float64)
        assert_equals_reference(model, frames, output_frames, truth_mask)


@pytest.fixture(scope='module')
def small():
    model = E3DLSTM(**SMALL)
    frames = make_frames()
    params = initialize(model, frames)
    forecast = jax.jit(
        lambda *arguments: model.apply({'params': params}, *arguments), static_argnums=1
    )
    return model, params, frames, forecast


def test_predictions_depend_on_no_later_frame(small):
    _, _, frames, forecast = small
    full = forecast(frames, 2)
    assert full.shape == (2, 6, 8, 12, 1)
    changed = forecast(frames.at[:, 3].add(0.5), 2)
    np.testing.assert_array_equal(changed[:, :3], full[:, :3])
    assert all(np.abs(changed[:, t] - full[:, t]).max() > 1e-4 for t in range(3, 6))


def test_no_target_leaks_into_a_forecast(small):
    _, _, frames, forecast = small
    nothing = jnp.zeros((2, 2), bool)
    full = forecast(frames, 3, nothing)
    np.testing.assert_array_equal(forecast(frames.at[:, 3:].set(7.0), 3, nothing), full)
    np.testing.assert_allclose(forecast(frames[:, :3], 3), full, rtol=1e-5, atol=1e-6)


def test_the_truth_mask_lets_in_just_the_frames_it_names(small):
    _, _, frames, forecast = small
    everything = forecast(frames, 3, jnp.ones((2, 2), bool))
    np.testing.assert_allclose(everything, forecast(frames, 1), rtol=1e-5, atol=1e-6)
    mask = jnp.array([[False, True], [False, False]])
    some = forecast(frames, 3, mask)
    np.testing.assert_array_equal(some, forecast(frames.at[:, 3].set(7.0), 3, mask))
    changed = forecast(frames.at[:, 4].set(7.0), 3, mask)
    np.testing.assert_array_equal(changed[1], some[1])
    assert np.abs(changed[0, 4] - some[0, 4]).max() > 1e-3


def test_every_parameter_gets_a_gradient(small):
    model, params, frames, _ = small
    apply = lambda params, *rest: model.apply({'params': params}, *rest)  # noqa: E731
    _, (gradients, of_frames) = loss_and_gradients(apply, params, frames[:, :3], 3, None)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all() and np.any(gradient), jax.tree_util.keystr(path)
    assert all(np.any(of_frames[:, t]) for t in range(3))


CHANGES = [
    {'variant': 'released'}, {'variant': 'refined'}, {'variant': 'gated'},
    {'variant': 'timed'},
    {'convolution': 'transposed'}, {'convolution': 'separable'},
    {'recall': 'none'}, {'recall': 'in_place'}, {'recall': 'nearby'}, {'history': 1},
    {'depth': 3}, {'layers': 1}, {'features': 4},
    {'patch_size': 4}, {'kernel_size': (2, 5, 5)}, {'dtype': 'bfloat16'},
]  # fmt: skip


# The plain reading reads the other fields of the model: one without effect would not equal it.
@pytest.mark.parametrize(
    'change',
    fast(
        [{'variant': 'refined'}, {'history': 1}, {'patch_size': 4}, {'dtype': 'bfloat16'}], CHANGES
    ),
)
def test_every_option_changes_the_forecast(small, change):
    _, _, frames, forecast = small
    model = E3DLSTM(**(SMALL | change))
    params = initialize(model, frames)
    other = jax.jit(model.apply, static_argnums=2)({'params': params}, frames, 2)
    assert np.abs(other - forecast(frames, 2)).max() > 1e-5


def test_vmap_and_pmap_give_the_same(small):
    model, params, frames, forecast = small
    together = forecast(frames, 2)
    one = lambda frames: model.apply({'params': params}, frames[None], 2)[0]  # noqa: E731
    np.testing.assert_allclose(jax.jit(jax.vmap(one))(frames), together, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.pmap(one)(frames), together, rtol=1e-4, atol=1e-5)


def test_gradients_under_vmap_equal_a_loop():
    model, frames = E3DLSTM(**(SMALL | {'layers': 1})), make_frames()
    params = initialize(model, frames)

    def gradient(frames):
        return jax.grad(
            lambda params: (model.apply({'params': params}, frames[None], 2) ** 2).sum()
        )(params)

    together = jax.jit(jax.vmap(gradient))(frames)
    single = jax.jit(gradient)
    for row in range(2):
        for ours, other in zip(
            jax.tree.leaves(together), jax.tree.leaves(single(frames[row])), strict=True
        ):
            scale = np.abs(other).max()
            np.testing.assert_allclose(ours[row] / scale, other / scale, atol=1e-5)


def temporary_bytes(model, length, gradient):
    frames = jax.ShapeDtypeStruct((1, length, 8, 8, 1), jnp.float32)
    params = abstract_params(model, frames)

    def loss(params, frames):
        return model.apply(params, frames, 1).sum()

    compiled = jax.jit(jax.grad(loss) if gradient else loss).lower(params, frames).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ('memory', 'recall'),
    fast(
        [('save', 'everywhere'), ('recompute', 'nearby')],
        itertools.product(['save', 'recompute'], ['everywhere', 'nearby']),
    ),
)
def test_training_memory_grows_linearly(memory, recall):
    size = {'layers': 1, 'features': 8, 'patch_size': 2, 'kernel_size': (2, 3, 3)}
    model = E3DLSTM(**size, memory=memory, recall=recall)
    short, middle, long = (temporary_bytes(model, length, True) for length in (16, 32, 64))
    assert long - middle < 2.2 * (middle - short)


def test_recompute_needs_less_memory_than_save_and_a_forecast_less_than_both():
    sizes = {
        memory: temporary_bytes(
            E3DLSTM(layers=1, features=8, patch_size=2, kernel_size=(2, 3, 3), memory=memory),
            64,
            True,
        )
        for memory in ('save', 'recompute')
    }
    model = E3DLSTM(layers=1, features=8, patch_size=2, kernel_size=(2, 3, 3))
    forecast = temporary_bytes(model, 64, False)
    assert forecast < sizes['recompute'] < 0.6 * sizes['save']
    state = 4 * 2 * 4 * 4 * 8
    frame = 4 * 8 * 8
    assert temporary_bytes(model, 128, False) - forecast < 1.1 * 64 * (state + 4 * frame)


def test_a_bounded_history_forecasts_in_constant_state_memory():
    model = E3DLSTM(layers=1, features=32, patch_size=2, kernel_size=(2, 3, 3), history=4)
    growth = temporary_bytes(model, 128, False) - temporary_bytes(model, 64, False)
    state = 4 * 2 * 4 * 4 * 32
    assert growth < 64 * state / 2


def test_frames_that_patches_do_not_divide():
    frames = make_frames(size=(7, 9))
    with pytest.raises(InputError, match=r'7 x 9.*patch_size.*pad_frames'):
        E3DLSTM(**SMALL).init(jax.random.key(0), frames, 1)
    model = E3DLSTM(**SMALL, pad_frames=True)
    forecast = functools.partial(model.init_with_output, output_frames=2)
    assert jax.eval_shape(forecast, jax.random.key(0), frames)[0].shape == (2, 6, 7, 9, 1)


@pytest.mark.parametrize(
    ('shape', 'output_frames', 'mask', 'words'),
    [
        ((2, 3, 8, 8), 1, None, r'\[B, T, H, W, C\]'),
        ((2, 3, 8, 8, 1), 0, None, 'output_frames=0'),
        ((2, 3, 8, 8, 1), 3, (2, 3), r'\(2, 2\)'),
        ((2, 2, 8, 8, 1), 3, (2, 2), 'at least one'),
        ((2, 0, 8, 8, 1), 1, None, 'at least one'),
    ],
)
def test_arrays_that_do_not_fit_are_rejected(shape, output_frames, mask, words):
    mask = None if mask is None else jnp.zeros(mask, bool)
    with pytest.raises(InputError, match=words):
        E3DLSTM(**SMALL).init(jax.random.key(0), jnp.zeros(shape), output_frames, mask)


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'memory': 'none'}, 'recompute'),
        ({'dtype': 'int8'}, 'bfloat16'),
        ({'layers': 0}, 'layers=0: must be an integer >= 1'),
        ({'history': 0}, 'history=0: must be an integer >= 1'),
        ({'width': 3}, 'width'),
    ],
)
def test_fields_that_are_not_allowed_are_rejected(fields, words):
    with pytest.raises(InputError, match=words):
        build_model('e3d_lstm', **(SMALL | fields)).init(jax.random.key(0), make_frames(), 1)
    with pytest.raises(InputError, match='e3d_lstm'):
        build_model('no_such_model')


def test_patches_are_in_the_order_row_column_channel():
    frames = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    patches = to_patches(frames, 2)
    assert patches.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(patches[1, 1, 2], frames[1, 2:4, 4:6].reshape(-1))
    np.testing.assert_array_equal(from_patches(patches, 2), frames)
    padded = pad_to_patches(frames, 5)
    assert padded.shape == (2, 5, 10, 3)
    np.testing.assert_array_equal(padded[:, 4, 9], frames[:, 3, 5])


@pytest.mark.parametrize(
    ('platform', 'dtype', 'recall'),
    fast(
        [
            ('cuda', 'float32', 'nearby'),
            ('cuda', 'bfloat16', 'everywhere'),
            ('tpu', 'float32', 'everywhere'),
            ('tpu', 'bfloat16', 'nearby'),
        ],
        itertools.product(['cuda', 'tpu'], ['float32', 'bfloat16'], ['everywhere', 'nearby']),
    ),
)
def test_training_and_forecasting_are_lowered_for_other_backends(platform, dtype, recall):
    model = E3DLSTM(**SMALL, dtype=dtype, recall=recall)
    frames = jax.ShapeDtypeStruct((2, 4, 8, 8, 1), jnp.float32)
    params = abstract_params(model, frames)

    def loss(params, frames):
        return model.apply(params, frames, 3).sum()

    for function in (loss, jax.grad(loss)):
        exported = jax.export.export(jax.jit(function), platforms=[platform])(params, frames)
        assert exported.platforms == (platform,)
        assert 'stablehlo.convolution' in exported.mlir_module()
