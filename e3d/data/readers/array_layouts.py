"""Which axis of a stored array is which.

A layout names the axes in their order: N sequences, T time, H height, W width, C channels, as in
'NTHWC'. Where none is given, the array itself must tell: the number of channels by its size, the
order of sequences and time by the frames, of which those that follow each other are alike. What
does not tell is rejected, and what was understood is said.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from e3d.errors import InputError
from e3d.pixel_values import describe_values

AXES = 'NTHWC'
# More channels are not taken for channels by their number alone, nor among four axes by a square
# beside them: clips that have time last have it as well.
FEW = 4
PLACES = 512  # in an array at which the frames beside each other are compared, or as many as
COMPARED_BYTES = 2**28  # allow
# So often must one of two axes win for each square root of the places: three standard deviations of
# a coin.
DECISIVE = 3.0

_SEVERAL = ' Store several clips as files of their own.'


class Reading(NamedTuple):
    """An array as it was understood.

    Attributes:
      frames: a view, [N, T, H, W, C] of sequences or [T, H, W, C] of a clip.
      account: how the array was read, for the user.
      layout: the axes of the array.
    """

    frames: np.ndarray
    account: str
    layout: str


def read_sequences(array: np.ndarray, layout: str, name: str) -> Reading:
    """Arranges an array of many sequences as [N, T, H, W, C].

    Args:
      array: with 4 or 5 axes.
      layout: of the array; '' where it must tell itself.
      name: what to call it in messages.

    Raises:
      InputError: it has another number of axes, an axis of 0, or does not tell its layout.
    """
    _check_shape(array, name, layout)
    if layout:
        reason = 'as dataset.layout says'
        wins, places = _compare_axes(arrange(array, layout))
        if wins < -DECISIVE * math.sqrt(places):
            reason += ', though frames of one time are more alike than those of one sequence'
    elif array.ndim not in (4, 5):
        raise InputError(
            f'{name} has the shape {array.shape}; it must be [N, T, H, W, C], or [N, T, H, W] for '
            'one channel (sequences, time, height, width, channels). Any other order of the axes '
            'is named with dataset.layout.'
        )
    else:
        layout, reason = _tell_sequences(array, name)
    frames = arrange(array, layout)
    return Reading(frames, _account(array, layout, reason, frames.shape, name), layout)


def read_clip_axes(array: np.ndarray, layout: str, name: str, pixels: bool = True) -> Reading:
    """Arranges an array of one clip as [T, H, W, C].

    Args:
      array: with 3 or 4 axes, or with 5 of which that of the sequences is 1.
      layout: of the array or of sequences of such clips; where it is '', or of other axes, the
        array must tell itself.
      name: what to call it in messages.
      pixels: whether to say what white is.

    Raises:
      InputError: as `read_sequences`; or there are several clips.
    """
    _check_shape(array, name)
    # The layout of sequences tells that of one, the layout of colors that of gray.
    one = layout.replace('N', '')
    for named in filter(None, (layout, one, one.replace('C', ''))):
        if len(named) == array.ndim and ('N' not in named or array.shape[named.index('N')] == 1):
            layout, reason = named, 'as dataset.layout says'
            break
    else:
        other = f', as dataset.layout={layout} does not name it' if layout else ''
        layout, reason = _tell_clip(array, name)
        reason += other
    frames = arrange(array, layout)
    account = _account(array, layout, reason, frames.shape, name, pixels)
    return Reading(frames[0], account, layout)


def grid_layout(array: np.ndarray, layout: str, name: str) -> str:
    """The layout of grids over time, of one series or of many; what is read stays where it is.

    Args:
      array: anything with a `shape` of 3 to 5 axes.
      layout: of the array; '' where its shape must tell.
      name: what to call it in messages.

    Raises:
      InputError: it has another number of axes, an axis of 0, or does not tell its layout.
    """
    _check_shape(array, name, layout)
    if layout:
        return layout
    if array.ndim != 5:
        return _tell_clip(array, name, several=True)[0]
    return f'NT{_tell_frames(array, name)}'


def _tell_sequences(array: np.ndarray, name: str) -> tuple[str, str]:
    """The layout of 4 or 5 axes, and what told it."""
    shape, has_channels = array.shape, array.ndim == 5
    if has_channels:
        grid = _tell_frames(array, name)
    else:
        grid = 'HW'
        if min(shape[1], shape[3]) <= FEW:
            raise _unclear(array, ('NTHW', 'TNHW', 'TCHW', 'THWC'), name)
        if _is_square(shape[1:]):
            raise _unclear(array, ('NTHW', 'NHWT', 'TNHW', 'THWC'), name)
    if shape[0] == 1:
        return f'NT{grid}', 'by its shape'
    wins, places = _compare_axes(array)
    if not places or abs(wins) < DECISIVE * math.sqrt(places):
        if not has_channels:
            raise _unclear(array, ('NTHW', 'TNHW'), name)
        return f'NT{grid}', 'by its shape and the usual order of sequences and time'
    first, count = ('NT', 'second') if wins > 0 else ('TN', 'first')
    agreed = (places + abs(wins)) // 2
    return f'{first}{grid}', (
        f'frames beside each other along the {count} axis are more alike than along the other in '
        f'{agreed} of {places} places'
    )


def _tell_frames(array: np.ndarray, name: str) -> str:
    """The layout of the last three of 5 axes."""
    shape, grid = array.shape, _tell_channels(array.shape[2:])
    # So few frames may be channels, which come before time, or before frames that have time last.
    if grid is None or (shape[1] <= FEW and (grid == 'CHW' or shape[4] > FEW)):
        raise _unclear(array, ('NTHWC', 'NTCHW', 'NCTHW', 'NCHWT'), name)
    return grid


def _tell_clip(array: np.ndarray, name: str, several: bool = False) -> tuple[str, str]:
    """The layout of one clip, or where there may be `several` of them, and what told it."""
    shape, lead = array.shape, ''
    if array.ndim == 5 and shape[0] == 1:
        shape, lead = shape[1:], 'N'
    if len(shape) == 3:
        if shape[2] <= FEW < shape[1] or _is_square(shape):
            raise _unclear(array, ('THW', 'HWT'), name)
        return 'THW', 'by its shape'
    if len(shape) == 4:
        grid = _tell_few_channels(shape[1:])
        if grid is not None:
            return f'{lead}T{grid}', 'by its shape'
        if shape[0] == 1 and not _is_square(shape[1:]):
            # One sequence, or one channel before the rest: the same.
            return 'NCTHW' if lead else 'NTHW', 'by its shape'
        layouts = ['THWC', 'TCHW', *(('NTHW', 'NHWT') if several else ('CTHW',))]
        raise _unclear(array, [lead + one for one in layouts], name, '' if several else _SEVERAL)
    more = _SEVERAL if array.ndim == 5 else ''
    raise InputError(
        f'{name} holds an array of shape {shape}; a clip is [T, H, W] or [T, H, W, C] (time, '
        f'height, width, channels).{more}'
    )


def channels_come_first(shape: Sequence[int]) -> bool:
    """Whether frames that are said to be [H, W, C] look like [C, H, W], by the sizes alone."""
    return shape[2] > FEW and _tell_channels(shape) == 'CHW'


def _tell_channels(shape: Sequence[int]) -> str | None:
    """Whether the channels of [., ., .] come first or last; None where that is unclear."""
    few = _tell_few_channels(shape)
    if few is not None or min(shape[0], shape[2]) <= FEW:
        return few
    if _is_square(shape):
        return 'HWC'
    return 'CHW' if _is_square(shape[::-1]) else None


def _tell_few_channels(shape: Sequence[int]) -> str | None:
    """Like `_tell_channels`, by the number of channels alone."""
    first, last = (_channel_likeness(shape[axis]) for axis in (0, -1))
    if first == last:
        return None
    return 'CHW' if first > last else 'HWC'


def _is_square(shape: Sequence[int]) -> bool:
    """Whether [., ., .] has a square before something else, as [H, W, T] and [H, W, C] have."""
    return shape[0] == shape[1] != shape[2]


def _channel_likeness(size: int) -> int:
    """2 for gray and RGB, 1 for other small numbers, 0 for more than there usually are."""
    return {1: 2, 2: 1, 3: 2, 4: 1}.get(size, 0)


def _compare_axes(array: np.ndarray) -> tuple[int, int]:
    """Along which of the first two axes frames beside each other are more alike.

    Returns:
      At how many places it is the second axis, less those at which it is the first; and the number
      of places.
    """
    rows, columns = (size - 1 for size in array.shape[:2])
    most = max(16, min(PLACES, COMPARED_BYTES // (3 * array[0, 0].nbytes)))
    places = np.arange(rows * columns)
    if len(places) > most:
        places = np.random.default_rng(0).integers(rows * columns, size=most)
    wins = 0
    for row, column in zip(*np.divmod(places, max(columns, 1)), strict=True):
        here = array[row, column].astype(np.float32)
        with np.errstate(invalid='ignore', over='ignore'):  # the values are not checked yet
            below, right = (
                float(np.abs(array[other].astype(np.float32) - here).mean())
                for other in ((row + 1, column), (row, column + 1))
            )
        wins += (right < below) - (right > below)
    return wins, len(places)


def arrange(array: np.ndarray, layout: str) -> np.ndarray:
    """A view [N, T, H, W, C] of an array of a layout; axes that it does not name are 1."""
    order = [layout.index(axis) for axis in AXES if axis in layout]
    missing = tuple(place for place, axis in enumerate(AXES) if axis not in layout)
    return np.expand_dims(array.transpose(order), missing)


def _account(
    array: np.ndarray,
    layout: str,
    reason: str,
    shape: tuple[int, ...],
    name: str,
    pixels: bool = True,
) -> str:
    count, frames, height, width, channels = shape
    sequences = f'{count:,} sequence{"s" * (count != 1)} of ' if 'N' in layout else ''
    return (
        f'{name}: {array.dtype} {list(array.shape)} read as {layout} ({reason}): {sequences}'
        f'{frames:,} frames of {height} x {width}, {channels} channel{"s" * (channels != 1)}'
        + (f'; {describe_values(array.dtype)}' if pixels else '')
    )


def _check_shape(array: np.ndarray, name: str, layout: str = '') -> None:
    if 0 in array.shape:
        raise InputError(f'{name} holds no frames: its shape is {array.shape}.')
    if layout and len(layout) != array.ndim:
        raise InputError(
            f'{name} has the shape {array.shape}, {array.ndim} axes, but dataset.layout={layout!r} '
            f"names {len(layout)}. Name each axis; '' lets the array tell."
        )


def _unclear(array: np.ndarray, layouts: Sequence[str], name: str, more: str = '') -> InputError:
    meanings = '; '.join(
        f'--config.dataset.layout={layout} for '
        + ', '.join(f'{axis}={size}' for axis, size in zip(layout, array.shape, strict=True))
        + _rearrangement(array.shape, layout)
        for layout in layouts
    )
    return InputError(
        f'{name} has the shape {array.shape}, which does not tell which axis is which (N '
        f'sequences, T time, H height, W width, C channels). Say so: {meanings}; or the like.{more}'
    )


def _rearrangement(shape: tuple[int, ...], layout: str) -> str:
    """How to store a clip so that it tells its layout itself; '' where that does not help."""
    order = [layout.index(axis) for axis in 'THWC' if axis in layout]
    sizes = [shape[place] for place in order] + [1] * ('C' not in layout)
    if 'N' in layout or _tell_few_channels(sizes[1:]) != 'HWC':
        return ''
    moved = '' if order == sorted(order) else f'.transpose({", ".join(map(str, order))})'
    return f' (or store frames{moved}{"" if "C" in layout else "[..., np.newaxis]"})'
