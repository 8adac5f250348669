"""Files that others made, looked at before they are opened; files of our own, written atomically."""

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e3d.errors import InputError, RunError

_KINDS = {
    stat.S_IFDIR: 'a folder',
    stat.S_IFIFO: 'a named pipe',
    stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}


def regular_file(path: str | os.PathLike[str]) -> Path:
    """Makes sure that a path leads to a regular file; opens nothing, so it cannot hang.

    What opens a named pipe waits for a writer, and a device like /dev/zero has no end.

    Args:
      path: of the file, or of a link to it; `~` is not expanded.

    Returns:
      The path.

    Raises:
      InputError: there is no such file, it may not be read, or it is something else: a folder, a
        named pipe, a socket, a device.
    """
    path = Path(path)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f'{path} does not exist.') from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'{path} cannot be read: {reason}.') from error
    if kind != stat.S_IFREG:
        raise InputError(
            f'{path} is {_KINDS.get(kind, "no regular file")}; it must be a regular file, or a '
            'link to one.'
        )
    if not os.access(path, os.R_OK):
        raise InputError(f'{path} cannot be read: you have no permission to.')
    return path


def read_bytes(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Reads a regular file whole.

    Raises:
      InputError: it cannot be read, or has more than `max_bytes`.
    """
    path = regular_file(path)
    try:
        with path.open('rb') as file:
            # No more at once than there seems to be: what is asked for is reserved.
            content = file.read(min(path.stat().st_size, max_bytes) + 1)
            while len(content) <= max_bytes and (more := file.read(2**16)):
                content += more
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}.') from error
    if len(content) > max_bytes:
        size = path.stat().st_size
        raise InputError(f'{path} has {size:,} bytes, more than the {max_bytes:,} that are read.')
    return content


def read_json(path: str | os.PathLike[str], max_bytes: int) -> Any:
    """Reads a JSON file.

    Raises:
      InputError: as `read_bytes`, or it is not JSON, or nested so deeply that it cannot be parsed.
    """
    content = read_bytes(path, max_bytes)
    try:
        return json.loads(content)
    except RecursionError:
        raise InputError(f'{path} cannot be read: its JSON is nested too deeply.') from None
    except ValueError as error:  # no UTF-8, no JSON, a number of thousands of digits
        raise InputError(f'{path} cannot be read: it is not JSON ({error}).') from error


def local_path(text: str | os.PathLike[str], name: str) -> Path:
    """A path that a user named, with `~` replaced; it need not exist.

    Args:
      text: as given.
      name: what to call it at the beginning of messages.

    Raises:
      InputError: it is empty, a URL, or has a home directory that is not known.
    """
    text = os.fspath(text)
    if not text or '\0' in text:
        raise InputError(f'{name} {text!r} is not the path of a file or folder: name one.')
    if scheme := url_scheme(text):
        raise InputError(
            f"{name} '{text}' is a URL ({scheme}): only files and folders of this machine can be "
            'used. Fetch it, or mount the storage, and give the path.'
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{name} '{text}' has a home directory that is not known: write out the path."
        ) from error


def url_scheme(text: str) -> str:
    """What a URL begins with, as 's3:/'; '' for a path."""
    scheme = re.match(r'[A-Za-z][A-Za-z0-9+.-]+:/', text)
    return scheme[0] if scheme else ''


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path to write to, which takes the place of `path` when all went well.

    The temporary path lies in the same folder (made if need be) and has the same suffix, for
    encoders that go by it. A file or a folder may be made there. A folder can only take the place
    of an empty one. When the block fails, `path` stays as it was and the temporary one goes.

    Raises:
      RunError: the disk is full, or there is no permission.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f'{path} could not be written: {reason}. Nothing was left there; '
            'check the free space and the permissions of its folder.'
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                temporary.unlink()
