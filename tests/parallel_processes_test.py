"""Several processes that train together: real ones, each with two fake devices."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from killed_runs_test import steps_in, training_losses, wait_until
from launch_test import QUICKSTART, ROOT, TINY

from e3d import launcher
from e3d.errors import InputError, RunError
from e3d.parallel import devices, processes
from e3d.training.failures import check_replicas

COMMON = [
    QUICKSTART, *TINY, '--config.model.name=convlstm',  # which compiles in less time
    '--config.train.log_every=1', '--config.train.evaluate_every=3',
    '--config.checkpoint.every=2', '--config.optimizer.ema_decay=0.9',
    '--config.evaluation.batch_size=2',
    # With the default, Adam makes a whole step of rounding where a gradient is almost 0.
    '--config.optimizer.eps=1e-4',
]  # fmt: skip
SILENCE = processes.PATIENCE_SECONDS


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def begin(
    workdir,
    *arguments,
    scheduled=False,
    program=(str(ROOT / 'launch.py'),),
    common=COMMON,
    own=((), ()),
):
    """Starts two processes with two devices each; `own` are further arguments of each."""
    port, started = free_port(), []
    for process in range(2):
        flags = [f'--coordinator=127.0.0.1:{port}', '--num_processes=2', f'--process_id={process}']
        environment = {'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}
        if scheduled:  # JAX makes a port of the job's number
            flags = []
            environment |= {
                'SLURM_JOB_ID': str(port), 'SLURM_STEP_NODELIST': '127.0.0.1',
                'SLURM_NTASKS': '2', 'SLURM_PROCID': str(process), 'SLURM_LOCALID': str(process),
            }  # fmt: skip
        command = [sys.executable, *program, f'--workdir={workdir}', *common]
        started.append(
            subprocess.Popen(
                [*command, *arguments, *own[process], *flags],
                cwd=workdir.parent,
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def finish(started):
    """Exit code, stdout and stderr of each."""
    texts = [process.communicate(timeout=300) for process in started]
    return [(process.returncode, *text) for process, text in zip(started, texts, strict=True)]


def run_alone(workdir, *arguments):
    """This process, with four devices."""
    assert launcher.main(['launch.py', *COMMON, f'--workdir={workdir}', *arguments]) == 0


def read_report(workdir):
    return json.loads((workdir / 'evaluation.json').read_text())


@pytest.mark.parametrize('scheduled', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_train_as_one_does(tmp_path, monkeypatch, scheduled):
    monkeypatch.chdir(tmp_path)
    together, alone = tmp_path / 'together', tmp_path / 'alone'
    results = finish(begin(together, '--config.train.steps=4', scheduled=scheduled))
    assert [code for code, *_ in results] == [0, 0], results
    run_alone(alone, '--config.train.steps=4')
    losses = training_losses(alone)
    assert list(losses) == [1, 2, 3, 4] == list(training_losses(together))
    for step, loss in training_losses(together).items():
        np.testing.assert_allclose(loss, losses[step], rtol=1e-5)
    reports = read_report(together), read_report(alone)
    assert reports[0].keys() == reports[1].keys() and reports[0]['num_sequences'] == 5
    for key in ('mse', 'mae', 'psnr', 'ssim', 'mse_per_frame'):
        np.testing.assert_allclose(reports[0][key], reports[1][key], rtol=1e-4)
        for other in ('last_frame', 'mean_image'):
            left, right = reports[0][other][key], reports[1][other][key]
            np.testing.assert_allclose(left, right, rtol=1e-6)
    # What both leave is the same, and only the first process shows anything.
    names = [{path.name for path in workdir.iterdir()} for workdir in (together, alone)]
    assert names[0] == names[1]
    assert 'repeat the last frame' in results[0][1] and 'frames/s' in results[0][2]
    assert 'frame' not in results[1][1] and 'training' not in results[1][2]
    # Another number of processes goes on with the run, and evaluates it.
    run_alone(together, '--config.train.steps=5')
    run_alone(alone, '--config.train.steps=5')
    np.testing.assert_allclose(training_losses(together)[5], training_losses(alone)[5], rtol=1e-5)


def test_a_signal_to_one_stops_both_at_the_same_step(tmp_path):
    workdir = tmp_path / 'run'
    started = begin(workdir, '--config.train.steps=100000', '--config.train.evaluate_every=99999')
    wait_until(lambda: steps_in(workdir), started[0])
    started[1].send_signal(signal.SIGTERM)
    results = finish(started)
    assert [code for code, *_ in results] == [143, 143], results
    assert max(training_losses(workdir)) == max(steps_in(workdir))


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGSTOP])
def test_when_one_is_killed_the_other_ends_and_both_go_on(tmp_path, victim, how):
    workdir = tmp_path / 'run'
    started = begin(workdir, '--config.train.steps=100000', '--config.train.evaluate_every=99999')
    wait_until(lambda: steps_in(workdir), started[0])
    started[victim].send_signal(how)
    killed = time.monotonic()
    (survivor,) = finish([started[1 - victim]])
    seconds = time.monotonic() - killed
    started[victim].kill()
    finish([started[victim]])
    print(f'{how.name} to process {victim}: the other one ended after {seconds:.1f} s')
    assert seconds < SILENCE + 15
    assert survivor[0] not in (0, 130, 143)
    assert any(
        text in survivor[2]
        for text in (
            f'Process {victim} has been silent for {SILENCE} seconds: it has ended',
            'Process 0 can no longer be reached',
            'Another process of this training has ended',
            'This most likely indicates that another task died',
        )
    ), survivor[2]
    last = max(steps_in(workdir))
    results = finish(begin(workdir, f'--config.train.steps={last + 2}'))
    assert [code for code, *_ in results] == [0, 0], results
    assert f'from step {last}' in results[0][2]
    assert max(training_losses(workdir)) == last + 2


@pytest.mark.slow
def test_all_diverge_and_the_first_says_what_to_try(tmp_path):
    workdir = tmp_path / 'run'
    results = finish(begin(workdir, '--config.train.steps=90', '--config.loss.l2_weight=1e38'))
    assert [code for code, *_ in results] == [1, 1], results
    assert 'optimizer.learning_rate' in results[0][2] and 'sequences [' in results[0][2]
    assert 'Traceback' not in results[0][2] + results[1][2]


def test_an_error_in_one_ends_the_other(tmp_path):
    workdir = tmp_path / 'run'
    workdir.mkdir()
    (workdir / 'config.json').write_text('{')
    first, second = finish(begin(workdir, '--config.train.steps=4'))
    assert first[0] == 2 and 'cannot be read as a config' in first[2]
    assert second[0] == 1 and 'Process 0 failed' in second[2]
    assert 'Traceback' not in first[2] + second[2]


def check_refused(results, *texts):
    """Both ended at once, and say why; the second may have heard first that the other failed."""
    (code, _, text), (other_code, _, other_text) = results
    assert code == 2 and all(wanted in text for wanted in texts), results
    assert '--coordinator=none' in text, results
    assert other_code in (1, 2) and ('Process 0 failed' in other_text or texts[0] in other_text)
    assert 'Traceback' not in text + other_text


def test_processes_with_other_configs_are_refused(tmp_path):
    other = ['--config.seed=7', '--config.loss.l1_weight=50.0', '--config.dataset.workers=1']
    results = finish(begin(tmp_path / 'run', '--config.train.steps=2', own=([], other)))
    check_refused(results, 'seed: process 0 has 0, process 1 has 7', 'process 1 has 50.0')
    assert 'workers' not in results[0][2]
    assert not (tmp_path / 'run').exists()


def test_processes_with_other_data_are_refused(tmp_path):
    for name, count in (('whole', 12), ('part', 7)):
        (tmp_path / name).mkdir()
        for clip in range(count):
            np.save(tmp_path / name / f'{clip:02}.npy', np.full((8, 16, 16), 20 * clip, np.uint8))
    common = [
        '--config=experiments/video_folder.py', '--config.model.name=convlstm',
        '--config.model.layers=1', '--config.model.features=2',
        '--config.model.kernel_size=(1, 3, 3)', '--config.dataset.frame_size=(16, 16)',
        '--config.dataset.channels=1', '--config.dataset.input_frames=2',
        '--config.dataset.output_frames=2', '--config.train.batch_size=4',
        '--config.train.steps=2', '--config.evaluation.perceptual=False',
    ]  # fmt: skip
    own = [[f'--config.dataset.path={tmp_path / name}'] for name in ('whole', 'part')]
    results = finish(begin(tmp_path / 'run', common=common, own=own))
    check_refused(results, 'have other data than process 0', 'sequences in the train split, not ')
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_processes_with_other_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir, behind = tmp_path / 'run', tmp_path / 'behind'
    run_alone(workdir, '--config.train.steps=4')
    shutil.copytree(workdir, behind)
    shutil.rmtree(behind / 'checkpoints' / '4')
    report = read_report(workdir)
    own = [], [f'--workdir={behind}']
    results = finish(begin(workdir, '--mode=evaluate', '--config.train.steps=4', own=own))
    check_refused(results, 'process 1: those of step 3, not of 4', '--checkpoint=STEP')
    assert read_report(workdir) == report
    # Those of one run are measured together.
    (workdir / 'evaluation.json').unlink()
    results = finish(begin(workdir, '--mode=evaluate', '--config.train.steps=4'))
    assert [code for code, *_ in results] == [0, 0], results
    np.testing.assert_allclose(read_report(workdir)['mse'], report['mse'], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('indices', [(0, 1), (None, None)])
def test_entries_of_a_sweep_that_a_scheduler_starts_at_once(tmp_path, indices):
    """Each by its index, and trained alone; or all in turn, each by both processes together."""
    own = [[] if index is None else [f'--sweep_index={index}'] for index in indices]
    sweep = '--sweep=seed=0,1', '--config.train.steps=2'
    results = finish(begin(tmp_path / 'sweep', *sweep, scheduled=True, own=own))
    assert [code for code, *_ in results] == [0, 0], results
    for seed in (0, 1):
        workdir = tmp_path / 'sweep' / f'seed={seed}'
        assert list(training_losses(workdir)) == [1, 2]
        assert json.loads((workdir / 'config.json').read_text())['seed'] == seed
        assert read_report(workdir)['step'] == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none', 2, 0], r"'none' with no other flag of processes"),
        (['nowhere', 2, 0], r"--coordinator='nowhere': must be HOST:PORT"),
        (['a:b', 2, 0], r'must be HOST:PORT'),
        (['host:99999', 2, 0], r'must be HOST:PORT'),
        ([None, 2, 0], r"--coordinator='': must be HOST:PORT"),
        (['host:1', None, 0], r'given are None and 0'),
        (['host:1', 2, 2], r'given are 2 and 2'),
        (['host:1', 2, None], r'given are 2 and None'),
    ],
)
def test_flags_that_do_not_fit_together(arguments, message):
    with pytest.raises(InputError, match=message):
        processes.connect(*arguments)


@pytest.mark.parametrize(
    ('environment', 'scheduled'),
    [
        ({}, False),
        ({'SLURM_JOB_ID': '1', 'SLURM_NTASKS': '8'}, False),  # in the batch script itself
        ({'SLURM_STEP_NODELIST': 'a[1-2]', 'SLURM_NTASKS': '8'}, True),
        ({'SLURM_STEP_NODELIST': 'a', 'SLURM_NTASKS': '1'}, False),
        ({'OMPI_COMM_WORLD_SIZE': '2'}, True),
        ({'TPU_WORKER_HOSTNAMES': 'localhost'}, False),
        ({'TPU_WORKER_HOSTNAMES': 'a,b'}, True),
        ({'KUBERNETES_SERVICE_HOST': '10.0.0.1'}, False),
        ({'KUBERNETES_SERVICE_HOST': '10.0.0.1', 'JOB_COMPLETION_INDEX': '0'}, True),
    ],
)
def test_what_schedulers_say(environment, scheduled):
    assert processes.is_scheduled(environment) is scheduled


def test_alone_nothing_is_waited_for(monkeypatch):
    assert processes.gather({'a': 1.5}) == [{'a': 1.5}]
    assert processes.from_first(3) == 3 and processes.is_first()
    with processes.first_alone():
        pass
    processes.connect(None)
    monkeypatch.setenv('JOB_COMPLETION_INDEX', '0')
    processes.connect(processes.ALONE)
    processes.leave(1)  # ends nothing
    assert devices.Agreement(devices.local_mesh()).ask(15) == 15


def test_states_that_differ_are_not_saved(monkeypatch):
    mesh = devices.local_mesh()
    same, other = (
        devices.place_state({'a': np.full(3, value), 'b': np.arange(2)}, mesh) for value in (0, 1)
    )
    state = jax.tree.map(np.copy, same)
    assert devices.digest(same) == devices.digest(devices.place_state(state, mesh))
    monkeypatch.setattr(processes, 'count', lambda: 2)
    monkeypatch.setattr(processes, 'gather', lambda value: [value, devices.digest(same)])
    check_replicas(same, 5)
    with pytest.raises(RunError, match=r'In step 5 .* processes \[1\] differs'):
        check_replicas(other, 5)


def test_other_modes_take_one_process(capsys):
    arguments = ['--mode=predict', '--workdir=x', '--input=a', '--output=b']
    assert launcher.main(['launch.py', *arguments, '--coordinator=h:1']) == 2
    assert '--mode=predict runs in a single process' in capsys.readouterr().err


LATE = """
import sys, time
sys.path.insert(0, {root!r})
from e3d import launcher
from e3d.parallel import devices
share = devices.share_state
def late(tree, mesh):
    time.sleep({seconds} * devices.jax.process_index())
    return share(tree, mesh)
connect = devices.connect
def slow(mesh, meet):
    time.sleep({seconds} * devices.jax.process_index())
    connect(mesh, meet)
devices.{name} = {function}
sys.exit(launcher.main(sys.argv))
"""


@pytest.mark.slow
@pytest.mark.parametrize('name', ['connect', 'share_state'])
def test_a_process_may_come_late(tmp_path, name):
    """Later than the 30 seconds that Gloo waits when it connects, before and after it does."""
    function = {'connect': 'slow', 'share_state': 'late'}[name]
    code = LATE.format(root=str(ROOT), seconds=40, name=name, function=function)
    started = begin(tmp_path / 'run', '--config.train.steps=2', program=['-c', code])
    results = finish(started)
    assert [code for code, *_ in results] == [0, 0], results
    assert list(training_losses(tmp_path / 'run')) == [1, 2]


def test_the_first_process_listens_where_it_was_told():
    port = free_port()
    assert processes.find_address(f'127.0.0.1:{port}') == f'127.0.0.1:{port}'
    with pytest.raises(InputError, match='unknown host'):
        processes.find_address(f'no.such.host.invalid:{port}')
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', port))
        taken.listen()
        with pytest.raises(InputError, match='cannot listen there'):
            processes.find_address(f'127.0.0.1:{port}')


def test_an_address_of_another_machine_is_told(capsys):
    assert processes.find_address('192.0.2.1:1234') is None  # kept for documentation: nobody's
    assert 'is not an address of this machine' in capsys.readouterr().err
