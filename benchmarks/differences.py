"""Paired differences between two models of a study, with 95 % intervals."""

import math
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from e3d.evaluation.intervals import LEVEL, mean_interval

Seeds = Mapping[int, Mapping[str, Any]]  # the numbers of the runs of a model, by seed
Interval = tuple[float, float]


class Difference(NamedTuple):
    """How much larger the test MSE of one model is than that of another.

    Attributes:
      mean: over the seeds that count.
      of_both: the MSE of the one and of the other, over these seeds.
      seeds: how many these are: those that both have; where these are fewer than three, of them those
        of which the errors of single sequences were kept, if there are any.
      over_seeds: Student's interval of the mean over seeds, of three seeds or more.
      over_sequences: that of the mean over test sequences by the bootstrap, each averaged over these
        seeds; None where the errors of single sequences were not kept of all of them. It does not hold
        what another seed would change.
    """

    mean: float
    of_both: tuple[float, float]
    seeds: int
    over_seeds: Interval | None
    over_sequences: Interval | None

    @property
    def interval(self) -> Interval | None:
        """That over seeds, or else that over sequences."""
        return self.over_seeds or self.over_sequences

    def text(self, digits: int = 2) -> str:
        """The mean with its intervals."""
        text = f'{self.mean:+.{digits}f}'
        if self.over_seeds:
            text += f' ({_range(self.over_seeds, digits)} over {self.seeds} seeds)'
        if self.over_sequences:
            seeds = f', {self.seeds} seed' + 's' * (self.seeds > 1)
            where = f'over sequences{seeds * (not self.over_seeds)}'
            text += f' ({_range(self.over_sequences, digits)} {where})'
        return text


def difference(first: Seeds, second: Seeds) -> Difference | None:
    """The MSE of the first less that of the second; None where they have no seed in common."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    kept = 'mse_per_sequence'
    both = [seed for seed in seeds if kept in first[seed] and kept in second[seed]]
    if len(seeds) < 3 and both:
        seeds = both
    errors = [[of[seed]['test']['mse'] for seed in seeds] for of in (first, second)]
    values = [one - other for one, other in zip(*errors, strict=True)]
    mean, over_seeds, over_sequences = statistics.mean(values), None, None
    if len(values) > 2:
        margin = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * statistics.stdev(values)
        margin /= math.sqrt(len(values))
        over_seeds = (mean - margin, mean + margin)
    if both == seeds:  # that of fewer seeds would be of another mean
        paired = [np.subtract(first[seed][kept], second[seed][kept]) for seed in seeds]
        low, high = mean_interval(np.mean(paired, axis=0)) or (math.nan, math.nan)
        over_sequences = (low, high)
    of_both = statistics.mean(errors[0]), statistics.mean(errors[1])
    return Difference(mean, of_both, len(seeds), over_seeds, over_sequences)


def _range(interval: Interval, digits: int) -> str:
    return ' to '.join(f'{end:+.{digits}f}' for end in interval)
