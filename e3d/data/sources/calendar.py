"""What the calendar tells of a time, as numbers in [0, 1] that a model sees beside the frames."""

import numpy as np

DAY = 86_400  # seconds
_MONDAY = np.datetime64('1970-01-05', 's')


def _turn(part: np.ndarray) -> np.ndarray:
    """The place on a circle of `part` of a turn, `[..., 2]`: 23 h lies beside 0 h."""
    angle = 2 * np.pi * part
    return (1 + np.stack([np.sin(angle), np.cos(angle)], axis=-1)) / 2


def _of_day(times: np.ndarray) -> np.ndarray:
    return _turn((times - _MONDAY).astype(np.int64) % DAY / DAY)


def _of_week(times: np.ndarray) -> np.ndarray:
    return _turn((times - _MONDAY).astype(np.int64) // DAY % 7 / 7)


def _of_year(times: np.ndarray) -> np.ndarray:
    year = times.astype('datetime64[Y]')
    years = year, year + np.timedelta64(1, 'Y')
    start, end = (first.astype('datetime64[s]') for first in years)
    return _turn((times - start).astype(np.float64) / (end - start).astype(np.float64))


FEATURES = {'hour': _of_day, 'weekday': _of_week, 'season': _of_year}


def calendar_features(times: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Two numbers for each feature, float32 `[T, 2 len(names)]`.

    Args:
      times: datetime64 `[T]`.
      names: of `FEATURES`: 'hour' of the day, day of the week, and 'season', the time of the year.
    """
    times = times.astype('datetime64[s]')
    return np.concatenate([FEATURES[name](times) for name in names], axis=-1).astype(np.float32)
