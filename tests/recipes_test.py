"""The recipes of BUILD.md: pasted into files as they stand, and run."""

import json
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import pytest

import e3d
from e3d import launcher
from e3d.data.sources.dataset import DATASETS
from e3d.errors import InputError
from e3d.evaluation.presets import PRESETS
from e3d.model import FORECASTERS
from e3d.tasks.registry import TASKS

BUILD = (pathlib.Path(__file__).parent.parent / 'BUILD.md').read_text(encoding='utf-8')
FILES = dict(re.findall(r'```python\n# (my_\w+\.py)\n(.*?)```', BUILD, re.DOTALL))
TABLES = (DATASETS, FORECASTERS, PRESETS, TASKS)


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
    """The path of the experiment, beside the files that it imports."""
    folder = tmp_path_factory.mktemp('recipes')
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding='utf-8')
    before, path = [dict(table) for table in TABLES], list(sys.path)
    yield folder / 'my_experiment.py'
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)
    sys.path[:] = path
    for name in FILES:
        sys.modules.pop(name.removesuffix('.py'), None)


def test_there_is_a_recipe_for_each():
    kinds = ('experiment', 'dataset', 'model', 'task', 'metric')
    assert FILES.keys() == {f'my_{kind}.py' for kind in kinds}


def test_own_data_model_task_and_metric_train_in_bfloat16(
    experiment, tmp_path, capsys, monkeypatch
):
    workdir = tmp_path / 'run'
    values = [
        '--config.model.dtype=bfloat16',
        '--config.dataset.speed=1.5',
        '--config.loss.delta=0.2',
    ]
    command = ['launch.py', f'--config={experiment}:small', f'--workdir={workdir}', *values]
    assert launcher.main(command) == 0, capsys.readouterr().err
    report = json.loads((workdir / 'evaluation.json').read_text('utf-8'))
    assert report['num_sequences'] == 20 and report['protocol'].startswith('waves test')
    assert abs(report['bias']) < 1 and len(report['bias_per_frame']) == 10
    assert json.loads((workdir / 'config.json').read_text('utf-8'))['task'] == 'robust_prediction'
    monkeypatch.delitem(FORECASTERS, 'my_model')
    with pytest.raises(InputError, match=r"model\.name='my_model'.*--config=FILE\.py"):
        e3d.load_run(workdir)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (
            'model.name=your_model',
            r"model\.name='your_model': must be .*'convlstm' or .*'my_model'",
        ),
        ('dataset.speed=-1.0', r'dataset\.speed=-1\.0: must be a number >= 0'),
        ('loss.delta=0.0', r'loss\.delta=0\.0: must be a number > 0'),
    ],
)
def test_their_keys_are_checked_as_others(experiment, tmp_path, capsys, value, message):
    command = ['launch.py', f'--config={experiment}', f'--config.{value}', f'--workdir={tmp_path}']
    assert launcher.main(command) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_config_is_made_in_python(experiment):
    config = e3d.make_config(f'{experiment}:small', model='convlstm', **{'train.steps': 7})
    assert (config.dataset.name, config.model.name, config.train.steps) == ('waves', 'convlstm', 7)
    assert config.model.features == 4


def test_a_model_without_recurrence_forecasts_what_follows_its_input(monkeypatch):
    blocks = re.findall(r'```python\n(.*?)```', BUILD, re.DOTALL)
    example = next(block for block in blocks if 'my_convolutions' in block)
    monkeypatch.setitem(FORECASTERS, 'my_convolutions', None)
    del FORECASTERS['my_convolutions']
    exec(compile(example, 'BUILD.md', 'exec'), {'__name__': 'my_convolutions'})
    config = e3d.make_config('quickstart', model='my_convolutions', **{'model.features': 4})
    model = e3d.build_model(**config.model)
    frames = jnp.ones((2, 5, 4, 6, 3))
    found = {}
    for horizon in (3, 7):
        future, found[horizon] = jax.eval_shape(
            lambda key, horizon=horizon: model.init_with_output(key, frames, horizon),
            jax.random.key(0),
        )
        assert future.shape == (2, horizon, 4, 6, 3)
    assert model.needs.future_only and found[3] == found[7]
