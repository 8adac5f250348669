"""Where work stands is said in plain lines where there is no terminal, and drawn where there is one."""

import re
import sys

import pytest
import tqdm

from e3d import launcher
from e3d import progress as module
from e3d.progress import Lines, progress, set_verbosity

TIME = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Seconds that pass only where a test says so; the verbosity is as it was afterwards."""
    passed = [0.0]
    monkeypatch.setattr(module.time, 'monotonic', lambda: passed[0])
    monkeypatch.setattr(module, '_verbosity', 'normal')
    return passed


def test_one_line_every_30_seconds_with_the_time(clock, capsys):
    with progress('evaluating', 1000, unit=' sequences') as shown:
        for _ in range(100):
            clock[0] += 1.0
            shown.update(10)
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(TIME, 'T', line) for line in lines] == [
        'T evaluating 300/1,000 sequences, 30%',
        'T evaluating 600/1,000 sequences, 60%',
        'T evaluating 900/1,000 sequences, 90%',
    ]


def test_what_stays_has_a_first_and_a_last_line(capsys):
    with progress('training', 900, leave=True, initial=100) as shown:
        for text in ('loss 3', 'loss 2', 'loss 1'):
            shown.set_postfix_str(text, refresh=False)
            shown.update(100)
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(TIME, 'T', line) for line in lines] == [
        'T training 200/900, 22%, loss 3',
        'T training 400/900, 44%, loss 1',
    ]


def test_items_are_passed_on_and_counted(clock, capsys):
    shown = progress('preparing', items=['a', 'b'], unit=' clips')
    assert [(clock.__setitem__(0, clock[0] + 31), item)[1] for item in shown] == ['a', 'b']
    assert 'preparing 2/2 clips, 100%' in capsys.readouterr().err


def test_bytes_are_shown_as_megabytes(clock, capsys):
    with progress('x.h5', 9_000_000, unit='B', unit_scale=True) as shown:
        clock[0] = 31.0
        shown.update(3_000_000)
    assert 'x.h5 3/9 MB, 33%' in capsys.readouterr().err


@pytest.mark.parametrize(('verbosity', 'lines'), [('quiet', 0), ('normal', 2), ('detailed', 3)])
def test_verbosity(capsys, verbosity, lines):
    set_verbosity(verbosity)
    with progress('training', 3, leave=True) as shown:
        for _ in range(3):
            shown.update()
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    with progress('training', 3) as shown:
        assert isinstance(shown, tqdm.tqdm)
    with progress('training', 3, shown=False) as shown:
        assert isinstance(shown, Lines)


def test_the_command_line_sets_it(capsys):
    assert launcher.main(['e3d', '--verbosity=quiet', '--help']) == 0
    assert module._verbosity == 'quiet'
    assert launcher.main(['e3d', '--verbosity=loud', '--help']) == 2
    assert 'quiet' in capsys.readouterr().err
