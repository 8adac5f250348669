"""NumPy's files, `.npy` and `.npz`, read with bounds and without ever running what they hold."""

import io
import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

from e3d.data.readers.archives import check_member, open_archive, read_up_to
from e3d.errors import InputError
from e3d.files import regular_file

MAX_HEADER_BYTES = 10_000  # as in NumPy
_MAGIC = b'\x93NUMPY'
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # of the length of the header, by the version of the format


def map_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Maps an `.npy` file, which may be larger than the memory.

    Raises:
      InputError: it is not a regular file, damaged, or holds Python objects.
    """
    path = regular_file(path)
    try:
        with path.open('rb') as stream:
            _read_header(stream)
        return np.load(path, mmap_mode='r', allow_pickle=False)
    except Exception as error:  # of any type: numpy expects no damage
        raise _unreadable(path, error) from error


def load_arrays(
    path: str | os.PathLike[str], max_bytes: int, wanted: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Loads the arrays of an `.npz` file.

    Args:
      path: the file.
      max_bytes: of the arrays together.
      wanted: if the file holds all of these, only they are loaded.

    Returns:
      The arrays by name.

    Raises:
      InputError: as `map_array`, or the arrays are too large.
    """
    with open_archive(path) as archive:
        members = {info.filename.removesuffix('.npy'): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise InputError(f'{path} holds two arrays with the same name; write it again.')
        if wanted and members.keys() >= set(wanted):
            members = {name: members[name] for name in wanted}
        size = sum(info.file_size for info in members.values())
        if size > max_bytes:
            raise InputError(
                f'{path} unpacks to {size / 2**30:.1f} GiB, more than the {max_bytes / 2**30:g} '
                'GiB that are read into memory. Split it; or store a single array as .npy, which '
                'is read piece by piece.'
            )
        arrays = {}
        for name, info in members.items():
            check_member(archive, info, max_bytes)
            try:
                with archive.open(info) as stream:
                    arrays[name] = _read_array(stream, info)
            except InputError:
                raise
            except Exception as error:  # of any type: numpy and zipfile expect no damage
                raise _unreadable(Path(f'{path}: {info.filename}'), error) from error
        return arrays


def array_names(path: str | os.PathLike[str]) -> set[str]:
    """The names of the arrays of an `.npz` file; raises InputError if it is no such file."""
    with open_archive(path) as archive:
        return {name.removesuffix('.npy') for name in archive.namelist()}


def _read_array(stream: IO[bytes], info: zipfile.ZipInfo) -> np.ndarray:
    shape, in_fortran_order, dtype = _read_header(stream)
    size = math.prod(shape) * dtype.itemsize
    if size > info.file_size:
        raise ValueError(f'its header announces {size:,} bytes, but {info.file_size:,} are there')
    content = read_up_to(stream, size)
    if len(content) < size or stream.read(1):
        raise ValueError(f'its header announces {size:,} bytes, but not as many are there')
    return np.ndarray(shape, dtype, content, order='F' if in_fortran_order else 'C')


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, whether the first axis changes fastest, and dtype."""
    head = stream.read(len(_MAGIC) + 2)
    version = head[len(_MAGIC)] if len(head) == len(_MAGIC) + 2 else 0
    if not head.startswith(_MAGIC) or version not in _LENGTH_BYTES:
        raise ValueError('it does not begin as an .npy file does')
    length = stream.read(_LENGTH_BYTES[version])
    if int.from_bytes(length, 'little') > MAX_HEADER_BYTES:
        raise ValueError(f'its header is longer than {MAX_HEADER_BYTES:,} bytes')
    header = io.BytesIO(length + stream.read(int.from_bytes(length, 'little')))
    read = (
        np.lib.format.read_array_header_1_0
        if version == 1
        else (np.lib.format.read_array_header_2_0)
    )
    shape, in_fortran_order, dtype = read(header)
    if dtype.hasobject:
        raise ValueError('it holds Python objects, which are not loaded')
    if any(size < 0 for size in shape):
        raise ValueError(f'its shape is {shape}')
    return shape, in_fortran_order, dtype


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, MemoryError):
        return InputError(f'{path} cannot be read: it does not fit into memory. Split it.')
    return InputError(
        f'{path} cannot be read: {error}. It must be a whole NumPy file of plain numbers, as '
        'numpy.save and numpy.savez write them; Python objects are never loaded.'
    )
