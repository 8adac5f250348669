"""Configs at their defaults: a `ConfigDict` made of the options of its sections."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from e3d.configuration.sections import choices, sections_of
from e3d.errors import InputError
from e3d.model import MODELS
from e3d.options.option import options_of
from e3d.tasks.registry import TASKS


def section(fields: type, name: str | None = None) -> ConfigDict:
    """A section of a config, each key at its default; None can be given a value later.

    Args:
      fields: its dataclass of options, or its flax module.
      name: what stands first, under the key 'name'.
    """
    made = ConfigDict({} if name is None else {'name': name})
    for key, one in options_of(fields).items():
        kind = one.rule.kind if one.default is None else None
        made[key] = placeholder(kind) if kind else one.default
    return made


def model_section(name: str) -> ConfigDict:
    """The section of a model, each key at its default."""
    return section(MODELS[name], name)


def default_config(dataset: str = '', task: str = 'prediction', model: str = '') -> ConfigDict:
    """The paper's setting for a task and a data set, with which experiments begin.

    Args:
      dataset: one of `DATASETS`; '' has only the keys that all of them have.
      task: one of `TASKS`.
      model: one of `MODELS` for the task; '' is that of the paper.

    Raises:
      InputError: there is no data set, task or model of that name.

    Example:
      >>> e3d.default_config('kth').model.layers
      4
    """
    if task in TASKS:
        model = model or TASKS[task].default_model
    names = {'task': task, 'model.name': model, 'dataset.name': dataset}
    for key, one in choices(task).items():
        if not one.rule.accepts(names[key]) and (key, dataset) != ('dataset.name', ''):
            raise InputError(f'{key}={names[key]!r}: must be {one.rule.allowed}')
    sections = sections_of(task, model, dataset)
    config = section(sections.pop(''))
    config.task = task
    for name, fields in sections.items():
        config[name] = section(fields, names.get(f'{name}.name'))
    return config


def switch_model(config: ConfigDict, name: str) -> None:
    """Replaces the section `model` of a config by that of another model.

    What the config has changed from the defaults of its model remains as far as the other model has
    the key, and a name as far as it knows the name: the size of an experiment is kept, a form that
    only its own model has is not. Nothing happens where there is no such model.
    """
    old = config.model
    if name not in MODELS or old.name not in MODELS or name == old.name:
        return
    new, defaults, options = model_section(name), model_section(old.name), options_of(MODELS[name])
    kept = {
        key: value
        for key, value in old.items()
        if key in options
        and value != defaults.get(key)
        and (not isinstance(value, str) or options[key].rule.accepts(value))
    }
    new.update(kept)
    with config.unlocked():
        config.model = new
