"""How sure a mean over sequences is: 95 % intervals by the bootstrap.

Sequences are drawn again, as many as there are, 1,000 times; the interval holds the middle 95 % of the
means. Sequences that overlap, or are of one clip, tell less than as many independent ones: the
true interval is wider then.
"""

from collections.abc import Callable

import numpy as np

RESAMPLES = 1_000
LEVEL = 0.95
MOVING = 10  # sequences


def mean_of_frames(values: np.ndarray) -> np.ndarray:
    """The mean over frames of their means over sequences, as reports have it.

    Args:
      values: `[..., N, T]`, of each sequence and frame; NaN where it has no truth.

    Returns:
      `[...]`; NaN where nothing is known.
    """
    known = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        frames = values.sum(axis=-2, where=known) / known.sum(axis=-2)
        there = ~np.isnan(frames)
        return frames.sum(axis=-1, where=there) / there.sum(axis=-1)


def mean_interval(values: np.ndarray) -> list[float] | None:
    """Lower and upper end of the interval of a mean.

    Args:
      values: `[N]`, one for each sequence; or `[N, T]`, one for each of its frames, NaN where a frame
        has no truth: then of `mean_of_frames`.

    Returns:
      [low, high], or None of fewer than two sequences that have any, or where one is infinite.
    """
    return _interval((values,), lambda means: means)


def skill_interval(errors: np.ndarray, baseline: np.ndarray) -> list[float] | None:
    """The same of `1 - mean(errors) / mean(baseline)`, by drawing the same sequences of both.

    Args:
      errors: as for `mean_interval`.
      baseline: of the same sequences and frames.

    Returns:
      [low, high], or None where nearly nothing moves: with fewer than `MOVING` errors of the baseline
      that are not zero, those that are drawn may have none.
    """
    moving = np.nan_to_num(baseline).reshape(len(baseline), -1).any(axis=1)
    if np.count_nonzero(moving) < MOVING:
        return None
    baseline = np.maximum(baseline, np.finfo(np.float64).tiny)
    return _interval((errors, baseline), lambda errors, baseline: 1.0 - errors / baseline)


def _interval(
    samples: tuple[np.ndarray, ...], statistic: Callable[..., np.ndarray]
) -> list[float] | None:
    """The interval of a statistic of means."""
    if len(samples[0]) < 2 or any(np.isinf(values).any() for values in samples):
        return None
    by_frame = [values.reshape(len(values), -1) for values in samples]
    # All have the same gaps, those of the truth.
    by_frame = [values[~np.isnan(by_frame[0]).all(axis=1)] for values in by_frame]
    if len(by_frame[0]) < 2:
        return None
    if not np.isnan(by_frame[0]).any():  # whose frames all count alike: less is to be drawn
        by_frame = [values.mean(axis=1, keepdims=True) for values in by_frame]
    from scipy import stats  # takes as long to import as a quarter of the program

    def of_drawn(places: np.ndarray, axis: int) -> np.ndarray:
        drawn = np.moveaxis(places, axis, -1)
        return statistic(*(mean_of_frames(values[drawn]) for values in by_frame))

    found = stats.bootstrap(
        (np.arange(len(by_frame[0])),),
        of_drawn,
        n_resamples=RESAMPLES,
        batch=max(1, 10**6 // by_frame[0].size),
        vectorized=True,
        confidence_level=LEVEL,
        method='percentile',
        rng=np.random.default_rng(0),
    ).confidence_interval
    return [float(found.low), float(found.high)]
