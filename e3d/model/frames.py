"""The check of frames that a user gives to a model: what they mean must show in them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError

ROUNDING = 1e-4  # floats may leave [0, 1] by so much, as resized pictures do; they are clipped


def scale_frames(frames: Any, name: str = 'frames') -> np.ndarray | jax.Array:
    """Makes frames floats in [0, 1], or says why they cannot be.

    Under tracing (`jax.jit`, `jax.vmap`, ...) the values are unknown: there only the dtype is
    checked, and floats pass as they are.

    Args:
      frames: any shape; uint8 in 0..255, floats in [0, 1], or bool.
      name: what to call them in messages.

    Returns:
      The same shape: uint8 divided by 255 and bool as 0 and 1, both float32; floats in their type.

    Raises:
      InputError: another dtype, masked values, values that are not finite or outside [0, 1].
    """
    if isinstance(frames, jax.core.Tracer):
        return scale_types(frames, name)
    frames = plain_numbers(frames, name)
    if frames.dtype == np.uint8:
        return np.divide(frames, 255, dtype=np.float32)
    if frames.dtype == np.bool_:
        return frames.astype(np.float32)
    if not jnp.issubdtype(frames.dtype, jnp.floating):
        raise _wrong_type(frames, name)
    if frames.size:
        lowest, highest = float(frames.min()), float(frames.max())
        if lowest < -ROUNDING or highest > 1.0 + ROUNDING:
            raise InputError(
                f'{name}: the values go from {lowest:g} to {highest:g}; floats must be in [0, 1]. '
                'Pixels of 8 bits must be uint8, or divided by 255; other data by the same '
                'numbers as those of the training.'
            )
    return np.clip(frames, 0, 1)


def plain_numbers(frames: Any, name: str) -> np.ndarray:
    """Any numbers as an array in the host's memory.

    Raises:
      InputError: no numbers, complex ones, masked values, or values that are not finite.
    """
    if isinstance(frames, np.ma.MaskedArray) and np.ma.is_masked(frames):
        raise InputError(
            f'{name}: {np.ma.count_masked(frames)} values are masked. Say what they are: '
            'frames.filled(VALUE).'
        )
    try:
        frames = np.asarray(frames)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f'{name}: cannot be made an array of numbers: {error}.') from error
    if jnp.issubdtype(frames.dtype, jnp.floating):
        count = frames.size - np.count_nonzero(np.isfinite(frames))
        if count:
            raise InputError(
                f'{name}: {count} values are NaN or infinite. Fill them first, in the way that '
                'the training data were.'
            )
    elif frames.dtype.kind not in 'iub':
        raise _wrong_type(frames, name)
    return frames


def scale_types(frames: jax.Array, name: str = 'frames') -> jax.Array:
    """As `scale_frames`, by the dtype alone: for what is traced, and inside of models."""
    if frames.dtype == jnp.uint8:
        return frames.astype(jnp.float32) / 255
    if frames.dtype == jnp.bool_:
        return frames.astype(jnp.float32)
    if not jnp.issubdtype(frames.dtype, jnp.floating):
        raise _wrong_type(frames, name)
    return frames


def _wrong_type(frames: Any, name: str) -> InputError:
    return InputError(
        f'{name}: the dtype is {frames.dtype}; it must be uint8 (0 to 255) or float ([0, 1]). '
        'Divide pixels of more bits by the largest value of their format, 65535 for 16 bits.'
    )
