"""TensorFlow's checkpoints of version 2, `PREFIX.index` and `PREFIX.data-...`, without TensorFlow.

The index is an uncompressed table of LevelDB from the names of tensors to messages of protocol buffers
that say where in the data files they lie; these hold the plain numbers. Layout:
tensorflow/core/util/tensor_bundle/tensor_bundle.h and tensorflow/core/protobuf/tensor_bundle.proto.
"""

import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from e3d.errors import InputError
from e3d.files import read_bytes, regular_file
from e3d.weights.readers.checksum import crc32c, unmasked

MAX_INDEX_BYTES = 2**26
_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5  # of a block: kind of compression, checksum
_MOST_AXES = 32
_MOST_SHOWN = 100  # characters of a name in a message
_DTYPES = {1: '<f4', 2: '<f8', 3: '<i4', 9: '<i8', 19: '<f2'}


class Entry(NamedTuple):
    """Where a tensor lies: its type, its shape, and the place in a data file."""

    dtype: str | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


def bundle_prefix(path: str | os.PathLike[str]) -> Path | None:
    """The prefix of the checkpoint that a path means, or None where there is none.

    Args:
      path: the prefix itself, as `model.ckpt-80000`, or one of its files.
    """
    path = Path(path)
    prefix = path.with_name(re.sub(r'\.(index|meta|data-\d{5}-of-\d{5})$', '', path.name))
    return prefix if os.path.lexists(f'{prefix}.index') else None


def read_bundle(prefix: Path, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Reads tensors of a checkpoint, and compares them with its checksums.

    Args:
      prefix: path of the files without `.index`.
      wanted: tells by the name whether a tensor is to be read.

    Raises:
      InputError: a file cannot be read, is damaged, or holds what this reader does not know; it
        names the file and what is wrong.
    """
    index = Path(f'{prefix}.index')
    content = read_bytes(index, MAX_INDEX_BYTES)
    try:
        shards, entries = _parse_index(content)
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f'{index} cannot be read: {error}. It must be the whole index of a TensorFlow '
            'checkpoint of version 2; copy it again.'
        ) from error
    chosen = {name: entry for name, entry in entries.items() if wanted(name)}
    tensors = {}
    for shard in sorted({entry.shard for entry in chosen.values()}):
        data = regular_file(f'{prefix}.data-{shard:05d}-of-{shards:05d}')
        tensors |= _read_shard(data, {n: e for n, e in chosen.items() if e.shard == shard})
    return tensors


def _read_shard(path: Path, entries: dict[str, Entry]) -> dict[str, np.ndarray]:
    tensors, length = {}, path.stat().st_size
    if sum(entry.size for entry in entries.values()) > length:
        raise InputError(
            f'{path} has {length:,} bytes, fewer than the tensors that the index places in it. '
            'Copy the checkpoint again.'
        )
    try:
        with path.open('rb') as file:
            for name, entry in entries.items():
                _check_entry(name, entry, length)
                file.seek(entry.offset)
                content = file.read(entry.size)
                if len(content) < entry.size or crc32c(content) != entry.checksum:
                    raise ValueError(
                        f'the numbers of {name[:_MOST_SHOWN]!r} differ from their checksum'
                    )
                tensors[name] = np.frombuffer(content, entry.dtype).reshape(entry.shape)
    except (ValueError, OSError) as error:
        raise InputError(f'{path} cannot be read: {error}. Copy the checkpoint again.') from error
    return tensors


def _check_entry(name: str, entry: Entry, length: int) -> None:
    name = name[:_MOST_SHOWN]
    if entry.sliced or entry.dtype is None:
        kind = 'in slices' if entry.sliced else 'in a type that is not read'
        raise ValueError(f'{name!r} is stored {kind}')
    if math.prod(entry.shape) * np.dtype(entry.dtype).itemsize != entry.size:
        raise ValueError(f'{name!r} of shape {entry.shape} does not have {entry.size:,} bytes')
    if entry.offset + entry.size > length:
        raise ValueError(f'{name!r} would end at byte {entry.offset + entry.size:,} of {length:,}')


def _parse_index(content: bytes) -> tuple[int, dict[str, Entry]]:
    """The number of data files, and where each tensor lies."""
    footer = content[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], 'little') != _MAGIC:
        raise ValueError('it does not end as such a table does')
    position, blocks = 0, []
    for _ in range(4):  # offset and size of the block of metadata, then of the index block
        value, position = _varint(footer, position)
        blocks.append(value)
    items, left = {}, len(content)
    for _, place in _block_items(content, *blocks[2:]):
        offset, position = _varint(place, 0)
        size, _ = _varint(place, position)
        left -= size + _TRAILER_BYTES
        if left < 0:
            raise ValueError('its blocks overlap')
        for key, value in _block_items(content, offset, size):
            if key in items:
                raise ValueError(f'the name {key[:_MOST_SHOWN]!r} is there twice')
            items[key] = value
    if b'' not in items:
        raise ValueError('it has no header')
    header = dict(_fields(items.pop(b'')))
    if header.get(2, 0) != 0:
        raise ValueError('its numbers have the most significant byte first, which is not read')
    shards = header.get(1, 0)
    if not isinstance(shards, int):
        raise ValueError('its header is damaged')
    return shards, {key.decode(): _parse_entry(value) for key, value in items.items()}


def _parse_entry(message: bytes) -> Entry:
    values = {1: 0, 2: b'', 3: 0, 4: 0, 5: 0, 6: 0} | dict(_fields(message))
    kinds = [bytes if number == 2 else int for number in range(1, 7)]
    if any(not isinstance(values[number], kind) for number, kind in enumerate(kinds, 1)):
        raise ValueError('an entry is damaged')
    shape = []
    for number, part in _fields(values[2]):
        if number == 2 and isinstance(part, bytes):
            size = dict(_fields(part)).get(1, 0)
            shape.append(size if isinstance(size, int) else -1)
    if len(shape) > _MOST_AXES:
        raise ValueError(f'a tensor has {len(shape):,} axes')
    return Entry(
        _DTYPES.get(values[1]), tuple(shape), *(values[n] for n in (3, 4, 5)),
        unmasked(values[6]), 7 in values,
    )  # fmt: skip


def _block_items(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block of the table."""
    end = offset + size
    if size < 4 or end + _TRAILER_BYTES > len(content):
        raise ValueError(f'a block of {size:,} bytes at {offset:,} goes beyond its end')
    block, trailer = content[offset:end], content[end : end + _TRAILER_BYTES]
    if trailer[0]:
        raise ValueError('a block is compressed, which TensorFlow does not do')
    if crc32c(content[offset : end + 1]) != unmasked(int.from_bytes(trailer[1:], 'little')):
        raise ValueError(f'the block at {offset:,} differs from its checksum')
    restarts = int.from_bytes(block[-4:], 'little')
    entries = block[: max(size - 4 - 4 * restarts, 0)]
    key, position = b'', 0
    while position < len(entries):
        shared, position = _varint(entries, position)
        added, position = _varint(entries, position)
        length, position = _varint(entries, position)
        end = position + added + length
        if shared > len(key) or end > len(entries):
            raise ValueError('an entry goes beyond the end of its block')
        key = key[:shared] + entries[position : position + added]
        yield key, entries[position + added : end]
        position = end


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message of protocol buffers."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
            case 1 | 5 as kind:
                end = position + (8 if kind == 1 else 4)
                value, position = int.from_bytes(message[position:end], 'little'), end
            case 2:
                length, position = _varint(message, position)
                value, position = message[position : position + length], position + length
            case kind:
                raise ValueError(f'a field is of the kind {kind}, which there is not')
        if position > len(message):
            raise ValueError('a field goes beyond the end of its message')
        yield tag >> 3, value


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A number in pieces of seven bits, and the position after it."""
    value = 0
    for place in range(10):
        byte = content[position + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, position + place + 1
    raise ValueError('a number has more than ten bytes')
