"""Tables of what a config names: models, data sets, tasks and metrics, each of which enters itself."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TypeVar

from e3d.errors import InputError

Entry = TypeVar('Entry', bound=Callable[..., Any])  # a class or a function


def enter(
    table: MutableMapping[str, Entry],
    name: str,
    kind: str,
    others: Mapping[str, Entry] | None = None,
) -> Callable[[Entry], Entry]:
    """A decorator that enters a class or a function into a table.

    Args:
      table: gets the entry.
      name: of the entry, as a config has it.
      kind: of the entry, for the message.
      others: where the name must be free as well.

    Raises:
      InputError: another one has the name. The same one that is imported again takes its place.
    """

    def decorate(entry: Entry) -> Entry:
        known = {**(others or {}), **table}.get(name)
        if known is not None and known.__qualname__ != entry.__qualname__:
            raise InputError(f'{kind} {name!r}: there is one of that name, {known.__qualname__}')
        table[name] = entry
        return entry

    return decorate
