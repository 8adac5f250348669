"""The forecast of the calendar alone: what there was at this hour of the day, on average."""

from typing import NamedTuple

import numpy as np

from e3d.data.sources.calendar import DAY
from e3d.data.sources.grid_setup import GridSetup
from e3d.data.sources.scales import Scale

HOURS = 24
MOST = 200  # training frames of an hour that count; of more, so many spread evenly


class HourAverages(NamedTuple):
    """Forecasts by the hour, indexed as an array `[N, T_out, H, W, C]` that need not be in memory.

    Attributes:
      means: of the hours of the day, float32 `[24, H, W, C]`.
      hours: of the frames to be forecast, int `[N, T_out]`.
    """

    means: np.ndarray
    hours: np.ndarray

    def __getitem__(self, index: np.ndarray) -> np.ndarray:  # type: ignore[override]
        """The forecasts of sequences, float32 `[B, T_out, H, W, C]`."""
        return self.means[self.hours[index]]


def hours_of(times: np.ndarray) -> np.ndarray:
    """The hour of the day of dates, int from 0 to 23, as datetime64[s] has them."""
    return times.astype('datetime64[s]').astype(np.int64) % DAY * HOURS // DAY


def hour_averages(
    setup: GridSetup, day: np.ndarray | None, starts: np.ndarray
) -> dict[str, HourAverages]:
    """'hour_average' for sequences by their first frames; nothing where there is no average day."""
    if day is None:
        return {}
    first, count = setup.dataset['input_frames'], setup.dataset['output_frames']
    hours = hours_of(setup.times(0, setup.timeline.length))
    return {'hour_average': HourAverages(day, hours[starts[:, None] + first + np.arange(count)])}


def average_day(setup: GridSetup, scale: Scale, training: np.ndarray) -> np.ndarray | None:
    """The mean frame of every hour of the day.

    Args:
      setup: opened files.
      scale: of what is to be forecast.
      training: which frames are for training, bool `[T]`; at most `MOST` of an hour are read.

    Returns:
      Float32 `[24, H, W, C]` as a model sees it; where an hour knows nothing of a cell, its mean over
      all hours, and 0 where none does. None without dates, or of less than a day.
    """
    frames = np.flatnonzero(training)
    if not setup.timeline.has_dates or not len(frames):
        return None
    times = setup.times(0, setup.timeline.length)
    if times[frames[-1]] - times[frames[0]] < np.timedelta64(DAY, 's'):
        return None
    hours = hours_of(times)
    shape = setup.read_all(setup.targets, int(frames[0]), int(frames[0]) + 1).shape[1:]
    totals, counts = [], []
    for hour in range(HOURS):
        own = frames[hours[frames] == hour]
        chosen = own[np.linspace(0, len(own) - 1, min(len(own), MOST)).round().astype(int)]
        total, count = np.zeros(shape), np.zeros(shape)
        for frame in chosen.tolist():
            values = scale.from_unit(setup.read_all(setup.targets, frame, frame + 1)[0])
            total += np.nan_to_num(values)
            count += ~np.isnan(values)
        totals.append(total)
        counts.append(count)
    total, count = np.stack(totals), np.stack(counts)
    of_all = total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)
    return np.where(count > 0, total / np.maximum(count, 1), of_all).astype(np.float32)
