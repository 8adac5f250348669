"""The data set a config names, opened for random access, and what its source tells of itself."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.sources.copy_test import CopySequences
from e3d.data.sources.dataset import DATASETS, ENDLESS, Source
from e3d.data.sources.file_facts import FileFacts
from e3d.data.sources.labeled import LabeledSequences
from e3d.data.sources.layouts import plain_dataset
from e3d.data.sources.scales import PIXELS, Scale
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError


def class_names(source: Source) -> tuple[str, ...]:
    """What the labels of a source stand for; () for one that has no labels."""
    return tuple(_stated(source, 'class_names', ()))


def shown_part(source: Source) -> tuple[float, bool]:
    """What the sequences of a source with labels show of their clips.

    Returns:
      The fraction of the whole clip at whose end what may be observed ends, and whether every
      sequence begins with its clip.
    """
    return _stated(source, 'shown_part', (1.0, True))


def channel_names(source: Source) -> tuple[str, ...]:
    """What the channels of the frames are called; () where they have no names."""
    return tuple(_stated(source, 'channel_names', ()))


def variables_of(source: Source) -> tuple[tuple[str, str], ...]:
    """The name and the unit, '' where it is not known, of each channel; () of data without units."""
    units = tuple(_stated(source, 'channel_units', ()))
    return tuple(zip(channel_names(source), units, strict=True)) if units else ()


def scale_of(source: Source) -> Scale:
    """What the values of the frames stand for."""
    bounds = _stated(source, 'bounds', PIXELS.bounds)
    return _stated(source, 'scale', Scale(_stated(source, 'value_range', None), bounds))


def training_extent(source: Source) -> tuple[float, float] | None:
    """The least and the largest value of the training frames as the model sees them.

    None where the source does not know: those of pictures are from 0 to 1.
    """
    return _stated(source, 'extent', None)


def facts_of(source: Source) -> FileFacts | None:
    """What the user's files state of their variables; None where they are no such files."""
    return _stated(source, 'facts', None)


def validates_on_test(source: Source) -> bool:
    """Whether a source that was opened for validation has the sequences of the test split.

    So it is where a data set has nothing for validation, as in the published codes. What is chosen
    by such a validation is chosen on the test.
    """
    return _stated(source, 'split', None) == 'test'


def checksum(source: Source) -> str:
    """A checksum of all values of a data set, of every split; '' where that would take too long."""
    return str(_stated(source, 'checksum', ''))


def is_drawn(source: Source) -> bool:
    """Whether the sequences of a source are drawn, and may be others with another version of NumPy."""
    return len(source) >= ENDLESS or _stated(source, 'crop', None) is not None


def account(source: Source) -> tuple[str, ...]:
    """What was understood of the user's files, in lines: layout, rate, rule of division and so on."""
    return tuple(_stated(source, 'account', ()))


def left_out(source: Source) -> tuple[LeftOut, ...]:
    """What of the user's files is not used, in whatever split."""
    return tuple(_stated(source, 'left_out', ()))


def with_inputs(source: Source, counts: Mapping[str, int]) -> Source:
    """A source whose sequences also have what a model needs beside their frames.

    Args:
      source: any; one that has more than frames to give has a method of this name.
      counts: by name, how many frames for each frame that is forecast.

    Raises:
      InputError: the source has nothing of that name.
    """
    if not counts:
        return source
    give = getattr(source, 'with_inputs', None)
    if give is None:
        wanted = ' and '.join(f'{name}={count}' for name, count in counts.items())
        raise InputError(
            f'The model needs frames of other times beside its input ({wanted}), which these data do '
            "not tell. The .h5 files of dataset.name='taxibj' do; for others set model.period=0 and "
            'model.trend=0.'
        )
    return give(counts)


def with_scale(source: Source, scale: Scale | None) -> Source:
    """A source whose values stand for what they stood for in a training, as a run of it needs them.

    Args:
      source: any; one of data with a unit has a method of this name.
      scale: of the run; None, and one that the run does not know or that is for other channels, leaves
        the source as it is.
    """
    if isinstance(source, CopySequences):
        inner = with_scale(source.source, scale)
        return source if inner is source.source else dataclasses.replace(source, source=inner)
    own, give = scale_of(source), getattr(source, 'with_scale', None)
    if give is None or scale is None or scale.value_range is None or scale == own:
        return source
    channels = source[0]['frames'].shape[-1]
    fits = len(scale.ranges) in (0, channels) and len(scale.beside) == len(own.beside)
    return give(scale) if fits else source


def with_gaps(source: Source) -> Source:
    """A source that says which values are known though all are, as a run of data with gaps needs it.

    Args:
      source: any; one that may have gaps has a method of this name.
    """
    give = getattr(source, 'with_gaps', None)
    return source if give is None else give()


def shared_clips(source: Source, other: Source) -> int:
    """How many clips, out of the same records, two sources both have sequences of."""
    first, second = (_clips_of(one) for one in (source, other))
    return len(first & second)


def _clips_of(source: Source) -> set[tuple[str, int]]:
    """Folder and first record of the clips; none for what is not read from records of clips."""
    starts = _stated(source, 'starts', None)
    folder = _stated(source, 'folder', '')
    if not folder or starts is None:
        return set()
    return {(folder, int(record)) for record in np.unique(starts[:, 0])}


def simple_forecasts(source: Source) -> dict[str, Any]:
    """What the data themselves forecast without learning, as flows do by the calendar.

    Returns:
      By name, float32 `[len(source), T_out, H, W, C]`, or what is indexed like it (`HourAverages`); none
      for most data.
    """
    forecasts = _stated(source, 'simple_forecasts', None)
    if not forecasts:
        return {}
    if isinstance(source, CopySequences) and source.between > source.length:
        more = source.between - source.length
        return {name: frames[:, :-more] for name, frames in forecasts().items()}
    return forecasts()


def _stated(source: Source, name: str, default: Any) -> Any:
    """An attribute of a source; of one that repeats or checks the sequences of another, of that."""
    while isinstance(source, CopySequences | LabeledSequences):
        source = source.source
    return getattr(source, name, default)


def open_source(dataset: Mapping[str, Any], split: str, seed: int = 0) -> Source:
    """Opens a split of the data set that `dataset.name` names.

    Args:
      dataset: the section `dataset` of a config.
      split: 'train', 'validation' or 'test'.
      seed: of the training sequences where they are drawn. Fixed sets do not depend on it, so
        that runs of any seed are measured by the same sequences.

    Returns:
      `len(source)` sequences, `source[index] -> {'frames': [T, H, W, C]}` with T as
      `e3d.data.sources.layouts.layout_of` has it: input_frames + output_frames, in the copy test more.
      Where there are classes, with 'label'; with 'repeated', how many of the first frames are there
      twice because the clip has fewer; and, where it is not input_frames, with 'clip_frames', how
      many the whole clip has; all int32.
      Uint8 or float32 in [0, 1] (flows after those of the training may exceed 1).

    Raises:
      InputError: unknown names, values no sequence can have, missing or unreadable files.
      RunError: preparing a fixed set failed during the work.

    Example:
      >>> source = e3d.open_source(e3d.make_config('quickstart').dataset, 'train')
      >>> source[0]['frames'].shape, source[0]['frames'].dtype
      ((10, 32, 32, 1), dtype('uint8'))
    """
    if split not in SPLITS:
        raise InputError(f"There is no split '{split}'; they are {', '.join(SPLITS)}.")
    for key in ('input_frames', 'output_frames'):
        if dataset[key] < 1:
            raise InputError(f'dataset.{key} is {dataset[key]}; it must be at least 1.')
    if dataset['name'] not in DATASETS:
        raise InputError(
            f"There is no data set '{dataset['name']}'; dataset.name must be one of "
            f'{", ".join(sorted(DATASETS))}.'
        )
    source = DATASETS[dataset['name']].open(plain_dataset(dataset), split, seed)
    between = sum(dataset.get('copy_test', ()))
    length = dataset['input_frames'] + dataset['output_frames']
    return CopySequences(source, between, length) if between else source
