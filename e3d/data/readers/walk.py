"""The folders of a user, walked through without getting lost in them."""

import collections
import os
from collections.abc import Iterator
from pathlib import Path

from e3d.data.readers.left_out import LeftOut

MAX_VISITS = 8  # of one folder that many links lead to


def walk(
    root: str | os.PathLike[str], left_out: list[LeftOut]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Goes through a folder and all below it, in the order of their names; opens no file.

    Links are followed, but not into a folder that they lie in. Hidden entries are passed over.

    Args:
      root: the folder.
      left_out: gets what cannot be looked at: folders without permission, links that lead nowhere
        or back, named pipes, sockets and devices, named by their path below the root.

    Yields:
      (folder, names of its folders, names of its regular files); whoever takes names of folders
      out of the list keeps the walk from going there.
    """
    root = Path(root)
    pending: list[tuple[Path, tuple[str, ...]]] = [(root, (os.path.realpath(root),))]
    visits = collections.Counter[str]()
    while pending:
        folder, ancestors = pending.pop()
        subfolders, files = [], []
        for name, kind in _entries(root, folder, left_out):
            if kind == 'folder':
                subfolders.append(name)
            elif kind == 'file':
                files.append(name)
            else:
                left_out.append(LeftOut((folder / name).relative_to(root).as_posix(), kind))
        yield folder, subfolders, files
        for name in reversed(subfolders):
            below = folder / name
            real = os.path.realpath(below)
            visits[real] += 1
            if real in ancestors or visits[real] > MAX_VISITS:
                name = below.relative_to(root).as_posix()
                left_out.append(LeftOut(name, 'a link back to a folder that was gone through'))
            else:
                pending.append((below, (*ancestors, real)))


def _entries(root: Path, folder: Path, left_out: list[LeftOut]) -> Iterator[tuple[str, str]]:
    """(name, 'folder', 'file' or why it is neither) of what lies in a folder."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        name = folder.relative_to(root).as_posix()
        left_out.append(LeftOut(name, f'cannot be read: {error.strerror}', damaged=True))
        return
    for entry in entries:
        if not entry.name.startswith('.'):
            yield entry.name, _kind(entry)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return 'folder'
        if entry.is_file():
            return 'file'
        if entry.is_symlink() and not os.path.exists(entry.path):
            return 'a link that leads nowhere'
    except OSError:  # a link to itself, or one that must not be followed
        return 'a link that leads nowhere'
    return 'a named pipe, socket or device'
