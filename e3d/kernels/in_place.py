r"""RECALL in place in one kernel: for NVIDIA GPUs, in Triton's language by way of Pallas.

The same sums as `nearby.py` with radius 0. A program of the kernel has some positions, goes over the
remembered slots there with the online softmax, and keeps all in between in registers. In the backward
pass it gathers the gradient of its queries and writes that of each slot at its positions, which no
other program has; of the bias of each slot it writes its part.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from e3d.kernels.history import by_positions
from e3d.kernels.triton import how, part, remembered_slots, tile_size, whole

_POSITIONS = 16  # of a program: few, so that there are programs enough for a small batch


def _slots_of(positions: int, slots: int, channels: int) -> pl.BlockSpec:
    """All slots of the positions of a program."""
    return pl.BlockSpec((None, slots, positions, channels), lambda row, tile: (row, 0, tile, 0))


def _forward_kernel(range_ref, bias_ref, gate_ref, history_ref, recalled_ref, log_sum_ref):
    dtype = log_sum_ref.dtype
    gate = gate_ref[...].astype(dtype)
    lowest = jnp.asarray(jnp.finfo(dtype).min / 2, dtype)

    def visit(slot, state):
        maximum, total, recalled = state
        bias = bias_ref[slot]
        remembered = bias > -jnp.inf
        states = jnp.where(remembered, history_ref[slot].astype(dtype), 0)
        logits = jnp.where(remembered, (gate * states).sum(axis=1) + bias, lowest)
        new_maximum = jnp.maximum(maximum, logits)
        weights = jnp.where(remembered, jnp.exp(logits - new_maximum), 0)
        rescale = jnp.exp(maximum - new_maximum)
        recalled = recalled * rescale[:, None] + weights[:, None] * states
        return new_maximum, total * rescale + weights, recalled

    rows = gate.shape[:1]
    start = (jnp.full(rows, lowest), jnp.zeros(rows, dtype), jnp.zeros(gate.shape, dtype))
    maximum, total, recalled = lax.fori_loop(range_ref[0], range_ref[1], visit, start)
    total = jnp.where(total == 0, 1, total)
    recalled_ref[...] = (recalled / total[:, None]).astype(recalled_ref.dtype)
    log_sum_ref[...] = maximum + jnp.log(total)


def _backward_kernel(
    bias_ref,
    gate_ref,
    history_ref,
    recalled_ref,
    log_sum_ref,
    cotangent_ref,
    of_gate_ref,
    of_history_ref,
    of_bias_ref,
):
    log_sum = log_sum_ref[...]
    dtype = log_sum.dtype
    gate, recalled, cotangent = (
        ref[...].astype(dtype) for ref in (gate_ref, recalled_ref, cotangent_ref)
    )
    mean = (cotangent * recalled).sum(axis=1)

    def visit(slot, of_gate):
        bias = bias_ref[slot]
        remembered = bias > -jnp.inf
        states = jnp.where(remembered, history_ref[slot].astype(dtype), 0)
        logits = (gate * states).sum(axis=1) + bias
        weights = jnp.where(remembered, jnp.exp(logits - log_sum), 0)
        of_logits = weights * ((cotangent * states).sum(axis=1) - mean)
        of_bias_ref[slot] = of_logits.sum()
        of_states = of_logits[:, None] * gate + weights[:, None] * cotangent
        of_history_ref[slot] = of_states.astype(of_history_ref.dtype)
        return of_gate + of_logits[:, None] * states

    slots = jnp.int32(bias_ref.shape[0])
    of_gate = lax.fori_loop(jnp.int32(0), slots, visit, jnp.zeros(gate.shape, dtype))
    of_gate_ref[...] = of_gate.astype(of_gate_ref.dtype)


@functools.partial(jax.jit, static_argnames='interpret')
def recall_forward(
    gate: jax.Array, history: jax.Array, bias: jax.Array, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """As `nearby.recall_forward`, of what `triton.fits`; `interpret` for tests without a GPU."""
    batch, slots, positions, channels = history.shape
    rows = tile_size(positions, _POSITIONS)
    row = part(rows, channels)
    recalled, log_sum = pl.pallas_call(
        _forward_kernel,
        grid=(batch, positions // rows),
        in_specs=[whole(2), whole(slots), row, _slots_of(rows, slots, channels)],
        out_specs=[row, part(rows)],
        out_shape=[
            jax.ShapeDtypeStruct((batch, positions, channels), gate.dtype),
            jax.ShapeDtypeStruct((batch, positions), jnp.promote_types(gate.dtype, jnp.float32)),
        ],
        name='recall_in_place',
        **how(interpret),
    )(remembered_slots(bias), bias, by_positions(gate), history)
    return recalled.reshape(gate.shape), log_sum.reshape(gate.shape[:-1])


@functools.partial(jax.jit, static_argnames='interpret')
def recall_backward(
    gate: jax.Array,
    history: jax.Array,
    bias: jax.Array,
    recalled: jax.Array,
    log_sum: jax.Array,
    cotangent: jax.Array,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `nearby.recall_backward`, of what `triton.fits`; `interpret` for tests without a GPU."""
    batch, slots, positions, channels = history.shape
    rows = tile_size(positions, _POSITIONS)
    row, of_slots = part(rows, channels), _slots_of(rows, slots, channels)
    programs = positions // rows
    of_gate, of_history, of_bias = pl.pallas_call(
        _backward_kernel,
        grid=(batch, programs),
        in_specs=[whole(slots), row, of_slots, row, part(rows), row],
        out_specs=[
            row,
            of_slots,
            pl.BlockSpec((None, None, slots), lambda row, tile: (row, tile, 0)),
        ],
        out_shape=[
            jax.ShapeDtypeStruct((batch, positions, channels), gate.dtype),
            jax.ShapeDtypeStruct(history.shape, history.dtype),
            jax.ShapeDtypeStruct((batch, programs, slots), log_sum.dtype),
        ],
        name='recall_in_place_gradients',
        **how(interpret),
    )(
        bias,
        *(by_positions(gate), history, by_positions(recalled)),
        *(log_sum.reshape(batch, positions), by_positions(cotangent)),
    )
    return of_gate.reshape(gate.shape), of_history, of_bias.sum(axis=1)
