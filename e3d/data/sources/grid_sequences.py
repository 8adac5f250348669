"""The sequences of a split of grids, read when they are asked for."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.sources.file_facts import FileFacts
from e3d.data.sources.grid_setup import GridSetup, open_setup
from e3d.data.sources.hour_averages import HourAverages, hour_averages
from e3d.data.sources.scales import Scale

CROPS = 16  # of each sequence, in an epoch


@dataclasses.dataclass(frozen=True)
class GridSequences:
    """Sequences of a split: `source[index] -> {'frames': float32 [T, H, W, C], ...}`.

    Can be pickled: the copy opens the files again, without looking through them.

    Attributes:
      setup: the opened files.
      split: 'train', 'validation' or 'test'.
      starts: first frame of each sequence, int.
      scale: what the values stand for.
      masked: whether there are gaps, so that there is 'valid'.
      seed: of the places of crops.
      account: how the files were understood, in lines for the user.
      left_out: sequences without truth.
      average_day: makes the frames of `hour_averages.average_day` in a scale; None in a copy.
      ends: see `training_ends`; None in a copy.
    """

    setup: GridSetup
    split: str
    starts: np.ndarray
    scale: Scale
    masked: bool
    seed: int = 0
    account: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    average_day: Callable[[Scale], np.ndarray | None] | None = None
    ends: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts) * (CROPS if self.crop else 1)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        start = int(self.starts[index // CROPS if self.crop else index])
        sequence = self.setup.sequence(start, start + self.length, self.scale, self.masked)
        if not self.crop:
            return sequence
        random = np.random.default_rng((self.seed, index))
        sides = zip(sequence['frames'].shape[1:3], self.crop, strict=True)
        corners = [(int(random.integers(side - cut + 1)), cut) for side, cut in sides]
        rows, columns = (slice(first, first + cut) for first, cut in corners)
        return {name: array[:, rows, columns] for name, array in sequence.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        state = self.split, self.starts, self.scale, self.masked, self.seed
        return _reopen, (self.setup.dataset, *state)

    @property
    def crop(self) -> tuple[int, int] | None:
        """Height and width of what is cut out at random for training; None: whole frames."""
        height_and_width = tuple(self.setup.dataset['crop'])
        return height_and_width if height_and_width and self.split == 'train' else None

    @property
    def length(self) -> int:
        """Frames of a sequence."""
        dataset = self.setup.dataset
        return int(dataset['input_frames'] + dataset['output_frames'])

    def with_scale(self, scale: Scale) -> 'GridSequences':
        """The same sequences as a run sees them that was trained on others."""
        return dataclasses.replace(self, scale=scale)

    def with_gaps(self) -> 'GridSequences':
        """The same sequences with 'valid', as a run sees them that was trained on others with gaps."""
        return dataclasses.replace(self, masked=True)

    @property
    def extent(self) -> tuple[float, float] | None:
        """The least and the largest value of the training part as the model sees them."""
        if self.ends is None:
            return None
        seen = self.scale.from_unit(self.ends)
        return float(seen.min()), float(seen.max())

    @property
    def facts(self) -> FileFacts:
        """What the files state."""
        return self.setup.facts

    @property
    def channel_units(self) -> tuple[str, ...]:
        """The unit of each channel of the frames; '' where it is not known."""
        return self.setup.channel_units

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What the channels of the frames are called."""
        return self.setup.channel_names

    def simple_forecasts(self) -> dict[str, HourAverages]:
        """Of data with dates 'hour_average', see `average_day`."""
        day = None if self.average_day is None else self.average_day(self.scale)
        return hour_averages(self.setup, day, self.starts)


def _reopen(dataset: Mapping[str, Any], *state: Any) -> GridSequences:
    return GridSequences(open_setup(dataset), *state)
