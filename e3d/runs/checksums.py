"""Checkpoints that are known to be readable, and checksums by which later damage is found.

Before a checkpoint counts as whole, and before an older one goes, what was written is read back as a
restore reads it and compared with what was to be written. What was written lies there with its
SHA-256 in `checksums.json`, one in the folder of each item. The storage format has checksums of its
own, but not for the numbers of large arrays.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from e3d.errors import InputError
from e3d.files import read_json, regular_file

CHECKSUMS_FILE = 'checksums.json'
MAX_BYTES = 2**24  # of such a file
# Files of orbax that it reads at once, whatever their size.
READ_WHOLE = ('_CHECKPOINT_METADATA', '_METADATA', 'metadata', 'commit_success.txt', '_sharding')
# Orbax adds this one after the rest; nothing in it is read.
UNCOUNTED = {CHECKSUMS_FILE, 'commit_success.txt'}


class _Checked(ocp.CheckpointHandler):
    """Reads back what was written, and adds the checksums when all of an item is there."""

    async def async_save(self, directory: Any, *arguments: Any, args: Any, **options: Any) -> Any:
        self._written = args.item
        return await super().async_save(directory, *arguments, args=args, **options)

    def finalize(self, directory: Any) -> None:
        super().finalize(directory)
        written, self._written = self._written, None
        self._check_readable(directory, written)
        folder = pathlib.Path(directory)
        text = json.dumps({name: _digest(folder / name) for name in sorted(_files(folder))})
        (folder / CHECKSUMS_FILE).write_text(text, encoding='utf-8')


class CheckedState(_Checked, ocp.StandardCheckpointHandler):
    """Writes and reads the tree of a state."""

    def _check_readable(self, directory: Any, written: Any) -> None:
        empty = jax.tree.map(np.empty_like, written)
        found = self.restore(directory, args=RestoreState(empty))
        # As bytes, of which not-a-number is equal to itself.
        same = jax.tree.map(lambda left, right: left.tobytes() == right.tobytes(), found, written)
        if not all(jax.tree.leaves(same)):
            raise OSError('what was written reads back differently')


class CheckedJson(_Checked, ocp.JsonCheckpointHandler):
    """Writes and reads what can be said in JSON."""

    def _check_readable(self, directory: Any, written: Any) -> None:
        if self.restore(directory, args=RestoreJson()) != json.loads(json.dumps(written)):
            raise OSError('what was written reads back differently')


# Orbax finds a handler by the type of its arguments.
@ocp.args.register_with_handler(CheckedState, for_save=True)
class SaveState(ocp.args.StandardSave):
    """Arguments to write a state."""


@ocp.args.register_with_handler(CheckedState, for_restore=True)
class RestoreState(ocp.args.StandardRestore):
    """Arguments to read a state."""


@ocp.args.register_with_handler(CheckedJson, for_save=True)
class SaveJson(ocp.args.JsonSave):
    """Arguments to write JSON."""


@ocp.args.register_with_handler(CheckedJson, for_restore=True)
class RestoreJson(ocp.args.JsonRestore):
    """Arguments to read JSON."""


def check_folder(folder: pathlib.Path, write: bool) -> None:
    """Makes sure that checkpoints can lie in a folder, and that orbax can open what is there.

    Args:
      folder: of the checkpoints.
      write: whether it is made where there is none.

    Raises:
      InputError: it is no folder, or holds a named pipe, for which orbax would wait, or a device, or
        a file of more bytes than orbax should read at once.
    """
    try:
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        for path in (path for path in folder.rglob('*') if path.exists() and not path.is_dir()):
            size = regular_file(path).stat().st_size
            if size > MAX_BYTES and path.name in READ_WHOLE:
                raise InputError(f'{path} has {size:,} bytes, which is not such a file.')
        with os.scandir(folder):
            pass
    except (OSError, InputError) as error:
        reason = error if isinstance(error, InputError) else f'{error.strerror}.'
        raise InputError(
            f'{folder} cannot be used for checkpoints: {reason} Move it away, or give another '
            '--workdir.'
        ) from error


def find_damage(folder: pathlib.Path) -> str | None:
    """What is wrong with the files of an item, in words, or None."""
    try:
        expected = read_json(folder / CHECKSUMS_FILE, MAX_BYTES)
        found = _files(folder)
        for name in sorted(expected):
            if name not in found:
                return f'{folder.name}/{name} is missing'
            if _digest(folder / name) != expected[name]:
                return f'{folder.name}/{name} has changed since it was written'
        for name in sorted(found - set(expected)):
            return f'{folder.name}/{name} does not belong to it'
    except OSError as error:
        return f'{error.filename} cannot be read: {error.strerror}'
    except (ValueError, TypeError):
        return f'{folder.name}/{CHECKSUMS_FILE} is damaged'
    return None


def _files(folder: pathlib.Path) -> set[str]:
    paths = (path for path in folder.rglob('*') if path.is_file() and path.name not in UNCOUNTED)
    return {path.relative_to(folder).as_posix() for path in paths}


def _digest(path: pathlib.Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
