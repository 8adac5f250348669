import dataclasses
import importlib
import json
import pathlib

import pytest
from ml_collections import ConfigDict
from training_helpers import tiny_config

from e3d.configuration import (
    check_config,
    default_config,
    describe_unknown_key,
    find_differences,
    load_config,
    make_config,
    model_section,
    restore_config,
    switch_model,
)
from e3d.errors import InputError
from e3d.model import FORECASTERS, MODELS
from e3d.options.flat import flatten
from e3d.options.option import option
from e3d.options.rules import number
from e3d.tasks.registry import TASKS, Task, register_task

BAD_VALUES = {
    'name': 'runs/mine',
    'seed': -1,
    'task': 'segmentation',
    'model.name': 'lstm',
    'model.layers': 0,
    'model.kernel_size': (2, 5),
    'model.variant': 'Paper',
    'model.recall': False,
    'model.recall_radius': 17,
    'model.history': 0,
    'model.dtype': 'float16',
    'dataset.name': 'mnist',
    'dataset.input_frames': 0,
    'dataset.path': 'gs://bucket/clips',
    'dataset.data_dir': 's3://bucket/records',
    'dataset.test_path': 'https://host/test.npy',
    'init_from': 'gs://bucket/run',
    'dataset.output_frames': 0,
    'dataset.canvas': (8, 0),
    'dataset.speed': -1.0,
    'dataset.split_fractions': (0.5, 0.1, 0.1),
    'loss.l1_weight': float('nan'),
    'loss.frames': 'past',
    'sampling.start': 1.5,
    'sampling.kind': 'inverse',
    'sampling.time_constant': 0.0,
    'optimizer.learning_rate': 0.0,
    'optimizer.b1': 1.0,
    'optimizer.schedule': 'step',
    'optimizer.clip_norm': 0.0,
    'optimizer.ema_decay': 1.0,
    'train.batch_size': 0,
    'train.steps': 2.5,
    'train.log_every': 0,
    'evaluation.max_sequences': 0,
    'checkpoint.keep': 0,
    'checkpoint.keep_best': None,
}


def changed(tmp_path, **overrides):
    config = tiny_config(tmp_path).copy_and_resolve_references()
    with config.ignore_type():
        config.update_from_flattened_dict(overrides)
    return config


def test_a_good_config(tmp_path):
    check_config(tiny_config(tmp_path))


@pytest.mark.parametrize('key', BAD_VALUES)
def test_bad_value_is_named_with_what_is_allowed(tmp_path, key):
    with pytest.raises(InputError) as caught:
        check_config(changed(tmp_path, **{key: BAD_VALUES[key]}))
    assert f'{key}={BAD_VALUES[key]!r}: must be ' in str(caught.value)


@pytest.mark.parametrize('task', [[], {'a': 1}, None, 3])
def test_a_task_of_any_type_is_rejected_by_its_name(tmp_path, task):
    values = tiny_config(tmp_path).to_dict() | {'task': task}
    with pytest.raises(InputError, match=r"task.*'prediction' or 'recognition'"):
        check_config(ConfigDict(values))


ABSURD = [
    'model.layers', 'model.features', 'model.depth', 'model.history', 'model.patch_size',
    'model.kernel_size', 'dataset.canvas', 'dataset.num_digits', 'dataset.digit_size',
    'dataset.input_frames', 'dataset.output_frames', 'dataset.test_size', 'dataset.workers',
    'dataset.copy_test', 'train.batch_size', 'train.steps', 'evaluation.batch_size',
    'evaluation.num_samples', 'checkpoint.keep', 'train.evaluate_every', 'loss.l1_warmup_steps',
]  # fmt: skip


@pytest.mark.parametrize('size', [10**10, 10**5000], ids=['large', 'huge'])
@pytest.mark.parametrize('key', ABSURD)
def test_an_absurd_size_is_rejected_with_the_largest_that_is_allowed(tmp_path, key, size):
    tuples = {'model.kernel_size': (2, 3, size), 'dataset.canvas': (8, size)}
    value = tuples.get(key, (3, size) if key == 'dataset.copy_test' else size)
    with pytest.raises(InputError, match=rf'{key}=.* (<=|to) \d+') as caught:
        check_config(changed(tmp_path, **{key: value}))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    'value', [float('nan'), float('inf'), -float('inf'), 1e39, 1j, '0.1', None]
)
def test_numbers_that_are_none(tmp_path, value):
    for key in ('optimizer.learning_rate', 'loss.l2_weight', 'sampling.decrease'):
        with pytest.raises(InputError, match=f'{key}=.*must be a number'):
            check_config(changed(tmp_path, **{key: value}))


def test_whole_numbers_of_any_size_are_compared():
    rule = number(0)
    assert rule.accepts(10**20) and not rule.accepts(10**400) and not rule.accepts(-(10**400))
    assert not rule.accepts(True)


@pytest.mark.parametrize(
    ('name', 'good'),
    [
        ('mine', True), ('mine 2', True), ('ünï', True), ('a.b-c_d', True), ('', False),
        ('.', False), ('..', False), ('../x', False), ('a/b', False), ('/tmp/x', False),
        ('a\\b', False), ('a\0b', False), ('a\nb', False), ('x' * 300, False), ('ü' * 150, False),
        ('\udc80', False), (' ', False),
    ],
)  # fmt: skip
def test_the_name_of_a_run_is_that_of_a_folder(tmp_path, name, good):
    config = changed(tmp_path, name=name)
    if good:
        check_config(config)
    else:
        with pytest.raises(InputError, match=r'name=.*must be a folder name'):
            check_config(config)


def test_all_problems_are_named_at_once(tmp_path):
    config = changed(tmp_path, **{'train.steps': 0, 'model.layers': 0})
    with pytest.raises(InputError, match=r'(?s)model\.layers=0.*train\.steps=0'):
        check_config(config)


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'model.patch_size': 3}, r'model\.patch_size=3 does not divide dataset\.canvas=\(8, 8\)'),
        ({'dataset.digit_size': 9}, r'dataset\.digit_size=9: must be at most'),
        ({'loss.l1_weight': 0.0, 'loss.l2_weight': 0.0}, 'at least one must be above 0'),
        (
            {'sampling.last_step': 9},
            r'first_step=25000: must be less than sampling\.last_step=9',
        ),
        ({'init_optimizer': True}, r'init_optimizer=True: must be False without init_from'),
        ({'optimizer.warmup_steps': 4}, r'warmup_steps=4: must be less than train\.steps=4'),
        (
            {
                'loss.l2_weight': 0.0,
                'loss.l1_weight': 0.0,
                'loss.cross_entropy_weight': 1.0,
                'loss.balance_thresholds': (0.3,),
                'loss.balance_weights': (2.0,),
            },
            r'balance_thresholds=\(0\.3,\): must be \(\) with loss\.l2_weight=0 and loss\.l1_weight=0',
        ),
        ({'dataset.digits': 'array'}, r'needs dataset\.path: the \.npy or \.npz file'),
        ({'dataset.digits': 'mnist_idx'}, r'needs dataset\.path: the folder'),
    ],
)
def test_values_that_do_not_go_together(tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        check_config(changed(tmp_path, **overrides))


@pytest.mark.parametrize('overrides', [
    {'model.patch_size': 3, 'model.pad_frames': True},
    {'dataset.digits': 'array', 'dataset.path': 'x.npy', 'dataset.canvas': (7, 7)},
    {'optimizer.clip_norm': 1.0, 'model.history': 3, 'evaluation.max_sequences': None},
    {'loss.l2_weight': 0.0, 'loss.balance_thresholds': (0.3,), 'loss.balance_weights': (2.0,)},
])  # fmt: skip
def test_values_that_go_together(tmp_path, overrides):
    check_config(changed(tmp_path, **overrides))


@pytest.mark.parametrize('name', FORECASTERS)
def test_the_section_of_every_model_is_valid_and_each_of_its_keys_is_checked(tmp_path, name):
    config = changed(tmp_path)
    with config.unlocked():
        config.model = model_section(name)
    check_config(config)
    for key in set(config.model) - {'name'}:
        broken = config.copy_and_resolve_references()
        with broken.ignore_type():
            broken.model[key] = 'no such value'
        with pytest.raises(InputError, match=f"model.{key}='no such value': must be"):
            check_config(broken)


def test_another_model_keeps_the_size_of_the_experiment(tmp_path):
    config = changed(tmp_path, **{'model.variant': 'released'})
    switch_model(config, 'convlstm')
    assert config.model.name == 'convlstm' and 'variant' not in config.model
    assert (config.model.layers, config.model.features) == (1, 2)
    assert config.model.kernel_size == (2, 3, 3) and config.model.depth == 1
    switch_model(config, 'e3d_lstm')
    assert config.model.variant == 'paper' and config.model.depth == 2
    assert config.model.history is None
    switch_model(config, 'no_such_model')
    assert config.model.name == 'e3d_lstm'


@pytest.mark.parametrize(('variant', 'kept'), [('gated', 'paper'), ('released', 'released')])
def test_another_model_keeps_a_form_that_it_has(tmp_path, variant, kept):
    config = changed(tmp_path, **{'model.variant': variant})
    switch_model(config, 'cdna')
    assert config.model.variant == kept
    check_config(config)


def test_a_key_of_another_model_is_rejected(tmp_path):
    config = changed(tmp_path)
    with config.unlocked():
        config.model.peephole = True
    with pytest.raises(InputError, match=r'model\.peephole: there is no such key'):
        check_config(config)


def test_unknown_and_missing_keys(tmp_path):
    config = changed(tmp_path)
    with config.unlocked():
        config.model.layer = 3
        del config.train.steps
    with pytest.raises(InputError) as caught:
        check_config(config)
    assert 'model.layer: there is no such key; did you mean model.layers' in str(caught.value)
    assert 'train.steps is missing: must be an integer' in str(caught.value)


@pytest.mark.parametrize(
    ('key', 'hint'),
    [
        ('train.step', 'train.steps'),
        ('optimizer.lr', 'optimizer.learning_rate'),
        ('modle.layers', 'model.layers'),
        ('zzz', 'model.layers'),
    ],
)
def test_unknown_key_gets_a_hint(tmp_path, key, hint):
    assert hint in describe_unknown_key(key, flatten(tiny_config(tmp_path)))


def test_stored_config_is_the_same_config(tmp_path):
    config = tiny_config(tmp_path)
    stored = restore_config(json.loads(json.dumps(config.to_dict())))
    assert find_differences(stored, config) == []
    assert stored.model.kernel_size == (2, 3, 3) and stored.optimizer.clip_norm is None
    check_config(stored)
    hash(tuple(stored.model.items()))


@pytest.mark.parametrize(
    ('overrides', 'differences'),
    [
        ({'optimizer.clip_norm': 1.0}, ['optimizer.clip_norm: stored None, given 1.0']),
        (
            {'model.kernel_size': (2, 5, 5)},
            ['model.kernel_size: stored (2, 3, 3), given (2, 5, 5)'],
        ),
        ({'train.steps': 9, 'checkpoint.keep': 5, 'model.memory': 'recompute'}, []),
        (
            {'train.steps': 9, 'optimizer.schedule': 'cosine'},
            [
                'train.steps: stored 4, given 9',
                "optimizer.schedule: stored 'constant', given 'cosine'",
            ],
        ),
    ],
)
def test_differences(tmp_path, overrides, differences):
    found = find_differences(tiny_config(tmp_path), changed(tmp_path, **overrides))
    assert sorted(found) == sorted(differences)


def test_a_key_that_only_one_has_is_a_difference(tmp_path):
    config = changed(tmp_path)
    with config.unlocked():
        del config.dataset.speed
    assert find_differences(tiny_config(tmp_path), config) == [
        'dataset.speed: stored 1.0, given nothing'
    ]


DATASET_VALUES = {
    'kth': {'split': 'all', 'validation_persons': (0,), 'windows': 'mine', 'frame_size': (8,)},
    'taxibj': {'test_days': 0, 'validation_days': -1, 'slots_per_day': 0},
    'video_folder': {'channels': 0, 'fit': 'pad', 'frame_rate': 0.0, 'train_stride': 0},
    'something_something': {'fraction': 1.5, 'num_classes': 42, 'validation_fraction': 1.0},
}


@pytest.mark.parametrize(
    ('name', 'key', 'value'),
    [(name, *item) for name, values in DATASET_VALUES.items() for item in values.items()],
)
def test_bad_values_of_the_data_sets_are_named(name, key, value):
    config = importlib.import_module(f'experiments.{name}').get_config('small')
    check_config(config)
    with config.ignore_type():
        config.dataset[key] = value
    with pytest.raises(InputError) as caught:
        check_config(config)
    assert f'dataset.{key}={value!r}: must be ' in str(caught.value)


def test_patches_must_divide_frames_of_any_data_set():
    config = importlib.import_module('experiments.video_folder').get_config()
    config.dataset.frame_size = (64, 66)
    with pytest.raises(
        InputError, match=r'patch_size=4 does not divide dataset\.frame_size=\(64, 66'
    ):
        check_config(config)


LARGE_KERNELS = [
    ('quickstart', {'dataset.canvas': (32, 32), 'model.patch_size': 8}, r'\(2, 4, 4\)'),
    ('quickstart', {'model.depth': 1}, r'\(1, 8, 8\)'),
    ('video_folder', {'dataset.frame_size': (64, 16)}, r'\(2, 16, 4\)'),
    (
        'quickstart',
        {'dataset.digits': 'array', 'dataset.path': 'x', 'model.depth': 1},
        'depth.*, 1',
    ),
    ('moving_actions', {'dataset.canvas': (16, 32)}, r'\(2, 4, 8\)'),
]


@pytest.mark.parametrize(('name', 'changes', 'states'), LARGE_KERNELS)
def test_a_transposed_operator_does_not_exceed_the_states(name, changes, states):
    config = importlib.import_module(f'experiments.{name}').get_config()
    config.model.convolution = 'transposed'
    check_config(config)
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=rf'model.kernel_size=\(2, 5, 5\): .*{states}$'):
        check_config(config)
    config.model.convolution = 'separable'
    check_config(config)


@pytest.mark.parametrize(
    ('model', 'separable', 'layers', 'message'),
    [
        ('e3d_recognizer', 'top', 0, r"'none' with model\.top_layers=0.* at least 1 .*=separable$"),
        (
            'st_lstm_recognizer',
            'bottom',
            1,
            r"'none' with model\.top_layers=1, whose bottom half .* at least 2 of them$",
        ),
        ('e3d_recognizer', 'top', 1, ''),
        ('cnn_recognizer', 'bottom', 2, ''),
        ('st_lstm_recognizer', 'none', 0, ''),
    ],
)
def test_separable_layers_are_there(model, separable, layers, message):
    config = default_config('moving_actions', 'recognition', model)
    config.name = 'separable'
    config.model.update({'separable': separable, 'top_layers': layers})
    if not message:
        check_config(config)
        return
    with pytest.raises(InputError, match=rf'model\.separable={separable!r}: must be {message}'):
        check_config(config)


@pytest.mark.parametrize('name', ['quickstart', 'kth', 'taxibj', 'video_folder'])
def test_recognition_of_data_without_classes_is_all_that_is_said(name):
    config = importlib.import_module(f'experiments.{name}').get_config()
    config.task = 'recognition'
    with pytest.raises(InputError) as caught:
        check_config(config)
    assert str(caught.value).splitlines()[1:] == [
        f"  task='recognition' needs classes, which dataset.name={config.dataset.name!r} does not have: "
        "must be 'moving_actions' or 'something_something'"
    ]


def test_a_task_with_the_section_of_another_is_one_problem():
    config = importlib.import_module('experiments.moving_actions').get_config()
    config.task = 'prediction'
    with pytest.raises(InputError, match=r"task='prediction' needs another section loss") as caught:
        check_config(config)
    assert len(str(caught.value).splitlines()) == 2


def test_a_third_task_has_keys_of_its_own(tmp_path, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Margin:
        margin: float = option(0.5, 'of the loss', number(0, 1))

    class Interpolation(Task):
        objective, models, default_model = Margin, FORECASTERS, 'convlstm'

    monkeypatch.setitem(TASKS, 'interpolation', Interpolation)  # and takes it out afterwards
    register_task('interpolation')(Interpolation)
    config = changed(tmp_path, task='interpolation')
    with config.unlocked():
        config.loss = ConfigDict({'margin': 0.5})
    check_config(config)
    config.loss.margin = 2.0
    with pytest.raises(InputError, match=r'loss.margin=2.0: must be'):
        check_config(config)


def test_fields_of_a_model_of_ones_own_whose_types_are_texts(tmp_path, monkeypatch):
    """As `from __future__ import annotations` makes them."""
    fields = {
        'gain': ('float', 0.5), 'steps_back': ('Optional[int]', None), 'pool': ('bool', False),
        'rate': ('float | None', None), 'kind': ('str', 'a'), 'offsets': ('tuple', (1, 2)),
    }  # fmt: skip
    names = {name: type_ for name, (type_, _) in fields.items()}
    defaults = {name: default for name, (_, default) in fields.items()}
    base_fields = {'__module__': __name__, '__annotations__': names, **defaults}
    mine = type('Mine', (FORECASTERS['convlstm'],), base_fields)
    monkeypatch.setitem(FORECASTERS, 'mine', mine)
    if 'mine' not in MODELS:
        monkeypatch.setitem(MODELS, 'mine', mine)
    config = changed(tmp_path)
    switch_model(config, 'mine')
    check_config(config)
    config.model.update({'steps_back': 3, 'rate': 0.5, 'gain': 2.0, 'pool': True})
    check_config(config)
    with pytest.raises(TypeError):
        config.model.steps_back = 'all'
    for key, value in {'gain': 'x', 'steps_back': 1.5, 'pool': 2, 'kind': 3}.items():
        broken = config.copy_and_resolve_references()
        with broken.ignore_type():
            broken.model[key] = value
        with pytest.raises(InputError, match=f'model.{key}={value!r}: must be'):
            check_config(broken)


@pytest.mark.parametrize('layout', ['', 'NTHWC', 'THW', 'CWHTN', 'TCHW'])
def test_a_layout_names_each_axis_once(tmp_path, layout):
    check_config(changed(tmp_path, **{'dataset.layout': layout}))


@pytest.mark.parametrize(
    'layout', ['nthwc', 'NTH', 'NTHWW', 'BTHWC', 'T H W', None, ('T', 'H', 'W')]
)
def test_other_layouts_are_rejected(tmp_path, layout):
    with pytest.raises(InputError, match=r'dataset\.layout=.*as "NTHWC"'):
        check_config(changed(tmp_path, **{'dataset.layout': layout}))


def test_an_experiment_lies_where_a_home_directory_says(tmp_path, monkeypatch):
    text = 'from experiments.quickstart import get_config\n'
    (tmp_path / 'own.py').write_text(text, encoding='utf-8')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert load_config('~/own.py:small') == load_config('quickstart:small')


def test_a_config_is_made_in_python():
    values = {'train.steps': 7, 'optimizer.clip_norm': 1, 'evaluation.max_sequences': None}
    config = make_config('quickstart:small', model='convlstm', **values)
    assert (config.model.name, config.model.features, config.train.steps) == ('convlstm', 4, 7)
    assert isinstance(config.optimizer.clip_norm, float)  # as the command line makes it
    assert config.evaluation.max_sequences is None
    path = pathlib.Path(__file__).parent.parent / 'experiments' / 'quickstart.py'
    assert make_config(f'{path}:small', **{'model.name': 'convlstm', **values}) == config


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (('mnist',), r"dataset\.name='mnist': must be .*'moving_mnist'"),
        (('kth', 'segmentation'), r"task='segmentation': must be 'prediction' or 'recognition'"),
        (('kth', 'recognition', 'convlstm'), r"model\.name='convlstm': must be .*'e3d_recognizer'"),
    ],
)
def test_the_default_config_is_of_what_there_is(names, message):
    with pytest.raises(InputError, match=message):
        default_config(*names)


@pytest.mark.parametrize(
    ('experiment', 'values', 'message'),
    [
        ('nothing', {}, r"'nothing': there is no such file.*quickstart"),
        ('quickstart:big', {}, "no 'big'"),
        ('quickstart', {'train.step': 3}, 'did you mean train.steps'),
        ('quickstart', {'train.steps': 'x'}, r"train\.steps='x': must be an integer >= 1"),
        ('quickstart', {'train.steps': 0}, r'train\.steps=0: must be an integer >= 1'),
        ('quickstart', {'model.kernel_size': 3}, r'model\.kernel_size=3: must be 3 integers'),
        (
            'quickstart',
            {'model': 'mine'},
            r"model\.name='mine': must be .* file of --config brings",
        ),
    ],
)
def test_a_config_that_cannot_be_made_says_why(experiment, values, message):
    with pytest.raises(InputError, match=f'(?s){message}'):
        make_config(experiment, **values)
