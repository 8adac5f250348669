"""What kernels for NVIDIA GPUs share, in Triton's language by way of Pallas: what fits, tiles, slots."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from e3d.kernels.platforms import is_exporting

try:  # JAX means to give this up in favor of what only the newest GPUs have
    from jax.experimental.pallas import triton
except ImportError:
    triton = None

_FEWEST = 16  # that a side of a product may have
_MOST_CHANNELS = 256
_LEAST_CAPABILITY = 80  # of which Triton makes kernels, and which has products in TF32


def fits(gate: jax.Array, history: jax.Array) -> bool:
    """Whether there are kernels for the GPU that is compiled for, and for these arrays.

    Args:
      gate: `[B, Q, C]`.
      history: `[B, K, P, C]`.
    """
    channels = gate.shape[-1]
    return (
        _capability() >= _LEAST_CAPABILITY
        and not is_exporting()
        and isinstance(gate.shape[0], int)  # not open
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


def tile_size(size: int, most: int) -> int:
    """The largest power of two that divides the size, up to `most`."""
    return min(size & -size, most)


def whole(*shape: int) -> pl.BlockSpec:
    """All of what one sequence has."""
    return pl.BlockSpec((None, *shape), lambda row, tile: (row, *(0 for _ in shape)))


def part(*shape: int) -> pl.BlockSpec:
    """The tile of a program, along the second axis of an array."""
    return pl.BlockSpec((None, *shape), lambda row, tile: (row, tile, *(0 for _ in shape[1:])))


def how(interpret: bool) -> dict:
    """How kernels are compiled, or interpreted without a GPU."""
    if interpret:
        return {'interpret': True}
    return {'compiler_params': triton.CompilerParams(num_warps=4, num_stages=2)}


def rounding(precision: str | None, dtype: jnp.dtype, interpret: bool) -> Any:
    """How products of tiles are rounded, for `jax.lax.dot_general`.

    Triton multiplies float32 to its last bits without the units that multiply matrices. Three products
    in TF32, of what it keeps of each factor and of what it leaves, are nearly as exact.
    """
    exact = precision in ('highest', 'float32') and dtype == jnp.float32 and not interpret
    return lax.DotAlgorithmPreset.TF32_TF32_F32_X3 if exact else precision


def remembered_slots(bias: jax.Array) -> jax.Array:
    """First and one past the last remembered slot of each sequence, int32 `[B, 2]`."""
    slots, valid = jnp.arange(bias.shape[1], dtype=jnp.int32), bias > -jnp.inf
    first = jnp.where(valid, slots, bias.shape[1]).min(axis=1)
    last = jnp.where(valid, slots + 1, 0).max(axis=1)
    return jnp.stack([first, last], axis=1)
