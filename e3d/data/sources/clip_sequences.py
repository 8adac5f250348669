"""Sequences of frames out of clips in records, each read without the rest of its clip."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.sources.clip_records import CHUNK
from e3d.data.sources.file_facts import FileFacts
from e3d.pixel_values import as_floats


@dataclasses.dataclass(frozen=True)
class ClipSequences:
    """Sequences of frames out of clips: `source[index] -> {'frames': [T, H, W, C]}`.

    Attributes:
      records: of the clips.
      starts: int [N, 2], first record of the clip and first frame in it.
      length: number of frames, T.
      folder: where the records lie.
      deep: whether frames are float32 in [0, 1] instead of uint8.
      split: whose sequences they are.
      account: what was understood of the files, in lines.
      left_out: what of the files is not used.
      facts: what the clips state, see `ClipSet`.
    """

    records: Sequence[Mapping[str, np.ndarray]]
    starts: np.ndarray
    length: int
    folder: str = ''
    deep: bool = False
    split: str = ''
    account: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    facts: FileFacts | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        record, start = self.starts[index].tolist()
        return {'frames': read_frames(self.records, record, start, self.length, self.deep)}


def read_frames(
    records: Sequence[Any], first_record: int, start: int, length: int, deep: bool = False
) -> np.ndarray:
    """Frames `start .. start + length - 1` of the clip that begins at `first_record`.

    Returns:
      `[length, H, W, C]`, uint8; `deep`, float32 in [0, 1], whatever the records hold.
    """
    chunks = range(first_record + start // CHUNK, first_record + (start + length - 1) // CHUNK + 1)
    read = [records[chunk] for chunk in chunks]
    pieces = [r['frames'] if len(r['frames']) else r['deep_frames'] for r in read]
    if deep:
        pieces = [as_floats(piece) for piece in pieces]
    return np.concatenate(pieces)[start % CHUNK :][:length]


def stretches_between(gaps: Sequence[int], num_frames: int) -> list[tuple[int, int]]:
    """(first, length) of the parts of a clip between gaps, the frames before which others miss."""
    return [(a, b - a) for a, b in itertools.pairwise([0, *gaps, num_frames])]
