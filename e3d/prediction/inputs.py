"""A user's clip made into what a model sees, as the data set of its training does it."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from e3d.data.readers.array_layouts import Reading
from e3d.data.readers.clip_arrays import ARRAY_SUFFIXES, open_array, read_opened
from e3d.data.readers.clips import clip_timing, describe_clip, is_video, read_clip
from e3d.data.readers.timing import Timing
from e3d.data.sources.adaptation import Preparation, preparation_of
from e3d.data.sources.dataset import DATASETS, Dataset
from e3d.data.sources.file_facts import FileFacts, check_facts, describe_other_step
from e3d.data.sources.flow_files import read_flows
from e3d.data.sources.grid_setup import GridSetup, hide_missing, open_setup
from e3d.data.sources.grid_timeline import find_files, open_file
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.model.beside import widths_beside
from e3d.pixel_values import (
    as_array,
    as_floats,
    checked_values,
    describe_unused_bits,
    highest_deep,
)
from e3d.runs.trained_run import Run

FLOW_SUFFIXES = ('.h5', '.hdf5')


class InputClip(NamedTuple):
    """A clip, or the end of one, ready for a model.

    Attributes:
      frames: float32 `[T, H, W, C]` as the model sees them.
      size: height and width of what is seen of the decoded frames, in their pixels.
      rate: frames per second; None where it is not known.
      account: what was read and what was done to it, in lines.
      beside: what else the model sees of these frames, see `e3d.model.beside`.
    """

    frames: np.ndarray
    size: tuple[int, int]
    rate: float | None
    account: list[str]
    beside: Mapping[str, np.ndarray] = {}

    @property
    def known(self) -> np.ndarray:
        """The frames with NaN where there are gaps."""
        valid = self.beside.get('valid')
        return self.frames if valid is None else np.where(valid, self.frames, np.float32(np.nan))


def read_input(path: Path, run: Run, horizon: int = 1, whole: bool = False) -> InputClip:
    """Reads a clip, or the end of it, as much as the model was trained to see.

    Args:
      path: whatever `readers.clips.read_clip` reads; where the data of the run have a unit, only
        an array, or an `.h5` file of flows.
      run: whose data set says how it is prepared.
      horizon: frames that will be forecast, of which what is known ahead is read as well.
      whole: reads all of it, as a recognizer needs.

    Raises:
      InputError: the clip cannot be read, or is no clip for this model.
    """
    dataset = run.config.dataset
    if dataset.get('name') == 'grids':
        return _read_grids(path, run, horizon)
    last, layout, wanted = (
        None if whole else dataset.input_frames,
        dataset.get('layout', ''),
        dataset.get('frame_rate'),
    )
    preparation = preparation_of(dataset, run.frame_shape)
    if not run.scale.of_pixels:
        decoded, account = _read_numbers(path, run, last, layout)
        timing = None
    elif _is_array(path) and path.is_file():
        array = read_opened(_open_array(path, run, layout), path, last)
        decoded, account, timing = array.frames, [f'{array.account}.'], None
    else:
        assumed = DATASETS.get(dataset.get('name', ''), Dataset).assumed_rate
        decoded = read_clip(path, last, layout, wanted, assumed)
        line = describe_clip(path, layout)
        account = [f'{line}.'] if line else []
        unused = '' if is_video(path) else describe_unused_bits(highest_deep(decoded))
        if unused:
            account.append(f'{path}: of the frames that were read {unused}.')
        timing = clip_timing(path)
        if assumed and path.is_dir():
            timing = Timing(assumed, constant=True)
            account.append(
                f'{path}: pictures taken to be {assumed:g} a second, as in the training.'
            )
    count, done = len(decoded), preparation.describe(decoded.shape[1:], timing)
    used = f'the last {count} frames' if count > 1 else 'one frame'
    if last is None:
        used = f'{count} frame{"s" * (count > 1)}'
    else:
        used += _no_more(count, last)
    account.append(f'Read {used} of {path}{f": {done}" if done else ""}.')
    if run.facts and timing:
        account += check_facts(FileFacts(step=1 / timing.rate), run.facts, str(path))
    if not run.scale.of_pixels:
        account.append(_describe_range(decoded, run))
    elif dataset.get('name') == 'taxibj':
        account.append(
            'The run was made by an earlier version, which did not keep the range of its data: '
            'values are those of the training, scaled to [0, 1], here and in the forecast.'
        )
    frames = prepare_frames(decoded, preparation, run.scale, str(path))
    # What has no times by now was taken for frames of the wanted rate in training as well.
    rate = wanted or (timing and timing.rate)
    return InputClip(frames, preparation.seen_size(decoded.shape[1:3]), rate, account)


def _read_grids(path: Path, run: Run, horizon: int) -> InputClip:
    """The end of grids; where variables are known ahead, the last `horizon` steps are of these."""
    variables = _variables_for(path, run)
    dataset = {**run.config.dataset.to_dict(), 'path': str(path), 'variables': variables}
    setup, account = open_setup(dataset), []
    if run.facts:
        account = check_facts(setup.facts, run.facts, str(path))
        other_step = describe_other_step(setup.facts, run.facts, str(path))
        if other_step:
            raise InputError(f'{other_step} Give frames in that step.')
    end = setup.timeline.length - (horizon if setup.known else 0)
    first, last = setup.timeline.runs[-1].tolist()
    start = max(first, end - dataset['input_frames'])
    if start >= end:
        raise InputError(
            f'{path} has {last - first} frames after its last gap in time; {horizon} of them are to be '
            'forecast, of which dataset.known are known, so there must be more.'
        )
    stepped = setup.with_step(run.facts.step) if run.facts else setup
    sequence = stepped.sequence(start, end, run.scale, 'valid' in run.beside, horizon)
    frames = sequence.pop('frames')
    widths = widths_beside(sequence)
    fits = frames.shape[1:] == run.frame_shape
    if dataset.get('crop'):  # larger frames are forecast in tiles
        fits = frames.shape[3] == run.frame_shape[2] and all(
            side >= cut for side, cut in zip(frames.shape[1:3], run.frame_shape[:2], strict=True)
        )
    if not fits or widths != run.beside:
        raise InputError(
            f'{path} has grids of {frames.shape[1:]} [H, W, C] with {widths or "nothing"} beside them; '
            f'the run was trained on {run.frame_shape} with {dict(run.beside) or "nothing"}.'
        )
    if 'valid' in sequence and not sequence['valid'].any():
        raise InputError(f'{path} has no value at all in its last {end - start} frames.')
    unit = f' {run.scale.unit}' if run.scale.unit else ''
    known = setup.read_all(setup.targets, start, end)
    checked_numbers(known, run.scale, str(path), gaps=True)
    count, stretches = end - start, len(setup.timeline.runs)
    of_last = _no_more(count, dataset['input_frames'])
    times = setup.timeline.times
    if stretches > 1:
        apart = 'series' + ' or stretches without a gap in time' * (times is not None)
        of_last = f' of the last of {stretches:,} {apart}{of_last}'
    until = '' if times is None else f', until {times[end - 1]}{setup.timeline.in_steps}'
    account.append(
        f'Read the last {count} of {end - first:,} frames{of_last} of {_last_file(setup)}{until}, with '
        f'values from {np.nanmin(known):g} to {np.nanmax(known):g}{unit}.'
    )
    return InputClip(frames, frames.shape[1:3], None, account, sequence)


def _last_file(setup: GridSetup) -> str:
    """Where the last frames are: of a folder, the name of its last file as well."""
    pieces = setup.timeline.pieces
    several = pieces[0].file.path != pieces[-1].file.path
    name = f', which ends with {pieces[-1].file.path.name}' if several else ''
    return f'{setup.dataset["path"]}{name}'


def _variables_for(path: Path, run: Run) -> tuple[str, ...]:
    """The variables of a file that are those of the training, in its order; () for all that there are.

    Where there is one, it may have another name; in an `.npy` file none has a name.

    Raises:
      InputError: some are missing.
    """
    file, dataset = find_files(str(path))[0], run.config.dataset
    if not run.facts or file.suffix.lower() == '.npy':
        return tuple(dataset.variables)
    names = tuple(run.facts.units)
    with contextlib.closing(open_file(file, dataset.layout, names)) as opened:
        there = [*opened.grids]
    missing = [name for name in names if name not in there]
    if missing and len(names) > 1:
        raise InputError(
            f"{file} has no variable '{missing[0]}' with a time axis; it has {', '.join(there)}. The "
            f'run was trained with {", ".join(names)}, which must all be there.'
        )
    return () if missing else names


def _no_more(count: int, wanted: int) -> str:
    """Says where a clip has fewer frames than the model was trained to see."""
    return f' (there are no more; the model was trained on {wanted})' if count < wanted else ''


def preparation_for(run: Run, size: tuple[int, ...]) -> Preparation:
    """How frames of a height and width in memory are prepared for the model of a run.

    Larger frames than those that were cut out for training stay as they are, to be forecast in tiles.

    Raises:
      InputError: they are smaller than a tile.
    """
    tile = run.frame_shape[:2]
    if not run.config.dataset.get('crop'):
        size = tile
    elif any(side < cut for side, cut in zip(size, tile, strict=True)):
        raise InputError(
            f'The frames are {size[0]} x {size[1]}, but the run forecasts in tiles of {tile[0]} x '
            f'{tile[1]} (dataset.crop): give frames of at least that size.'
        )
    return preparation_of(run.config.dataset, (size[0], size[1], run.frame_shape[2]))


def check_time_first(shape: tuple[int, ...], run: Run, name: str = 'The array of frames') -> None:
    """Raises InputError for a shape `[H, W, T]`, known by the size of the frames of the training."""
    size = tuple(run.frame_shape[:2])
    if shape[:2] == size != shape[1:]:
        raise InputError(
            f'{name} has shape {shape}, in which time seems to be the last axis, as the frames of the '
            f'training have {size[0]} x {size[1]} pixels. It must be [T, H, W], e.g. '
            'np.moveaxis(frames, -1, 0), or [T, H, W, 1].'
        )


def with_channels(frames: np.ndarray, run: Run) -> np.ndarray:
    """A clip `[T, H, W]` in memory as `[T, H, W, 1]`; any other array as it is.

    Raises:
      InputError: it is `[H, W, T]`.
    """
    if frames.ndim != 3:
        return frames
    check_time_first(frames.shape, run)
    return frames[..., np.newaxis]


def prepare_frames(
    frames: np.ndarray, preparation: Preparation, scale: Scale, name: str, gaps: bool = False
) -> np.ndarray:
    """Brings frames to the size, the color and the values that a model sees.

    Args:
      frames: `[..., H, W, C]`; pixels that were checked, or numbers in the unit of the data.
      preparation: of the data set.
      scale: of its values.
      name: what to call the frames in messages.
      gaps: whether values may be NaN, which they stay.

    Returns:
      Float32 `[..., *preparation.frame_shape]`.

    Raises:
      InputError: the frames do not fit, or hold values that there cannot be.
    """
    if not scale.of_pixels:
        frames = scale.from_unit(checked_numbers(frames, scale, name, gaps))
    return as_floats(preparation.prepare(frames))


def seen_frame(frame: np.ndarray, run: Run) -> np.ndarray:
    """What a model sees of the next frame of a stream, prepared as a clip in memory is.

    Args:
      frame: `[H, W, C]`, or `[B, H, W, C]` of several clips; pixels, or numbers in the unit of the data
        where they have one.
      run: whose data set says how it is prepared.

    Returns:
      Float32 `[H, W, C]` or `[B, H, W, C]`.

    Raises:
      InputError: it has another number of axes, does not fit, or holds values that there cannot be.
    """
    name = 'The frame'
    if run.scale.of_pixels:
        frame = checked_values(frame, name, single_frame=True)
    else:
        frame = checked_frames(frame, run, name)
    if frame.ndim not in (3, 4):
        raise InputError(
            f'The frame has shape {frame.shape}; it must be [H, W, C], or [B, H, W, C] of several clips '
            '(height, width, channels). Add the one channel of gray frames: frame[..., np.newaxis].'
        )
    preparation = preparation_for(run, frame.shape[-3:-1])
    return prepare_frames(frame, preparation, run.scale, name)


def checked_frames(frames: np.ndarray, run: Run, name: str) -> np.ndarray:
    """Pixels, or numbers in the unit of the data where they have one; NaN for gaps where it had some.

    Args:
      frames: `[..., H, W, C]`.
      run: for whose model they are.
      name: what to call them in messages.

    Raises:
      InputError: they are something else.
    """
    if run.scale.of_pixels:
        return checked_values(frames, name)
    frames, dataset = as_array(frames, name), run.config.dataset
    # Those that do not fit are rejected for that later.
    fits = frames.shape[-3:] == run.frame_shape or dataset.get('crop')
    if dataset.get('name') == 'grids' and fits and frames.dtype.kind in 'iuf':
        frames = hide_missing(frames, dataset.to_dict())
    return checked_numbers(frames, run.scale, name, 'valid' in run.beside)


def checked_numbers(frames: np.ndarray, scale: Scale, name: str, gaps: bool = False) -> np.ndarray:
    """Numbers in the unit of the data, or with `gaps` NaN.

    Raises:
      InputError: no numbers, masked or missing ones, or values that there cannot be.
    """
    frames = as_array(frames, name)
    if frames.dtype.kind not in 'iuf':
        raise InputError(f'{name} has dtype {frames.dtype}; it must hold integers or floats.')
    with np.errstate(over='ignore'):
        numbers = frames.astype(np.float32)
        finite = (np.isfinite(numbers) | (np.isnan(numbers) & gaps)).all()
    if not finite:
        raise InputError(
            f'{name} holds numbers that are NaN, infinite or too large for float32. Fill them as the '
            'data of the training were filled.'
        )
    least = scale.to_unit(scale.bounds[0])
    if np.ndim(scale.bounds[0]) == 0 or frames.shape[-1:] != least.shape:
        least = np.min(least)  # frames of another number of channels are rejected for that later
    # Rounding may leave the bound by a few units of float32.
    below = frames < least - 1e-4 * np.maximum(1, np.abs(least))
    if below.any():
        remedy = ''
        if scale.value_range is None:  # dataset.npz, whose counts nobody knows
            remedy = ' They are scaled as those of the training: (x + 1) / 2 of values from -1 on.'
        raise InputError(
            f'{name} has values from {frames[below].min():g}; the data of the run have none below '
            f'{np.max(least):g}.{remedy}'
        )
    return frames


def _read_numbers(
    path: Path, run: Run, last: int | None, layout: str
) -> tuple[np.ndarray, list[str]]:
    if path.suffix.lower() in FLOW_SUFFIXES and run.config.dataset.name == 'taxibj':
        flows = read_flows([path], run.config.dataset.slots_per_day)
        slots = flows.slots[-(last or 0) :]
        if slots[-1] - slots[0] != len(slots) - 1:
            raise InputError(
                f'{path} has a hole within its last {len(slots)} slots, which must follow each other.'
            )
        return flows.counts[-(last or 0) :], [f'{line}.' for line in flows.account]
    if not _is_array(path):
        raise InputError(
            f'{path} is not an array, but the model was trained on numbers with a unit, which pictures '
            'do not hold. Give an .npy or .npz file of them, [T, H, W, C].'
        )
    array = _open_array(path, run, layout)
    return np.array(array.frames[-(last or 0) :]), [f'{array.account}.']


def _open_array(path: Path, run: Run, layout: str) -> Reading:
    """An array of a clip, which has time first unless a layout says otherwise."""
    array = open_array(path, layout, run.scale.of_pixels)
    if not layout and array.layout == 'THW':
        check_time_first(array.frames.shape[:3], run, str(path))
    return array


def _describe_range(frames: np.ndarray, run: Run) -> str:
    found = f'Its values go from {frames.min():g} to {frames.max():g}'
    if run.scale.value_range is None:
        return f'{found}, read as scaled ones: the run does not know the unit of its data.'
    low, high = run.scale.value_range
    return f'{found}, read in the unit of the data; those of the training went from {low:g} to {high:g}.'


def _is_array(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() in ARRAY_SUFFIXES
