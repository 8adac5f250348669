"""Scores of several futures: against plain NumPy, known distributions, and identities."""

import json

import jax
import numpy as np
import pytest
from scipy import stats

from e3d.data.sources.scales import Scale
from e3d.evaluation.ensembles import ensemble_metrics, ensemble_report
from e3d.evaluation.evaluate import evaluate
from e3d.evaluation.report import format_table
from e3d.tasks.losses import fair_crps_of_pairs

RANDOM = np.random.default_rng(0)
MEMBERS, BATCH, FRAMES = 5, 3, 2
TRUTH = RANDOM.random((BATCH, FRAMES, 6, 7, 1)).round(1).astype(np.float32)
FUTURES = RANDOM.random((MEMBERS, *TRUTH.shape)).round(1).astype(np.float32)  # with ties
PLACES = np.arange(BATCH)


def crps(members, truth, fair=False):
    """The definition, pixel by pixel, in float64."""
    members, truth = members.astype(float), truth.astype(float)
    pairs = np.abs(members[:, None] - members[None]).sum(axis=(0, 1))
    count = len(members)
    return np.abs(members - truth).mean(axis=0) - pairs / (2 * count * (count - fair))


def test_equals_the_definitions():
    metrics = ensemble_metrics(FUTURES, TRUTH, PLACES)
    frame = (2, 3, 4)
    for name, fair in (('crps', False), ('crps_fair', True)):
        expected = crps(FUTURES, TRUTH, fair).mean(axis=frame)
        np.testing.assert_allclose(metrics[name], expected, rtol=1e-5)
    variance = FUTURES.astype(float).var(axis=0, ddof=1).mean(axis=frame) * 6 / 5
    np.testing.assert_allclose(metrics['variance'], variance, rtol=1e-5)
    squares = np.square(FUTURES.astype(float).mean(axis=0) - TRUTH).mean(axis=frame)
    np.testing.assert_allclose(metrics['squared_error'], squares, rtol=1e-5)
    assert (np.asarray(metrics['ranks']).sum(axis=-1) == 6 * 7).all()


def test_of_one_member_it_is_the_absolute_error():
    metrics = ensemble_metrics(FUTURES[:1], TRUTH, PLACES)
    error = np.abs(FUTURES[0] - TRUTH).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(metrics['crps'], error, rtol=1e-6)
    assert metrics.keys() == {'crps', 'squared_error', 'ranks'}


def test_many_members_of_a_normal_distribution_have_its_crps_and_flat_ranks():
    mean, deviation, count = 0.3, 2.0, 400
    truth = RANDOM.normal(mean, deviation, (4, 1, 40, 40, 1))
    members = RANDOM.normal(mean, deviation, (count, *truth.shape))
    metrics = ensemble_metrics(members, truth, np.arange(4))
    z = (truth - mean) / deviation
    expected = deviation * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - np.pi**-0.5)
    np.testing.assert_allclose(metrics['crps_fair'].mean(), expected.mean(), rtol=5e-3)
    assert (metrics['crps'] > metrics['crps_fair']).all()
    # Reliable: as much spread as error, and every rank equally often.
    np.testing.assert_allclose(metrics['variance'].mean(), deviation**2, rtol=0.02)
    few = ensemble_metrics(members[:4], truth, np.arange(4))
    shares = np.asarray(few['ranks']).sum(axis=(0, 1)) / truth.size
    np.testing.assert_allclose(shares, 1 / 5, atol=0.02)
    np.testing.assert_allclose(few['variance'].mean() / few['squared_error'].mean(), 1, rtol=0.1)


def test_a_rank_among_equal_values_is_drawn_for_each_sequence_by_its_number():
    dry = np.zeros((3, 2, 1, 50, 50, 1))
    ranks = ensemble_metrics(dry, dry[0], np.array([4, 9]))['ranks']
    np.testing.assert_allclose(np.asarray(ranks).sum(axis=(0, 1)) / 5000, 1 / 4, atol=0.03)
    again = ensemble_metrics(dry[:, :1], dry[0, :1], np.array([9]))['ranks']
    np.testing.assert_array_equal(again[0], ranks[1])


def test_what_has_no_truth_counts_nowhere():
    valid = RANDOM.random(TRUTH.shape) < 0.7
    valid[0, 0] = False
    plain = ensemble_metrics(FUTURES, TRUTH, PLACES, valid)
    wild = np.where(valid, FUTURES, 1e30), np.where(valid, TRUTH, np.nan)
    for name, values in ensemble_metrics(*wild, PLACES, valid).items():
        np.testing.assert_array_equal(values, plain[name])
    np.testing.assert_allclose(
        plain['crps'][1, 1], crps(FUTURES, TRUTH)[1, 1][valid[1, 1]].mean(), rtol=1e-5
    )
    assert np.isnan(plain['crps'][0, 0]) and not plain['ranks'][0, 0].any()


def test_members_beyond_float32_have_infinite_errors_in_their_frames_alone():
    valid = np.ones(TRUTH.shape, bool)
    valid[0, 0, 0, 0] = False
    wild = FUTURES.copy()
    wild[1, 0, 0, 0, 0] = wild[1, 1, 1, 0, 0] = np.inf  # in a gap, and where the truth is known
    measure = jax.jit(ensemble_metrics)
    plain, found = (measure(members, TRUTH, PLACES, valid) for members in (FUTURES, wild))
    for name in ('crps', 'crps_fair', 'variance', 'squared_error'):
        values = np.asarray(found[name])
        assert values[1, 1] == np.inf
        others = np.ones(values.shape, bool)
        others[1, 1] = False
        np.testing.assert_allclose(values[others], plain[name][others], rtol=1e-6)


def test_the_loss_of_pairs_is_the_fair_crps():
    loss = fair_crps_of_pairs(
        FUTURES[:2].reshape(-1, *TRUTH.shape[1:]), np.concatenate([TRUTH] * 2)
    )
    np.testing.assert_allclose(loss, crps(FUTURES[:2], TRUTH, fair=True).mean(), rtol=1e-5)


@pytest.fixture(scope='module')
def frames():
    return RANDOM.random((5, 4, 8, 8, 1)).astype(np.float32)


def report_of(frames, size, gather=lambda value: [value], part=slice(None)):
    def forecast(seen, index):
        shades = np.array([0.8, 1.0, 1.1]).reshape(-1, 1, 1, 1, 1, 1)
        return (shades * seen[:, -1:] + 0.01 * index.reshape(-1, 1, 1, 1, 1)).repeat(2, axis=2)

    batches = []
    for start in range(0, len(frames), size):
        index = np.minimum(start + np.arange(size), len(frames) - 1)
        mask = start + np.arange(size) < len(frames)
        batches.append({'frames': frames[index], 'mask': mask, 'index': index})
    arguments = (forecast, batches[part], 2, None, 'noise', 0)
    return evaluate(*arguments, gather=gather, inputs=('index',), show_progress=False)


def test_the_mean_of_transformed_members_is_one_in_the_unit():
    scale = Scale((0.0, 50.0), (0.0, np.inf), transform='log1p', unit='mm/h')
    random = np.random.default_rng(0)
    futures = random.random((4, 2, 3, 8, 8, 1), np.float32)
    frames = random.random((2, 6, 8, 8, 1), np.float32)
    batch = {'frames': frames, 'mask': np.ones(2, bool), 'index': np.arange(2)}
    report = evaluate(
        lambda seen: futures, [batch], 3, None, 'rain', 0, scale=scale, show_progress=False
    )
    assert report['members_mean']['rmse'] == pytest.approx(report['ensemble']['rmse'], rel=1e-5)


def test_batches_and_processes_make_no_difference(frames):
    whole, gathered = report_of(frames, 5), []

    def keep(value):
        gathered.append(json.loads(json.dumps(value)))
        return gathered[:1]

    for process in (0, 1):
        report_of(frames, 2, keep, slice(process, None, 2))
    together = report_of(frames, 2, lambda value: gathered)
    assert together['ensemble']['members'] == 3
    for name, values in whole['ensemble'].items():
        np.testing.assert_allclose(together['ensemble'][name], values, rtol=1e-5, err_msg=name)
    ensemble = whole['ensemble']
    truth = frames[:, 2:]
    futures = np.stack([s * frames[:, 1:2].repeat(2, axis=1) for s in (0.8, 1.0, 1.1)])
    futures = np.clip(futures + 0.01 * np.arange(5).reshape(-1, 1, 1, 1, 1), 0, 1)
    np.testing.assert_allclose(ensemble['crps'], crps(futures, truth).mean(), rtol=1e-5)
    assert whole['mae_mean'] == pytest.approx(np.abs(futures[0] - truth).mean(), rel=1e-5)
    mean_error = np.square(futures.mean(axis=0) - truth).mean()
    assert whole['members_mean']['mse_mean'] == pytest.approx(mean_error, rel=1e-5)
    assert ensemble['rmse'] == pytest.approx(mean_error**0.5, rel=1e-4)
    text = format_table(whole)
    assert '3 members' in text and f'{ensemble["crps"]:.4g}' in text
    assert '"mean of the members"' not in text and max(map(len, text.splitlines())) <= 100


def test_a_report_of_one_member_has_neither_crps_fair_nor_spread():
    metrics = ensemble_metrics(FUTURES[:1], TRUTH, PLACES)
    sums = {name: np.asarray(values).sum(axis=0) for name, values in metrics.items()}
    report = ensemble_report(sums, {name: np.full(FRAMES, BATCH) for name in sums})
    assert report['members'] == 1 and 'crps_fair' not in report and 'spread' not in report
