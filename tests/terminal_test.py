"""What programs print where they cannot: real ones, with real pipes and devices."""

import io
import subprocess
import sys

import pytest
from launch_test import ROOT
from selection import ON_LINUX

from e3d import terminal

HELP = [sys.executable, str(ROOT / 'launch.py'), '--help']


def run(body, redirection='', environment=None):
    """Exit code, stdout and stderr of a program that has taken its streams over."""
    code = f'import sys\nfrom e3d import terminal\nterminal.take_over()\n{body}'
    done = subprocess.run(
        ['bash', '-c', f'exec "$@" {redirection}', 'bash', sys.executable, '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ('encoding', 'expected'),
    [
        ('ascii', b'-- v -> ^ \\xdf 1.5 +/- 0.1 \\u65e5'),
        ('latin-1', b'-- v -> ^ \xdf 1.5 \xb1 0.1 \\u65e5'),
        ('utf-8', '── ↓ → ↑ ß 1.5 ± 0.1 日'.encode()),
    ],
)
def test_characters_that_are_not_there_are_written_plainly(monkeypatch, encoding, expected):
    written = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(written, encoding))
    terminal.show('── ↓ → ↑ ß 1.5 ± 0.1 日')
    sys.stdout.flush()
    assert written.getvalue() == expected + b'\n'


def test_names_that_are_not_utf_8(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(written, 'utf-8'))
    terminal.show('runs/caf\udce9')
    sys.stdout.flush()
    assert written.getvalue() == b'runs/caf\\udce9\n'


def test_names_do_not_steer_the_terminal(capsys):
    for say in (terminal.show, terminal.tell):
        say('rain\x1b[2J\x07\x9b1m\r\n\tof café')
    out, err = capsys.readouterr()
    assert out == err == 'rain\\x1b[2J\\x07\\x9b1m\\r\n\tof café\n'


LONG = 'for _ in range(100_000): print("x" * 9, file=sys.{stream}, flush=True)\n'


@pytest.mark.parametrize(
    ('stream', 'redirection'), [('stdout', '> >(head -1)'), ('stderr', '2> >(head -1 >&2)')]
)
def test_work_goes_on_when_the_reader_has_gone(stream, redirection):
    other = {'stdout': 'stderr', 'stderr': 'stdout'}[stream]
    body = f'{LONG.format(stream=stream)}print("done", terminal.lost_results(), file=sys.{other})'
    code, output, errors = run(body, redirection)
    assert code == 0
    assert {'stdout': errors, 'stderr': output}[stream] == 'done None\n'


@ON_LINUX
def test_a_full_disk_is_no_reader_that_has_gone():
    body = 'print("x")\nprint("lost:", terminal.lost_results(), file=sys.stderr)'
    assert run(body, '> /dev/full') == (0, '', 'lost: No space left on device\n')


@pytest.mark.parametrize('redirection', ['>&-', '2>&-', '<&- >&- 2>&-'])
def test_closed_streams_leave_their_numbers_to_nobody(tmp_path, redirection):
    path = tmp_path / 'file'
    body = (
        f'with open({str(path)!r}, "w") as file:\n'
        '    import os; print("out"); print("error", file=sys.stderr)\n'
        '    sys.stdout.flush(); sys.stderr.flush(); os.write(2, b"of a library")\n'
        '    file.write("mine")\n'
    )
    assert run(body, redirection)[0] == 0
    assert path.read_text() == 'mine'


def test_help_into_a_pipe_that_ends():
    done = subprocess.run(
        ['bash', '-c', '"$@" | head -1; exit ${PIPESTATUS[0]}', 'bash', *HELP],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and done.stderr == '' and 'E3D-LSTM' in done.stdout


@ON_LINUX
def test_help_onto_a_full_disk():
    done = subprocess.run(['bash', '-c', '"$@" > /dev/full', 'bash', *HELP], capture_output=True)
    assert done.returncode == 1 and b'No space left on device' in done.stderr
    assert b'Traceback' not in done.stderr
