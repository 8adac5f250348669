"""Files that others made, looked at before they are opened."""

import os
import stat
from pathlib import Path

from e3d.errors import InputError

_KINDS = {
    stat.S_IFDIR: 'a folder',
    stat.S_IFIFO: 'a named pipe',
    stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}


def regular_file(path: str | os.PathLike) -> Path:
    """Makes sure that a path leads to a regular file; opens nothing, so it cannot hang.

    What opens a named pipe waits for a writer, and a device like /dev/zero has no end.

    Args:
      path: of the file, or of a link to it; `~` is not expanded.

    Returns:
      The path.

    Raises:
      InputError: there is no such file, it cannot be looked at, or it is something else: a
        folder, a named pipe, a socket, a device.
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
    return path
