"""How much memory this machine has, and how much of it is free, as far as its control groups allow."""

import contextlib
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path('/')


def total_bytes(root: pathlib.Path = ROOT) -> int | None:
    """Memory of this machine, with what it may swap, as far as its control groups let it be used.

    Args:
      root: of the file system.

    Returns:
      None where the system does not say.
    """
    sizes = _meminfo(root)
    if 'MemTotal' not in sizes:
        return None
    total = sizes['MemTotal'] + sizes.get('SwapTotal', 0)
    return min([total, *(limit for limit, _ in _groups(root))])


def free_bytes(root: pathlib.Path = ROOT) -> int | None:
    """Memory that is not in use and may be, without swapping: of the machine and of its control groups.

    What only holds files, which the system drops when it needs the room, is not in use.

    Args:
      root: of the file system.

    Returns:
      None where the system does not say.
    """
    sizes = _meminfo(root)
    if 'MemAvailable' not in sizes:
        return None
    return min([sizes['MemAvailable'], *(max(limit - used, 0) for limit, used in _groups(root))])


def _meminfo(root: pathlib.Path) -> dict[str, int]:
    """Sizes in bytes; none where there is no such file, as outside of Linux."""
    try:
        lines = (root / 'proc/meminfo').read_text('ascii').splitlines()
        return {line.split(':')[0]: int(line.split()[1]) * 1024 for line in lines}
    except (OSError, ValueError, IndexError):
        return {}


def _groups(root: pathlib.Path) -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of the control groups of this process, of version 1 and 2."""
    try:
        lines = (root / 'proc/self/cgroup').read_text('utf-8').splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, group = line.split(':', 2)
        if controllers not in ('', 'memory'):
            continue
        base = root / 'sys/fs/cgroup' / controllers
        limit, used, cached = (
            ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file')
            if controllers
            else ('memory.max', 'memory.current', 'inactive_file')
        )
        path = pathlib.PurePosixPath(group.lstrip('/'))
        for folder in (path, *path.parents):
            # There may be none, or it is 'max'.
            with contextlib.suppress(OSError, ValueError):
                most = int((base / folder / limit).read_text('ascii'))
                yield most, _used(base / folder, used, cached)


def _used(folder: pathlib.Path, used: str, cached: str) -> int:
    """What a control group uses, less the files that it only holds; 0 where it does not say."""
    try:
        lines = (folder / 'memory.stat').read_text('ascii').splitlines()
        sizes = dict(line.split() for line in lines)
        return int((folder / used).read_text('ascii')) - int(sizes[cached])
    except (OSError, ValueError, KeyError):
        return 0
