"""Several futures of a model that takes random numbers: its loss, its forecasts, what is refused."""

import functools

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from PIL import Image
from prediction_helpers import INPUT_FRAMES, OUTPUT_FRAMES, run_of
from training_helpers import TinyForecaster, random_frames, tiny_config

from e3d.configuration import check_config
from e3d.data.sources.layouts import Layout
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.evaluation.ensembles import ensemble_metrics
from e3d.model.beside import draw_noise
from e3d.model.dropping import Dropout, draw_for_share
from e3d.model.needs import Needs, Training, needs_of
from e3d.model.streaming import start
from e3d.prediction.forecast import forecast
from e3d.prediction.inspection import inspect_run
from e3d.prediction.predict import predict_file
from e3d.runs.state import variables_of
from e3d.tasks.layout_forecast import LayoutForecast, draw_futures
from e3d.tasks.prediction_loss import build_loss, draw_two
from e3d.training import parts
from e3d.weights.exporting import export_run

CHANNELS = 2


class Noisy(TinyForecaster):
    noise_channels: int = CHANNELS


MODEL = Noisy()


@pytest.fixture(scope='module')
def variables():
    found = MODEL.init(jax.random.key(0), np.zeros((1, 1, 4, 4, 1 + CHANNELS)), 1)
    return jax.tree.map(lambda leaf: 2.0 * leaf, found)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp('config'), **{'loss.crps_weight': 2.0})
    config.loss.update({'l2_weight': 0.0, 'l1_weight': 0.0})
    return config


def test_a_draw_belongs_to_a_number_and_not_to_a_batch():
    numbers = np.array([[3, 0], [8, 1], [3, 1]])
    draw = functools.partial(draw_noise, jax.random.key(0), steps=2, frame_shape=(5, 6, 1))
    noise = draw(numbers, channels=3)
    assert noise.shape == (3, 2, 5, 6, 3)
    np.testing.assert_array_equal(draw(numbers[1:2], channels=3)[0], noise[1])
    assert abs(np.corrcoef(np.reshape(noise, (3, -1))) - np.eye(3)).max() < 0.3


def test_the_loss_is_the_fair_crps_of_two_draws(variables, config):
    frames, late = random_frames(3, length=4), 10**6  # when no true frame enters any more
    value, (parts, _) = build_loss(config, MODEL)(variables, {'frames': frames}, late, None)
    noise = draw_two(config.seed, late, 3, frames.shape, needs_of(MODEL), None)

    def next_frame(frame, noise):
        entering = np.concatenate([frame, noise], axis=-1)[:, None]
        return np.asarray(MODEL.apply(variables, entering, 1))[:, 0, ..., :1]

    futures = []
    for own in np.split(np.asarray(noise), 2):
        predictions = [next_frame(frames[:, time], own[:, time]) for time in (0, 1)]
        predictions.append(next_frame(predictions[1], own[:, 2]))
        futures.append(np.stack(predictions, axis=1))
    error = np.abs(np.stack(futures) - frames[:, 1:]).mean()
    expected = error - np.abs(futures[0] - futures[1]).mean() / 2
    assert abs(error - expected) > 1e-3
    np.testing.assert_allclose(parts['crps'], expected, rtol=1e-5)
    np.testing.assert_allclose(value, 2 * expected, rtol=1e-5)


def test_every_update_draws_anew():
    draws = [
        half
        for seed, step in ((0, 5), (0, 6), (1, 5))
        for half in np.split(draw_two(seed, step, 2, (2, 4, 4, 4, 1), needs_of(MODEL), None), 2)
    ]
    assert draws[0].shape == (2, 4, 4, 4, CHANNELS)
    assert abs(np.corrcoef(np.reshape(draws, (12, -1))) - np.eye(12)).max() < 0.4


@pytest.mark.parametrize('devices', [2, 4])
def test_the_loss_does_not_depend_on_the_devices(variables, config, devices):
    frames = random_frames(4, length=4)
    loss = build_loss(config, MODEL)
    whole = jax.jit(lambda frames: loss(variables, {'frames': frames}, 5, None)[0])(frames)
    shares = frames.reshape(devices, -1, *frames.shape[1:])
    split = jax.jit(
        jax.vmap(
            lambda share: loss(variables, {'frames': share}, 5, 'devices')[0], axis_name='devices'
        )
    )(shares)
    np.testing.assert_allclose(split.mean(), whole, rtol=1e-5)


class Dropping(nn.Module):
    noise_channels: int = CHANNELS

    @property
    def needs(self):
        return Needs(training=True)

    @nn.compact
    def __call__(self, frames, output_frames, truth_mask=None, training=None):
        kept = Dropout(0.5)(frames, training)
        return TinyForecaster(name='network')(kept, output_frames, truth_mask)


@pytest.mark.parametrize('devices', [2, 4])
def test_what_is_dropped_of_two_draws_does_not_depend_on_the_devices(variables, config, devices):
    frames, loss = random_frames(4, length=4), build_loss(config, Dropping())
    own = {'params': {'network': variables['params']}}

    def value(frames):
        return loss(own, {'frames': frames}, 5, 'devices')[0]

    found = [
        jax.jit(jax.vmap(value, axis_name='devices'))(frames.reshape(count, -1, *frames.shape[1:]))
        for count in (1, devices)
    ]
    np.testing.assert_allclose(found[1].mean(), found[0].mean(), rtol=1e-5)


@pytest.mark.parametrize('draws', [1, 2])
def test_a_share_of_a_batch_drops_what_the_whole_batch_drops_there(draws):
    draw = functools.partial(draw_for_share, jax.random.key(3), 0.5)
    whole = draw((12, 5), Training(draws=draws)).reshape(draws, -1, 5)
    np.testing.assert_array_equal(
        whole.reshape(-1, 5), jax.random.bernoulli(jax.random.key(3), 0.5, (12, 5))
    )
    training = Training('devices', draws)
    shares = jax.vmap(lambda _: draw((4, 5), training), axis_name='devices')(np.arange(3))
    together = np.concatenate(shares.reshape(3, draws, -1, 5), axis=1)
    np.testing.assert_array_equal(together, whole)


def test_training_learns_how_unsure_the_future_is(config):
    random, deviation, layout = np.random.default_rng(0), 0.1, Layout((1, 1))
    model = Noisy(features=16)
    settings = config.copy_and_resolve_references()
    settings.dataset.update({'input_frames': 1, 'output_frames': 1})
    loss, optimizer = build_loss(settings, model), optax.adam(0.03)

    def draw(count):
        first = random.random((count, 1, 4, 4, 1))
        second = 0.5 * first + 0.2 + random.normal(0, deviation, first.shape)
        return np.concatenate([first, second], axis=1).astype(np.float32)

    @jax.jit
    def update(variables, state, frames, step):
        gradient = jax.grad(lambda v: loss(v, {'frames': frames}, step, None)[0])(variables)
        changes, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, changes), state

    variables = model.init(jax.random.key(0), np.zeros((1, 1, 4, 4, 1 + CHANNELS)), 1)
    state = optimizer.init(variables)
    for step in range(150):
        variables, state = update(variables, state, draw(32), step)
    frames, places = draw(64), np.arange(64)
    forecast = jax.jit(LayoutForecast(model, layout, (-np.inf, np.inf)))
    draws = [np.stack([places, 0 * places + member], -1) for member in range(8)]
    noises = [draw_futures(numbers, 2, (4, 4, 1), CHANNELS) for numbers in draws]
    futures = [forecast(variables, {'frames': frames[:, :1], 'noise': noise}) for noise in noises]
    metrics = ensemble_metrics(np.stack(futures), frames[:, 1:], places)
    # No single forecast comes below the mean absolute deviation of a normal distribution.
    assert metrics['crps_fair'].mean() < 0.85 * deviation * np.sqrt(2 / np.pi)
    reliability = np.sqrt(metrics['variance'].mean() / metrics['squared_error'].mean())
    assert 0.7 < reliability < 1.4


def test_the_best_is_chosen_by_the_fair_crps_whatever_the_test_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, 'build_model', lambda **fields: MODEL)
    overrides = {'model.noise_channels': CHANNELS, 'loss.crps_weight': 1.0, 'evaluation.members': 1}
    config = tiny_config(tmp_path, **overrides)
    prepared = parts.prepare(config, tmp_path / 'run')
    state = prepared.create()
    variables = variables_of(state.params, state.collections)
    report = prepared.evaluator.evaluate(variables, 0, 'validation')
    assert prepared.evaluator.error(report) == report['ensemble']['crps_fair']
    assert prepared.evaluator.evaluate(variables, 0, 'test')['ensemble']['members'] == 1


def test_members_are_futures_of_the_same_clip(variables):
    run = run_of(MODEL, 1 + CHANNELS)._replace(params=variables['params'], frame_shape=(8, 8, 1))
    frames = random_frames(1, length=INPUT_FRAMES)[0].repeat(2, 1).repeat(2, 2)
    single = forecast(run, frames)
    futures = forecast(run, frames, members=3)
    assert futures.shape == (3, OUTPUT_FRAMES, 8, 8, 1)
    np.testing.assert_allclose(futures[0], single, rtol=1e-6)
    assert np.abs(futures[0] - futures[1]).max() > 1e-3
    # They are those by which an evaluation measures the first sequence.
    measure = jax.jit(LayoutForecast(MODEL, Layout((INPUT_FRAMES, OUTPUT_FRAMES)), (0.0, 1.0)))
    steps, numbers = INPUT_FRAMES + OUTPUT_FRAMES, np.array([[0, 0], [0, 1], [0, 2]])
    noise = draw_futures(numbers, steps, (8, 8, 1), CHANNELS)
    clips = {'frames': np.stack([frames] * 3), 'noise': noise}
    np.testing.assert_allclose(futures, measure(variables, clips), rtol=1e-5, atol=1e-6)
    batch = forecast(run, frames[None], members=2)
    assert batch.shape == (2, 1, OUTPUT_FRAMES, 8, 8, 1)
    np.testing.assert_allclose(batch[:, 0], futures[:2], rtol=1e-6)
    two = np.stack([frames[::-1], frames])  # its place among others makes no difference
    np.testing.assert_allclose(forecast(run, two, members=2)[:, 1], futures[:2], atol=1e-5)
    with pytest.raises(InputError, match='members=0: must be'):
        forecast(run, frames, members=0)
    with pytest.raises(InputError, match='one future only'):
        forecast(run_of(TinyForecaster()), frames, members=2)
    assert forecast(run_of(TinyForecaster()), frames, members=1).shape[0] == 1


def test_members_in_tiles_are_those_of_the_whole(variables):
    """This model sees no neighbors, so tiles may change nothing; nor may they repeat their numbers."""
    run = run_of(MODEL, 1 + CHANNELS, dataset={'crop': (8, 8)})
    run = run._replace(params=variables['params'], frame_shape=(8, 8, 1))
    frames = np.full((INPUT_FRAMES, 14, 20, 1), 0.5, np.float32)
    tiles = forecast(run, frames, members=3)
    whole = forecast(run._replace(frame_shape=(14, 20, 1)), frames, members=3)
    np.testing.assert_allclose(tiles, whole, rtol=1e-5, atol=1e-6)
    deviations = tiles - tiles.mean(axis=0)
    assert np.abs(deviations[..., :8, :] - deviations[..., 12:, :]).max() > 1e-3


def test_pictures_of_all_members_have_one_black_and_one_white(variables, tmp_path):
    counts = 100 * random_frames(1, length=INPUT_FRAMES)[0].repeat(2, 1).repeat(2, 2)
    np.save(tmp_path / 'in.npy', counts)
    run = run_of(MODEL, 1 + CHANNELS, dataset={'name': 'taxibj', 'slots_per_day': None})
    run = run._replace(params=variables['params'], frame_shape=(8, 8, 1))
    run = run._replace(scale=Scale((0.0, 10.0), (-np.inf, np.inf)))
    futures = forecast(run, counts, members=2)
    # Each alone would have a black and a white of its own.
    assert min(futures[0].max(), futures[1].max()) > 10
    assert max(futures[0].min(), futures[1].min()) < 0
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'next', members=2)
    low, high = futures.min(), futures.max()
    assert f'The darkest color is {low:g}' in text and f'the brightest {high:g}' in text
    for number, future in enumerate(futures, 1):
        frame = np.asarray(Image.open(tmp_path / f'next_{number}' / 'frame_00001.png'))
        expected = 255 * (future[0, ..., 0] - low) / (high - low)
        np.testing.assert_allclose(frame, expected, atol=1)


def test_what_has_one_future_only_says_so(variables, tmp_path):
    run = run_of(MODEL, 1 + CHANNELS)
    run.config.model.name = 'convlstm'
    with pytest.raises(InputError, match='for runs with one future'):
        export_run(run, tmp_path / 'next.stablehlo', 'stablehlo')
    with pytest.raises(InputError, match='sees random numbers beside the frames'):
        inspect_run(run, np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match='noise_channels=2: start and observe'):
        start(MODEL, variables['params'], (8, 8, 1))


def test_noise_and_its_loss_go_together(tmp_path):
    with pytest.raises(InputError, match='both must be above 0, or neither'):
        check_config(tiny_config(tmp_path, **{'loss.crps_weight': 1.0}))
    with pytest.raises(InputError, match='both must be above 0, or neither'):
        check_config(tiny_config(tmp_path, **{'model.noise_channels': 1}))


def test_a_model_without_noise_needs_none():
    assert needs_of(TinyForecaster()) == Needs() and needs_of(MODEL).noise == CHANNELS
