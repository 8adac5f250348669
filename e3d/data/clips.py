"""Clips from files: videos, animated GIFs, NumPy arrays, folders of pictures."""

import collections
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from e3d.data.clip_arrays import ARRAY_SUFFIXES, MAX_BYTES, read_array
from e3d.data.pictures import gif_frames, list_pictures, opened_picture, picture_frames
from e3d.data.videos import REMEDY, video_frames, video_rate
from e3d.errors import InputError

MAX_FRAMES = 100_000  # that are decoded of a file


def read_clip(path: str | os.PathLike, last: int | None = None, layout: str = '') -> np.ndarray:
    """Reads a clip: a video, an animated GIF, an array or a folder of pictures.

    Args:
      path: an `.npy` or `.npz` file, a `.gif`, a folder with one picture per frame (in the order
        of the numbers in their names), or any video that FFmpeg decodes.
      last: return only so many frames, the last ones.
      layout: of an array, see `e3d.data.array_layouts`; '' where it tells itself.

    Returns:
      `[T, H, W, C]`, uint8, or float32 in [0, 1]. Videos and GIFs have three channels; pictures
      have three, or one if the first of them is grey.

    Raises:
      InputError: if there is no such file, or it is no clip, damaged, truncated or too large.
    """
    path = Path(path)
    if path.suffix.lower() in ARRAY_SUFFIXES and path.is_file():
        return read_array(path, last, layout)
    kept = collections.deque(maxlen=last)
    for frame in clip_frames(path):
        kept.append(frame)
        if len(kept) * frame.nbytes > MAX_BYTES:
            raise _too_long(path)
    return np.stack(kept)


def clip_frames(path: str | os.PathLike, layout: str = '') -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, C]` of a clip one by one; see `read_clip`."""
    path = Path(path)
    if not path.exists():
        raise InputError(f'{path} does not exist. {REMEDY}')
    if path.is_dir():
        frames = picture_frames(list_pictures(path))
    elif path.suffix.lower() in ARRAY_SUFFIXES:
        frames = read_array(path, layout=layout)
    elif path.suffix.lower() == '.gif':
        frames = gif_frames(path)
    else:
        frames = video_frames(path)
    count, shape = 0, None
    for count, frame in enumerate(frames, start=1):
        if count > MAX_FRAMES:
            raise _too_long(path)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise InputError(
                f'{path} is damaged: frame {count} has {frame.shape[0]} x {frame.shape[1]} pixels, '
                f'those before it {shape[0]} x {shape[1]}. {REMEDY}'
            )
        yield frame
    if not count:
        raise InputError(f'{path} holds no frames. {REMEDY}')


def frame_rate(path: str | os.PathLike) -> float | None:
    """Frames per second at which a clip is meant to be played; None if it does not say."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in ARRAY_SUFFIXES:
        return None
    if path.suffix.lower() == '.gif':
        with opened_picture(path) as image:
            milliseconds = image.info.get('duration', 0)
        return 1000.0 / milliseconds if milliseconds else None
    return video_rate(path)


def _too_long(path: Path) -> InputError:
    return InputError(
        f'{path} is too long: at most {MAX_FRAMES:,} frames and {MAX_BYTES / 2**30:g} GiB of them '
        'are read. Cut the clip, or make its frames smaller.'
    )
