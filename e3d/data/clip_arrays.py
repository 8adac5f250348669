"""Frames from NumPy arrays and files: what is accepted, and why the rest is not."""

import os
from pathlib import Path

import numpy as np

from e3d.data.archives import check_unpacked_size
from e3d.errors import InputError

MAX_BYTES = 4 * 2**30  # of the frames of a clip in memory
ARRAY_SUFFIXES = ('.npy', '.npz')
ROUNDING = 1e-4  # floats may leave [0, 1] by so much, as resized pictures do; they are clipped


def read_array(path: str | os.PathLike, last: int | None = None) -> np.ndarray:
    """Reads a clip from an `.npy` or `.npz` file: `[T, H, W]` or `[T, H, W, C]`.

    An `.npz` file holds one array, or one called 'frames'. Pickled objects are never loaded.

    Args:
      path: the file.
      last: read only so many frames, the last ones.

    Returns:
      `[T, H, W, C]`, uint8, or float32 in [0, 1].

    Raises:
      InputError: if the file is damaged, too large, or holds something else.
    """
    path = Path(path)
    try:
        array = _from_archive(path) if path.suffix.lower() == '.npz' else _mapped(path)
    except InputError:
        raise
    except Exception as error:  # of any type: numpy and zipfile expect no damage
        raise InputError(
            f'{path} is not a whole NumPy file of plain numbers ({error}). Write it with '
            'np.save(file, frames), frames being uint8 or float32 [T, H, W, C].'
        ) from error
    if array.ndim not in (3, 4):
        raise InputError(
            f'{path} holds an array of shape {array.shape}; a clip is [T, H, W] or [T, H, W, C] '
            '(time, height, width, channels).'
        )
    if last is not None:
        array = array[-last:]
    if array.nbytes > MAX_BYTES:
        raise InputError(
            f'{path} holds {array.nbytes / 2**30:.1f} GiB of frames, more than the '
            f'{MAX_BYTES / 2**30:g} GiB that are read. Cut the clip, or make its frames smaller.'
        )
    frames = checked_values(array, str(path))
    return frames[..., np.newaxis] if frames.ndim == 3 else frames


def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode='r', allow_pickle=False)


def _from_archive(path: Path) -> np.ndarray:
    check_unpacked_size(path, MAX_BYTES)
    with np.load(path, allow_pickle=False) as arrays:
        name = arrays.files[0] if len(arrays.files) == 1 else 'frames'
        if name not in arrays.files:
            raise InputError(
                f'{path} holds the arrays {arrays.files}; one of them must be called '
                "'frames', or there must be only one."
            )
        return arrays[name]


def checked_values(array: np.ndarray, name: str) -> np.ndarray:
    """Makes sure that an array holds pixels: uint8 as it is, floats in [0, 1] as float32.

    Args:
      array: any shape.
      name: what to call it in messages.

    Raises:
      InputError: if it is empty, of another dtype, not finite or out of range.
    """
    try:
        array = np.asarray(array)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f'{name} cannot be made an array of numbers: {error}.') from error
    if not array.size:
        raise InputError(f'{name} holds no frames: its shape is {array.shape}.')
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype.kind != 'f':
        raise InputError(
            f'{name} has dtype {array.dtype}; pixels are uint8 (0 to 255) or floats in [0, 1]. '
            'Convert it: frames.astype(np.uint8), or frames / 255.'
        )
    if not np.isfinite(array).all():
        count = array.size - np.count_nonzero(np.isfinite(array))
        raise InputError(
            f'{name} holds {count} numbers that are NaN or infinite. Fill them first, e.g. with '
            'np.nan_to_num.'
        )
    lowest, highest = float(array.min()), float(array.max())
    if lowest < -ROUNDING or highest > 1.0 + ROUNDING:
        raise InputError(
            f'{name} has values from {lowest:g} to {highest:g}; floats must lie in [0, 1]. Divide '
            '8-bit pixels by 255; scale other data: (x - x.min()) / (x.max() - x.min()).'
        )
    return np.clip(array, 0.0, 1.0).astype(np.float32)
