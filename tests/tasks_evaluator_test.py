"""Which splits an evaluation needs."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from e3d.errors import InputError
from e3d.tasks import evaluator

CONFIG = ConfigDict({'dataset': {'name': 'some'}, 'seed': 3})


@pytest.fixture
def opened(monkeypatch):
    """Lets a test say which splits there are."""

    def give(*splits):
        def open_source(dataset, split, seed):
            if split not in splits:
                raise InputError(f'there is no {split}')
            return dataset.name, split, seed

        monkeypatch.setattr(evaluator, 'open_source', open_source)

    return give


def test_a_test_can_do_without_training_data_which_is_said(opened, capsys):
    opened('test')
    assert evaluator.open_splits(CONFIG, ('test',)) == {'test': ('some', 'test', 3)}
    assert 'mean training image is left out' in capsys.readouterr().err
    opened('train', 'test')
    assert list(evaluator.open_splits(CONFIG, ('test',))) == ['train', 'test']
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ('there', 'wanted', 'missing'),
    [
        (('test', 'validation'), ('validation', 'test'), 'train'),
        (('train',), ('test',), 'test'),
        ((), ('test',), 'test'),
    ],
)
def test_what_else_is_missing_ends_it(opened, there, wanted, missing):
    opened(*there)
    with pytest.raises(InputError, match=f'there is no {missing}'):
        evaluator.open_splits(CONFIG, wanted)


def make_folder(tmp_path, **changes):
    for number in range(10):
        (tmp_path / 'clips').mkdir(exist_ok=True)
        np.save(tmp_path / 'clips' / f'{number}.npy', np.full((8, 4, 4, 1), number, np.uint8))
    values = {
        'name': 'video_folder',
        'path': str(tmp_path / 'clips'),
        'data_dir': str(tmp_path / 'data'),
        'input_frames': 2,
        'output_frames': 2,
        'frame_size': (4, 4),
        'channels': 1,
        'fit': 'stretch',
        'frame_rate': None,
        'train_stride': 1,
        'test_stride': 1,
        'split_fractions': (0.6, 0.2, 0.2),
    }
    return ConfigDict({'dataset': values | changes, 'seed': 0, 'model': {}})


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({}, ''),
        ({'output_frames': 4, 'test_stride': 2}, ''),
        ({'split_fractions': (0.1, 0.1, 0.8)}, '5 clips of this test were trained on'),
    ],
)
def test_a_test_on_clips_that_were_trained_on_is_said(tmp_path, capsys, changes, told):
    trained, config = make_folder(tmp_path), make_folder(tmp_path, **changes)
    sources = evaluator.open_splits(config, ('test',))
    evaluator.tell_of_trained_clips(trained, config, sources)
    written = capsys.readouterr().err
    assert written.startswith(told) and bool(written) == bool(told)


def test_splits_of_another_shape_are_rejected(tmp_path):
    config = make_folder(tmp_path)
    sources = evaluator.open_splits(config, ('test',))
    evaluator.check_sources(config, sources, 1)
    for changes, channels, message in (
        ({}, 3, 'train split has frames with 1 channels; the model is for 3'),
        ({'output_frames': 3}, 1, 'with 5 frames a sequence; those of the train split have 4'),
        ({'frame_size': (4, 6)}, 1, 'test split has frames with 6 columns'),
    ):
        other = make_folder(tmp_path, **changes)
        test = evaluator.open_splits(other, ('test',))['test']
        with pytest.raises(InputError, match=message):
            evaluator.check_sources(config, sources | {'test': test}, channels)
