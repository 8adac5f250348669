"""Clips from files: videos, animations, NumPy arrays, folders of pictures.

Whatever states times yields `TimedFrame`s with them: each frame from the moment it appears to the
moment the next one does. Arrays and folders of pictures have none.
"""

import bisect
import collections
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from e3d.data.readers.animations import animation_frames, animation_timing, describe_animation
from e3d.data.readers.clip_arrays import ARRAY_SUFFIXES, MAX_BYTES, describe_array, read_array
from e3d.data.readers.containers import REMEDY
from e3d.data.readers.picture_folders import look_at, order_folder, picture_frames
from e3d.data.readers.pictures import PICTURE_SUFFIXES, check_total
from e3d.data.readers.timing import TimedFrame, Timing, even_moments, resample
from e3d.data.readers.videos import JumpError, last_video_frames, measure_video, video_frames
from e3d.errors import InputError
from e3d.files import regular_file
from e3d.pixel_values import stack_frames

NAMED = 3  # of the pictures that were left out


def read_clip(
    path: str | os.PathLike[str],
    last: int | None = None,
    layout: str = '',
    rate: float | None = None,
    assumed: float | None = None,
) -> np.ndarray:
    """Reads a clip: a video, an animated picture, an array or a folder of pictures.

    Args:
      path: an `.npy` or `.npz` file, a folder with one picture per frame (in the order
        of the numbers in their names; see `e3d.data.readers.picture_order`), a picture or animation, or
        any video that FFmpeg decodes.
      last: return only so many frames, the last ones; of a long video only its end is decoded.
      layout: of an array, see `e3d.data.readers.array_layouts`; '' where it tells itself.
      rate: frames per second to which a clip with times is brought first, see `resample`; None
        leaves the frames as they are, but for those of an animation, which are repeated as long as
        they stand (see `e3d.data.readers.animations.even_times`).
      assumed: frames per second that pictures of a folder are taken to have, from which they are
        brought to `rate`; None leaves them as they are.

    Returns:
      `[T, H, W, C]`, uint8, or float32 in [0, 1]. Videos and GIFs have three channels; pictures
      have three, or one if all of them are gray. Of a folder in which pictures are missing only
      what follows the last gap.

    Raises:
      InputError: if there is no such file, or it is no clip, damaged, truncated or too large.
    """
    path = Path(path)
    if path.suffix.lower() in ARRAY_SUFFIXES and os.path.isfile(path):
        return read_array(path, last, layout)
    if path.is_dir():
        files = order_folder(path).last
        if assumed:
            moments = even_moments(len(files), assumed)
            files = list(resample(map(TimedFrame, files, moments, moments[1:]), rate, str(path)))
        files = files[-(last or 0) :]
        look = look_at(files[0])
        size = sum(regular_file(file).stat().st_size for file in files)
        check_total(path, len(files), len(files) * math.prod(look.size), size)
        if len(files) * look.nbytes > MAX_BYTES:
            raise _too_long(path)
        return _collect(path, map(TimedFrame, picture_frames(files)), last, None)
    if last is not None and is_video(path):
        try:
            return _collect(path, _end_of_video(path, last, rate), last, rate)
        except JumpError:
            pass
    return _collect(path, timed_frames(path, layout), last, rate or _own_rate(path))


def clip_frames(
    path: str | os.PathLike[str], layout: str = '', rate: float | None = None
) -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, C]` of a clip of any length one by one; see `read_clip`."""
    return resample(timed_frames(path, layout), rate or _own_rate(Path(path)), str(path))


def timed_frames(path: str | os.PathLike[str], layout: str = '') -> Iterator[TimedFrame]:
    """Yields the frames of a clip one by one, with their times; see `read_clip`."""
    path = Path(path)
    frames: Iterator[TimedFrame]
    if not os.path.exists(path):
        raise InputError(f'{path} does not exist. {REMEDY}')
    if path.is_dir():
        frames = map(TimedFrame, picture_frames(order_folder(path).files))
    elif path.suffix.lower() in ARRAY_SUFFIXES:
        frames = map(TimedFrame, read_array(path, layout=layout))
    elif path.suffix.lower() in PICTURE_SUFFIXES:
        frames = animation_frames(path)
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


def clip_timing(path: str | os.PathLike[str]) -> Timing | None:
    """How fast the frames of a clip follow each other; None if it does not say.

    Raises:
      InputError: as `read_clip`, as far as it shows.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in ARRAY_SUFFIXES:
        return None
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return animation_timing(path)
    return measure_video(path).timing


def describe_clip(path: str | os.PathLike[str], layout: str = '') -> str:
    """Says how `read_clip` understands what could be understood otherwise; '' if nothing could.

    Raises:
      InputError: as `read_clip`, as far as it shows.
    """
    path = Path(path)
    if path.is_dir():
        order = order_folder(path)
        others = [one.name for one in order.left_out]
        if len(others) > NAMED:
            others[NAMED:] = [f'{len(others) - NAMED} more']
        left_out = f'; left out: {", ".join(others)}' if others else ''
        return f'{path}: pictures {order.account}{left_out}'
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return describe_array(path, layout)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return describe_animation(path)
    remarks = '; '.join(measure_video(path).remarks)
    return f'{path}: {remarks}' if remarks else ''


def frame_rate(path: str | os.PathLike[str]) -> float | None:
    """Frames per second of a clip, the mean where they vary; None if it does not say.

    Raises:
      InputError: as `clip_timing`.
    """
    timing = clip_timing(path)
    return timing and timing.rate


def _own_rate(path: Path) -> float | None:
    """The rate to which an animation is brought in any case: its frames stand for several steps."""
    if path.suffix.lower() not in PICTURE_SUFFIXES or path.is_dir():
        return None
    return frame_rate(path)


def is_video(path: Path) -> bool:
    """Whether a clip is a video by its name: no array, picture or folder."""
    return path.is_file() and path.suffix.lower() not in (*ARRAY_SUFFIXES, *PICTURE_SUFFIXES)


def _end_of_video(path: Path, last: int, rate: float | None) -> Iterator[TimedFrame]:
    """The frames of which the last ones of a clip are made; raises JumpError where in doubt."""
    times = measure_video(path)
    first = len(times.stamps) - last
    if rate is not None and times.end is not None:
        instant = (math.ceil(times.end * rate) - 1 - last) / rate
        starts = [start for start in times.starts if start is not None]
        first = bisect.bisect_right(starts, instant) - 1
    return last_video_frames(path, times, max(0, first))


def _collect(
    path: Path, frames: Iterable[TimedFrame], last: int | None, rate: float | None
) -> np.ndarray:
    kept = collections.deque[np.ndarray](maxlen=last)
    for frame in resample(frames, rate, str(path)):
        kept.append(frame)
        if len(kept) * frame.nbytes > MAX_BYTES:
            raise _too_long(path)
    return stack_frames(kept)


def _too_long(path: Path) -> InputError:
    return InputError(
        f'{path} is too long: at most {MAX_BYTES / 2**30:g} GiB of frames are kept in memory. Cut '
        'the clip, or make its frames smaller.'
    )
