"""Fields of dataclasses that are keys of a config."""

import dataclasses
import re
from typing import Any, NamedTuple

from e3d.options.rules import ANYTHING, MOST, SWITCH, TEXT, Rule, number, optional, whole

ALWAYS_THERE = object()  # the meaning for older runs of a key that the first ones had
_METADATA = 'option'
_OF_FLAX = ('parent', 'name')  # what every flax module has


class Option(NamedTuple):
    """A key of a config, apart from its name.

    Attributes:
      default: its value where nothing else is said; None where it may have none.
      meaning: in a few words.
      rule: what is allowed.
      changeable: whether a run may go on with another value: it does not change what is learned.
      older: the value that means what was done before there was this key, for configs of older runs.
    """

    default: Any
    meaning: str
    rule: Rule
    changeable: bool = False
    older: Any = ALWAYS_THERE

    @property
    def is_new(self) -> bool:
        """Whether configs of older runs may lack it."""
        return self.older is not ALWAYS_THERE

    def describe(self) -> str:
        """Meaning and what is allowed, in a line."""
        return f'{self.meaning}; {self.rule.brief}' if self.meaning else self.rule.brief


def option(
    default: Any, meaning: str, rule: Rule, changeable: bool = False, older: Any = ALWAYS_THERE
) -> Any:
    """A field of a dataclass or a flax module that is a key of a config, see `Option`."""
    declared = Option(default, meaning, rule, changeable, older)
    return dataclasses.field(default=default, metadata={_METADATA: declared})


def same_option(section: type, name: str) -> Any:
    """The same field as another class has."""
    return option(*options_of(section)[name])


def options_of(section: type) -> dict[str, Option]:
    """The keys of a section, by name: the fields of a dataclass or a flax module.

    A field that is declared without `option` is what its base class says, with another default, or
    else what its type says.
    """
    declared = {}
    for base in reversed(section.__mro__):
        for field in vars(base).get('__dataclass_fields__', {}).values():
            if _METADATA in field.metadata:
                declared[field.name] = field.metadata[_METADATA]
    fields = {field.name: field for field in dataclasses.fields(section)}
    for name in _OF_FLAX if 'parent' in fields else ():
        del fields[name]
    return {
        name: declared.get(name, _by_type(field))._replace(default=field.default)
        for name, field in fields.items()
    }


def _by_type(field: dataclasses.Field[Any]) -> Option:
    """A key of which nothing but its default and its type is known."""
    by_type = {bool: SWITCH, int: whole(0), float: number(-MOST), str: TEXT}
    rule = by_type.get(type(field.default), ANYTHING)
    if field.default is None:
        # With `from __future__ import annotations` a type is a text, as 'int | None'.
        words = re.findall(r'\w+', str(field.type))
        kind = next((kind for kind in (int, float, str) if kind.__name__ in words), None)
        rule = optional(by_type[kind]) if kind else ANYTHING
    return Option(field.default, '', rule)
