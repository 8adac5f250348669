"""Moving MNIST as fixed sets of sequences: a TFDS builder that needs no TensorFlow.

The generator is `e3d.data.sources.moving_digits`. A set is written once, as array_record, below
`<data_dir>/moving_mnist/`, and read by random access.
"""

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from e3d.data.sources.digits import splits_at_hand
from e3d.data.sources.moving_digits import MovingDigits
from e3d.data.sources.records import open_records, read_split
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError

# The fixed sets do not depend on a run's seed, so that all runs are measured by the same sequences.
# Whatever changes the sequences of the same settings must raise `MovingMnist.VERSION`.
SEED = 0


@dataclasses.dataclass(kw_only=True)
class MovingMnistConfig(tfds.core.BuilderConfig):
    """The sequences of a data set and their number in each split.

    The name, and with it the folder, comes from all fields and from the digit images themselves:
    other settings or other digits are another data set.

    Attributes:
      moving_digits: what the sequences look like.
      sizes: number of sequences by split; a split of none is left out.
    """

    name: str = dataclasses.field(init=False)
    moving_digits: MovingDigits
    sizes: Mapping[str, int]

    def __post_init__(self):
        settings = self.moving_digits
        height, width = settings.canvas
        at_hand = splits_at_hand(settings.digits, settings.path)
        pixels = b''.join(settings.load_digits(split).tobytes() for split in at_hand)
        self.name = '-'.join(
            [
                f'{settings.digits}_{zlib.crc32(pixels):08x}',
                f'{settings.num_digits}_digits_{settings.digit_size}',
                f'frames_{settings.length}x{height}x{width}',
                f'speed_{float(settings.speed)!r}',
                f'sizes_{"_".join(str(self.sizes.get(split, 0)) for split in SPLITS)}',
            ]
        )


class MovingMnist(tfds.core.GeneratorBasedBuilder):
    """Bouncing digits: {'frames': uint8 [T, H, W, 1]}, in the order of their index."""

    VERSION = tfds.core.Version('1.0.0')
    BUILDER_CONFIG_CLASS = MovingMnistConfig

    def _info(self) -> tfds.core.DatasetInfo:
        settings = self.builder_config.moving_digits
        shape = (settings.length, *settings.canvas, 1)
        frames = tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding='bytes')
        return tfds.core.DatasetInfo(
            builder=self,
            description='Handwritten digits that bounce about in a frame.',
            features=tfds.features.FeaturesDict({'frames': frames}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        sizes = self.builder_config.sizes
        return {
            split: self._generate_examples(split, size) for split, size in sizes.items() if size
        }

    def _generate_examples(self, split: str, size: int):
        indices = tqdm.tqdm(
            range(size), f'Making {split} sequences', leave=False, unit=' sequences', disable=None
        )
        for index in indices:
            yield index, {'frames': self.builder_config.moving_digits.sequence(SEED, split, index)}


def open_split(moving_digits: MovingDigits, sizes: Mapping[str, int], data_dir: str, split: str):
    """Opens a split of a fixed set, which is written first where it is not there yet.

    Args:
      moving_digits: what the sequences look like.
      sizes: number of sequences by split.
      data_dir: folder of prepared data.
      split: 'train', 'validation' or 'test'.

    Returns:
      Random access to {'frames': uint8 [T, H, W, 1]}, by `len` and `[index]`; can be pickled.

    Raises:
      InputError: a split of no sequences, a folder that cannot be written.
      RunError: writing failed, as on a full disk.
    """
    if sizes.get(split, 0) < 1:
        raise InputError(
            f"The data set has no '{split}' sequences; set dataset.{split}_size to 1 or more."
        )
    moving_digits.load_digits(split)  # so that what is wrong with them shows at once
    at_hand = splits_at_hand(moving_digits.digits, moving_digits.path)
    sizes = {other: size for other, size in sizes.items() if other in at_hand}
    config = MovingMnistConfig(moving_digits=moving_digits, sizes=sizes)
    return read_split(open_records(MovingMnist, config, data_dir), split)
