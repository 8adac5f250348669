"""What distinguishes two configs, keys that there are not, and configs that are stored."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from e3d.configuration.older import missing_keys, rename_switches
from e3d.configuration.sections import all_options
from e3d.options.flat import as_tuple, flatten, list_differences


def describe_unknown_key(key: str, known: Iterable[str]) -> str:
    """One line for a key that there is not, with those that look like it or stand beside it."""
    known = list(known)
    section, _, name = key.rpartition('.')
    names = [other.rpartition('.')[2] for other in known if other.rpartition('.')[0] == section]
    if section and names:
        close = difflib.get_close_matches(name, names, 3) or names
        candidates = [f'{section}.{other}' for other in close]
    else:
        candidates = difflib.get_close_matches(key, known, 3) or list(known)
    return f'{key}: there is no such key; did you mean {", ".join(candidates)}?'


def changeable_keys() -> set[str]:
    """The keys that do not change what is learned, so that a run may go on with other values."""
    return {key for key, option in all_options().items() if option.changeable}


def find_differences(stored: ConfigDict, config: ConfigDict) -> list[str]:
    """What keeps a run with the config `stored` from going on with `config`, a line for each key.

    Changeable keys may differ, and train.steps as well, unless the learning rate depends on it.
    """
    free = changeable_keys()
    schedules = {flatten(side).get('optimizer.schedule') for side in (stored, config)}
    if schedules == {'constant'}:
        free.add('train.steps')
    return list_differences(stored, config, free)


def restore_config(values: Mapping[str, Any]) -> ConfigDict:
    """The config that was stored as JSON.

    Lists become tuples again, a None that stands for a number can be given one, and what the
    config of an older run lacks or calls otherwise has its old meaning.
    """

    def restore(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: restore(item) for key, item in value.items()}
        return as_tuple(value)

    restored = restore(values)
    rename_switches(restored)
    for key, value in missing_keys(flatten(restored)).items():
        _set_missing(restored, key, value)
    options = all_options()
    for key, value in flatten(restored).items():
        if value is None and key in options and options[key].rule.kind is not None:
            _set_missing(restored, key, placeholder(options[key].rule.kind))
    return ConfigDict(restored).lock()


def _set_missing(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets 'section.key' where nothing or None stands; what is damaged stays for `check_config`."""
    section, _, name = key.rpartition('.')
    part = values.setdefault(section, {}) if section else values
    if isinstance(part, dict) and part.get(name) is None:
        part[name] = value
