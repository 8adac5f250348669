"""Sequences out of anyone's clips: a tree of video files, GIFs, arrays and folders of pictures."""

import functools
import os
import pathlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from e3d.data.adaptation import preparation_of
from e3d.data.clip_arrays import ARRAY_SUFFIXES
from e3d.data.clip_records import (
    Clip,
    ClipSet,
    ClipSetBuilder,
    ClipSetConfig,
    RawClip,
    Sequences,
    frames_at_rate,
    name_of_folder,
    open_clip_set,
)
from e3d.data.digits import SPLITS
from e3d.data.pictures import PICTURE_SUFFIXES
from e3d.errors import InputError

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm', '.wmv')
CLIP_SUFFIXES = (*VIDEO_SUFFIXES, '.gif', *ARRAY_SUFFIXES)
# What tells the workdir of a run, and the pictures it holds, which are nobody's clips.
RUN_FILES = {'config.json', 'metrics.jsonl'}
RUN_PICTURES = {'samples', 'evaluation.png'}
SPLIT_FOLDERS = {split: split for split in SPLITS} | {'val': 'validation', 'valid': 'validation'}


class VideoFolder(ClipSetBuilder):
    """The clips of a folder."""


def open_video_folder(dataset: Mapping[str, Any], split: str) -> Sequences:
    """Opens a split of a folder of clips, which are decoded and resized once, at the first time.

    Whole files go into a split, never parts of one. If there are folders `train` and `test`
    (and perhaps `validation`, `val` or `valid`), these are the splits; otherwise
    `split_fractions` divides the files, in an order that depends on nothing but their names.
    Where nothing is for validation, the test sequences serve for it.

    Values of 8 bits are kept as they are; if a clip has more (floats, 16 bits), all frames come as
    float32. Clips that state no frame rate (arrays, pictures) keep theirs.

    Args:
      dataset: `path`, `data_dir`, `input_frames`, `output_frames`, `frame_size` (H, W),
        `channels` (1 makes grey, 3 RGB; any other number is for arrays of so many), `fit`
        ('stretch' or 'crop'), `frame_rate` (None: as it is), `train_stride` and `test_stride`
        (frames between the starts of two sequences of a clip), `split_fractions`.
      split: 'train', 'validation' or 'test'.

    Raises:
      InputError: no clips, none that can be read, or a split without sequences.
      RunError: writing failed, as on a full disk.
    """
    files = find_clips(dataset['path'])
    clip_set = _prepare(dataset, files)
    names = [clip.name for clip in clip_set.clips]
    groups = divide_clips(names, tuple(dataset['split_fractions']))
    length = dataset['input_frames'] + dataset['output_frames']
    stride = dataset['train_stride' if split == 'train' else 'test_stride']
    if split == 'validation' and not groups[split]:
        split = 'test'
    chosen = set(groups[split])
    clips = [clip for clip in clip_set.clips if clip.name in chosen]
    starts = sequence_starts(clips, length, stride)
    if not len(starts):
        longest = max((clip.num_frames for clip in clips), default=0)
        raise InputError(
            f"The split '{split}' of {dataset['path']} has no sequences: the longest of its "
            f'{len(clips)} clips has {longest} frames, but dataset.input_frames + '
            f'dataset.output_frames is {length}. Lower these, or add longer clips.'
        )
    return Sequences(clip_set.records, starts, length, clip_set.folder, clip_set.deep, split)


def sequence_starts(clips: Iterable[Clip], length: int, stride: int) -> np.ndarray:
    """Where the sequences of so many frames begin: int [N, 2], first record and frame."""
    starts = [
        (clip.first_record, start)
        for clip in clips
        for start in range(0, clip.num_frames - length + 1, stride)
    ]
    return np.array(starts, np.int64).reshape(-1, 2)


def find_clips(path: str) -> dict[str, pathlib.Path]:
    """The clips below a folder, by their path within it; not the pictures of runs that lie there.

    Raises:
      InputError: no such folder, or there are none.
    """
    root = pathlib.Path(path).expanduser()
    if not path or not root.is_dir():
        raise InputError(
            f"dataset.path is '{path}', which is not a folder; it must be the folder of your clips."
        )
    found = {}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith('.'))
        names = [name for name in names if not name.startswith('.')]
        if set(names) >= RUN_FILES:
            subfolders[:] = [name for name in subfolders if name not in RUN_PICTURES]
            names = [name for name in names if name not in RUN_PICTURES]
        here = pathlib.Path(folder)
        if any(name.lower().endswith(PICTURE_SUFFIXES) for name in names):
            found[here.relative_to(root).as_posix()] = here
        for name in sorted(names):
            if name.lower().endswith(CLIP_SUFFIXES):
                found[(here / name).relative_to(root).as_posix()] = here / name
    if not found:
        raise InputError(
            f'There are no clips in {root}. Clips are files with the suffixes '
            f'{", ".join(CLIP_SUFFIXES)}, and folders of pictures ({", ".join(PICTURE_SUFFIXES)}).'
        )
    return found


def divide_clips(names: Sequence[str], fractions: Sequence[float]) -> dict[str, list[str]]:
    """Divides clips between the splits, by folders or by fractions; see `open_video_folder`.

    Returns:
      The names of each split; none for validation where nothing was set aside.

    Raises:
      InputError: too few clips, or clips beside the folders `train` and `test`.
    """
    tops = {name: SPLIT_FOLDERS.get(name.partition('/')[0]) for name in names}
    if not {'train', 'test'} & set(tops.values()):
        return _divide_by_fractions(names, fractions)
    missing = {'train', 'test'} - set(tops.values())
    if missing:
        raise InputError(
            f'There is no clip in a folder {missing.pop()!r} beside the other one; put some there, '
            'or rename the other folder to have the clips divided by dataset.split_fractions.'
        )
    stray = [name for name, split in tops.items() if split is None]
    if stray:
        raise InputError(
            f"'{stray[0]}' lies in none of the folders {', '.join(SPLIT_FOLDERS)}; move it."
        )
    groups = {split: [name for name in names if tops[name] == split] for split in SPLITS}
    if not groups['validation'] and fractions[1]:
        share = fractions[1] / (fractions[0] + fractions[1])
        groups |= _divide_by_fractions(groups['train'], (1 - share, share, 0)) | {
            'test': groups['test']
        }
    return groups


def _divide_by_fractions(names: Sequence[str], fractions: Sequence[float]) -> dict[str, list[str]]:
    """Each split with a fraction above 0 gets at least one clip."""
    order = sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))
    counts = [max(1, round(share * len(order))) if share else 0 for share in fractions[1:]]
    if len(order) < sum(counts) + 1:
        shares = ', '.join(f'{share:.2g}' for share in fractions)
        raise InputError(
            f'{len(order)} clips cannot be divided into {1 + sum(map(bool, counts))} splits, as '
            f'dataset.split_fractions=({shares}) asks: a clip is never cut. Add clips or '
            'cut long ones into files; a fraction of 0 for validation saves one.'
        )
    validation, test = counts
    return {
        'train': order[validation + test :],
        'validation': order[:validation],
        'test': order[validation : validation + test],
    }


def _prepare(dataset: Mapping[str, Any], files: Mapping[str, pathlib.Path]) -> ClipSet:
    height, width = dataset['frame_size']
    channels, rate = dataset['channels'], dataset['frame_rate']
    layout = dataset.get('layout', '')
    raw_clips = [
        RawClip(name, functools.partial(frames_at_rate, file, rate, layout))
        for name, file in files.items()
    ]
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
        list_clips=lambda: raw_clips,
    )
    return open_clip_set(VideoFolder, config, dataset['data_dir'])
