"""The state of a stream as a `.safetensors` file, so that it goes on after a restart."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from e3d.errors import InputError
from e3d.files import atomic_write, local_path, regular_file
from e3d.model.streaming import StreamState, start
from e3d.runs.state import named_leaves

_SLOTS = 1  # the axis of histories that may be longer than in the beginning


def save_stream(state: StreamState, path: str | os.PathLike[str]) -> None:
    """Writes a state of `observe`.

    Raises:
      InputError: the path cannot be used.
      RunError: the file cannot be written.

    Example:
      >>> e3d.save_stream(state, 'stream.safetensors')
    """
    tensors = {name: np.asarray(leaf) for name, leaf in named_leaves(state).items()}
    with atomic_write(local_path(path, 'The stream')) as temporary:
        temporary.write_bytes(safetensors.numpy.save(tensors))


def load_stream(
    path: str | os.PathLike[str],
    model: Any,
    params: Any,
    frame_shape: tuple[int, int, int],
    batch_size: int | None = None,
) -> StreamState:
    """Reads what `save_stream` wrote; the others are as for `start`.

    Raises:
      InputError: the file cannot be read, or is of another model, frames or number of clips.

    Example:
      >>> state = e3d.load_stream('stream.safetensors', run.model, run.params, run.frame_shape)
      >>> int(state.steps)
      1
    """
    path = regular_file(local_path(path, 'The stream'))
    try:
        with safetensors.safe_open(path, 'numpy') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read: {error}.') from error
    template = start(model, params, frame_shape, batch_size)
    expected = named_leaves(template)
    grows = model.build_stack().recall_window is None
    problems = [f'{name} is missing' for name in expected if name not in tensors]
    problems += [f'{name} is not part of it' for name in tensors if name not in expected]
    for name, wanted in expected.items():
        if name not in tensors:
            continue
        found = tensors[name]
        shape = list(wanted.shape)
        if grows and name.startswith('histories/') and found.ndim == wanted.ndim:
            shape[_SLOTS] = max(shape[_SLOTS], found.shape[_SLOTS])
        if found.shape != tuple(shape) or found.dtype != wanted.dtype:
            problems.append(
                f'{name} is {found.dtype}{list(found.shape)}, not {wanted.dtype}{shape}'
            )
    if problems:
        raise InputError(
            f'{path} is not the state of a stream of this model and these frames: '
            f'{"; ".join(problems[:3])}.'
        )
    leaves = [jnp.asarray(tensors[name]) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)
