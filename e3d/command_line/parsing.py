"""Flags read, the config they name, and the values they change in it."""

import re
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from e3d.command_line.definitions import define_flags
from e3d.configuration import (
    OLD_SWITCHES,
    all_options,
    describe_unknown_key,
    load_config,
    options_for,
    switch_model,
)
from e3d.errors import InputError
from e3d.options.flat import flatten
from e3d.runs.trained_run import stored_config

MOST_SHOWN = 200  # characters of an argument in a message


def parse(arguments: list[str]) -> tuple[flags.FlagValues, ConfigDict | None]:
    """Reads the command line.

    Returns:
      The flags, and the config with its overrides: that of --config, or without it the one that is
      stored in --workdir, as far as it is asked for; or None.

    Raises:
      InputError: an unknown flag or key, a value of a wrong type, a config that cannot be loaded.
    """
    values, config = define_flags(), None
    try:
        rest = values(arguments, known_only=True)
        config = find_config(values, rest)
        if config is None:
            _check_no_more(rest, values)
            return values, None
        choose_model(config, rest)
        rest = set_nones(config, keep_last_values(config, rest))
        check_overrides(config, rest)
        overrides = flags.FlagValues()
        config_flags.DEFINE_config_dict('config', config, flag_values=overrides, sys_argv=rest)
        overrides.set_gnu_getopt(True)
        _check_no_more(overrides(rest, known_only=True), values)
    except flags.Error as error:
        raise InputError(_explain(str(error), config)) from error
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


def choose_model(config: ConfigDict, arguments: list[str]) -> None:
    """Gives the config the section of the model that the arguments name, as models differ in keys."""
    for argument, following in zip(arguments, [*arguments[1:], ''], strict=True):
        match = re.fullmatch(r'--?config\.model\.name(=.*)?', argument)
        if match:
            switch_model(config, match[1][1:] if match[1] else following)


def keep_last_values(config: ConfigDict, arguments: list[str]) -> list[str]:
    """Keeps only the last of two values for one key; a tuple would get the elements of both."""
    known = flatten(config)
    kept: dict[int | str, str] = {}
    rest = iter(arguments)
    for position, argument in enumerate(rest):
        match = re.fullmatch(r'--?(no)?config\.([\w.]+)(=.*)?', argument, re.DOTALL)
        key = match[2] if match else None
        value_follows = match and not (match[1] or match[3])
        if value_follows and key in known and not isinstance(known[key], bool):
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


def set_nones(config: ConfigDict, arguments: list[str]) -> list[str]:
    """Does what `--config.section.key=None` says, which parsers of numbers reject; gives the rest."""
    rest = []
    for argument in arguments:
        match = re.fullmatch(r'--?config\.([\w.]+)=None', argument)
        if match:
            check_overrides(config, [argument])
            config.update_from_flattened_dict({match[1]: None})
        else:
            rest.append(argument)
    return rest


def changed_keys(arguments: Sequence[str]) -> list[str]:
    """The keys of a config, 'section.key', that arguments like `--config.section.key=VALUE` name."""
    found = (re.match(r'--?(?:no)?config\.([^=]*)', argument) for argument in arguments)
    return [match[1] for match in found if match]


def check_overrides(config: ConfigDict, arguments: list[str]) -> None:
    """Raises InputError where `--config.section.key` names a key that the config does not have."""
    known = flatten(config)
    for key in changed_keys(arguments):
        if key not in known:
            raise InputError(describe_unknown_key(key, known))


def _check_no_more(rest: list[str], values: flags.FlagValues) -> None:
    if len(rest) > 1:
        names = ', '.join(f'--{name}' for name in values if len(name) > 1)
        raise InputError(
            f"unrecognized argument '{rest[1]}'; valid flags are {names} and, after --config=FILE, "
            '--config.section.key=VALUE'
        )


def _explain(message: str, config: ConfigDict | None) -> str:
    """Says what is allowed for a key, where absl only says that it cannot read a value."""
    match = re.match(r'flag --config\.([\w.]+)=(.*?): ', message, re.DOTALL)
    # What is allowed may differ between models.
    options = (config and options_for(flatten(config))) or all_options()
    known = options.get(match[1]) if match else None
    if match is None or known is None:
        return message
    return f"{match[1]}='{match[2][:MOST_SHOWN]}': must be {known.rule.allowed}"
