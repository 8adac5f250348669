"""The data of a run, as far as it takes to tell them from others: data.json beside the checkpoints."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from e3d.data.sources.dataset import Source
from e3d.errors import InputError
from e3d.files import atomic_write, read_json
from e3d.pixel_values import as_floats
from e3d.terminal import tell

CONTENTS_FILE = 'data.json'
MAX_BYTES = 2**20
_LOOKED_AT = 8  # sequences of the test split
# Means of frames in [0, 1]; another version of a video decoder does not change them so much.
_TOLERANCE = 2e-3


class Contents(NamedTuple):
    """Of the data of a run.

    Attributes:
      frames: (T, H, W, C) of a sequence of the test split.
      sequences: how many there are, by split.
      means: of a few sequences of the test split, spread evenly over it.
      no_best: why no checkpoint is the best; '' where one is selected.
      path: where they lie.
    """

    frames: tuple[int, ...]
    sequences: Mapping[str, int]
    means: tuple[float, ...]
    no_best: str = ''
    path: str = ''

    def find_differences(self, other: 'Contents') -> list[str]:
        """How other data differ, a line each; nothing where they seem to be the same."""
        lines = []
        if self.frames != other.frames:
            lines.append(f'sequences [T, H, W, C] of {list(other.frames)}, not {list(self.frames)}')
        for split in self.sequences.keys() & other.sequences.keys():
            count, now = self.sequences[split], other.sequences[split]
            if now != count:
                lines.append(f'{now:,} sequences in the {split} split, not {count:,}')
        near = len(self.means) == len(other.means) and all(
            math.isclose(mean, now, abs_tol=_TOLERANCE)
            for mean, now in zip(self.means, other.means, strict=True)
        )
        return lines if lines or near else ['other frames in the test split']


def contents_of(sources: Mapping[str, Source], no_best: str = '', path: str = '') -> Contents:
    """Looks at a few sequences of opened splits, 'test' among them."""
    test = sources['test']
    chosen = np.unique(np.linspace(0, len(test) - 1, _LOOKED_AT).round().astype(int))
    # One after the other: a sequence may be long.
    means = tuple(_mean(test[int(index)]['frames']) for index in chosen)
    lengths = {split: len(source) for split, source in sources.items()}
    return Contents(test[0]['frames'].shape, lengths, means, no_best, path)


def _mean(frames: np.ndarray) -> float:
    return round(float(as_floats(np.asarray(frames)).mean(dtype=np.float64)), 6)


def check_same_data(before: Contents, found: Contents) -> None:
    """Says how the data of a run that goes on have changed.

    Raises:
      InputError: they lie elsewhere and are others, which no run goes on with.
    """
    differences = '; '.join(before.find_differences(found))
    if not differences:
        return
    if before.path != found.path:
        raise InputError(
            f"'{found.path}' (dataset.path) holds other data than '{before.path}', by which the run "
            f'was trained: {differences}. Give the path of those data, or another --workdir; '
            '--mode=evaluate measures the run by others.'
        )
    tell(f'The data have changed since the run was trained with them: {differences}.')


def write_contents(folder: pathlib.Path, contents: Contents) -> None:
    """Writes data.json into the folder of the checkpoints; raises RunError where it cannot."""
    with atomic_write(folder / CONTENTS_FILE) as temporary:
        temporary.write_text(json.dumps(contents._asdict(), indent=2) + '\n', encoding='utf-8')


def read_contents(folder: pathlib.Path) -> Contents | None:
    """What data.json says; None of a run of an earlier version, or where it is damaged."""
    try:
        stored = read_json(folder / CONTENTS_FILE, MAX_BYTES)
        return Contents(
            tuple(int(side) for side in stored['frames']),
            {str(split): int(count) for split, count in stored['sequences'].items()},
            tuple(float(mean) for mean in stored['means']),
            str(stored['no_best']),
            str(stored['path']),
        )
    except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
