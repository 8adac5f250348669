"""What files state is kept with a run, and compared with what others state."""

import json

import pytest

from e3d.data.sources.file_facts import FileFacts, check_facts, describe_step, same_step
from e3d.errors import InputError

RAIN = FileFacts(
    {'rain': 'mm/h', 'wind': ''}, {'y': (60.0, 52.0), 'x': ()}, 1800.0, {'wind': ('u', 'v')}
)


@pytest.mark.parametrize('facts', [RAIN, FileFacts(), FileFacts(step=1 / 29.97)])
def test_facts_are_kept_as_json(facts):
    assert FileFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


@pytest.mark.parametrize(
    'changed',
    [
        {'step': -1}, {'step': float('nan')}, {'step': float('inf')}, {'step': None}, {'units': 3},
        {'channels': {'wind': 3}},
        {'axes': {'y': [1.0]}}, {'axes': {'y': ['a', 'b']}}, {'axes': ['y']},
    ],
)  # fmt: skip
def test_what_is_no_such_json_is_refused(changed):
    with pytest.raises((ValueError, TypeError)):
        FileFacts.from_json(RAIN.to_json() | changed)
    with pytest.raises(KeyError):
        FileFacts.from_json({})


def test_steps_in_words():
    steps = {
        86_400: '1 d',
        5400: '90 min',
        7200: '2 h',
        2.5: '2.5 s',
        1: '1 s',
        1 / 29.97: '1/29.97 s',
    }
    assert {step: describe_step(step) for step in steps} == steps
    assert describe_step(0.5, dated=False) == '0.5'


def test_months_are_of_one_step_and_frame_rates_are_not():
    assert same_step(31, 28) and same_step(1 / 25, 1 / 24) and same_step(0, 5) and same_step(5, 0)
    assert not same_step(1 / 30, 1 / 25) and not same_step(300, 360) and not same_step(360, 300)


def test_what_is_not_stated_contradicts_nothing():
    assert check_facts(FileFacts(), RAIN._replace(units={}), 'new') == []
    unstated = FileFacts({'rain': '', 'wind': 'm/s'}, {'y': (), 'lon': (0.0, 9.0)}, 0.0)
    assert check_facts(unstated, RAIN, 'new') == []


def test_channels_of_the_training_are_wanted_of_a_variable_of_another_name():
    trained = FileFacts({'wind': ''}, channels={'wind': ('u', 'v')})
    found = FileFacts({'air': ''}, channels={'air': ('v', 'u')})
    with pytest.raises(InputError, match="The channels of 'wind' are v, u in new, but u, v in the"):
        check_facts(found, trained, 'new')
    same = found._replace(channels={'air': ('u', 'v')})
    assert check_facts(same, trained, 'new') == ["'air' of new stands for 'wind' of the training."]
