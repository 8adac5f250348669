"""Which sequences of frames the two rules in the literature take from the clips of KTH."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from e3d.data.sources.clip_records import Clip

FAST_ACTIONS = ('jogging', 'running')
FAST_STRIDE = 3


class Stretch(NamedTuple):
    """Consecutive frames of a clip that show the action.

    Attributes:
      clip: which.
      first: its first frame, counted from 0 in the records of the clip.
      length: number of frames.
    """

    clip: Clip
    first: int
    length: int


def is_fast(clip: Clip) -> bool:
    """Whether the rules take sequences from this clip more densely."""
    return clip.name.split('_')[1] in FAST_ACTIONS


def sequence_starts(
    clips: Iterable[Clip], rule: str, input_frames: int, output_frames: int
) -> np.ndarray:
    """The sequences that a rule takes for testing: int [N, 2], first record and first frame."""
    length = input_frames + output_frames
    starts = []
    for stretch in stretches_of(clips, joined=rule == 'e3d'):
        record, fast = stretch.clip.first_record, is_fast(stretch.clip)
        if rule == 'e3d':
            ends = range(stretch.length, length - 1, -(FAST_STRIDE if fast else length))
            starts += [(record, stretch.first + end - length) for end in reversed(ends)]
        else:  # the first frame of a range and its last two stay out, as in the published code
            offsets = range(1, stretch.length - length - 1, FAST_STRIDE if fast else output_frames)
            starts += [(record, stretch.first + offset) for offset in offsets]
    return np.array(starts, np.int64).reshape(-1, 2)


def numbered(clips: Iterable[Clip]) -> list[tuple[Clip, np.ndarray]]:
    """Each clip with the numbers of its frames, int, counted from 1 as in the ranges.

    Where pictures of any clip begin with the number 0, those of all are moved by one.
    """
    clips = list(clips)
    moved = int(any(0 in (clip.about['numbers'] or ()) for clip in clips))
    found = []
    for clip in clips:
        stated = clip.about['numbers']
        numbers = np.array(stated) + moved if stated else np.arange(1, clip.num_frames + 1)
        found.append((clip, numbers[: clip.num_frames]))
    return found


def stretches_of(clips: Iterable[Clip], joined: bool) -> list[Stretch]:
    """The frames that show the action; `joined`, ranges that touch each other are one."""
    stretches = []
    for clip, numbers in numbered(clips):
        ranges = clip.about['ranges']
        chosen = [np.flatnonzero((numbers >= a) & (numbers <= b)) for a, b in ranges or ()]
        if ranges is None:
            chosen = [np.arange(len(numbers))]
        elif joined:
            chosen = [np.unique(np.concatenate([*chosen, np.array([], int)]))]
        for frames in chosen:
            broken = (np.diff(frames) != 1) | np.isin(frames[1:], clip.about['gaps'])
            pieces = [piece for piece in np.split(frames, np.flatnonzero(broken) + 1) if len(piece)]
            stretches += [Stretch(clip, int(piece[0]), len(piece)) for piece in pieces]
    return stretches
