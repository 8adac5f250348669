"""What cannot fit into the memory of the machine is rejected before any work.

Only what is certain counts: the sizes that are known from shapes, and all the memory that there is,
used or not. What passes may still be too much.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from e3d.data.sources.layouts import layout_of
from e3d.errors import InputError
from e3d.parallel import host_memory
from e3d.training.footprint import Footprint


def device_bytes(mesh: Mesh) -> int | None:
    """Memory of each device of this process; devices that are CPUs share that of the machine."""
    device = mesh.devices.flat[0]
    if device.platform == 'cpu':
        total = host_memory.total_bytes()
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
            host_memory.total_bytes(),
            f'A sequence of {layout_of(dataset).length} frames of dataset.{key}={rows, columns}',
            f'a smaller dataset.{key}, or fewer dataset.input_frames and dataset.output_frames',
        )


def saves_memory(config: ConfigDict) -> str:
    """How the model of a config takes less memory and more time; '' if it does already, or cannot."""
    return 'model.memory=recompute' if config.model.get('memory') == 'save' else ''


def check_training(footprint: Footprint, config: ConfigDict, mesh: Mesh) -> None:
    """Raises InputError where an update does not fit on a device."""
    remedies = ['a smaller train.batch_size or model', saves_memory(config)]
    _reject_more(
        footprint.state_bytes + footprint.kept_bytes * footprint.is_least,
        device_bytes(mesh),
        f'An update of the {footprint.parameters:,} parameters with '
        f'train.batch_size={config.train.batch_size}, on each device,',
        ', or '.join(filter(None, remedies)),
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
        host_memory.total_bytes(),
        f'A batch of evaluation.batch_size={batch_size}',
        'a smaller evaluation.batch_size',
    )


def _reject_more(needed: int, available: int | None, what: str, remedy: str) -> None:
    if available is not None and needed > available:
        raise InputError(
            f'{what} needs at least {needed / 2**30:,.3g} GiB; there are '
            f'{available / 2**30:,.3g} GiB. Use {remedy}.'
        )
