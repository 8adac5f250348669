"""The only file that knows about devices.

The batch is split by `jax.pmap` over the devices of all processes, those of the first process first;
the state is the same on all of them. A process sees, and places, what lies on its own devices. pmap
takes the state without a leading axis (`in_axes=None`) from a mesh whose axis has the name of its
own, and returns it the same way: so a state that was placed here is never copied, and a step
compiles once. Of a result that is not averaged over the devices, `out_axes=None` would silently
return the first device's: `train_step` averages gradients and metrics.
"""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from e3d.errors import InputError, RunError

AXIS = 'batch'


def local_mesh(max_devices: int | None = None) -> Mesh:
    """The devices of this process in a row, at most `max_devices` of them."""
    # Not jax.make_mesh, whose axes are of another kind than pmap's: each step would compile twice.
    return Mesh(np.array(_in_order(jax.local_devices())[:max_devices]), (AXIS,))


def _in_order(devices: Sequence[jax.Device]) -> list[jax.Device]:
    return sorted(devices, key=lambda device: (device.process_index, device.id))


def _together(mesh: Mesh) -> list[jax.Device]:
    """The devices of a mesh and those that the other processes have beside them."""
    return mesh.devices.tolist() if jax.process_count() == 1 else _in_order(jax.devices())


def num_devices(mesh: Mesh) -> int:
    """Over how many devices a batch is split: those of all processes."""
    return len(_together(mesh))


def on_accelerator() -> bool:
    """Whether there is something faster than the CPU."""
    return jax.default_backend() != 'cpu'


@contextlib.contextmanager
def memory_explained(text: str) -> Iterator[None]:
    """Raises RunError with a text where the memory of a device does not suffice."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        raise RunError(text) from error


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises InputError where the devices do not divide a training batch."""
    size, processes = num_devices(mesh), jax.process_count()
    if size != mesh.size * processes:
        raise InputError(
            f'This process has {mesh.size} devices, and all {processes} together have {size}: '
            'start each of them with the same number.'
        )
    if batch_size % size:
        below = batch_size // size * size
        allowed = ' or '.join(str(value) for value in (below, below + size) if value)
        where = 'this machine' if processes == 1 else f'{processes} processes'
        raise InputError(
            f'train.batch_size={batch_size} cannot be split over the {size} devices of {where}: '
            f'use a multiple of {size}, such as {allowed}, or let JAX see fewer devices (for '
            'example with CUDA_VISIBLE_DEVICES).'
        )


def place_state(tree: Any, mesh: Mesh) -> Any:
    """The whole tree on every device.

    It may share memory with what it was made from, and a step gives that memory back: use only
    what is returned.
    """
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def connect(mesh: Mesh, meet: Callable[[], Any]) -> None:
    """Connects the devices of all processes, before anything is computed together.

    Gloo connects those of CPUs when they first compute together, and a process that comes 30 seconds
    late ends all. Once they are connected, any may be half an hour late.

    Args:
      mesh: the devices of this process.
      meet: returns when all processes have come to it.
    """
    if jax.process_count() == 1:
        return
    number = place_batch(np.zeros(mesh.size, np.int32), mesh)
    largest = _largest(mesh)
    # The two ways in which devices are grouped.
    for compute in (lambda: multihost_utils.broadcast_one_to_all(0), lambda: largest(number)):
        meet()
        jax.block_until_ready(compute())


def _largest(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    return jax.pmap(
        lambda number: jax.lax.pmax(number, AXIS),
        axis_name=AXIS,
        out_axes=None,
        devices=_together(mesh),
    )


def share_state(tree: Any, mesh: Mesh) -> Any:
    """Like `place_state`; with several processes, all get the tree of the first one."""
    if jax.process_count() > 1:
        # As bytes, which come through without any change: others are summed with zeros.
        sent = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1).view(np.uint8), tree)
        received = multihost_utils.broadcast_one_to_all(sent)
        tree = jax.tree.map(
            lambda data, leaf: data.view(leaf.dtype).reshape(leaf.shape), received, tree
        )
    return place_state(tree, mesh)


def digest(tree: Any) -> str:
    """SHA-256 of the numbers of a placed tree, for each device of this process.

    `multihost_utils.assert_equal` would bring the tree of every process to all of them.
    """
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            found.update(np.asarray(shard.data).tobytes())
    return found.hexdigest()


def abstract_state(tree: Any, mesh: Mesh) -> Any:
    """Shapes, types and places of a tree that `place_state` has placed or would place."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def place_batch(batch: Any, mesh: Mesh) -> Any:
    """Arrays `[B, ...]` as `[devices, B / devices, ...]`, each device's share on it.

    Where there are other processes, B counts the rows of this one.
    """
    shares = jax.tree.map(lambda x: x.reshape(mesh.size, -1, *x.shape[1:]), batch)
    return jax.device_put(shares, NamedSharding(mesh, PartitionSpec(AXIS)))


def parallel_step(
    step: Callable[..., tuple[Any, Any]], mesh: Mesh
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Compiles `step(state, batch) -> (state, metrics)` for the devices of all processes.

    Args:
      step: takes the device's share of the batch; averages over the axis named `AXIS`.
      mesh: see `local_mesh`; where there are other processes it must be whole.

    Returns:
      The step for a placed state, whose memory it takes over, and a placed batch.
    """
    compiled = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        devices=_together(mesh),
        donate_argnums=(0,),
    )

    def run(state: Any, batch: Any) -> tuple[Any, Any]:
        # Nothing may travel to the devices or back unnoticed, least of all in every step.
        with jax.transfer_guard('disallow'):
            return compiled(state, batch)

    return run


class Agreement:
    """The largest of the numbers that the processes name in a step; all know it one step later.

    Later, as the devices would have to wait for an answer at once.
    """

    def __init__(self, mesh: Mesh):
        """Stores which processes have devices in `mesh`."""
        self._mesh = mesh
        self._answer: jax.Array | None = None
        self._largest = _largest(mesh)

    def ask(self, number: int) -> int:
        """The answer to what was asked the time before, or 0; where there is one process, `number`."""
        if jax.process_count() == 1:
            return number
        asked = place_batch(np.full(self._mesh.size, number, np.int32), self._mesh)
        before, self._answer = self._answer, self._largest(asked)
        return 0 if before is None else np.asarray(before).item()


@functools.lru_cache(maxsize=4)
def _compiled(apply: Callable[[Any, Any], Any], devices: tuple[jax.Device, ...]) -> Any:
    return jax.pmap(apply, axis_name=AXIS, in_axes=(None, 0), devices=devices)


def parallel_apply(
    apply: Callable[[Any, Any], Any], mesh: Mesh, batch_size: int
) -> Callable[[Any, Any], Any]:
    """Compiles a model's use on the devices of this process once, for batches of any size.

    Equal ones are not compiled again: let `apply` be an object that compares by what it does, as a
    frozen dataclass, where several are made in a process.

    Args:
      apply: `apply(params, batch)`, from a tree of arrays `[B, ...]`, as frames `[B, T, H, W, C]`,
        to another, sequence by sequence.
      mesh: see `local_mesh`.
      batch_size: at most so many sequences go at once, rounded up to a multiple of the devices;
        as many as the largest call has brought, so that later ones need no other program.

    Returns:
      The same for placed parameters and arrays in the host's memory, `[B, ...]` with any B;
      what it gives is in the host's memory as well.
    """
    compiled = _compiled(apply, tuple(mesh.devices.tolist()))
    size = mesh.size

    def share(array: np.ndarray, start: int, size: int) -> np.ndarray:
        part = array[start : start + size]
        padding = [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1)
        return np.pad(part, padding, mode='edge')

    def run(params: Any, batch: Any) -> Any:
        nonlocal size
        parts, total = [], len(jax.tree.leaves(batch)[0])
        size = max(size, -(-min(batch_size, total) // mesh.size) * mesh.size)
        for start in range(0, total, size):
            shares = jax.tree.map(lambda x, start=start: share(x, start, size), batch)
            placed = place_batch(shares, mesh)
            results = jax.device_get(compiled(params, placed))
            count = min(size, total - start)
            parts.append(
                jax.tree.map(lambda x, count=count: x.reshape(size, *x.shape[2:])[:count], results)
            )
        return jax.tree.map(lambda *parts: np.concatenate(parts), *parts)

    return run
