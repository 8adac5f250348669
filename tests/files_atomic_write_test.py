"""A file is either whole or not there."""

import pytest

from e3d.errors import RunError
from e3d.files import atomic_write


def test_takes_the_place_of_an_older_file(tmp_path):
    path = tmp_path / 'new' / 'report.json'
    for text in ('old', 'young'):
        with atomic_write(path) as temporary:
            assert temporary.suffix == path.suffix
            temporary.write_text(text)
    assert path.read_text() == 'young'
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / 'report.json'
    path.write_text('old')
    with pytest.raises(KeyError), atomic_write(path) as temporary:
        temporary.write_text('half')
        raise KeyError
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path):
    empty, full = tmp_path / 'empty', tmp_path / 'full'
    empty.mkdir()
    full.mkdir()
    (full / 'mine').write_text('precious')
    with atomic_write(empty) as temporary:
        temporary.mkdir()
        (temporary / 'frame').write_text('new')
    assert (empty / 'frame').read_text() == 'new'
    with pytest.raises(RunError, match='full'), atomic_write(full) as temporary:
        temporary.mkdir()
    assert sorted(p.name for p in tmp_path.rglob('*')) == ['empty', 'frame', 'full', 'mine']


def test_a_refusal_of_the_system_is_a_run_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with (
        pytest.raises(RunError, match='could not be written'),
        atomic_write(tmp_path / 'file' / 'report.json') as temporary,
    ):
        temporary.write_text('')
