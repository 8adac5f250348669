"""The command line: flags, the config they name, and the values they change in it."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from e3d.configuration import (
    OLD_SWITCHES,
    all_options,
    describe_unknown_key,
    list_experiments,
    load_config,
    options_for,
    switch_model,
)
from e3d.errors import InputError
from e3d.options.flat import flatten
from e3d.options.rules import shown_value
from e3d.progress import VERBOSITY
from e3d.runs.published import PUBLISHED
from e3d.runs.trained_run import stored_config

MOST_SHOWN = 200  # characters of an argument in a message
LINE_WIDTH, NAME_WIDTH = 100, 34  # of what --help prints


def parse(arguments: list[str]) -> tuple[flags.FlagValues, ConfigDict | None]:
    """Reads the command line.

    Returns:
      The flags, and the config with its overrides: that of --config, or without it the one that is
      stored in --workdir, as far as it is asked for; or None.

    Raises:
      InputError: an unknown flag or key, a value of a wrong type, a config that cannot be loaded.
    """
    values = define_flags()
    try:
        rest = values(arguments, known_only=True)
        config = find_config(values, rest)
        if config is None:
            _check_no_more(rest, values)
            return values, None
        config = choose_model(config, rest)
        config, rest = set_nones(config, keep_last_values(config, rest))
        check_overrides(config, rest)
        overrides = flags.FlagValues()
        config_flags.DEFINE_config_dict('config', config, flag_values=overrides, sys_argv=rest)
        overrides.set_gnu_getopt(True)
        _check_no_more(overrides(rest, known_only=True), values)
    except flags.Error as error:
        raise InputError(_explain(str(error))) from error
    return values, overrides.config


def parse_comparison(arguments: list[str]) -> tuple[list[str], str]:
    """Reads what follows `compare`: folders of runs, and --output.

    Raises:
      InputError: an unknown flag.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    output = 'the page to write'
    flags.DEFINE_string('output', 'compare.html', output, flag_values=values)
    try:
        folders = values(['compare', *arguments])[1:]
    except flags.Error as error:
        raise InputError(f'{error}: compare takes folders of runs and --output=FILE.') from error
    return folders, values.output


def find_config(values: flags.FlagValues, rest: list[str]) -> ConfigDict | None:
    """The config of --config, or of the run in --workdir that goes on or has values changed.

    Args:
      values: the flags.
      rest: arguments that are none of them, `--config.section.key` among them.

    Raises:
      InputError: values of a config are given, but there is none.
    """
    if values.config is not None:
        return load_config(values.config)
    changed = next((a for a in rest if re.match(r'--?(?:no)?config\.', a)), None)
    stored = None
    if values.workdir is not None and (changed or values.mode in ('train', 'prepare')):
        stored = stored_config(values.workdir)
    if changed and stored is None:
        where = 'without --config=FILE or --workdir=FOLDER of a run'
        if values.workdir is not None:
            where = f"as there is no run in --workdir='{values.workdir}'; give --config=FILE"
        raise InputError(f"'{changed[:MOST_SHOWN]}' cannot be used {where}.")
    return stored


def define_flags() -> flags.FlagValues:
    """The flags there are beside `--config.section.key`."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    define: dict[str, Any] = {'flag_values': values}
    modes = ['train', 'evaluate', 'predict', 'inspect', 'recognize', 'prepare']
    flags.DEFINE_string(
        'config',
        None,
        'experiment, FILE.py or FILE.py:ARG; --config.section.key=VALUE changes a value of it',
        **define,
    )
    flags.DEFINE_string('workdir', None, 'folder of the run; runs/NAME if not given', **define)
    flags.DEFINE_enum('mode', 'train', modes, 'what to do; train if not given', **define)
    flags.DEFINE_string(
        'checkpoint',
        None,
        'all but train: newest (if not given), best, or a step',
        **define,
    )
    flags.DEFINE_string(
        'input', None, 'predict, inspect, recognize: the clip to continue or to recognize', **define
    )
    flags.DEFINE_string(
        'output',
        None,
        'predict: where the continuation goes; recognize: where a picture goes, if one is wanted',
        **define,
    )
    flags.DEFINE_enum(
        'weights',
        None,
        PUBLISHED,
        'recognize: published weights, in place of a run in --workdir',
        **define,
    )
    flags.DEFINE_integer(
        'horizon',
        None,
        'predict, inspect: number of frames; as in training if not given',
        lower_bound=1,
        **define,
    )
    flags.DEFINE_string(
        'pixels',
        None,
        "inspect: whose queries are looked at, 'ROW,COLUMN;ROW,COLUMN'; the brightest if not given",
        **define,
    )
    flags.DEFINE_string(
        'steps',
        None,
        'inspect: whose queries are drawn, times of frames from 1, as 5,9; that of the last observed '
        'frame and the last if not given',
        **define,
    )
    flags.DEFINE_integer(
        'members',
        None,
        'predict: number of futures of a run with model.noise_channels',
        lower_bound=1,
        upper_bound=10_000,
        **define,
    )
    flags.DEFINE_boolean(
        'overwrite', False, 'predict, recognize: replace an output that exists', **define
    )
    flags.DEFINE_boolean(
        'with_input',
        False,
        'predict: the frames that the model saw first, with a blue border; the forecast has an '
        'orange one',
        **define,
    )
    flags.DEFINE_integer(
        'scale',
        1,
        'predict: enlarge the pictures, each pixel becomes N x N',
        lower_bound=1,
        upper_bound=64,
        **define,
    )
    flags.DEFINE_enum(
        'size',
        'model',
        ['model', 'input'],
        'predict: size of the pictures, that of the model or that of the input',
        **define,
    )
    flags.DEFINE_string(
        'sweep',
        None,
        "train: every combination of 'key=VALUE,VALUE;key=VALUE,VALUE', or with get_sweep the "
        "entries of the experiment's file, each in a folder of --workdir",
        **define,
    )
    flags.DEFINE_integer(
        'sweep_index',
        None,
        'train only this entry of --sweep, from 0',
        lower_bound=0,
        **define,
    )
    flags.DEFINE_string(
        'coordinator',
        None,
        'several processes train together: HOST:PORT of the first, or auto, where JAX finds it',
        **define,
    )
    flags.DEFINE_integer(
        'num_processes', None, 'how many processes there are', lower_bound=1, **define
    )
    flags.DEFINE_integer(
        'process_id', None, 'the number of this process, from 0', lower_bound=0, **define
    )
    flags.DEFINE_integer(
        'patience',
        None,
        'several processes: seconds without a sign of life after which one has ended; 60 if not '
        'given',
        lower_bound=5,
        **define,
    )
    flags.DEFINE_enum(
        'verbosity',
        'normal',
        VERBOSITY,
        'quiet: nothing of where work stands; detailed: a line every train.log_every updates, and what '
        'libraries log; normal if not given: a bar in a terminal, elsewhere a line every 30 seconds',
        **define,
    )
    flags.DEFINE_boolean('debug', False, 'show tracebacks', **define)
    flags.DEFINE_boolean('help', False, 'show this', short_name='h', **define)
    return values


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


def choose_model(config: ConfigDict, arguments: list[str]) -> ConfigDict:
    """Gives the config the section of the model that the arguments name, as models differ in keys."""
    for argument, following in zip(arguments, [*arguments[1:], ''], strict=True):
        match = re.fullmatch(r'--?config\.model\.name(=.*)?', argument)
        if match:
            switch_model(config, match[1][1:] if match[1] else following)
    return config


def keep_last_values(config: ConfigDict, arguments: list[str]) -> list[str]:
    """Keeps only the last of two values for one key; a tuple would get the elements of both."""
    known = flatten(config)
    kept: dict[int | str, str] = {}
    rest = iter(arguments)
    for position, argument in enumerate(rest):
        match = re.fullmatch(r'--?(no)?config\.([\w.]+)(=.*)?', argument, re.DOTALL)
        key = match[2] if match else None
        if (
            match
            and key in known
            and not match[1]
            and not match[3]
            and not isinstance(known[key], bool)
        ):
            argument = f'{argument}={next(rest, "")}'
        place = position if key is None else key
        kept.pop(place, None)
        kept[place] = _rename_switch(argument)
    return list(kept.values())


def _rename_switch(argument: str) -> str:
    """Writes True and False of a key that was a switch once as they are called today."""
    match = re.fullmatch(r'--?(no)?config\.([\w.]+)(?:=(true|false))?', argument, re.IGNORECASE)
    if match and match[2] in OLD_SWITCHES and (match[1] or match[3]):
        value = not match[1] and match[3].lower() == 'true'
        return f'--config.{match[2]}={OLD_SWITCHES[match[2]][value]}'
    return argument


def set_nones(config: ConfigDict, arguments: list[str]) -> tuple[ConfigDict, list[str]]:
    """Takes out `--config.section.key=None`, which the parsers of numbers would reject."""
    rest = []
    for argument in arguments:
        match = re.fullmatch(r'--?config\.([\w.]+)=None', argument)
        if match:
            check_overrides(config, [argument])
            config.update_from_flattened_dict({match[1]: None})
        else:
            rest.append(argument)
    return config, rest


def check_overrides(config: ConfigDict, arguments: list[str]) -> None:
    """Raises InputError where `--config.section.key` names a key that the config does not have."""
    known = flatten(config)
    for argument in arguments:
        match = re.match(r'--?(?:no)?config\.([^=]*)', argument)
        if match and match[1] not in known:
            raise InputError(describe_unknown_key(match[1], known))


def _check_no_more(rest: list[str], values: flags.FlagValues) -> None:
    if len(rest) > 1:
        names = ', '.join(f'--{name}' for name in values if len(name) > 1)
        raise InputError(
            f"unrecognized argument '{rest[1]}'; valid flags are {names} and, after --config=FILE, "
            '--config.section.key=VALUE'
        )


def _explain(message: str) -> str:
    """Says what is allowed for a key, where absl only says that it cannot read a value."""
    match = re.match(r'flag --config\.([\w.]+)=(.*?): ', message, re.DOTALL)
    known = all_options().get(match[1]) if match else None
    if match is None or known is None:
        return message
    return f"{match[1]}='{match[2][:MOST_SHOWN]}': must be {known.rule.allowed}"
