"""Folders with one picture per frame."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.picture_order import Order, order_pictures
from e3d.data.readers.pictures import (
    PICTURE_SUFFIXES,
    decode,
    is_animation,
    is_deep,
    is_gray,
    opened_picture,
    shape_of,
    unified,
)
from e3d.errors import InputError
from e3d.pixel_values import DEEP_WHITE

SEVERAL_FRAMES = 'of several frames beside single pictures'
# Formats that have animations; a PNG says in its first bytes that it is one.
MAY_MOVE = ('.gif', '.png', '.apng', '.webp', '.avif', '.tif', '.tiff')


class Look(NamedTuple):
    """What is known of a picture before it is decoded: (H, W) upright, whether gray, whether deep."""

    size: tuple[int, int]
    gray: bool
    deep: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels."""
        return math.prod(self.size) * (1 if self.gray else 3) * (4 if self.deep else 1)


def order_folder(folder: Path) -> Order:
    """The pictures of a folder in their order; see `order_pictures`.

    Hidden files are none of them, nor are animations: these are clips of their own.

    Raises:
      InputError: there are no pictures, or their order cannot be told.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f'{folder} cannot be read: {error.strerror}.') from error
    files = [file for file in entries if is_picture_name(file.name) and not file.is_dir()]
    moving = {file for file in files if moves(file)}
    if not set(files) - moving:
        found = f'only {min(moving).name}, which has several frames' if moving else 'no pictures'
        raise InputError(
            f'The folder {folder} holds {found}. One file per frame is expected, with one of '
            f'the suffixes {", ".join(PICTURE_SUFFIXES)}.'
        )
    order = order_pictures([file for file in files if file not in moving])
    left_out = tuple(LeftOut(file.name, SEVERAL_FRAMES) for file in sorted(moving))
    return order._replace(left_out=order.left_out + left_out)


def known_order(folder: Path) -> Order:
    """Like `order_folder`, but with no pictures if that fails: reading them will say why."""
    try:
        return order_folder(folder)
    except InputError:
        return Order([], None, [], '')


def is_picture_name(name: str) -> bool:
    """Whether a file is a picture by its name; hidden ones, as of macOS, are not."""
    return name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith('.')


def moves(file: Path) -> bool:
    """Whether a picture file has several frames, so that it is a clip of its own."""
    suffix = file.suffix.lower()
    if suffix not in MAY_MOVE or not file.is_file():
        return False
    if suffix == '.png':
        try:
            with file.open('rb') as opened:
                head = opened.read(2**12)
        except OSError:  # reading it will say so
            return False
        if b'IDAT' in head:  # what tells an animation comes before it
            return b'acTL' in head.partition(b'IDAT')[0]
    try:
        return is_animation(file)
    except InputError:
        return suffix in ('.gif', '.apng')  # for which it is usual


def picture_frames(files: Sequence[Path]) -> Iterator[np.ndarray]:
    """Decodes pictures of one size, all to one number of channels and one depth.

    Yields:
      `[H, W, 1]` if all of them are gray, else `[H, W, 3]`; uint8, or float32 in [0, 1] if any has
      more than 8 bits.

    Raises:
      InputError: a picture is damaged, or of another size than most.
    """
    looks = [look_at(file) for file in files]
    sizes = [look.size for look in looks]
    usual = max(dict.fromkeys(sizes), key=sizes.count)
    for file, size in zip(files, sizes, strict=True):
        if size != usual:
            raise InputError(
                f'{file} has {size[0]} x {size[1]} pixels, but most pictures beside it '
                f'{usual[0]} x {usual[1]}. All frames of a clip must have the same size.'
            )
    gray, deep = all(look.gray for look in looks), any(look.deep for look in looks)
    low, high = np.inf, -np.inf
    for file in files:
        with opened_picture(file) as image:
            pixels = decode(file, image)
        low, high = min(low, pixels.min()), max(high, pixels.max())
        yield unified(pixels, gray, deep)
    # Values that no picture has, but a mask or what a camera of fewer bits left.
    if not deep and (low, high) == (0, 1):
        raise InputError(
            f'The pictures {files[0]} ... {files[-1].name} have no other values than 0 and 1, where '
            '255 is white. If 1 is white, as in a mask, multiply them by 255, or save them with one '
            'bit.'
        )
    if deep and all(look.deep for look in looks) and 0 < high <= 255 / DEEP_WHITE:
        raise InputError(
            f'The pictures {files[0]} ... {files[-1].name} have 16 bits, but no value above 255, '
            f'where {DEEP_WHITE} is white. If 255 is white, save them with 8 bits.'
        )


def look_at(file: Path) -> Look:
    """Looks at the head of a picture."""
    with opened_picture(file) as image:
        return Look(shape_of(image), is_gray(image), is_deep(file, image))
