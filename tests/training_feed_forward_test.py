"""Models that forecast what follows their input: training, storage, evaluation, prediction."""

import functools
import itertools
import pathlib
import shutil

import chex
import h5py
import jax
import numpy as np
import pytest
from killed_runs_test import read_checkpoint
from training_helpers import tiny_config

from e3d.configuration import check_config, default_config, model_section
from e3d.data.sources.layouts import layout_of
from e3d.errors import InputError
from e3d.model import build_model
from e3d.model.needs import initialize
from e3d.prediction.forecast import forecast
from e3d.runs.trained_run import load_run
from e3d.tasks.prediction_loss import build_loss
from e3d.training.loop import evaluate, train
from e3d.training.optimizer import build_optimizer, create_state
from e3d.training.step import train_step

SMALL = {
    'simvp': {'layers': 2, 'features': 8, 'encoder_layers': 2, 'encoder_features': 4},
    'st_resnet': {'layers': 1, 'features': 8},
    'mcnet': {'features': 1},
}


def config_of(tmp_path, name, fields=(), **overrides):
    config = tiny_config(tmp_path)
    with config.unlocked():
        config.model = model_section(name)
    config.model.update(SMALL[name] | dict(fields))
    config.update_from_flattened_dict(overrides)
    return config


@pytest.mark.usefixtures('figures_not_rendered')
def test_simvp_resumes_bitwise_evaluates_and_predicts(tmp_path, capsys):
    """With batch statistics, their moving average, and blocks left out at random."""
    keep = {'train.evaluate_every': 4, 'checkpoint.keep': 3}
    config = config_of(tmp_path, 'simvp', {'drop_path': 0.5}, **keep)
    workdir = tmp_path / 'run'
    report, state = train(config, workdir), read_checkpoint(workdir, 4)
    for step in (3, 4):
        shutil.rmtree(workdir / 'checkpoints' / str(step))
    assert train(config, workdir) == report
    assert 'from step 2' in capsys.readouterr().err
    chex.assert_trees_all_equal(read_checkpoint(workdir, 4), state)
    statistics = [state[name] for name in ('ema_collections', 'collections')]
    assert any(np.any(leaf) for leaf in jax.tree.leaves(statistics[1]))
    for average, newest in zip(*map(jax.tree.leaves, statistics), strict=True):
        assert np.any(average != newest)
    assert evaluate(None, workdir)['mse'] == report['mse']

    frames = np.random.default_rng(0).random((1, 3, 8, 8, 1), np.float32)
    run = load_run(workdir)
    far = forecast(run, frames, 5)
    assert far.shape == (1, 5, 8, 8, 1)
    # It sees the last two; of a shorter clip the first one is repeated.
    np.testing.assert_allclose(far[:, :2], forecast(run, frames[:, 1:], 2), atol=1e-5)
    one = forecast(run, frames[:, :1], 2)
    twice = forecast(run, frames[:, [0, 0]], 2)
    np.testing.assert_allclose(one, twice, atol=1e-6)


@pytest.mark.usefixtures('figures_not_rendered')
def test_st_resnet_trains_on_the_calendar_of_flows_and_says_that_clips_have_none(tmp_path):
    day, slot = np.divmod(np.arange(80), 4)
    counts = np.random.default_rng(0).poisson(20 + 5 * slot, (2, 8, 8, 80)).transpose()
    file = pathlib.Path(tmp_path) / 'NYC_M8x8_T360_NewEnd.h5'
    with h5py.File(file, 'w') as target:
        target['data'] = counts.transpose(0, 3, 1, 2)
        dates = zip(day + 1, slot + 1, strict=True)
        target['date'] = [f'201501{d:02d}{s:02d}'.encode() for d, s in dates]
    config = config_of(tmp_path, 'st_resnet', {'period': 1, 'trend': 1})
    config.dataset = default_config('taxibj').dataset
    config.dataset.update({'path': str(file), 'test_days': 2, 'validation_days': 2})
    config.dataset.update({'input_frames': 3, 'output_frames': 2})
    report = train(config, tmp_path / 'run')
    assert np.isfinite(report['rmse']) and report['num_sequences'] > 0
    with pytest.raises(InputError, match=r'st_resnet, needs period and trend beside the frames'):
        forecast(tmp_path / 'run', counts[:3])


def test_what_needs_a_model_that_is_fed_frame_by_frame_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r"kind='reverse': must be 'scheduled' with .*simvp"):
        check_config(config_of(tmp_path, 'simvp', **{'sampling.kind': 'reverse'}))


@pytest.mark.usefixtures('figures_not_rendered')
def test_in_the_copy_test_parameters_are_for_the_frames_that_are_observed(tmp_path):
    """SimVP, whose number of parameters depends on them, trains and is read again."""
    fields = {'translator': 'convmixer'}
    overrides = {'dataset.copy_test': (1, 2), 'train.steps': 1}
    config = config_of(tmp_path, 'simvp', fields, **overrides)
    report = train(config, tmp_path / 'run')
    assert 'copy test (1, 2)' in report['protocol'] and np.isfinite(report['mse'])
    run = load_run(tmp_path / 'run')
    assert run.step == 1
    with pytest.raises(
        InputError, match=r'for 7 and 2 alone. They see .*: train with dataset.copy'
    ):
        forecast(run, np.zeros((2, 8, 8), np.float32))


def loss_of_mcnet(tmp_path, frames, **overrides):
    """The function from nothing to the loss of an MCnet and its parts."""
    config = config_of(tmp_path, 'mcnet', **overrides)
    model = build_model(**config.model)
    shape = (*frames.shape[2:4], frames.shape[4] + config.model.noise_channels)
    lengths = layout_of(config.dataset).lengths

    def loss():
        variables = initialize(model, jax.random.key(0), shape, lengths)
        return build_loss(config, model)(variables, {'frames': frames}, 0, None)

    return loss


def test_in_the_copy_test_an_adversary_judges_what_is_seen_and_forecast(tmp_path):
    """The two frames that are forecast in between count nowhere."""
    frames = np.random.default_rng(0).random((1, 7, 8, 8, 1), np.float32)
    copy = {'dataset.input_frames': 1, 'dataset.output_frames': 1, 'dataset.copy_test': (1, 2)}
    value, (parts, _) = jax.jit(loss_of_mcnet(tmp_path, frames, **copy))()
    seen = np.delete(frames, [3, 4], axis=1)
    plain = {'dataset.input_frames': 4, 'dataset.output_frames': 1}
    expected, (parts_of_plain, _) = jax.jit(loss_of_mcnet(tmp_path, seen, **plain))()
    assert {'adversarial', 'discriminator'} <= parts.keys()
    np.testing.assert_allclose(parts['discriminator'], parts_of_plain['discriminator'], rtol=1e-5)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_an_adversary_judges_frames_without_random_numbers(tmp_path):
    frames = np.zeros((1, 4, 8, 8, 1), np.float32)
    noise = {'model.noise_channels': 2, 'loss.crps_weight': 1.0}
    _, (parts, _) = jax.eval_shape(loss_of_mcnet(tmp_path, frames, **noise))
    assert {'adversarial', 'discriminator', 'crps'} <= parts.keys()


@pytest.mark.parametrize('name', ['simvp', 'st_resnet'])
def test_each_learns_more_than_the_mean_image(tmp_path, name):
    """A bright square that moves one pixel a frame, from eight places."""
    clips = np.zeros((8, 4, 8, 8, 1), np.float32)
    for clip, frame in itertools.product(range(8), range(4)):
        clips[clip, frame, clip // 2 : clip // 2 + 3, clip % 2 + frame : clip % 2 + frame + 3] = 1.0
    config = config_of(tmp_path, name, **{'loss.l1_weight': 0.0})
    model = build_model(**config.model)
    optimizer, rate = build_optimizer(config.optimizer.to_dict() | {'learning_rate': 1e-2}, 60)
    state = jax.jit(lambda: create_state(model, optimizer, (8, 8, 1), 0, lengths=(2, 2)))()
    step = functools.partial(
        train_step, loss=build_loss(config, model), optimizer=optimizer, learning_rate=rate
    )
    step = jax.jit(step)
    for _ in range(60):
        state, metrics = step(state, {'frames': clips})
    of_mean = np.square(clips[:, 2:] - clips.mean(axis=(0, 1))).mean()
    assert float(metrics['loss']) < 0.5 * of_mean
