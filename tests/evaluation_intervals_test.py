"""Intervals hold what they claim, whatever the number of sequences."""

import numpy as np
import pytest

from e3d.evaluation.intervals import mean_interval, mean_of_frames, skill_interval


def test_intervals_of_means_hold_the_true_mean_about_as_often_as_they_claim():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = mean_interval(random.normal(3.0, 1.0, size=60))
        hits += low <= 3.0 <= high
    assert 0.89 <= hits / 200 <= 0.985


def test_width_is_that_of_the_standard_error():
    values = np.random.default_rng(1).normal(size=2_000)
    low, high = mean_interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(len(values)), rel=0.1)


def test_skill_is_of_pairs():
    random = np.random.default_rng(2)
    baseline = random.lognormal(0, 1.5, size=100)
    low, high = skill_interval(baseline * 0.3, baseline)  # however uneven, all have the same skill
    assert (low, high) == (pytest.approx(0.7), pytest.approx(0.7))
    low, high = skill_interval(random.permutation(baseline) * 0.3, baseline)
    assert high - low > 0.1


def test_with_gaps_an_interval_is_that_of_the_mean_which_is_reported():
    """Errors grow with the lead, and late frames are often missing: the means of sequences are less."""
    random = np.random.default_rng(3)
    errors = np.arange(1.0, 6.0) ** 2 + random.normal(size=(200, 5))
    baseline = 40 + random.normal(size=(200, 5))
    missing = random.random((200, 5)) < 0.2 * np.arange(5)
    errors[missing] = baseline[missing] = np.nan
    low, high = mean_interval(errors)
    mean = np.nanmean(errors, axis=0).mean()
    assert low < mean < high and mean_of_frames(errors) == pytest.approx(mean)
    assert np.nanmean(np.nanmean(errors, axis=1)) < low
    low, high = skill_interval(errors, baseline)
    assert low < 1 - mean / mean_of_frames(baseline) < high
    whole = np.nan_to_num(errors, nan=3.0)
    assert mean_interval(whole) == mean_interval(whole.mean(axis=1))


def test_still_sequences_and_single_ones():
    assert mean_interval(np.array([1.0])) is None
    still = np.zeros(100)
    assert skill_interval(still + 0.5, still) is None
    moving = np.where(np.arange(100) < 20, 1.0, 0.0)
    low, high = skill_interval(moving * 0.5, moving)
    assert (low, high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert mean_interval(np.full(5, 2.0)) == [2.0, 2.0]
    assert mean_interval(np.array([[1.0, 2.0], [np.nan, np.nan]])) is None


def test_infinite_errors_have_no_interval():
    errors = np.where(np.arange(20) == 3, np.inf, 1.0)
    assert mean_interval(errors) is None
    assert skill_interval(errors, np.ones(20)) is None
