"""Which splits an evaluation needs."""

import pytest
from ml_collections import ConfigDict

from e3d.errors import InputError
from e3d.training import evaluator

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
