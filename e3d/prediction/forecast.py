"""A trained run continues clips: arrays with `forecast`, files with `predict_file`."""

import functools
import operator
import os
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from e3d.data.adaptation import adapt_frames
from e3d.data.clip_arrays import ARRAY_SUFFIXES, checked_values, describe_array
from e3d.data.clips import frame_rate, read_clip
from e3d.errors import InputError, RunError
from e3d.model import Recognizer
from e3d.prediction.media import check_output, write_clip
from e3d.training.checkpoints import Run, load_run

DEFAULT_RATE = 10.0  # frames per second of a written clip whose input states none


def forecast(
    run_or_model: Run | str | os.PathLike, frames: np.ndarray, horizon: int | None = None
) -> np.ndarray:
    """Continues one clip, or a batch of clips.

    As many of the last frames are used as the model was trained to see, or all if there are
    fewer. Grey and RGB are converted, and frames of another size resized, to what the model was
    trained on (see `adapt_frames`); the forecast has the size and channels of the training.
    Compiled once for each number of clips, frames and horizon.

    Args:
      run_or_model: a run of `e3d.training.checkpoints.load_run`, or the path of its workdir, which
        is then read anew with every call.
      frames: `[T, H, W]`, `[T, H, W, C]` or `[B, T, H, W, C]`, T >= 1, uint8, or floats in [0, 1].
      horizon: how many frames to forecast, any number; by default as many as in training.

    Returns:
      Float32 `[horizon, H, W, C]`, or `[B, horizon, H, W, C]` for a batch, in [0, 1].

    Raises:
      InputError: if the frames or the horizon cannot be used.
      RunError: if the forecast is not finite, or memory does not suffice.
    """
    run = run_or_model if isinstance(run_or_model, Run) else load_run(run_or_model)
    _check_forecaster(run)
    horizon = _checked_horizon(horizon, run)
    frames = checked_values(frames, 'The array of frames')
    if frames.ndim not in (3, 4, 5):
        raise InputError(
            f'The array of frames has shape {frames.shape}; it must be [T, H, W], [T, H, W, C] or '
            '[B, T, H, W, C] (batch, time, height, width, channels).'
        )
    batched = frames.ndim == 5
    if frames.ndim == 3:
        frames = frames[..., np.newaxis]
    clips = frames if batched else frames[np.newaxis]
    seen = adapt_frames(clips[:, -run.config.dataset.input_frames :], run.frame_shape)
    try:
        prediction = np.asarray(_continue(run.model, run.params, seen, horizon))
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        raise RunError(
            f'Memory does not suffice to forecast {horizon} frames of {len(clips)} clips. Use a '
            'smaller horizon, or fewer clips at once.'
        ) from error
    _check_finite(prediction)
    prediction = np.clip(prediction, 0.0, 1.0)
    return prediction if batched else prediction[0]


def predict_file(
    run: Run | str | os.PathLike,
    input: str | os.PathLike,
    output: str | os.PathLike,
    horizon: int | None = None,
) -> str:
    """Continues the clip in a file and writes the continuation to another.

    Args:
      run: as for `forecast`.
      input: whatever `e3d.data.clips.read_clip` reads.
      output: `.mp4`, `.gif`, `.npy`, or no suffix for a folder of PNG files.
      horizon: as for `forecast`.

    Returns:
      What was done to the input and what was written, in a few lines for the user.

    Raises:
      InputError: if the input, the output or the horizon cannot be used; nothing is written.
      RunError: as for `forecast`, or if writing fails.
    """
    check_output(output)
    if all(Path(path).exists() for path in (input, output)) and os.path.samefile(input, output):
        raise InputError(f'{output} is the input itself. Give the continuation another name.')
    if not isinstance(run, Run):
        run = load_run(run)
    _check_forecaster(run)
    horizon = _checked_horizon(horizon, run)
    layout = run.config.dataset.get('layout', '')
    frames = read_clip(input, run.config.dataset.input_frames, layout)
    prediction = forecast(run, frames, horizon)
    rate = frame_rate(input) or DEFAULT_RATE
    write_clip(output, prediction, rate)
    lines = [_account_of_input(frames, run, input)]
    if Path(input).suffix.lower() in ARRAY_SUFFIXES:
        lines.append(f'{describe_array(input, layout)}.')
    speed = f' at {rate:g} frames/s' if Path(output).suffix.lower() in ('.mp4', '.gif') else ''
    height, width, channels = prediction.shape[1:]
    lines.append(
        f'Wrote the next {horizon} frames, {height} x {width} {_colour(channels)}, to '
        f'{output}{speed}.'
    )
    return '\n'.join(lines)


@functools.partial(jax.jit, static_argnames=('model', 'horizon'))
def _continue(model: nn.Module, params, frames: jax.Array, horizon: int) -> jax.Array:
    return model.apply({'params': params}, frames, horizon)[:, -horizon:]


def _check_forecaster(run: Run) -> None:
    if isinstance(run.model, Recognizer):
        raise InputError(
            f'The model of the run, {run.config.model.name}, recognises clips and continues none; '
            'e3d.observe gives what it recognises.'
        )


def _checked_horizon(horizon: int | None, run: Run) -> int:
    if horizon is None:
        return int(run.config.dataset.output_frames)
    try:
        horizon = operator.index(horizon)
    except TypeError:
        raise InputError(f'horizon is {horizon!r}; it must be a whole number of frames.') from None
    if horizon < 1:
        raise InputError(f'horizon is {horizon}; at least 1 frame is to be forecast.')
    return horizon


def _check_finite(prediction: np.ndarray) -> None:
    good = np.isfinite(prediction).all(axis=(0, 2, 3, 4))
    if not good.all():
        raise RunError(
            f'The forecast is not finite from frame {int(np.argmin(good)) + 1} on. Use a smaller '
            'horizon, or a checkpoint of a training that did not diverge.'
        )


def _account_of_input(frames: np.ndarray, run: Run, path: str | os.PathLike) -> str:
    """Says which frames were used and how they were changed."""
    trained, count = run.config.dataset.input_frames, len(frames)
    used = f'the last {count} frames' if count > 1 else 'one frame'
    account = f'Read {used} of {path}'
    if count < trained:
        account += f' (there are no more; the model was trained on {trained})'
    changes = []
    if frames.shape[-1] != run.frame_shape[2]:
        before, after = _colour(frames.shape[-1]), _colour(run.frame_shape[2])
        changes.append(f'{before} made {after}')
    if frames.shape[1:3] != tuple(run.frame_shape[:2]):
        before, after = frames.shape[1:3], run.frame_shape[:2]
        stretch = '' if before[0] * after[1] == before[1] * after[0] else ', aspect ratio changed'
        changes.append(
            f'{before[0]} x {before[1]} pixels resized to {after[0]} x {after[1]}{stretch}'
        )
    return f'{account}: {"; ".join(changes)}.' if changes else f'{account}.'


def _colour(channels: int) -> str:
    return {1: 'grey', 3: 'RGB'}.get(channels, f'with {channels} channels')
