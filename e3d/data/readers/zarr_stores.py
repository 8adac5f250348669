"""Zarr stores of others, looked at before they are opened: folders that hold their values themselves."""

import collections
import contextlib
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e3d.data.readers.hdf5_files import check_chunk_size
from e3d.errors import InputError
from e3d.files import read_json, regular_file

MAX_ENTRIES = 10**7
MAX_METADATA_BYTES = 2**26
METADATA = ('zarr.json', '.zarray')
# The last part of the key of a chunk: '0', '0.1.2', 'c.0.1.2', or 'c' of a single number.
_OF_CHUNK = re.compile(r'c|(c\.)?\d+(\.\d+)*')
# Of `zarr_codecs`, which stands for each codec that unpacks.
BOUNDED = 'e3d_bounded'
# Codecs that turn bytes into numbers and run nothing; 'pickle' and the like do.
_UNPACK = {'blosc', 'bz2', 'gzip', 'lz4', 'zlib', 'zstd'}
_CHECKSUMS = {'adler32', 'crc32', 'crc32c', 'fletcher32'}
_CHECKSUM_BYTES = 4
_SHARDS = 'sharding_indexed'
_OF_INDEX = {'bytes', 'crc32c', 'endian'}
_CODECS = {
    *_UNPACK, *_CHECKSUMS, _SHARDS, 'bytes', 'delta', 'endian', 'fixedscaleoffset', 'quantize',
    'shuffle', 'transpose',
}  # fmt: skip
_TEXT = {'string', 'variable_length_utf8'}
_DATES = {'numpy.datetime64', 'numpy.timedelta64'}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return any(
        (path / name).is_file() for name in ('zarr.json', '.zgroup', '.zarray', '.zmetadata')
    )


class Store(NamedTuple):
    """What a look at a store tells.

    Attributes:
      texts: variables of text of any length, of which nothing tells what they unpack to.
      absent: how many chunks of a variable are left out, as a store may, and what stands for them, by
        name; only where there are any.
      zeros: arrays of version 2 whose fill value is 0. That is the default of zarr, which says of no
        chunk that its zeros are gaps, though xarray takes it for a `_FillValue`.
    """

    texts: Sequence[str]
    absent: Mapping[str, str]
    zeros: Collection[str]


NO_STORE = Store((), {}, ())  # of a file that is none


def check_store(path: Path) -> Store:
    """Makes sure that a store can be read by itself, in pieces that memory holds.

    Raises:
      InputError: it has links or what is no file, chunks that are too large, or codecs that are not
        plain compression.
    """
    texts, absent, zeros = [], {}, set()
    files, chunks = _walk(path)
    for file in files:
        described, name = read_json(file, MAX_METADATA_BYTES), file.parent.relative_to(path)
        bounded(described, file)
        if _is_text(described):
            texts.append(name.as_posix())
        elif 'shape' in described:
            with _explained(file):
                left_out = _describe_absent(described, chunks[file.parent])
            if left_out:
                absent[name.as_posix()] = left_out
            if _fills_with_zeros(described, file.with_name('.zattrs')):
                zeros.add(name.as_posix())
    return Store(texts, absent, zeros)


def bounded(described: Any, file: Path) -> dict[str, Any]:
    """What a store says of an array or a group, with `BOUNDED` in place of each codec that unpacks.

    Args:
      described: as its file has it.
      file: for messages.

    Raises:
      InputError: as `check_store`.
    """
    with _explained(file):
        match described:
            case {'zarr_format': 3, 'node_type': 'group'}:
                # A copy of what is said of the arrays.
                return {k: v for k, v in described.items() if k != 'consolidated_metadata'}
            case Mapping() if _is_text(described):
                return dict(described)
            case {'zarr_format': 2}:
                return dict(described) | _bounded_2(described, file)
            case Mapping():
                return dict(described) | _bounded_3(described, file)
        raise ValueError(type(described).__name__)
    raise AssertionError  # a context may suppress, this one does not


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Makes one InputError of all that goes wrong where a description is none."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f'{file} cannot be read: it is no description of a zarr array ({error}).'
        ) from error


def _walk(path: Path) -> tuple[list[Path], Mapping[Path, int]]:
    """The files that describe arrays and groups, and how many chunks lie in the folder of each."""
    described: list[Path] = []
    chunks: collections.Counter[Path] = collections.Counter()
    count, folders = 0, [(path, path)]
    while folders:
        folder, array = folders.pop()
        if any((folder / name).is_file() for name in METADATA):
            array = folder
        for entry in os.scandir(folder):
            count += 1
            if entry.is_symlink():
                raise InputError(
                    f'{entry.path} is a link; a zarr store must hold its values itself. Copy it '
                    'with what its links lead to.'
                )
            if count > MAX_ENTRIES:
                raise InputError(
                    f'{path} has more than {MAX_ENTRIES:,} files. Write it again in larger chunks.'
                )
            if entry.is_dir():
                folders.append((Path(entry.path), array))
            elif not entry.is_file():
                # Says what it is: a named pipe would keep a reader waiting.
                regular_file(entry.path)
            elif entry.name in METADATA:
                described.append(Path(entry.path))
            elif _OF_CHUNK.fullmatch(entry.name):
                chunks[array] += 1
    return sorted(described), chunks


def _describe_absent(described: Mapping[str, Any], stored: int) -> str:
    count = math.prod(
        -(-size // max(side, 1))
        for size, side in zip(described['shape'], _chunk_shape(described), strict=True)
    )
    if stored == count:
        return ''
    fill = described['fill_value']
    if fill is None:  # as version 2 may leave it; zarr reads zeros
        fill = 0
    return f'{count - stored:,} of {count:,} chunks are not stored and read as {fill}'


def _fills_with_zeros(described: Mapping[str, Any], attributes: Path) -> bool:
    """Whether an array of version 2 has the fill value 0, and no attribute that makes 0 a gap."""
    if described['zarr_format'] != 2 or described.get('fill_value') != 0:
        return False
    stated = read_json(attributes, MAX_METADATA_BYTES) if attributes.is_file() else {}
    return '_FillValue' not in stated


def _chunk_shape(described: Mapping[str, Any]) -> list[int]:
    """Of what lies in a file of its own; shards have chunks in them."""
    of_2 = described['zarr_format'] == 2
    shape = described['chunks'] if of_2 else described['chunk_grid']['configuration']['chunk_shape']
    return [int(side) for side in shape]


def _is_text(described: Any) -> bool:
    match described:
        case {'zarr_format': 3, 'data_type': str(kind) | {'name': str(kind)}}:
            return kind in _TEXT
        case {'zarr_format': 2, 'dtype': '|O', 'filters': [{'id': 'vlen-utf8'}]}:
            return True
    return False


def _bounded_2(described: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The codecs of an array of version 2: filters, and after them a compressor."""
    filters = [(codec['id'], codec) for codec in described.get('filters') or ()]
    last = described.get('compressor')
    codecs = [*filters, *([(last['id'], last)] if last else [])]
    made = _Chunk(file, _chunk_shape(described), _item_bytes(described['dtype'])).bounded(codecs)
    ours = [{**codec, 'id': name} for name, codec in made]
    return {'filters': ours[: len(filters)] or None, 'compressor': ours[-1] if last else None}


def _bounded_3(described: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The codecs of an array of version 3."""
    chunk = _Chunk(file, _chunk_shape(described), _item_bytes(described['data_type']))
    return {'codecs': _named(chunk, described)}


def _named(chunk: '_Chunk', described: Mapping[str, Any]) -> list[dict[str, Any]]:
    codecs = [(codec['name'], codec.get('configuration', {})) for codec in described['codecs']]
    return [{'name': name, 'configuration': rest} for name, rest in chunk.bounded(codecs)]


class _Chunk(NamedTuple):
    """A piece of an array that is packed by itself.

    Attributes:
      file: that describes the array.
      shape: of the piece.
      item: bytes of a number.
    """

    file: Path
    shape: Sequence[int]
    item: int

    def bounded(self, codecs: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Codecs and their settings, as they are applied in writing, with those that unpack bounded."""
        place = f"'{self.file.parent.name}' in {self.file.parent.parent}"
        count = math.prod(self.shape)
        whole = count * self.item
        check_chunk_size(whole, self.shape, self.file.parent.name, self.file.parent.parent)
        size: int | None = whole  # of what enters the next codec; None where nothing tells
        made = []
        for name, settings in codecs:
            kind = name.removeprefix('numcodecs.')
            if kind not in _CODECS:
                raise InputError(
                    f'{place} is packed by the codec {name!r}; only plain compression is read. Write it '
                    'again, e.g. with zstd.'
                )
            if kind in _UNPACK and size is None:
                raise InputError(
                    f'{place} is packed twice. Write it again with one codec, e.g. zstd.'
                )
            if kind in _UNPACK:
                made.append((BOUNDED, {'packed_by': kind, 'size': size}))
                size = None
                continue
            if kind == _SHARDS:
                settings, size = self._shards(settings), None
            elif kind in _CHECKSUMS and size is not None:
                size += _CHECKSUM_BYTES
            elif 'astype' in settings:
                size = count * np.dtype(_plain(settings['astype'])).itemsize
            made.append((name, settings))
        return made

    def _shards(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        unknown = {codec['name'] for codec in settings.get('index_codecs', ())} - _OF_INDEX
        if unknown:
            raise ValueError(f'an index packed by {min(unknown)!r}')
        inner = self._replace(shape=[int(side) for side in settings['chunk_shape']])
        return {**settings, 'codecs': _named(inner, settings)}


def _item_bytes(kind: Any) -> int:
    """Bytes of a number, or of what else is stored in a given length."""
    match kind:
        case str():
            return np.dtype(kind).itemsize
        case {'configuration': {'length_bytes': int(length)}}:
            return length
        case {'name': str(name)} if name in _DATES:
            return 8
    raise ValueError(f'data_type {str(kind)[:60]}')


def _plain(dtype: Any) -> str:
    if not isinstance(dtype, str) or np.dtype(dtype).hasobject:
        raise ValueError(f'dtype {str(dtype)[:60]}')
    return dtype
