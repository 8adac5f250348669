"""What `--help` lists: experiments, flags and the keys of configs, in two columns."""

import textwrap
from collections.abc import Mapping

from absl import flags
from ml_collections import ConfigDict

from e3d.configuration import all_options, list_experiments, options_for
from e3d.options.flat import flatten
from e3d.options.rules import shown_value

LINE_WIDTH, NAME_WIDTH = 100, 34


def describe_experiments() -> str:
    """Each experiment: its file and what its docstring begins with."""
    return _as_columns(list_experiments())


def describe_flags(values: flags.FlagValues) -> str:
    """Each flag with what it is for."""
    return _as_columns({f'--{name}': values[name].help for name in values if len(name) > 1})


def describe_keys(config: ConfigDict | None) -> str:
    """The keys of configs.

    Args:
      config: whose keys are listed, each with its value, its meaning and what is allowed; None lists
        the names of all keys, by section.
    """
    if config is not None:
        options = options_for(values := flatten(config)) or all_options()
        return _as_columns(
            {
                f'--config.{key}={shown_value(value)}': options[key].describe()
                if key in options
                else 'no such key'
                for key, value in values.items()
            }
        )
    sections: dict[str, list[str]] = {}
    for key in all_options():
        section, _, name = key.rpartition('.')
        sections.setdefault(f'--config.{section}'.rstrip('.'), []).append(name)
    lines = {section: ', '.join(names) for section, names in sections.items()}
    hint = 'with --config=FILE --help, each with its value, its meaning and what is allowed'
    return f'{_as_columns(lines)}\n  {hint}'


def _as_columns(texts: Mapping[str, str]) -> str:
    """Names on the left, their texts beside or, after a long name, below it."""
    lines = []
    for name, text in texts.items():
        indent = ' ' * (4 + NAME_WIDTH)
        wrapped = textwrap.wrap(text, LINE_WIDTH - len(indent)) or ['']
        if len(name) <= NAME_WIDTH:
            lines.append(f'  {name:<{NAME_WIDTH}}  {wrapped[0]}'.rstrip())
            wrapped = wrapped[1:]
        else:
            lines.append(f'  {name}')
        lines += [f'{indent}{line}' for line in wrapped if line]
    return '\n'.join(lines)
