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

from e3d.kernels.triton import how, part, remembered_slots, rounding, tile_size, whole

# Queries and states of a tile: small, so that there are programs enough for a small batch.
_QUERIES = 32
_STATES = 64


class _Fixed(NamedTuple):
    """What is fixed of a kernel.

    Attributes:
      tile: how many rows a program visits at once.
      precision: how products are rounded, see `triton.rounding`.
      dtype: of logits and sums.
    """

    tile: int
    precision: Any
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


def _bias_of(bias_ref, tile: jax.Array, tiles_of_a_slot: int) -> jax.Array:
    """That of the slot of a tile of states."""
    return bias_ref[lax.div(tile, jnp.int32(tiles_of_a_slot))]


def _forward_kernel(range_ref, bias_ref, gate_ref, history_ref, recalled_ref, log_sum_ref, fixed):
    gate = gate_ref[...]
    tile, _, dtype = fixed
    tiles_of_a_slot = history_ref.shape[0] // bias_ref.shape[0] // tile
    lowest = jnp.asarray(jnp.finfo(dtype).min / 2, dtype)

    def visit(number, state):
        maximum, total, recalled = state
        states = history_ref[pl.ds(number * tile, tile), :]
        bias = _bias_of(bias_ref, number, tiles_of_a_slot)
        remembered = bias > -jnp.inf
        states = jnp.where(remembered, states, 0)
        logits = jnp.where(remembered, fixed.dot(gate, states, (1, 1)) + bias, lowest)
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


def _weights(states, gate, cotangent, log_sum, mean, bias, fixed: _Fixed):
    """Weights of RECALL `[states, queries]`, and the gradient with respect to their logits."""
    logits = fixed.dot(states, gate, (1, 1)) + bias
    weights = jnp.where(bias > -jnp.inf, jnp.exp(logits - log_sum[None]), 0)
    return weights, weights * (fixed.dot(states, cotangent, (1, 1)) - mean[None])


def _gate_gradient_kernel(
    range_ref,
    bias_ref,
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
    tiles_of_a_slot = history_ref.shape[0] // bias_ref.shape[0] // tile

    def visit(number, gradient):
        states = history_ref[pl.ds(number * tile, tile), :]
        bias = _bias_of(bias_ref, number, tiles_of_a_slot)
        states = jnp.where(bias > -jnp.inf, states, 0)
        _, of_logits = _weights(states, *queries, bias, fixed)
        return gradient + fixed.dot(of_logits.astype(states.dtype), states, (0, 0))

    bounds = _range_of_tiles(range_ref, tiles_of_a_slot)
    gradient = lax.fori_loop(*bounds, visit, jnp.zeros(out_ref.shape, dtype))
    out_ref[...] = gradient.astype(out_ref.dtype)


def _history_gradient_kernel(
    bias_ref,
    gate_ref,
    cotangent_ref,
    log_sum_ref,
    mean_ref,
    history_ref,
    out_ref,
    of_bias_ref,
    fixed,
):
    states = history_ref[...]
    tile, _, dtype = fixed
    tiles_of_a_slot = pl.num_programs(1) // bias_ref.shape[0]
    bias = _bias_of(bias_ref, pl.program_id(1), tiles_of_a_slot)
    remembered = bias > -jnp.inf
    states = jnp.where(remembered, states, 0)

    def visit(number, gradients):
        gradient, of_bias = gradients
        rows = pl.ds(number * tile, tile)
        gate, cotangent = gate_ref[rows, :], cotangent_ref[rows, :]
        weights, of_logits = _weights(
            states, gate, cotangent, log_sum_ref[rows], mean_ref[rows], bias, fixed
        )
        gradient += fixed.dot(of_logits.astype(states.dtype), gate, (1, 0))
        gradient += fixed.dot(weights.astype(states.dtype), cotangent, (1, 0))
        return gradient, of_bias + of_logits.sum()

    tiles = jnp.where(remembered, jnp.int32(gate_ref.shape[0] // tile), jnp.int32(0))
    start = (jnp.zeros(out_ref.shape, dtype), jnp.zeros((), dtype))
    gradient, of_bias_ref[...] = lax.fori_loop(jnp.int32(0), tiles, visit, start)
    out_ref[...] = gradient.astype(out_ref.dtype)


@functools.partial(jax.jit, static_argnames=('precision', 'interpret'))
def recall_forward(
    gate: jax.Array,
    history: jax.Array,
    bias: jax.Array,
    precision: str | None = None,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """As `everywhere.recall_forward`, of what `triton.fits`; `interpret` for tests without a GPU."""
    batch, queries, channels = gate.shape
    slots, positions = history.shape[1:3]
    dtype = jnp.promote_types(gate.dtype, jnp.float32)
    precision = rounding(precision, gate.dtype, interpret)
    height, rows = tile_size(positions, _STATES), tile_size(queries, _QUERIES)
    return pl.pallas_call(
        functools.partial(_forward_kernel, fixed=_Fixed(height, precision, dtype)),
        grid=(batch, queries // rows),
        in_specs=[
            *(whole(2), whole(slots), part(rows, channels)),
            whole(slots * positions, channels),
        ],
        out_specs=[part(rows, channels), part(rows)],
        out_shape=[
            jax.ShapeDtypeStruct(gate.shape, gate.dtype),
            jax.ShapeDtypeStruct(gate.shape[:2], dtype),
        ],
        name='recall',
        **how(interpret),
    )(remembered_slots(bias), bias, gate, history.reshape(batch, -1, channels))


@functools.partial(jax.jit, static_argnames=('precision', 'interpret'))
def recall_backward(
    gate: jax.Array,
    history: jax.Array,
    bias: jax.Array,
    recalled: jax.Array,
    log_sum: jax.Array,
    cotangent: jax.Array,
    precision: str | None = None,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `everywhere.recall_backward`, of what `triton.fits`; `interpret` for tests without a GPU."""
    batch, queries, channels = gate.shape
    slots, positions = history.shape[1:3]
    dtype = log_sum.dtype
    precision = rounding(precision, gate.dtype, interpret)
    mean = (cotangent.astype(dtype) * recalled.astype(dtype)).sum(axis=-1)
    height, rows = tile_size(positions, _STATES), tile_size(queries, _QUERIES)
    states = history.reshape(batch, -1, channels)
    of_queries = (gate, cotangent.astype(gate.dtype), log_sum, mean)
    of_gate = pl.pallas_call(
        functools.partial(_gate_gradient_kernel, fixed=_Fixed(height, precision, dtype)),
        grid=(batch, queries // rows),
        in_specs=[
            *(whole(2), whole(slots)),
            *(part(rows, channels), part(rows, channels), part(rows), part(rows)),
            whole(slots * positions, channels),
        ],
        out_specs=part(rows, channels),
        out_shape=jax.ShapeDtypeStruct(gate.shape, gate.dtype),
        name='recall_gate_gradient',
        **how(interpret),
    )(remembered_slots(bias), bias, *of_queries, states)
    tiles = slots * positions // height
    of_history, of_bias = pl.pallas_call(
        functools.partial(_history_gradient_kernel, fixed=_Fixed(rows, precision, dtype)),
        grid=(batch, tiles),
        in_specs=[
            whole(slots),
            *(whole(queries, channels), whole(queries, channels)),
            *(whole(queries), whole(queries)),
            part(height, channels),
        ],
        out_specs=[
            part(height, channels),
            pl.BlockSpec((None, None), lambda row, tile: (row, tile)),
        ],
        out_shape=[
            jax.ShapeDtypeStruct(states.shape, history.dtype),
            jax.ShapeDtypeStruct((batch, tiles), dtype),
        ],
        name='recall_history_gradient',
        **how(interpret),
    )(bias, *of_queries, states)
    of_bias = of_bias.reshape(batch, slots, -1).sum(axis=2)
    return of_gate, of_history.reshape(history.shape), of_bias
