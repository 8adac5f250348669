"""A clip from a NumPy file: its form and its values, and why others are rejected."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from e3d.data.readers.array_files import array_names, load_arrays, map_array
from e3d.data.readers.array_layouts import Reading, read_clip_axes
from e3d.errors import InputError
from e3d.pixel_values import (
    as_pixels,
    check_dtype,
    check_extent,
    extent_of,
    joint_extent,
    unused_bits_of,
)

MAX_BYTES = 4 * 2**30  # of the frames of a clip in memory
BLOCK_BYTES = 2**26  # that are looked at at once
ARRAY_SUFFIXES = ('.npy', '.npz')


def read_array(
    path: str | os.PathLike[str], last: int | None = None, layout: str = ''
) -> np.ndarray:
    """Reads a clip from an `.npy` or `.npz` file: `[T, H, W]` or `[T, H, W, C]`.

    An `.npz` file holds one array, or one called 'frames'. Pickled objects are never loaded.

    Args:
      path: the file.
      last: read only so many frames, the last ones.
      layout: of the array, as 'TCHW' (see `e3d.data.readers.array_layouts`); '' where it tells itself.

    Returns:
      `[T, H, W, C]`, uint8, or float32 in [0, 1].

    Raises:
      InputError: if the file is damaged, too large, or holds something else.
    """
    return read_opened(open_array(path, layout), path, last).frames


def read_opened(reading: Reading, path: str | os.PathLike[str], last: int | None = None) -> Reading:
    """Reads what `open_array` has opened: pixels, as `read_array` gives them.

    Args:
      reading: with the frames as they are stored; all of them tell what the account says of bits.
      path: what to call it in messages.
      last: read only so many frames, the last ones.

    Raises:
      InputError: as `read_array`.
    """
    opened = reading.frames
    frames = opened if last is None else opened[-last:]
    # Whatever is not of 8 bits becomes float32, truth values of one byte too.
    size = frames.nbytes if frames.dtype == np.uint8 else max(frames.nbytes, 4 * frames.size)
    if size > MAX_BYTES:
        raise InputError(
            f'{path} holds {size / 2**30:.1f} GiB of frames, more than the '
            f'{MAX_BYTES / 2**30:g} GiB that are read. Cut the clip, or make its frames smaller.'
        )
    # A dark end does not tell what white is: all frames do, though only those used must be finite.
    whole = joint_extent(map(extent_of, _blocks(opened)))
    check_extent(frames.dtype, whole._replace(unusable=extent_of(frames).unusable), str(path))
    account = '; '.join(filter(None, (reading.account, unused_bits_of(frames.dtype, whole))))
    return Reading(as_pixels(frames), account, reading.layout)


def _blocks(frames: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // frames[0].nbytes)
    for start in range(0, len(frames), step):
        yield frames[start : start + step]


def describe_array(path: str | os.PathLike[str], layout: str = '') -> str:
    """Says how `read_array` understands a file: its axes and what white is."""
    return open_array(path, layout).account


def open_array(path: str | os.PathLike[str], layout: str = '', pixels: bool = True) -> Reading:
    """Opens a clip as it is stored, whatever its values; see `read_array`.

    Args:
      path: the file.
      layout: of the array; '' where it tells itself.
      pixels: whether its numbers must be of a type that pixels have; other data may be any.

    Raises:
      InputError: as `read_array`.
    """
    path = Path(path)
    array = _load(path) if path.suffix.lower() == '.npz' else map_array(path)
    if array.size and pixels:
        check_dtype(array, str(path))
    return read_clip_axes(array, layout, str(path), pixels)


def _load(path: Path) -> np.ndarray:
    names = array_names(path)
    masks = [name for name in sorted(names) if 'mask' in name.lower()]
    if masks and len(names) > 1:
        raise InputError(
            f"{path} holds '{masks[0]}' beside the frames, which no model can see. Store an array "
            'alone, in which a value stands for what is missing.'
        )
    if len(names) != 1 and 'frames' not in names:
        raise InputError(
            f'{path} holds the arrays {", ".join(sorted(names)) or "(none)"}; one of them must be '
            "called 'frames', or there must be only one."
        )
    arrays = load_arrays(path, MAX_BYTES, ('frames',))
    return next(iter(arrays.values()))
