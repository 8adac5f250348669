"""Clips from files: videos, animated GIFs, NumPy arrays, folders of pictures."""

import collections
import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from e3d.data.clip_arrays import ARRAY_SUFFIXES, MAX_BYTES, read_array
from e3d.data.videos import REMEDY, check_size, video_frames, video_rate
from e3d.errors import InputError

MAX_FRAMES = 100_000  # that are decoded of a file
PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')


def read_clip(path: str | os.PathLike, last: int | None = None) -> np.ndarray:
    """Reads a clip: a video, an animated GIF, an array or a folder of pictures.

    Args:
      path: an `.npy` or `.npz` file, a `.gif`, a folder with one picture per frame (in the order
        of the numbers in their names), or any video that FFmpeg decodes.
      last: return only so many frames, the last ones.

    Returns:
      `[T, H, W, C]`, uint8, or float32 in [0, 1]. Videos and GIFs have three channels; pictures
      have three, or one if the first of them is grey.

    Raises:
      InputError: if there is no such file, or it is no clip, damaged, truncated or too large.
    """
    path = Path(path)
    if path.suffix.lower() in ARRAY_SUFFIXES and path.is_file():
        return read_array(path, last)
    kept = collections.deque(maxlen=last)
    for frame in clip_frames(path):
        kept.append(frame)
        if len(kept) * frame.nbytes > MAX_BYTES:
            raise _too_long(path)
    return np.stack(kept)


def clip_frames(path: str | os.PathLike) -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, C]` of a clip one by one; see `read_clip`."""
    path = Path(path)
    if not path.exists():
        raise InputError(f'{path} does not exist. {REMEDY}')
    if path.is_dir():
        frames = picture_frames(list_pictures(path))
    elif path.suffix.lower() in ARRAY_SUFFIXES:
        frames = read_array(path)
    elif path.suffix.lower() == '.gif':
        frames = _gif_frames(path)
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
        with _opened_picture(path) as image:
            milliseconds = image.info.get('duration', 0)
        return 1000.0 / milliseconds if milliseconds else None
    return video_rate(path)


def _too_long(path: Path) -> InputError:
    return InputError(
        f'{path} is too long: at most {MAX_FRAMES:,} frames and {MAX_BYTES / 2**30:g} GiB of them '
        'are read. Cut the clip, or make its frames smaller.'
    )


@contextlib.contextmanager
def _opened_picture(path: Path) -> Iterator[Image.Image]:
    """A picture or GIF; whatever is wrong with it becomes an InputError."""
    try:
        with Image.open(path) as image:
            check_size(path, image.height, image.width)
            yield image
    except InputError:
        raise
    except Exception as error:  # of any type: the decoders of Pillow expect no damage
        raise InputError(f'{path} is not a whole picture: {error}. {REMEDY}') from error


def _gif_frames(path: Path) -> Iterator[np.ndarray]:
    with _opened_picture(path) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert('RGB'))


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers in their names."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES]
    if not files:
        raise InputError(
            f'The folder {folder} holds no pictures. One file per frame is expected, with one of '
            f'the suffixes {", ".join(PICTURE_SUFFIXES)}.'
        )
    return sorted(files, key=_numbers_in_name)


def picture_frames(files: Iterable[Path]) -> Iterator[np.ndarray]:
    """Yields pictures of one size: `[H, W, 1]` if the first of them is grey, else `[H, W, 3]`."""
    mode = shape = None
    for file in files:
        with _opened_picture(file) as image:
            if image.mode.startswith(('I', 'F')):
                raise InputError(f'{file} has more than 8 bits per pixel; save it with 8 bits.')
            mode = mode or ('L' if image.mode in ('1', 'L') else 'RGB')
            frame = np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise InputError(
                f'{file} has {frame.shape[0]} x {frame.shape[1]} pixels, but the pictures before '
                f'it {shape[0]} x {shape[1]}. All frames of a clip must have the same size.'
            )
        yield frame


def _numbers_in_name(file: Path) -> list[tuple[int, str]]:
    """Sorting key that puts `frame_10` after `frame_9`."""
    parts = re.split(r'(\d+)', file.name)
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in parts]
