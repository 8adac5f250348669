"""The section `model` of a config, whose keys and defaults are the fields of the model's class."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from e3d.configuration.keys import field_rule
from e3d.model import MODELS, fields_of


def model_section(name: str) -> ConfigDict:
    """The section of a model, each field at its default; the model's docstring explains them."""
    section = ConfigDict({'name': name})
    for field in fields_of(name):
        kind = field_rule(field).kind if field.default is None else None
        section[field.name] = placeholder(kind) if kind else field.default
    return section


def switch_model(config: ConfigDict, name: str) -> None:
    """Replaces the section `model` of a config by that of another model.

    What the config has changed from the defaults of its model remains as far as the other model has
    the key: the size of an experiment is kept. Nothing happens where there is no such model.
    """
    old = config.model
    if name not in MODELS or old.name not in MODELS or name == old.name:
        return
    section, defaults = model_section(name), model_section(old.name)
    kept = {
        key: value
        for key, value in old.items()
        if key != 'name' and key in section and value != defaults.get(key)
    }
    section.update(kept)
    with config.unlocked():
        config.model = section
