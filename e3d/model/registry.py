"""The models by name, as `model.name` in a config has it.

A model's class stands under a decorator with its name; that is all there is to do, in a file of your
own too, which the experiment imports:

    @register_forecaster('my_model')
    class MyModel(Forecaster):
        ...
"""

import dataclasses
from collections import ChainMap
from collections.abc import Callable
from typing import TypeVar

import flax.linen as nn

from e3d.errors import InputError

FORECASTERS: dict[str, type[nn.Module]] = {}
RECOGNIZERS: dict[str, type[nn.Module]] = {}
MODELS = ChainMap(FORECASTERS, RECOGNIZERS)

Model = TypeVar('Model', bound=type[nn.Module])


def register_forecaster(name: str) -> Callable[[Model], Model]:
    """Enters a class of forecasters under this name."""
    return _enter(FORECASTERS, name)


def register_recognizer(name: str) -> Callable[[Model], Model]:
    """Enters a class of recognizers under this name."""
    return _enter(RECOGNIZERS, name)


def _enter(models: dict[str, type[nn.Module]], name: str) -> Callable[[Model], Model]:
    def enter(model: Model) -> Model:
        known = MODELS.get(name)
        same = known is not None and known.__qualname__ == model.__qualname__  # imported again
        if known is not None and not same:
            raise InputError(f'model {name!r}: there is one of that name, {known.__qualname__}')
        models[name] = model
        return model

    return enter


def fields_of(name: str) -> list[dataclasses.Field]:
    """The fields of the model called `name`: the keys of its section in a config."""
    own = ('parent', 'name')  # what every flax module has
    return [field for field in dataclasses.fields(MODELS[name]) if field.name not in own]


def build_model(name: str, **fields):
    """The model called `name` with the given fields, as the `model` section of a config has them.

    Raises:
      InputError: there is no model of that name, or it has no such field.
    """
    if name not in MODELS:
        raise InputError(f'model.name={name!r}: must be one of {", ".join(sorted(MODELS))}')
    fields = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
    }
    try:
        return MODELS[name](**fields)
    except TypeError as error:
        raise InputError(f'model: {error}') from None
