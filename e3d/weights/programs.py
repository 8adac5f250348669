"""A forecast as a program: in StableHLO, which runs with nothing but JAX, or in ONNX.

The argument of a program is float32 `[B, T, H, W, C]`: frames as the model sees them, in [0, 1], or in
the unit of the data where they have one. Its result is float32 `[B, horizon, H, W, C]`, the forecast.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters.partial_eval import dce_jaxpr

from e3d.data.sources.scales import Scale
from e3d.errors import RunError
from e3d.evaluation.metrics import within
from e3d.kernels.platforms import exporting, traced_for
from e3d.prediction.forecast import continue_clips
from e3d.runs.trained_run import Run

ANY_BATCH = 'any'


def export_stablehlo(
    run: Run, frames: int, horizon: int, batch: int | str, platforms: Sequence[str]
) -> bytes:
    """The program, with the parameters in it, as `jax.export.deserialize` reads it.

    Args:
      run: of a forecaster.
      frames: T, how many frames are seen.
      horizon: how many are forecast.
      batch: B, or 'any'.
      platforms: what it is for: 'cpu', 'cuda', 'tpu'.
    """
    size = jax.export.symbolic_shape('batch')[0] if batch == ANY_BATCH else batch
    argument = jax.ShapeDtypeStruct((size, frames, *run.frame_shape), jnp.float32)
    continued = jax.jit(_continued(run, frames, horizon))
    with exporting():
        return jax.export.export(continued, platforms=platforms)(argument).serialize()


def export_onnx(run: Run, frames: int, horizon: int, batch: int) -> bytes:
    """The program, with the parameters in it, as the file of an ONNX model.

    Its argument has the name 'frames', its result 'forecast'.

    Args:
      run: of a forecaster.
      frames: T, how many frames are seen.
      horizon: how many are forecast.
      batch: B.

    Raises:
      RunError: jax2onnx has no way to say in ONNX what the model computes.
    """
    import jax2onnx

    argument = jax.ShapeDtypeStruct((batch, frames, *run.frame_shape), jnp.float32)
    # As CPUs compute: jax2onnx knows no 3D convolutions, but products.
    with traced_for('cpu'):
        traced = jax.make_jaxpr(_continued(run, frames, horizon))(argument)
    # Without what has no use, such as random numbers, which ONNX cannot make.
    useful, _ = dce_jaxpr(traced.jaxpr, [True], instantiate=True)
    compute = jaxpr_as_fun(ClosedJaxpr(useful, traced.consts))
    try:
        model = jax2onnx.to_onnx(
            lambda clips: compute(clips)[0],
            [argument],
            model_name=run.config.model.name,
            input_names=['frames'],
            output_names=['forecast'],
        )
    except (NotImplementedError, TypeError, ValueError) as error:
        raise RunError(f"format='onnx': jax2onnx cannot express {run}: {error}") from error
    return model.SerializeToString()


def _continued(run: Run, frames: int, horizon: int) -> Callable[[jax.Array], jax.Array]:
    """The function of a program."""
    room = run.config.dataset.input_frames
    variables = jax.tree.map(jnp.asarray, run.variables)

    def continued(clips: jax.Array) -> jax.Array:
        # Hidden from the compiler, which would compute with constants in another way.
        values = jax.lax.optimization_barrier(variables)
        seen = _from_unit(run.scale, clips)
        seen = jnp.pad(seen, [(0, 0), (0, room - frames), *[(0, 0)] * 3])
        length = jax.lax.optimization_barrier(jnp.int32(frames))
        prediction = continue_clips.__wrapped__(run.model, values, seen, length, horizon)
        return _to_unit(run.scale, within(prediction, run.scale.bounds))

    return continued


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
