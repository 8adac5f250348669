"""Zarr stores of others, looked at before they are opened: folders that hold their values themselves."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from e3d.data.readers.hdf5_files import check_chunk_size
from e3d.errors import InputError
from e3d.files import read_json, regular_file

MAX_ENTRIES = 10**7
MAX_METADATA_BYTES = 2**26
# Codecs that turn bytes into numbers and run nothing; 'pickle' and the like do.
CODECS = {
    'blosc', 'bytes', 'bz2', 'crc32c', 'delta', 'endian', 'fixedscaleoffset', 'gzip', 'lz4', 'lzma',
    'quantize', 'sharding_indexed', 'shuffle', 'transpose', 'zlib', 'zstd',
    'numcodecs.blosc', 'numcodecs.delta', 'numcodecs.fixedscaleoffset', 'numcodecs.lz4',
    'numcodecs.shuffle', 'numcodecs.zlib', 'numcodecs.zstd', 'vlen-utf8', 'fletcher32', 'adler32',
    'crc32',
}  # fmt: skip
_METADATA = ('zarr.json', '.zarray')


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return any(
        (path / name).is_file() for name in ('zarr.json', '.zgroup', '.zarray', '.zmetadata')
    )


def check_store(path: Path) -> None:
    """Makes sure that a store can be read by itself, in pieces that memory holds.

    Raises:
      InputError: it has links or what is no file, chunks that are too large, or codecs that are not
        plain compression.
    """
    for file in _metadata_files(path):
        described = read_json(file, MAX_METADATA_BYTES)
        if not isinstance(described, Mapping):
            raise InputError(f'{file} cannot be read: it is no description of a zarr array.')
        try:
            _check_array(described, file)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InputError(
                f'{file} cannot be read: it is no description of a zarr array ({error}).'
            ) from error


def _metadata_files(path: Path) -> Iterator[Path]:
    count, folders = 0, [path]
    while folders:
        folder = folders.pop()
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
                folders.append(Path(entry.path))
            elif not entry.is_file():
                # Says what it is: a named pipe would keep a reader waiting.
                regular_file(entry.path)
            elif entry.name in _METADATA:
                yield Path(entry.path)


def _check_array(described: Mapping[str, Any], file: Path) -> None:
    version = described.get('zarr_format')
    if version == 3 and described.get('node_type') == 'group':
        return
    name = file.parent.name
    if version == 2:
        chunks = [int(side) for side in described['chunks']]
        item = np.dtype(_plain_dtype(described['dtype'])).itemsize
        codecs = [described.get('compressor'), *(described.get('filters') or ())]
        names = [codec['id'] for codec in codecs if codec]
    else:
        chunks = [int(side) for side in described['chunk_grid']['configuration']['chunk_shape']]
        kind = described['data_type']
        if not isinstance(kind, str):
            raise ValueError(f'data_type {str(kind)[:60]}')
        item = 8 if kind == 'string' else np.dtype(kind).itemsize
        names = list(_codec_names(described['codecs']))
    unknown = sorted(set(names) - CODECS)
    if unknown:
        raise InputError(
            f"'{name}' in {file.parent.parent} is packed by the codec {unknown[0]!r}; only plain "
            'compression is read. Write it again, e.g. with zstd.'
        )
    check_chunk_size(math.prod(chunks) * item, chunks, name, file.parent.parent)


def _plain_dtype(dtype: Any) -> str:
    if not isinstance(dtype, str):
        raise ValueError(f'dtype {str(dtype)[:60]}')
    return '<U16' if np.dtype(dtype).hasobject else dtype


def _codec_names(codecs: Any) -> Iterator[str]:
    for codec in codecs:
        yield codec['name']
        yield from _codec_names(codec.get('configuration', {}).get('codecs', ()))
