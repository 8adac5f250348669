"""The data of a run, as far as it takes to tell them from others: data.json beside the checkpoints."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from e3d.data.sources.dataset import Source
from e3d.data.sources.registry import checksum, is_drawn
from e3d.errors import InputError
from e3d.files import atomic_write, read_json
from e3d.pixel_values import as_floats
from e3d.terminal import tell

DATA_FILE = 'data.json'
MAX_BYTES = 2**20
_LOOKED_AT = 8  # sequences of a split
# Means of frames in [0, 1]; another version of a video decoder does not change them so much.
_TOLERANCE = 2e-3


class Fingerprint(NamedTuple):
    """What tells the data of a run from others.

    Attributes:
      frames: (T, H, W, C) of a sequence of the test split.
      sequences: how many there are, by split.
      means: of a few sequences of the test split, spread evenly over it.
      no_best: why no checkpoint is the best; '' where one is selected.
      path: where they lie.
      training: like `means`, of the training split; () where that is not known: its sequences are
        drawn, or the run is of an earlier version.
      checksum: of all of them; '' where there is none.
    """

    frames: tuple[int, ...]
    sequences: Mapping[str, int]
    means: tuple[float, ...]
    no_best: str = ''
    path: str = ''
    training: tuple[float, ...] = ()
    checksum: str = ''

    def find_differences(self, other: 'Fingerprint') -> list[str]:
        """How other data differ, a line each; nothing where they seem to be the same.

        Of what is trained on only the number counts here: an evaluation is of the test.
        """
        lines = []
        if self.frames != other.frames:
            lines.append(f'sequences [T, H, W, C] of {list(other.frames)}, not {list(self.frames)}')
        for split in self.sequences.keys() & other.sequences.keys():
            count, now = self.sequences[split], other.sequences[split]
            if now != count:
                lines.append(f'{now:,} sequences in the {split} split, not {count:,}')
        near = _are_near(self.means, other.means)
        return lines if lines or near else ['other frames in the test split']

    def find_other_training(self, other: 'Fingerprint') -> list[str]:
        """The same for what is trained on, as far as both tell it."""
        if self.checksum and other.checksum:
            return ['other frames'] if self.checksum != other.checksum else []
        known = self.training and other.training
        near = not known or _are_near(self.training, other.training)
        return [] if near else ['other frames in the train split']

    def is_same(self, other: 'Fingerprint') -> bool:
        """Whether other data are certainly the same: both tell what is trained on, and all agrees."""
        told = self.checksum or self.training, other.checksum or other.training
        return all(told) and not (self.find_differences(other) or self.find_other_training(other))


def fingerprint_of(
    sources: Mapping[str, Source],
    no_best: str = '',
    path: str = '',
    training: tuple[float, ...] = (),
) -> Fingerprint:
    """Looks at a few sequences of the test split, which is among those that are opened."""
    test = sources['test']
    lengths = {split: len(source) for split, source in sources.items()}
    shape = test[0]['frames'].shape
    return Fingerprint(shape, lengths, _means(test), no_best, path, training, checksum(test))


def training_means(source: Source) -> tuple[float, ...]:
    """The `Fingerprint.training` of an opened training split."""
    if is_drawn(source):
        return ()
    means, last = _means(source), _places(source)[-1]
    # A data set of the user's own may draw without saying so: then it gives others each time.
    return means if means[-1] == _mean(source, last) else ()


def _means(source: Source) -> tuple[float, ...]:
    # One after the other: a sequence may be long.
    return tuple(_mean(source, index) for index in _places(source))


def _places(source: Source) -> list[int]:
    places = np.linspace(0, len(source) - 1, _LOOKED_AT).round().astype(int)
    return [int(place) for place in np.unique(places)]


def _mean(source: Source, index: int) -> float:
    frames = as_floats(np.asarray(source[index]['frames']))
    return round(float(frames.mean(dtype=np.float64)), 6)


def _are_near(means: Sequence[float], others: Sequence[float]) -> bool:
    return len(means) == len(others) and all(
        math.isclose(mean, other, abs_tol=_TOLERANCE)
        for mean, other in zip(means, others, strict=True)
    )


def check_same_data(before: Fingerprint, found: Fingerprint) -> None:
    """Says how the data of a run that goes on have changed.

    Raises:
      InputError: they lie elsewhere and are others, which no run goes on with.
    """
    differences = '; '.join(before.find_differences(found) or before.find_other_training(found))
    if not differences:
        return
    if before.path != found.path:
        remedy = (
            'Give the same arrays, or another workdir.'
            if found.checksum
            else 'Give the path of those data, or another --workdir; --mode=evaluate measures the run '
            'by others.'
        )
        raise InputError(
            f"'{found.path}' (dataset.path) holds other data than '{before.path}', by which the run "
            f'was trained: {differences}. {remedy}'
        )
    tell(f'The data have changed since the run was trained with them: {differences}.')


def write_fingerprint(folder: pathlib.Path, fingerprint: Fingerprint) -> None:
    """Writes data.json into the folder of the checkpoints; raises RunError where it cannot."""
    with atomic_write(folder / DATA_FILE) as temporary:
        temporary.write_text(json.dumps(fingerprint._asdict(), indent=2) + '\n', encoding='utf-8')


def read_fingerprint(folder: pathlib.Path) -> Fingerprint | None:
    """What data.json says; None of a run of an earlier version, or where it is damaged."""
    try:
        stored = read_json(folder / DATA_FILE, MAX_BYTES)
        return Fingerprint(
            tuple(int(side) for side in stored['frames']),
            {str(split): int(count) for split, count in stored['sequences'].items()},
            tuple(float(mean) for mean in stored['means']),
            str(stored['no_best']),
            str(stored['path']),
            tuple(float(mean) for mean in stored.get('training', ())),
            str(stored.get('checksum', '')),
        )
    except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
