"""The folder of a run: whether it can be used and is free, and the config stored in it."""

import contextlib
import json
import os
import pathlib
import socket
import tempfile
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        'Training needs a system with fcntl: Linux or macOS. On Windows use WSL 2.'
    ) from error

from e3d.configuration import find_differences, restore_config
from e3d.errors import InputError
from e3d.files import atomic_write, local_path, read_json, regular_file
from e3d.terminal import tell

CONFIG_FILE = 'config.json'
LOCK_FILE = '.lock'
CHECKPOINTS_FOLDER = 'checkpoints'
INSPECTION_FOLDER = 'inspection'  # of what --mode=inspect draws
INSPECTION_FILE = 'inspection.npz'  # in it
# What a run writes into its workdir.
FOLDERS = (CHECKPOINTS_FOLDER, 'tensorboard', 'samples')
FILES = (
    CONFIG_FILE,
    LOCK_FILE,
    'metrics.jsonl',
    'evaluation.json',
    'evaluation.png',
    'report.html',
    f'{CHECKPOINTS_FOLDER}/errors.json',
)
MAX_BYTES = 2**24  # of a config.json
# Orbax takes the path of a checkpoint for a pattern, and TensorStore a backslash for a slash: what
# was written would not be found again.
UNUSABLE = '[*?\\'


def resolve_workdir(workdir: str | os.PathLike[str]) -> pathlib.Path:
    """The path of a workdir, with `~` replaced; it need not exist.

    Raises:
      InputError: no run can have its files there.
    """
    path = local_path(workdir, 'The workdir')
    full = str(path.absolute())
    wrong = {f"'{character}'" for character in UNUSABLE if character in full}
    if any('\ud800' <= character <= '\udfff' for character in full):
        wrong.add('characters that are not UTF-8')
    if wrong:
        raise InputError(
            f'The workdir {full!r} has {" and ".join(sorted(wrong))} in its path, with which the '
            'storage of checkpoints cannot work. Choose another folder, rename that one, or give a '
            'symbolic link to it whose own path has no such character.'
        )
    return path


def prepare_workdir(workdir: str | os.PathLike[str]) -> pathlib.Path:
    """Makes a workdir, if need be, and returns its path.

    Raises:
      InputError: it cannot be made or written to.
    """
    path = resolve_workdir(workdir)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"--workdir='{workdir}' cannot be written to: {error.strerror}. Give a folder that you "
            'may write to.'
        ) from error
    for name in (*FOLDERS, *FILES):
        place, kind = path / name, 'folder' if name in FOLDERS else 'file'
        if os.path.lexists(place) and os.path.isdir(place) != (name in FOLDERS):
            raise InputError(
                f'{place} is in the way: the run needs a {kind} of that name. Move it away, or '
                'give another --workdir.'
            )
    return path


@contextlib.contextmanager
def unused_removed(workdir: str | os.PathLike[str]) -> Iterator[None]:
    """Leaves no new folder behind where the block fails before a run has begun in it."""
    path = resolve_workdir(workdir)
    made = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        yield
    except BaseException:
        if made:
            _remove_unused(path, made)
        raise


def _remove_unused(workdir: pathlib.Path, made: Sequence[pathlib.Path]) -> None:
    """Removes new folders, unless another start at the same time has begun a run in them."""
    lock = workdir / LOCK_FILE
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(lock.open('r+b'))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            pass  # there is none, or the file system is without locks: see `held`
        if os.path.lexists(workdir / CONFIG_FILE):
            return
        with contextlib.suppress(OSError):
            lock.unlink()
        for folder in (workdir / CHECKPOINTS_FOLDER, *made):
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from training in a workdir as long as the block lasts.

    The system gives it free when the process ends, however it ends.

    Raises:
      InputError: another process trains in it, or it cannot be written to.
    """
    path = workdir / LOCK_FILE
    try:
        if os.path.lexists(path):
            regular_file(path)
        opened = path.open('a+', encoding='utf-8', errors='replace')
    except (OSError, InputError) as error:
        reason = error if isinstance(error, InputError) else f'{path}: {error.strerror}.'
        raise InputError(
            f'The workdir cannot be locked: {reason} Move it away, or give another --workdir.'
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f'{workdir} is in use by another training ({file.read(200).strip()}). Wait until '
                'it has ended, or give another --workdir.'
            ) from None
        except OSError:
            tell(f'{workdir} is on a file system without locks: run only one training there.')
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
        yield


def check_same_experiment(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Raises InputError, with the differences, where a workdir holds a run with a different config."""
    path = workdir / CONFIG_FILE
    if os.path.lexists(path) and (differences := find_differences(read_config(path), config)):
        raise InputError(other_config_message(workdir, differences))


def read_config(path: pathlib.Path) -> ConfigDict:
    """Reads a config.json.

    Raises:
      InputError: it cannot be read.
    """
    try:
        values = read_json(path, MAX_BYTES)
        if not isinstance(values, dict):
            raise TypeError('it is not a JSON object')
        return restore_config(values)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f'{path} cannot be read as a config: {str(error).rstrip(".")}. Put back a copy of it '
            '(every checkpoint has the config of the run, in checkpoints/STEP/run/metadata), or '
            'give another --workdir.'
        ) from error


def write_config(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Writes config.json."""
    with atomic_write(workdir / CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps(config.to_dict(), indent=2) + '\n', encoding='utf-8')


def other_config_message(workdir: str | pathlib.Path, differences: list[str]) -> str:
    """What to say where a workdir holds a run with a different config."""
    lines = '\n'.join(f'  {line}' for line in differences)
    return (
        f'{workdir} holds a run with a different config:\n{lines}\n'
        'Give another --workdir, or the stored values. To continue from what that run has learned '
        f'with other values: another --workdir with --config.init_from={workdir}, and '
        '--config.init_optimizer=True to keep the moments of the optimizer as well.'
    )
