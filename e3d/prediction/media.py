"""Clips from and to files: videos, animated GIFs, NumPy arrays, folders of pictures."""

import collections
import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from e3d.errors import InputError
from e3d.evaluation.files import written_whole
from e3d.evaluation.pictures import as_colours
from e3d.prediction.arrays import ARRAY_SUFFIXES, MAX_BYTES, read_array
from e3d.prediction.videos import REMEDY, check_size, video_frames, video_rate, write_video

MAX_FRAMES = 100_000  # that are decoded of a file
PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')
OUTPUT_SUFFIXES = ('.mp4', '.gif', '.npy', '')


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
    if not path.exists():
        raise InputError(f'{path} does not exist. {REMEDY}')
    if path.is_dir():
        return _stacked(path, _folder_frames(path), last)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return read_array(path, last)
    if path.suffix.lower() == '.gif':
        return _stacked(path, _gif_frames(path), last)
    return _stacked(path, video_frames(path), last)


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


def check_output(path: str | os.PathLike) -> None:
    """Raises InputError if `write_clip` could not write there, before any work is done."""
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(
            f'{path}: "{path.suffix}" cannot be written. Use .mp4, .gif or .npy, or a name without '
            'a suffix for a folder of PNG pictures.'
        )
    if path.is_dir() and (path.suffix or any(path.iterdir())):
        raise InputError(
            f'{path} is a folder with something in it, which is left alone. Give another name.'
        )
    if path.is_file() and not path.suffix:
        raise InputError(f'{path} is a file; a folder of pictures needs another name.')


def write_clip(
    path: str | os.PathLike, frames: np.ndarray, frames_per_second: float = 10.0
) -> None:
    """Writes a clip in the form that the suffix tells; all of it or nothing.

    A file of the same name is replaced; a folder with something in it is not. Only `.npy` keeps
    the numbers as they are (float32); the other forms hold colours of 8 bits (see `as_colours`
    for other than one or three channels). `.mp4` loses a little and has even sides; in `.gif`
    equal frames in a row become one that stands longer.

    Args:
      path: `.mp4`, `.gif`, `.npy`, or no suffix for a folder of PNG files.
      frames: `[T, H, W, C]`, uint8 or floats in [0, 1].
      frames_per_second: for `.mp4` and `.gif`.

    Raises:
      InputError: if the path cannot be used.
      RunError: if writing fails.
    """
    path = Path(path)
    check_output(path)
    with written_whole(path) as temporary:
        match path.suffix.lower():
            case '.npy':
                scale = 255.0 if frames.dtype == np.uint8 else 1.0
                with temporary.open('wb') as file:  # np.save would add to a suffix like .NPY
                    np.save(file, frames.astype(np.float32) / np.float32(scale))
            case '.mp4':
                write_video(temporary, as_colours(frames), frames_per_second)
            case '.gif':
                first, *others = (Image.fromarray(frame) for frame in as_colours(frames))
                milliseconds = max(20, round(1000.0 / frames_per_second))
                first.save(
                    temporary, save_all=True, append_images=others, duration=milliseconds, loop=0
                )
            case _:
                temporary.mkdir()
                for index, frame in enumerate(as_colours(frames), start=1):
                    grey = frames.shape[-1] == 1
                    image = Image.fromarray(frame[..., 0] if grey else frame)
                    image.save(temporary / f'frame_{index:05d}.png')


def _stacked(path: Path, frames: Iterable[np.ndarray], last: int | None) -> np.ndarray:
    """Collects frames `[H, W, C]`, within the limits."""
    kept = collections.deque(maxlen=last)
    for count, frame in enumerate(frames, start=1):
        kept.append(frame)
        if count > MAX_FRAMES or len(kept) * frame.nbytes > MAX_BYTES:
            raise InputError(
                f'{path} is too long: at most {MAX_FRAMES:,} frames and {MAX_BYTES / 2**30:g} GiB '
                'of them are read. Cut the clip, or make its frames smaller.'
            )
    if not kept:
        raise InputError(f'{path} holds no frames. {REMEDY}')
    return np.stack(kept)


@contextlib.contextmanager
def _opened_picture(path: Path) -> Iterator[Image.Image]:
    """A picture or GIF; whatever is wrong with it becomes an InputError."""
    try:
        with Image.open(path) as image:
            check_size(path, image.height, image.width)
            yield image
    except InputError:
        raise
    # Pillow raises SyntaxError for some damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f'{path} is not a whole picture: {error}. {REMEDY}') from error


def _gif_frames(path: Path) -> Iterator[np.ndarray]:
    with _opened_picture(path) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert('RGB'))


def _folder_frames(path: Path) -> Iterator[np.ndarray]:
    """The pictures of a folder in the order of the numbers in their names."""
    files = [file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES]
    if not files:
        raise InputError(
            f'The folder {path} holds no pictures. One file per frame is expected, with one of '
            f'the suffixes {", ".join(PICTURE_SUFFIXES)}.'
        )
    mode = shape = None
    for file in sorted(files, key=_numbers_in_name):
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
