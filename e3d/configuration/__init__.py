"""One config for a run, made of the options of its model, data set, task and training.

sections      which sections and keys there are
defaults      a `ConfigDict` made of them; another model in its place
comparison    in what two configs differ, and keys that look like one that does not exist
older         `restore_config`: stored configs, those of older runs too
check         `check_config`: every key by its rule, then rules that join several keys
experiments   the files of experiments, `make_config`, and what follows the colon in their names
documentation the page of all keys, docs/config.md
"""

from e3d.configuration.check import check_config
from e3d.configuration.comparison import (
    changeable_keys,
    describe_unknown_key,
    find_differences,
    measures_the_same,
)
from e3d.configuration.defaults import default_config, model_section, switch_model
from e3d.configuration.experiments import (
    call_experiment,
    change_config,
    list_experiments,
    load_config,
    make_config,
    parse_arg,
)
from e3d.configuration.older import OLD_SWITCHES, restore_config
from e3d.configuration.sections import all_options, options_for

__all__ = [
    'OLD_SWITCHES',
    'all_options',
    'call_experiment',
    'change_config',
    'changeable_keys',
    'check_config',
    'default_config',
    'describe_unknown_key',
    'find_differences',
    'list_experiments',
    'load_config',
    'make_config',
    'measures_the_same',
    'model_section',
    'options_for',
    'parse_arg',
    'restore_config',
    'switch_model',
]
