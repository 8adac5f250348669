"""Data sets out of HDF5 files of others: whole, in bounds, and from that file alone."""

import contextlib
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from e3d.errors import InputError
from e3d.files import regular_file

# Filters that h5py has built in; the library looks for others among programs on the machine.
FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}
MAX_CHUNK_BYTES = 2**30
_CHECKSUM_BYTES = 4  # that FILTER_FLETCHER32 adds to a chunk
_OWN = 'the file must hold its values itself. Write it again, e.g. with h5py.'


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Opens an HDF5 file; whatever is wrong with it becomes an InputError."""
    path = regular_file(path)
    try:
        with h5py.File(path, 'r') as content:
            yield content
    except InputError:
        raise
    except Exception as error:  # of any type: the library expects no damage
        raise InputError(
            f'{path} cannot be read as HDF5: {error}. It must be a whole file; fetch it again.'
        ) from error


def read_dataset(content: h5py.File, name: str, max_bytes: int) -> np.ndarray:
    """Reads a data set of a file.

    Args:
      content: of `open_hdf5`.
      name: of the data set.
      max_bytes: it may have.

    Raises:
      InputError: as `check_dataset`, or it is too large.
    """
    return check_dataset(content, name, max_bytes)[()]


def check_dataset(content: h5py.File, name: str, max_bytes: float = math.inf) -> h5py.Dataset:
    """A data set of a file that can be read, whole or in pieces, from that file alone.

    Args:
      content: of `open_hdf5`.
      name: of the data set.
      max_bytes: it may have.

    Raises:
      InputError: there is none, it is too large, was not written to its end, or its values lie in
        another file, in chunks too large to be read, or need a filter that is not built in.
    """
    file, link = Path(content.filename), content.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise InputError(f"'{name}' in {file} is a link; {_OWN}")
    dataset = content.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{file} has no '{name}'; it holds {', '.join(content) or 'nothing'}.")
    if dataset.is_virtual or dataset.external:
        raise InputError(f"The values of '{name}' in {file} lie in other files; {_OWN}")
    if dataset.shape is None:
        raise InputError(f"'{name}' in {file} holds no values.")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if size > max_bytes:
        raise InputError(
            f"'{name}' in {file} takes {size / 2**30:.1f} GiB, more than the "
            f'{max_bytes / 2**30:g} GiB that are read.'
        )
    if size and dataset.id.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
        raise InputError(
            f"'{name}' in {file} was not written to its end: values of {dataset.shape} are missing. "
            'Fetch or write the file again.'
        )
    _check_chunks(dataset, name, file)
    return dataset


def _check_chunks(dataset: h5py.Dataset, name: str, file: Path) -> None:
    """Raises InputError for filters that are not known, and for chunks of another size.

    The library unpacks all that a chunk holds, however much that is, and takes for granted that it
    is enough: it reads past the end of what is too short.
    """
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(place) for place in range(plan.get_nfilters())]
    unknown = {code for code, *_ in filters} - FILTERS
    if unknown:
        raise InputError(
            f"'{name}' in {file} is packed by the filter {min(unknown)}; only gzip, LZF, shuffle "
            'and checksums are read. Write it again, e.g. with h5py and compression="gzip".'
        )
    if not dataset.chunks:
        return
    chunks: list[Any] = []
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    check_chunk_size(size, dataset.chunks, name, file)
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        used = [one for place, one in enumerate(filters) if not chunk.filter_mask >> place & 1]
        if not _is_whole(dataset, chunk, used, size):
            raise InputError(
                f"'{name}' in {file} is damaged: a chunk unpacks to another size than it must have. "
                'Fetch or write the file again.'
            )


def check_chunk_size(size: int, shape: Sequence[int], name: str, file: Path) -> None:
    """Raises InputError for chunks that hold too much to be unpacked whole, as they must be."""
    if size > MAX_CHUNK_BYTES:
        raise InputError(
            f"'{name}' in {file} is stored in chunks of {tuple(shape)}, {size / 2**30:,.1f} GiB each; "
            f'at most {MAX_CHUNK_BYTES / 2**30:g} GiB are read at once. Write it again in smaller '
            'chunks, such as one time step.'
        )


def _is_whole(dataset: h5py.Dataset, chunk: Any, filters: Sequence[Any], size: int) -> bool:
    """Whether a chunk unpacks to so many bytes by the filters that were used, in their order."""
    for code, _, values, _ in filters:
        if code == h5py.h5z.FILTER_FLETCHER32:
            size += _CHECKSUM_BYTES
        elif code == h5py.h5z.FILTER_LZF:  # unpacks into memory of this size
            return len(values) > 2 and values[2] == size
        elif code == h5py.h5z.FILTER_DEFLATE:
            _, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
            stream = zlib.decompressobj()
            return len(stream.decompress(packed, size + 1)) == size and stream.eof
    return bool(chunk.size == size)
