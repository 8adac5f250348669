"""Moving MNIST as fixed sets of sequences: a TFDS builder that needs no TensorFlow.

The generator is `e3d.data.moving_digits`. A set is written once, as array_record, below
`<data_dir>/moving_mnist/`, and read by random access.
"""

import contextlib
import dataclasses
import io
import pathlib
import tempfile
import zlib
from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from absl import logging

from e3d.data.digits import SPLITS
from e3d.data.moving_digits import MovingDigits
from e3d.errors import InputError, RunError

# The fixed sets do not depend on a run's seed, so that all runs are measured by the same sequences.
# Whatever changes the sequences of the same settings must raise `MovingMnist.VERSION`.
SEED = 0


@dataclasses.dataclass(kw_only=True)
class MovingMnistConfig(tfds.core.BuilderConfig):
    """The sequences of a data set and their number in each split.

    The name, and with it the folder, comes from all fields and from the digit images themselves:
    other settings or other digits are another data set.

    Attributes:
        moving_digits: What the sequences look like.
        sizes: Number of sequences by split; a split of none is left out.
    """

    name: str = dataclasses.field(init=False)
    moving_digits: MovingDigits
    sizes: Mapping[str, int]

    def __post_init__(self):
        settings = self.moving_digits
        height, width = settings.canvas
        pixels = b''.join(settings.load_digits(split).tobytes() for split in SPLITS)
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
            range(size), f'Making {split} sequences', leave=False, unit='sequence', disable=None
        )
        for index in indices:
            yield index, {'frames': self.builder_config.moving_digits.sequence(SEED, split, index)}


def open_split(moving_digits: MovingDigits, sizes: Mapping[str, int], data_dir: str, split: str):
    """Opens a split of a fixed set, which is written first where it is not there yet.

    The set appears in its folder all at once when it is complete, so that neither an interruption
    nor a second process at the same work leaves a part of it to be read.

    Args:
        moving_digits: What the sequences look like.
        sizes: Number of sequences by split.
        data_dir: Folder of prepared data.
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
    folder = str(pathlib.Path(data_dir).expanduser())
    config = MovingMnistConfig(moving_digits=moving_digits, sizes=sizes)
    with _quiet():
        builder = MovingMnist(data_dir=folder, config=config, file_format='array_record')
        if not builder.data_path.exists():
            _prepare(builder)
    try:
        records = tfds.builder_from_directory(builder.data_path).as_data_source(split)
        records[0]
    except (OSError, RuntimeError) as error:
        raise InputError(
            f'The data in {builder.data_path} are damaged: {error}. Delete that folder; it is '
            'written anew at the next start.'
        ) from error
    return records


def _prepare(builder: MovingMnist) -> None:
    try:
        builder.data_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'The folder {builder.data_path.parent} cannot be made: {error.strerror}. Let '
            'dataset.data_dir name a folder that you may write to.'
        ) from error
    try:
        with tempfile.TemporaryDirectory() as no_downloads:
            builder.download_and_prepare(download_dir=no_downloads)
    except (OSError, RuntimeError) as error:  # array_record reports a full disk by the latter
        if builder.data_path.exists():
            return  # another process was first, and the same set is there
        raise RunError(
            f'Writing the data to {builder.data_path} failed: {error}. Nothing of it was kept; '
            'make room or choose another dataset.data_dir, and start again.'
        ) from error


@contextlib.contextmanager
def _quiet():
    """Silences TFDS, which speaks of downloads and warns of every config made on the spot."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
