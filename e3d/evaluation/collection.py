"""Metrics of forecasts, collected batch by batch and process by process."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Which are kept of every sequence, beside the sums: for intervals.
KEPT = {'model': ('mse', 'psnr', 'ssim', 'lpips'), 'last_frame': ('mse',)}


class Collection:
    """Sums by forecast, metric and frame in float64, and some numbers of every sequence.

    Attributes:
      count: number of sequences.
      sums: `[T]` by forecast and metric.
      counts: of how many sequences the sums are; fewer where frames have no truth.
    """

    def __init__(self) -> None:
        """Of no sequences."""
        self.count = 0
        self.sums: dict[str, dict[str, np.ndarray]] = {}
        self.counts: dict[str, dict[str, np.ndarray]] = {}
        self._places: list[int] = []
        self._sequences: dict[str, dict[str, list[list[float]]]] = {
            name: {metric: [] for metric in metrics} for name, metrics in KEPT.items()
        }

    def add_sequences(self, places: np.ndarray) -> None:
        """Counts sequences by their places in the split, before their metrics are added."""
        self.count += len(places)
        self._places += places.tolist()

    def add(self, forecast: str, metrics: Mapping[str, Any], mask: np.ndarray) -> None:
        """Adds metrics `[B, T]` of a forecast of those sequences that `mask` `[B]` marks.

        NaN is what could not be measured, as where a frame has no truth, and counts nowhere.
        """
        sums, counts = (of.setdefault(forecast, {}) for of in (self.sums, self.counts))
        for metric, values in metrics.items():
            values = np.asarray(values, np.float64)[mask]
            known = ~np.isnan(values)
            sums[metric] = sums.get(metric, 0.0) + values.sum(axis=0, where=known)
            counts[metric] = counts.get(metric, 0) + known.sum(axis=0)
            if metric in KEPT.get(forecast, ()):
                self._sequences[forecast][metric] += values.tolist()

    def of_sequences(self, forecast: str, metric: str) -> np.ndarray:
        """What was kept, `[N, T]`, in the order of the split; empty where not collected.

        NaN of a frame without truth.
        """
        values = np.array(self._sequences[forecast][metric])
        return values[np.argsort(self._places, kind='stable')] if len(values) else values

    def to_json(self) -> list[Any]:
        """A value that JSON can hold."""
        sums, counts = (
            {
                name: {metric: values.tolist() for metric, values in metrics.items()}
                for name, metrics in of.items()
            }
            for of in (self.sums, self.counts)
        )
        return [self.count, sums, self._places, self._sequences, counts]

    @classmethod
    def merge(cls, parts: Sequence[list[Any]]) -> 'Collection':
        """Together what the `to_json` of several collections of different sequences hold."""
        merged = cls()
        for count, sums, places, sequences, counts in parts:
            if not count:
                continue
            merged.count += count
            merged._places += places
            for total, part in ((merged.sums, sums), (merged.counts, counts)):
                for name, metrics in part.items():
                    own = total.setdefault(name, {})
                    for metric, values in metrics.items():
                        own[metric] = own.get(metric, 0) + np.array(values)
            for name, metrics in sequences.items():
                for metric, values in metrics.items():
                    merged._sequences[name][metric] += values
        return merged
