"""Frames that a program has in memory, as `e3d.fit` is given them.

They are lent to the data set for as long as the training lasts; the config of the run names them by
a checksum of their values, so that a run goes on only with the same ones.
"""

import contextlib
import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from e3d.data.readers.array_layouts import FEW, channels_come_first
from e3d.data.sources.dataset import Dataset, Origin, register_dataset
from e3d.data.sources.scales import PIXELS, Scale
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.pixel_values import (
    Extent,
    as_array,
    as_pixels,
    check_dtype,
    check_extent,
    describe_values,
    extent_of,
    joint_extent,
    unused_bits_of,
)

SHARE = 10  # of so many clips, or frames of a clip, one is held out for a split

Frames = npt.ArrayLike | Sequence[npt.ArrayLike]


class Lent(NamedTuple):
    """Clips that are ready for a model.

    Attributes:
      splits: clips `[T, H, W, C]`, uint8 or float32, by split.
      scale: what their values stand for.
      account: how they were understood and divided, in lines for the user.
    """

    splits: Mapping[str, tuple[np.ndarray, ...]]
    scale: Scale
    account: tuple[str, ...]


_LENT: dict[str, Lent] = {}


@contextlib.contextmanager
def lend(lent: Lent) -> Iterator[str]:
    """Lets a data set use clips as long as the block lasts; gives its `dataset.path`."""
    # As a run stores it: what a later version adds to a scale does not make the same frames others.
    checksum = zlib.crc32(json.dumps(lent.scale.to_json()).encode())
    for split in SPLITS:
        for clip in lent.splits[split]:
            checksum = zlib.crc32(np.ascontiguousarray(clip).data, checksum)
    name = f'in_memory_{checksum:08x}'
    before = _LENT.get(name)
    _LENT[name] = lent
    try:
        yield name
    finally:
        _LENT.pop(name)
        if before is not None:
            _LENT[name] = before


def divide_clips(
    frames: Frames, test: Frames | None, length: int, value_range: tuple[float, float] | None
) -> Lent:
    """Makes arrays ready for a model and holds some of them out.

    Of three clips or more whole ones are held out, the last tenth for the test and the tenth before
    for validation, at least one each. Of fewer the last tenth of the frames of each is, at least one
    sequence. Clips that are shorter than a sequence are not used, which is said.

    Args:
      frames: `[T, H, W]`, `[T, H, W, C]`, `[N, T, H, W, C]`, or a list of the first two.
      test: the same, for the test alone; None holds it out of `frames`.
      length: of a sequence, frames.
      value_range: what 0 and 1 stand for in the unit of the data; None for pixels.

    Raises:
      InputError: the arrays are no clips, too few or too short, or hold values that there cannot be.
    """
    clips = _as_clips(frames, 'frames')
    own_test = () if test is None else _as_clips(test, 'test')
    scale = PIXELS
    if value_range is None:
        dtype, extents = clips[0].dtype, [_checked_pixels(clips, 'frames')]
        if own_test:
            extents.append(_checked_pixels(own_test, 'test'))
        unused = unused_bits_of(dtype, joint_extent(extents))
        values = '; '.join(filter(None, (f'{dtype.name}, {describe_values(dtype)}', unused)))
    else:
        low, high = _checked_range(value_range)
        scale = Scale((low, high), (-np.inf, np.inf))
        clips, own_test = (
            tuple(_in_unit(clip, scale, name) for clip in some)
            for some, name in ((clips, 'frames'), (own_test, 'test'))
        )
        values = f'in a unit of which {low:g} and {high:g} are 0 and 1'
    parts, rule = _divide(clips, length, ('validation',) if own_test else ('validation', 'test'))
    if own_test:
        parts['test'] = own_test
    splits = {split: _long_enough(parts[split], length, split) for split in SPLITS}
    if own_test:
        rule += f'; {_count(splits["test"])} given for the test'
    used = [clip for clip in clips if len(clip) >= length]
    total = sum(map(len, used))
    height, width, channels = clips[0].shape[1:]
    account = [
        f'{_count(used)} of {total:,} frames together, {height} x {width} x {channels}, {values}',
        rule,
    ]
    short = {split: len(parts[split]) - len(splits[split]) for split in SPLITS}
    if any(short.values()):
        counts = ', '.join(f'{split} {count:,}' for split, count in short.items() if count)
        account.append(f'clips of fewer than {length} frames, which are not used: {counts}')
    return Lent(splits, scale, tuple(account))


def _checked_range(value_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not -np.inf < low < high < np.inf:
        raise InputError(
            f'value_range={value_range!r}: must be (low, high), two finite numbers that rise.'
        )
    return low, high


def _as_clips(frames: Frames, name: str) -> tuple[np.ndarray, ...]:
    alone = False  # an array of 4 axes, which a list or a fifth axis would say to be a clip
    if not isinstance(frames, list | tuple):
        array = as_array(frames, name)
        clips, alone = tuple(array) if array.ndim == 5 else (array,), array.ndim == 4
    else:
        clips = tuple(as_array(clip, f'{name}[{index}]') for index, clip in enumerate(frames))
    if not clips:
        raise InputError(f'{name} holds no clips.')
    # Among clips of another length those that are as long as they are high tell by their size.
    if all(clip.ndim == 3 and clip.shape[0] == clip.shape[1] != clip.shape[2] for clip in clips):
        raise InputError(
            f'{name} has a clip of shape {clips[0].shape}, which may be [T, H, W] or [H, W, T]. Say so: '
            'frames[..., np.newaxis] for the first, np.moveaxis(frames, -1, 0) for the second.'
        )
    clips = tuple(clip[..., np.newaxis] if clip.ndim == 3 else clip for clip in clips)
    for clip in clips:
        if clip.ndim != 4 or clip.shape[1:] != clips[0].shape[1:] or clip.dtype != clips[0].dtype:
            raise InputError(
                f'{name} has a clip of shape {clip.shape}, {clip.dtype}: must be [T, H, W], '
                '[T, H, W, C] or [N, T, H, W, C] (clips, time, height, width, channels), or a list of '
                'the first two, all of one size and type.'
            )
    _, height, width, channels = shape = clips[0].shape
    if channels_come_first(shape[1:]):
        one = '[np.newaxis]' * alone
        raise InputError(
            f'{name} has a clip of shape {shape}, which as [T, H, W, C] is of {channels} channels, '
            f'{height} high and {width} wide. If the channels come before height and width, move '
            f'them: np.moveaxis(frames, -3, -1){one}; if these are clips [N, T, H, W], add their one '
            'channel: frames[..., np.newaxis].'
        )
    if alone and channels > FEW:
        raise InputError(
            f'{name} has the shape {shape}, which may be that of gray clips [N, T, H, W] or of one '
            f'clip [T, H, W, C] of {channels} channels. Say so: frames[..., np.newaxis] for the first, '
            'frames[np.newaxis] for the second; np.moveaxis(frames, -1, 1)[..., np.newaxis] for clips '
            '[N, H, W, T].'
        )
    return clips


def _checked_pixels(clips: Sequence[np.ndarray], name: str) -> Extent:
    for clip in clips:
        check_dtype(clip, name)
    dtype = clips[0].dtype
    extent = joint_extent(map(extent_of, clips))
    try:
        check_extent(dtype, extent, name)
    except InputError as error:
        if extent.unusable:  # for which there is no range
            raise
        raise InputError(
            f'{error} Or give value_range=({extent.low:g}, {extent.high:g}): forecasts are then in '
            'the unit of the data.'
        ) from error
    return extent


def _in_unit(clip: np.ndarray, scale: Scale, name: str) -> np.ndarray:
    if clip.dtype.kind not in 'iuf' or not np.isfinite(clip).all():
        raise InputError(f'{name} must hold integers or floats, none of them NaN or infinite.')
    return scale.from_unit(clip)


def _divide(
    clips: tuple[np.ndarray, ...], length: int, held_out: tuple[str, ...]
) -> tuple[dict[str, tuple[np.ndarray, ...]], str]:
    """The clips by split, of any length, and the rule in words."""
    names = ' and '.join(held_out)
    if len(clips) > len(held_out):
        count = max(1, len(clips) // SHARE)
        splits, rest = {}, clips
        for split in reversed(held_out):
            splits[split] = rest[-count:]
            rest = rest[:-count]
        splits['train'] = rest
        return splits, f'divided by clips: the last {count} each for {names}'
    needed = (1 + len(held_out)) * length
    short = min(map(len, clips))
    if short < needed:
        raise InputError(
            f'A clip has {short} frames, but a training with sequences of {length} needs {needed}, '
            f'as {names} are held out of it. Give longer clips, more of them, test=FRAMES, or fewer '
            'input_frames or output_frames.'
        )
    parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    counts = [max(length, len(clip) // SHARE) for clip in clips]
    for clip, count in zip(clips, counts, strict=True):
        for split in reversed(held_out):
            parts[split].append(clip[-count:])
            clip = clip[:-count]
        parts['train'].append(clip)
    least, most = min(counts), max(counts)
    held = f'{least}' if least == most else f'{least} to {most}'
    rule = f'divided by time: the last {held} frames of each clip each for {names}'
    return {split: tuple(some) for split, some in parts.items()}, rule


def _long_enough(clips: tuple[np.ndarray, ...], length: int, split: str) -> tuple[np.ndarray, ...]:
    kept = tuple(clip for clip in clips if len(clip) >= length)
    if not kept:
        raise InputError(
            f"The clips of the split '{split}' have at most {max(map(len, clips))} frames, but "
            f'input_frames + output_frames is {length}. Lower one of them, or give longer clips.'
        )
    return kept


def _count(clips: Sequence[np.ndarray]) -> str:
    return f'{len(clips):,} clip{"s" * (len(clips) != 1)}'


@dataclasses.dataclass(frozen=True)
class InMemorySequences:
    """Sequences cut out of clips: `source[index] -> {'frames': [T, H, W, C]}`.

    Attributes:
      clips: `[T, H, W, C]`.
      starts: clip and first frame of each, int `[N, 2]`.
      length: frames of each.
      scale: what the values stand for.
      account: how the clips were understood.
      checksum: of the clips of all splits.
    """

    clips: tuple[np.ndarray, ...]
    starts: np.ndarray
    length: int
    scale: Scale
    account: tuple[str, ...]
    checksum: str

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        clip, first = self.starts[index]
        frames = self.clips[clip][first : first + self.length]
        return {'frames': as_pixels(frames) if self.scale.of_pixels else frames}

    @property
    def extent(self) -> tuple[float, float] | None:
        """The least and the largest value as the model sees them; None of pixels."""
        if self.scale.of_pixels:
            return None
        return min(float(c.min()) for c in self.clips), max(float(c.max()) for c in self.clips)


@register_dataset('in_memory')
@dataclasses.dataclass(frozen=True)
class InMemoryDataset(Dataset):
    """Arrays that `e3d.fit` is given in Python."""

    resizable = False
    origin = Origin('made', instructions='Arrays in Python: e3d.fit(frames).')

    @staticmethod
    def open(dataset: Mapping[str, Any], split: str, seed: int) -> InMemorySequences:
        """Sequences that begin at every frame; of validation and test, after each forecast.

        Raises:
          InputError: the frames are no longer in memory.
        """
        lent = _LENT.get(dataset['path'])
        if lent is None:
            raise InputError(
                f"The frames of the data set 'in_memory' ({dataset['path'] or 'no path'}) were given "
                'to e3d.fit by a program, and are not kept. Give them again: e3d.fit(frames, ..., '
                'workdir=FOLDER) goes on with the run there; --config.dataset.name names data in files.'
            )
        length = dataset['input_frames'] + dataset['output_frames']
        stride = 1 if split == 'train' else dataset['output_frames']
        clips = _long_enough(lent.splits[split], length, split)
        starts = [
            (number, first)
            for number, clip in enumerate(clips)
            for first in range(0, len(clip) - length + 1, stride)
        ]
        return InMemorySequences(
            clips=clips,
            starts=np.array(starts),
            length=length,
            scale=lent.scale,
            account=lent.account,
            checksum=dataset['path'],
        )
