"""What the config of an older run means: the keys that it lacks, the values that have a name today."""

from collections.abc import Mapping
from typing import Any

from e3d.configuration.sections import options_for

# Of every key that was a switch once: what its values are called today.
OLD_SWITCHES: dict[str, dict[bool, str]] = {
    'model.recall': {True: 'everywhere', False: 'none'},
}


def rename_switches(values: dict[str, Any]) -> None:
    """Calls the values of a stored config by their names of today, in its sections."""
    for key, names in OLD_SWITCHES.items():
        section, _, name = key.partition('.')
        part = values.get(section)
        if isinstance(part, dict) and isinstance(part.get(name), bool):
            part[name] = names[part[name]]


def missing_keys(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that a stored config lacks, with what was done before there were such keys.

    Args:
      flat: the values of the config by 'section.key'.

    Returns:
      What there is to add; nothing where the task, model or data set is unknown, which
      `check_config` reports.
    """
    known = options_for(flat) or {}
    return {k: option.older for k, option in known.items() if option.is_new and k not in flat}
