import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_helpers import SHAPE, TinyForecaster, random_frames

from e3d.configuration import default_config
from e3d.training.optimizer import at_step, build_optimizer, create_state


def options(**changes):
    return default_config().optimizer.to_dict() | changes


def test_parameters_are_those_of_the_model_and_a_function_of_the_seed():
    model, optimizer = TinyForecaster(), optax.sgd(0.1)
    first, again, other = (create_state(model, optimizer, SHAPE, seed) for seed in (0, 0, 1))
    expected = model.init(jax.random.key(0), random_frames(2), 3)['params']
    assert jax.tree.map(jnp.shape, first.params) == jax.tree.map(jnp.shape, expected)
    assert int(first.step) == 0 and first.ema_params is None
    kernels = [state.params['first']['kernel'] for state in (first, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


def test_moving_average_begins_at_the_parameters():
    state = create_state(TinyForecaster(), optax.sgd(0.1), SHAPE, 0, keep_ema=True)
    np.testing.assert_array_equal(
        state.ema_params['first']['kernel'], state.params['first']['kernel']
    )
    assert state.forecast_variables['params'] is state.ema_params
    assert state.replace(ema_params=None).forecast_variables['params'] is state.params


@pytest.mark.parametrize('clip_norm', [None, 0.5])
def test_optimizer_is_adam(clip_norm):
    values = options(clip_norm=clip_norm, b1=0.8, b2=0.9, eps=1.0)
    optimizer, rate = build_optimizer(values, 10)
    state, mean, square = optimizer.init({'w': jnp.zeros(2)}), np.zeros(2), np.zeros(2)
    for count, gradient in enumerate((np.array([3.0, -4.0]), np.array([-0.1, -0.2])), 1):
        updates, state = optimizer.update({'w': jnp.asarray(gradient)}, state)
        clipped = gradient * min(1.0, (clip_norm or np.inf) / np.linalg.norm(gradient))
        mean, square = 0.8 * mean + 0.2 * clipped, 0.9 * square + 0.1 * clipped**2
        unbiased = mean / (1 - 0.8**count), square / (1 - 0.9**count)
        expected = -1e-3 * unbiased[0] / (np.sqrt(unbiased[1]) + 1.0)
        np.testing.assert_allclose(updates['w'], expected, rtol=1e-5)
    assert float(rate(0)) == pytest.approx(1e-3)


def test_optimizer_follows_the_schedule():
    optimizer, rate = build_optimizer(options(schedule='cosine', warmup_steps=2), 6)
    params, state = {'w': jnp.ones(1)}, optimizer.init({'w': jnp.ones(1)})
    for step in range(6):
        updates, state = optimizer.update({'w': jnp.ones(1)}, state, params)
        np.testing.assert_allclose(updates['w'], -rate(step), rtol=1e-4)


@pytest.mark.parametrize('kind', ['adam', 'rmsprop'])
@pytest.mark.parametrize('networks', [(), ('b',)])
def test_a_schedule_is_at_the_step_of_the_run_whatever_it_has_counted(kind, networks):
    values = options(kind=kind, schedule='cosine', warmup_steps=2, eps=1e-8, clip_norm=10.0)
    optimizer, rate = build_optimizer(values, 8, networks)
    params = {'a': jnp.ones(1), 'b': jnp.ones(1)}
    begun = optimizer.init(params)
    # A network that rests has seen no update when it goes on.
    rests = {'updated': {'b': jnp.array(False)}} if networks else {}
    state = at_step(begun, jnp.int32(4))
    updates, state = optimizer.update(params, state, params, **rests)
    np.testing.assert_allclose(updates['a'], -rate(4), rtol=1e-4)
    updates, state = optimizer.update(params, at_step(state, jnp.int32(6)), params)
    np.testing.assert_allclose(updates['b'], -rate(6), rtol=1e-4)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, begun)


def test_rmsprop_is_that_of_tensorflow():
    optimizer, _ = build_optimizer(options(kind='rmsprop', b2=0.9, eps=1e-3), 6)
    params = {'w': jnp.array([3.0, -4.0])}
    state, mean = optimizer.init(params), np.ones(2)
    for gradient in (np.array([2.0, 0.5]), np.array([-1.0, 3.0])):
        updates, state = optimizer.update({'w': jnp.asarray(gradient)}, state, params)
        mean = 0.9 * mean + 0.1 * gradient**2
        np.testing.assert_allclose(updates['w'], -1e-3 * gradient / np.sqrt(mean + 1e-3), rtol=1e-5)
