"""Clips from files: videos, animated GIFs, NumPy arrays, folders of pictures.

Whatever states times yields `TimedFrame`s with them: each frame from the moment it appears to the
moment the next one does. Arrays and folders of pictures have none.
"""

import collections
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from e3d.data.adaptation import stack_frames
from e3d.data.clip_arrays import ARRAY_SUFFIXES, MAX_BYTES, read_array
from e3d.data.pictures import gif_frames, list_pictures, opened_picture, picture_frames
from e3d.data.timing import TimedFrame, Timing, resample
from e3d.data.video_file import REMEDY
from e3d.data.videos import JumpError, last_video_frames, measure_video, video_frames
from e3d.errors import InputError


def read_clip(
    path: str | os.PathLike,
    last: int | None = None,
    layout: str = '',
    rate: float | None = None,
) -> np.ndarray:
    """Reads a clip: a video, an animated GIF, an array or a folder of pictures.

    Args:
      path: an `.npy` or `.npz` file, a `.gif`, a folder with one picture per frame (in the order
        of the numbers in their names), or any video that FFmpeg decodes.
      last: return only so many frames, the last ones; of a long video only its end is decoded.
      layout: of an array, see `e3d.data.array_layouts`; '' where it tells itself.
      rate: frames per second to which a clip with times is brought first, see `resample`; None
        leaves the frames as they are.

    Returns:
      `[T, H, W, C]`, uint8, or float32 in [0, 1]. Videos and GIFs have three channels; pictures
      have three, or one if the first of them is grey.

    Raises:
      InputError: if there is no such file, or it is no clip, damaged, truncated or too large.
    """
    path = Path(path)
    if path.suffix.lower() in ARRAY_SUFFIXES and os.path.isfile(path):
        return read_array(path, last, layout)
    if last is not None and _is_video(path):
        try:
            return _collect(path, _end_of_video(path, last, rate), last, rate)
        except JumpError:
            pass
    return _collect(path, timed_frames(path, layout), last, rate)


def clip_frames(
    path: str | os.PathLike, layout: str = '', rate: float | None = None
) -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, C]` of a clip of any length one by one; see `read_clip`."""
    return resample(timed_frames(path, layout), rate, str(path))


def timed_frames(path: str | os.PathLike, layout: str = '') -> Iterator[TimedFrame]:
    """Yields the frames of a clip one by one, with their times; see `read_clip`."""
    path = Path(path)
    if not os.path.exists(path):
        raise InputError(f'{path} does not exist. {REMEDY}')
    if path.is_dir():
        frames = map(TimedFrame, picture_frames(list_pictures(path)))
    elif path.suffix.lower() in ARRAY_SUFFIXES:
        frames = map(TimedFrame, read_array(path, layout=layout))
    elif path.suffix.lower() == '.gif':
        frames = _evenly_timed(gif_frames(path), frame_rate(path))
    else:
        frames = video_frames(path)
    count, shape = 0, None
    for count, frame in enumerate(frames, start=1):
        shape = shape or frame.pixels.shape
        if frame.pixels.shape != shape:
            raise InputError(
                f'{path} is damaged: frame {count} has {frame.pixels.shape[0]} x '
                f'{frame.pixels.shape[1]} pixels, those before it {shape[0]} x {shape[1]}. '
                f'{REMEDY}'
            )
        yield frame
    if not count:
        raise InputError(f'{path} holds no frames. {REMEDY}')


def clip_timing(path: str | os.PathLike) -> Timing | None:
    """How fast the frames of a clip follow each other; None if it does not say.

    Raises:
      InputError: as `read_clip`, as far as it shows.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in ARRAY_SUFFIXES:
        return None
    if path.suffix.lower() == '.gif':
        with opened_picture(path) as image:
            milliseconds = image.info.get('duration', 0)
        return Timing(1000.0 / milliseconds, True) if milliseconds else None
    return measure_video(path).timing


def frame_rate(path: str | os.PathLike) -> float | None:
    """Frames per second of a clip, the mean where they vary; None if it does not say.

    Raises:
      InputError: as `clip_timing`.
    """
    timing = clip_timing(path)
    return timing and timing.rate


def _is_video(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() not in (*ARRAY_SUFFIXES, '.gif')


def _end_of_video(path: Path, last: int, rate: float | None) -> Iterator[TimedFrame]:
    """The frames of which the last ones of a clip are made; raises JumpError where in doubt."""
    times = measure_video(path)
    first = len(times.stamps) - last
    if rate is not None and times.end is not None:
        instant = (math.ceil(times.end * rate) - 1 - last) / rate
        first = np.searchsorted(times.starts, instant, side='right') - 1
    return last_video_frames(path, times, max(0, int(first)))


def _collect(
    path: Path, frames: Iterable[TimedFrame], last: int | None, rate: float | None
) -> np.ndarray:
    kept = collections.deque(maxlen=last)
    for frame in resample(frames, rate, str(path)):
        kept.append(frame)
        if len(kept) * frame.nbytes > MAX_BYTES:
            raise InputError(
                f'{path} is too long: at most {MAX_BYTES / 2**30:g} GiB of frames are kept in '
                'memory. Cut the clip, or make its frames smaller.'
            )
    return stack_frames(kept)


def _evenly_timed(frames: Iterable[np.ndarray], rate: float | None) -> Iterator[TimedFrame]:
    for index, frame in enumerate(frames):
        yield TimedFrame(frame, index / rate, (index + 1) / rate) if rate else TimedFrame(frame)
