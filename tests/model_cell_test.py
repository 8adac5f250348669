import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameter_values import make_params
from plain_network import cell_step
from selection import fast

from e3d.errors import InputError
from e3d.model import E3DLSTM, E3DLSTMCell, E3DLSTMStack

OPTIONS = {
    'paper': {},
    'released': {'variant': 'released'},
    'refined': {'variant': 'refined', 'recall': 'in_place'},
    'refined, everywhere': {'variant': 'refined'},
    'gated': {'variant': 'gated', 'recall': 'in_place'},
    'timed': {'variant': 'timed', 'recall': 'in_place'},
    'transposed': {'convolution': 'transposed'},
    'separable': {'convolution': 'separable'},
    'without attention': {'recall': 'none'},
    'in place': {'recall': 'in_place'},
    'nearby': {'recall': 'nearby', 'recall_radius': 2},
    'without 3D convolutions': {'kernel_size': (1, 3, 3)},
}


def make_cell(**options):
    return E3DLSTMCell(**({'features': 3, 'kernel_size': (2, 3, 3), 'history': 4} | options))


def make_inputs(options, batch=2, time=4, size=(5, 6), channels=2):
    depth = 1 if options.get('kernel_size', (2,))[0] == 1 else 2
    shape = (batch, time, depth, *size, channels)
    return jax.random.uniform(jax.random.key(0), shape)


def initialize(module, *arguments):
    """Parameters, without computing the forward pass operation by operation."""
    return jax.jit(module.init)(jax.random.key(0), *arguments)


def test_parameter_tree_of_the_paper():
    cell = E3DLSTMCell(features=4, history=1)
    carry = cell.initialize_carry(jax.random.key(0), (1, 2, 8, 8, 3))
    inputs = jnp.zeros((1, 2, 8, 8, 3))
    params = jax.eval_shape(cell.init, jax.random.key(0), carry, inputs)['params']
    assert jax.tree.map(lambda leaf: leaf.shape, params) == {
        'input_gates': {'kernel': (2, 5, 5, 3, 28), 'bias': (28,)},
        'hidden_gates': {'kernel': (2, 5, 5, 4, 16)},
        'memory_gates': {'kernel': (2, 5, 5, 4, 12)},
        'cell_output': {'kernel': (2, 5, 5, 4, 4)},
        'memory_output': {'kernel': (2, 5, 5, 4, 4)},
        'cell_norm': {'norm_scale': (4,), 'norm_bias': (4,)},
        'projection': {'kernel': (8, 4)},
    }


@pytest.mark.parametrize(
    ('patch_size', 'channels', 'count'),
    [(4, 1, 12_898_832), (8, 1, 13_980_224), (1, 2, 12_583_426), (2, 2, 12_718_600)],
)
def test_the_released_variant_has_the_published_number_of_parameters(patch_size, channels, count):
    model = E3DLSTM(patch_size=patch_size, variant='released')
    frames = jax.ShapeDtypeStruct((1, 2, 16, 16, channels), jnp.float32)
    params = jax.eval_shape(
        lambda key, frames: model.init(key, frames, 1), jax.random.key(0), frames
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize('name', OPTIONS)
def test_steps_equal_the_plain_reading_in_float64(name):
    options = OPTIONS[name]
    with jax.enable_x64(True):
        cell = make_cell(dtype=jnp.float64, param_dtype=jnp.float64, **options)
        inputs = make_inputs(options).astype(jnp.float64)
        start = cell.initialize_carry(jax.random.key(1), inputs[:, 0].shape)
        params = make_params(cell.init, start, inputs[:, 0], dtype=np.float64)
        weights = params['params']

        carry, state = start, (start.cell, start.hidden, start.memory)
        history = jnp.zeros((2, 4, *start.cell.shape[1:]))
        ours_of = jax.jit(cell.apply)
        plain_of = jax.jit(functools.partial(cell_step, cell))
        for t in range(inputs.shape[1]):
            carry, output = ours_of(params, carry, inputs[:, t])
            state = plain_of(weights, *state, inputs[:, t], history, jnp.arange(4) < t)
            history = history.at[:, t].set(state[0])
            for ours, plain in zip((carry.cell, output, carry.memory), state, strict=True):
                np.testing.assert_allclose(ours, plain, rtol=1e-11, atol=1e-13)


# In whole networks the gradients of the others are those of the plain reading.
@pytest.mark.parametrize(
    'name',
    fast(('paper', 'released', 'refined', 'timed', 'nearby', 'without 3D convolutions'), OPTIONS),
)
def test_every_parameter_gets_a_finite_gradient_that_is_not_zero(name):
    options = OPTIONS[name]
    network = nn.RNN(make_cell(**options))
    inputs = make_inputs(options)
    params = initialize(network, inputs)

    def loss(params):
        return (network.apply(params, inputs)[:, -1] ** 2).sum()

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(gradient).all(), name
        assert np.any(gradient), name


def test_every_option_changes_the_result():
    inputs = make_inputs({})
    results = []
    switches = [*list(OPTIONS.values())[:10], {'recall': 'nearby'}]
    switches += [{'history': 1}, {'kernel_size': (2, 5, 5)}]
    for options in switches:
        network = nn.RNN(make_cell(**options))
        params = make_params(network.init, inputs)
        results.append(np.asarray(jax.jit(network.apply)(params, inputs)))
    for first in range(len(results)):
        for second in range(first):
            assert np.abs(results[first] - results[second]).max() > 1e-6, (
                switches[first],
                switches[second],
            )


def test_the_gradient_of_the_first_step_from_zero_states_is_finite():
    for name, options in OPTIONS.items():
        if name in ('transposed', 'separable', 'without 3D convolutions'):
            continue  # convolutions divide by nothing
        cell = make_cell(**options)
        inputs = jnp.zeros(make_inputs(options)[:, 0].shape)
        carry = cell.initialize_carry(jax.random.key(0), inputs.shape)
        params = make_params(cell.init, carry, inputs, spread=0.0)

        def loss(params, cell=cell, carry=carry, inputs=inputs):
            return cell.apply(params, carry, inputs)[1].sum()

        gradients = jax.jit(jax.grad(loss))(params)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_rnn_equals_a_loop_and_the_carry_keeps_its_form():
    cell = make_cell()
    inputs = make_inputs({})
    network = nn.RNN(cell, return_carry=True)
    params = initialize(network, inputs)
    last, outputs = jax.jit(network.apply)(params, inputs)
    carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
    form = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), carry)
    step = jax.jit(cell.apply)
    for t in range(inputs.shape[1]):
        carry, output = step({'params': params['params']['cell']}, carry, inputs[:, t])
        np.testing.assert_allclose(output, outputs[:, t], rtol=1e-4, atol=1e-6)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), carry) == form
    for ours, other in zip(jax.tree.leaves(carry), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-6)


def test_a_bounded_history_forgets_the_oldest_state():
    cell = make_cell(history=2)
    inputs = make_inputs({}, time=5)
    carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
    params = initialize(cell, carry, inputs[:, 0])
    step = jax.jit(cell.apply)
    cells = []
    for t in range(4):
        carry, _ = step(params, carry, inputs[:, t])
        cells.append(carry.cell)
    kept = {float(jnp.abs(slot).sum()) for slot in jnp.moveaxis(carry.history, 1, 0)}
    assert kept == {float(jnp.abs(cells[2]).sum()), float(jnp.abs(cells[3]).sum())}


def test_a_stack_of_one_is_the_cell():
    inputs = make_inputs({})
    network = nn.RNN(make_cell())
    stack = nn.RNN(E3DLSTMStack(1, 3, (2, 3, 3), history=4))
    params = initialize(network, inputs)['params']['cell']
    np.testing.assert_array_equal(
        jax.jit(stack.apply)({'params': {'cell': {'cells_0': params}}}, inputs),
        jax.jit(network.apply)({'params': {'cell': params}}, inputs),
    )


def test_the_memory_zigzags_through_the_stack():
    """M enters the bottom layer from the top layer of the step before: changing it changes H."""
    stack = E3DLSTMStack(2, 3, (2, 3, 3), history=2)
    inputs = make_inputs({})[:, 0]
    carry = stack.initialize_carry(jax.random.key(0), inputs.shape)
    params = initialize(stack, carry, inputs)
    step = jax.jit(stack.apply)
    first, _ = step(params, carry, inputs)
    assert first[0].memory == () and np.any(first[1].memory)
    other = (first[0], first[1]._replace(memory=first[1].memory + 1))
    ours, _ = step(params, first, inputs)
    changed, _ = step(params, other, inputs)
    for layer in range(2):
        assert np.abs(ours[layer].hidden - changed[layer].hidden).max() > 1e-3


def test_remat_vmap_and_batches_of_one_give_the_same():
    inputs = make_inputs({}, batch=3)
    arguments = (2, 3, (2, 3, 3))
    network = nn.RNN(E3DLSTMStack(*arguments, history=3))
    params = initialize(network, inputs)
    together = jax.jit(network.apply)(params, inputs)
    remat = nn.RNN(nn.remat(E3DLSTMStack)(*arguments, history=3))
    np.testing.assert_allclose(jax.jit(remat.apply)(params, inputs), together, rtol=1e-4, atol=1e-6)
    single = jax.jit(network.apply)(params, inputs[1:2])
    np.testing.assert_allclose(single, together[1:2], rtol=1e-4, atol=1e-6)
    mapped = jax.jit(jax.vmap(lambda one: network.apply(params, one[None])[0]))(inputs)
    np.testing.assert_allclose(mapped, together, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('recall', ['everywhere', 'nearby'])
def test_bfloat16_states_and_float32_parameters(recall):
    inputs = make_inputs({})
    network = nn.RNN(make_cell(dtype=jnp.bfloat16, recall=recall))
    params = initialize(network, inputs)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    outputs = jax.jit(network.apply)(params, inputs)
    assert outputs.dtype == jnp.bfloat16
    exact = jax.jit(nn.RNN(make_cell(recall=recall)).apply)(params, inputs)
    np.testing.assert_allclose(outputs.astype(np.float32), exact, atol=0.05)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'history': None}, 'history=T-1'),
        ({'history': 0}, 'integer >= 1'),
        ({'variant': 'tf'}, "'paper', 'refined', 'gated', 'timed', 'released'"),
        ({'convolution': 'dilated'}, "'separable'"),
        ({'features': 0}, 'integer >= 1'),
        ({'kernel_size': (5, 5)}, 'three sizes'),
        ({'recall': 'here'}, "'everywhere', 'in_place', 'nearby', 'none'"),
        ({'recall_radius': -1}, 'recall_radius=-1: must be an integer >= 0'),
        ({'recall_radius': 17}, 'recall_radius=17: must be at most 16'),
        (
            {'variant': 'published', 'dtype': jnp.float16},
            'dtype=float16: must be float32, bfloat16 or float64',
        ),
    ],
)
def test_a_value_that_is_not_allowed_is_rejected_with_what_is(options, words):
    cell = make_cell(**options)
    inputs = make_inputs({})[:, 0]
    with pytest.raises(InputError, match=words):
        carry = cell.initialize_carry(jax.random.key(0), inputs.shape)
        cell.init(jax.random.key(0), carry, inputs)
