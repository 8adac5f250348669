"""Sequences out of anyone's clips: a tree of video files, GIFs, arrays and folders of pictures."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from e3d.data.readers.clips import clip_frames, clip_timing, describe_clip, is_video
from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.picture_folders import known_order
from e3d.data.readers.timing import Timing
from e3d.data.sources.adaptation import preparation_of
from e3d.data.sources.clip_records import (
    Clip,
    ClipSet,
    ClipSetBuilder,
    ClipSetConfig,
    RawClip,
    name_of_folder,
    open_clip_set,
)
from e3d.data.sources.clip_sequences import ClipSequences, stretches_between
from e3d.data.sources.dataset import Dataset, register_dataset
from e3d.data.sources.splits import SPLITS
from e3d.data.sources.video_folder_files import find_clips
from e3d.data.sources.video_folder_splits import LEAK, Division, divide_clips, shared_names
from e3d.errors import InputError
from e3d.options.option import option
from e3d.options.rules import FIT, FRACTIONS, FRAME_RATE, LAYOUT, MOST_PIXELS, sizes, whole


class VideoFolder(ClipSetBuilder):
    """The clips of a folder."""


def open_video_folder(dataset: Mapping[str, Any], split: str, seed: int = 0) -> ClipSequences:
    """Opens a split of a folder of clips, which are decoded and resized once, at the first time.

    Whole files go into a split, never parts of one, and each clip counts once, whatever forms and
    copies there are of it. Folders for training, validation and testing are these splits (see
    `divide_clips`); otherwise `split_fractions` divides the files, in an order that depends on
    nothing but their names. Where nothing is for validation, the test sequences serve for it.

    Values of 8 bits are kept as they are; if a clip has more (floats, 16 bits), all frames come as
    float32. Clips that state no frame rate (arrays, pictures) keep theirs.

    Args:
      dataset: the section of a config, see `VideoFolderDataset`.
      split: 'train', 'validation' or 'test'.
      seed: not used; nothing is drawn.

    Raises:
      InputError: no clips, none that can be read, or a split without sequences.
      RunError: writing failed, as on a full disk.
    """
    files, not_clips = find_clips(dataset['path'])
    clip_set = _prepare(dataset, files)
    length = dataset['input_frames'] + dataset['output_frames']
    clips = {clip.name: clip for clip in clip_set.clips if clip.num_frames > 1}
    usable = {name for name, clip in clips.items() if len(sequence_starts([clip], length, 1))}
    single = {clip.name for clip in clip_set.clips} - {*clips}
    # Those that cannot be read as well, so that the division stays when they are repaired.
    names = [name for name in files if name not in single]
    fingerprints = {name: clip.fingerprint for name, clip in clips.items()}
    division = divide_clips(names, tuple(dataset['split_fractions']), fingerprints, usable)
    divided = [name for part in division.clips.values() for name in part if name in clips]
    pictures = [
        'a picture in the folder itself' if name == '.' else name for name in sorted(single)
    ]
    left_out = [
        *clip_set.left_out,
        *not_clips,
        *(one for one in division.left_out if one.name in clips),
        *(LeftOut(name, 'of one frame') for name in pictures),
        *(
            LeftOut(name, f'of fewer than {length} frames{_between_gaps(clips[name])}')
            for name in divided
            if name not in usable
        ),
    ]
    if split == 'validation' and not division.clips[split]:
        split = 'test'
    stride = dataset['train_stride' if split == 'train' else 'test_stride']
    chosen = [clip for name, clip in clips.items() if name in division.clips[split]]
    starts = sequence_starts(chosen, length, stride)
    if not len(starts):
        raise InputError(_no_sequences(dataset, split, chosen, length, division, clip_set.left_out))
    return ClipSequences(
        records=clip_set.records,
        starts=starts,
        length=length,
        folder=clip_set.folder,
        deep=clip_set.deep,
        split=split,
        account=(*clip_set.account, *_account_of_division(division, usable)),
        left_out=tuple(left_out),
        facts=clip_set.facts,
    )


def sequence_starts(clips: Iterable[Clip], length: int, stride: int) -> np.ndarray:
    """Where the sequences of so many frames begin: int [N, 2], first record and frame.

    None crosses a gap in the numbers of pictures.
    """
    starts = [
        (clip.first_record, start)
        for clip in clips
        for first, count in stretches_between(clip.about['gaps'], clip.num_frames)
        for start in range(first, first + count - length + 1, stride)
    ]
    return np.array(starts, np.int64).reshape(-1, 2)


def _longest_stretch(clip: Clip) -> int:
    return max(count for _, count in stretches_between(clip.about['gaps'], clip.num_frames))


def _between_gaps(clip: Clip) -> str:
    return ' between gaps' if clip.about['gaps'] else ''


def _account_of_division(division: Division, usable: set[str]) -> list[str]:
    counts = {split: len(usable & {*division.clips[split]}) for split in SPLITS}
    words = [f'{split} {count:,}' for split, count in counts.items()]
    if not division.clips['validation']:
        words[SPLITS.index('validation')] = 'validation those of the test'
    account = [f'divided {division.rule}', f'clips: {", ".join(words)}']
    shared = shared_names(division.clips)
    if shared:
        account.append(
            f'{len(shared)} names are in several splits, as {" and ".join(shared[0])}: make sure that '
            'these do not show the same'
        )
    return account


def _no_sequences(
    dataset: Mapping[str, Any],
    split: str,
    clips: list[Clip],
    length: int,
    division: Division,
    left_out: list[LeftOut],
) -> str:
    """Says why a split has no sequences, and what helps."""
    rule, names = division.rule, division.clips[split]
    longest = max(clips, key=_longest_stretch, default=None)
    if longest is None and names:
        reasons = [one.reason for one in left_out if one.name in names]
        return (
            f"The split '{split}' of {dataset['path']} has no clip that can be read, of "
            f"{len(names)}; '{names[0]}': {reasons[0]} They were divided {rule}."
        )
    if longest is None:
        copies = sum(one.reason == LEAK for one in division.left_out)
        cause = f' {copies} clips were left out, as they are copies of others.' if copies else ''
        return (
            f"The split '{split}' of {dataset['path']} has no clips, which were divided {rule}."
            f'{cause} Add clips, or raise its share in dataset.split_fractions.'
        )
    remedy = ''
    if longest.about['gaps']:
        remedy = ' Pictures that follow each other evenly all the same must be numbered so.'
    return (
        f"The split '{split}' of {dataset['path']} has no sequences: the longest of its "
        f"{len(clips)} clips, '{longest.name}', has {_longest_stretch(longest)} "
        f'frames{_between_gaps(longest)}, but dataset.input_frames + dataset.output_frames is '
        f'{length}. Lower these, or add longer clips; they were divided {rule}.{remedy}'
    )


def _prepare(dataset: Mapping[str, Any], files: Mapping[str, pathlib.Path]) -> ClipSet:
    height, width = dataset['frame_size']
    channels, rate = dataset['channels'], dataset['frame_rate']
    layout = dataset.get('layout', '')

    def list_clips() -> list[RawClip]:
        return [_raw_clip(name, file, layout, rate) for name, file in files.items()]

    parts = [
        name_of_folder(pathlib.Path(dataset['path']), files.values()),
        f'{height}x{width}x{channels}',
        dataset['fit'],
        *([f'rate_{float(rate)!r}'] if rate else []),
        *([layout] if layout else []),
    ]
    config = ClipSetConfig(
        name='-'.join(parts),
        preparation=preparation_of(dataset, (height, width, channels)),
        list_clips=list_clips,
    )
    return open_clip_set(VideoFolder, config, dataset['data_dir'])


def _raw_clip(name: str, file: pathlib.Path, layout: str, rate: float | None) -> RawClip:
    frames = functools.partial(clip_frames, file, layout, rate)
    if not file.is_dir():
        describe = functools.partial(_describe, file, layout)
        return RawClip(name, frames, {'gaps': []}, describe, as_stored=not is_video(file))
    order = known_order(file)
    reading = f'pictures {order.account}'
    left_out = order.left_out_of(name)
    return RawClip(name, frames, {'gaps': order.gaps}, lambda: (None, reading), left_out, True)


def _describe(file: pathlib.Path, layout: str) -> tuple[Timing | None, str]:
    return clip_timing(file), describe_clip(file, layout).removeprefix(f'{file}: ')


@register_dataset('video_folder')
@dataclasses.dataclass(frozen=True)
class VideoFolderDataset(Dataset):
    """Anyone's clips; path: a folder, at any depth, of videos, animations, arrays, picture folders."""

    frame_size: tuple[int, int] = option((64, 64), 'height and width', sizes((64, 64), MOST_PIXELS))
    channels: int = option(1, '1: gray, 3: RGB', whole(1, 1024))
    layout: str = option(
        '', "axes of arrays, such as 'TCHW'; '': as their shapes say", LAYOUT, older=''
    )
    fit: str = option('stretch', "'stretch': the whole frame, 'crop': its middle", FIT)
    frame_rate: float | None = option(
        None, 'frames a second; None: as the clips have it', FRAME_RATE
    )
    train_stride: int = option(
        1, 'frames from the start of a training sequence to that of the next', whole(1)
    )
    test_stride: int = option(10, 'the same for validation and test', whole(1))
    split_fractions: tuple[float, float, float] = option(
        (0.8, 0.1, 0.1),
        'of the files, for training, validation and test, if there are no folders for these',
        FRACTIONS,
    )

    hold_out = (
        'a folder named validation beside train and test, or dataset.split_fractions with a second '
        'number above 0'
    )
    open = staticmethod(open_video_folder)
