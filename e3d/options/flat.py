"""Configs as flat keys, 'section.key', and in what two of them differ."""

from collections.abc import Collection, Mapping
from typing import Any


def flatten(config: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """{'section.key': value} of all values of a config."""
    flat: dict[str, Any] = {}
    for key in config:
        value = config[key]
        if hasattr(value, 'items'):  # a dict or a ConfigDict
            flat |= flatten(value, f'{prefix}{key}.')
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def list_differences(
    stored: Mapping[str, Any],
    config: Mapping[str, Any],
    free: Collection[str] = (),
    owners: tuple[str, str] = ('stored', 'given'),
) -> list[str]:
    """The keys in which two configs differ, a line each, but for those in `free`.

    The lines call the configs as `owners` does.
    """
    left, right = (
        {key: repr(as_tuple(value)) for key, value in flatten(c).items()} for c in (stored, config)
    )
    return [
        f'{key}: {owners[0]} {left.get(key, "nothing")}, {owners[1]} {right.get(key, "nothing")}'
        for key in left | right
        if key not in free and left.get(key) != right.get(key)
    ]


def as_tuple(value: Any) -> Any:
    """A list, as JSON has it, as the tuple that it was."""
    return tuple(value) if isinstance(value, list) else value
