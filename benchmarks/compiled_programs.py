"""What an optimized XLA program consists of: kernels, loops, copies and bytes, read from its text.

The text of a compiled program (`compiled.as_text()`) has a block for each computation and a line for
each instruction. A device runs one kernel for each instruction that is no mere bookkeeping; what
stands in the body of a loop runs as often as the loop turns.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

# Instructions that name, group or wait for values: nothing runs.
_BOOKKEEPING = {
    'add-dependency',
    'after-all',
    'bitcast',
    'constant',
    'get-tuple-element',
    'opt-barrier',
    'parameter',
    'partition-id',
    'tuple',
}
_PRODUCTS = ('convolution', 'dot')
_LIBRARIES = ('cudnn', 'cublas')
_PARTS = ('dynamic-slice', 'slice', 'gather')
_COPIES = ('copy', 'transpose', 'concatenate', 'reverse')
_LARGE = 10**6
_BYTES = {'pred': 1, 'bf16': 2, 'f16': 2}

_HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) .*\{$')
_LINE = re.compile(r'^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<rest>.*)$')
_CALLED = re.compile(r'\b(?:calls|to_apply|body|condition)=%?([\w.\-]+)')
_BRANCHES = re.compile(r'\bbranch_computations=\{([^}]*)\}')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_SHAPE = re.compile(r'\b([a-z]+\d*)(?:e\d\w*)?\[([\d,]*)\]')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a program.

    Attributes:
      name: unique in the program.
      shape: of the result, as the text has it.
      opcode: what is done.
      arguments: what stands in its brackets.
      rest: the line after them.
    """

    name: str
    shape: str
    opcode: str
    arguments: str
    rest: str

    @property
    def operands(self) -> list[str]:
        """Names of the instructions whose results are the arguments."""
        return re.findall(r'%([\w.\-]+)', self.arguments)

    @property
    def called(self) -> list[str]:
        """Names of the computations that it runs."""
        branches = _BRANCHES.findall(self.rest)
        names = [name.strip().lstrip('%') for part in branches for name in part.split(',')]
        return _CALLED.findall(self.rest) + names


Computations = dict[str, list[Instruction]]


def read_program(text: str) -> tuple[Computations, str]:
    """The instructions of each computation, and the name of the one that is run."""
    computations: Computations = {}
    entry, current = '', None
    for line in text.splitlines():
        head = None if line.startswith(' ') else _HEAD.match(line)
        if head:
            current = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif current is not None and (found := _LINE.match(line)):
            current.append(_read_instruction(found['name'], found['rest']))
    return computations, entry


def _read_instruction(name: str, rest: str) -> Instruction:
    shape, rest = _split_balanced(rest)
    opcode, _, rest = rest.strip().partition('(')
    arguments, rest = _split_balanced('(' + rest)
    return Instruction(name, shape, opcode, arguments[1:-1], rest)


def _split_balanced(text: str) -> tuple[str, str]:
    """A shape or a list in brackets at the beginning of the text, and what follows it."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in '([{') - (character in ')]}')
        if depth == 0 and (character == ')' or character == ' '):
            end = place + (character == ')')
            return text[:end], text[end:]
    return text, ''


def shape_bytes(shape: str) -> int:
    """Bytes of an array or of all arrays of a tuple, from the text of its shape."""
    total = 0
    for kind, sides in _SHAPE.findall(shape):
        bits = re.search(r'\d+$', kind)
        size = _BYTES.get(kind) or (int(bits[0]) // 8 if bits else 0)
        total += size * math.prod(int(side) for side in sides.split(',') if side)
    return total


@dataclasses.dataclass
class Profile:
    """What one run of a program does.

    Attributes:
      kernels: how many instructions a device runs.
      data_bounded_loops: runs of loops whose condition depends on data: a GPU's host reads it back.
      conditions_read: how often that is.
      products: convolutions and matrix products, by what carries them out.
      large_copies: copies, transposes and concatenations of more than 1 MB.
      large_copy_bytes: what they write.
      moved_bytes: read and written by all kernels; caches are not considered.
    """

    kernels: float = 0
    data_bounded_loops: float = 0
    conditions_read: float = 0
    products: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    large_copies: float = 0
    large_copy_bytes: float = 0
    moved_bytes: float = 0


def profile(text: str, turns: float) -> Profile:
    """Counts what a program does.

    Args:
      text: of the optimized program.
      turns: how often a loop turns whose bounds depend on data, on average.
    """
    computations, entry = read_program(text)
    found = Profile()
    for times, instruction, where in _executed(computations, entry, turns, 1):
        if instruction.opcode == 'while':
            found.data_bounded_loops += times
            found.conditions_read += times * (turns + 1)
            continue
        found.kernels += times
        written, read = _written(instruction, computations), _read(instruction, where, computations)
        found.moved_bytes += times * (written + read)
        for product in _products(instruction, computations):
            found.products[product] += times
        if _is_copy(instruction, computations) and written > _LARGE:
            found.large_copies += times
            found.large_copy_bytes += times * written
    return found


def _executed(
    computations: Computations, name: str, turns: float, times: float
) -> Iterator[tuple[float, Instruction, dict[str, Instruction]]]:
    """Each instruction that runs, how often, and those of its computation by their names.

    Of the loops only those are given whose number of turns is not known.
    """
    where = {instruction.name: instruction for instruction in computations[name]}
    for instruction in computations[name]:
        opcode = instruction.opcode
        if opcode in _BOOKKEEPING or opcode.endswith(('-done', '-update')):
            continue
        if opcode == 'while':
            known = _TRIPS.search(instruction.rest)
            condition = re.search(r'condition=%?([\w.\-]+)', instruction.rest)[1]
            body = re.search(r'body=%?([\w.\-]+)', instruction.rest)[1]
            inner = times * (int(known[1]) if known else turns)
            yield from _executed(computations, body, turns, inner)
            if not known:
                yield times, instruction, where
                yield from _executed(computations, condition, turns, inner + times)
        elif opcode in ('call', 'conditional'):
            for called in instruction.called:
                yield from _executed(computations, called, turns, times / len(instruction.called))
        else:
            yield times, instruction, where


def _inside(instruction: Instruction, computations: Computations) -> Iterator[Instruction]:
    """The instruction, or those of the computations that are fused into it."""
    yield instruction
    if not instruction.opcode.startswith(('fusion', 'async')):
        return
    for called in instruction.called:
        for inner in computations.get(called, ()):
            yield from _inside(inner, computations)


def _products(instruction: Instruction, computations: Computations) -> Iterator[str]:
    target = re.search(r'custom_call_target="([^"]*)"', instruction.rest)
    if target:
        yield next((name for name in _LIBRARIES if name in target[1].lower()), target[1])
        return
    for inner in _inside(instruction, computations):
        if inner.opcode in _PRODUCTS:
            yield inner.opcode


def _is_copy(instruction: Instruction, computations: Computations) -> bool:
    if not instruction.opcode.startswith('fusion'):
        return instruction.opcode.removesuffix('-start') in _COPIES
    body = computations.get(instruction.called[0], ())
    # Neither arithmetic nor a part of a larger array: values only change places.
    return all(
        inner.opcode in (*_COPIES, 'bitcast', 'parameter', 'constant', 'pad', 'tuple')
        for inner in body
    )


def _written(instruction: Instruction, computations: Computations) -> int:
    """Bytes of the result; of an array that is updated in place, those of its new part."""
    if instruction.opcode == 'dynamic-update-slice':
        return 0  # counted as the operand that is read
    if not instruction.opcode.startswith('fusion'):
        return shape_bytes(instruction.shape)
    body = computations.get(instruction.called[0], [])
    by_name = {inner.name: inner for inner in body}

    def written(inner: Instruction) -> int:
        while inner.opcode in ('bitcast', 'copy') and inner.operands[0] in by_name:
            inner = by_name[inner.operands[0]]
        if inner.opcode == 'tuple':
            return sum(written(by_name[name]) for name in inner.operands)
        if inner.opcode == 'dynamic-update-slice':
            return shape_bytes(by_name[inner.operands[1]].shape)
        return shape_bytes(inner.shape)

    return written(body[-1]) if body else shape_bytes(instruction.shape)


def _read(
    instruction: Instruction, where: dict[str, Instruction], computations: Computations
) -> int:
    """Bytes of the operands; of those only sliced or updated in place, the bytes of the parts."""
    sizes = [shape_bytes(where[name].shape) for name in instruction.operands if name in where]
    if instruction.opcode in _PARTS:
        return shape_bytes(instruction.shape)
    if not instruction.opcode.startswith('fusion'):
        return sum(sizes)
    body = computations.get(instruction.called[0], [])
    for parameter in (inner for inner in body if inner.opcode == 'parameter'):
        number = int(parameter.arguments)
        if number < len(sizes):
            sizes[number] = min(sizes[number], _used(parameter, body))
    return sum(sizes)


def _used(value: Instruction, body: list[Instruction]) -> int:
    """Bytes of a value that the other instructions of a fusion look at."""
    total = 0
    for user in body:
        if value.name not in user.operands:
            continue
        of_parts = user.operands[0] == value.name
        if user.opcode == 'bitcast':
            total += _used(user, body)
        elif user.opcode in _PARTS and of_parts:
            total += min(shape_bytes(user.shape), _used(user, body) or math.inf)
        elif not (user.opcode == 'dynamic-update-slice' and of_parts):
            total += shape_bytes(value.shape)
    return total
