"""Runs of the launcher that are ended from outside, at any moment, and go on."""

import json
import random
import signal
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from launch_test import QUICKSTART, ROOT, TINY

KILLS = 50
LONG = [
    QUICKSTART, *TINY, '--config.train.steps=2000', '--config.checkpoint.every=2',
    '--config.checkpoint.keep=2', '--config.train.evaluate_every=50', '--config.train.log_every=1',
    '--config.optimizer.ema_decay=0.99', '--config.evaluation.num_samples=0',
]  # fmt: skip


def begin(workdir, arguments=LONG):
    command = [sys.executable, str(ROOT / 'launch.py'), f'--workdir={workdir}', *arguments]
    return subprocess.Popen(
        command, cwd=workdir.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """The exit code, and what was written to stderr."""
    errors = process.communicate(timeout=600)[1]
    return process.returncode, errors


def steps_in(workdir):
    return [int(path.name) for path in (workdir / 'checkpoints').glob('*') if path.name.isdigit()]


def being_saved(workdir):
    return any('tmp' in path.name for path in (workdir / 'checkpoints').glob('*'))


def read_checkpoint(workdir, step):
    state = ocp.StandardCheckpointer().restore(workdir / 'checkpoints' / str(step) / 'state')
    return jax.tree.map(np.asarray, state)


def training_losses(workdir):
    """{step: loss}; every step stands there once."""
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    pairs = [(line['step'], line['loss']) for line in lines if line['split'] == 'train']
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def wait_until(condition, process, seconds=300):
    limit = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.001)


@pytest.mark.slow
def test_nothing_is_lost_by_kills_at_any_moment(tmp_path):
    unbroken, killed = tmp_path / 'unbroken', tmp_path / 'killed'
    code, errors = finish(begin(unbroken))
    assert code == 0, errors
    moments, saving = random.Random(0), 0
    for kill in range(KILLS):
        before = max(steps_in(killed), default=0)
        process = begin(killed)
        if kill % 5 == 0:  # anywhere, also before the work begins
            time.sleep(moments.uniform(0, 8))
        else:  # within the work, every other time while a checkpoint is written
            wait_until(lambda b=before: max(steps_in(killed), default=0) > b, process)
            time.sleep(moments.uniform(0, 0.5))
            if kill % 2:
                wait_until(lambda: being_saved(killed), process)
        saving += being_saved(killed)
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert max(steps_in(killed), default=0) >= before
    code, errors = finish(begin(killed))
    assert code == 0, errors
    print(f'{KILLS} kills, {saving} of them while a checkpoint was written')
    assert saving >= KILLS // 5
    chex.assert_trees_all_equal(read_checkpoint(killed, 2000), read_checkpoint(unbroken, 2000))
    assert training_losses(killed) == training_losses(unbroken)
    assert not [path for path in (killed / 'checkpoints').glob('*damaged*')]


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'expected'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_launcher(tmp_path, number, expected):
    workdir = tmp_path / 'run'
    process = begin(workdir)
    wait_until(lambda: steps_in(workdir), process)
    process.send_signal(number)
    code, errors = finish(process)
    assert code == expected
    assert 'Interrupted' in errors and 'Traceback' not in errors
    last = max(steps_in(workdir))
    assert max(training_losses(workdir)) == last  # of the step that was finished
    process = begin(workdir)
    wait_until(lambda: max(steps_in(workdir)) > last, process)
    process.kill()
    assert f'from step {last}' in finish(process)[1]


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'expected'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_to_the_launcher(tmp_path, number, expected):
    workdir = tmp_path / 'run'
    process = begin(workdir)
    wait_until(lambda: steps_in(workdir), process)
    for _ in range(2):
        process.send_signal(number)
        time.sleep(0.3)
    code, errors = finish(process)
    assert code == expected and 'Traceback' not in errors
    assert 'Interrupted' in errors or 'Stopped at once' in errors
    before = max(steps_in(workdir))
    process = begin(workdir)
    wait_until(lambda: max(steps_in(workdir)) > before, process)
    process.kill()
    assert f'from step {before}' in finish(process)[1]
