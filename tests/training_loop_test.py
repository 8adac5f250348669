import errno
import fcntl
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from selection import fast
from training_helpers import TinyForecaster, tiny_config

from e3d.data.batches import training_order
from e3d.data.sources.registry import open_source
from e3d.errors import InputError, RunError
from e3d.evaluation.baselines import mean_image
from e3d.pages.content import read_samples
from e3d.parallel import devices
from e3d.runs import reporting, trained_run
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.transfer import begin_from
from e3d.runs.workdir import held, prepare_workdir, unused_removed
from e3d.signals import Interrupted
from e3d.tasks import prediction
from e3d.tasks.layout_forecast import LayoutForecast
from e3d.tasks.prediction import ForecastEvaluator
from e3d.training import loop, parts
from e3d.training.loop import evaluate, train
from e3d.training.parts import prepare


@pytest.fixture(autouse=True)
def tiny(monkeypatch, figures_not_rendered):
    """Trains the tiny model in place of the one that the config names."""
    for module in (parts, trained_run):
        monkeypatch.setattr(module, 'build_model', lambda **model: TinyForecaster())


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A finished run, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (parts, trained_run):
            patch.setattr(module, 'build_model', lambda **model: TinyForecaster())
        folder = tmp_path_factory.mktemp('trained')
        train(tiny_config(folder), folder / 'run')
    return folder / 'run'


@pytest.fixture
def finished(trained, tmp_path):
    """The workdir of a finished run of `tiny_config`."""
    return pathlib.Path(shutil.copytree(trained, tmp_path / 'run'))


def read_lines(workdir, split):
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [line for line in lines if line['split'] == split]


def read_state(config, workdir):
    prepared = prepare(config, workdir)
    template = devices.abstract_state(jax.eval_shape(prepared.create), prepared.mesh)
    with Checkpoints(workdir, write=False) as checkpoints:
        return jax.device_get(checkpoints.restore(template, checkpoints.newest()))


def test_a_run_leaves_what_it_promises(tmp_path, capsys):
    config, workdir = tiny_config(tmp_path), tmp_path / 'run'
    report = train(config, workdir)
    assert {path.name for path in workdir.iterdir()} == {
        'config.json', 'metrics.jsonl', 'tensorboard', 'checkpoints', 'samples',
        'evaluation.json', 'evaluation.png', 'report.html', '.lock',
    }  # fmt: skip
    assert report['num_sequences'] == 5 and report['step'] == 4
    assert report == json.loads((workdir / 'evaluation.json').read_text())
    assert 'test 2 -> 2' in report['protocol']
    lines = read_lines(workdir, 'train')
    assert [line['step'] for line in lines] == [1, 2, 3, 4]
    for key in ('loss', 'l1', 'l2', 'gradient_norm', 'learning_rate', 'truth_probability',
                'frames_per_second', 'data_wait_seconds'):  # fmt: skip
        assert all(np.isfinite(line[key]) for line in lines)
    assert [line['step'] for line in read_lines(workdir, 'validation')] == [2, 4]
    assert [line['mse'] for line in read_lines(workdir, 'test')] == [report['mse']]
    samples = {path.name[:13] for path in (workdir / 'samples').iterdir()}
    assert samples == {'step_00000002', 'step_00000004'}
    shown = read_samples(workdir / 'report.html')['sequences']
    errors = report['mse_per_sequence']
    titles = {sequence['index']: sequence['title'] for sequence in shown}
    assert 'worst of 5' in titles[int(np.argmax(errors))] and 0 in titles
    assert shown[0]['observed'] == ['seen'] * 2 + ['forecast'] * 2
    output = capsys.readouterr()
    assert 'moving_mnist: 2 -> 2 frames of 8 x 8 x 1' in output.err
    assert 'test       5 sequences' in output.err
    assert 'repeat the last frame' in output.out and 'mean training image' in output.out
    assert f'{workdir}/samples/' in output.out and f'{workdir}/checkpoints/' in output.out
    assert 'frames/s' in output.err and 'left' in output.err


def test_figures_are_of_the_format_that_is_asked_for_as_well(tmp_path, finished):
    config = tiny_config(tmp_path, **{'evaluation.figures': 'svg', 'train.steps': 2})
    train(config, tmp_path / 'vector')

    def suffixes(workdir, pattern):
        return {path.suffix for path in workdir.glob(pattern)}

    for workdir, added in ((finished, set()), (tmp_path / 'vector', {'.svg'})):
        assert suffixes(workdir, 'evaluation.*') == {'.json', '.png'} | added
        assert suffixes(workdir, 'samples/*') == {'.png', '.gif'} | added


def test_the_mean_image_of_a_report_is_that_of_the_training_split(tmp_path, finished):
    report = json.loads((finished / 'evaluation.json').read_text())
    config = tiny_config(tmp_path)
    sources = {s: open_source(config.dataset, s, config.seed) for s in ('train', 'test')}
    test = np.stack([sequence['frames'] for sequence in sources['test']]) / np.float32(255)

    def error(split):
        image = mean_image(sources[split])
        return np.square(image - test[:, 2:]).sum(axis=(2, 3, 4)).mean()

    assert report['mean_image']['mse'] == pytest.approx(error('train'), rel=1e-5)
    assert report['mean_image']['mse'] != pytest.approx(error('test'), rel=1e-2)


def test_four_steps_are_two_and_two_more(tmp_path):
    config = tiny_config(tmp_path)
    whole = train(config, tmp_path / 'whole')
    with config.unlocked():
        config.train.steps = 2
    train(config, tmp_path / 'halves')
    config.train.steps = 4
    halves = train(config, tmp_path / 'halves')
    states = [read_state(config, tmp_path / name) for name in ('whole', 'halves')]
    assert int(states[0].step) == 4 and states[0].ema_params is not None
    chex.assert_trees_all_equal(*states)
    assert whole == halves
    losses = [[line['loss'] for line in read_lines(tmp_path / name, 'train')]
              for name in ('whole', 'halves')]  # fmt: skip
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_a_finished_run_is_only_evaluated(tmp_path, finished, capsys, monkeypatch):
    config, workdir = tiny_config(tmp_path), finished
    report = json.loads((workdir / 'evaluation.json').read_text())
    metrics = (workdir / 'metrics.jsonl').read_text()
    (workdir / 'evaluation.json').unlink()
    monkeypatch.setattr(loop, 'run_updates', None)
    capsys.readouterr()
    assert train(config, workdir) == report
    assert 'is finished, at step 4' in capsys.readouterr().err
    assert (workdir / 'evaluation.json').exists()
    assert (workdir / 'metrics.jsonl').read_text() == metrics

    # Killed after its last checkpoint and before its evaluation was written.
    without = metrics[: metrics.index('{"step": 4, "split": "test"')]
    (workdir / 'metrics.jsonl').write_text(without)
    train(config, workdir)
    assert (workdir / 'metrics.jsonl').read_text() == metrics


def test_evaluate_needs_no_config_and_takes_another_test(tmp_path, finished):
    config, workdir = tiny_config(tmp_path), finished
    report = json.loads((workdir / 'evaluation.json').read_text())
    assert evaluate(None, workdir) == report
    config.dataset.output_frames = 3
    longer = evaluate(config, workdir)
    assert len(longer['mse_per_frame']) == 3 and longer['step'] == 4
    config.model.features = 5
    with pytest.raises(InputError, match=r'model\.features: stored 2, given 5'):
        evaluate(config, workdir)


def test_an_evaluation_multiplies_as_its_config_says(tmp_path, finished, monkeypatch):
    class Rounded(TinyForecaster):
        def __call__(self, *arguments):
            return super().__call__(*arguments).astype('bfloat16').astype('float32')

    models = {'float32': TinyForecaster(), 'fast': Rounded()}
    monkeypatch.setattr(trained_run, 'build_model', lambda **model: models[model['precision']])
    report = evaluate(None, finished)
    config = tiny_config(tmp_path, **{'model.precision': 'fast'})
    rounded = evaluate(config, finished)
    assert rounded['mse'] != report['mse'] == pytest.approx(rounded['mse'], rel=0.01)
    assert any('model.precision' in line for line in rounded['differences'])
    assert evaluate(tiny_config(tmp_path), finished)['mse'] == report['mse']


def test_the_copy_test_evaluates_a_run_trained_without(tmp_path, finished):
    config = tiny_config(tmp_path, **{'dataset.copy_test': (1, 2), 'dataset.output_frames': 3})
    report = evaluate(config, finished)
    assert report['protocol'] == 'moving_mnist test copy test (1, 2), 2 -> 3'
    assert len(report['mse_per_frame']) == 3
    assert report['num_sequences'] == 5


def test_the_copy_test_can_be_trained(tmp_path):
    config = tiny_config(
        tmp_path,
        **{'dataset.copy_test': (1, 2), 'loss.frames': 'future', 'train.steps': 2},
    )
    assert train(config, tmp_path / 'run')['step'] == 2


def test_reports_do_not_depend_on_batches(tmp_path, finished):
    config, workdir = tiny_config(tmp_path), finished
    report = json.loads((workdir / 'evaluation.json').read_text())
    config.evaluation.batch_size = 5
    again = evaluate(config, workdir)
    np.testing.assert_allclose(again['mse'], report['mse'], rtol=1e-6)


def test_order_of_a_step(tmp_path, monkeypatch):
    events, measured = [], []

    def spy(owner, name, note):
        original = getattr(owner, name)

        def wrapper(*args, **kwargs):
            events.append(note(args))
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    def note_evaluation(args):
        measured.append(args[1])
        return ' '.join(map(str, ('evaluate', *args[2:])))

    spy(ForecastEvaluator, 'evaluate', note_evaluation)
    spy(Checkpoints, 'save', lambda args: f'save {int(args[1].step)}')
    spy(devices, 'place_batch', lambda args: 'batch')
    monkeypatch.setattr(ForecastEvaluator, '_draw_samples', lambda *args: None)
    monkeypatch.setattr(loop.devices, 'parallel_apply', lambda f, mesh, size: forecast_nothing)
    config = tiny_config(tmp_path, **{'checkpoint.every': 3, 'evaluation.max_sequences': 2})
    train(config, tmp_path / 'run')
    assert events == [
        'batch', 'batch', 'evaluate 2 validation 2', 'save 2', 'batch', 'save 3', 'batch',
        'evaluate 4 validation 2', 'save 4', 'evaluate 4 test',
    ]  # fmt: skip
    # The best checkpoint is selected by that with which it will forecast.
    chex.assert_trees_all_equal(*measured[-2:])


def forecast_nothing(variables, batch):
    frames = batch['frames']
    return np.zeros((len(frames), 2, *frames.shape[2:]), np.float32)


def test_metrics_are_fetched_only_at_logging(tmp_path, monkeypatch):
    fetched = []
    original = jax.device_get

    def count(tree):
        fetched.append(tree)
        return original(tree)

    monkeypatch.setattr(ForecastEvaluator, '_draw_samples', lambda *args: None)
    monkeypatch.setattr(loop.devices, 'parallel_apply', lambda f, mesh, size: forecast_nothing)
    monkeypatch.setattr(jax, 'device_get', count)
    overrides = {'train.log_every': 3, 'train.steps': 8, 'train.evaluate_every': 100,
                 'checkpoint.every': 100}  # fmt: skip
    train(tiny_config(tmp_path, **overrides), tmp_path / 'run')
    # Once for steps 1 to 3, once for 4 to 6, and for the rest at the end.
    assert [len(part) for part in fetched if isinstance(part, list)] == [3, 3, 2]
    assert [line['step'] for line in read_lines(tmp_path / 'run', 'train')] == [3, 6, 8]


def poison_batches(monkeypatch, indices):
    """Makes the frames of some batches NaN."""
    original = loop.training_batches

    def poisoned(*args, **kwargs):
        batches = original(*args, **kwargs)
        for index in itertools.count():
            batch = next(batches)
            yield {'frames': batch['frames'] * (np.nan if index in indices else 1.0)}

    monkeypatch.setattr(loop, 'training_batches', poisoned)


@pytest.mark.parametrize('log_every', [1, 100])
def test_diverging_stops_and_saves_nothing_bad(tmp_path, monkeypatch, log_every):
    poison_batches(monkeypatch, [2])
    config = tiny_config(tmp_path, **{'train.log_every': log_every, 'checkpoint.every': 2})
    with pytest.raises(RunError) as caught:
        train(config, tmp_path / 'run')
    message = str(caught.value)
    assert 'step 3' in message and 'last good one is step 2' in message
    assert 'optimizer.learning_rate' in message and 'train.skip_nonfinite=True' in message
    assert '(first nan, second nan)' in message
    source = prepare(config, tmp_path / 'run').evaluator.sources['train']
    sequences = training_order(len(source), config.train.batch_size, config.seed)[2]
    assert f'sequences {sequences.tolist()}' in message
    state = read_state(config, tmp_path / 'run')
    assert int(state.step) == 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_a_run_may_skip_what_is_not_finite(tmp_path, monkeypatch, capsys):
    poison_batches(monkeypatch, [1, 3])
    config = tiny_config(tmp_path, **{'train.skip_nonfinite': True, 'train.log_every': 3})
    train(config, tmp_path / 'run')
    assert int(read_state(config, tmp_path / 'run').step) == 4
    told = capsys.readouterr().err
    assert 'Skipped the update of step 2' in told and 'Skipped the update of step 4' in told
    lines = read_lines(tmp_path / 'run', 'train')
    assert sum(line['skipped_updates'] for line in lines) == 2
    assert all(np.isfinite(line['loss']) for line in lines if 'loss' in line)


def same_numbers(workdir):
    """The lines of metrics.jsonl without what the clock says."""
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in line.items() if 'second' not in k} for line in lines]


def assert_same_run(config, one, other):
    assert same_numbers(one) == same_numbers(other)
    chex.assert_trees_all_equal(read_state(config, one), read_state(config, other))


MOMENTS = (1, 2, 'validation', 'test')
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize(
    ('moment', 'number'),
    fast([*zip(MOMENTS, 2 * SIGNALS, strict=True)], itertools.product(MOMENTS, SIGNALS)),
)
def test_a_signal_stops_after_the_step_and_the_run_goes_on(
    tmp_path, finished, monkeypatch, number, moment, capsys
):
    config, workdir = tiny_config(tmp_path, **{'checkpoint.every': 3}), tmp_path / 'stopped'
    with monkeypatch.context() as patch:
        if isinstance(moment, int):
            original_write = reporting.StepMetrics.add

            def add(metrics, step, *args):
                original_write(metrics, step, *args)
                if step == moment:
                    os.kill(os.getpid(), number)

            patch.setattr(reporting.StepMetrics, 'add', add)
        else:
            original = ForecastEvaluator.evaluate

            def evaluate(self, params, step, split, max_sequences=None):
                if split == moment:
                    os.kill(os.getpid(), number)
                return original(self, params, step, split, max_sequences)

            patch.setattr(ForecastEvaluator, 'evaluate', evaluate)
        handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
        with pytest.raises(Interrupted) as caught:
            train(config, workdir)
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert caught.value.exit_code == 128 + number
    stopped = {'validation': 2, 'test': 4}.get(moment, moment)
    assert int(read_state(config, workdir).step) == stopped
    train(config, workdir)
    assert_same_run(config, workdir, finished)
    with Checkpoints(workdir, write=False) as left, Checkpoints(finished, write=False) as right:
        assert left.best() == right.best()


def test_a_second_signal_does_not_wait(tmp_path, monkeypatch):
    def kill_twice(*args):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(reporting.StepMetrics, 'add', kill_twice)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(tmp_path), tmp_path / 'run')


def holding(workdir):
    """Another process that has begun to train in a workdir."""
    script = (
        'import sys, time\n'
        'from e3d.runs.workdir import held, prepare_workdir\n'
        'with held(prepare_workdir(sys.argv[1])):\n'
        '    print("held", flush=True)\n'
        '    time.sleep(60)\n'
    )
    command = [sys.executable, '-c', script, str(workdir)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == 'held\n'
    return other


def test_only_one_training_in_a_workdir(tmp_path, finished):
    with holding(finished) as other:
        message = rf'is in use by another training \(process {other.pid} on '
        with pytest.raises(InputError, match=message):
            train(tiny_config(tmp_path), finished)
        evaluate(None, finished)  # reading is free
        other.kill()
    train(tiny_config(tmp_path), finished)


class GreedyForecast(LayoutForecast):
    """Takes more memory than any machine has."""

    def __call__(self, variables, batch):
        predictions = super().__call__(variables, batch)
        return predictions + jnp.sort(predictions.sum() * jax.lax.iota('float32', 2**46))[0]


def test_an_evaluation_that_does_not_fit_says_what_to_make_smaller(tmp_path, finished, monkeypatch):
    monkeypatch.setattr(prediction, 'LayoutForecast', GreedyForecast)
    message = r'A batch of evaluation\.batch_size=2 does not fit.* a run may change'
    for workdir in (tmp_path / 'new', finished):  # the validation, and the test at the end
        with pytest.raises(RunError, match=message):
            train(tiny_config(tmp_path), workdir)
    config = tiny_config(tmp_path, **{'evaluation.batch_size': 1})
    with pytest.raises(RunError, match=r'evaluation\.batch_size=1 does not fit'):
        evaluate(config, finished)


def test_full_disk_for_the_numbers(tmp_path, monkeypatch):
    def reject(self, event):
        raise OSError(28, 'No space left on device')

    original = reporting.Events.write
    monkeypatch.setattr(
        reporting.Events,
        'write',
        lambda self, step, n: original(self, step, n) if step < 2 else reject(self, n),
    )
    with pytest.raises(RunError, match=r'cannot be written to .*No space left'):
        train(tiny_config(tmp_path), tmp_path / 'run')


def test_workdir_of_another_experiment(tmp_path, finished):
    config = tiny_config(tmp_path, **{'optimizer.learning_rate': 0.5})
    before = {path: path.stat().st_mtime_ns for path in finished.rglob('*')}
    with pytest.raises(InputError, match=r'optimizer\.learning_rate: stored 0\.001, given 0\.5'):
        train(config, finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob('*')} == before


def test_config_that_is_not_one(tmp_path):
    workdir = tmp_path / 'run'
    workdir.mkdir()
    (workdir / 'config.json').write_text('{"a": ')
    with pytest.raises(InputError, match=r'config\.json cannot be read as a config'):
        train(tiny_config(tmp_path), workdir)


@pytest.mark.parametrize('num_devices', [1, 2])
def test_a_run_goes_on_with_another_number_of_devices(tmp_path, finished, monkeypatch, num_devices):
    config = tiny_config(tmp_path)
    with monkeypatch.context() as patch, config.unlocked():
        patch.setattr(devices.local_mesh, '__defaults__', (num_devices,))
        config.train.steps = 2
        train(config, tmp_path / 'run')
        config.train.steps = 4
    train(config, tmp_path / 'run')
    states = [read_state(config, workdir) for workdir in (tmp_path / 'run', finished)]
    chex.assert_trees_all_close(*states, rtol=1e-4, atol=1e-6)
    assert int(states[0].step) == 4
    losses = [
        [line['loss'] for line in read_lines(workdir, 'train')]
        for workdir in (tmp_path / 'run', finished)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize('num_devices', [1, 2, 4])
def test_an_evaluation_does_not_depend_on_the_devices(tmp_path, finished, monkeypatch, num_devices):
    report = json.loads((finished / 'evaluation.json').read_text())
    monkeypatch.setattr(devices.local_mesh, '__defaults__', (num_devices,))
    again = evaluate(None, finished)
    assert again['num_sequences'] == report['num_sequences'] == 5  # no multiple of the devices
    for key in ('mse', 'mae', 'psnr', 'ssim', 'mse_per_frame'):
        np.testing.assert_allclose(again[key], report[key], rtol=1e-5)


@pytest.mark.parametrize(
    ('name', 'folder'),
    [
        ('config.json', True), ('metrics.jsonl', True), ('.lock', True), ('evaluation.json', True),
        ('evaluation.png', True), ('tensorboard', False), ('checkpoints', False),
        ('samples', False), ('checkpoints/errors.json', True),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_said(tmp_path, name, folder):
    place = tmp_path / 'run' / name
    place.parent.mkdir(parents=True)
    if folder:
        (place / 'mine').mkdir(parents=True)
    else:
        place.write_text('mine')
    with pytest.raises(InputError, match=f'{name} is in the way: the run needs a'):
        train(tiny_config(tmp_path, **{'train.steps': 2}), tmp_path / 'run')
    assert (place / 'mine').is_dir() if folder else place.read_text() == 'mine'


@pytest.mark.parametrize('inside', [False, True])
def test_workdir_that_cannot_be_written(tmp_path, inside):
    (tmp_path / 'file').write_text('mine')
    workdir = tmp_path / 'file' / 'run' if inside else tmp_path / 'file'
    with pytest.raises(InputError, match=r"--workdir='.*' cannot be written to"):
        train(tiny_config(tmp_path), workdir)
    assert (tmp_path / 'file').read_text() == 'mine'


def test_batch_that_the_devices_do_not_divide(tmp_path):
    with pytest.raises(InputError, match=r'train\.batch_size=6'):
        train(tiny_config(tmp_path, **{'train.batch_size': 6}), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((4, 4, 8, 8, 3), 'test split has frames with 3 channels; the model is for 1'),
        (
            (4, 4, 8, 12, 1),
            'test split has frames with 12 columns; those of the train split have 8',
        ),
        ((4, 4, 16, 8, 1), 'test split has frames with 16 rows; those of the train split have 8'),
    ],
)
def test_a_split_of_another_shape_is_rejected_before_the_first_step(tmp_path, shape, message):
    np.save(tmp_path / 'other.npy', np.zeros(shape, np.uint8))
    overrides = {'dataset.test_path': str(tmp_path / 'other.npy'), 'dataset.layout': 'NTHWC'}
    with pytest.raises(InputError, match=message):
        train(tiny_config(tmp_path, **overrides), tmp_path / 'run')
    assert not (tmp_path / 'run' / 'metrics.jsonl').exists()


def test_missing_data_leaves_no_config_behind(tmp_path):
    overrides = {'dataset.digits': 'mnist_idx', 'dataset.path': str(tmp_path / 'nothing')}
    with pytest.raises(InputError, match='nothing'):
        train(tiny_config(tmp_path, **overrides), tmp_path / 'run')
    assert not (tmp_path / 'run' / 'config.json').exists()


def test_without_its_config_file_a_run_is_not_taken_over(tmp_path, finished):
    (finished / 'config.json').unlink()
    before = sorted(path.name for path in (finished / 'checkpoints').iterdir())
    with pytest.raises(
        InputError, match=r'a different config:\n  seed: stored 0, given 7\n'
    ) as caught:
        train(tiny_config(tmp_path, seed=7), finished)
    assert '--config.init_from=' in str(caught.value)
    assert not (finished / 'config.json').exists()
    assert sorted(path.name for path in (finished / 'checkpoints').iterdir()) == before
    train(tiny_config(tmp_path), finished)
    assert (finished / 'config.json').exists()


def test_a_damaged_config_file_is_not_to_be_moved_away(tmp_path, finished):
    for text in ('{', '[]', '[' * 100_000, '{"a": ' * 100_000, 'null', '\udcff'):
        (finished / 'config.json').write_bytes(text.encode('utf-8', 'surrogateescape'))
        with pytest.raises(InputError, match='Put back a copy of it') as caught:
            train(tiny_config(tmp_path), finished)
        assert 'Move it away' not in str(caught.value)


@pytest.mark.parametrize('name', ['config.json', 'metrics.jsonl', '.lock', 'checkpoints/1/x'])
@pytest.mark.parametrize('kind', ['pipe', 'device', 'folder'])
def test_files_of_a_run_that_are_no_files(tmp_path, finished, name, kind):
    if (path := finished / name).exists():
        path.unlink()
    path.parent.mkdir(exist_ok=True)
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'device':
        path.symlink_to('/dev/zero')
    elif name != 'checkpoints/1/x':
        path.mkdir()
    else:
        path.symlink_to('/dev/null')
    with pytest.raises(InputError, match=f'{name}.* is (a named pipe|a device|in the way)'):
        train(tiny_config(tmp_path), finished)


@pytest.mark.parametrize(
    'overrides',
    [
        {'dataset.digits': 'mnist_idx', 'dataset.path': '/nowhere'},
        {'init_from': '/nowhere'},
        {'model.features': 0},
    ],
)
def test_a_start_that_fails_leaves_no_folder(tmp_path, overrides):
    with pytest.raises(InputError):
        train(tiny_config(tmp_path, **overrides), tmp_path / 'runs' / 'new')
    assert not list(tmp_path.iterdir())
    (tmp_path / 'mine').mkdir()
    with pytest.raises(InputError):
        train(tiny_config(tmp_path, **overrides), tmp_path / 'mine')
    assert (tmp_path / 'mine').is_dir()  # it was there before


def test_of_two_first_starts_the_one_that_fails_leaves_the_other_its_lock(tmp_path):
    workdir = tmp_path / 'runs' / 'new'
    with pytest.raises(InputError, match='is in use'), unused_removed(workdir):
        other = holding(workdir)
        train(tiny_config(tmp_path), workdir)
    with other:
        with pytest.raises(
            InputError, match=rf'is in use by another training \(process {other.pid} '
        ):
            train(tiny_config(tmp_path), workdir)
        other.kill()


def test_a_start_that_fails_leaves_no_folder_where_there_are_no_locks(tmp_path, monkeypatch):
    def without_locks(*args):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', without_locks)
    workdir = tmp_path / 'runs' / 'new'
    with (
        pytest.raises(InputError, match='later'),
        unused_removed(workdir),
        held(prepare_workdir(workdir)),
    ):
        raise InputError('later')
    assert not list(tmp_path.iterdir())


def test_going_on_elsewhere_with_the_optimizer(tmp_path, finished):
    overrides = {'optimizer.learning_rate': 1e-9, 'optimizer.clip_norm': 1.0, 'train.steps': 1}
    config = tiny_config(tmp_path, init_from=str(finished), init_optimizer=True, **overrides)
    with pytest.raises(InputError, match='init_optimizer=True'):
        train(config, finished)
    train(config, tmp_path / 'next')
    before, after = (read_state(c, w) for c, w in [(tiny_config(tmp_path), finished),
                                                   (config, tmp_path / 'next')])  # fmt: skip
    chex.assert_trees_all_close(after.params, before.params, atol=1e-8)
    # The moving average goes on from that of the other run; its decay is 1 / 10 at first.
    average = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, before.ema_params, after.params)
    chex.assert_trees_all_close(after.ema_params, average, atol=1e-7)
    moments, begun = before.opt_state[0], after.opt_state[1][0]
    assert int(moments.count) == 4 and int(begun.count) == 5
    fresh = jax.tree.map(lambda new, old: (new - 0.9 * old) / 0.1, begun.mu, moments.mu)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(fresh)))
    assert 0 < norm <= 1.001  # what was added is the gradient, clipped
    assert int(after.opt_state[1][1].count) == int(after.step) == 1


def test_going_on_elsewhere_with_the_moments_of_rmsprop(tmp_path, finished):
    begun = tiny_config(tmp_path, **{'optimizer.kind': 'rmsprop'})
    train(begun, tmp_path / 'run_rmsprop')
    overrides = {'optimizer.clip_norm': 1e-9, 'train.steps': 1, 'init_optimizer': True}
    config = tiny_config(tmp_path, init_from=str(tmp_path / 'run_rmsprop'), **overrides)
    with pytest.raises(InputError, match=r"has optimizer\.kind='rmsprop', this one 'adam'"):
        train(config, tmp_path / 'next')
    config.optimizer.kind = 'rmsprop'
    train(config, tmp_path / 'next')
    before = read_state(begun, tmp_path / 'run_rmsprop').opt_state[0].nu
    after = read_state(config, tmp_path / 'next').opt_state[1][0].nu
    # The gradient is next to nothing, so that the moments only decay; new ones would be 1.
    decayed = jax.tree.map(lambda leaf: config.optimizer.b2 * leaf, before)
    chex.assert_trees_all_close(after, decayed, rtol=1e-6)
    assert not any(np.allclose(leaf, 1, atol=2e-3) for leaf in jax.tree.leaves(before))
    config.init_from = str(finished)
    with pytest.raises(InputError, match=r"has optimizer\.kind='adam', this one 'rmsprop'"):
        train(config, tmp_path / 'other')


def test_an_optimizer_without_moments_takes_none(tmp_path, finished):
    state = read_state(tiny_config(tmp_path), finished)
    plain = state.replace(opt_state=optax.sgd(0.1).init(state.params))
    with pytest.raises(InputError, match='the optimizer of this run has no moments'):
        begin_from(plain, finished, keep_optimizer=True)


def test_the_optimizer_of_another_model_is_not_taken(tmp_path, finished, monkeypatch):
    monkeypatch.setattr(parts, 'build_model', lambda **model: TinyForecaster(5))
    config = tiny_config(tmp_path, init_from=str(finished), init_optimizer=True)
    with pytest.raises(InputError, match='it has no params/first/bias of the shape'):
        train(config, tmp_path / 'next')
