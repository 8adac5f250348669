"""Recognition or forecast of a clip that is still going on, frame by frame.

    state = start(model, params, (H, W, C))
    for frame in camera:                       # [H, W, C] in [0, 1]
        state, class_probabilities = observe(model, params, state, frame)

Of a forecaster `observe` gives the next frame, and more are forecast at any time:

    future = forecast_from(model, params, state, horizon)

Frames and forecasts are as the model sees them; the methods of a trained run with the same names,
`run.observe(state, frame)` and `run.forecast_from(state, horizon)`, have them in the unit of its data.
Equal to `model.apply` on all frames so far. With `history` set (online: 5) the state has a fixed size;
without it RECALL looks at everything, and the memory of the states doubles when it is full.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError
from e3d.kernels.convolution import prepare_kernels
from e3d.kernels.history import empty_slots
from e3d.kernels.modes import Operations
from e3d.kernels.scan import histories_at, write_each
from e3d.model.fields import check_at_least, parameters_for
from e3d.model.forecaster import Forecaster
from e3d.model.frames import scale_frames, scale_types
from e3d.model.needs import needs_of
from e3d.model.network import NetworkCarry, StepInputs, in_own_precision
from e3d.model.patching import from_patches
from e3d.model.recognizer import Recognizer
from e3d.model.stack import Arrays

_FIRST_SLOTS = 8  # of a memory that grows
_LEAST_ROOM = 32  # frames of a forecast; a longer one has the next power of two


class StreamState(NamedTuple):
    """What has been seen of the clips.

    Attributes:
      carry: of the last step.
      remembered: the states after the last step that RECALL remembers, of each layer that recalls.
      histories: the same of earlier steps, `[B, K, P, C]` for each layer.
      outputs: of a recognizer those of the stack at the last `window` steps, `[window, B, D, h, w,
        features]`; of a forecaster the prediction of the next frame, `[B, H, W, C]`.
      steps: how many frames were observed, int32.
    """

    carry: NetworkCarry
    remembered: Arrays
    histories: Arrays
    outputs: jax.Array
    steps: jax.Array


def start(
    model: Recognizer | Forecaster,
    params: Any,
    frame_shape: tuple[int, int, int],
    batch_size: int | None = None,
) -> StreamState:
    """The state before the first frame.

    Args:
      model: a recognizer, or a forecaster with recurrent layers.
      params: of it.
      frame_shape: (H, W, C).
      batch_size: for several clips at once; None for one, whose frames are `[H, W, C]`.

    Raises:
      InputError: the model is neither.

    Example:
      >>> state = e3d.start(run.model, run.params, run.frame_shape)
      >>> int(state.steps)
      0
    """
    _check_streams(model)
    shape = (batch_size or 1, *frame_shape)
    dtype = jax.tree.leaves(params)[0].dtype
    if isinstance(model, Forecaster):
        outputs = jnp.zeros(shape, dtype)
        carry, remembered = model.initial_state(model.patched(outputs).shape, dtype)
    else:
        carry, remembered = model.initial_state(shape, dtype)
        size = model.sizes(frame_shape[:2])[-1]
        window = (model.window, shape[0], model.depth, *size, model.features)
        outputs = jnp.zeros(window, model.dtype)
    slots = model.build_stack().recall_window or _FIRST_SLOTS
    histories = tuple(empty_slots(state, slots) for state in remembered)
    return StreamState(carry, remembered, histories, outputs, jnp.int32(0))


def observe(
    model: Recognizer | Forecaster, params: Any, state: StreamState, frame: jax.Array | np.ndarray
) -> tuple[StreamState, jax.Array]:
    """Takes in the next frame, as the model sees it.

    Frames of a trained run go to `run.observe(state, frame)`, which prepares them as those of the
    training were and knows their unit. Here nothing tells it: numbers in a unit would be taken for
    what the model sees, and uint8 for pixels.

    Under `jax.jit` the values of the frame are not checked, and a model without `history` cannot
    be used, as its memory grows.

    Args:
      model: as for `start`.
      params: of it.
      state: from `start` or the frame before.
      frame: `[H, W, C]`, or `[B, H, W, C]`; floats in [0, 1], or uint8. Those of a forecaster may
        leave [0, 1] where its data do, as `run.scale.from_unit` of values above those of the training.

    Returns:
      The new state, and of a recognizer the probabilities of the classes, `[classes]` or
      `[B, classes]`; of a forecaster the next frame, `[H, W, C]` or `[B, H, W, C]`, not clipped.

    Raises:
      InputError: a frame of another shape or type, values that are not finite or outside [0, 1].

    Example:
      >>> state, following = e3d.observe(run.model, run.params, state, clip[0])
      >>> following.shape
      (16, 16, 1)
    """
    _check_streams(model)
    forecasts = isinstance(model, Forecaster)
    frame = _finite(frame) if forecasts else scale_frames(frame, 'frame')
    single = frame.ndim == 3
    frames = frame[None] if single else frame
    expected = state.outputs if forecasts else state.carry.prediction
    if frames.shape != expected.shape:
        raise InputError(
            f'frame of shape {frame.shape}: must be {expected.shape[1:]}, {len(expected)} at once'
        )
    grows = model.build_stack().recall_window is None
    if grows and isinstance(state.steps, jax.core.Tracer):
        raise InputError(
            'history=None: the memory of the model grows from frame to frame, which jax.jit does '
            'not allow. Call observe without it (it is compiled inside), or set model.history.'
        )
    if grows and int(state.steps) > state.histories[0].shape[1]:
        state = _with_slots(state, 2 * state.histories[0].shape[1])
    if forecasts:
        state = _see(model, params, state, frames)
        result = state.outputs
    else:
        state, result = _recognize(model, params, state, frames)
    return state, result[0] if single else result


def forecast_from(model: Forecaster, params: Any, state: StreamState, horizon: int) -> jax.Array:
    """Forecasts what follows the frames that were observed; the state stays as it is.

    As the model sees them: `run.forecast_from(state, horizon)` has them in the unit of the data.

    One program serves every horizon up to 32, and one each up to 64, 128, ..., whatever the number of
    observed frames; without `history` also one each time that the memory has doubled.

    Args:
      model: a forecaster, as for `start`.
      params: of it.
      state: from `observe`.
      horizon: how many frames.

    Returns:
      `[B, horizon, H, W, C]`, not clipped.

    Raises:
      InputError: another model, nothing was observed, or a horizon below 1.

    Example:
      >>> e3d.forecast_from(run.model, run.params, state, horizon=4).shape
      (1, 4, 16, 16, 1)
    """
    _check_streams(model)
    if not isinstance(model, Forecaster):
        raise InputError(f'{type(model).__name__} recognizes clips and forecasts none.')
    check_at_least({'horizon': (horizon, 1)})
    if int(state.steps) < 1:
        raise InputError('forecast_from: no frame was observed yet; call observe before.')
    room = max(_LEAST_ROOM, _power_of_two(horizon))
    if model.build_stack().recall_window is None:
        slots = _power_of_two(int(state.steps) + room)
        state = _with_slots(state, max(slots, state.histories[0].shape[1]))
    frames = _continue(model, params, state, jnp.int32(horizon), room)
    return jnp.moveaxis(frames[:horizon], 0, 1)


def _check_streams(model: Any) -> None:
    if needs_of(model).scores_only:
        raise InputError(
            f'{type(model).__name__} sees whole clips and has no state between frames: call '
            'model.apply(variables, frames, lengths=lengths), or the recognizers with a cell.'
        )
    if needs_of(model).noise:
        raise InputError(
            f'model.noise_channels={needs_of(model).noise}: start and observe are for models without; '
            'use forecast(run, frames, members=...).'
        )
    if not isinstance(model, Recognizer | Forecaster):
        raise InputError(
            f'{type(model).__name__} has no stack of cells: start and observe are for recognizers and '
            'models like e3d_lstm, predrnn and convlstm. Use forecast(run, frames).'
        )
    lists = {n: value for n, value in vars(model).items() if isinstance(value, list)}
    for name, value in lists.items():  # JAX could not tell the model from another
        raise InputError(f'{name}={value!r}: must be a tuple, {name}={tuple(value)!r}')


def _finite(frame: Any) -> jax.Array:
    """The frame of a forecaster, whose data may leave [0, 1]."""
    frame = scale_types(jnp.asarray(frame), 'frame')
    if not isinstance(frame, jax.core.Tracer) and not bool(jnp.isfinite(frame).all()):
        raise InputError('frame: holds values that are not finite (NaN or infinity)')
    return frame


def _power_of_two(number: int) -> int:
    """The least one that is not below the number."""
    return 1 << (number - 1).bit_length()


def _with_slots(state: StreamState, slots: int) -> StreamState:
    """The state with room for more remembered steps; the places of those that there are stay."""
    more = slots - state.histories[0].shape[1]
    padding = ((0, 0), (0, more), (0, 0), (0, 0))
    return state._replace(histories=tuple(jnp.pad(h, padding) for h in state.histories))


@functools.partial(jax.jit, static_argnames='model')
@in_own_precision
def _see(model: Forecaster, params: Any, state: StreamState, frames: jax.Array) -> StreamState:
    return advance_stream(model, stream_weights(model, params, state), state, frames, Operations())


@functools.partial(jax.jit, static_argnames=('model', 'room'))
@in_own_precision
def _continue(
    model: Forecaster, params: Any, state: StreamState, horizon: jax.Array, room: int
) -> jax.Array:
    """The first `horizon` of `[room, B, H, W, C]` are the forecast; one program for all of them."""
    weights = prepare_kernels(stream_weights(model, params, state))
    frames = jnp.zeros((room, *state.outputs.shape), state.outputs.dtype).at[0].set(state.outputs)

    def forecast_next(number, carried):
        state, frames = carried
        state = advance_stream(model, weights, state, None, Operations())
        return state, frames.at[number].set(state.outputs)

    return jax.lax.fori_loop(1, horizon, forecast_next, (state, frames))[1]


def stream_weights(model: Forecaster, params: Any, state: StreamState) -> Any:
    """The weights of a step, declared for the frames of this state."""
    batch, *patch_shape = state.carry.prediction.shape
    with parameters_for(state.outputs.shape):
        shape = (batch, model.depth, *patch_shape)
        return model.apply({'params': params}, shape, method='weights')


def advance_stream(
    model: Forecaster,
    weights: Any,
    state: StreamState,
    frames: jax.Array | None,
    operations: Operations,
) -> StreamState:
    """One step that sees frames, or where there are none the prediction of them."""
    slots = write_each(state.histories, state.steps - 1, state.remembered)
    histories = histories_at(slots, state.steps)
    carry, remembered = state.carry, state.remembered
    observed = jnp.full(len(state.outputs), frames is not None)
    seen = carry.prediction if frames is None else model.patched(frames)
    inputs = StepInputs(seen.astype(carry.frames.dtype), observed)
    carry, remembered, prediction = model.step_function()(
        weights, carry, remembered, histories, inputs, operations
    )
    height, width = state.outputs.shape[1:3]
    outputs = from_patches(prediction, model.patch_size)[:, :height, :width]
    return StreamState(carry, remembered, slots, outputs, state.steps + 1)


@functools.partial(jax.jit, static_argnames='model')
@in_own_precision
def _recognize(model: Recognizer, params: Any, state: StreamState, frames: jax.Array):
    slots = write_each(state.histories, state.steps - 1, state.remembered)
    histories = histories_at(slots, state.steps)
    weights = model.apply({'params': params}, frames.shape, method='weights')
    inputs = StepInputs(frames.astype(state.carry.frames.dtype), jnp.ones(len(frames), bool))
    step = model.step_function(frames.shape[1:3])
    carry, remembered, (_, output) = step(
        weights, state.carry, state.remembered, histories, inputs, Operations()
    )
    outputs = jnp.concatenate([state.outputs[1:], output[None].astype(state.outputs.dtype)])
    newest = jnp.moveaxis(outputs, 0, 1).reshape(len(frames), -1, *outputs.shape[3:])
    scores = model.apply({'params': params}, newest, method='classify')
    state = StreamState(carry, remembered, slots, outputs, state.steps + 1)
    return state, jax.nn.softmax(scores)
