"""The entries of a sweep: values that are put into the config, and the name of their folder."""

import collections
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from e3d.command_line.parsing import parse
from e3d.configuration import call_experiment, check_config
from e3d.errors import InputError

# The value of --sweep that asks for the entries of the experiment's file.
FROM_FILE = 'get_sweep'
MAX_NAME = 150  # of a folder, in bytes; file systems allow 255
MAX_ENTRIES = 10_000
# What a sweep writes beside the folders of its entries.
TABLE_FILE = 'sweep.csv'
PICTURE_FILE = 'sweep.png'


class Entry(NamedTuple):
    """One run of a sweep.

    Attributes:
      name: of its folder, from the values; or what the entry has for the key 'name'.
      arguments: of the command line, that put its values into the config.
      config: with these values.
    """

    name: str
    arguments: tuple[str, ...]
    config: ConfigDict


def make_entries(sweep: str, config_flag: str, arguments: list[str]) -> list[Entry]:
    """Reads a sweep and checks the config of every entry.

    Args:
      sweep: a grid, see `parse_grid`, or 'get_sweep' for what the function of that name in the
        experiment's file returns: a list of {'section.key': value}.
      config_flag: value of --config.
      arguments: the command line, the program's name first.

    Raises:
      InputError: naming the entry whose values cannot be used, or two with one name.
    """
    if sweep == FROM_FILE:
        given = _check_points(call_experiment(config_flag, FROM_FILE))
        points = [{key: str(value) for key, value in point.items()} for point in given]
    else:
        points = parse_grid(sweep)
    keys = {key: None for point in points for key in point if key != 'name'}
    entries = [_make_entry(point, _short_names(keys), arguments) for point in points]
    repeated = [n for n, count in collections.Counter(e.name for e in entries).items() if count > 1]
    if repeated:
        raise InputError(
            f"--sweep='{sweep}': more than one entry would have the folder '{repeated[0]}'. Let "
            "their values differ, or give the entries of get_sweep() a 'name'."
        )
    return entries


def parse_grid(text: str) -> list[dict[str, str]]:
    """Reads 'section.key=value,value;section.key=value' as all combinations of the values.

    Commas and semicolons within brackets belong to the value.

    Returns:
      {'section.key': value} for every combination; the last key changes fastest.

    Raises:
      InputError: it cannot be read so.
    """
    axes = {}
    for part in filter(None, map(str.strip, _split(text, ';'))):
        key, equals, values = part.partition('=')
        if not equals or key in axes:
            problem = 'has no values' if not equals else 'is given twice'
            raise InputError(
                f"--sweep='{text}': '{key}' {problem}; must be section.key=VALUE,VALUE for "
                f"each key, with semicolons between them, or '{FROM_FILE}' for the entries of the "
                "experiment's file."
            )
        axes[key.strip()] = [value.strip() for value in _split(values, ',')]
    if (count := math.prod(map(len, axes.values()))) > MAX_ENTRIES:
        raise InputError(
            f'--sweep has {count:,} combinations of values: must be at most {MAX_ENTRIES:,}.'
        )
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _split(text: str, separator: str) -> list[str]:
    """Parts between separators that no bracket encloses."""
    parts, depth = [''], 0
    for character in text:
        depth += (character in '([{') - (character in ')]}')
        if character == separator and not depth:
            parts.append('')
        else:
            parts[-1] += character
    return parts


def _make_entry(
    point: Mapping[str, str], short_names: Mapping[str, str], arguments: list[str]
) -> Entry:
    if 'name' in point:
        label = point['name']
    else:
        label = ','.join(f'{short_names[key]}={value}' for key, value in point.items())
    name = re.sub(r'[()\[\]{}]', '', label.replace(', ', ','))
    name = re.sub(r'[^\w.,=+-]+', '_', name).strip('_.,')
    if not name or len(name.encode()) > MAX_NAME or name in (TABLE_FILE, PICTURE_FILE):
        raise InputError(
            f"The sweep's entry {dict(point)} would have the folder '{name}': must be 1 to "
            f"{MAX_NAME} bytes, and not '{TABLE_FILE}' or '{PICTURE_FILE}'. Give it another 'name' "
            'in get_sweep().'
        )
    own = tuple(f'--config.{key}={value}' for key, value in point.items())
    try:
        config = parse([*arguments, *own])[1]
        check_config(config)
    except InputError as error:
        raise InputError(f"The sweep's entry '{name}': {error}") from error
    return Entry(name, own, config)


def _short_names(keys: Iterable[str]) -> dict[str, str]:
    """Each key without its section, where no other key is called the same."""
    last = {key: key.rpartition('.')[2] for key in keys}
    times = collections.Counter(last.values())
    return {key: name if times[name] == 1 else key for key, name in last.items()}


def _check_points(points: Any) -> list[Mapping[str, Any]]:
    """Raises InputError where `get_sweep()` has returned anything but a list of mappings."""
    points = list(points) if isinstance(points, Iterable) else []
    good = points and all(
        isinstance(point, Mapping) and point and all(isinstance(key, str) for key in point)
        for point in points
    )
    if not good:
        raise InputError(
            "get_sweep() must return a list of {'section.key': value}, one for each entry, as "
            "[{'model.layers': 2}, {'model.layers': 4, 'name': 'deep'}]"
        )
    return points
