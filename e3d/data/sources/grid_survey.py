"""What a look at all values tells of grids: ranges, gaps, and what cannot be used."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from e3d.data.sources.grid_timeline import Timeline
from e3d.data.sources.scales import TRANSFORMS
from e3d.errors import InputError

BLOCK_BYTES = 2**26  # that are looked at at once
# (name, first frame, one after the last) -> float32 [t, H, W, C], NaN for gaps
Read = Callable[[str, int, int], np.ndarray]


class Spread(NamedTuple):
    """The values of one channel in the training part, after the transform.

    Attributes:
      low, high: the least and the largest.
      mean, deviation: of all of them.
    """

    low: float
    high: float
    mean: float
    deviation: float


class Survey(NamedTuple):
    """What was found.

    Attributes:
      spreads: of each channel of each variable.
      least: the least value of each variable in all parts, before the transform.
      gaps: the variables in which values are missing.
      measured: of each frame whether any value of the targets is there, bool [F].
    """

    spreads: Mapping[str, tuple[Spread, ...]]
    least: Mapping[str, float]
    gaps: frozenset[str]
    measured: np.ndarray


def survey(
    timeline: Timeline,
    read: Read,
    names: Sequence[str],
    targets: Sequence[str],
    training: np.ndarray,
    transform: str,
) -> Survey:
    """Looks at all values once, in pieces.

    Args:
      timeline: of all frames.
      read: gives them.
      names: of the variables.
      targets: those that are to be forecast; only they are transformed.
      training: which frames are, bool [F].
      transform: a key of `TRANSFORMS`, or ''.

    Raises:
      InputError: values that are infinite, below 0 where they are to be transformed, or nowhere.
    """
    spreads, least, gaps = {}, {}, set()
    measured = np.zeros(timeline.length, bool)
    for name in names:
        kind = transform if name in targets else ''
        totals = _Totals()
        lowest = np.inf
        for start, values in _blocks(timeline, read, name):
            _check(values, start, timeline, name, kind)
            known = ~np.isnan(values)
            if not known.all():
                gaps.add(name)
            if known.any():
                lowest = min(lowest, float(np.nanmin(values)))
            part = slice(start, start + len(values))
            if name in targets:
                measured[part] |= known.any(axis=(1, 2, 3))
            chosen = values[training[part]]
            totals.add(TRANSFORMS[kind].forward(chosen) if kind else chosen)
        if not totals.count.all():
            raise InputError(
                f"'{name}' in {timeline.pieces[0].file.path} has no value at all in the training "
                'part. Leave it out with dataset.variables, or give that part more of the time.'
            )
        spreads[name], least[name] = totals.spreads(), lowest
    return Survey(spreads, least, frozenset(gaps), measured)


class _Totals:
    """Extent, mean and deviation of channels, block by block (Chan, Golub and LeVeque 1979)."""

    def __init__(self) -> None:
        self.count: Any = np.zeros(1)
        self.mean: Any = 0.0
        self.squares: Any = 0.0
        self.low: Any = np.inf
        self.high: Any = -np.inf

    def add(self, values: np.ndarray) -> None:
        flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
        known = ~np.isnan(flat)
        count = known.sum(axis=0)
        self.count = np.broadcast_to(self.count, count.shape)
        if not count.any():
            return
        safe = np.maximum(count, 1)
        mean = np.where(known, flat, 0).sum(axis=0) / safe
        squares = np.where(known, np.square(flat - mean), 0).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        shift = mean - self.mean
        self.squares = self.squares + squares + np.square(shift) * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = self.count + count
        self.low = np.minimum(self.low, np.where(known, flat, np.inf).min(axis=0))
        self.high = np.maximum(self.high, np.where(known, flat, -np.inf).max(axis=0))

    def spreads(self) -> tuple[Spread, ...]:
        deviation = np.sqrt(self.squares / self.count)
        columns = zip(self.low, self.high, self.mean, deviation, strict=True)
        return tuple(Spread(*map(float, column)) for column in columns)


def _blocks(timeline: Timeline, read: Read, name: str) -> Iterator[tuple[int, np.ndarray]]:
    _, _, *frame = timeline.pieces[0].file.grids[name].shape
    step = max(1, BLOCK_BYTES // (4 * int(np.prod(frame))))
    for piece in timeline.pieces:
        end = piece.first + piece.length
        for start in range(piece.first, end, step):
            yield start, read(name, start, min(start + step, end))


def _check(values: np.ndarray, start: int, timeline: Timeline, name: str, transform: str) -> None:
    infinite = np.isinf(values)
    if infinite.any():
        raise InputError(
            f"'{name}' in {_place(timeline, start + _first(infinite))} has infinite values, "
            f'{np.count_nonzero(infinite):,} of them. Make them NaN, which is a gap, or name what '
            'stands for a gap with dataset.missing.'
        )
    if transform and (below := values < 0).any():
        raise InputError(
            f"'{name}' in {_place(timeline, start + _first(below))} has values from "
            f'{np.nanmin(values):g}, below 0, of which dataset.transform={transform!r} makes none. Make '
            "them NaN, or use dataset.transform=''."
        )


def _first(found: np.ndarray) -> int:
    return int(found.any(axis=(1, 2, 3)).argmax())


def _place(timeline: Timeline, frame: int) -> str:
    piece = next(p for p in timeline.pieces if p.first <= frame < p.first + p.length)
    return f'{piece.file.path}, frame {frame - piece.first},'
