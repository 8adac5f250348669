"""Recognition of a clip that is still going on, frame by frame.

    state = start(model, params, (H, W, C))
    for frame in camera:                       # [H, W, C] in [0, 1]
        state, class_probabilities = observe(model, params, state, frame)

Equal to `model.apply` on all frames so far. With `history` set (online: 5) the state has a fixed size;
without it RECALL looks at everything, and the memory of the states doubles when it is full.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.history import empty_slots
from e3d.kernels.modes import Operations
from e3d.kernels.scan import histories_at, write_each
from e3d.model.frames import scale_frames
from e3d.model.needs import needs_of
from e3d.model.network import NetworkCarry, StepInputs, in_own_precision
from e3d.model.recognizer import Recognizer
from e3d.model.stack import Arrays

_FIRST_SLOTS = 8  # of a memory that grows


class StreamState(NamedTuple):
    """What has been seen of the clips.

    Attributes:
      carry: of the last step.
      remembered: the states after the last step that RECALL remembers, of each layer that recalls.
      histories: the same of earlier steps, `[B, K, P, C]` for each layer.
      outputs: of the stack at the last `window` steps, `[window, B, D, h, w, features]`.
      steps: how many frames were observed, int32.
    """

    carry: NetworkCarry
    remembered: Arrays
    histories: Arrays
    outputs: jax.Array
    steps: jax.Array


def start(
    model: Recognizer, params: Any, frame_shape: tuple[int, int, int], batch_size: int | None = None
) -> StreamState:
    """The state before the first frame.

    Args:
      model: a recognizer.
      params: of it.
      frame_shape: (H, W, C).
      batch_size: for several clips at once; None for one, whose frames are `[H, W, C]`.

    Raises:
      InputError: the model is not a recognizer.
    """
    _check_recognizer(model)
    shape = (batch_size or 1, *frame_shape)
    dtype = jax.tree.leaves(params)[0].dtype
    carry, remembered = model.initial_state(shape, dtype)
    slots = getattr(model, 'history', None) or _FIRST_SLOTS
    histories = tuple(empty_slots(state, slots) for state in remembered)
    size = model.sizes(frame_shape[:2])[-1]
    outputs = jnp.zeros((model.window, shape[0], model.depth, *size, model.features), model.dtype)
    return StreamState(carry, remembered, histories, outputs, jnp.int32(0))


def observe(
    model: Recognizer, params: Any, state: StreamState, frame: jax.Array
) -> tuple[StreamState, jax.Array]:
    """Takes in the next frame.

    Under `jax.jit` the values of the frame are not checked, and a model without `history` cannot
    be used, as its memory grows.

    Args:
      model: a recognizer.
      params: of it.
      state: from `start` or the frame before.
      frame: `[H, W, C]`, or `[B, H, W, C]`; floats in [0, 1], or uint8.

    Returns:
      The new state, and the probabilities of the classes, `[classes]` or `[B, classes]`.

    Raises:
      InputError: a frame of another shape or type, values that are not finite or outside [0, 1].
    """
    _check_recognizer(model)
    frame = scale_frames(frame, 'frame')
    single = frame.ndim == 3
    frames = frame[None] if single else frame
    if frames.shape != state.carry.prediction.shape:
        raise InputError(
            f'frame of shape {frame.shape}: must be {state.carry.prediction.shape[1:]}, '
            f'{len(state.carry.prediction)} at once'
        )
    grows = state.histories and not getattr(model, 'history', None)
    if grows and isinstance(state.steps, jax.core.Tracer):
        raise InputError(
            'history=None: the memory of the model grows from frame to frame, which jax.jit does '
            'not allow. Call observe without it (it is compiled inside), or set model.history.'
        )
    if grows and int(state.steps) > state.histories[0].shape[1]:
        state = state._replace(
            histories=tuple(jnp.concatenate([h, jnp.zeros_like(h)], 1) for h in state.histories)
        )
    state, probabilities = _observe(model, params, state, frames)
    return state, probabilities[0] if single else probabilities


def _check_recognizer(model: Any) -> None:
    if needs_of(model).scores_only:
        raise InputError(
            f'{type(model).__name__} sees whole clips and has no state between frames: call '
            'model.apply(variables, frames, lengths=lengths), or the recognizers with a cell.'
        )
    if not isinstance(model, Recognizer):
        raise InputError(
            f'{type(model).__name__} is not a recognizer: start and observe are for those. A '
            'forecaster continues a whole clip: forecast(run, frames), or '
            "model.apply({'params': params}, frames, output_frames)."
        )


@functools.partial(jax.jit, static_argnames='model')
@in_own_precision
def _observe(model: Recognizer, params: Any, state: StreamState, frames: jax.Array):
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
