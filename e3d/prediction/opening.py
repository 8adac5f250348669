"""The run that a user names: opened, or the path of its workdir."""

import functools
import os
from pathlib import Path

from e3d.runs.trained_run import Run, load_run
from e3d.runs.workdir import CHECKPOINTS_FOLDER, resolve_workdir


def open_run(run: Run | str | os.PathLike[str]) -> Run:
    """A run as it is; of a workdir the newest checkpoint, read again only where there is another.

    Raises:
      InputError: there is no run, or it cannot be read.
    """
    if isinstance(run, Run):
        return run
    workdir = resolve_workdir(run).absolute()
    found = _list_checkpoints(workdir / CHECKPOINTS_FOLDER)
    return _read_run(workdir, found) if found else load_run(workdir)


def _list_checkpoints(folder: Path) -> tuple[tuple[str, int], ...]:
    """Names and times of what lies in a folder; where they cannot be told, `load_run` says why."""
    try:
        return tuple(sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder)))
    except OSError:  # among them: a training just removes an old checkpoint
        return ()


@functools.lru_cache(maxsize=2)
def _read_run(workdir: Path, checkpoints: tuple[tuple[str, int], ...]) -> Run:
    """Reads a run again only where it has other `checkpoints` than the last time."""
    del checkpoints
    return load_run(workdir)
