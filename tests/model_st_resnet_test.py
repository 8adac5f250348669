"""ST-ResNet, against its published sizes and a plain reading."""

import functools
import pathlib

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.data.sources.registry import with_inputs
from e3d.data.sources.taxibj import open_taxibj
from e3d.errors import InputError
from e3d.model import build_model
from e3d.model.needs import initialize

TAXIBJ, BIKENYC = (32, 32, 2), (16, 8, 2)
SHAPE, SEEN, AHEAD = (3, 4, 2), 3, 3
SMALL = {'layers': 2, 'features': 3, 'closeness': 2, 'period': 2, 'trend': 1}


def shapes_of(model, shape=SHAPE, lengths=(SEEN, AHEAD)):
    create = functools.partial(initialize, model, jax.random.key(0), shape, lengths)
    return jax.eval_shape(create)['params']


@pytest.mark.parametrize(
    ('fields', 'shape', 'expected'),
    [
        ({'closeness': 3, 'period': 1, 'trend': 1, 'layers': 2}, TAXIBJ, 458_694),
        ({'closeness': 3, 'period': 1, 'trend': 1, 'layers': 4}, TAXIBJ, 901_830),
        ({'closeness': 3, 'period': 1, 'trend': 1, 'layers': 12}, TAXIBJ, 2_674_374),
        ({'closeness': 3, 'period': 4, 'trend': 4, 'layers': 4}, BIKENYC, 903_366),
        ({'layers': 2}, TAXIBJ, 153_538),
        ({'layers': 12}, TAXIBJ, 892_098),
    ],
)
def test_the_published_numbers_of_parameters(fields, shape, expected):
    shapes = shapes_of(build_model('st_resnet', **fields), shape, (4, 4))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def convolve(values, layer):
    """3 x 3 of `[B, H, W, C]`, in NumPy."""
    rows, columns = values.shape[1:3]
    padded = np.pad(values, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return layer['bias'] + sum(
        padded[:, i : i + rows, j : j + columns] @ layer['kernel'][i, j]
        for i in range(3)
        for j in range(3)
    )


def branch(p, frames):
    """From a list of frames in [-1, 1]."""
    hidden = convolve(np.concatenate(frames, axis=-1), p['first'])
    for unit in range(SMALL['layers']):
        inner = convolve(np.maximum(hidden, 0), p[f'unit_{unit}_0'])
        hidden = hidden + convolve(np.maximum(inner, 0), p[f'unit_{unit}_1'])
    return convolve(np.maximum(hidden, 0), p['last'])


def plain_forecast(params, frames, inputs):
    newest = [2 * frames[:, -1] - 1, 2 * frames[:, -2] - 1]
    forecast = []
    for step in range(AHEAD):
        total = params['fusion_closeness'] * branch(params['closeness'], newest)
        for name, values in inputs.items():
            before = [2 * values[:, step, n] - 1 for n in range(values.shape[2])]
            total = total + params[f'fusion_{name}'] * branch(params[name], before)
        newest = [np.tanh(total), newest[0]]
        forecast.append((newest[0] + 1) / 2)
    return np.stack(forecast, axis=1)


@functools.cache
def small():
    """A model, its parameters, none at a special value, frames and inputs, in float64."""
    model = build_model('st_resnet', **SMALL, dtype='float64')
    generator = np.random.default_rng(3)
    params = jax.tree.map(
        lambda leaf: 0.4 * generator.standard_normal(leaf.shape),
        shapes_of(build_model('st_resnet', **SMALL)),
    )
    inputs = {
        'period': generator.random((2, AHEAD, 2, *SHAPE)),
        'trend': generator.random((2, AHEAD, 1, *SHAPE)),
    }
    return model, params, generator.random((2, SEEN, *SHAPE)), inputs


def test_the_forecast_is_that_of_a_plain_reading_and_reaches_every_parameter():
    with jax.enable_x64(True):
        model, params, frames, inputs = small()

        def loss(params):
            forecast = model.apply({'params': params}, frames, AHEAD, inputs=inputs)
            return jnp.square(forecast - 0.3).mean(), forecast

        (value, found), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        expected = plain_forecast(params, frames, inputs)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
            name = jax.tree_util.keystr(path)
            assert np.isfinite(gradient).all() and np.any(gradient), name
        # Along one direction, by differences.
        step = jax.tree.map(
            lambda leaf: 1e-6 * np.cos(np.arange(leaf.size).reshape(leaf.shape)), params
        )
        moved = jax.tree.map(np.add, params, step)
        later = np.square(plain_forecast(moved, frames, inputs) - 0.3).mean()
        slope = sum(jax.tree.leaves(jax.tree.map(lambda g, s: (g * s).sum(), gradients, step)))
        np.testing.assert_allclose(later - value, slope, rtol=1e-4)


def test_without_a_calendar_twice_as_far_begins_with_the_same_frames():
    model = build_model('st_resnet', layers=1, features=3)
    frames = np.random.default_rng(0).random((2, SEEN, *SHAPE), np.float32)
    variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), frames, 1)
    forecast = jax.jit(model.apply, static_argnums=2)
    near, far = (forecast(variables, frames, horizon) for horizon in (2, 4))
    np.testing.assert_allclose(far[:, :2], near, rtol=1e-5)
    assert not [name for name in variables['params'] if 'fusion' in name]
    # Kernels of zeros leave the bias of the last layer: tanh(b), from [-1, 1] to [0, 1].
    params = jax.tree.map(jnp.zeros_like, variables['params'])
    params['closeness']['last']['bias'] = jnp.array([0.5, -1.0])
    still = forecast({'params': params}, frames, 2)
    np.testing.assert_allclose(still, np.broadcast_to((np.tanh([0.5, -1.0]) + 1) / 2, still.shape))


def test_units_whose_second_convolution_is_zero_do_nothing():
    model = build_model('st_resnet', layers=2, features=3)
    frames = np.random.default_rng(0).random((1, 1, *SHAPE), np.float32)
    variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), frames, 1)
    params = dict(variables['params']['closeness'])
    for unit in range(2):
        params[f'unit_{unit}_1'] = jax.tree.map(jnp.zeros_like, params[f'unit_{unit}_1'])
    without, found = (
        jax.jit(one.apply, static_argnums=2)({'params': {'closeness': params}}, frames, 1)
        for one in (model.clone(layers=0), model)
    )
    np.testing.assert_allclose(found, without, rtol=1e-6)


def test_bytes_are_scaled_beside_the_frames_as_well():
    model, params, _, inputs = small()
    frames = np.random.default_rng(0).integers(0, 256, (2, SEEN, *SHAPE), np.uint8)
    levels = {name: (255 * array).astype(np.uint8) for name, array in inputs.items()}
    with jax.enable_x64(True):  # bytes become float32, but no sum is one
        of_bytes = model.apply({'params': params}, frames, AHEAD, inputs=levels)
        scaled = {name: array / np.float32(255) for name, array in levels.items()}
        of_floats = model.apply({'params': params}, frames / np.float32(255), AHEAD, inputs=scaled)
        np.testing.assert_allclose(of_bytes, of_floats, atol=1e-6)


def test_what_is_missing_is_said():
    model, params, frames, inputs = small()
    with pytest.raises(InputError, match='trend: must be among the inputs'):
        model.clone(dtype='float32').apply(
            {'params': params}, frames, 1, inputs={'period': inputs['period']}
        )
    with pytest.raises(InputError, match='1 frames to see: must be at least 2, as closeness says'):
        shapes_of(model.clone(dtype='float32'), lengths=(1, 1))


def flows(folder: pathlib.Path, days, per_day=4):
    """Counts that tell day and slot: 10 * day + slot; the data set."""
    day, slot = np.divmod(np.arange(days[-1] * per_day), per_day)
    here = np.isin(day + 1, days)
    counts = (10 * (day + 1) + slot)[here].reshape(-1, 1, 1, 1) + np.zeros((1, 1, 2, 2))
    dates = [f'201501{d + 1:02d}{s + 1:02d}'.encode() for d, s in zip(day, slot, strict=True)]
    with h5py.File(folder / 'NYC_M1x2_T360_NewEnd.h5', 'w') as file:
        file['data'], file['date'] = counts, np.array(dates)[here]
    return {
        'path': str(folder / 'NYC_M1x2_T360_NewEnd.h5'), 'input_frames': 2, 'output_frames': 2,
        'test_days': 2, 'validation_days': 0, 'slots_per_day': None,
    }  # fmt: skip


def test_the_days_and_weeks_before_are_those_of_each_forecast_frame(tmp_path):
    days = [day for day in range(1, 21) if day not in (12, 18)]
    dataset = flows(tmp_path, days)
    source = with_inputs(open_taxibj(dataset, 'test'), {'period': 2, 'trend': 1})
    low, high = source.scale.value_range
    counts = {
        name: np.rint(values[..., 0, 0, 0] * (high - low) + low).astype(int).tolist()
        for name, values in source[0].items()
    }
    # Days 19 and 20 are for testing. The day before 19 is missing, and 17 is the one after it; so is
    # the week before, and 5 is two weeks before.
    assert counts == {
        'frames': [190, 191, 192, 193],
        'period': [[172, 172], [173, 173]],
        'trend': [[52], [53]],
    }
    assert len(source) == len(open_taxibj(dataset, 'test'))
    again = source.__reduce__()
    np.testing.assert_array_equal(again[0](*again[1])[2]['period'], source[2]['period'])

    train = with_inputs(open_taxibj(dataset, 'train'), {'trend': 1})
    first = np.rint(train[0]['frames'][:, 0, 0, 0] * (high - low) + low).astype(int).tolist()
    assert first == [72, 73, 80, 81]  # of the frames forecast in day 8 the week before is day 1
    assert train[0]['trend'].shape == (2, 1, 2, 2, 1)
    assert with_inputs(train, {}) is train


def test_data_that_cannot_give_what_is_needed_say_so(tmp_path):
    source = open_taxibj(flows(tmp_path, range(1, 12)) | {'output_frames': 5}, 'train')
    with pytest.raises(InputError, match=r'output_frames=5: must be at most 4'):
        with_inputs(source, {'period': 1})
    with pytest.raises(InputError, match='Flows have no weather'):
        with_inputs(source, {'weather': 1})
    with pytest.raises(InputError, match=r'period=1.*model\.period=0'):
        with_inputs([{'frames': np.zeros((4, 1, 2, 2))}], {'period': 1})
