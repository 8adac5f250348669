"""The sequences of a split that are shown: the first ones, and those of the most and the least error."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

FIRST, EXTREME = 4, 2  # at most so many of the first, of the worst and of the best


class Shown(NamedTuple):
    """A sequence beside what a model makes of it.

    Attributes:
      title: what is special about it.
      place: its number in the split, from 0.
      frames: `[T, H, W, C]`, all of it.
      observed: bool `[T']`, which of the frames before the measured forecast are seen.
      prediction: `[T - T', H, W, C]`, what is forecast of the others; None for a recognizer.
      valid: bool `[T, H, W, C]`, which values are known; None for all.
      chances: of a recognizer, probabilities `[fractions, classes]`; None for a forecaster.
      lengths: of a recognizer, frames that were seen at each fraction.
      label: of a recognizer, the true class.
    """

    title: str
    place: int
    frames: np.ndarray
    observed: np.ndarray
    prediction: np.ndarray | None = None
    valid: np.ndarray | None = None
    chances: np.ndarray | None = None
    lengths: Sequence[int] = ()
    label: int = 0


class Chosen(Sequence[Any]):
    """Some sequences of a source, which read as a source of its own."""

    def __init__(self, source: Any, indices: Sequence[int]):
        """Takes the sequences of a source at some places."""
        self._source, self._indices = source, list(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._source[self._indices[index]]


def choose(errors: Sequence[float | None], first: int, what: str) -> dict[int, str]:
    """Which sequences to show, and how to call them.

    Args:
      errors: of every sequence, in the order of the split; one that is not known (None or not
        finite) is neither the worst nor the best.
      first: so many of the first, at most `FIRST`.
      what: the error, in words.

    Returns:
      {index: title}: the first ones, then the worst, then the best.
    """
    values = np.array([np.nan if error is None else error for error in errors], float)
    order = [
        int(index) for index in np.argsort(values, kind='stable') if np.isfinite(values[index])
    ]
    worst, best = order[::-1][:EXTREME], order[:EXTREME]
    chosen: dict[int, list[str]] = {index: [] for index in range(min(first, FIRST, len(values)))}
    for indices, words in ((worst, 'worst'), (best, 'best')):
        for rank, index in enumerate(indices):
            place = words if rank == 0 else f'{rank + 1}nd {words}'
            chosen.setdefault(index, []).append(place)
    titles = {}
    for index, places in chosen.items():
        error = f', {what} {values[index]:.4g}' if np.isfinite(values[index]) else ''
        extreme = f' ({" and ".join(places)} of {len(values):,})' if places else ''
        titles[index] = f'sequence {index}{extreme}{error}'
    return titles
