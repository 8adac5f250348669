"""Labels that are looked at where a sequence is read: to read all of them before takes an epoch."""

import dataclasses

import numpy as np

from e3d.data.sources.dataset import Source
from e3d.errors import InputError


@dataclasses.dataclass(frozen=True)
class LabeledSequences:
    """The sequences of a source, which are refused where their label is none of a model.

    Attributes:
      source: of the sequences.
      split: its name.
      classes: how many the model has.
    """

    source: Source
    split: str
    classes: int

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """The sequence at an index; raises InputError where its label is not from 0 to classes - 1."""
        sequence = self.source[index]
        label = np.asarray(sequence.get('label'))
        if label.ndim or label.dtype.kind not in 'iu' or not 0 <= label < self.classes:
            raise InputError(
                f'The {self.split} split has the label {label} at index {index}; model.classes='
                f'{self.classes} needs labels from 0 to {self.classes - 1}, integers that number the '
                'classes in the order of their names. Leave out sequences of no class.'
            )
        return sequence
