import functools
import importlib
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
import pytest
from selection import fast

import experiments
from benchmarks import finished_runs, recognition_study
from e3d.configuration import check_config, default_config, parse_arg, switch_model
from e3d.data.sources.layouts import layout_of
from e3d.errors import InputError
from e3d.model import FORECASTERS, build_model
from e3d.model.needs import initialize
from e3d.runs.state import TrainState
from e3d.sweep.entries import make_entries
from e3d.tasks.layout_forecast import LayoutForecast
from e3d.training.footprint import measure_footprint
from e3d.training.update import Update, build_update
from experiments import rivals

FOLDER = pathlib.Path(experiments.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob('*.py') if path.stem not in ('__init__', 'base'))
FORMS = [(name, arg) for name in NAMES for arg in (None, 'small')]


def load(name, arg):
    return importlib.import_module(f'experiments.{name}').get_config(arg)


def frame_shape(dataset, bikenyc=False):
    """(H, W, C) of the frames that a data set gives."""
    match dataset.name:
        case 'moving_mnist' | 'moving_actions':
            return (*dataset.canvas, 1)
        case 'taxibj':  # as the files have it
            return (16, 8, 2) if bikenyc else (32, 32, 2)
        case 'grids':  # one's own
            return (41, 38, 1)
        case 'something_something':
            return (*dataset.frame_size, 3)
        case name:
            return (*dataset.frame_size, 1 if name == 'kth' else dataset.channels)


@pytest.mark.parametrize(('name', 'arg'), FORMS)
def test_config_is_valid_and_has_its_own_name(name, arg):
    config = load(name, arg)
    check_config(config)
    assert config.name == (f'{name}_{arg}' if arg else name)


class Described(NamedTuple):
    """A training that runs on shapes alone, of the whole batch on one device."""

    update: Update
    state: TrainState
    example: Mapping[str, np.ndarray]
    batch_size: int


@functools.cache
def describe(name, arg):
    config = load(name, arg)
    shape = frame_shape(config.dataset, name.startswith('bikenyc'))
    update = build_update(config, build_model(**config.model), shape)
    example = {'frames': np.zeros((layout_of(config.dataset).length, *shape), np.float32)}
    if config.task == 'recognition':
        example |= {'label': np.int32(0), 'repeated': np.int32(0)}
    return Described(update, jax.eval_shape(update.create), example, config.train.batch_size)


# One of each kind of model and task: what trains the others is the same, and their losses are traced
# below. The small forms are trained by others; here they take as long as the large ones.
TRACED = [
    (name, None) for name in ('moving_mnist', 'feed_forward', 'rivals', 'something_something')
]


@pytest.mark.parametrize(('name', 'arg'), fast(TRACED, FORMS))
def test_update_fits_together_at_full_size(name, arg):
    update, state, example, batch_size = describe(name, arg)
    batch = {
        key: jax.ShapeDtypeStruct((batch_size, *value.shape), value.dtype)
        for key, value in example.items()
    }
    new, metrics = jax.eval_shape(update.step, state, batch)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), new) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert all(value.shape == () for value in jax.tree.leaves(metrics))


@pytest.mark.parametrize(('name', 'arg'), fast([form for form in FORMS if form[1] is None], FORMS))
def test_what_a_training_takes_is_what_the_docstring_says(name, arg):
    """Of the full size on one device; `:small` is for a laptop."""
    update, state, example, batch_size = describe(name, arg)
    footprint = measure_footprint(update.loss, state, example, batch_size)
    assert footprint.gibibytes < (1 if arg else 40)
    text = ' '.join(importlib.import_module(f'experiments.{name}').__doc__.split())
    stated = re.search(r'([\d.]+) million parameters, at least ([\d.]+) GiB', text)
    if arg is None and stated:
        assert stated[1] == f'{footprint.parameters / 1e6:.1f}'
        assert float(stated[2]) == pytest.approx(footprint.gibibytes, rel=0.1, abs=0.06)


@pytest.mark.parametrize(
    ('arg', 'expected'),
    [
        ('model=tau', 44_656_001),
        ('model=gsta,data=kth', 15_632_961),
        ('model=convmixer,data=taxibj', 841_314),
        ('model=st_resnet', 2_674_374),
        ('model=st_resnet,data=bikenyc', 903_366),
    ],
)
def test_the_recipes_have_the_published_numbers_of_parameters(arg, expected):
    config = load('feed_forward', arg)
    check_config(config)
    dataset = config.dataset
    lengths = dataset.input_frames, dataset.output_frames
    shape = frame_shape(dataset, 'bikenyc' in arg)
    create = functools.partial(
        initialize, build_model(**config.model), jax.random.key(0), shape, lengths
    )
    params = jax.eval_shape(create)['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_every_model_may_do_the_copy_test():
    config = load('study', 'copy')
    for name in FORECASTERS:
        switch_model(config, name)
        check_config(config)
    assert layout_of(config.dataset).lengths == (6 + 3 + 3, 3)


@pytest.mark.parametrize('name', ['st_resnet', 'convlstm'])
def test_in_the_copy_test_a_model_sees_what_is_observed_alone(name):
    config = load('study', 'copy')
    switch_model(config, name)
    config.model.update({'features': 2, 'layers': 1})
    model, layout = build_model(**config.model), layout_of(config.dataset)
    variables = initialize(model, jax.random.key(0), (8, 8, 1), layout.lengths)
    frames = np.random.default_rng(0).random((1, layout.input_frames, 8, 8, 1), np.float32)
    forecast = jax.jit(LayoutForecast(model, layout, (0.0, 1.0)))
    plain = forecast(variables, {'frames': frames})
    hidden = np.where(layout.observed[: layout.input_frames, None, None, None], frames, np.nan)
    np.testing.assert_array_equal(plain, forecast(variables, {'frames': hidden}))
    frames[:, 0] = 0
    assert (plain != forecast(variables, {'frames': frames})).any()  # the context is observed


# The experiments that forecast, and the pairs that need more than the name of the model.
PREDICTING = ('moving_mnist', 'kth', 'taxibj', 'bikenyc', 'study', 'video_folder')
# Their frames and lengths are those of `kth`.
ALIKE = ('moving_mnist', 'video_folder')
PADDED = {('bikenyc', 'frnn')}  # 16 x 8 is no multiple of 16


@pytest.mark.parametrize('name', FORECASTERS)
@pytest.mark.parametrize(
    'experiment', fast([name for name in PREDICTING if name not in ALIKE], PREDICTING)
)
def test_every_model_fits_every_experiment(experiment, name):
    config = load(experiment, 'small')
    switch_model(config, name)
    check_config(config)
    layout = layout_of(config.dataset)
    create = functools.partial(
        initialize,
        frame_shape=frame_shape(config.dataset, experiment == 'bikenyc'),
        lengths=(layout.input_frames, layout.output_frames),
    )
    model = build_model(**config.model)
    if (experiment, name) in PADDED:
        with pytest.raises(InputError, match='pad_frames=True'):
            jax.eval_shape(functools.partial(create, model), jax.random.key(0))
        model = model.clone(pad_frames=True)
    variables = jax.eval_shape(functools.partial(create, model), jax.random.key(0))
    assert jax.tree.leaves(variables['params'])


@pytest.mark.parametrize('name', rivals.RECIPES)
def test_the_recipes_of_rivals_are_valid(name):
    for arg in (name, f'{name},small'):
        config = rivals.get_config(arg)
        check_config(config)
        assert config.model.name == name
        assert config.name == 'rivals_' + arg.replace(',', '_')


@pytest.mark.parametrize('name', NAMES)
def test_docstring_gives_the_command(name):
    text = importlib.import_module(f'experiments.{name}').__doc__
    assert f'python launch.py --config=experiments/{name}.py' in text


def test_the_base_is_the_setting_of_the_paper():
    config = default_config()
    assert (config.model.layers, config.model.features) == (4, 64)
    assert config.model.kernel_size == (2, 5, 5)
    assert (config.optimizer.learning_rate, config.sampling.decrease) == (1e-3, 2e-5)
    assert config.loss.l1_weight == config.loss.l2_weight == 1.0


@pytest.mark.parametrize(
    ('arg', 'expected'),
    [
        (None, {'small': False, 'layers': 4, 'rate': 0.1}),
        ('', {'small': False, 'layers': 4, 'rate': 0.1}),
        ('small', {'small': True, 'layers': 4, 'rate': 0.1}),
        ('small=false,layers=2,rate=3', {'small': False, 'layers': 2, 'rate': 3.0}),
    ],
)
def test_parse_arg(arg, expected):
    parsed = parse_arg(arg, small=False, layers=4, rate=0.1)
    assert parsed.to_dict() == expected
    assert isinstance(parsed.rate, float)


@pytest.mark.parametrize(
    ('arg', 'message'),
    [
        ('smal', r"there is no 'smal'; must be one of small, layers"),
        ('layers=two', r"'two' for 'layers' is not of type int"),
        ('small=perhaps', r"'perhaps' for 'small' is not of type bool"),
    ],
)
def test_parse_arg_refuses(arg, message):
    with pytest.raises(ValueError, match=message):
        parse_arg(arg, small=False, layers=4)


COUNTS = {}


def count_parameters(entry):
    """Of an entry of a study; of those that differ in nothing that the number depends on once."""
    config = entry.config
    key = config.model.to_json(), config.dataset.canvas, layout_of(config.dataset).lengths
    if key not in COUNTS:
        COUNTS[key] = finished_runs.count_parameters(entry)
    return COUNTS[key]


@pytest.mark.parametrize(('arg', 'runs'), [('', 9), ('copy', 4), ('brief', 19), ('rivals', 10)])
def test_the_models_of_the_study_have_numbers_of_parameters_that_are_alike(arg, runs):
    """Within 10 % of E3D-LSTM's, as the paper's tables ask for."""
    flag = f'experiments/study.py:{arg}'
    counts = {}
    for entry in make_entries('get_sweep', flag, ['launch.py', f'--config={flag}']):
        if entry.config.seed == 0:
            counts[entry.name] = count_parameters(entry)
    assert len(counts) == runs
    for name, count in counts.items():
        assert abs(count / 411_440 - 1) < 0.1, (name, count)


def recognizers():
    """The entries of the study of recognition, by name."""
    flag = 'experiments/moving_actions.py'
    entries = make_entries('get_sweep', flag, ['launch.py', f'--config={flag}'])
    return {entry.name.partition(',')[0]: entry for entry in entries if entry.config.seed == 0}


def test_every_recognizer_has_its_place_in_a_table():
    shown = {name for rows in recognition_study.TABLES.values() for name in rows}
    assert shown | {'pre_training'} == recognizers().keys()


SHALLOW, DEEP = ('c3d', 'r3d', 'mc3', 'r2plus1d'), ('i3d', 's3d', 'p3d')


@pytest.mark.parametrize(
    'published', [SHALLOW, pytest.param(DEEP, marks=pytest.mark.slow)], ids=['shallow', 'deep']
)
def test_the_recognizers_have_numbers_of_parameters_that_are_alike(published):
    """Within 10 % of E3D-LSTM's.

    Those of the published networks are as near as a whole number of their few channels allows.
    """
    entries = recognizers()
    names = [name for name in entries if not name.startswith(SHALLOW + DEEP)]
    counts = {name: count_parameters(entries[name]) for name in [*names, *published]}
    for name, count in counts.items():
        most = 0.3 if name in published else 0.1
        assert abs(count / counts['e3d_lstm'] - 1) < most, (name, count)
