"""The data of a run, as far as it takes to tell them from others: data.json beside the checkpoints."""

import json
import math
import pathlib
from collections.abc import Mapping
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
# What another version of a video decoder may change: of a mean or a standard deviation of frames in
# [0, 1], and of the larger of both where frames are dark, or most of their cells are 0.
_TOLERANCE = 2e-3
_SHARE = 0.02
_DIGITS = 6


class Moments(NamedTuple):
    """What is told of a few sequences of a split, spread evenly over it.

    Attributes:
      means: of each.
      deviations: the standard deviation of each; () in a run of an earlier version.
    """

    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()


UNKNOWN = Moments()


class Fingerprint(NamedTuple):
    """What tells the data of a run from others.

    Attributes:
      frames: (T, H, W, C) of a sequence of the test split.
      sequences: how many there are, by split.
      means: of `Moments`, of the test split.
      no_best: why no checkpoint is the best; '' where one is selected.
      path: where they lie.
      training: like `means`, of the training split; () where that is not known: its sequences are
        drawn, or the run is of an earlier version.
      checksum: of all of them; '' where there is none.
      deviations: of `Moments`, of the test split.
      training_deviations: those that belong to `training`.
    """

    frames: tuple[int, ...]
    sequences: Mapping[str, int]
    means: tuple[float, ...]
    no_best: str = ''
    path: str = ''
    training: tuple[float, ...] = ()
    checksum: str = ''
    deviations: tuple[float, ...] = ()
    training_deviations: tuple[float, ...] = ()

    @property
    def of_test(self) -> Moments:
        """What is told of the test split."""
        return Moments(self.means, self.deviations)

    @property
    def of_training(self) -> Moments:
        """What is told of the training split."""
        return Moments(self.training, self.training_deviations)

    def find_differences(self, other: 'Fingerprint') -> list[str]:
        """How other data differ, a line each; nothing where they seem to be the same.

        Of what is trained on only the number counts here: an evaluation is of the test.
        """
        lines = []
        if self.frames != other.frames:
            lines.append(f'sequences [T, H, W, C] of {list(other.frames)}, not {list(self.frames)}')
        for split, count in self.sequences.items():
            now = other.sequences.get(split, count)
            if now != count:
                lines.append(f'{now:,} sequences in the {split} split, not {count:,}')
        near = _are_near(self.of_test, other.of_test)
        return lines if lines or near else ['other frames in the test split']

    def find_other_training(self, other: 'Fingerprint') -> list[str]:
        """The same for what is trained on, as far as both tell it."""
        if self.checksum and other.checksum:
            return ['other frames'] if self.checksum != other.checksum else []
        known = self.training and other.training
        near = not known or _are_near(self.of_training, other.of_training)
        return [] if near else ['other frames in the train split']

    def is_same(self, other: 'Fingerprint') -> bool:
        """Whether other data are certainly the same: both tell what is trained on, and all agrees."""
        told = self.checksum or self.training, other.checksum or other.training
        return all(told) and not (self.find_differences(other) or self.find_other_training(other))


def fingerprint_of(
    sources: Mapping[str, Source],
    no_best: str = '',
    path: str = '',
    training: Moments = UNKNOWN,
) -> Fingerprint:
    """Looks at a few sequences of the test split, which is among those that are opened."""
    test = sources['test']
    measured = _moments(test)
    return Fingerprint(
        frames=test[0]['frames'].shape,
        sequences={split: len(source) for split, source in sources.items()},
        means=measured.means,
        no_best=no_best,
        path=path,
        training=training.means,
        checksum=checksum(test),
        deviations=measured.deviations,
        training_deviations=training.deviations,
    )


def training_moments(source: Source) -> Moments:
    """What a `Fingerprint` tells of an opened training split; UNKNOWN where that is drawn."""
    if is_drawn(source):
        return UNKNOWN
    moments, last = _moments(source), _places(source)[-1]
    # A data set of the user's own may draw without saying so: then it gives others each time.
    again = _mean_and_deviation(source, last)
    return moments if (moments.means[-1], moments.deviations[-1]) == again else UNKNOWN


def _moments(source: Source) -> Moments:
    # One after the other: a sequence may be long.
    pairs = [_mean_and_deviation(source, index) for index in _places(source)]
    return Moments(tuple(mean for mean, _ in pairs), tuple(deviation for _, deviation in pairs))


def _places(source: Source) -> list[int]:
    places = np.linspace(0, len(source) - 1, _LOOKED_AT).round().astype(int)
    return [int(place) for place in np.unique(places)]


def _mean_and_deviation(source: Source, index: int) -> tuple[float, float]:
    frames = as_floats(np.asarray(source[index]['frames']))
    mean = float(frames.mean(dtype=np.float64))
    variance = float(np.square(frames - mean).mean(dtype=np.float64))
    return round(mean, _DIGITS), round(math.sqrt(variance), _DIGITS)


def _are_near(one: Moments, other: Moments) -> bool:
    """Whether sequences seem to be the same."""
    if not (one.deviations and other.deviations):
        # A run of an earlier version: the means tell alone, by _TOLERANCE as of bright frames.
        one, other = (m._replace(deviations=(1.0,) * len(m.means)) for m in (one, other))
    numbers = *one, *other
    return len(set(map(len, numbers))) == 1 and all(map(_is_near, *numbers))


def _is_near(mean: float, deviation: float, other_mean: float, other_deviation: float) -> bool:
    size = max(abs(mean), deviation, abs(other_mean), other_deviation)
    tolerance = min(_TOLERANCE, _SHARE * size) + 10**-_DIGITS
    return abs(mean - other_mean) <= tolerance and abs(deviation - other_deviation) <= tolerance


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
            tuple(float(deviation) for deviation in stored.get('deviations', ())),
            tuple(float(deviation) for deviation in stored.get('training_deviations', ())),
        )
    except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
