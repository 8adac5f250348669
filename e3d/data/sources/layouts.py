"""Which frames of a sequence a model observes and which it forecasts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """Stretches of frames, in turn observed and forecast; the last of them is measured.

    Forecasting has two: the input and the output. The copy test has four, see `layout_of`.

    Attributes:
      stretches: the number of frames in each, an even number of stretches.
    """

    stretches: tuple[int, ...]

    @property
    def length(self) -> int:
        """Frames of a sequence, T."""
        return sum(self.stretches)

    @property
    def input_frames(self) -> int:
        """Frames before the measured forecast."""
        return self.length - self.output_frames

    @property
    def output_frames(self) -> int:
        """Frames that are measured, T_out."""
        return self.stretches[-1]

    @property
    def lengths(self) -> tuple[int, int]:
        """Frames that a model which sees its input at once is given, and those that it forecasts."""
        return int(self.observed[: self.input_frames].sum()), self.output_frames

    def seen_at_once(self, frames: Any) -> Any:
        """Of the frames before the measured forecast those that are observed, side by side.

        Args:
          frames: `[B, input_frames, ...]`.
        """
        places = np.flatnonzero(self.observed[: self.input_frames])
        return frames if len(places) == self.input_frames else frames[:, places]

    @property
    def later_frames(self) -> int:
        """Frames after the first stretch; what the model is to be called with as output frames."""
        return self.length - self.stretches[0]

    @property
    def observed(self) -> np.ndarray:
        """Which frames are observed, bool [T]."""
        pairs = len(self.stretches) // 2
        return np.repeat([True, False] * pairs, self.stretches)

    @property
    def entering(self) -> np.ndarray:
        """Which of the later frames enter as they are, whatever is sampled.

        Bool [later_frames - 1], the form of a model's `truth_mask`: the last frame never enters.
        """
        return self.observed[self.stretches[0] : -1]


def plain_dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The data set that has the sequences of which those of the copy test are made.

    They are as long as the longer of Seq 1 and Seq 2; without a copy test it is the data set itself.
    """
    between = sum(dataset.get('copy_test', ()))
    output_frames = max(dataset['output_frames'], between - dataset['input_frames'])
    return {**dataset, 'output_frames': output_frames, 'copy_test': ()}


def layout_of(dataset: Mapping[str, Any]) -> Layout:
    """The layout of the sequences of a data set.

    In the copy test (paper, section 4.1) a context, which is the whole sequence to be forecast
    (Seq 2), and the input of an unrelated sequence (Seq 1) are observed; then Seq 1 is forecast;
    then the input of Seq 2 is observed, and Seq 2 is forecast and measured.

    Args:
      dataset: `input_frames`, `output_frames` (of Seq 2), and, for the copy test, `copy_test`, the
        frames of Seq 1 that are observed and forecast; () for none.
    """
    input_frames, output_frames = dataset['input_frames'], dataset['output_frames']
    between = dataset.get('copy_test', ())
    if not between:
        return Layout((input_frames, output_frames))
    context = input_frames + output_frames
    return Layout((context + between[0], between[1], input_frames, output_frames))
