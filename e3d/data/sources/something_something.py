"""Something-Something v2: what people do with things, as sequences for prediction.

The videos are kept as they are distributed, WebM, in one set of records, and decoded on reading.
"""

import collections
import dataclasses
import io
import itertools
import math
import pathlib
import zlib
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.picture_folders import order_folder, picture_frames
from e3d.data.readers.timing import TimedFrame, resample
from e3d.data.readers.videos import video_frames
from e3d.data.sources.adaptation import Preparation, preparation_of
from e3d.data.sources.clip_records import name_of_folder
from e3d.data.sources.dataset import Dataset, Origin, register_dataset
from e3d.data.sources.records import open_records, read_split
from e3d.data.sources.something_something_files import (
    INSTRUCTIONS,
    find_folder,
    list_videos,
    read_classes,
)
from e3d.data.sources.something_something_records import (
    RATE,
    SomethingSomething,
    SomethingSomethingConfig,
    moments_of,
)
from e3d.errors import InputError
from e3d.options.option import option
from e3d.options.rules import FIT, FRAME_RATE, MOST_PIXELS, number, one_of, sizes
from e3d.pixel_values import as_bytes, stack_frames

NAMED = 3  # of the classes without clips


@dataclasses.dataclass(frozen=True)
class ActionSequences:
    """A sequence of each clip: `source[index] -> {'frames': uint8 [T, H, W, 3], 'label': int32}`.

    With it come 'repeated', int32: how many frames at the front only repeat the first one, and
    'clip_frames', int32: how many the whole clip has.

    Attributes:
      records: the videos.
      clips: (record, label, repeated, clip_frames, and of each frame of the sequence its number in
        the video).
      preparation: what is done to the frames.
      pictures: by record, the folders of those clips that are pictures.
      folder: where the records lie.
      class_names: of the labels.
      split: whose sequences they are.
      shown_part: see `e3d.data.sources.registry.shown_part`.
      account: what was understood of the files, in lines.
      left_out: the videos that are not used.
    """

    records: Sequence[Mapping[str, bytes]]
    clips: Sequence[tuple[int, int, int, int, tuple[int, ...]]]
    preparation: Preparation
    pictures: Mapping[int, pathlib.Path]
    folder: str
    class_names: tuple[str, ...] = ()
    split: str = ''
    shown_part: tuple[float, bool] = (1.0, True)
    account: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record, *counts, numbers = self.clips[index]
        wanted = sorted(set(numbers))
        if record in self.pictures:
            files = order_folder(self.pictures[record]).files
            stacked = stack_frames(picture_frames([files[number] for number in wanted]))
            frames = dict(zip(wanted, stacked, strict=True))
        else:
            content = io.BytesIO(self.records[record]['webm'])
            video = video_frames(pathlib.Path(f'record {record}'), content)
            frames = {
                number: frame.pixels
                for number, frame in enumerate(itertools.islice(video, wanted[-1] + 1))
                if number in wanted
            }
        # In 8 bits, as the data set is given out, whatever its videos were made into.
        fitting = self.preparation.prepare(as_bytes(stack_frames(frames.values())))
        place = np.searchsorted(list(frames), numbers).clip(max=len(frames) - 1)
        names = ('label', 'repeated', 'clip_frames')
        numbers_of = {name: np.int32(count) for name, count in zip(names, counts, strict=True)}
        return {'frames': fitting[place], **numbers_of}


def open_something_something(
    dataset: Mapping[str, Any], split: str, seed: int = 0
) -> ActionSequences:
    """Opens a split of Something-Something v2, whose records are written at the first time.

    The videos come at `frame_rate` by repeating (or leaving out) frames. What is observed of a
    clip is the front `fraction` of it; a sequence is the last `input_frames` of that, and the
    `output_frames` that follow. Where less than `input_frames` are observed, the first frame is
    repeated before them; where less than `output_frames` follow (as with fraction 1), the cut lies
    earlier, so that they do. Clips of no more than `output_frames` are left out.

    The official validation list is for testing, as its test list has no labels. Of the training
    list the share `validation_fraction` is for validation, chosen by nothing but the number of the
    video; with 0 the test sequences serve for it.

    Videos lie in the folder `path` or below, as .webm files, in another form, or as folders of
    pictures called by their number, which are taken to be 12 a second.

    Args:
      dataset: the section of a config, see `SomethingSomethingDataset`.
      split: 'train', 'validation' or 'test'.
      seed: not used; nothing is drawn.

    Raises:
      InputError: files that are missing or have another form, or a split without clips.
      RunError: writing failed, as on a full disk.
    """
    folder = find_folder(dataset['path'])
    videos, files = list_videos(folder, dataset['num_classes'])
    paths = [video.path for video in videos if video.path]
    used = [files.lists['train'], files.lists['test'], *paths]
    name = f'{name_of_folder(folder, used, inside=False)}-{dataset["num_classes"]}_classes'
    config = SomethingSomethingConfig(name=name, videos=videos)
    builder = open_records(SomethingSomething, config, dataset['data_dir'])
    if split == 'validation' and not dataset['validation_fraction']:
        split = 'test'
    clips, from_front, unused, early = [], True, [], 0
    counts = collections.Counter[str]()
    classes = collections.defaultdict[str, set[int]](set)
    pictures = {video.id: video.path for video in videos if video.path and video.path.is_dir()}
    pictures_of = {}
    # The records may be older than the list that numbers the classes.
    labels = {video.id: video.label for video in videos}
    for record, (id, part, stored_label, *timing) in enumerate(builder.info.metadata['clips']):
        label = labels.get(id, stored_label)
        own_split = _split_of(id, part, dataset['validation_fraction'])
        moments = moments_of(*timing)
        try:
            numbers = frame_numbers(moments, dataset)
        except InputError as error:  # its frames stand too long to be resampled
            unused.append(LeftOut(id, str(error), damaged=True))
            continue
        if not numbers:
            unused.append(LeftOut(id, f'of no more than {dataset["output_frames"]} frames'))
            continue
        counts[own_split] += 1
        classes[own_split].add(label)
        if own_split == split:
            if id in pictures:
                pictures_of[record] = pictures[id]
            shown, cut = _cut(moments, dataset)
            early += cut < math.ceil(dataset['fraction'] * len(shown))
            repeated = dataset['input_frames'] - cut
            clips.append((record, label, max(0, repeated), len(shown), numbers))
            from_front = from_front and repeated >= 0
    if not clips:
        raise InputError(_no_clips(dataset, split, builder.info.metadata['clips'], unused))
    preparation = preparation_of(dataset, (*dataset['frame_size'], 3))
    records = read_split(builder, 'clips')
    names = tuple(read_classes(files, dataset['num_classes']))
    return ActionSequences(
        records=records,
        clips=tuple(clips),
        preparation=preparation,
        pictures=pictures_of,
        folder=str(builder.data_path),
        class_names=names,
        split=split,
        account=(
            *_account(dataset, counts, paths),
            _account_of_classes(names, classes['train'], classes['test']),
            *_account_of_early(dataset, early),
        ),
        left_out=(
            *(LeftOut(*one) for one in builder.info.metadata['left_out']),
            *files.left_out,
            *unused,
        ),
        shown_part=(dataset['fraction'], from_front),
    )


def _account(
    dataset: Mapping[str, Any], counts: Mapping[str, int], paths: Sequence[pathlib.Path]
) -> list[str]:
    forms = collections.Counter(path.suffix.lower() or 'pictures' for path in paths)
    rate = dataset['frame_rate']
    taken = f', pictures taken to be {RATE:g} a second' if forms['pictures'] else ''
    share = dataset['validation_fraction']
    validation = f'{counts["validation"]:,}, {share:.0%} of that list' if share else 'the test'
    return [
        'files: ' + ', '.join(f'{count:,} {form}' for form, count in forms.most_common()) + taken,
        f'frames: RGB, {dataset["fit"]}; '
        + (f'{rate:g} a second' if rate else 'as many a second as the videos have'),
        'divided by the official lists, that for validation is the test; clips: train '
        f'{counts["train"]:,}, validation {validation}, test {counts["test"]:,}',
    ]


def _account_of_classes(names: Sequence[str], trained: Set[int], tested: Set[int]) -> str:
    """Says which of the classes have no clips for training, and which of these are tested."""
    untrained = [label for label in range(len(names)) if label not in trained]
    told = f'classes: {len(names) - len(untrained)} of {len(names)} have clips for training'
    if untrained:
        told += f'; without: {_named([names[label] for label in untrained])}'
    missed = [names[label] for label in untrained if label in tested]
    return told + (f'; tested all the same: {_named(missed)}' if missed else '')


def _named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f' and {len(names) - NAMED:,} more' if len(names) > NAMED else ''
    return ', '.join(f'"{name}"' for name in names[:NAMED]) + more


def _account_of_early(dataset: Mapping[str, Any], count: int) -> list[str]:
    """Says of how many clips a smaller part is observed than that by which it is called."""
    if not count:
        return []
    return [
        f'of {count:,} clips less than dataset.fraction={dataset["fraction"]:g} is observed, as '
        f'dataset.output_frames={dataset["output_frames"]} more must follow'
    ]


def _no_clips(
    dataset: Mapping[str, Any],
    split: str,
    found: Sequence[Sequence[Any]],
    unused: Sequence[LeftOut],
) -> str:
    """Says why a split has no clips, and what helps."""
    listed = 'test' if split == 'test' else 'train'
    count = sum(part == listed for _, part, *_ in found)
    if split == 'validation' and count > len(unused):
        return (
            f"The split 'validation' of {dataset['path']} has no clips: of the {count:,} that were "
            f'found for training dataset.validation_fraction={dataset["validation_fraction"]:g} '
            'takes none. Raise it, or give more videos; with 0 the test serves for validation.'
        )
    return (
        f"The split '{split}' of {dataset['path']} has no clips of more than "
        f'dataset.output_frames={dataset["output_frames"]} frames: of the official list for it '
        f'{count:,} were found. Give more videos of it, or lower dataset.output_frames.'
    )


def frame_numbers(moments: Sequence[float], dataset: Mapping[str, Any]) -> tuple[int, ...]:
    """The frames of a video that make its sequence; none if it is too short.

    Args:
      moments: when each frame appears and when the last one ends, in seconds.
      dataset: as for `open_something_something`.
    """
    shown, cut = _cut(moments, dataset)
    if cut < 1:
        return ()
    last = cut + dataset['output_frames']
    return tuple(shown[max(0, i)] for i in range(cut - dataset['input_frames'], last))


def _cut(moments: Sequence[float], dataset: Mapping[str, Any]) -> tuple[list[int], int]:
    """The frames of a video at the wanted rate, and how many of them may be observed."""
    frames = map(TimedFrame, itertools.count(), moments, moments[1:])
    shown = list(resample(frames, dataset['frame_rate']))
    ahead = len(shown) - dataset['output_frames']
    return shown, min(math.ceil(dataset['fraction'] * len(shown)), ahead)


def _split_of(id: str, part: str, validation_fraction: float) -> str:
    """The split that a video is in: 'train', 'validation' or 'test'."""
    if part == 'test':
        return 'test'
    held_out = zlib.crc32(id.encode()) < validation_fraction * 2**32
    return 'validation' if held_out else 'train'


@register_dataset('something_something')
@dataclasses.dataclass(frozen=True)
class SomethingSomethingDataset(Dataset):
    """Something-Something v2; path: the folder of the .webm files and the lists."""

    frame_size: tuple[int, int] = option(
        (224, 224), 'height and width', sizes((64, 64), MOST_PIXELS)
    )
    fit: str = option('crop', "'crop': the middle of the frames, 'stretch': all of them", FIT)
    frame_rate: float | None = option(
        24.0, 'frames a second, by repetition; None: as the videos have it', FRAME_RATE
    )
    fraction: float = option(
        0.25, 'of a clip, from its front, at whose end the input ends', number(0, 1, above=True)
    )
    fractions_of: str = option(
        'clip',
        "what loss.observed is of: the 'clip', or, in runs made before there was this key, the "
        "'window' of dataset.input_frames",
        one_of('clip', 'window'),
        older='window',
    )
    num_classes: int = option(41, "the paper's 41, or all 174", one_of(41, 174))
    validation_fraction: float = option(
        0.05,
        'share of the training clips to hold out; 0: validation is on the test split',
        number(0, 0.9),
    )

    labeled = True
    assumed_rate = RATE
    hold_out = 'dataset.validation_fraction, as in --config.dataset.validation_fraction=0.05'
    origin = Origin('by hand', '19.4 GB', 'for research, after a registration', INSTRUCTIONS)
    open = staticmethod(open_something_something)
