"""Sequences of frames that others stored as NumPy arrays.

Read are, told apart by what they hold:

* the files that accompany the E3D-LSTM and PredRNN codes, `.npz` with `input_raw_data`
  [F, C, H, W], `dims` (C, H, W) and `clips` [2, N, 2], the (start, length) of each input and of
  its target;
* any other array, `.npy` or alone in an `.npz`: [N, T, H, W, C], and what tells itself or is named
  with a layout (`readers.array_layouts`). So the test set of Moving MNIST as its authors publish
  it, `mnist_test_seq.npy`, [20, 10000, 64, 64] time first, is known by its frames.

For the values see `e3d.pixel_values`. An `.npy` file is mapped, not read, so it may be larger
than the memory; an `.npz` file is held in memory by each process that reads it.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from e3d.data.readers.array_files import load_arrays, map_array
from e3d.data.readers.array_layouts import read_sequences
from e3d.data.readers.left_out import LeftOut
from e3d.data.sources.array_copies import MAX_COMPARED, find_copies, find_overlapping
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.files import local_path, regular_file
from e3d.pixel_values import (
    as_pixels,
    check_dtype,
    check_extent,
    describe_values,
    extent_of,
    joint_extent,
    unused_bits_of,
)

# Names of the released files, where a folder of them is given.
RELEASED_FILES = {
    'train': 'moving-mnist-train.npz',
    'validation': 'moving-mnist-valid.npz',
    'test': 'moving-mnist-test.npz',
}
COPY = 'the same as, or frames of, one in another split, where these stay'
INSTRUCTIONS = (
    'Give an .npy or .npz file of yours, or mnist_test_seq.npy, 10,000 sequences of Moving MNIST '
    '(782 MiB), which its authors distribute at '
    'https://www.cs.toronto.edu/~nitish/unsupervised_video/: fetch it by hand, and name it with '
    '--config.dataset.test_path=FILE to test on it, or with --config.dataset.digits=array '
    '--config.dataset.path=FILE to train on it as well. Moving digits are made without any file by '
    'default.'
)
FRACTIONS = (0.8, 0.1, 0.1)  # of training, validation and testing
MAX_ARCHIVE_BYTES = 2**33
BLOCK_BYTES = 2**26  # that are looked at at once

_RELEASED_KEYS = {'clips', 'dims', 'input_raw_data'}
_TOO_MANY = f'copies are looked for in no more than {MAX_COMPARED:,}'


class ArraySequences:
    """A split of the sequences of a file: `source[index] -> {'frames': [T, H, W, C]}`.

    Frames are uint8, or float32 in [0, 1]. Can be pickled: the copy reads the file again.

    Attributes:
      account: how the file was understood, in lines for the user.
      left_out: sequences that are in another split as well, where they stay: that of the test, or
        that of the validation.
    """

    def __init__(self, path: str, split: str, length: int, fractions: Sequence[float], layout: str):
        """See `open_array`, which checks the values as well."""
        self._arguments = (path, split, length, fractions, layout)
        clips, account = read_clips(path, layout)
        self._clips, self._length = clips, length
        self._range = _divide(len(clips), split, fractions)
        shortest = _shortest(clips, self._range)
        if shortest < length:
            raise InputError(
                f'The sequences in {path} have {shortest} frames, but dataset.input_frames + '
                f'dataset.output_frames is {length}; lower one of them.'
            )
        elsewhere = [] if split == 'test' else _indices_after(len(clips), split, fractions)
        copies, compared = self._find_copies(elsewhere)
        self.account: tuple[str, ...] = (account, _rule(split, fractions) + compared)
        self.left_out = tuple(
            LeftOut(f'sequence {index + 1:,} of {path}', COPY) for index in sorted(copies)
        )
        self._indices: Sequence[int] = self._range
        if copies:
            self._indices = [index for index in self._range if index not in copies]
        if not self._indices:
            raise InputError(
                f"All {len(self._range)} sequences of the split '{split}' of {path} have frames of "
                'those in another split. Give other sequences, or other dataset.split_fractions.'
            )

    def _find_copies(self, elsewhere: Sequence[int]) -> tuple[set[int], str]:
        """The indices of sequences that have frames of some elsewhere; words if none was sought."""
        clips, length = self._clips, self._length
        if not elsewhere:
            return set(), ''
        overlapping: set[int] = set()
        if isinstance(clips, Stretches):
            overlapping = find_overlapping(clips.ranges[:, 0], self._range, elsewhere, length)
        if len(clips) > MAX_COMPARED:
            return overlapping, f'; {_TOO_MANY}'
        shortest = _shortest(clips, range(len(clips)))
        copies = find_copies(clips, self._range, clips, elsewhere, min(length, shortest))
        return overlapping | copies, ''

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        clip = self._clips[self._indices[index]][: self._length]
        return {'frames': as_pixels(np.array(clip))}

    def __reduce__(self) -> tuple[Any, ...]:
        return ArraySequences, self._arguments

    def check_values(self) -> None:
        """Raises InputError where a value is not finite or out of range; says what they leave unused."""
        extent = joint_extent(map(extent_of, _blocks(self._clips, self._range, self._length)))
        name = f"split '{self._arguments[1]}' of {self._arguments[0]}"
        check_extent(self._clips.dtype, extent, f'The {name}')
        if unused := unused_bits_of(self._clips.dtype, extent):
            self.account += (f'{name}: {unused}',)

    def check_not_trained_on(self, path: str, fractions: Sequence[float]) -> None:
        """Makes sure that no sequence is in another file that is trained on, or validated by.

        Args:
          path: what is divided into the splits for that, see `open_array`; where it cannot be read,
            this is said.
          fractions: shares of a file for training, validation and testing.

        Raises:
          InputError: sequences are in both.
        """
        own, _, length, _, layout = self._arguments
        for file, share in _files_of_training(path, fractions):
            try:
                others, _ = read_clips(file, layout)
            except InputError:
                self.account += (f'{own} was not compared with {file}, which cannot be read',)
                continue
            elsewhere = range(round(share * len(others)))
            if not elsewhere:
                continue
            if len(self) + len(elsewhere) > MAX_COMPARED:
                self.account += (f'{own} was not compared with {file}: {_TOO_MANY}',)
                continue
            compared = min(length, _shortest(others, elsewhere))
            copies = find_copies(self._clips, self._indices, others, elsewhere, compared)
            if copies:
                raise InputError(
                    f'{len(copies):,} of the {len(self):,} sequences of {own} (dataset.test_path), '
                    f'the first of them sequence {min(copies) + 1:,}, are in {file} too, which is '
                    "trained on. Give a file without them, or dataset.test_path='' to test on the "
                    'part of dataset.path that is for it.'
                )


@dataclasses.dataclass(frozen=True)
class Stretches:
    """Sequences that lie in one array of frames.

    Attributes:
      frames: [F, H, W, C].
      ranges: first frame and the one after the last of each sequence, int [N, 2].
    """

    frames: np.ndarray
    ranges: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the frames."""
        return self.frames.dtype

    def __len__(self) -> int:
        return len(self.ranges)

    def __getitem__(self, index: int) -> np.ndarray:
        start, end = self.ranges[index]
        return self.frames[start:end]


# Sequences by index, each [T, H, W, C]; an array has them of one length, [N, T, H, W, C].
Clips = np.ndarray | Stretches


def _shortest(clips: Clips, indices: range) -> int:
    """Frames of the shortest sequence."""
    if isinstance(clips, np.ndarray):
        return clips.shape[1]
    return int(np.diff(clips.ranges[indices.start : indices.stop]).min())


def _blocks(clips: Clips, indices: range, length: int) -> Iterator[np.ndarray]:
    """The first `length` frames of the sequences, in parts that memory holds."""
    if isinstance(clips, np.ndarray):
        step = max(1, BLOCK_BYTES // clips[0, :length].nbytes)
        for start in indices[::step]:
            yield clips[start : min(start + step, indices.stop), :length]
    else:
        for index in indices:
            yield clips[index][:length]


def open_array(
    path: str,
    split: str,
    length: int,
    fractions: Sequence[float] = FRACTIONS,
    layout: str = '',
) -> ArraySequences:
    """Opens a split of the sequences in a file or in a folder of the released files.

    Args:
      path: a file, of which each split gets a part; or a folder that holds the three released
        files, of which each is a split.
      split: 'train', 'validation' or 'test'.
      length: frames of a sequence, T. Longer stored sequences are cut to their first T frames.
      fractions: shares of a file's sequences for training, validation and testing. The parts
        follow each other in the file in this order and have no sequence in common.
      layout: of the array, as 'NTCHW'; '' where it tells itself.

    Raises:
      InputError: a missing or unreadable file, one of another form, sequences shorter than
        `length`, values that are not finite or out of range, a split without sequences.
    """
    if path and os.path.isdir(folder := local_path(path, 'The path of the array')):
        path = str(folder / RELEASED_FILES[split])
        fractions = tuple(float(split == other) for other in SPLITS)
    source = ArraySequences(path, split, length, fractions, layout)
    source.check_values()
    return source


def read_clips(path: str, layout: str = '') -> tuple[Clips, str]:
    """The sequences of a file, and how the file was understood."""
    file = local_path(path, 'The path of the array') if path else None
    if not file or not os.path.exists(file):
        raise InputError(
            f"The stored sequences were not found: there is no file '{path}'. {INSTRUCTIONS}"
        )
    regular_file(file)
    if file.suffix.lower() == '.npy':
        array = map_array(file)
    elif file.suffix.lower() != '.npz':
        raise InputError(f'{file} is neither an .npy nor an .npz file; store the array as one.')
    else:
        arrays = load_arrays(file, MAX_ARCHIVE_BYTES, _RELEASED_KEYS)
        if arrays.keys() >= _RELEASED_KEYS:
            return _divide_released(**arrays, file=file)
        if len(arrays) != 1:
            raise InputError(
                f'{file} holds {", ".join(sorted(arrays)) or "nothing"}; it must hold either one '
                f'array or {", ".join(sorted(_RELEASED_KEYS))}.'
            )
        (array,) = arrays.values()
    if array.size:
        check_dtype(array, str(file))
    reading = read_sequences(array, layout, str(file))
    return reading.frames, reading.account


def _divide_released(
    clips: np.ndarray, dims: np.ndarray, input_raw_data: np.ndarray, file: pathlib.Path
) -> tuple[Stretches, str]:
    if (
        not input_raw_data.size
        or input_raw_data.ndim != 4
        or input_raw_data.shape[1:] != tuple(dims.ravel().tolist())
    ):
        raise InputError(
            f'In {file}, input_raw_data has the shape {input_raw_data.shape} and dims is '
            f'{dims.ravel().tolist()}; they must be [F, C, H, W] and C, H, W.'
        )
    if clips.ndim != 3 or clips.shape[::2] != (2, 2) or not np.issubdtype(clips.dtype, np.integer):
        raise InputError(
            f'In {file}, clips is {clips.dtype} {clips.shape}; it must be integers [2, N, 2].'
        )
    check_dtype(input_raw_data, f'input_raw_data in {file}')
    (starts, inputs), (targets, outputs) = clips.astype(np.int64).transpose(0, 2, 1)
    ends = targets + outputs
    # Each number by itself as well: sums of large ones wrap around.
    each = ((clips >= 0) & (clips <= len(input_raw_data))).all(axis=(0, 2))
    sound = each & (ends <= len(input_raw_data))
    wrong = np.flatnonzero(~sound | (targets != starts + inputs))
    if wrong.size:
        raise InputError(
            f'In {file}, clip {wrong[0]} has its input at {clips[0, wrong[0]].tolist()} and its '
            f'target at {clips[1, wrong[0]].tolist()} (start, length); the target must follow the '
            f'input within the {len(input_raw_data)} frames.'
        )
    frames = np.moveaxis(input_raw_data, 1, -1)
    account = (
        f'{file}: input_raw_data {input_raw_data.dtype} {list(input_raw_data.shape)} read as '
        f'[frames, C, H, W], of which clips names {len(starts):,} sequences; '
        + describe_values(input_raw_data.dtype)
    )
    return Stretches(frames, np.stack([starts, ends], axis=1)), account


def _rule(split: str, fractions: Sequence[float]) -> str:
    if 1.0 in fractions:
        return f'all its sequences are for the {split} split'
    shares = ', '.join(f'{share:g}' for share in fractions)
    return f'divided by dataset.split_fractions=({shares}), in the order of the sequences'


def _files_of_training(path: str, fractions: Sequence[float]) -> list[tuple[str, float]]:
    """The files for training and validation, and which share of each, from its beginning, is."""
    folder = local_path(path, 'The path of the array')
    if os.path.isdir(folder):
        return [(str(folder / RELEASED_FILES[split]), 1.0) for split in ('train', 'validation')]
    return [(path, sum(fractions[:2]))]


def _indices_after(count: int, split: str, fractions: Sequence[float]) -> Sequence[int]:
    """The indices of the sequences in the splits after this one."""
    after = SPLITS[SPLITS.index(split) + 1 :]
    shares = dict(zip(SPLITS, fractions, strict=True))
    parts = [_divide(count, other, fractions) for other in after if shares[other]]
    return range(parts[0].start, parts[-1].stop) if parts else range(0)


def _divide(count: int, split: str, fractions: Sequence[float]) -> range:
    if len(fractions) != 3 or min(fractions) < 0 or not 0 < sum(fractions) <= 1 + 1e-9:
        raise InputError(
            f'dataset.split_fractions is {tuple(fractions)}; it must be three shares of at least 0 '
            'for training, validation and testing that sum to at most 1.'
        )
    place = SPLITS.index(split)
    first, last = (round(count * sum(fractions[:end])) for end in (place, place + 1))
    if first == last:
        raise InputError(
            f"A share of {fractions[place]} of {count} sequences leaves the split '{split}' empty; "
            'raise it in dataset.split_fractions.'
        )
    return range(first, min(last, count))
