"""The copy test: a sequence that was seen whole comes again after an unrelated one."""

import dataclasses
from typing import Any

import numpy as np

from e3d.data.sources.dataset import Source
from e3d.errors import InputError


@dataclasses.dataclass(frozen=True)
class CopySequences:
    """Context, Seq 1 and Seq 2 one after another: `source[index] -> {'frames': [T, H, W, C]}`.

    Seq 2 is the beginning of the sequence of that index, and so is the context; Seq 1 is the beginning
    of the one that lies half the source away, as unrelated as any. See
    `e3d.data.sources.layouts.layout_of`.

    Attributes:
      source: of sequences as long as the longer of the two.
      between: frames of Seq 1.
      length: frames of Seq 2.
    """

    source: Source
    between: int
    length: int

    def __post_init__(self) -> None:
        if len(self.source) < 2:
            raise InputError(
                'The copy test needs two sequences in each split, one of which comes between, but '
                f'there is {len(self.source)}. Give more data, or dataset.copy_test=().'
            )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.source[index]
        unrelated = self.source[(index + len(self) // 2) % len(self)]['frames'][: self.between]
        frames = example['frames'][: self.length]
        return {**example, 'frames': np.concatenate([frames, unrelated, frames])}
