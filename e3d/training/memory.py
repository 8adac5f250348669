"""What cannot fit into the memory of the machine is rejected before any work.

Only what is certain counts: the sizes that are known from shapes, and all the memory that there is,
used or not. What passes may still be too much.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from e3d.data.sources.layouts import layout_of
from e3d.errors import InputError
from e3d.training.footprint import Footprint


def host_bytes(root: pathlib.Path = pathlib.Path('/')) -> int | None:
    """Memory of this machine, with what it may swap, as far as its control group lets it be used.

    Args:
      root: of the file system.

    Returns:
      None where the system does not say.
    """
    try:
        lines = (root / 'proc/meminfo').read_text('ascii').splitlines()
        sizes = {line.split(':')[0]: int(line.split()[1]) * 1024 for line in lines}
        total = sizes['MemTotal'] + sizes.get('SwapTotal', 0)
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return min(total, *_group_limits(root), total)


def _group_limits(root: pathlib.Path) -> Iterator[int]:
    """The limits of the control groups of this process, of version 1 and 2."""
    try:
        lines = (root / 'proc/self/cgroup').read_text('utf-8').splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, group = line.split(':', 2)
        if controllers not in ('', 'memory'):
            continue
        base = root / 'sys/fs/cgroup' / controllers
        name = 'memory.limit_in_bytes' if controllers else 'memory.max'
        path = pathlib.PurePosixPath(group.lstrip('/'))
        for folder in (path, *path.parents):
            # There may be none, or it is 'max'.
            with contextlib.suppress(OSError, ValueError):
                yield int((base / folder / name).read_text('ascii'))


def device_bytes(mesh: Mesh) -> int | None:
    """Memory of each device of this process; devices that are CPUs share that of the machine."""
    device = mesh.devices.flat[0]
    if device.platform == 'cpu':
        total = host_bytes()
        return None if total is None else total // mesh.size
    return (device.memory_stats() or {}).get('bytes_limit')


def check_sequence(config: Any) -> None:
    """Raises InputError where a single sequence of the data set does not fit into memory."""
    dataset = config.dataset
    key = next((key for key in ('canvas', 'frame_size') if key in dataset), None)
    if key is not None:
        rows, columns = dataset[key]
        size = layout_of(dataset).length * rows * columns * dataset.get('channels', 1)
        _reject_more(
            size,
            host_bytes(),
            f'A sequence of {layout_of(dataset).length} frames of dataset.{key}={rows, columns}',
            f'a smaller dataset.{key}, or fewer dataset.input_frames and dataset.output_frames',
        )


def check_training(footprint: Footprint, batch_size: int, mesh: Mesh) -> None:
    """Raises InputError where an update does not fit on a device."""
    _reject_more(
        footprint.state_bytes + footprint.kept_bytes,
        device_bytes(mesh),
        f'An update of the {footprint.parameters:,} parameters with train.batch_size={batch_size}, '
        'on each device,',
        'a smaller train.batch_size or model, or model.memory=recompute',
    )


def check_evaluation(example: Mapping[str, Any], num_sequences: int, batch_size: int) -> None:
    """Raises InputError where a batch of an evaluation, and its forecast, do not fit.

    Args:
      example: one of the source.
      num_sequences: of the largest split; no batch has more.
      batch_size: `evaluation.batch_size`.
    """
    size = np.size(example['frames']) * np.dtype(np.float32).itemsize
    _reject_more(
        min(batch_size, num_sequences) * size,
        host_bytes(),
        f'A batch of evaluation.batch_size={batch_size}',
        'a smaller evaluation.batch_size',
    )


def _reject_more(needed: int, available: int | None, what: str, remedy: str) -> None:
    if available is not None and needed > available:
        raise InputError(
            f'{what} needs at least {needed / 2**30:,.3g} GiB; there are '
            f'{available / 2**30:,.3g} GiB. Use {remedy}.'
        )
