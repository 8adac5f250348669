"""A trained run continues clips: arrays with `forecast`, files with `predict_file`."""

import functools
import operator
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from e3d.data.sources.adaptation import color_name, preparation_of
from e3d.errors import InputError, RunError
from e3d.files import local_path
from e3d.model import RECOGNIZERS
from e3d.model.needs import call_in_use, needs_of
from e3d.prediction.inputs import checked_frames, prepare_frames, read_input
from e3d.prediction.media import check_output, check_sides, playable_rate, write_clip
from e3d.prediction.memory import check_fits, check_program
from e3d.prediction.opening import open_run
from e3d.prediction.presentation import Presentation
from e3d.runs.trained_run import Run

DEFAULT_RATE = 10.0  # frames per second of a written clip whose input states none
PLAIN = Presentation()
BYTES_OF_PIXEL = 9  # of a picture: three colors, in up to three copies


def forecast(
    run_or_model: Run | str | os.PathLike[str], frames: np.ndarray, horizon: int | None = None
) -> np.ndarray:
    """Continues one clip, or a batch of clips.

    As many of the last frames are used as the model was trained to see, or all if there are
    fewer. They are prepared as those of the training were: cropped or stretched to the size, made
    gray or RGB, rounded to 8 bits where they have no more (see `Preparation`);
    their rate is taken to be that of the training. The forecast has the size and channels of the
    training. Compiled once for each number of clips and horizon, whatever the number of frames.

    Args:
      run_or_model: a run of `e3d.load_run`, or the path of its workdir; that is
        read once, and again when there is another checkpoint.
      frames: `[T, H, W]`, `[T, H, W, C]` or `[B, T, H, W, C]`, T >= 1. Of pictures uint8, uint16,
        bool, or floats in [0, 1]. Where the data of the run have a unit (`run.scale.value_range` is
        not None, as for flows), integers or floats in that unit, such as counts.
      horizon: how many frames to forecast, any number; by default as many as in training.

    Returns:
      Float32 `[horizon, H, W, C]`, or `[B, horizon, H, W, C]` for a batch: in [0, 1], or in the unit
      of the data where they have one.

    Raises:
      InputError: if the frames or the horizon cannot be used, or the forecast cannot fit into memory.
      RunError: if the forecast is not finite, or memory does not suffice.

    Example:
      >>> future = e3d.forecast('runs/mine', np.zeros((5, 32, 32), np.uint8), horizon=3)
      >>> future.shape, future.dtype
      ((3, 32, 32, 1), dtype('float32'))
    """
    run = opened_run(run_or_model)
    horizon = checked_horizon(horizon, run)
    seen = seen_clips(run, frames)
    prediction = run.scale.to_unit(_forecast_clips(run, seen, horizon))
    return prediction if np.ndim(frames) == 5 else prediction[0]


def seen_clips(run: Run, frames: np.ndarray) -> np.ndarray:
    """What the model sees of one clip or several: float32 `[B, T, H, W, C]`, see `forecast`."""
    frames = checked_frames(frames, run.scale, 'The array of frames')
    if frames.ndim not in (3, 4, 5):
        raise InputError(
            f'The array of frames has shape {frames.shape}; it must be [T, H, W], [T, H, W, C] or '
            '[B, T, H, W, C] (batch, time, height, width, channels).'
        )
    if frames.ndim == 3:
        _check_time_first(frames, run)
        frames = frames[..., np.newaxis]
    clips = frames if frames.ndim == 5 else frames[np.newaxis]
    preparation = preparation_of(run.config.dataset, run.frame_shape)
    last = clips[:, -run.config.dataset.input_frames :]
    return prepare_frames(last, preparation, run.scale, 'The array of frames')


def predict_file(
    run: Run | str | os.PathLike[str],
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    horizon: int | None = None,
    overwrite: bool = False,
    presentation: Presentation = PLAIN,
) -> str:
    """Continues the clip in a file and writes the continuation to another.

    The clip is prepared as those of the training were, its frame rate included.

    Args:
      run: as for `forecast`.
      input: whatever `readers.clips.read_clip` reads; where the data of the run have a unit, only
        an array in that unit, or for flows their `.h5` file.
      output: `.mp4`, `.gif`, `.npy`, or no suffix for a folder of PNG files. `.npy` holds the
        numbers, as `forecast` returns them.
      horizon: as for `forecast`.
      overwrite: whether to replace an output that exists.
      presentation: how pictures are made.

    Returns:
      What was done to the input and what was written, in a few lines for the user.

    Raises:
      InputError: if the input, the output or the horizon cannot be used; nothing is written.
      RunError: as for `forecast`, or if writing fails.

    Example:
      >>> np.save('clip.npy', np.zeros((5, 32, 32), np.uint8))
      >>> account = e3d.predict_file('runs/mine', 'clip.npy', 'next.gif', horizon=3)
      >>> account.splitlines()[-1]
      'Wrote the next 3 frames, 32 x 32 gray, to next.gif at 10 frames/s, as the input states none.'
    """
    input, output = local_path(input, 'The input'), local_path(output, 'The output')
    if all(os.path.exists(path) for path in (input, output)) and os.path.samefile(input, output):
        raise InputError(f'{output} is the input itself. Give the continuation another name.')
    check_output(output, overwrite)
    numbers = output.suffix.lower() == '.npy'
    presentation.check(has_pictures=not numbers)
    run = opened_run(run)
    horizon = checked_horizon(horizon, run)
    check_fits(1, horizon, run.frame_shape)
    clip = read_input(input, run)
    height, width = presentation.shape(run.frame_shape, clip.size)
    steps = len(clip.frames) + horizon
    if not numbers:
        check_sides(output, height, width)
        check_fits(1, steps, run.frame_shape, BYTES_OF_PIXEL * steps * height * width)
    prediction = _forecast_clips(run, clip.frames[np.newaxis], horizon)[0]
    rate = clip.rate or DEFAULT_RATE
    if numbers:
        height, width, channels = run.frame_shape
        write_clip(output, run.scale.to_unit(prediction), overwrite=overwrite)
    else:
        pictures = presentation.draw(clip.frames, prediction, clip.size)
        channels = pictures.shape[-1]
        write_clip(output, pictures, rate, overwrite)
    lines = [*clip.account]
    lines.append(
        f'Wrote the next {horizon} frames, {height} x {width} {color_name(channels)}, to '
        f'{output}{_account_of_rate(output, clip.rate)}.'
    )
    if not run.scale.of_pixels:
        white = None if numbers else presentation.white(clip.frames, prediction)
        lines.append(_account_of_values(run, white))
    if presentation.with_input:
        lines.append(
            f'The {len(clip.frames)} frames that the model saw come first, with a blue border; that '
            'of the forecast is orange.'
        )
    return '\n'.join(lines)


@functools.partial(jax.jit, static_argnames=('model', 'horizon'))
def continue_clips(
    model: nn.Module, variables: Any, frames: jax.Array, length: jax.Array, horizon: int
) -> jax.Array:
    """The `horizon` frames after the first `length` of `frames`; one program for all lengths."""
    if needs_of(model).future_only:
        # Before a clip that is shorter than those of the training its first frame is repeated.
        places = jnp.maximum(jnp.arange(frames.shape[1]) + length - frames.shape[1], 0)
        return call_in_use(model, variables, (frames[:, places], horizon), {})
    clips, room = frames.shape[:2]
    steps = room + horizon - 1
    padded = jnp.pad(frames, [(0, 0), (0, horizon - 1)] + [(0, 0)] * 3)
    # After the first frame true ones enter as long as there are some, then the own predictions.
    entering = jnp.broadcast_to(jnp.arange(steps - 1) < length - 1, (clips, steps - 1))
    predictions = call_in_use(model, variables, (padded, steps, entering), {})
    return jax.lax.dynamic_slice_in_dim(predictions, length - 1, horizon, axis=1)


def _forecast_clips(run: Run, seen: np.ndarray, horizon: int) -> np.ndarray:
    """Forecasts what follows frames as the model sees them, within the bounds of the data."""
    clips, length = seen.shape[:2]
    room = run.config.dataset.input_frames
    padded = np.pad(seen, [(0, 0), (0, room - length)] + [(0, 0)] * 3)
    arguments = run.model, run.variables, padded, np.int32(length), horizon
    sizes = (clips, room + horizon, run.frame_shape)
    if not check_fits(*sizes):
        program = continue_clips.lower(*arguments).compile()
        check_program(program, *sizes)
    try:
        prediction = np.asarray(continue_clips(*arguments))
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        raise RunError(
            f'There is not enough memory to forecast {horizon} frames of {clips} clips. Use a '
            'smaller horizon, or fewer clips at once.'
        ) from error
    _check_finite(prediction)
    return run.scale.clip(prediction)


def opened_run(run: Run | str | os.PathLike[str]) -> Run:
    """The run of a forecaster; the newest checkpoint, if its workdir is given."""
    run = open_run(run)
    if run.config.model.name in RECOGNIZERS:
        how = '--mode=recognize' + ', or e3d.observe' * (not needs_of(run.model).scores_only)
        raise InputError(
            f'The model of the run, {run.config.model.name}, classifies clips and does not '
            f'forecast: use {how}.'
        )
    inputs = needs_of(run.model).inputs
    if inputs:
        raise InputError(
            f'The model of the run, {run.config.model.name}, needs {" and ".join(inputs)} beside the '
            'frames, which a clip does not hold: --mode=evaluate forecasts the sequences of its data.'
        )
    return run


def _check_time_first(frames: np.ndarray, run: Run) -> None:
    """Raises InputError for `[H, W, T]`, known by the size of the frames of the training."""
    size = tuple(run.frame_shape[:2])
    if frames.shape[:2] == size != frames.shape[1:]:
        raise InputError(
            f'The array of frames has shape {frames.shape}, in which time seems to be the last axis, as '
            f'the frames of the training have {size[0]} x {size[1]} pixels. It must be [T, H, W], '
            'e.g. np.moveaxis(frames, -1, 0), or [T, H, W, 1].'
        )


def checked_horizon(horizon: int | None, run: Run) -> int:
    """A horizon that there can be; that of the training where it is None."""
    if horizon is None:
        return int(run.config.dataset.output_frames)
    try:
        horizon = operator.index(horizon)
    except TypeError:
        raise InputError(f'horizon is {horizon!r}; it must be an integer.') from None
    if horizon < 1:
        raise InputError(f'horizon is {horizon}; it must be at least 1.')
    return horizon


def _check_finite(prediction: np.ndarray) -> None:
    good = np.isfinite(prediction).all(axis=(0, 2, 3, 4))
    if not good.all():
        raise RunError(
            f'The forecast is not finite from frame {int(np.argmin(good)) + 1} on. Use a smaller '
            'horizon, or a checkpoint of a training that did not diverge.'
        )


def _account_of_rate(output: Path, rate: float | None) -> str:
    if output.suffix.lower() not in ('.mp4', '.gif'):
        return '' if rate is None else f'; a frame stands for 1/{rate:g} s'
    written = playable_rate(output, rate or DEFAULT_RATE)
    reason = '' if rate else ', as the input states none'
    if written != (rate or DEFAULT_RATE):
        reason = f', as near as such a file comes to {rate:g}'
    return f' at {written:.4g} frames/s{reason}'


def _account_of_values(run: Run, white: float | None) -> str:
    """Says what the values of a forecast are; `white` is what was drawn as white in pictures."""
    unit = 'scaled' if run.scale.value_range is None else 'in the unit of the data'
    if white is None:
        return f'Its values are {unit}.'
    low, high = run.scale.to_unit(np.array([0.0, white]))
    return f'The darkest color is {low:g}, the brightest {high:g}, {unit}; .npy keeps the numbers.'
