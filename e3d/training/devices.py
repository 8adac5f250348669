"""The only file that knows about devices.

The batch is split over the local devices by `jax.pmap`; the state is the same on all of them. pmap
takes the state without a leading axis (`in_axes=None`) from a mesh whose axis has the name of its
own, and returns it the same way: so a state that was placed here is never copied, and a step
compiles once. Of a result that is not averaged over the devices, `out_axes=None` would silently
return the first device's: `train_step` averages gradients and metrics.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from e3d.errors import InputError

AXIS = 'batch'


def local_mesh(max_devices: int | None = None) -> Mesh:
    """The devices of this machine in a row, at most `max_devices` of them."""
    # Not jax.make_mesh, whose axes are of another kind than pmap's: each step would compile twice.
    return Mesh(np.array(jax.local_devices()[:max_devices]), (AXIS,))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises InputError where the devices do not divide a training batch."""
    if batch_size % mesh.size:
        below = batch_size // mesh.size * mesh.size
        allowed = ' or '.join(str(size) for size in (below, below + mesh.size) if size)
        raise InputError(
            f'train.batch_size={batch_size} cannot be split over the {mesh.size} devices of this '
            f'machine: take a multiple of {mesh.size}, such as {allowed}, or let JAX see fewer '
            'devices (for example with CUDA_VISIBLE_DEVICES).'
        )


def place_state(tree: Any, mesh: Mesh) -> Any:
    """The whole tree on every device.

    It may share memory with what it was made from, and a step gives that memory back: use only
    what is returned.
    """
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def abstract_state(tree: Any, mesh: Mesh) -> Any:
    """Shapes, types and places of a tree that `place_state` has placed or would place."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def place_batch(batch: Any, mesh: Mesh) -> Any:
    """Arrays `[B, ...]` as `[devices, B / devices, ...]`, each device's share on it."""
    shares = jax.tree.map(lambda x: x.reshape(mesh.size, -1, *x.shape[1:]), batch)
    return jax.device_put(shares, NamedSharding(mesh, PartitionSpec(AXIS)))


def parallel_step(step: Callable[..., tuple[Any, Any]], mesh: Mesh) -> Callable:
    """Compiles `step(state, batch) -> (state, metrics)` for all devices of the mesh.

    Args:
      step: takes the device's share of the batch; averages over the axis named `AXIS`.
      mesh: see `local_mesh`.

    Returns:
      The step for a placed state, whose memory it takes over, and a placed batch.
    """
    compiled = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        devices=mesh.devices.tolist(),
        donate_argnums=(0,),
    )

    def run(state, batch):
        # Nothing may travel to the devices or back unnoticed, least of all in every step.
        with jax.transfer_guard('disallow'):
            return compiled(state, batch)

    return run


def parallel_apply(
    apply: Callable[[Any, jax.Array], Any], mesh: Mesh, batch_size: int
) -> Callable[[Any, np.ndarray], Any]:
    """Compiles a model's use once, for batches of any size.

    Args:
      apply: `apply(params, frames)`, from frames `[B, T, H, W, C]` to a tree of arrays `[B, ...]`,
        sequence by sequence.
      mesh: see `local_mesh`.
      batch_size: so many sequences go at once, rounded up to a multiple of the devices.

    Returns:
      The same for placed parameters and frames in the host's memory, `[B, T, H, W, C]` with any B;
      what it gives is in the host's memory as well.
    """
    size = -(-batch_size // mesh.size) * mesh.size
    compiled = jax.pmap(apply, axis_name=AXIS, in_axes=(None, 0), devices=mesh.devices.tolist())

    def run(params, frames):
        parts = []
        for start in range(0, len(frames), size):
            part = frames[start : start + size]
            padding = [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1)
            placed = place_batch(np.pad(part, padding, mode='edge'), mesh)
            results = jax.device_get(compiled(params, placed))
            count = len(part)
            parts.append(
                jax.tree.map(lambda x, count=count: x.reshape(size, *x.shape[2:])[:count], results)
            )
        return jax.tree.map(lambda *parts: np.concatenate(parts), *parts)

    return run
