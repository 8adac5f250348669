"""Frames from pictures: animated GIFs and folders with one picture per frame."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from e3d.data.video_file import REMEDY, check_size
from e3d.errors import InputError

PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')


@contextlib.contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image]:
    """A picture or GIF; whatever is wrong with it becomes an InputError."""
    try:
        with Image.open(path) as image:
            check_size(path, image.height, image.width)
            yield image
    except InputError:
        raise
    except Exception as error:  # of any type: the decoders of Pillow expect no damage
        raise InputError(f'{path} is not a whole picture: {error}. {REMEDY}') from error


def gif_frames(path: Path) -> Iterator[np.ndarray]:
    """Yields the frames of an animated GIF: uint8 `[H, W, 3]`."""
    with opened_picture(path) as image:
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
        with opened_picture(file) as image:
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
