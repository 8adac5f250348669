"""Stored configs, those of older runs too: keys that these lack, values that have a name today."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from e3d.configuration.sections import all_options, options_for
from e3d.model.classifier import LEAST_LAYERS
from e3d.options.flat import as_tuple, flatten

# Of every key that was a switch once: what its values are called today.
OLD_SWITCHES: dict[str, dict[bool, str]] = {
    'model.recall': {True: 'everywhere', False: 'none'},
}


def restore_config(values: Mapping[str, Any]) -> ConfigDict:
    """The config that was stored as JSON.

    Lists become tuples again, a None that stands for a number can be given one, and what the
    config of an older run lacks or calls otherwise has its old meaning. Where its task, model or data
    set is unknown nothing is added; `check_config` reports that.
    """

    def restore(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: restore(item) for key, item in value.items()}
        return as_tuple(value)

    restored = restore(values)
    _rename_switches(restored)
    _drop_separable(restored)
    _drop_optimizer(restored)
    flat = flatten(restored)
    for key, option in (options_for(flat) or {}).items():
        if option.is_new and key not in flat:
            _set_missing(restored, key, option.older)
    options = all_options()
    for key, value in flatten(restored).items():
        if value is None and key in options and options[key].rule.kind is not None:
            _set_missing(restored, key, placeholder(options[key].rule.kind))
    return ConfigDict(restored).lock()


def _rename_switches(values: dict[str, Any]) -> None:
    """Calls the values of a stored config by their names of today, in its sections."""
    for key, names in OLD_SWITCHES.items():
        section, _, name = key.partition('.')
        part = values.get(section)
        if isinstance(part, dict) and isinstance(part.get(name), bool):
            part[name] = names[part[name]]


def _drop_separable(values: dict[str, Any]) -> None:
    """Says that no half of the top layers is separable where there is none, which is refused today."""
    model = values.get('model')
    if not isinstance(model, dict):
        return
    separable, layers = model.get('separable'), model.get('top_layers')
    if separable in ('bottom', 'top') and isinstance(layers, int):
        model['separable'] = separable if layers >= LEAST_LAYERS[separable] else 'none'


def _drop_optimizer(values: dict[str, Any]) -> None:
    """Says that the optimizer of no run is taken where there is none, which is refused today."""
    if 'init_optimizer' in values and not values.get('init_from'):
        values['init_optimizer'] = False


def _set_missing(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets 'section.key' where nothing or None stands; what is damaged stays for `check_config`."""
    section, _, name = key.rpartition('.')
    part = values.setdefault(section, {}) if section else values
    if isinstance(part, dict) and part.get(name) is None:
        part[name] = value
