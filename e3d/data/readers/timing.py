"""When the frames of a clip are on the screen, and other rates made of that."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from e3d.errors import InputError

MAX_REPEATED = 10**6  # frames that resampling adds to a clip
RESTART = 2.0  # frames by which a time stamp lies back where a clock was restarted
_EARLY = 1e-3  # of the time between two instants: so much may a sum of durations be too small


class TimedFrame(NamedTuple):
    """A frame and when it is on the screen.

    Attributes:
      pixels: `[H, W, C]`, uint8, or float32 in [0, 1].
      start: when it appears, in seconds from the first frame of the clip; None where the source
        states no times (arrays, folders of pictures). All frames of a clip have times, or none.
      end: when the next one takes its place; of the last frame, when the clip ends. A frame that
        ends as it starts is never seen.
    """

    pixels: Any
    start: float | None = None
    end: float | None = None


class Timing(NamedTuple):
    """How fast the frames of a clip follow each other.

    Attributes:
      rate: frames per second; the mean, where it varies.
      constant: whether all frames, but for the last one, stand equally long.
    """

    rate: float
    constant: bool


def even_moments(count: int, rate: float) -> list[float]:
    """When each of so many frames appears and when the last one ends, in seconds, at a constant rate."""
    return [number / rate for number in range(count + 1)]


def resample(
    frames: Iterable[TimedFrame], wanted: float | None, name: str = 'the clip'
) -> Iterator[Any]:
    """Brings a clip to a constant rate: no frame is made up, some are repeated or left out.

    At each of the instants 0, 1 / wanted, 2 / wanted, ... before the end of the clip comes the
    frame that is on the screen then.

    Args:
      frames: in order; where the first of them starts later than at 0, the instants before that
        are left out.
      wanted: frames per second to come; None leaves the frames as they are, as does a clip
        without times.
      name: what to call the clip in messages.

    Yields:
      The pixels.

    Raises:
      InputError: frames stand so long that more than `MAX_REPEATED` would be added, or all of
        several frames have the same time.
    """
    count, repeated = 0, 0
    instant: int | None = None
    first = last = 0.0
    for frame in frames:
        count += 1
        if wanted is None or frame.start is None or frame.end is None:
            yield frame.pixels
            continue
        if instant is None:
            instant, first = max(0, math.ceil(frame.start * wanted - _EARLY)), frame.start
        last = frame.start
        shown = instant
        while instant + (_EARLY if instant else 0) < frame.end * wanted:
            yield frame.pixels
            instant += 1
            if repeated + instant - shown > MAX_REPEATED + 1:
                raise InputError(
                    f'The frame of {name} at {frame.start:g} s stands for '
                    f'{frame.end - frame.start:g} s: at {wanted:g} frames/s more than '
                    f'{MAX_REPEATED:,} frames would only repeat others. Cut the clip, or take '
                    'fewer frames per second.'
                )
        repeated += max(0, instant - shown - 1)
    if instant is not None and count > 1 and last == first:
        raise InputError(
            f'The {count} frames of {name} all have the same time stamp, so that their rate '
            'cannot be changed. Leave it as it is, or encode the clip again with a frame rate.'
        )


def timing_of(
    starts: Sequence[float | None], stated: Iterable[float | None], tick: float = 0.0
) -> Timing | None:
    """How fast frames follow each other; None for those without times.

    Args:
      starts: when each of them appears, in seconds.
      stated: rates that the file states, the first of which that agrees with the times is taken.
      tick: seconds to which the times are rounded.
    """
    rates = [float(rate) for rate in stated if rate]
    times = [start for start in starts if start is not None]
    if not times:
        return None
    steps, span = len(times) - 1, times[-1] - times[0]
    if span <= 0:
        return Timing(rates[0], True) if rates and not steps else None
    gaps = [after - before for before, after in itertools.pairwise(times)]
    if max(gaps) - min(gaps) > 2 * tick + 1e-6:
        return Timing(steps / span, False)
    close = (rate for rate in rates if abs(steps / rate - span) <= tick + 1e-6)
    return Timing(next(close, steps / span), True)


class Clock:
    """Turns the time stamps of a stream, one after the other, into seconds from its first frame.

    Where a stamp is missing, the frame comes as long after the one before it as the rate tells,
    and later stamps go on from there. One that lies up to two frames back counts as equal to the
    one before it; one that lies farther back restarts the clock, as where two recordings were
    joined.
    """

    def __init__(self, tick: float, rate: float | None, grid: float | None):
        """Starts at the first stamp.

        Args:
          tick: seconds of a unit of the stamps; 0 for a source without times.
          rate: frames per second where stamps are missing.
          grid: frames per second whose multiples the stamps seem to be; those that were rounded,
            as Matroska does to milliseconds, are put there.
        """
        self._tick = tick
        self._step = 1.0 / rate if rate else None
        self._grid = grid
        self._rounding = min(tick, 1e-3)
        self._offset: float | None = None
        self._last: float | None = None
        self._gap, self._place = 0.0, -1

    def place(self, stamp: int | None) -> float | None:
        """When the next frame appears; None without times."""
        if not self._tick:
            return None
        following = 0.0 if self._last is None else self._last + (self._step or self._gap)
        if stamp is None:
            start = following
        else:
            if self._offset is None:
                self._offset = following - stamp * self._tick
            start = stamp * self._tick + self._offset
        if self._last is not None:
            if start < self._last - RESTART * (following - self._last):
                self._offset = (self._offset or 0.0) + following - start
                start = following
            start = self._on_grid(max(start, self._last), self._last)
            self._gap = start - self._last
        self._last = start
        return start

    def end(self, duration: int, announced: float | None) -> float | None:
        """When the last frame ends; None, if it is the only one and nothing tells.

        Args:
          duration: of this frame, as stamps are counted; 0 if not stated.
          announced: end of the stream, in seconds, as stamps are counted; None if not stated.
        """
        if not self._tick or self._last is None:
            return None
        step = duration * self._tick if duration > 0 else self._step or self._gap
        end = self._last + step
        if announced and self._offset is not None:
            end = max(end, announced + self._offset)
        return end if end > 0 else None

    def _on_grid(self, start: float, last: float) -> float:
        if not self._grid:
            return start
        place = round(start * self._grid)
        exact = place / self._grid
        if place <= self._place or abs(exact - start) > self._rounding:
            return start
        self._place = place
        return max(exact, last)
