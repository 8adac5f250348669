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


def mean_interval(values: np.ndarray) -> list[float] | None:
    """Lower and upper end of the interval of a mean.

    Args:
      values: `[N]`, one for each sequence.

    Returns:
      [low, high], or None of fewer than two sequences.
    """
    return _interval((values,), _mean)


def skill_interval(errors: np.ndarray, baseline: np.ndarray) -> list[float] | None:
    """The same of `1 - mean(errors) / mean(baseline)`, by drawing the same sequences of both.

    Args:
      errors: `[N]`.
      baseline: `[N]`, of the same sequences.

    Returns:
      [low, high], or None where nearly nothing moves: with fewer than `MOVING` errors of the baseline
      that are not zero, those that are drawn may have none.
    """
    if np.count_nonzero(baseline) < MOVING:
        return None
    return _interval((errors, np.maximum(baseline, np.finfo(np.float64).tiny)), _skill)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    return values.mean(axis=axis)


def _skill(errors: np.ndarray, baseline: np.ndarray, axis: int) -> np.ndarray:
    return 1.0 - errors.mean(axis=axis) / baseline.mean(axis=axis)


def _interval(
    samples: tuple[np.ndarray, ...], statistic: Callable[..., np.ndarray]
) -> list[float] | None:
    if len(samples[0]) < 2:
        return None
    from scipy import stats  # takes as long to import as a quarter of the program

    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, 10**6 // len(samples[0])),
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        method='percentile',
        rng=np.random.default_rng(0),
    ).confidence_interval
    return [float(found.low), float(found.high)]
