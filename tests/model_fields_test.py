"""What a user can get wrong about fields, shapes and carries, and what the message says."""

import dataclasses
import functools
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.errors import InputError
from e3d.model import (
    FORECASTERS,
    MODELS,
    CausalLSTMCell,
    ConvLSTMCell,
    E3DLSTMCell,
    E3DLSTMStack,
    GradientHighwayUnit,
    RecurrentStack,
    STLSTMCell,
    build_model,
)
from e3d.model.clip_recognizer import ClipRecognizer
from e3d.options.option import options_of

TREES = json.loads((pathlib.Path(__file__).parent / 'parameter_trees.json').read_text())
KERNEL = (1, 3, 3)
CELLS = {
    'E3D-LSTM': functools.partial(E3DLSTMCell, 3, KERNEL, history=2),
    'ConvLSTM': functools.partial(ConvLSTMCell, 3, KERNEL),
    'ST-LSTM': functools.partial(STLSTMCell, 3, KERNEL),
    'Causal LSTM': functools.partial(CausalLSTMCell, 3, KERNEL),
    'gradient highway': functools.partial(GradientHighwayUnit, 3, KERNEL),
    'E3D-LSTM stack': functools.partial(E3DLSTMStack, 2, 3, KERNEL, history=2),
    'stack': lambda: RecurrentStack((STLSTMCell(3, KERNEL), GradientHighwayUnit(3, KERNEL))),
}
KEY = jax.random.key(0)


def parameters(model, *arguments, **static):
    """The shapes of all parameters, by name, without any computation."""
    shapes = jax.eval_shape(functools.partial(model.init, KEY, **static), *arguments)['params']
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): (*leaf.shape,)
        for path, leaf in leaves
    }


def small(name, **fields):
    """The model with few channels, and the given fields."""
    known = {field.name for field in dataclasses.fields(MODELS[name])}
    size = {'features': 4, 'kernel_size': KERNEL, 'encoder_features': 2}
    size |= {'patch_size': 2, 'layers': 2} if name in FORECASTERS else {'classes': 2, 'window': 2}
    size = {key: value for key, value in size.items() if key in known}
    return build_model(name, **(size | fields))


WITH_KERNELS = [name for name, model in MODELS.items() if hasattr(model, 'kernel_size')]


@pytest.mark.parametrize('title', TREES)
def test_parameters_keep_their_names_and_shapes(title):
    """So that a checkpoint of any earlier version can be read."""
    case = TREES[title]
    frames = jax.ShapeDtypeStruct((1, 2, *case['frame']), jnp.float32)
    model = build_model(**case['model'])
    found = parameters(model, frames, output_frames=1)
    assert {name: list(shape) for name, shape in found.items()} == case['parameters']


@pytest.mark.parametrize('name', WITH_KERNELS)
@pytest.mark.parametrize('size', [5, (5, 5), '555', (2, 0, 5), (1, 2.5, 5), None])
def test_a_kernel_has_three_sizes(name, size):
    frames = jax.ShapeDtypeStruct((1, 2, 32, 32, 1), jnp.float32)
    with pytest.raises(InputError, match='kernel_size='):
        parameters(small(name, kernel_size=size), frames, output_frames=1)


@pytest.mark.parametrize('name', MODELS)
def test_every_field_is_what_its_option_allows(name):
    frames = jax.ShapeDtypeStruct((1, 2, 16, 16, 1), jnp.float32)
    for field in options_of(MODELS[name]):
        with pytest.raises(InputError, match=f"{field}='no such value': must be"):
            parameters(small(name, **{field: 'no such value'}), frames, output_frames=1)


@pytest.mark.parametrize('kind', [E3DLSTMCell, ConvLSTMCell, STLSTMCell, CausalLSTMCell])
def test_a_cell_says_what_a_kernel_is_before_anything_else(kind):
    options = {'history': 2} if kind is E3DLSTMCell else {}
    with pytest.raises(InputError, match=r'kernel_size=5: .*\(depth, height, width\)'):
        kind(3, 5, **options).initialize_carry(KEY, (1, 1, 6, 6, 1))


@pytest.mark.parametrize('name', MODELS)
def test_a_type_may_stand_for_its_name(name):
    frames = jax.ShapeDtypeStruct((1, 3, 32, 32, 1), jnp.float32)

    def trace(dtype):
        model = small(name, dtype=dtype)
        run = functools.partial(model.init_with_output, KEY, output_frames=2)
        program, (outputs, variables) = jax.make_jaxpr(run, return_shape=True)(frames)
        leaves = jax.tree.leaves((outputs, variables['params']))
        assert {leaf.dtype.name for leaf in leaves} == {'float32'}
        return str(program)

    of_type = trace(jnp.bfloat16)
    assert 'bf16' in of_type
    # All have the same option, and a plain reading in float64 would not equal what rounds.
    if name == 'e3d_lstm':
        assert trace('bfloat16').count('bf16') == of_type.count('bf16')
        assert 'bf16' not in trace(jnp.float32)


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('dtype', ['int8', jnp.int32, 'half', None, 7, 'float64'])
def test_other_types_are_rejected_with_those_that_are_allowed(name, dtype):
    frames = jax.ShapeDtypeStruct((1, 2, 32, 32, 1), jnp.float32)
    words = 'jax_enable_x64' if dtype == 'float64' else "'float32', 'bfloat16', 'float64'"
    with pytest.raises(InputError, match=words):
        parameters(small(name, dtype=dtype), frames, output_frames=1)


@pytest.mark.parametrize('name', CELLS)
@pytest.mark.parametrize(
    ('shape', 'remedy'),
    [
        ((6, 6, 1), r'inputs\[None, None\]'),
        ((2, 6, 6, 1), r'\(no depth\).*inputs\[:, None\].*\(no batch\).*inputs\[None\]'),
        ((2, 3, 1, 6, 6, 1), r'nn\.RNN'),
    ],
)
def test_a_missing_axis_is_named_with_how_to_add_it(name, shape, remedy):
    cell = CELLS[name]()
    words = rf'\[B, D, H, W, C\].*{remedy}'
    with pytest.raises(InputError, match=words):
        cell.initialize_carry(KEY, shape)
    carry = cell.initialize_carry(KEY, (2, 1, 6, 6, 1))
    with pytest.raises(InputError, match=words):
        parameters(cell, carry, jnp.zeros(shape))


@pytest.mark.parametrize('name', CELLS)
def test_the_remedies_are_right(name):
    frames = jnp.zeros((2, 3, 6, 6, 1))
    with pytest.raises(InputError, match=r'under nn\.RNN.*inputs\[:, :, None\]'):
        parameters(nn.RNN(CELLS[name]()), frames)
    assert parameters(nn.RNN(CELLS[name]()), frames[:, :, None])
    cell = CELLS[name]()
    for inputs in (frames[:, 0][:, None], frames[0, :1][None], frames[0, 0][None, None]):
        assert parameters(cell, cell.initialize_carry(KEY, inputs.shape), inputs)


@pytest.mark.parametrize('name', CELLS)
@pytest.mark.parametrize('change', [{'features': 4}, {'batch': 3}, {'size': 5}, {'depth': 2}])
def test_a_carry_for_other_inputs_is_rejected_with_its_shape(name, change):
    batch, depth, size = (
        change.get(key, n) for key, n in (('batch', 2), ('depth', 1), ('size', 6))
    )
    cell = CELLS[name]()
    carry = cell.initialize_carry(KEY, (batch, depth, size, size, 1))
    if 'features' in change:
        wider = lambda leaf: jnp.zeros((*leaf.shape[:-1], 4)) if leaf.ndim > 4 else leaf  # noqa: E731
        carry = jax.tree.map(wider, carry)
    with pytest.raises(InputError, match=r'carry has .* of shape .*\(2, 1, 6, 6, 3\)'):
        parameters(cell, carry, jnp.zeros((2, 1, 6, 6, 1)))


def e3d_carry(cell, shape=(2, 1, 6, 6, 1), **changes):
    return cell.initialize_carry(KEY, shape)._replace(**changes)


def test_a_carry_of_other_layers_or_histories_is_rejected():
    inputs = jnp.zeros((2, 1, 6, 6, 1))
    stack, cell = CELLS['E3D-LSTM stack'](), CELLS['E3D-LSTM']()
    carry = stack.initialize_carry(KEY, inputs.shape)
    with pytest.raises(InputError, match='carry of 1 parts for 2 layers'):
        parameters(stack, carry[:1], inputs)
    with pytest.raises(InputError, match='from initialize_carry'):
        parameters(cell, carry, inputs)
    history = jnp.zeros((2, 2, 1, 6, 6, 4))
    with pytest.raises(InputError, match=r"history of shape .*\(2, 'K', 1, 6, 6, 3\)"):
        parameters(cell, e3d_carry(cell, history=history), inputs)
    with pytest.raises(InputError, match=r'steps of shape \(3,\)'):
        parameters(cell, e3d_carry(cell, steps=jnp.zeros(3, jnp.int32)), inputs)
    with pytest.raises(InputError, match='at least one'):
        RecurrentStack(()).initialize_carry(KEY, inputs.shape)


def test_cells_that_share_a_memory_have_one_width():
    stack = RecurrentStack((STLSTMCell(3, KERNEL), CausalLSTMCell(4, KERNEL)))
    with pytest.raises(InputError, match='features of 3 and 4'):
        stack.initialize_carry(KEY, (1, 1, 6, 6, 1))


@pytest.mark.parametrize('name', [name for name in CELLS if 'stack' not in name])
@pytest.mark.parametrize('dtype', ['int8', 'nonsense', 'float64'])
def test_the_states_of_a_cell_are_floats(name, dtype):
    with pytest.raises(InputError, match=f"dtype='{dtype}'"):
        CELLS[name](dtype=dtype).initialize_carry(KEY, (1, 1, 6, 6, 1))


@pytest.mark.parametrize('name', CELLS)
def test_parameters_for_other_channels_are_rejected_with_both_shapes(name):
    cell, inputs = CELLS[name](), jnp.zeros((1, 1, 6, 6, 2))
    carry = cell.initialize_carry(KEY, inputs.shape)
    params = jax.eval_shape(cell.init, KEY, carry, inputs)
    with pytest.raises(InputError, match=r'\(1, 1, 6, 6, 5\), the number of channels.*shape \('):
        jax.eval_shape(cell.apply, params, carry, jnp.zeros((1, 1, 6, 6, 5)))


@pytest.mark.parametrize(
    'name', [name for name, model in MODELS.items() if not issubclass(model, ClipRecognizer)]
)
def test_frames_that_fit_neither_parameters_nor_a_sequence_are_rejected(name):
    model = small(name)
    frames = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    run = functools.partial(model.init, KEY, output_frames=1)
    params = jax.eval_shape(run, frames((1, 2, 32, 32, 1)))
    with pytest.raises(InputError, match='parameters are not for inputs'):
        jax.eval_shape(
            functools.partial(model.apply, output_frames=1), params, frames((1, 2, 16, 16, 3))
        )
    for shape in ((0, 2, 16, 16, 1), (1, 2, 16, 16, 0), (1, 2, 0, 16, 1)):
        with pytest.raises(InputError, match='must be >= 1'):
            jax.eval_shape(run, frames(shape))
    for length in (0, 2.0, '1'):
        with pytest.raises(InputError, match=r'output_frames=.*integer >= 1'):
            parameters(model, frames((1, 2, 32, 32, 1)), output_frames=length)


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'kernel_size': (2, 5, 5)}, '2 x 5 x 5 is larger than the grid of 2 x 4 x 4'),
        ({'kernel_size': (3, 3, 3)}, '3 x 3 x 3 is larger than the grid of 2 x 4 x 4'),
    ],
)
def test_a_transposed_operator_larger_than_the_grid_is_rejected_with_both_sizes(fields, words):
    model = build_model('e3d_lstm', layers=1, features=2, convolution='transposed', **fields)
    frames = jax.ShapeDtypeStruct((1, 2, 16, 16, 1), jnp.float32)
    with pytest.raises(InputError, match=words):
        parameters(model, frames, output_frames=1)
    assert parameters(model.clone(kernel_size=(2, 4, 4)), frames, output_frames=1)
    assert parameters(model.clone(convolution='separable'), frames, output_frames=1)


@pytest.mark.parametrize('grid', [(1, 2, 2), (2, 1, 3), (1, 1, 1)])
@pytest.mark.parametrize('operator', ['same', 'separable'])
def test_kernels_that_pad_may_be_larger_than_the_grid(operator, grid):
    from plain_network import apply_operator as plain

    from e3d.kernels.convolution import convolve
    from e3d.model.gates import apply_operator, kernel_shapes

    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        shapes = kernel_shapes(operator, (3, 5, 7), channels=2, features=2, gates=2)
        group = {name: generator.normal(size=shape) for name, shape in shapes.items()}
        inputs = generator.normal(size=(2, *grid, 2))
        found = apply_operator(group, inputs, convolve)
        np.testing.assert_allclose(found, plain(group, inputs, 2), rtol=1e-10, atol=1e-12)
