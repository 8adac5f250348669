"""Configs of runs that were made before some of today's keys."""

import itertools
import json
import pathlib

import pytest
from ml_collections import ConfigDict

from e3d.configuration import (
    all_options,
    check_config,
    default_config,
    find_differences,
    older,
    options_for,
    restore_config,
)
from e3d.errors import InputError
from e3d.options.flat import flatten
from e3d.options.option import ALWAYS_THERE
from e3d.tasks.registry import TASKS
from experiments import quickstart

FOLDER = pathlib.Path(__file__).parent / 'older_runs'
# The keys that the first runs had.
FIRST = json.loads((FOLDER / 'keys.json').read_text('utf-8'))


def stored():
    """The config.json of a run of the first ones, as it was written."""
    return json.loads((FOLDER / 'quickstart.json').read_text('utf-8'))


def give_meanings(monkeypatch, meanings):
    """Lets configs of older runs lack these keys, and no others."""

    def changed_options(values):
        known = options_for(values)
        return known and {
            key: option._replace(older=meanings.get(key, ALWAYS_THERE))
            for key, option in known.items()
        }

    monkeypatch.setattr(older, 'options_for', changed_options)


def test_the_config_of_an_older_run_is_whole():
    config = restore_config(stored())
    check_config(config)
    for key, value in flatten(ConfigDict(stored())).items():
        if key in older.OLD_SWITCHES:
            continue
        kept = flatten(config)[key]
        assert kept == (tuple(value) if isinstance(value, list) else value)


def test_the_optimizer_of_no_run_was_never_taken():
    values = stored() | {'init_optimizer': True}
    check_config(restore_config(values))
    assert restore_config(values | {'init_from': 'runs/other'}).init_optimizer


def test_a_missing_key_gets_its_old_meaning(monkeypatch):
    values = stored()
    del values['sampling']['kind'], values['dataset']['speed']
    give_meanings(monkeypatch, {'sampling.kind': 'scheduled', 'dataset.speed': 3.0, 'seed': 7})
    config = restore_config(values)
    assert (config.sampling.kind, config.dataset.speed) == ('scheduled', 3.0)
    assert config.seed == 0  # it is there


@pytest.mark.parametrize(('switch', 'name'), [(True, 'everywhere'), (False, 'none')])
def test_a_value_of_a_key_that_was_a_switch_gets_its_name(switch, name):
    values = stored()
    values['model']['recall'] = switch
    config = restore_config(values)
    check_config(config)
    assert (config.model.recall, config.model.recall_radius) == (name, 1)
    values['model'] |= {'recall': name, 'recall_radius': 1}
    assert find_differences(restore_config(values), config) == []


@pytest.mark.parametrize(
    ('separable', 'layers', 'kept'),
    [
        ('top', 0, 'none'),
        ('bottom', 1, 'none'),
        ('bottom', 2, 'bottom'),
        ('top', None, 'top'),
        ([], 0, ()),
    ],
)
def test_separable_layers_that_were_none_are_called_so(separable, layers, kept):
    config = default_config('moving_actions', 'recognition', 'e3d_recognizer')
    values = json.loads(config.to_json())
    values['model'] |= {'separable': separable, 'top_layers': layers}
    assert restore_config(values).model.separable == kept


@pytest.mark.parametrize('value', [1, None, 'yes', [True]])
def test_a_value_that_was_never_allowed_is_left_to_the_check(value):
    values = stored()
    values['model']['recall'] = value
    with pytest.raises(InputError, match=r'model\.recall'):
        check_config(restore_config(values))


def test_a_section_that_is_missing_is_made(monkeypatch):
    values = stored()
    del values['sampling']
    first = {key: 1 for key in older_keys('every config') if key.startswith('sampling.')}
    give_meanings(monkeypatch, first)
    assert dict(restore_config(values).sampling) == {key.split('.')[1]: 1 for key in first}


def test_a_key_of_another_data_set_or_model_is_not_added(monkeypatch):
    give_meanings(
        monkeypatch, {'dataset.windows': 'e3d', 'model.peephole': True, 'loss.start': 1.0}
    )
    assert flatten(restore_config(stored())).keys() == flatten(ConfigDict(stored())).keys()


@pytest.mark.parametrize('broken', ['task', 'model', 'dataset'])
def test_a_config_that_is_damaged_stays_as_it_is(broken, monkeypatch):
    give_meanings(monkeypatch, {'dataset.speed': 3.0})
    values = stored()
    del values[broken], values['init_from']
    assert flatten(restore_config(values)).keys() == flatten(ConfigDict(values)).keys()


def older_keys(*place):
    keys = FIRST
    for name in place:
        keys = keys[name]
    return set(keys)


def test_every_key_since_the_first_runs_has_an_old_meaning():
    for task in TASKS:
        for model, dataset in itertools.product(TASKS[task].models, FIRST['data sets']):
            if model in FIRST['models']:
                first = older_keys('every config') | older_keys('tasks', task)
                first |= older_keys('models', model) | older_keys('data sets', dataset)
                values = {'task': task, 'model.name': model, 'dataset.name': dataset}
                known = options_for(values)
                assert all(known[key].is_new for key in known.keys() - first), (
                    'Say by `older` in its option what configs without such a key mean.'
                )


def test_old_meanings_are_allowed_values():
    new = {key: option for key, option in all_options().items() if option.is_new}
    assert 'model.recall_radius' in new
    for key, option in new.items():
        assert option.rule.accepts(option.older), key


def test_an_older_run_is_the_run_of_the_same_experiment_today():
    config = quickstart.get_config()
    fixed = {'train.steps', 'checkpoint.every', 'train.evaluate_every'}
    fixed |= {'model.variant', 'model.recall', 'model.features', 'optimizer.learning_rate'}
    different = find_differences(restore_config(stored()), config)
    assert [line for line in different if line.split(':')[0] not in fixed] == []


def test_what_was_none_can_be_given_a_number():
    config = restore_config(stored())
    config.evaluation.max_sequences = 3
    config.model.history = 2
    config.optimizer.ema_decay = 0.5
    check_config(config)
    with pytest.raises(TypeError):
        config.model.history = 'all'


@pytest.mark.parametrize('section', [3, None, [], 'x', {}, {'layout': {}}, {'layout': {'a': 1}}])
def test_a_section_that_is_none_is_left_to_the_check(section):
    values = stored() | {'dataset': section, 'optimizer': section}
    with pytest.raises(InputError):
        check_config(restore_config(values))
    values = stored()
    values['dataset']['layout'] = section
    with pytest.raises(InputError, match=r'dataset\.layout'):
        check_config(restore_config(values))
