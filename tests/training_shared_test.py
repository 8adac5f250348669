"""What the processes of a training or an evaluation say of each other; real ones are in
`parallel_processes_test.py`."""

import json

import numpy as np
import pytest
from training_helpers import tiny_config

from e3d.errors import InputError
from e3d.parallel import processes
from e3d.runs.fingerprint import Fingerprint
from e3d.training.shared import check_shared_config, check_shared_data, check_shared_weights

DATA = Fingerprint((4, 8, 8, 1), {'train': 7, 'test': 3}, (0.1, 0.2), '', 'here', (0.3, 0.4))


@pytest.fixture
def gather(monkeypatch):
    """Calls a check in two processes one after the other, the way that its values really take."""
    gathered = []

    def call(check, of_first, of_other):
        gathered.clear()
        check(*of_first)
        check(*of_other)

    def collect(value):
        gathered.append(json.loads(json.dumps(value)))
        return list(gathered)

    monkeypatch.setattr(processes, 'count', lambda: 2)
    monkeypatch.setattr(processes, 'gather', collect)
    return call


def test_configs_may_differ_in_where_the_data_lie(tmp_path, gather):
    config = tiny_config(tmp_path)
    places = {'dataset.data_dir': 'elsewhere', 'dataset.path': 'there', 'dataset.workers': 2}
    gather(check_shared_config, [config], [tiny_config(tmp_path, **places)])
    # A run may go on with this one, but all must validate at the same steps.
    other = tiny_config(tmp_path, **{'train.evaluate_every': 3})
    message = (
        r'\[1\] have another config .*\n  train.evaluate_every: process 0 has 2, process 1 has 3'
    )
    with pytest.raises(InputError, match=message):
        gather(check_shared_config, [config], [other])


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (
            {'sequences': {'train': 6, 'test': 3}},
            'process 1: 6 sequences in the train split, not 7',
        ),
        ({'sequences': {'test': 3}}, 'process 1: the splits test, not test, train'),
        ({'means': (0.1, 0.3)}, 'process 1: other frames in the test split'),
        ({'training': (0.3, 0.5)}, 'process 1: other frames in the train split'),
        (
            {'frames': (4, 8, 9, 1)},
            r'process 1: sequences .* of \[4, 8, 9, 1\], not \[4, 8, 8, 1\]',
        ),
    ],
)
def test_data_that_differ(gather, changed, message):
    gather(check_shared_data, [DATA], [DATA._replace(path='there', means=(0.1, 0.2001))])
    with pytest.raises(InputError, match=message):
        gather(check_shared_data, [DATA], [DATA._replace(**changed)])


def test_weights_that_differ(gather):
    weights, others = ({'a': np.full(3, value), 'b': np.arange(2)} for value in (0, 1))
    gather(check_shared_weights, (5, weights), (5, weights))
    with pytest.raises(InputError, match='process 1: those of step 4, not of 5'):
        gather(check_shared_weights, (5, weights), (4, weights))
    with pytest.raises(InputError, match='process 1: other numbers, of step 5 as well'):
        gather(check_shared_weights, (5, weights), (5, others))
