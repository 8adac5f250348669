import ast
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from launch_test import ROOT, TINY

from e3d import launcher
from e3d.configuration import check_config
from e3d.errors import InputError, RunError
from e3d.runs.workdir import write_config
from e3d.signals import Interrupted
from e3d.sweep import execution
from e3d.sweep.entries import make_entries, parse_grid
from e3d.sweep.execution import run_sweep
from e3d.sweep.results import read_result

QUICKSTART = 'experiments/quickstart.py:small'
ARGUMENTS = ['launch.py', f'--config={QUICKSTART}', *TINY]

# Stands for launch.py: writes what a run leaves, but fails for two layers.
FAKE_RUN = """
import json, pathlib, sys
values = dict(a.lstrip('-').split('=', 1) for a in sys.argv[1:] if '=' in a)
layers = int(values['config.model.layers'])
if layers == 2:
    sys.exit(1)
workdir = pathlib.Path(values['workdir'])
workdir.mkdir()
with (workdir / 'metrics.jsonl').open('a') as file:
    for split, step, mse in (('validation', 2, 9.0), ('test', 4, layers / 10)):
        print(json.dumps({'step': step, 'split': split, 'mse': mse, 'num_sequences': 5}), file=file)
print('ran', layers, flush=True)
"""
COMMAND = [sys.executable, '-c', FAKE_RUN]


def grid(text):
    return make_entries(text, QUICKSTART, ARGUMENTS)


def from_file(tmp_path, body):
    path = tmp_path / 'sweep_of_mine.py'
    text = 'from experiments.quickstart import get_config\n\ndef get_sweep(arg=None):\n    '
    path.write_text(text + body)
    return make_entries('get_sweep', f'{path}:small', ['launch.py', f'--config={path}:small'])


def run_fake(entries, folder, index=None):
    """Runs a sweep whose runs store the config of their entry, as real ones do."""
    original = execution.run_process

    def run_process(command):
        code = original(command)
        for entry in entries:
            if (folder / entry.name).is_dir():
                write_config(folder / entry.name, entry.config)
        return code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, 'run_process', run_process)
        run_sweep(COMMAND, entries, folder, index)


@pytest.mark.parametrize(
    ('text', 'points'),
    [
        ('a.b=1,2', [{'a.b': '1'}, {'a.b': '2'}]),
        ('a=1;', [{'a': '1'}]),
        ('a=1,None; b=x', [{'a': '1', 'b': 'x'}, {'a': 'None', 'b': 'x'}]),
        ('k=(2, 3, 3),(1, 5, 5)', [{'k': '(2, 3, 3)'}, {'k': '(1, 5, 5)'}]),
        ('path=a=b', [{'path': 'a=b'}]),
    ],
)
def test_grid(text, points):
    assert parse_grid(text) == points


@pytest.mark.parametrize('text', ['layers', 'model.layers=1;2', 'model.layers=1;model.layers=2'])
def test_what_is_no_grid(text):
    with pytest.raises(InputError, match=r'must be section\.key=VALUE,VALUE'):
        parse_grid(text)


def test_values_are_those_of_the_command_line():
    entries = grid('optimizer.learning_rate=1e-3,3;model.history=5,None;model.kernel_size=(2,1,1)')
    assert [entry.name for entry in entries] == [
        'learning_rate=1e-3,history=5,kernel_size=2,1,1',
        'learning_rate=1e-3,history=None,kernel_size=2,1,1',
        'learning_rate=3,history=5,kernel_size=2,1,1',
        'learning_rate=3,history=None,kernel_size=2,1,1',
    ]
    last = entries[-1].config
    assert last.optimizer.learning_rate == 3.0 and isinstance(last.optimizer.learning_rate, float)
    assert last.model.history is None and last.model.kernel_size == (2, 1, 1)
    assert last.model.features == 2  # of the rest of the command line
    assert entries[0].config.model.history == 5
    (entry,) = grid('optimizer.kind=rmsprop;sampling.kind=reverse;seed=1')
    assert entry.name == 'optimizer.kind=rmsprop,sampling.kind=reverse,seed=1'


def test_entries_of_the_file_are_any_sets_of_values(tmp_path):
    body = (
        "return [{'model.recall': False}, {'name': 'two  layers;..x', 'model.layers': 2,"
        " 'loss.l1_weight': 0.5}, {'dataset.canvas': (16, 24), 'optimizer.clip_norm': None}]"
    )
    entries = from_file(tmp_path, body)
    assert [e.name for e in entries] == [
        'recall=False', 'two_layers_..x', 'canvas=16,24,clip_norm=None'
    ]  # fmt: skip
    assert entries[0].config.model.recall == 'none' and entries[0].config.model.layers == 2
    assert entries[1].config.loss.l1_weight == 0.5
    assert entries[2].config.dataset.canvas == (16, 24)
    assert entries[2].config.optimizer.clip_norm is None
    for entry in entries:
        check_config(entry.config)


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ('return [3]', 'must return a list'),
        ('return []', 'must return a list'),
        ('return None', 'must return a list'),
        ("return [{'model.layers': 0}]", r"(?s)'layers=0': .*model\.layers=0: must be"),
        ("return [{'model.layer': 2}]", r'model\.layer: there is no such key'),
        ("return [{'seed': 1}, {'seed': 1}]", "folder 'seed=1'"),
        ("return [{'name': '../..'}]", 'must be 1 to 150 bytes'),
        ('return 1 / 0', 'cannot be loaded: ZeroDivisionError'),
    ],
)
def test_get_sweep_that_cannot_be_used(tmp_path, body, message):
    with pytest.raises(InputError, match=message):
        from_file(tmp_path, body)


def test_experiment_without_get_sweep():
    with pytest.raises(InputError, match=r'must define the function get_sweep\(arg=None\)'):
        make_entries('get_sweep', 'experiments/quickstart.py', ['launch.py', '--config=x'])


def test_goes_past_a_failure_and_ends_with_results(tmp_path, capfd):
    entries = grid('model.layers=1,2,3;seed=0')
    folder = tmp_path / 'sweep'
    with pytest.raises(RunError, match=r'(?s)1 of 3 entries.*layers=2,seed=0: failed with exit co'):
        run_fake(entries, folder)
    output = capfd.readouterr().out
    assert 'ran 1' in output and 'ran 3' in output
    assert 'layers=3,seed=0' in output and str(folder / 'sweep.png') in output
    rows = list(csv.DictReader((folder / 'sweep.csv').open()))
    assert [row['status'] for row in rows] == ['finished', 'failed with exit code 1', 'finished']
    assert [row['mse'] for row in rows] == ['0.1', '', '0.3']
    assert [row['model.layers'] for row in rows] == ['1', '2', '3']
    assert (folder / 'sweep.png').read_bytes().startswith(b'\x89PNG')
    first = read_result(entries[0], folder / entries[0].name)
    assert first.test == {'mse': 0.1} and first.validation == {'mse': [(2, 9.0)]}

    with pytest.raises(RunError):  # again: only what failed is tried
        run_fake(entries, folder)
    assert 'ran' not in capfd.readouterr().out


def test_one_entry_by_its_index(tmp_path, capfd):
    entries = grid('model.layers=1,3,4')
    for index, layers in ((1, 3), (0, 1)):
        run_fake(entries, tmp_path, index)
        lines = capfd.readouterr().out.splitlines()
        assert [line for line in lines if 'ran' in line] == [f'ran {layers}']
    with pytest.raises(InputError, match='--sweep_index=3: must be 0 to 2'):
        run_sweep(COMMAND, entries, tmp_path, index=3)


@pytest.mark.parametrize(
    ('given', 'flags'),
    [
        (['--sweep_index=0'], ['--coordinator=none']),
        (['--sweep_index=0', '--coordinator=auto'], []),
        ([], []),
    ],
)
def test_an_entry_by_its_index_joins_no_other(tmp_path, monkeypatch, capfd, given, flags):
    monkeypatch.chdir(tmp_path)
    show = [sys.executable, '-c', 'import sys; print("got", sys.argv[1:])']
    arguments = [*ARGUMENTS, '--sweep=seed=5', *given]
    assert launcher.main(arguments, show) == 1
    output = capfd.readouterr()
    got = next(line for line in output.out.splitlines() if line.startswith('got'))
    ends = ast.literal_eval(got.removeprefix('got'))
    assert ends[len(arguments) - 1 : -2] == ['--sweep=', *flags]
    # The one that was shown these ended with code 0, but trained nothing.
    assert 'seed=5: ended without results in its folder' in output.err
    assert (
        'ended without results' in (tmp_path / 'runs/quickstart_small_sweep/sweep.csv').read_text()
    )


def test_result_of_another_config_or_fewer_steps_is_not_finished(tmp_path):
    entry = grid('model.layers=1')[0]
    workdir = tmp_path / entry.name
    workdir.mkdir()
    assert read_result(entry, workdir).status == 'not begun'
    line = {'step': 4, 'split': 'test', 'mse': 1.0}
    (workdir / 'metrics.jsonl').write_text(json.dumps(line) + '\n{"step": 5, "sp')
    assert read_result(entry, workdir).status == 'at step 4 of 4'
    write_config(workdir, grid('model.layers=2')[0].config)
    assert read_result(entry, workdir).status == 'at step 4 of 4'
    write_config(workdir, entry.config)
    assert read_result(entry, workdir).status == 'finished'
    other = {'steps=8': 'at step 4 of 8', 'steps=3': 'at step 4 of 3'}
    for steps, status in other.items():
        config = grid(f'train.{steps};model.layers=1')[0].config
        assert read_result(entry._replace(config=config), workdir).status == status


@pytest.mark.parametrize(
    ('values', 'finished'),
    [
        ('evaluation.thresholds=(0.3,0.6)', False),
        ('evaluation.optical_flow=True', False),
        ('model.precision=fast', False),
        ('dataset.test_path=other.npy', False),
        ('evaluation.num_samples=3;evaluation.batch_size=3;evaluation.figures=pdf', True),
        ('checkpoint.keep=7;dataset.data_dir=elsewhere', True),
    ],
)
def test_an_entry_is_finished_where_what_is_asked_for_was_measured(tmp_path, values, finished):
    entry = grid('seed=0')[0]
    line = {'step': 4, 'split': 'test', 'mse': 1.0}
    (tmp_path / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    write_config(tmp_path, entry.config)
    other = entry._replace(config=grid(f'seed=0;{values}')[0].config)
    assert (read_result(other, tmp_path).status == 'finished') == finished


def run_here(arguments, monkeypatch):
    """A sweep whose entries are trained in this process, by the launcher as always."""
    codes = []

    def run_process(command):
        codes.append(launcher.main(command[1:]))
        return codes[-1]

    monkeypatch.setattr(execution, 'run_process', run_process)
    return launcher.main(arguments, ['python', 'launch.py']), codes


def test_a_sweep_again_with_other_values_of_the_evaluation_measures_them(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    arguments = [*ARGUMENTS, '--config.train.steps=2', '--sweep=seed=1', '--workdir=sweep']
    other = [*arguments, '--config.evaluation.thresholds=(0.3,0.6)']

    def rows():
        return list(csv.DictReader((tmp_path / 'sweep' / 'sweep.csv').open()))

    assert run_here(arguments, monkeypatch) == (0, [0])
    before = rows()
    assert 'csi_mean' not in before[0]
    assert run_here(other, monkeypatch) == (0, [0])
    assert 'is finished, at step 2. Evaluating it' in capsys.readouterr().err
    after = rows()
    assert (after[0]['status'], after[0]['mse']) == ('finished', before[0]['mse'])
    assert float(after[0]['csi_mean']) >= 0
    assert run_here(other, monkeypatch) == (0, [])  # it has them now
    assert run_here([*other, '--config.train.steps=3'], monkeypatch) == (0, [0])  # goes on
    assert [row['step'] for row in rows()] == ['3']
    capsys.readouterr()
    assert run_here(other, monkeypatch) == (1, [0])
    remedy = 'has learned for 3 updates already, more than train.steps=2: give the sweep another'
    assert remedy in capsys.readouterr().err
    assert remedy in rows()[0]['status'] and not rows()[0].get('mse')


def test_folder_of_a_run_is_rejected(tmp_path):
    entries = grid('model.layers=1')
    write_config(tmp_path, entries[0].config)
    with pytest.raises(InputError, match='is the folder of a run'):
        run_sweep(COMMAND, entries, tmp_path)


def test_signals_reach_the_running_entry_and_end_the_sweep(tmp_path):
    script = (
        'import signal, sys, time\n'
        'signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n'
        'open(sys.argv[-1].removeprefix("--workdir="), "w").close()\n'
        'time.sleep(60)'
    )
    entries = grid('model.layers=1,2')

    def stop():
        while not (tmp_path / entries[0].name).exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted) as caught:
        run_sweep([sys.executable, '-c', script], entries, tmp_path)
    thread.join()
    assert caught.value.exit_code == 143
    assert not (tmp_path / entries[1].name).exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--sweep=model.layers=1'], '--sweep needs --config'),
        (
            [*ARGUMENTS[1:], '--sweep=seed=1', '--mode=evaluate'],
            'needs --config=FILE and --mode=train',
        ),
        ([*ARGUMENTS[1:], '--sweep_index=1'], '--sweep_index needs --sweep'),
        ([*ARGUMENTS[1:], '--sweep=sede=1,2'], 'sede: there is no such key; did you mean seed'),
        ([*ARGUMENTS[1:], '--sweep=seed=1,x'], "entry 'seed=x': seed='x': must be an integer"),
    ],
)
def test_bad_command_lines(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert launcher.main(['launch.py', *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_sweep_by_the_launcher(tmp_path):
    command = [sys.executable, str(ROOT / 'launch.py'), *ARGUMENTS[1:], '--config.train.steps=2']
    command += ['--sweep=optimizer.learning_rate=1e-3,1e-2;model.history=1,None']
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    assert done.stderr.count('is finished') == 4
    folder = tmp_path / 'runs' / 'quickstart_small_sweep'
    rows = list(csv.DictReader((folder / 'sweep.csv').open()))
    assert len({row['mse'] for row in rows}) == 4
    assert {row['status'] for row in rows} == {'finished'}


@pytest.mark.parametrize(
    ('sweep', 'message'),
    [
        ('name= ', 'must be 1 to 150 bytes'),
        ('name=,', 'must be 1 to 150 bytes'),
        ('name=' + '\u65e5' * 60, 'must be 1 to 150 bytes'),
        ('name=sweep.csv', "not 'sweep.csv'"),
        (';'.join(f'x{n}=1,2,3,4,5,6,7,8,9' for n in range(99)), r'[\d,]+ combinations of values'),
    ],
)
def test_entries_that_can_have_no_folder(sweep, message):
    config = 'experiments/quickstart.py:small'
    with pytest.raises(InputError, match=message):
        make_entries(sweep, config, ['launch.py', f'--config={config}'])
