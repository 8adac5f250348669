"""The values of frames in arrays: what is accepted, and why the rest is not.

Accepted are uint8 (255 is white), uint16 (65,535 is white), truth values (True is white) and floats
in [0, 1]. Nothing else has a white that everyone agrees on, and none is guessed.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from e3d.errors import InputError

ROUNDING = 1e-4  # floats may leave [0, 1] by so much, as resized pictures do; they are clipped
DEEP_WHITE = 65535  # of 16 bits

FEWER_BITS = (10, 12, 14)  # of cameras whose values are kept in 16

_DEEP = ('u', 2)  # kind and bytes of uint16, in either order of the bytes
_ROUNDED = 0.01  # by so much float32 may miss an integer of 16 bits after a division

_SCALE = (
    'Map other data to [0, 1] by the range of what was measured, the same LOW and HIGH for all files: '
    '(frames - LOW) / (HIGH - LOW).'
)


class Extent(NamedTuple):
    """What there is in an array.

    Attributes:
      low: smallest number.
      high: largest number.
      unusable: how many are NaN or infinite; those do not count for the other two.
    """

    low: float
    high: float
    unusable: int = 0


def checked_values(array: Any, name: str, single_frame: bool = False) -> np.ndarray:
    """Makes sure that an array holds pixels: uint8 as it is, all others as float32 in [0, 1].

    Args:
      array: any shape.
      name: what to call it in messages.
      single_frame: whether it is too little to doubt the type of integers, as it may be dark.

    Raises:
      InputError: if it is empty, of another dtype, masked, not finite or out of range.
    """
    array = as_numbers(array, name)
    if array.dtype.kind == 'f' or not single_frame:
        check_extent(array.dtype, extent_of(array), name)
    return as_pixels(array)


def as_numbers(array: Any, name: str) -> np.ndarray:
    """An array of a dtype that is accepted; what is no array is made one.

    Raises:
      InputError: if it is empty, masked or of another dtype.
    """
    array = as_array(array, name)
    check_dtype(array, name)
    return array


def as_array(array: Any, name: str) -> np.ndarray:
    """An array of any dtype; bfloat16, which is none of NumPy's, becomes float32.

    Raises:
      InputError: if it is empty or masked, or cannot be made an array.
    """
    if isinstance(array, np.ma.MaskedArray):
        count = np.ma.count_masked(array)
        if count:
            raise InputError(
                f'{name} is a masked array with {count:,} masked values, which no model can see. '
                'Fill them with a value that stands for missing: frames.filled(VALUE).'
            )
    try:
        array = np.asarray(array)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f'{name} cannot be made an array of numbers: {error}.') from error
    if not array.size:
        raise InputError(f'{name} holds no frames: its shape is {array.shape}.')
    return array.astype(np.float32) if array.dtype.name == 'bfloat16' else array


def check_dtype(array: np.ndarray, name: str) -> None:
    """Raises InputError for a dtype that has no agreed white."""
    dtype = array.dtype
    if dtype in (np.uint8, np.bool_) or dtype.kind == 'f' or (dtype.kind, dtype.itemsize) == _DEEP:
        return
    if dtype.kind in 'iu':
        low, high, _ = extent_of(array)
        remedy = (
            'If 255 is white: frames.astype(np.uint8), which these values allow. '
            if low >= 0 and high <= 255
            else 'If 65535 is white: frames.astype(np.uint16), which these values allow. '
            if low >= 0 and high <= DEEP_WHITE
            else ''
        )
        raise InputError(
            f'{name} has dtype {dtype} with values from {low:g} to {high:g}, which does not tell '
            'what white is; accepted are uint8 (0 to 255), uint16 (0 to 65535), bool and floats in '
            f'[0, 1]. {remedy}{_SCALE}'
        )
    raise InputError(
        f'{name} has dtype {dtype}; frames must be plain numbers: uint8 (0 to 255), uint16 (0 to '
        '65535), bool, or floats in [0, 1].'
    )


def extent_of(array: np.ndarray) -> Extent:
    """The extent of an array that is not empty."""
    unusable = 0
    if array.dtype.kind == 'f':
        finite = np.isfinite(array)
        unusable = array.size - int(np.count_nonzero(finite))
        if unusable == array.size:
            return Extent(np.inf, -np.inf, unusable)
        array = array[finite] if unusable else array
    return Extent(float(array.min()), float(array.max()), unusable)


def joint_extent(extents: Iterable[Extent]) -> Extent:
    """The extent of several arrays together."""
    low, high, unusable = np.inf, -np.inf, 0
    for extent in extents:
        low, high = min(low, extent.low), max(high, extent.high)
        unusable += extent.unusable
    return Extent(low, high, unusable)


def check_extent(dtype: np.dtype, extent: Extent, name: str) -> None:
    """Raises InputError for numbers that are not finite or that white cannot belong to.

    Args:
      dtype: one that `check_dtype` accepts.
      extent: of all that belongs together, so that a dark clip is no reason to doubt.
      name: what to call it in messages.
    """
    low, high, unusable = extent
    if unusable:
        raise InputError(
            f'{name} holds numbers that are NaN or infinite, {unusable:,} of them. Fill them first '
            'with a value that stands for missing, e.g. with np.nan_to_num(frames, nan=VALUE).'
        )
    if dtype == np.uint8 and (low, high) == (0, 1):
        raise InputError(
            f'{name} is uint8 with no other values than 0 and 1, where 255 is white. If 1 is '
            'white, as in a mask: frames.astype(bool). If these are nearly black frames: '
            'frames / 255.'
        )
    if (dtype.kind, dtype.itemsize) == _DEEP and 0 < high <= 255:
        raise InputError(
            f'{name} is uint16 with values of at most {high:g}, where 65535 is white. If 255 is '
            'white: frames.astype(np.uint8), which these values allow. If these are nearly black '
            'frames: frames / 65535.'
        )
    if dtype.kind == 'f' and not (low >= -ROUNDING and high <= 1 + ROUNDING):
        eight_bits = (
            'Divide 8-bit pixels by 255: frames / 255. ' if low >= 0 and 2 < high <= 255 else ''
        )
        raise InputError(
            f'{name} has values from {low:g} to {high:g}; floats must lie in [0, 1]. '
            f'{eight_bits}{_SCALE}'
        )


def as_pixels(array: np.ndarray) -> np.ndarray:
    """Checked values as they are used: uint8 as it is, all others as float32 in [0, 1]."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind == 'u':
        return array.astype(np.float32) / np.float32(DEEP_WHITE)
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    return np.clip(array, 0, 1).astype(np.float32)


def describe_values(dtype: np.dtype) -> str:
    """What white is, for the account of how an array was read."""
    if dtype.kind == 'u':
        return f'{255 if dtype == np.uint8 else DEEP_WHITE} is white'
    return 'True is white' if dtype == np.bool_ else '1 is white'


def describe_unused_bits(highest: float) -> str:
    """Says where values of 16 bits leave the upper ones unused, as those of cameras do; '' elsewhere.

    Frames may be dark as well, so nothing is refused.

    Args:
      highest: value of all that belongs together, as of uint16.
    """
    bits = next((bits for bits in FEWER_BITS if 255 < highest < 2**bits), None)
    if bits is None:
        return ''
    return (
        f'no value is above {highest:,.0f}, as of {bits} bits; {DEEP_WHITE:,} is white all the same: '
        f'multiply by {2 ** (16 - bits)} if {2**bits - 1:,} is to be white'
    )


def unused_bits_of(dtype: np.dtype, extent: Extent) -> str:
    """`describe_unused_bits` of an array; '' of all but uint16."""
    return describe_unused_bits(extent.high) if (dtype.kind, dtype.itemsize) == _DEEP else ''


def highest_deep(frames: np.ndarray) -> float:
    """The highest value of decoded frames as of uint16; 0 where they do not come from such integers.

    Args:
      frames: uint8, or float32 in [0, 1].
    """
    if frames.dtype == np.uint8:
        return 0.0
    highest = float(frames.max()) * DEEP_WHITE
    if highest < 2 ** max(FEWER_BITS):  # others need no closer look
        values = frames * np.float32(DEEP_WHITE)
        if np.abs(values - np.rint(values)).max() > _ROUNDED:
            return 0.0
    return float(np.rint(highest))


def as_floats(frames: np.ndarray) -> np.ndarray:
    """Frames as a model takes them: uint8 becomes float32 in [0, 1], floats become float32."""
    if frames.dtype == np.uint8:
        return np.divide(frames, 255, dtype=np.float32)
    return frames.astype(np.float32, copy=False)


def as_bytes(frames: np.ndarray) -> np.ndarray:
    """Frames of 8 bits, as data sets keep them: floats in [0, 1] are rounded, uint8 stays."""
    return frames if frames.dtype == np.uint8 else np.rint(frames * 255).astype(np.uint8)


def over_black(frames: np.ndarray) -> np.ndarray:
    """Lays frames with transparency on black, so that hidden colors do not appear.

    Args:
      frames: `[..., H, W, C + 1]`, uint8, or floats in [0, 1]; the last channel is the opacity,
        by which the others are not multiplied yet.

    Returns:
      `[..., H, W, C]` of the same type.
    """
    colors, opacity = frames[..., :-1], frames[..., -1:]
    if frames.dtype != np.uint8:
        return colors * opacity
    return ((colors.astype(np.uint16) * opacity + 127) // 255).astype(np.uint8)


def stack_frames(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Stacks frames `[H, W, C]` of one depth or of several, which become float32 then."""
    frames = list(frames)
    if len({frame.dtype for frame in frames}) > 1:
        frames = [as_floats(frame) for frame in frames]
    return np.stack(frames)
