r"""RECALL over all positions in one kernel: for NVIDIA GPUs, in Triton's language by way of Pallas.

The same sums as in `everywhere.py`. A program of the kernel has a tile of queries, goes over the tiles
of the remembered states with the online softmax, and keeps all in between in registers, so that the
logits never reach memory. It reads for itself which slots are remembered, and visits no tile before
the first or after the last of them. The backward pass computes the weights twice, once to gather the
gradient of a tile of queries, once that of a tile of states; so no two programs add to one array, and
results do not depend on the order in which they run.

Products are rounded as `precision` says, sums are float32.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

try:  # JAX means to give this up in favor of what only the newest GPUs have
    from jax.experimental.pallas import triton
except ImportError:
    triton = None

# Queries and states of a tile: small, so that there are programs enough for a small batch.
_QUERIES = 32
_STATES = 64
_FEWEST = 16  # that a side of a product may have
_MOST_CHANNELS = 256
_LEAST_CAPABILITY = 80  # of which Triton makes kernels, and which has products in TF32


def fits(gate: jax.Array, history: jax.Array) -> bool:
    """Whether there is a kernel for the GPU that is compiled for, and for these arrays.

    Args:
      gate: `[B, Q, C]`.
      history: `[B, K, P, C]`.
    """
    channels = gate.shape[-1]
    return (
        _capability() >= _LEAST_CAPABILITY
        and isinstance(gate.shape[0], int)  # not open, as in programs that are exported
        and gate.dtype in (jnp.float32, jnp.bfloat16)
        and channels & (channels - 1) == 0
        and _FEWEST <= channels <= _MOST_CHANNELS
        and gate.shape[1] % _FEWEST == 0
        and history.shape[2] % _FEWEST == 0
    )


def _capability() -> int:
    """The compute capability of the GPU that is compiled for, 90 for 9.0; 0 where there is none."""
    try:
        if hasattr(triton, 'get_gpu_info'):
            return triton.get_gpu_info().compute_capability
        return int(jax.local_devices(backend='gpu')[0].compute_capability.replace('.', ''))
    except (RuntimeError, ValueError):
        return 0


def _tile(size: int, most: int) -> int:
    """The largest power of two that divides the size, up to `most`."""
    return min(size & -size, most)


class _Fixed(NamedTuple):
    """What is fixed of a kernel.

    Attributes:
      tile: how many rows a program visits at once.
      precision: how products are rounded, see `precision.py`.
      dtype: of logits and sums.
    """

    tile: int
    precision: str | None
    dtype: Any

    def dot(self, left: jax.Array, right: jax.Array, axes: tuple[int, int]) -> jax.Array:
        """The product of two matrices over one axis of each."""
        return lax.dot_general(
            left,
            right,
            ((axes[:1], axes[1:]), ((), ())),
            precision=self.precision,
            preferred_element_type=self.dtype,
        )


def _range_of_tiles(range_ref, tiles_of_a_slot: int):
    """First and one past the last tile of states of the slots between first and last remembered."""
    return range_ref[0] * tiles_of_a_slot, range_ref[1] * tiles_of_a_slot


def _is_remembered(valid_ref, tile: jax.Array, tiles_of_a_slot: int) -> jax.Array:
    """Whether the slot of a tile of states is."""
    return valid_ref[lax.div(tile, jnp.int32(tiles_of_a_slot))] != 0


def _forward_kernel(range_ref, valid_ref, gate_ref, history_ref, recalled_ref, log_sum_ref, fixed):
    gate = gate_ref[...]
    tile, _, dtype = fixed
    tiles_of_a_slot = history_ref.shape[0] // valid_ref.shape[0] // tile
    lowest = jnp.asarray(jnp.finfo(dtype).min / 2, dtype)

    def visit(number, state):
        maximum, total, recalled = state
        states = history_ref[pl.ds(number * tile, tile), :]
        remembered = _is_remembered(valid_ref, number, tiles_of_a_slot)
        states = jnp.where(remembered, states, 0)
        logits = jnp.where(remembered, fixed.dot(gate, states, (1, 1)), lowest)
        new_maximum = jnp.maximum(maximum, logits.max(axis=1))
        weights = jnp.where(remembered, jnp.exp(logits - new_maximum[:, None]), 0)
        rescale = jnp.exp(maximum - new_maximum)
        update = fixed.dot(weights.astype(states.dtype), states, (1, 0))
        total = total * rescale + weights.sum(axis=1)
        return new_maximum, total, recalled * rescale[:, None] + update

    zeros = jnp.zeros(gate.shape, dtype)
    start = (jnp.full(gate.shape[:1], lowest), jnp.zeros(gate.shape[:1], dtype), zeros)
    bounds = _range_of_tiles(range_ref, tiles_of_a_slot)
    maximum, total, recalled = lax.fori_loop(*bounds, visit, start)
    total = jnp.where(total == 0, 1, total)
    recalled_ref[...] = (recalled / total[:, None]).astype(recalled_ref.dtype)
    log_sum_ref[...] = maximum + jnp.log(total)


def _weights(states, gate, cotangent, log_sum, mean, remembered, fixed: _Fixed):
    """Weights of RECALL `[states, queries]`, and the gradient with respect to their logits."""
    logits = fixed.dot(states, gate, (1, 1))
    weights = jnp.where(remembered, jnp.exp(logits - log_sum[None]), 0)
    return weights, weights * (fixed.dot(states, cotangent, (1, 1)) - mean[None])


def _gate_gradient_kernel(
    range_ref,
    valid_ref,
    gate_ref,
    cotangent_ref,
    log_sum_ref,
    mean_ref,
    history_ref,
    out_ref,
    fixed,
):
    queries = [ref[...] for ref in (gate_ref, cotangent_ref, log_sum_ref, mean_ref)]
    tile, _, dtype = fixed
    tiles_of_a_slot = history_ref.shape[0] // valid_ref.shape[0] // tile

    def visit(number, gradient):
        states = history_ref[pl.ds(number * tile, tile), :]
        remembered = _is_remembered(valid_ref, number, tiles_of_a_slot)
        states = jnp.where(remembered, states, 0)
        _, of_logits = _weights(states, *queries, remembered, fixed)
        return gradient + fixed.dot(of_logits.astype(states.dtype), states, (0, 0))

    bounds = _range_of_tiles(range_ref, tiles_of_a_slot)
    gradient = lax.fori_loop(*bounds, visit, jnp.zeros(out_ref.shape, dtype))
    out_ref[...] = gradient.astype(out_ref.dtype)


def _history_gradient_kernel(
    valid_ref, gate_ref, cotangent_ref, log_sum_ref, mean_ref, history_ref, out_ref, fixed
):
    states = history_ref[...]
    tile, _, dtype = fixed
    tiles_of_a_slot = pl.num_programs(1) // valid_ref.shape[0]
    remembered = _is_remembered(valid_ref, pl.program_id(1), tiles_of_a_slot)
    states = jnp.where(remembered, states, 0)

    def visit(number, gradient):
        part = pl.ds(number * tile, tile)
        gate, cotangent = gate_ref[part, :], cotangent_ref[part, :]
        weights, of_logits = _weights(
            states, gate, cotangent, log_sum_ref[part], mean_ref[part], remembered, fixed
        )
        gradient += fixed.dot(of_logits.astype(states.dtype), gate, (1, 0))
        return gradient + fixed.dot(weights.astype(states.dtype), cotangent, (1, 0))

    tiles = jnp.where(remembered, jnp.int32(gate_ref.shape[0] // tile), jnp.int32(0))
    gradient = lax.fori_loop(jnp.int32(0), tiles, visit, jnp.zeros(out_ref.shape, dtype))
    out_ref[...] = gradient.astype(out_ref.dtype)


def _whole(*shape: int) -> pl.BlockSpec:
    """All of what one sequence has."""
    return pl.BlockSpec((None, *shape), lambda row, tile: (row, *(0 for _ in shape)))


def _part(*shape: int) -> pl.BlockSpec:
    """The tile of a program, along the second axis of an array."""
    return pl.BlockSpec((None, *shape), lambda row, tile: (row, tile, *(0 for _ in shape[1:])))


def _how(interpret: bool) -> dict:
    """How the kernels are compiled, or interpreted without a GPU."""
    if interpret:
        return {'interpret': True}
    return {'compiler_params': triton.CompilerParams(num_warps=4, num_stages=2)}


def _remembered(valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First and one past the last remembered slot of each sequence `[B, 2]`, and which `[B, K]`."""
    slots = jnp.arange(valid.shape[1], dtype=jnp.int32)
    first = jnp.where(valid, slots, valid.shape[1]).min(axis=1)
    last = jnp.where(valid, slots + 1, 0).max(axis=1)
    return jnp.stack([first, last], axis=1), valid.astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=('precision', 'interpret'))
def recall_forward(
    gate: jax.Array,
    history: jax.Array,
    valid: jax.Array,
    precision: str | None = None,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """As `everywhere.recall_forward`, for arrays that `fits`; `interpret` for tests without a GPU."""
    batch, queries, channels = gate.shape
    slots, positions = history.shape[1:3]
    dtype = jnp.promote_types(gate.dtype, jnp.float32)
    tile, rows = _tile(positions, _STATES), _tile(queries, _QUERIES)
    return pl.pallas_call(
        functools.partial(_forward_kernel, fixed=_Fixed(tile, precision, dtype)),
        grid=(batch, queries // rows),
        in_specs=[
            *(_whole(2), _whole(slots), _part(rows, channels)),
            _whole(slots * positions, channels),
        ],
        out_specs=[_part(rows, channels), _part(rows)],
        out_shape=[
            jax.ShapeDtypeStruct(gate.shape, gate.dtype),
            jax.ShapeDtypeStruct(gate.shape[:2], dtype),
        ],
        name='recall',
        **_how(interpret),
    )(*_remembered(valid), gate, history.reshape(batch, -1, channels))


@functools.partial(jax.jit, static_argnames=('precision', 'interpret'))
def recall_backward(
    gate: jax.Array,
    history: jax.Array,
    valid: jax.Array,
    recalled: jax.Array,
    log_sum: jax.Array,
    cotangent: jax.Array,
    precision: str | None = None,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """As `everywhere.recall_backward`, for arrays that `fits`; `interpret` for tests without a GPU."""
    batch, queries, channels = gate.shape
    slots, positions = history.shape[1:3]
    dtype = log_sum.dtype
    mean = (cotangent.astype(dtype) * recalled.astype(dtype)).sum(axis=-1)
    tile, rows = _tile(positions, _STATES), _tile(queries, _QUERIES)
    bounds, valid = _remembered(valid)
    states = history.reshape(batch, -1, channels)
    of_queries = (gate, cotangent.astype(gate.dtype), log_sum, mean)
    of_gate = pl.pallas_call(
        functools.partial(_gate_gradient_kernel, fixed=_Fixed(tile, precision, dtype)),
        grid=(batch, queries // rows),
        in_specs=[
            *(_whole(2), _whole(slots)),
            *(_part(rows, channels), _part(rows, channels), _part(rows), _part(rows)),
            _whole(slots * positions, channels),
        ],
        out_specs=_part(rows, channels),
        out_shape=jax.ShapeDtypeStruct(gate.shape, gate.dtype),
        name='recall_gate_gradient',
        **_how(interpret),
    )(bounds, valid, *of_queries, states)
    of_history = pl.pallas_call(
        functools.partial(_history_gradient_kernel, fixed=_Fixed(rows, precision, dtype)),
        grid=(batch, slots * positions // tile),
        in_specs=[
            _whole(slots),
            *(_whole(queries, channels), _whole(queries, channels)),
            *(_whole(queries), _whole(queries)),
            _part(tile, channels),
        ],
        out_specs=_part(tile, channels),
        out_shape=jax.ShapeDtypeStruct(states.shape, history.dtype),
        name='recall_history_gradient',
        **_how(interpret),
    )(valid, *of_queries, states)
    return of_gate, of_history.reshape(history.shape)
