"""Zip archives of others: only what cannot unpack to more than it says, and in bounds."""

import collections
import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from e3d.errors import InputError
from e3d.files import regular_file

_ENCRYPTED = 0x1  # in the flags of a member
# The other methods unpack all that a piece of the file holds at once, however much that is.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_PIECE = 2**20
# What zipfile raises for archives that it cannot read; NotImplementedError and RuntimeError for
# those that are compressed or encrypted otherwise than it knows.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


@contextlib.contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive; whatever is wrong with it becomes an InputError.

    Raises:
      InputError: it is not a regular file, no zip archive, damaged, or has two members of one name.
    """
    path = regular_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for name, count in collections.Counter(archive.namelist()).most_common(1):
                if count > 1:
                    raise InputError(f'{path} holds {name!r} {count} times; write it again.')
            yield archive
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f'{path} cannot be read: {error}. It must be a whole zip archive; fetch or write it '
            'again.'
        ) from error


def check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int) -> None:
    """Raises InputError for a member that is not read: see the message."""
    name = f'{archive.filename}: {member.filename}'
    if member.flag_bits & _ENCRYPTED:
        raise InputError(f'{name} is encrypted; store it without a password.')
    if member.compress_type not in _METHODS:
        method = getattr(zipfile, 'compressor_names', {}).get(
            member.compress_type, member.compress_type
        )
        raise InputError(
            f'{name} is compressed by the method {method}; only stored and deflated members are '
            'read. Repack the archive with one of these.'
        )
    if member.file_size > max_bytes:
        raise InputError(
            f'{name} unpacks to {member.file_size:,} bytes, more than the {max_bytes:,} that are '
            'read into memory.'
        )


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """Unpacks a member into memory.

    Raises:
      InputError: as `check_member`.
    """
    check_member(archive, member, max_bytes)
    try:
        with archive.open(member) as stream:
            return bytes(read_up_to(stream, member.file_size))
    except _DAMAGE as error:
        raise InputError(
            f'{archive.filename}: {member.filename} is damaged: {error}. Fetch it again.'
        ) from error


def read_up_to(stream: IO[bytes], count: int) -> bytearray:
    """Reads so many bytes, or less at the end of the stream.

    In pieces, as a stream that is read at once is unpacked whole, whatever size was announced.
    """
    content = bytearray()
    while piece := stream.read(min(_PIECE, count - len(content))):
        content += piece
    return content
