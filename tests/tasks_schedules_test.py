import jax
import numpy as np
import pytest

from e3d.data.sources.layouts import Layout
from e3d.tasks.schedules import (
    DROPPING,
    INITIALIZATION,
    NOISE,
    OBSERVING,
    SAMPLING,
    Sampling,
    draw_truth_mask,
    learning_rate_schedule,
    observed_probability,
    random_key,
    truth_probability,
    warm_up,
)


@pytest.mark.parametrize(
    ('step', 'probability'), [(0, 1.0), (25_000, 0.5), (50_000, 0), (80_000, 0)]
)
def test_truth_probability_falls_as_in_the_paper(step, probability):
    np.testing.assert_allclose(truth_probability(Sampling(), step), probability, atol=1e-6)


def test_mask_is_a_function_of_seed_and_step():
    half = Sampling(0.5, 0.0)
    first, again = (draw_truth_mask(half, 1, 7, 8, Layout((3, 17))) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != draw_truth_mask(half, 1, 8, 8, Layout((3, 17)))).any()
    assert (first != draw_truth_mask(half, 2, 7, 8, Layout((3, 17)))).any()
    # Every sequence and every frame has a draw of its own.
    assert (first != first[:1]).any() and (first != first[:, :1]).any()


def test_what_is_drawn_for_one_purpose_tells_nothing_of_another():
    streams = INITIALIZATION, SAMPLING, OBSERVING, DROPPING, NOISE
    keys = [jax.random.key_data(random_key(seed, stream)) for seed in (0, 1) for stream in streams]
    assert len({tuple(key.tolist()) for key in keys}) == 2 * len(streams)


@pytest.mark.parametrize('probability', [0.0, 0.3, 1.0])
def test_mask_has_the_probability(probability):
    mask = draw_truth_mask(Sampling(probability, 0.0), 0, 0, 100, Layout((1, 101)))
    assert abs(float(np.mean(mask)) - probability) < 0.02 * (0 < probability < 1) + 1e-9


def test_what_a_layout_has_observed_always_enters():
    # Four frames observed, two forecast, two observed, three forecast.
    mask = draw_truth_mask(Sampling(0.0, 0.0), 0, 0, 2, Layout((4, 2, 2, 3)))
    np.testing.assert_array_equal(mask, [[False, False, True, True, False, False]] * 2)
    drawn = draw_truth_mask(Sampling(0.5, 0.0), 0, 0, 50, Layout((4, 2, 2, 3)))
    assert drawn[:, 2:4].all()
    assert all(0 < drawn[:, frame].mean() < 1 for frame in (0, 1, 4, 5))


# Its own numbers, and others.
PREDRNN_V2 = Sampling(kind='reverse')
FASTER = Sampling(kind='reverse', first_step=100, last_step=300, time_constant=50.0)


@pytest.mark.parametrize(
    ('reverse', 'step', 'observed', 'forecast'),
    [
        (PREDRNN_V2, 0, 0.5, 0.5),
        (PREDRNN_V2, 25_000, 0.5, 0.5),
        (PREDRNN_V2, 30_000, 1 - 0.5 * np.exp(-1), 0.4),
        (PREDRNN_V2, 50_000, 1, 0),
        (PREDRNN_V2, 80_000, 1, 0),
        (FASTER, 0, 0.5, 0.5),
        (FASTER, 100, 0.5, 0.5),
        (FASTER, 120, 1 - 0.5 * np.exp(-0.4), 0.45),
        (FASTER, 299, 1 - 0.5 * np.exp(-3.98), 0.0025),
        (FASTER, 300, 1, 0),
    ],
)
def test_reverse_sampling_has_the_probabilities_of_predrnn_v2(reverse, step, observed, forecast):
    np.testing.assert_allclose(observed_probability(reverse, step), observed, atol=1e-6)
    np.testing.assert_allclose(truth_probability(reverse, step), forecast, atol=1e-6)
    mask = draw_truth_mask(reverse, 0, step, 400, Layout((3, 2, 2, 2)))
    expected = [observed, observed, forecast, forecast, observed, observed, forecast]
    np.testing.assert_allclose(mask.mean(axis=0), expected, atol=0.1)


def test_warm_up():
    assert [float(warm_up(step, 4)) for step in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert float(warm_up(0, 0)) == 1.0


def test_learning_rate_rises_then_stays():
    rate = learning_rate_schedule('constant', 1.0, 4, 100)
    np.testing.assert_allclose([rate(s) for s in (0, 1, 3, 4, 99)], [0.25, 0.5, 1.0, 1.0, 1.0])


@pytest.mark.parametrize('warmup', [0, 2, 10])
def test_cosine_falls_to_zero_at_the_end(warmup):
    rate = learning_rate_schedule('cosine', 1.0, warmup, 110)
    assert float(rate(warmup)) == pytest.approx(1.0)
    assert float(rate((110 + warmup) // 2)) == pytest.approx(0.5)
    assert float(rate(110)) == pytest.approx(0.0, abs=1e-6)
    assert float(rate(0)) > 0.0


@pytest.mark.parametrize('warmup', [0, 10])
def test_halving_after_each_fifth(warmup):
    rate = learning_rate_schedule('halving', 1.0, warmup, 100)
    found = [float(rate(step)) for step in (15, 19, 21, 39, 41, 61, 81, 99)]
    assert found == [1.0, 1.0, 0.5, 0.5, 0.25, 0.125, 0.0625, 0.0625]


@pytest.mark.parametrize(('warmup', 'at_its_end'), [(30, 0.5), (50, 0.25), (90, 0.0625)])
def test_a_long_warmup_loses_no_halving(warmup, at_its_end):
    rate = learning_rate_schedule('halving', 1.0, warmup, 100)
    assert [float(rate(step)) for step in (warmup, 99)] == [at_its_end, 0.0625]


def test_one_cycle_is_that_of_pytorch():
    rate = learning_rate_schedule('onecycle', 1.0, 0, 1000)
    found = [float(rate(step)) for step in (0, 150, 300, 650, 1000)]
    assert found == pytest.approx([0.04, 0.52, 1.0, 0.5 + 2e-6, 4e-6], rel=1e-4)
