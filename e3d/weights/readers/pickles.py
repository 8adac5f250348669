"""Pickles read as data: what they hold, without running anything of what they ask for.

A pickle is a program for a small machine, which may import and call whatever it names. Here
`pickletools` of the standard library only splits it into its instructions, and those that build
numbers, texts, lists, tuples and dictionaries are followed. A name becomes a `Global`, which is never
imported; a call becomes what `rebuild` makes of it, or else an `Inert` that only knows its name.
"""

import pickletools
from collections.abc import Callable
from typing import IO, Any, NamedTuple


class Global(NamedTuple):
    """A name that a pickle refers to: a class or function that is not looked for."""

    module: str
    name: str


class Inert(NamedTuple):
    """In place of an object that is not made."""

    of: str


Rebuild = Callable[[Global, tuple], Any]  # what becomes of a call, with its arguments
Persistent = Callable[[Any], Any]  # what becomes of a persistent id

_KEYS = (str, int, float, bytes, type(None))  # of dictionaries; no key can be nested deeply
_VALUES = {
    *('BININT', 'BININT1', 'BININT2', 'INT', 'LONG', 'LONG1', 'LONG4', 'BINFLOAT', 'FLOAT'),
    *('BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'UNICODE', 'BINSTRING', 'STRING'),
    *('SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
}
_CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': ()}
_IGNORED = {'PROTO', 'FRAME'}


def read_pickle(stream: IO[bytes], rebuild: Rebuild, persistent: Persistent) -> Any:
    """Reads one pickle; the stream is left behind its end.

    Args:
      stream: in memory, so that no length in it makes room for more bytes than there are.
      rebuild: is given every call.
      persistent: is given every persistent id.

    Raises:
      ValueError: it is damaged, or has instructions that these files do not have.
    """
    machine = _Machine(rebuild, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == 'STOP':
                return machine.stack.pop()
            machine.follow(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f'its pickle is damaged ({error})') from error
    raise ValueError('its pickle has no end')


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, rebuild: Rebuild, persistent: Persistent):
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks beneath the marks
        self._memo: dict[int, Any] = {}
        self._rebuild, self._persistent = rebuild, persistent

    def follow(self, name: str, argument: Any) -> None:
        """Carries out one instruction."""
        push, pop = self.stack.append, self.stack.pop
        if name in _VALUES:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in ('EMPTY_LIST', 'EMPTY_SET'):
            push([])
        elif name == 'EMPTY_DICT':
            push({})
        elif name == 'MARK':
            self._below.append(self.stack)
            self.stack = []
        elif name in ('TUPLE', 'LIST', 'FROZENSET', 'DICT'):
            items = self._since_mark()
            made = {} if name == 'DICT' else tuple(items) if name == 'TUPLE' else items
            self.stack.append(made)
            if name == 'DICT':
                self._set_items(items)
        elif name in ('TUPLE1', 'TUPLE2', 'TUPLE3'):
            count = int(name[-1])
            items = tuple(self.stack[-count:])
            if len(items) < count:
                raise IndexError('too few values')
            self.stack[-count:] = [items]
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            self._memo[len(self._memo) if argument is None else argument] = self.stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            push(self._memo[argument])
        elif name in ('POP', 'POP_MARK', 'DUP'):
            self._drop_or_repeat(name)
        elif name in ('SETITEM', 'SETITEMS', 'APPEND', 'APPENDS', 'ADDITEMS'):
            self._fill(name)
        elif name in ('GLOBAL', 'STACK_GLOBAL'):
            module, called = argument.split(' ', 1) if argument else [pop(), pop()][::-1]
            # Not what else could be made a text: a tuple of itself twice, and so on, makes 2^N of it.
            if not (isinstance(module, str) and isinstance(called, str)):
                raise ValueError('a name that is no text')
            push(Global(module, called))
        elif name in ('REDUCE', 'NEWOBJ', 'NEWOBJ_EX'):
            if name == 'NEWOBJ_EX':
                pop()  # arguments by name
            arguments, called = pop(), pop()
            push(self._call(called, arguments))
        elif name == 'BUILD':  # attributes of an object, which none of those made has
            pop()
        elif name == 'BINPERSID':
            push(self._persistent(pop()))
        elif name not in _IGNORED:
            raise ValueError(f'its pickle has the instruction {name}, which such files do not have')

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _drop_or_repeat(self, name: str) -> None:
        if name == 'POP_MARK':
            self._since_mark()
        elif name == 'DUP':
            self.stack.append(self.stack[-1])
        elif self.stack:
            self.stack.pop()
        else:  # the value that it takes away is a mark
            self._since_mark()

    def _fill(self, name: str) -> None:
        if name.endswith('S'):
            items = self._since_mark()
        else:
            count = 2 if name == 'SETITEM' else 1
            items = self.stack[-count:]
            del self.stack[-count:]
        if name.startswith('SET'):
            self._set_items(items)
        elif isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        filled = self.stack[-1]
        if isinstance(filled, dict):  # and not Inert
            pairs = zip(items[::2], items[1::2], strict=True)
            filled.update((key, value) for key, value in pairs if isinstance(key, _KEYS))

    def _call(self, called: Any, arguments: Any) -> Any:
        if not isinstance(called, Global) or not isinstance(arguments, tuple):
            return Inert('an unknown object')
        return self._rebuild(called, arguments)
