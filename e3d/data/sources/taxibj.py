"""TaxiBJ, BikeNYC and any flows in their form, as sequences for prediction.

Frames are the flows into and out of each cell of a grid, [H, W, 2], scaled so that the smallest
and the largest count of the training are 0 and 1. Later counts may be larger and then exceed 1;
they are not cut, so that errors are those in true counts.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from e3d.data.sources.dataset import Dataset, Origin, register_dataset
from e3d.data.sources.flow_archives import read_flow_sequences
from e3d.data.sources.flow_files import (
    INSTRUCTIONS,
    Flows,
    drop_days_with_holes,
    find_files,
    read_flows,
)
from e3d.data.sources.scales import Scale
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.options.option import option
from e3d.options.rules import optional, whole

DAYS_PER_WEEK = 7
# Days between the frames that a model may see beside those of a sequence, see `with_inputs`.
LAGS = {'period': 1, 'trend': DAYS_PER_WEEK}


@dataclasses.dataclass(frozen=True)
class FlowSequences:
    """Sequences of a split: `source[index] -> {'frames': float32 [T, H, W, C]}`.

    Can be pickled: the copy reads the files again.

    Attributes:
      dataset: as given to `open_taxibj`.
      split: 'train', 'validation' or 'test'.
      frames: scaled, of all splits, float32 [N, H, W, C].
      flows: counts and times of the frames.
      starts: first frame of each sequence, int.
      training: which frames are of the training days, bool [N].
      scale: what the values stand for: 0 and 1 for the smallest and the largest count of the training
        days, or of those of a run; no count is negative or the largest there can be.
      before: of frames of days and weeks before, by the names in `LAGS`, the rows of `frames`,
        int [len(self), T_out, count]; see `with_inputs`.
    """

    dataset: Mapping[str, Any]
    split: str
    frames: np.ndarray
    flows: Flows
    starts: np.ndarray
    training: np.ndarray
    scale: Scale
    before: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    channel_names = ('inflow', 'outflow')

    @property
    def account(self) -> tuple[str, ...]:
        """How the files were understood, in lines for the user."""
        test, validation = self.dataset['test_days'], self.dataset['validation_days']
        train = len(np.unique(self.flows.days)) - test - validation
        between = f'the {validation} before for validation' if validation else 'also for validation'
        return (
            *self.flows.account,
            f'divided by days without holes: the last {test} for testing (dataset.test_days), '
            f'{between} (dataset.validation_days), the first {train} for training',
        )

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        start = self.starts[index]
        sequence = {'frames': self.frames[start : start + _length(self.dataset)]}
        return sequence | {name: self.frames[rows[index]] for name, rows in self.before.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        counts = {name: rows.shape[-1] for name, rows in self.before.items()}
        return _reopen, (dict(self.dataset), self.split, counts, self.scale)

    def with_scale(self, scale: Scale) -> 'FlowSequences':
        """The same sequences as a run sees them that was trained on other flows."""
        return dataclasses.replace(self, scale=scale, frames=scale.from_unit(self.flows.counts))

    def with_inputs(self, counts: Mapping[str, int]) -> 'FlowSequences':
        """The same sequences, each with frames of days and weeks before those to be forecast.

        Of a frame these are the frames of the same slot 1, 2, ... days (weeks) before, the newest
        first; where a day is missing, as many more days (weeks) before as it takes. Sequences for
        which the flows begin too late are left out.

        Args:
          counts: by name, 'period' for days and 'trend' for weeks, how many of them.

        Raises:
          InputError: there is no such name, or a frame before would be one to be forecast.
        """
        ahead = self.dataset['output_frames']
        unknown = [name for name in counts if name not in LAGS]
        if unknown:
            raise InputError(
                f'Flows have no {" and ".join(unknown)}; they have {" and ".join(LAGS)}.'
            )
        if counts and ahead > self.flows.slots_per_day:
            raise InputError(
                f'dataset.output_frames={ahead}: must be at most {self.flows.slots_per_day}, the '
                'slots of a day, for a model that sees the day before each frame.'
            )
        targets = self._targets()
        before = {
            name: np.stack(
                [
                    self.flows.rows_before(targets, LAGS[name] * n, LAGS[name])
                    for n in range(1, count + 1)
                ],
                axis=-1,
            )
            for name, count in counts.items()
        }
        there = np.ones(len(self), bool)
        for rows in before.values():
            there &= (rows >= 0).all(axis=(1, 2))
        return dataclasses.replace(
            self,
            starts=self.starts[there],
            before={name: rows[there] for name, rows in before.items()},
        )

    def _targets(self) -> np.ndarray:
        """The rows of the frames to be forecast, int [len(self), T_out]."""
        ahead = np.arange(self.dataset['input_frames'], _length(self.dataset))
        return self.starts[:, None] + ahead

    def simple_forecasts(self) -> dict[str, np.ndarray]:
        """What the calendar alone forecasts, scaled, float32 [len(self), T_out, H, W, C].

        'hour_average': the mean of this slot of the day over the training days; 'yesterday' and
        'last_week': the latest frame of the same slot that lies one, or seven, days back, or so
        many more days (weeks) as are missing or are to be forecast themselves; left out where the
        flows begin too late for it.
        """
        rows = self._targets()
        per_day = self.flows.slots_per_day
        slots = self.flows.slots % per_day
        means = np.stack(
            [self.frames[self.training & (slots == s)].mean(0) for s in range(per_day)]
        )
        forecasts = {'hour_average': means[slots[rows]]}
        for name, days in (('yesterday', 1), ('last_week', DAYS_PER_WEEK)):
            # A day that is to be forecast as well is not known.
            back = days * (1 + np.arange(rows.shape[1]) // (days * per_day))
            before = self.flows.rows_before(rows, back, days)
            if (before >= 0).all():
                forecasts[name] = self.frames[before]
        return forecasts


@dataclasses.dataclass(frozen=True)
class ArchiveSequences:
    """Sequences of `dataset.npz`: `source[index] -> {'frames': float32 [T, H, W, C]}`.

    Attributes:
      dataset: as given to `open_taxibj`.
      split: 'train', 'validation' or 'test'.
      frames: float32 [N, T, H, W, C].
      account: how the file was understood, in lines for the user.
      value_range: None, for the file does not tell.
      bounds: as for `FlowSequences`; 0 is the smallest count.
    """

    dataset: Mapping[str, Any]
    split: str
    frames: np.ndarray
    account: tuple[str, ...] = ()
    value_range: None = None
    bounds: tuple[float, float] = (0.0, math.inf)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {'frames': self.frames[index]}

    def __reduce__(self) -> tuple[Any, ...]:
        return open_taxibj, (dict(self.dataset), self.split)


def open_taxibj(
    dataset: Mapping[str, Any], split: str, seed: int = 0
) -> FlowSequences | ArchiveSequences:
    """Opens a split of flows.

    Days with a missing slot are left out. The last `test_days` of the others are for testing, the
    `validation_days` before them for validation (with 0 the test sequences serve for it, as in the
    published codes), all before for training. The slots of a sequence follow each other by the
    clock. A training sequence lies wholly in training days; of the others all that is to be
    forecast lies in the days of their split.

    Args:
      dataset: the section of a config, see `TaxiBJDataset`.
      split: 'train', 'validation' or 'test'.
      seed: not used; nothing is drawn.

    Raises:
      InputError: files that cannot be read, or a split without sequences.
    """
    files = find_files(dataset['path'])
    if split == 'validation' and not dataset['validation_days']:
        split = 'test'
    if files[0].suffix.lower() == '.npz':
        found = read_flow_sequences(files[0], dataset, split)
        source: FlowSequences | ArchiveSequences = ArchiveSequences(dict(dataset), split, *found)
    else:
        source = _open_flows(dataset, split, read_flows(files, dataset['slots_per_day']))
    if not len(source):
        raise InputError(
            f"The split '{split}' of {dataset['path']} has no sequences of {_length(dataset)} "
            'slots that follow each other in days without holes. Change dataset.test_days, '
            'dataset.validation_days or the number of frames.'
        )
    return source


def _reopen(
    dataset: Mapping[str, Any], split: str, counts: Mapping[str, int], scale: Scale
) -> FlowSequences:
    source = open_taxibj(dataset, split)
    assert isinstance(source, FlowSequences)
    return source.with_inputs(counts).with_scale(scale)


def _length(dataset: Mapping[str, Any]) -> int:
    return dataset['input_frames'] + dataset['output_frames']


def _open_flows(dataset: Mapping[str, Any], split: str, flows: Flows) -> FlowSequences:
    flows = drop_days_with_holes(flows)
    place = _split_of_frames(dataset, flows.days)
    training = place == SPLITS.index('train')
    low, high = flows.counts[training].min(), flows.counts[training].max()
    if low == high:
        raise InputError(f'All counts of the training days in {dataset["path"]} are {low:g}.')
    scale = Scale((float(low), float(high)))
    least = 0 if flows.counts.min() >= 0 else -math.inf
    starts = np.arange(max(0, len(flows.slots) - _length(dataset) + 1))
    last = starts + _length(dataset) - 1
    first_ahead = starts + dataset['input_frames']
    unbroken = flows.slots[last] - flows.slots[starts] == last - starts
    # The splits follow each other in time, so the first and the last frame tell.
    first = starts if split == 'train' else first_ahead
    chosen = (place[first] == place[last]) & (place[last] == SPLITS.index(split)) & unbroken
    return FlowSequences(
        dataset=dict(dataset),
        split=split,
        frames=scale.from_unit(flows.counts),
        flows=flows,
        starts=starts[chosen],
        training=training,
        scale=scale._replace(bounds=(float(scale.from_unit(least)), math.inf)),
    )


def _split_of_frames(dataset: Mapping[str, Any], days: np.ndarray) -> np.ndarray:
    """The place in SPLITS of the split of each frame."""
    whole_days = np.unique(days)
    num_test, num_validation = dataset['test_days'], dataset['validation_days']
    num_train = len(whole_days) - num_test - num_validation
    if num_train < 1:
        raise InputError(
            f'{dataset["path"]} has {len(whole_days)} days without holes; dataset.test_days='
            f'{num_test} and dataset.validation_days={num_validation} leave none for training.'
        )
    place_of_day = np.searchsorted(
        [num_train, num_train + num_validation], range(len(whole_days)), side='right'
    )
    return place_of_day[np.searchsorted(whole_days, days)]


@register_dataset('taxibj')
@dataclasses.dataclass(frozen=True)
class TaxiBJDataset(Dataset):
    """Flows over a grid; path: an .h5 file of ST-ResNet, a folder of them, or dataset.npz."""

    input_frames: int = 4
    output_frames: int = 4
    test_days: int = option(28, 'number of the last days, which are the test', whole(1))
    validation_days: int = option(
        0, 'number of days before those; 0: validation is on the test split', whole(0)
    )
    slots_per_day: int | None = option(
        None, 'frames of a day; None: as the files tell', optional(whole(1))
    )

    resizable = False  # a cell is a place: a grid of another size is other data
    hold_out = 'dataset.validation_days, as in --config.dataset.validation_days=7'
    origin = Origin('by hand', 'up to 370 MB', 'as its authors say', INSTRUCTIONS)
    open = staticmethod(open_taxibj)
