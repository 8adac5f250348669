import dataclasses
import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_helpers import INPUT, LENGTH, PLAIN, SHAPE, TinyForecaster, random_frames

from e3d.configuration import default_config
from e3d.parallel import devices
from e3d.tasks.losses import Objective, Outcome, forecast_loss
from e3d.tasks.prediction_loss import build_loss
from e3d.tasks.schedules import Sampling, draw_truth_mask
from e3d.training.optimizer import build_optimizer, create_state, state_from
from e3d.training.step import module_norms, train_step
from e3d.training.update import build_update

MODEL = TinyForecaster()
HALF = Sampling(0.5, 0.0)


class Penalised(nn.Module):
    """A model that adds 0.25 to the loss."""

    @nn.compact
    def __call__(self, *arguments):
        self.sow('losses', 'term', jnp.float32(0.25))
        return TinyForecaster()(*arguments)


def make_loss(sampling, model=MODEL):
    config = default_config()
    config.seed = 3
    config.dataset.update({'input_frames': INPUT, 'output_frames': LENGTH - INPUT})
    config.sampling.update(dataclasses.asdict(sampling))
    return build_loss(config, model)


def compute(loss, variables, batch):
    return jax.jit(loss, static_argnums=(2, 3))(variables, batch, 0, None)


def make_step(**changes):
    optimizer, rate = build_optimizer(default_config().optimizer.to_dict() | {'clip_norm': 0.1}, 10)
    settings = {
        'loss': make_loss(HALF),
        'optimizer': optimizer,
        'learning_rate': rate,
        'ema_decay': 0.5,
    }
    settings |= changes
    create = jax.jit(lambda: create_state(MODEL, settings['optimizer'], SHAPE, 0, keep_ema=True))
    return functools.partial(train_step, **settings), create()


@functools.cache
def run_on(num_devices, steps=2):
    """The state and the metrics of so many steps; only read them."""
    mesh = devices.local_mesh(num_devices)
    step, state = make_step(axis_name=devices.AXIS)
    step, state = devices.parallel_step(step, mesh), devices.place_state(state, mesh)
    history = []
    for index in range(steps):
        batch = devices.place_batch({'frames': random_frames(8, seed=index)}, mesh)
        state, metrics = step(state, batch)
        history.append(jax.device_get(metrics))
    return state, history


def test_what_a_model_adds_is_part_of_the_loss():
    batch = {'frames': random_frames(4)}
    variables = Penalised().init(jax.random.key(0), batch['frames'], 1)
    (name,) = variables['params']
    params = {'params': variables['params']}
    value, (parts, collections) = compute(make_loss(HALF, Penalised()), params, batch)
    assert not collections
    alone, _ = compute(make_loss(HALF), {'params': variables['params'][name]}, batch)
    np.testing.assert_allclose(value, alone + 0.25, rtol=1e-6)
    assert parts['term'] == 0.25


def test_reverse_sampling_feeds_forecasts_among_the_observed_frames():
    frames = random_frames(64)
    params = MODEL.init(jax.random.key(0), frames, 1)['params']
    losses = [
        compute(make_loss(sampling), {'params': params}, {'frames': frames})[0]
        for sampling in (Sampling(0.5, 0.0), Sampling(kind='reverse', last_step=30_000))
    ]
    mask = draw_truth_mask(Sampling(kind='reverse'), 3, 0, 64, PLAIN)
    assert mask.shape == (64, LENGTH - 2)
    predictions = MODEL.apply({'params': params}, frames[:, :-1], LENGTH - 1, mask)
    expected, _ = forecast_loss(Objective(), predictions, frames, PLAIN, 0)
    np.testing.assert_allclose(losses[1], expected, rtol=1e-6)
    assert abs(losses[0] - losses[1]) > 1e-4


def test_update_is_the_gradient_of_the_loss_under_the_mask():
    rate = 0.1
    step, state = make_step(optimizer=optax.sgd(rate), learning_rate=lambda step: rate)
    frames = random_frames(4)
    mask = draw_truth_mask(HALF, 3, 0, 4, PLAIN)
    assert mask.any() and not mask.all()

    def loss_of(params):
        predictions = MODEL.apply({'params': params}, frames[:, :-1], LENGTH - INPUT, mask)
        return forecast_loss(Objective(), predictions, frames, PLAIN, 0)[0]

    loss, gradients = jax.jit(jax.value_and_grad(loss_of))(state.params)
    new, metrics = jax.jit(step)(state, {'frames': frames})
    np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-6)
    np.testing.assert_allclose(metrics['gradient_norm'], optax.tree.norm(gradients), rtol=1e-5)
    by_module = {name: optax.tree.norm(part) for name, part in gradients.items()}
    chex.assert_trees_all_close(metrics['module_norms'], by_module, rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - rate * g, state.params, gradients)
    chex.assert_trees_all_close(new.params, expected, rtol=1e-5, atol=1e-7)
    assert int(new.step) == 1
    assert float(metrics['truth_probability']) == 0.5
    assert float(metrics['learning_rate']) == pytest.approx(rate)


@pytest.mark.parametrize('num_devices', [2, 4])
def test_any_number_of_devices_gives_the_same_numbers(num_devices):
    (state_1, history_1), (state_n, history_n) = run_on(1), run_on(num_devices)
    chex.assert_trees_all_close(history_1, history_n, rtol=1e-5)
    chex.assert_trees_all_close(
        jax.device_get(state_1), jax.device_get(state_n), rtol=1e-4, atol=1e-6
    )


def test_all_devices_hold_the_same_state():
    state, _ = run_on(4)
    for leaf in jax.tree.leaves(state):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == 4
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0])


@pytest.mark.parametrize('num_devices', [1, 4])
def test_compiles_once(num_devices):
    mesh = devices.local_mesh(num_devices)
    step, state = make_step(axis_name=devices.AXIS)
    traces = []

    def counted(state, batch):
        traces.append(batch)
        return step(state, batch)

    compiled = devices.parallel_step(counted, mesh)
    state = devices.place_state(state, mesh)
    for index in range(3):
        batch = devices.place_batch({'frames': random_frames(8, seed=index)}, mesh)
        state, _ = compiled(state, batch)
    # A state or a batch that lies elsewhere than the compiled code expects is traced again.
    assert len(traces) == 1


def test_a_bad_update_is_not_applied_and_shows():
    step, state = make_step()
    frames = random_frames(4)
    frames[0, 0, 0, 0] = np.nan
    new, metrics = step(state, {'frames': frames})
    assert not np.isfinite(metrics['loss'])
    assert int(new.step) == 1
    chex.assert_trees_all_equal(new.replace(step=state.step), state)


def test_a_finite_loss_does_not_hide_a_gradient_that_is_not():
    def loss(variables, batch, step, axis_name):
        kernel = variables['params']['first']['kernel']
        return jnp.sqrt(jnp.abs(0.0 * kernel)).sum(), Outcome({})

    step, state = make_step(loss=loss)
    new, metrics = step(state, {'frames': random_frames(4)})
    assert metrics['loss'] == 0.0 and not np.isfinite(metrics['gradient_norm'])
    assert int(new.step) == 1
    chex.assert_trees_all_equal(new.replace(step=state.step), state)


@pytest.mark.parametrize('bad_updates', [0, 2])
def test_the_rate_that_is_reported_is_applied_after_an_import_and_skipped_updates(bad_updates):
    options = default_config().optimizer.to_dict() | {'schedule': 'cosine', 'warmup_steps': 3}
    optimizer, rate = build_optimizer(options, 8)
    step, state = make_step(optimizer=optimizer, learning_rate=rate)
    state = state_from(state.params, None, optimizer, keep_ema=True, step=4)
    frames = random_frames(4)
    for _ in range(bad_updates):
        state, _ = step(state, {'frames': frames * np.nan})
    new, metrics = jax.jit(step)(state, {'frames': frames})
    # The first update of Adam has the size of the rate, whatever the gradient.
    changes = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), new.params, state.params)
    expected = pytest.approx(float(rate(4 + bad_updates)), rel=1e-3)
    assert float(metrics['learning_rate']) == expected
    assert float(max(jax.tree.leaves(changes))) == expected


def test_a_config_says_what_an_update_does():
    config = default_config()
    config.dataset.update({'input_frames': INPUT, 'output_frames': LENGTH - INPUT})
    config.train.steps, config.optimizer.schedule = 8, 'cosine'
    update = build_update(config, MODEL, SHAPE)
    state = jax.jit(update.create)().replace(step=jnp.asarray(4, jnp.int32))
    _, metrics = jax.jit(update.step)(state, {'frames': random_frames(4)})
    assert float(metrics['learning_rate']) == pytest.approx(config.optimizer.learning_rate / 2)
    config.seed = 5
    other = jax.jit(build_update(config, MODEL, SHAPE).create)()
    assert (other.params['first']['kernel'] != state.params['first']['kernel']).any()


def test_norms_are_those_of_modules():
    deep = {'stack': {'cells_0': {'gates': {'kernel': 3.0, 'bias': 4.0}, 'projection': 12.0}}}
    norms = module_norms(deep | {'decoder_bias': -2.0, 'head': {'kernel': 6.0, 'bias': 8.0}})
    assert norms == {'stack/cells_0': 13.0, 'decoder_bias': 2.0, 'head': 10.0}


def test_moving_average_begins_low_and_ends_at_its_decay():
    step, state = make_step(ema_decay=0.5)
    for index, decay in [(0, 0.1), (100, 0.5)]:
        before = state.replace(step=jnp.asarray(index, jnp.int32))
        new, _ = step(before, {'frames': random_frames(4)})
        expected = jax.tree.map(
            lambda old, now, decay=decay: decay * old + (1 - decay) * now,
            before.ema_params,
            new.params,
        )
        chex.assert_trees_all_close(new.ema_params, expected, rtol=1e-5, atol=1e-7)


def test_sampling_decides_what_the_model_sees():
    frames = random_frames(4)
    losses = []
    for probability in (0.0, 1.0):
        step, state = make_step(loss=make_loss(Sampling(probability, 0.0)))
        _, metrics = step(state, {'frames': frames})
        losses.append(float(metrics['loss']))
    assert losses[0] != losses[1]
