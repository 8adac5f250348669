"""`e3d data`: what there is, and how to get it."""

import pytest

from e3d import launcher
from e3d.data.listing import describe_data_sets
from e3d.data.sources.dataset import DATASETS
from e3d.errors import InputError


def test_every_data_set_is_listed_with_its_state(tmp_path, monkeypatch, capsys):
    (tmp_path / 'kth').mkdir()
    (tmp_path / 'kth' / 'records').write_bytes(bytes(2**20))
    assert launcher.main(['e3d', 'data', str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    blocks = dict(block.split(':', 1) for block in listed.strip().split('\n\n'))
    assert blocks.keys() == DATASETS.keys()
    assert f'ready in {tmp_path / "kth"}, 1.0 MiB' in blocks['kth']
    monkeypatch.setenv('HOME', str(tmp_path.parent))
    assert describe_data_sets(f'~/{tmp_path.name}') == listed.rstrip('\n')
    assert 'made when it is used' in blocks['moving_mnist']
    for name in ('taxibj', 'something_something'):
        assert 'to be fetched by hand' in blocks[name]
        for part in ('https://', 'MB' if name == 'taxibj' else 'GB', 'dataset.path'):
            assert part in blocks[name]


@pytest.mark.parametrize('name', DATASETS)
def test_what_is_fetched_by_hand_says_where_it_goes(name):
    origin = DATASETS[name].origin
    assert origin.obtained in ('made', 'fetched', 'by hand', 'own')
    if origin.obtained != 'made':
        assert '--config.dataset.path=' in origin.instructions


def test_other_arguments_are_rejected(capsys):
    assert launcher.main(['e3d', 'data', '--all']) == 2
    assert 'e3d data FOLDER' in capsys.readouterr().err
    with pytest.raises(InputError):
        launcher.list_data_sets(['one', 'two'])
