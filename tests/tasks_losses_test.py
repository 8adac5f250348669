import functools

import jax
import numpy as np
import pytest
from training_helpers import INPUT, PLAIN, TinyForecaster, random_frames, tiny_config

from e3d.configuration import check_config
from e3d.data.sources.layouts import Layout
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.tasks.losses import Objective, forecast_loss
from e3d.tasks.prediction_loss import build_loss


@pytest.mark.parametrize(('counted', 'first'), [('all', 1), ('future', INPUT)])
def test_equals_numpy(counted, first):
    frames, predictions = random_frames(2), random_frames(2, seed=1)[:, 1:]
    objective = Objective(l2_weight=2.0, l1_weight=3.0, frames=counted)
    loss, parts = forecast_loss(objective, predictions, frames, PLAIN, 0)
    errors = predictions[:, first - 1 :] - frames[:, first:]
    np.testing.assert_allclose(parts['l2'], np.mean(errors**2), rtol=1e-6)
    np.testing.assert_allclose(parts['l1'], np.mean(np.abs(errors)), rtol=1e-6)
    np.testing.assert_allclose(
        loss, 2 * np.mean(errors**2) + 3 * np.mean(np.abs(errors)), rtol=1e-6
    )


def test_right_predictions_have_no_loss():
    frames = random_frames(2)
    assert forecast_loss(Objective(), frames[:, 1:], frames, PLAIN, 0)[0] == 0.0


def test_future_ignores_predictions_of_the_input():
    frames, predictions = random_frames(2), random_frames(2, seed=1)[:, 1:]
    changed = predictions.copy()
    changed[:, : INPUT - 1] += 1.0
    future = Objective(frames='future')
    before = forecast_loss(future, predictions, frames, PLAIN, 0)[0]
    assert forecast_loss(future, changed, frames, PLAIN, 0)[0] == before
    assert forecast_loss(Objective(), changed, frames, PLAIN, 0)[0] > before


def test_future_counts_every_stretch_that_is_forecast():
    frames, predictions = random_frames(2), random_frames(2, seed=1)[:, 1:]
    loss, _ = forecast_loss(
        Objective(l1_weight=0.0, frames='future'), predictions, frames, Layout((1, 1, 2, 1)), 0
    )
    errors = (predictions - frames[:, 1:])[:, [0, 3]]  # of the frames 1 and 4
    np.testing.assert_allclose(loss, np.mean(errors**2), rtol=1e-6)


@pytest.mark.parametrize(('step', 'share'), [(0, 0.0), (25, 0.25), (100, 1.0), (1000, 1.0)])
def test_weight_of_l1_grows(step, share):
    frames, predictions = random_frames(2), random_frames(2, seed=1)[:, 1:]
    objective = Objective(l2_weight=0.0, l1_weight=2.0, l1_warmup_steps=100)
    loss, parts = forecast_loss(objective, predictions, frames, PLAIN, step)
    np.testing.assert_allclose(loss, 2.0 * share * parts['l1'], rtol=1e-6)


def test_rejects_predictions_of_another_length():
    frames = random_frames(2)
    with pytest.raises(AssertionError):
        forecast_loss(Objective(), frames, frames, PLAIN, 0)


def test_cross_entropy_is_that_of_probabilities_cut_to_what_float32_can_tell():
    frames, predictions = random_frames(2), random_frames(2, seed=1)[:, 1:]
    predictions[0, 0, 0, 0], frames[0, 1, 0, 0] = -0.5, 1.0
    objective = Objective(l2_weight=0.0, l1_weight=0.0, cross_entropy_weight=2.0)
    loss, parts = forecast_loss(objective, predictions, frames, PLAIN, 0)
    p, truth = np.clip(predictions.astype(float), 1.19e-7, 1 - 1.19e-7), frames[:, 1:].astype(float)
    expected = -np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p))
    np.testing.assert_allclose(parts['cross_entropy'], expected, rtol=1e-5)
    np.testing.assert_allclose(loss, 2 * expected, rtol=1e-5)
    assert 'cross_entropy' not in forecast_loss(Objective(), predictions, frames, PLAIN, 0)[1]


def test_what_has_no_truth_counts_nowhere():
    frames, predictions = random_frames(2), random_frames(2, seed=1)[:, 1:]
    valid = np.random.default_rng(2).random(frames.shape) < 0.5
    objective = Objective(l1_weight=0.5, cross_entropy_weight=0.1)

    def loss(frames, predictions):
        return forecast_loss(objective, predictions, frames, PLAIN, 0, valid)[0]

    differentiate = jax.jit(jax.value_and_grad(loss, 1))
    value, plain = differentiate(frames, predictions)
    hidden = np.where(valid, frames, np.nan), np.where(valid[:, 1:], predictions, 1e30)
    same, gradient = differentiate(*hidden)
    assert same == value
    np.testing.assert_array_equal(gradient, plain)
    np.testing.assert_array_equal(plain[~valid[:, 1:]], 0)
    errors = (predictions - frames[:, 1:])[valid[:, 1:]]
    _, parts = forecast_loss(objective, predictions, frames, PLAIN, 0, valid)
    np.testing.assert_allclose(parts['l2'], np.mean(errors**2), rtol=1e-6)
    np.testing.assert_allclose(parts['l1'], np.mean(np.abs(errors)), rtol=1e-6)


def test_gaps_count_in_no_part_of_a_loss():
    frames, valid = (np.concatenate([x, x]) for x in (random_frames(2), random_frames(2, 3) < 0.6))
    predictions = random_frames(4, seed=1)[:, 1:]
    objective = Objective(
        cross_entropy_weight=1.0, crps_weight=1.0, frames='future', balance_weights=(3.0,)
    )
    levels = np.array([0.5])
    _, parts = forecast_loss(objective, predictions, frames, PLAIN, 0, valid, levels=levels)
    known = valid[:, INPUT:]
    p, truth = predictions[:, INPUT - 1 :].astype(float), frames[:, INPUT:].astype(float)
    errors, weights = np.abs(p - truth), np.where(truth >= 0.5, 3, 1)
    apart = np.concatenate([np.abs(p[:2] - p[2:])] * 2)
    expected = {
        'l2': weights * errors**2,
        'l1': weights * errors,
        'cross_entropy': -(truth * np.log(p) + (1 - truth) * np.log(1 - p)),
        'crps': errors - apart / 2,
    }
    assert parts.keys() == expected.keys()
    for name, terms in expected.items():
        np.testing.assert_allclose(parts[name], terms[known].mean(), rtol=1e-5, err_msg=name)


def test_devices_with_other_gaps_count_each_value_once():
    frames, predictions = random_frames(4), random_frames(4, seed=1)[:, 1:]
    valid = np.random.default_rng(2).random(frames.shape) < 0.5
    valid[0] = False

    def loss(predictions, frames, valid, axis_name=None):
        return forecast_loss(Objective(), predictions, frames, PLAIN, 0, valid, axis_name)[0]

    split = [array.reshape(2, 2, *array.shape[1:]) for array in (predictions, frames, valid)]
    on_devices = jax.vmap(functools.partial(loss, axis_name='devices'), axis_name='devices')
    shares, whole = jax.jit(on_devices)(*split), jax.jit(loss)(predictions, frames, valid)
    np.testing.assert_allclose(shares.mean(), whole, rtol=1e-6)


def test_balanced_errors_weigh_by_the_truth_in_the_unit_of_the_data(tmp_path):
    config = tiny_config(tmp_path, **{'loss.l1_weight': 2.0})
    config.loss.update({'balance_thresholds': (30.0, 60.0), 'balance_weights': (2.0, 5.0)})
    model, frames = TinyForecaster(), random_frames(2, length=4)
    variables = model.init(jax.random.key(0), frames[:, :1], 1)
    loss = jax.jit(build_loss(config, model, Scale((0.0, 100.0))), static_argnums=3)
    value, (parts, _) = loss(variables, {'frames': frames}, 10**6, None)
    predictions = model.apply(variables, frames[:, :2], 2)
    weights = np.select([frames[:, 1:] >= 0.6, frames[:, 1:] >= 0.3], [5.0, 2.0], 1.0)
    errors = np.asarray(predictions - frames[:, 1:], np.float64)
    np.testing.assert_allclose(parts['l2'], np.mean(weights * errors**2), rtol=1e-5)
    np.testing.assert_allclose(
        value, np.mean(weights * errors**2) + 2 * np.mean(weights * np.abs(errors)), rtol=1e-5
    )


def test_each_threshold_needs_a_weight(tmp_path):
    config = tiny_config(tmp_path, **{'loss.balance_thresholds': (0.3,)})
    with pytest.raises(InputError, match='has 1 values and loss'):
        check_config(config)
