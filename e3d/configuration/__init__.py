"""The check of a config before any work, and the comparison of two.

values        rules of values: an integer, one of a few, ...
keys          the rule of every key; which keys there are depends on task, model and data set
comparison    configs as flat keys, their differences, keys that look like another
older         what the config of an older run means where it lacks a key or has another name for a value
sections      the section of each model, with its defaults
check         `check_config`: every key by its rule, then rules that join several keys
"""

from e3d.configuration.check import check_config
from e3d.configuration.comparison import (
    describe_unknown_key,
    find_differences,
    flatten,
    list_differences,
    restore_config,
)
from e3d.configuration.keys import all_rules, rules_for
from e3d.configuration.older import OLD_SWITCHES
from e3d.configuration.sections import model_section, switch_model
from e3d.configuration.values import shown_value

__all__ = [
    'OLD_SWITCHES',
    'all_rules',
    'check_config',
    'describe_unknown_key',
    'find_differences',
    'flatten',
    'list_differences',
    'model_section',
    'restore_config',
    'rules_for',
    'shown_value',
    'switch_model',
]
