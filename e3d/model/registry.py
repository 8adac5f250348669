"""The models by name, as `model.name` in a config has it.

A model's class stands under a decorator with its name; that is all there is to do, in a file of your
own too, which the experiment imports:

    @register_forecaster('my_model')
    class MyModel(Forecaster):
        ...

Its fields are the keys of the section `model`: `option` (`e3d/options/option.py`) says what they mean
and what is allowed.
"""

from collections import ChainMap
from collections.abc import Callable
from typing import TypeVar

import flax.linen as nn

from e3d.errors import InputError
from e3d.options.tables import enter

FORECASTERS: dict[str, type[nn.Module]] = {}
RECOGNIZERS: dict[str, type[nn.Module]] = {}
MODELS = ChainMap(FORECASTERS, RECOGNIZERS)

Model = TypeVar('Model', bound=type[nn.Module])


def register_forecaster(name: str) -> Callable[[Model], Model]:
    """A decorator that enters a class of forecasters, with the options that its fields are.

    Args:
      name: that `model.name` has in a config.

    Raises:
      InputError: another model has the name.
    """
    return enter(FORECASTERS, name, 'model', MODELS)


def register_recognizer(name: str) -> Callable[[Model], Model]:
    """A decorator that enters a class of recognizers, with the options that its fields are.

    Args:
      name: that `model.name` has in a config.

    Raises:
      InputError: another model has the name.
    """
    return enter(RECOGNIZERS, name, 'model', MODELS)


def build_model(name: str, **fields):
    """The model called `name` with the given fields, as the `model` section of a config has them.

    Raises:
      InputError: there is no model of that name, or it has no such field.

    Example:
      >>> e3d.build_model('simvp', translator='tau').translator
      'tau'
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
