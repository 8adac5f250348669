"""KTH: six actions by 25 persons, as sequences for prediction.

The clips are decoded once, in gray and at the size that is wanted. Which sequences are taken from
them follows one of the two rules in the literature; `00sequences.txt` tells which frames of a clip
show the action.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.sources import kth_files
from e3d.data.sources.adaptation import preparation_of
from e3d.data.sources.clip_records import (
    Clip,
    ClipSet,
    ClipSetBuilder,
    ClipSetConfig,
    name_of_folder,
    open_clip_set,
)
from e3d.data.sources.clip_sequences import ClipSequences, read_frames
from e3d.data.sources.dataset import ENDLESS, Dataset, Origin, register_dataset
from e3d.data.sources.file_facts import FileFacts
from e3d.data.sources.kth_windows import Stretch, numbered, sequence_starts, stretches_of
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.files import local_path
from e3d.options.option import option
from e3d.options.rules import MOST_PIXELS, distinct, one_of, sizes

# The persons of each part, as the papers on prediction divide them, as the data set's own paper
# (ICPR 2004) does, and where all persons are in all parts.
PERSONS = {
    'prediction': {'train': range(1, 17), 'validation': (), 'test': range(17, 26)},
    'recognition': {
        'train': range(11, 19),
        'validation': (19, 20, 21, 23, 24, 25, 1, 4),
        'test': (22, 2, 3, 5, 6, 7, 8, 9, 10),
    },
    'ranges': {'train': range(1, 26), 'validation': (), 'test': range(1, 26)},
}
RULES = ('e3d', 'mcnet')


class Kth(ClipSetBuilder):
    """The clips of KTH in gray."""


def open_kth(dataset: Mapping[str, Any], split: str, seed: int) -> Any:
    """Opens a split of KTH, which is fetched and prepared first where it is not there yet.

    Without a `path` the official archives are fetched into `<data_dir>/downloads/kth`. A `path` is
    a folder with these archives, the .avi files or folders of pictures, `00sequences.txt` among
    them; without that file all frames count.

    The rule `e3d` goes backwards through the frames of a clip: a sequence never crosses a gap, and
    the next one ends right before it, or 3 frames earlier in jogging and running. The rule `mcnet`
    takes for testing, from each range of `00sequences.txt`, a sequence every `output_frames`
    frames (every 3 in jogging and running); for training, a random one of a random range at each
    draw, half of them mirrored.

    Args:
      dataset: the section of a config, see `KthDataset`.
      split: 'train', 'validation' or 'test'.
      seed: of what `mcnet` draws.

    Raises:
      InputError: the data were not found, or the split has no sequences.
      RunError: writing failed, as on a full disk.
    """
    clip_set = _prepare(dataset)
    if split == 'validation' and not _has_validation(dataset):
        split = 'test'
    groups = divide_clips(clip_set.clips, dataset)
    clips = groups[split]
    account = (
        *clip_set.account,
        *_account_of_ranges(clip_set.clips),
        *_account_of_division(groups, dataset),
        *_account_of_overlaps(clip_set.clips, dataset),
    )
    lengths = dataset['input_frames'], dataset['output_frames']
    if dataset['windows'] == 'mcnet' and split == 'train':
        stretches = tuple(s for s in stretches_of(clips, joined=False) if s.length >= sum(lengths))
        source: Any = RandomSequences(
            records=clip_set.records,
            stretches=stretches,
            length=sum(lengths),
            seed=seed,
            folder=clip_set.folder,
            deep=clip_set.deep,
            account=account,
            left_out=tuple(clip_set.left_out),
            facts=clip_set.facts,
        )
    else:
        source = ClipSequences(
            records=clip_set.records,
            starts=sequence_starts(clips, dataset['windows'], *lengths),
            length=sum(lengths),
            folder=clip_set.folder,
            deep=clip_set.deep,
            split=split,
            account=account,
            left_out=tuple(clip_set.left_out),
            facts=clip_set.facts,
        )
    if not len(source):
        raise InputError(
            f"The split '{split}' of KTH has no sequences of {sum(lengths)} frames: of the "
            f'{len(clip_set.clips)} clips in {clip_set.folder} {len(clips)} are of its persons. '
            "Give more clips, shorter sequences, or another dataset.split: with 'ranges' every "
            'clip is divided.'
        )
    return source


def count_sequences(dataset: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Number of sequences by rule and split; of `mcnet` in training, of ranges to draw from."""
    lengths = dataset['input_frames'], dataset['output_frames']
    counts: dict[str, dict[str, int]] = {rule: {} for rule in RULES}
    for split, clips in divide_clips(_prepare(dataset).clips, dataset).items():
        for rule in RULES:
            counts[rule][split] = len(sequence_starts(clips, rule, *lengths))
        if split == 'train':
            stretches = stretches_of(clips, joined=False)
            counts['mcnet'][split] = sum(s.length >= sum(lengths) for s in stretches)
    return counts


def person_of(clip: Clip) -> int:
    """1 .. 25."""
    return int(clip.name[6:8])


@dataclasses.dataclass(frozen=True)
class RandomSequences:
    """A random sequence at every index, half of them mirrored: {'frames': [T, H, W, 1]}.

    Attributes:
      records: of the clips.
      stretches: to draw from, all with the same probability.
      length: number of frames, T.
      seed: index and seed determine what is drawn.
      folder: where the records lie.
      deep: whether frames are float32 in [0, 1] instead of uint8.
      account: what was understood of the files, in lines.
      left_out: what of the files is not used.
      facts: what the clips state, see `ClipSet`.
    """

    records: Sequence[Mapping[str, np.ndarray]]
    stretches: tuple[Stretch, ...]
    length: int
    seed: int
    folder: str
    deep: bool = False
    account: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    facts: FileFacts | None = None

    def __len__(self) -> int:
        return ENDLESS if self.stretches else 0

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        random = np.random.Generator(np.random.PCG64([self.seed, index]))
        clip, first, length = self.stretches[random.integers(len(self.stretches))]
        first += int(random.integers(length - self.length + 1))
        frames = read_frames(self.records, clip.first_record, first, self.length, self.deep)
        mirrored = random.random() < 0.5
        return {'frames': np.ascontiguousarray(frames[:, :, ::-1]) if mirrored else frames}


def divide_clips(clips: Sequence[Clip], dataset: Mapping[str, Any]) -> dict[str, list[Clip]]:
    """The clips of each split; with `split='ranges'`, with the ranges of theirs that it gets.

    Raises:
      InputError: persons for validation who are not of the training, or no ranges to divide.
    """
    persons = {part: set(PERSONS[dataset['split']][part]) for part in SPLITS}
    held_out = set(dataset['validation_persons'])
    if held_out - persons['train']:
        raise InputError(
            f'dataset.validation_persons={tuple(dataset["validation_persons"])}: must be '
            f'persons of the training split, {", ".join(map(str, sorted(persons["train"])))}.'
        )
    persons['train'] -= held_out
    persons['validation'] |= held_out
    groups = {part: [c for c in clips if person_of(c) in persons[part]] for part in SPLITS}
    if dataset['split'] == 'ranges':
        if any(clip.about['ranges'] is None for clip in clips):
            raise InputError(
                f"dataset.split='ranges' needs {kth_files.SEQUENCES} beside the clips; get it from "
                f'{kth_files.URL}.'
            )
        groups = {
            part: [_with_ranges(clip, _ranges_for(part, clip)) for clip in group]
            for part, group in groups.items()
        }
    return groups


def _ranges_for(part: str, clip: Clip) -> list[Any]:
    """The last range for the test, the frames of the others that are not in it for all else."""
    ranges = clip.about['ranges']
    if part == 'test' or not ranges:
        return ranges[-1:]
    *others, (begin, end) = ranges
    kept = []
    for first, last in others:
        kept += [(first, min(last, begin - 1)), (max(first, end + 1), last)]
    return [(first, last) for first, last in kept if first <= last]


def _account_of_overlaps(clips: Sequence[Clip], dataset: Mapping[str, Any]) -> list[str]:
    """Says of how many clips a range shares frames with the last, as of four of the data set."""
    if dataset['split'] != 'ranges':
        return []
    ranged = [clip for clip in clips if clip.about['ranges']]
    count = sum(
        _ranges_for('train', clip) != list(map(tuple, clip.about['ranges'][:-1])) for clip in ranged
    )
    if not count:
        return []
    return [
        f'clips of which another range shares frames with the last one: {count}; these frames are '
        'left out of the training, as they are in the test'
    ]


def _account_of_ranges(clips: Sequence[Clip]) -> list[str]:
    """Says where the ranges do not belong to the frames, as of clips at another rate."""
    if all(clip.about['ranges'] is None for clip in clips):
        return [f'all frames are used, as there is no {kth_files.SEQUENCES}']
    beyond = [
        clip.name
        for clip, numbers in numbered(clips)
        if max((last for _, last in clip.about['ranges'] or ()), default=0) > numbers[-1]
    ]
    if not beyond:
        return []
    return [
        f'{len(beyond)} clips end before the last frame that {kth_files.SEQUENCES} names, as '
        f"'{beyond[0]}': these frames are left out; if the clips were brought to another frame rate, "
        'the ranges are not theirs'
    ]


def _account_of_division(groups: Mapping[str, list[Clip]], dataset: Mapping[str, Any]) -> list[str]:
    counts = {split: f'{split} {len(clips):,}' for split, clips in groups.items()}
    if not _has_validation(dataset):
        counts['validation'] = 'validation those of the test'
    rule = 'the ranges of each clip' if dataset['split'] == 'ranges' else 'persons'
    return [
        f"divided by {rule}, dataset.split='{dataset['split']}'; sequences by the rule of "
        f"dataset.windows='{dataset['windows']}'",
        f'clips: {", ".join(counts.values())}',
    ]


def _has_validation(dataset: Mapping[str, Any]) -> bool:
    return bool(dataset['validation_persons'] or PERSONS[dataset['split']]['validation'])


def _with_ranges(clip: Clip, ranges: list[Any]) -> Clip:
    return clip._replace(about=clip.about | {'ranges': ranges})


def _prepare(dataset: Mapping[str, Any]) -> ClipSet:
    height, width = dataset['frame_size']
    if dataset['path']:
        folder = local_path(dataset['path'], 'dataset.path')
        files = kth_files.find_files(folder)
        name = name_of_folder(folder, files.paths)
    else:
        folder = local_path(dataset['data_dir'], 'dataset.data_dir') / 'downloads' / 'kth'
        files, name = None, 'official'

    def list_clips() -> list[Any]:
        if not dataset['path']:
            kth_files.download(folder)
        return kth_files.list_clips(files or kth_files.find_files(folder))

    config = ClipSetConfig(
        name=f'{name}-{height}x{width}',
        preparation=preparation_of(dataset, (height, width, 1)),
        list_clips=list_clips,
    )
    clip_set = open_clip_set(Kth, config, dataset['data_dir'])
    return clip_set._replace(left_out=[*clip_set.left_out, *(files.left_out if files else ())])


@register_dataset('kth')
@dataclasses.dataclass(frozen=True)
class KthDataset(Dataset):
    """KTH, six human actions in gray; path: the folder of the clips, '': they are fetched."""

    frame_size: tuple[int, int] = option(
        (128, 128), 'height and width', sizes((64, 64), MOST_PIXELS)
    )
    split: str = option(
        'prediction',
        "whose clips are for what: 'prediction', persons 1-16 and 17-25; 'recognition', as in ICPR "
        "2004; 'ranges', the last range of each clip is for testing, for a few clips at hand",
        one_of(*PERSONS),
    )
    validation_persons: tuple[int, ...] = option(
        (),
        'persons of the training split to hold out; (): validation is on the test split',
        distinct(1, 25, (15, 16)),
    )
    windows: str = option(
        'e3d', 'the rule by which sequences are taken from a clip', one_of(*RULES)
    )

    hold_out = (
        'dataset.validation_persons, some of those with clips to train on, as in '
        "--config.dataset.validation_persons='(15, 16)'"
    )
    origin = Origin('fetched', '1.0 GB', 'for research, not commercial', kth_files.INSTRUCTIONS)
    open = staticmethod(open_kth)

    @staticmethod
    def details(dataset: Mapping[str, Any]) -> list[str]:
        """How many sequences each rule takes."""
        return [
            f'{rule} rule: ' + ', '.join(f'{split} {count:,}' for split, count in counts.items())
            for rule, counts in count_sequences(dataset).items()
        ]
