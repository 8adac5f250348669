"""Experiments: files with `get_config(arg=None)`, found by name or path, and configs made from them."""

import ast
import importlib.util
import os
import pathlib
import sys
import types
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from e3d.configuration.check import check_config
from e3d.configuration.comparison import describe_unknown_key
from e3d.configuration.defaults import switch_model
from e3d.configuration.sections import options_for
from e3d.errors import InputError
from e3d.options.flat import flatten
from e3d.options.rules import shown_value

PACKAGE = pathlib.Path(__file__).resolve().parent.parent


def experiments_folder() -> pathlib.Path:
    """Where the experiments lie: within the package where it is installed, beside it in a checkout."""
    installed = PACKAGE / 'experiments'
    return installed if installed.is_dir() else PACKAGE.parent / 'experiments'


def find_experiment(name: str) -> pathlib.Path | None:
    """The file of an experiment: a path, here or where the experiments lie, or a name, as 'kth'."""
    folder = experiments_folder()
    own = pathlib.Path(os.path.expanduser(name))
    places = [own, folder.parent / name] if name.endswith('.py') else []
    if name.isidentifier():
        places = [folder / f'{name}.py']
    return next((path for path in places if os.path.isfile(path)), None)


def list_experiments() -> dict[str, str]:
    """Each experiment: its file, and what its docstring begins with."""
    summaries = {}
    for path in sorted(experiments_folder().glob('[!_]*.py')):
        docstring = ast.get_docstring(ast.parse(path.read_text('utf-8'))) or ''
        summaries[f'experiments/{path.name}'] = docstring.partition('\n')[0]
    return summaries


def call_experiment(flag: str, function: str) -> Any:
    """Calls a function of an experiment's file, with ARG where there is one.

    Args:
      flag: NAME, FILE.py, NAME:ARG or FILE.py:ARG.
      function: its name.

    Raises:
      InputError: there is no such file, it does not run, or it rejects ARG.
    """
    name, colon, argument = flag.partition(':')
    path = find_experiment(name)
    if path is None:
        known = '\n'.join(f'  {file:<36}{summary}' for file, summary in list_experiments().items())
        raise InputError(f"--config='{flag}': there is no such file. There are:\n{known}")
    try:
        call = getattr(_import(path), function, None)
        if call is None:
            raise ValueError(f'it must define the function {function}(arg=None)')
        return call(argument) if colon else call()
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f'{type(error).__name__}: {error}'
        raise InputError(f"--config='{flag}' cannot be loaded: {reason}") from error


def _import(path: pathlib.Path) -> types.ModuleType:
    """Runs an experiment's file, which may import others that lie beside it."""
    name, folder = f'experiment_{path.stem}', str(path.resolve().parent)
    if path.resolve().parent != experiments_folder() and folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f'{path} cannot be imported')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where classes that the file defines look for their annotations
    spec.loader.exec_module(module)
    return module


def load_config(flag: str) -> ConfigDict:
    """What `get_config` of an experiment returns, see `call_experiment`.

    Raises:
      InputError: there is no such file, it does not run, or it rejects ARG.
    """
    config = call_experiment(flag, 'get_config')
    if not isinstance(config, ConfigDict):
        raise InputError(
            f"--config='{flag}': get_config() must return an ml_collections.ConfigDict"
        )
    return config


def make_config(experiment: str, /, model: str | None = None, **values: Any) -> ConfigDict:
    """The config of an experiment with some of its values changed, checked.

        config = make_config('moving_mnist:small', model='convlstm', **{'train.steps': 100})

    Args:
      experiment: NAME, FILE.py, NAME:ARG or FILE.py:ARG.
      model: another one; what the experiment says of the size of its own remains.
      **values: by 'section.key'.

    Raises:
      InputError: there is no such experiment, or no such key, or a value is not allowed.

    Example:
      >>> config = e3d.make_config('kth:small', model='predrnn', **{'optimizer.learning_rate': 1e-4})
      >>> config.model.name, config.optimizer.learning_rate
      ('predrnn', 0.0001)
    """
    config = load_config(experiment)
    change_config(config, model, values)
    return config


def change_config(config: ConfigDict, model: str | None, values: Mapping[str, Any]) -> None:
    """Changes values of a config, and checks it.

    Args:
      config: is changed.
      model: another one, see `make_config`.
      values: by 'section.key'.

    Raises:
      InputError: there is no such key, or a value is not allowed.
    """
    values = dict(values)
    if model is not None:
        values['model.name'] = model
    switch_model(config, str(values.get('model.name', config.model.name)))
    known = flatten(config)
    for key, value in values.items():
        if key not in known:
            raise InputError(describe_unknown_key(key, known))
        try:
            config.update_from_flattened_dict({key: value})
        except TypeError:
            option = (options_for(known) or {}).get(key)
            allowed = f': must be {option.rule.allowed}' if option else ' is of another type'
            raise InputError(f'{key}={shown_value(value)}{allowed}') from None
    check_config(config)


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Reads what follows the colon in `--config=experiments/NAME.py:ARG`.

    Args:
      arg: 'key=value,key=value'; a bare `key` means True.
      **defaults: the keys there are; a value has the type of its default.

    Returns:
      The values, by key.

    Raises:
      ValueError: an unknown key, or a value of another type.
    """
    values = dict(defaults)
    for item in filter(None, (arg or '').split(',')):
        key, _, text = item.partition('=')
        if key not in defaults:
            raise ValueError(f"':{arg}': there is no '{key}'; must be one of {', '.join(defaults)}")
        kind = type(defaults[key])
        try:
            values[key] = _parse_switch(text) if kind is bool else kind(text)
        except ValueError:
            problem = f"'{text}' for '{key}' is not of type {kind.__name__}"
            raise ValueError(f"':{arg}': {problem}") from None
    return ConfigDict(values)


def _parse_switch(text: str) -> bool:
    try:
        return {'': True, 'true': True, '1': True, 'false': False, '0': False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None
