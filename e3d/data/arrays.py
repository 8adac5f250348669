"""Sequences of frames that others stored as NumPy arrays.

Read are, told apart by their form:

* the test set of Moving MNIST as its authors publish it, `mnist_test_seq.npy`: uint8
  [20, N, 64, 64], time first;
* the files that accompany the E3D-LSTM and PredRNN codes, `.npz` with `input_raw_data`
  [F, C, H, W], `dims` (C, H, W) and `clips` [2, N, 2], the (start, length) of each input and of
  its target;
* any other array, `.npy` or alone in an `.npz`: [N, T, H, W, C], or [N, T, H, W] for one channel.

Values are uint8 in 0 .. 255 or floats in [0, 1]. An `.npy` file is mapped, not read, so it may be
larger than the memory; an `.npz` file is held in memory by each process that reads it.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from e3d.data.archives import check_unpacked_size
from e3d.data.digits import SPLITS
from e3d.errors import InputError

# Names of the released files, where a folder of them is given.
RELEASED_FILES = {
    'train': 'moving-mnist-train.npz',
    'validation': 'moving-mnist-valid.npz',
    'test': 'moving-mnist-test.npz',
}
FRACTIONS = (0.8, 0.1, 0.1)  # of training, validation and testing
MAX_ARCHIVE_BYTES = 2**34

_RELEASED_KEYS = {'clips', 'dims', 'input_raw_data'}


class ArraySequences:
    """A split of the sequences of a file: `source[index] -> {'frames': [T, H, W, C]}`.

    Frames are uint8 or float32 as stored. Can be pickled: the copy reads the file again.
    """

    def __init__(self, path: str, split: str, length: int, fractions: Sequence[float]):
        """See `open_array`, which checks the values as well."""
        self._arguments = (path, split, length, fractions)
        clips = read_clips(path)
        indices = _divide(len(clips), split, fractions)
        self._clips = [_cut(clips[index], length, path) for index in indices]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        clip = self._clips[index]
        return {'frames': np.array(clip, np.uint8 if clip.dtype == np.uint8 else np.float32)}

    def __reduce__(self):
        return ArraySequences, self._arguments

    def check_values(self) -> None:
        """Raises InputError where a value is not finite or out of range."""
        for clip in self._clips:
            _check_values(clip, self._arguments[0])


def open_array(
    path: str, split: str, length: int, fractions: Sequence[float] = FRACTIONS
) -> ArraySequences:
    """Opens a split of the sequences in a file or in a folder of the released files.

    Args:
      path: A file, of which each split gets a part; or a folder that holds the three released
        files, of which each is a split.
      split: 'train', 'validation' or 'test'.
      length: Frames of a sequence, T. Longer stored sequences are cut to their first T frames.
      fractions: Shares of a file's sequences for training, validation and testing. The parts
        follow each other in the file in this order and have no sequence in common.

    Raises:
      InputError: a missing or unreadable file, one of another form, sequences shorter than
        `length`, values that are not finite or out of range, a split without sequences.
    """
    folder = pathlib.Path(path).expanduser()
    if path and folder.is_dir():
        path = str(folder / RELEASED_FILES[split])
        fractions = tuple(float(split == other) for other in SPLITS)
    source = ArraySequences(path, split, length, fractions)
    source.check_values()
    return source


def read_clips(path: str) -> list[np.ndarray]:
    """Returns views of the sequences of a file, each [T, H, W, C], uint8 or float."""
    file = pathlib.Path(path).expanduser()
    if not path or not file.is_file():
        raise InputError(f"There is no file '{path}'; the path must name the array file.")
    if file.suffix == '.npy':
        return _divide_array(_map_array(file), file)
    if file.suffix != '.npz':
        raise InputError(f'{file} is neither an .npy nor an .npz file; store the array as one.')
    arrays = _load_archive(file)
    if arrays.keys() >= _RELEASED_KEYS:
        return _divide_released(**{key: arrays[key] for key in _RELEASED_KEYS}, file=file)
    if len(arrays) == 1:
        return _divide_array(*arrays.values(), file)
    raise InputError(
        f'{file} holds {", ".join(sorted(arrays)) or "nothing"}; it must hold either one array or '
        f'{", ".join(sorted(_RELEASED_KEYS))}.'
    )


def _map_array(file: pathlib.Path) -> np.ndarray:
    try:
        return np.asarray(np.load(file, mmap_mode='r', allow_pickle=False))
    except Exception as error:  # of any type: numpy expects no damage
        raise _unreadable(file, error) from error


def _load_archive(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        check_unpacked_size(file, MAX_ARCHIVE_BYTES)
        with np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except InputError:
        raise
    except Exception as error:  # of any type: numpy and zipfile expect no damage
        raise _unreadable(file, error) from error


def _unreadable(file: pathlib.Path, error: Exception) -> InputError:
    return InputError(
        f'{file} cannot be read as {file.suffix[1:]}: {error}. It must be a complete file of '
        'numbers, as numpy.save or numpy.savez write it; arrays of Python objects are refused.'
    )


def _divide_array(array: np.ndarray, file: pathlib.Path) -> list[np.ndarray]:
    _check_type(array, file)
    if array.ndim not in (4, 5) or 0 in array.shape:
        raise InputError(
            f'{file} has the shape {array.shape}; it must be [N, T, H, W, C], or [N, T, H, W] for '
            'one channel, and none of them 0.'
        )
    if array.ndim == 4:
        # An array of this very form with sequences first is to be stored with a channel axis.
        if array.dtype == np.uint8 and (array.shape[0], *array.shape[2:]) == (20, 64, 64):
            array = array.swapaxes(0, 1)
        array = array[..., None]
    return list(array)


def _divide_released(
    clips: np.ndarray, dims: np.ndarray, input_raw_data: np.ndarray, file: pathlib.Path
) -> list[np.ndarray]:
    _check_type(input_raw_data, file)
    if input_raw_data.ndim != 4 or input_raw_data.shape[1:] != tuple(dims.ravel().tolist()):
        raise InputError(
            f'In {file}, input_raw_data has the shape {input_raw_data.shape} and dims is '
            f'{dims.ravel().tolist()}; they must be [F, C, H, W] and C, H, W.'
        )
    if clips.ndim != 3 or clips.shape[::2] != (2, 2) or not np.issubdtype(clips.dtype, np.integer):
        raise InputError(
            f'In {file}, clips is {clips.dtype} {clips.shape}; it must be integers [2, N, 2].'
        )
    (starts, inputs), (targets, outputs) = clips.astype(np.int64).transpose(0, 2, 1)
    ends = targets + outputs
    sound = (starts >= 0) & (inputs >= 0) & (outputs >= 0) & (ends <= len(input_raw_data))
    wrong = np.flatnonzero(~sound | (targets != starts + inputs))
    if wrong.size:
        raise InputError(
            f'In {file}, clip {wrong[0]} has its input at {clips[0, wrong[0]].tolist()} and its '
            f'target at {clips[1, wrong[0]].tolist()} (start, length); the target must follow the '
            f'input within the {len(input_raw_data)} frames.'
        )
    frames = np.moveaxis(input_raw_data, 1, -1)
    return [frames[start:end] for start, end in zip(starts, ends, strict=True)]


def _check_type(array: np.ndarray, file: pathlib.Path) -> None:
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f'{file} holds {array.dtype}; frames must be uint8 in 0 .. 255 or floats in [0, 1].'
        )


def _check_values(clip: np.ndarray, path: str) -> None:
    if clip.dtype == np.uint8:
        return
    low, high = clip.min(), clip.max()  # nan, if there is one
    if not (low >= 0 and high <= 1):
        found = f'values from {low} to {high}' if low <= high else 'a value that is not a number'
        raise InputError(
            f'A sequence in {path} has {found}; frames of floats must lie in [0, 1]. Divide by the '
            'largest value, or store 0 .. 255 as uint8.'
        )


def _cut(clip: np.ndarray, length: int, path: str) -> np.ndarray:
    if len(clip) < length:
        raise InputError(
            f'The sequences in {path} have {len(clip)} frames, but dataset.input_frames + '
            f'dataset.output_frames is {length}; lower one of them.'
        )
    return clip[:length]


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
