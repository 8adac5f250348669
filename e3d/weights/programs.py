"""A forecast as a program in StableHLO, which runs with nothing but JAX."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from e3d.data.sources.scales import Scale
from e3d.prediction.forecast import continue_clips
from e3d.runs.trained_run import Run

ANY_BATCH = 'any'


def export_program(
    run: Run, frames: int, horizon: int, batch: int | str, platforms: Sequence[str]
) -> bytes:
    """The program, with the parameters in it, as `jax.export.deserialize` reads it.

    Its argument is float32 `[B, T, H, W, C]`: frames as the model sees them, in [0, 1], or in the unit
    of the data where they have one. Its result is float32 `[B, horizon, H, W, C]`, the forecast.

    Args:
      run: of a forecaster.
      frames: T, how many frames are seen.
      horizon: how many are forecast.
      batch: B, or 'any'.
      platforms: what it is for: 'cpu', 'cuda', 'tpu'.
    """
    room = run.config.dataset.input_frames
    variables = jax.tree.map(jnp.asarray, run.variables)

    def continued(clips: jax.Array) -> jax.Array:
        # Hidden from the compiler, which would compute with constants in another way.
        values = jax.lax.optimization_barrier(variables)
        seen = _from_unit(run.scale, clips)
        seen = jnp.pad(seen, [(0, 0), (0, room - frames), *[(0, 0)] * 3])
        length = jax.lax.optimization_barrier(jnp.int32(frames))
        prediction = continue_clips.__wrapped__(run.model, values, seen, length, horizon)
        return _to_unit(run.scale, jnp.clip(prediction, *map(np.float32, run.scale.bounds)))

    size = jax.export.symbolic_shape('batch')[0] if batch == ANY_BATCH else batch
    argument = jax.ShapeDtypeStruct((size, frames, *run.frame_shape), jnp.float32)
    return jax.export.export(jax.jit(continued), platforms=platforms)(argument).serialize()


def _from_unit(scale: Scale, values: jax.Array) -> jax.Array:
    """As `Scale.from_unit`, within a program."""
    if scale.value_range is None:
        return values
    low, high = map(np.float32, scale.value_range)
    # An array of its own: by one number a compiler multiplies with the rounded inverse.
    extent = jax.lax.optimization_barrier(jnp.full(values.shape, high - low))
    return (values - low) / extent


def _to_unit(scale: Scale, values: jax.Array) -> jax.Array:
    """As `Scale.to_unit`, within a program."""
    if scale.value_range is None:
        return values
    low, high = map(np.float32, scale.value_range)
    # A branch between product and sum: a compiler joins them to one operation, rounded once.
    always = jax.lax.optimization_barrier(jnp.bool_(True))
    return jax.lax.cond(always, lambda part: part, jnp.negative, values * (high - low)) + low
