"""What a model needs beside a loss: collections, random numbers, inputs, terms, networks."""

import functools
import itertools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_helpers import INPUT, LENGTH, SHAPE, TinyForecaster, random_frames, tiny_config

from e3d.configuration import default_config
from e3d.data.sources.layouts import Layout
from e3d.model.needs import Needs, Training
from e3d.parallel import devices
from e3d.runs import trained_run
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.stored_run import StoredRun
from e3d.tasks.layout_forecast import LayoutForecast
from e3d.tasks.prediction_loss import build_loss
from e3d.tasks.schedules import DROPPING, random_key
from e3d.training.optimizer import build_optimizer, create_state, split_networks
from e3d.training.step import train_step

AHEAD = LENGTH - INPUT
MEAN_FRAME = 0.9  # share of the old value in the running mean


class Needy(nn.Module):
    """Forecasts weighted means of what it sees and is given, less the mean of the batch."""

    networks: tuple[str, ...] = ()

    @property
    def needs(self) -> Needs:
        return Needs(True, {'before': 1}, training=True, losses=True, networks=self.networks)

    def setup(self):
        self.main, self.critic = nn.Dense(1, name='main_layer'), nn.Dense(1, name='critic')
        self.mean = self.variable('statistics', 'mean', lambda: jnp.zeros(()))
        self.updated = (
            self.variable('networks', 'update_critic', lambda: jnp.ones((), bool))
            if self.networks
            else None
        )

    def __call__(self, frames, output_frames, *, inputs, training=None):
        mean = self.mean.value
        if training is not None:
            mean = frames.mean()
            if training.axis_name is not None:
                mean = jax.lax.pmean(mean, training.axis_name)
            self.mean.value = MEAN_FRAME * self.mean.value + (1 - MEAN_FRAME) * mean
            frames = frames + jax.random.uniform(self.make_rng('dropout'))
        seen = frames.mean(axis=1, keepdims=True) - mean
        before = inputs['before'][:, :, 0]
        values = self.main(jnp.stack([jnp.broadcast_to(seen, before.shape), before], axis=-1))
        if self.is_initializing():
            self.critic(values)
        return values[..., 0]

    def extra_losses(self, predictions, frames, training):
        assert frames.shape[1] == LENGTH and predictions.shape[1] == AHEAD
        scores = self.critic(jax.lax.stop_gradient(predictions)[..., None])
        if self.updated is not None:
            self.updated.value = ~self.updated.value
        return {'of_critic': 0.5 * jnp.square(scores - 1.0).mean()}


def make_loss(model):
    config = default_config()
    config.dataset.update({'input_frames': INPUT, 'output_frames': AHEAD})
    return build_loss(config, model)


def make_batch(size=8, seed=0):
    before = np.random.default_rng(seed + 1).random((size, AHEAD, 1, *SHAPE), np.float32)
    return {'frames': random_frames(size, seed), 'before': before}


def make_step(model, axis_name=None, clip_norm=None):
    options = default_config().optimizer.to_dict() | {'clip_norm': clip_norm}
    optimizer, rate = build_optimizer(options, 10, model.needs.networks)
    step = functools.partial(
        train_step,
        loss=make_loss(model),
        optimizer=optimizer,
        learning_rate=rate,
        ema_decay=0.5,
        axis_name=axis_name,
    )
    lengths = INPUT, AHEAD
    return step, jax.jit(lambda: create_state(model, optimizer, SHAPE, 0, True, lengths))()


def run_on(num_devices, model, steps=3):
    mesh = devices.local_mesh(num_devices)
    step, state = make_step(model, devices.AXIS)
    step, state = devices.parallel_step(step, mesh), devices.place_state(state, mesh)
    for index in range(steps):
        state, metrics = step(state, devices.place_batch(make_batch(seed=index), mesh))
    return state, jax.device_get(metrics)


def test_collections_do_not_depend_on_the_number_of_devices():
    (one, metrics_1), (two, metrics_2) = run_on(1, Needy()), run_on(2, Needy())
    chex.assert_trees_all_close(metrics_1, metrics_2, rtol=1e-5)
    chex.assert_trees_all_close(jax.device_get(one), jax.device_get(two), rtol=1e-4, atol=1e-6)
    for leaf in jax.tree.leaves(two):
        first, second = (np.asarray(shard.data) for shard in leaf.addressable_shards)
        np.testing.assert_array_equal(first, second)
    expected = average = 0.0
    for index in range(3):
        mean = random_frames(8, index)[:, :INPUT].mean()
        expected = MEAN_FRAME * expected + (1 - MEAN_FRAME) * mean
        decay = min(0.5, (1 + index) / (10 + index))
        average = decay * average + (1 - decay) * expected
    assert float(one.collections['statistics']['mean']) == pytest.approx(expected, rel=1e-5)
    assert float(one.ema_collections['statistics']['mean']) == pytest.approx(average, rel=1e-5)


def test_the_loss_is_that_of_the_future_and_the_terms_of_the_model():
    model, batch = Needy(), make_batch()
    step, state = make_step(model)
    _, metrics = jax.jit(step)(state, batch)
    key = jax.random.fold_in(random_key(default_config().seed, DROPPING), 0)
    predictions, _ = model.apply(
        {'params': state.params, **state.collections},
        batch['frames'][:, :INPUT],
        AHEAD,
        inputs={'before': batch['before']},
        training=Training(),
        rngs={'dropout': key},
        mutable=['statistics'],
    )
    errors = predictions - batch['frames'][:, INPUT:]
    expected = np.square(errors).mean() + np.abs(errors).mean() + metrics['of_critic']
    assert float(metrics['loss']) == pytest.approx(float(expected), rel=1e-5)
    assert 'truth_probability' not in metrics


def test_a_bad_update_leaves_collections_alone():
    step, state = make_step(Needy())
    batch = make_batch()
    batch['frames'][0, 0] = np.nan
    new, _ = step(state, batch)
    chex.assert_trees_all_equal(new.replace(step=state.step), state)


@pytest.mark.parametrize('clip_norm', [None, 1e-3])
def test_each_network_has_its_own_optimizer_and_rests_when_it_is_told(clip_norm):
    step, state = make_step(Needy(('critic',)), clip_norm=clip_norm)
    states = [state]
    for seed in range(3):
        states.append(step(states[-1], make_batch(seed=seed))[0])
    assert [bool(s.collections['networks']['update_critic']) for s in states] == [1, 0, 1, 0]

    def changed(before, after, name):
        part = lambda s: jax.tree.leaves((s.params[name], s.opt_state[name]))  # noqa: E731
        return any(np.any(a != b) for a, b in zip(part(before), part(after), strict=True))

    pairs = list(itertools.pairwise(states))
    assert [changed(*pair, 'critic') for pair in pairs] == [True, False, True]
    assert all(np.any(a.params['main_layer']['kernel'] != b.params['main_layer']['kernel'])
               for a, b in pairs)  # fmt: skip


def test_networks_are_as_if_each_were_alone():
    params = {'a': jnp.array([1.0, 2.0]), 'b': jnp.array([3.0]), 'c': jnp.array([4.0])}
    gradients = jax.tree.map(lambda leaf: 10.0 * leaf, params)
    alone = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1, eps=1.0))
    together = split_networks(alone, ('b',))
    updates, _ = together.update(gradients, together.init(params), params)
    for names in (('b',), ('a', 'c')):
        part = {name: params[name] for name in names}
        expected, _ = alone.update({n: gradients[n] for n in names}, alone.init(part), part)
        chex.assert_trees_all_close({name: updates[name] for name in names}, expected)


def test_a_stored_state_is_whole_and_forecasts_with_the_average(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, **{'dataset.output_frames': AHEAD})
    monkeypatch.setattr(trained_run, 'build_model', lambda **model: Needy(('critic',)))
    step, state = make_step(Needy(('critic',)))
    state, _ = step(state, make_batch())
    mesh = devices.local_mesh()
    placed = devices.place_state(state, mesh)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(placed, StoredRun(config, SHAPE))
        checkpoints.wait()
        restored = checkpoints.restore(devices.abstract_state(placed, mesh), 1)
    chex.assert_trees_all_equal(jax.device_get(restored), jax.device_get(placed))
    run = trained_run.load_run(tmp_path)
    chex.assert_trees_all_equal(jax.device_get(run.variables), state.forecast_variables)
    batch = make_batch(2)
    seen = batch | {'frames': batch['frames'][:, :INPUT]}
    found = LayoutForecast(run.model, Layout((INPUT, AHEAD)), (-9.0, 9.0))(run.variables, seen)
    expected = run.model.apply(
        run.variables, seen['frames'], AHEAD, inputs={'before': batch['before']}
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_state_without_collections_is_stored_as_ever():
    state = jax.eval_shape(lambda: create_state(TinyForecaster(), optax.adam(0.1), SHAPE, 0))
    assert list(state.to_stored()) == ['step', 'params', 'ema_params', 'opt_state']
