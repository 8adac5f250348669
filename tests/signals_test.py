"""Signals to real programs, from their first lines on."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from launch_test import QUICKSTART, ROOT, TINY
from selection import ON_LINUX, fast

from e3d import signals
from e3d.signals import Interrupted

BOTH = pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=['SIGTERM', 'SIGINT']
)
BEGIN = 'import contextlib, os, signal, sys, time\nfrom e3d import signals\nsignals.take_over()\n'


def begin(body):
    """A program that has taken the signals over when it says 'ready'."""
    command = [sys.executable, '-c', f'{BEGIN}def ready(): print("ready", flush=True)\n{body}']
    # Bytes without a buffer: what a buffer had read behind the line would be lost to `communicate`.
    process = subprocess.Popen(
        command,
        bufsize=0,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b'ready\n', process.communicate()[1]
    return process


def finish(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output.decode(), errors.decode()


@BOTH
def test_before_any_block_a_signal_ends_the_program(number, code):
    process = begin('ready()\ntime.sleep(100)')
    process.send_signal(number)
    assert finish(process) == (code, '', '\nInterrupted.\n')


@BOTH
def test_a_block_is_left_in_order(number, code):
    process = begin(
        'try:\n'
        '    with signals.unwinding():\n'
        '        try:\n'
        '            ready(); time.sleep(100)\n'
        '        except Exception: print("taken for a failure")\n'
        '        finally: print("closed")\n'
        'except signals.Interrupted as stop: sys.exit(stop.exit_code)\n'
    )
    process.send_signal(number)
    assert finish(process) == (code, 'closed\n', '')


@BOTH
def test_what_a_callback_swallows_is_not_lost(number, code):
    process = begin(
        'try:\n'
        '    with signals.unwinding():\n'
        '        with contextlib.suppress(BaseException): ready(); time.sleep(100)\n'
        '        print("goes on"); signals.check(); print("too far")\n'
        'except signals.Interrupted as stop: sys.exit(stop.exit_code)\n'
    )
    process.send_signal(number)
    assert finish(process) == (code, 'goes on\n', '')


@BOTH
def test_a_program_that_cannot_be_left_ends_after_its_grace(number, code):
    process = begin(
        'signals.GRACE_SECONDS = 0.2\n'
        'with signals.unwinding():\n'
        '    while True:\n'
        '        with contextlib.suppress(BaseException): ready(); time.sleep(100)\n'
    )
    process.send_signal(number)
    code_, _, errors = finish(process)
    assert (code_, errors) == (code, '\nInterrupted.\n')


# The second computes as a compilation does: no handler of Python runs meanwhile.
WAITS = ['while True: time.sleep(100)', "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"]


@BOTH
@pytest.mark.parametrize('wait', WAITS)
def test_the_second_signal_ends_at_once_with_its_code(number, code, wait):
    process = begin(
        'import hashlib\nsignals.DOUBLE_SECONDS = 0\n'
        f'with signals.handled(lambda number: None):\n    ready()\n    {wait}'
    )
    process.send_signal(number)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(number)
    code_, _, errors = finish(process)
    assert (code_, errors) == (code, '\nStopped at once.\n')


def test_two_of_one_kind_at_once_are_one():
    """As `timeout` sends them, to the process and again to its group."""
    process = begin(
        'signals.DOUBLE_SECONDS = 5\n'
        'asked = []\n'
        'with signals.handled(asked.append):\n'
        '    ready()\n'
        '    while not asked: time.sleep(0.01)\n'
        '    sys.stdin.readline()\n'
        'print("saved"); sys.exit(143)\n'
    )
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    process.stdin.write(b'\n')
    assert finish(process) == (143, 'saved\n', '')


def test_the_processes_that_make_batches_end_too(tmp_path):
    name = tmp_path / 'child'
    process = begin(
        'import multiprocessing, pathlib\n'
        'context = multiprocessing.get_context("fork")\n'
        'child = context.Process(target=time.sleep, args=(1000,), daemon=True)\n'
        'child.start()\n'
        f'pathlib.Path({str(name)!r}).write_text(str(child.pid))\n'
        'ready(); time.sleep(100)\n'
    )
    child = int(name.read_text())
    os.kill(child, 0)  # it lives
    process.send_signal(signal.SIGTERM)
    # Its streams are those of the program: they end when both have ended.
    assert finish(process)[0] == 143


def test_signals_of_forked_processes_are_their_own():
    process = begin(
        'import warnings\n'
        # Python 3.12 and later warn of a fork where there are threads.
        'warnings.simplefilter("ignore", DeprecationWarning)\n'
        'ready()\n'
        'sys.stdin.readline()\n'
        'with signals.handled(lambda number: None):\n'
        '    child = os.fork()\n'
        '    if child == 0: time.sleep(100); os._exit(0)\n'
        '    for _ in range(2): os.kill(child, signal.SIGTERM); time.sleep(0.3)\n'
        '    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)\n'
        'print("whole")\n'
    )
    process.stdin.write(b'\n')
    assert finish(process) == (0, 'whole\n', '')


def test_where_the_program_is_not_ours_a_signal_raises_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught, signals.unwinding():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert caught.value.exit_code == 143 and not caught.value.agreed
    assert signal.getsignal(signal.SIGTERM) is before
    signals.check()  # it is forgotten
    assert not signals.ends_program_at_second()


def test_a_signal_into_what_python_calls_by_itself_is_not_lost_and_prints_nothing():
    process = begin(
        'import gc\n'
        'gc.disable()  # but for the one below\n'
        'def stop(phase, info):\n'
        '    if phase == "start": os.kill(os.getpid(), signal.SIGTERM)\n'
        'gc.callbacks.append(stop)\n'
        'ready()\n'
        'class Breaks:\n'
        '    def __del__(self): raise ValueError("broken")\n'
        'try:\n'
        '    with signals.unwinding():\n'
        '        gc.collect(); gc.callbacks.clear(); Breaks()\n'
        '        print("went on"); signals.check()\n'
        'except signals.Interrupted as error: print(error.exit_code)\n'
    )
    code, output, errors = finish(process)
    assert (code, output) == (0, 'went on\n143\n')
    assert 'ValueError: broken' in errors and 'Interrupted' not in errors


# The moment is drawn by the attempt; the slow ones are late.
@ON_LINUX
@pytest.mark.parametrize('attempt', fast((1, 3), range(4)))
@BOTH
def test_a_signal_to_the_launcher_while_it_starts(tmp_path, number, code, attempt):
    command = [sys.executable, str(ROOT / 'launch.py'), QUICKSTART, *TINY]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait = random.Random(attempt).uniform(0, 3)
    wait_until_it_runs_our_lines(process)
    time.sleep(wait)
    process.send_signal(number)
    ended, _, errors = finish(process)
    assert ended == code, errors
    assert 'Traceback' not in errors and 'Interrupted' in errors


def wait_until_it_runs_our_lines(process):
    """Before that it is Python itself that starts."""
    for _ in range(100_000):
        with open(f'/proc/{process.pid}/status', encoding='ascii') as status:
            caught = next(line for line in status if line.startswith('SigCgt'))
        if int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1):
            return
        time.sleep(0.001)
    pytest.fail('no handler was installed')
