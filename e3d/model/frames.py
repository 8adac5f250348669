"""The check of frames that are given to a model directly."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError
from e3d.pixel_values import as_floats, checked_values


def scale_frames(frames: Any, name: str = 'frames') -> np.ndarray | jax.Array:
    """Makes pixels floats in [0, 1] as `e3d.pixel_values` does, or says why they cannot be.

    Under tracing (`jax.jit`, `jax.vmap`, ...) the values are unknown: there only the dtype is
    checked, and floats pass as they are.

    Args:
      frames: any shape; uint8, uint16, bool, or floats in [0, 1].
      name: what to call them in messages.

    Returns:
      Float32 of the same shape; the type of the model's floats under tracing.

    Raises:
      InputError: another dtype, masked values, values that are not finite or outside [0, 1].
    """
    if isinstance(frames, jax.core.Tracer):
        return scale_types(frames, name)
    return as_floats(checked_values(frames, name, single_frame=True))


def scale_types(frames: jax.Array, name: str = 'frames') -> jax.Array:
    """Like `scale_frames`, but by the dtype alone: for what is traced, and inside of models."""
    if frames.dtype in (jnp.uint8, jnp.uint16):
        return frames.astype(jnp.float32) / jnp.iinfo(frames.dtype).max
    if frames.dtype == jnp.bool_:
        return frames.astype(jnp.float32)
    if not jnp.issubdtype(frames.dtype, jnp.floating):
        raise InputError(
            f'{name}: the dtype is {frames.dtype}; it must be uint8 (0 to 255), uint16 (0 to '
            '65535), bool or float ([0, 1]).'
        )
    return frames
