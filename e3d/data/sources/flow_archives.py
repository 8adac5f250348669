"""Ready sequences of flows, `dataset.npz`, as they are distributed with OpenSTL.

X_train, Y_train, X_test and Y_test are [N, T, C, H, W] in [-1, 1]: the frames before and those to
be forecast.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from e3d.data.readers.array_files import array_names, load_arrays
from e3d.errors import InputError
from e3d.pixel_values import ROUNDING

MAX_BYTES = 2**33
SLOTS_PER_DAY = 48  # of TaxiBJ, for which the file is made
KEYS = ('X_train', 'Y_train', 'X_test', 'Y_test')


def read_flow_sequences(
    file: pathlib.Path, dataset: Mapping[str, Any], split: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The sequences of a split.

    Args:
      file: the archive.
      dataset: the section of a config: `input_frames`, `output_frames` and `validation_days`, the last
        days for training, which no training sequence overlaps; with 0 validation is on the test.
      split: 'train', 'validation' or 'test'.

    Returns:
      Frames, float32 [N, T, H, W, C], and how the file was understood, in lines for the user.

    Raises:
      InputError: the file cannot be read or has another form, or its sequences are shorter.
    """
    before, after = _read_archive(file, 'test' if split == 'test' else 'train')
    num_input, num_output = dataset['input_frames'], dataset['output_frames']
    if num_input > before.shape[1] or num_output > after.shape[1]:
        raise InputError(
            f'The sequences in {file} have {before.shape[1]} and {after.shape[1]} frames; '
            f'dataset.input_frames={num_input} and dataset.output_frames={num_output} are more.'
        )
    frames = np.concatenate([before[:, -num_input:], after[:, :num_output]], axis=1)
    held_out = dataset['validation_days'] * SLOTS_PER_DAY
    stored_length = before.shape[1] + after.shape[1]
    if split == 'validation':
        frames = frames[-held_out:]
    elif split == 'train' and held_out:  # and none that overlaps with the validation
        frames = frames[: max(0, len(frames) - held_out - stored_length + 1)]
    account = (
        f'{file}: sequences [N, T, C, H, W] of {before.shape[1]} and {after.shape[1]} frames, values '
        'in [-1, 1] mapped to [0, 1]; the counts that these stand for are not known',
        'divided as the file is; '
        + (
            f'validation: the last {held_out:,} sequences for training (dataset.validation_days)'
            if held_out
            else 'the test sequences also for validation (dataset.validation_days)'
        ),
    )
    return frames, account


def _read_archive(file: pathlib.Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the sequences of `dataset.npz`.

    Args:
      file: the archive.
      part: 'train' or 'test'.

    Returns:
      The frames before and after, each float32 [N, T, H, W, C], mapped from [-1, 1] to [0, 1];
      those for testing may be larger.

    Raises:
      InputError: the file cannot be read or has another form.
    """
    missing = set(KEYS) - array_names(file)
    if missing:
        raise InputError(
            f'{file} holds no {" and no ".join(sorted(missing))}; it must hold {", ".join(KEYS)}, '
            'each [N, T, C, H, W].'
        )
    keys = (f'X_{part}', f'Y_{part}')
    before, after = load_arrays(file, MAX_BYTES, keys).values()
    shapes = [array.shape for array in (before, after)]
    if any(len(s) != 5 or 0 in s for s in shapes) or len({*map(_without_time, shapes)}) > 1:
        raise InputError(
            f'In {file}, {keys[0]} has the shape {shapes[0]} and {keys[1]} {shapes[1]}; both must '
            'be [N, T, C, H, W] with the same N, C, H and W.'
        )
    if shapes[0][2] > 4 >= shapes[0][4]:
        raise InputError(
            f'In {file}, {keys[0]} has the shape {shapes[0]}, as if the channels came last; it '
            'must be [N, T, C, H, W]. Move them: np.moveaxis(array, -1, 2).'
        )
    low = min(
        _check_values(array, f'{key} in {file}', part)
        for key, array in zip(keys, (before, after), strict=True)
    )
    if low >= 0:
        raise InputError(
            f'{file} has no value below 0 in {keys[0]} and {keys[1]}; this file has values in '
            '[-1, 1]. If yours lie in [0, 1], store 2 * x - 1.'
        )
    before, after = (
        np.maximum((np.moveaxis(array, 2, -1).astype(np.float32) + 1) / 2, 0)
        for array in (before, after)
    )
    return before, after


def _without_time(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:1], *shape[2:])


def _check_values(array: np.ndarray, name: str, part: str) -> float:
    """Returns the smallest value."""
    if array.dtype.kind != 'f':
        raise InputError(f'{name} must hold floats in [-1, 1]; it is {array.dtype}.')
    if not np.isfinite(array).all():
        count = np.count_nonzero(~np.isfinite(array))
        raise InputError(f'{name} must be finite; {count:,} values are NaN or infinite.')
    low, high = float(array.min()), float(array.max())
    # Flows after those of the training may exceed its range.
    if low < -1 - 2 * ROUNDING or (part == 'train' and high > 1 + 2 * ROUNDING):
        raise InputError(f'{name} must lie in [-1, 1]; it has values from {low:g} to {high:g}.')
    return low
