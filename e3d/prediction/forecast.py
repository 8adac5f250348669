"""A trained run continues arrays of frames."""

import functools
import operator
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError, RunError
from e3d.model import RECOGNIZERS
from e3d.model.beside import enter_at_once, enter_in_steps
from e3d.model.needs import call_in_use, needs_of
from e3d.model.tiles import in_tiles
from e3d.parallel import devices
from e3d.pixel_values import as_array
from e3d.prediction.inputs import (
    checked_frames,
    preparation_for,
    prepare_frames,
    with_channels,
)
from e3d.prediction.memory import check_fits, check_program
from e3d.prediction.opening import open_run
from e3d.runs.trained_run import Run, check_lengths
from e3d.tasks.layout_forecast import draw_futures

EMPTY: Mapping[str, Any] = MappingProxyType({})


def forecast(
    run_or_model: Run | str | os.PathLike[str],
    frames: np.ndarray,
    horizon: int | None = None,
    members: int | None = None,
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
        not None, as for flows), integers or floats in that unit, such as counts. NaN is a gap, where
        the data of the training had some, and so is of grids what `dataset.missing` and `dataset.mask`
        say.
      horizon: how many frames to forecast, any number; by default as many as in training.
      members: how many futures, for a run with `model.noise_channels`; the first is the forecast that
        None gives.

    Returns:
      Float32 `[horizon, H, W, C]`, or `[B, horizon, H, W, C]` for a batch: in [0, 1], or in the unit
      of the data where they have one; NaN in cells of which no frame knows a value. With `members` a
      leading axis of these.

    Raises:
      InputError: if the frames or the horizon cannot be used, or the forecast cannot fit into memory.
      RunError: if the forecast is not finite, or memory does not suffice.

    Example:
      >>> future = e3d.forecast('runs/mine', np.zeros((5, 32, 32), np.uint8), horizon=3)
      >>> future.shape, future.dtype
      ((3, 32, 32, 1), dtype('float32'))
    """
    run = open_forecaster(run_or_model)
    horizon = checked_horizon(horizon, run)
    count = checked_members(members, run)
    if missing := run.beside.keys() - {'valid'}:
        raise InputError(
            f'The model of the run sees {" and ".join(sorted(missing))} beside the frames '
            f'({", ".join(_keys_beside(run))}), which an array of frames does not hold. Use '
            '--mode=predict, or e3d.predict_file, with a file of all its variables.'
        )
    seen = seen_clips(run, frames)
    beside = {'valid': ~np.isnan(seen)} if run.beside else {}
    seen = np.nan_to_num(seen) if run.beside else seen
    prediction = run.scale.to_unit(forecast_clips(run, seen, horizon, count, beside))
    prediction = prediction if np.ndim(frames) == 5 else prediction[:, 0]
    return prediction[0] if members is None else prediction


def seen_clips(run: Run, frames: np.ndarray) -> np.ndarray:
    """What the model sees of one clip or several: float32 `[B, T, H, W, C]`, see `forecast`.

    NaN where there are gaps, which are allowed if the data of the training had some.
    """
    frames = as_array(frames, 'The array of frames')
    if frames.ndim not in (3, 4, 5):
        raise InputError(
            f'The array of frames has shape {frames.shape}; it must be [T, H, W], [T, H, W, C] or '
            '[B, T, H, W, C] (batch, time, height, width, channels).'
        )
    frames = checked_frames(with_channels(frames, run), run, 'The array of frames')
    clips = frames if frames.ndim == 5 else frames[np.newaxis]
    preparation = preparation_for(run, clips.shape[2:4])
    last = clips[:, -run.config.dataset.input_frames :]
    gaps = 'valid' in run.beside
    return prepare_frames(last, preparation, run.scale, 'The array of frames', gaps)


@functools.partial(jax.jit, static_argnames=('model', 'horizon'))
def continue_clips(
    model: nn.Module,
    variables: Any,
    frames: jax.Array,
    length: jax.Array,
    horizon: int,
    beside: Mapping[str, jax.Array] = EMPTY,
) -> jax.Array:
    """The `horizon` frames after the first `length` of `frames`; one program for all lengths.

    What is `beside` the frames has as many, 'known' and 'noise' `horizon` more (see
    `e3d.model.beside`).
    """
    needs, (clips, room, *shape) = needs_of(model), frames.shape
    if needs.future_only:
        # Before a clip that is shorter than those of the training its first frame is repeated.
        places = jnp.maximum(jnp.arange(room) + length - room, 0)
        later = jnp.concatenate([places, length + jnp.arange(horizon)])
        moved = {
            name: array[:, later if name == 'known' else places] for name, array in beside.items()
        }
        seen = enter_at_once(frames[:, places], horizon, moved)
        return call_in_use(model, variables, (seen, horizon), {}, shape[-1])[..., : shape[-1]]
    steps = room + horizon - 1
    padded = jnp.pad(frames, [(0, 0), (0, horizon - 1)] + [(0, 0)] * 3)
    # After the first frame true ones enter as long as there are some, then the own predictions.
    entering = jnp.broadcast_to(jnp.arange(steps - 1) < length - 1, (clips, steps - 1))
    longer = {
        name: jnp.pad(array, [(0, 0), (0, max(0, steps - array.shape[1]))] + [(0, 0)] * 3)
        for name, array in beside.items()
    }
    inputs = enter_in_steps(padded, entering, length, longer)
    arguments = inputs.frames, steps, inputs.truth_mask
    predictions = call_in_use(model, variables, arguments, {}, shape[-1])[..., : shape[-1]]
    return jax.lax.dynamic_slice_in_dim(predictions, length - 1, horizon, axis=1)


def forecast_clips(
    run: Run,
    seen: np.ndarray,
    horizon: int,
    members: int,
    beside: Mapping[str, np.ndarray] = EMPTY,
) -> np.ndarray:
    """Forecasts what follows frames as the model sees them, within the bounds of the data.

    Args:
      run: of a forecaster.
      seen: `[B, T, H, W, C]`.
      horizon: T_out.
      members: M; all go at once.
      beside: what else the model sees of these frames, and 'known' of those that follow.

    Returns:
      `[M, B, T_out, H, W, C]`; NaN in cells of which no frame that was seen knows a value.
    """
    noise_channels = needs_of(run.model).noise
    if noise_channels:
        # The same for each clip, so that its forecast is that of it alone.
        numbers = np.repeat(np.arange(members, dtype=np.int32), len(seen))
        draws = np.stack([np.zeros_like(numbers), numbers], axis=-1)
        seen = np.concatenate([seen] * members)
        beside = {name: np.concatenate([array] * members) for name, array in beside.items()}
    clips, length = seen.shape[:2]
    room = run.config.dataset.input_frames
    more = [(0, 0), (0, room - length)] + [(0, 0)] * 3
    padded = np.pad(seen, more)
    others = {name: np.pad(array, more) for name, array in beside.items()}
    check_lengths(run, (room, horizon))
    tile_rows, tile_columns, _ = run.frame_shape

    def arguments_of(batch: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
        beside = {name: array for name, array in batch.items() if name != 'frames'}
        return run.model, run.variables, batch['frames'], np.int32(length), horizon, beside

    def forecast_tile(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        found = np.asarray(continue_clips(*arguments_of(batch)))
        check_finite(found)
        return run.scale.clip(found)  # before tiles are blended, as an evaluation does

    sizes = (clips, room + horizon, run.frame_shape)
    fits = check_fits(*sizes)
    with devices.memory_explained(
        f'There is not enough memory to forecast {horizon} frames of {clips} clips. Use a smaller '
        'horizon, or fewer clips at once.'
    ):
        if noise_channels:
            noise = draw_futures(draws, room + horizon, seen.shape[2:], noise_channels)
            others['noise'] = np.asarray(noise)
        if not fits:
            first = {
                name: array[:, :, :tile_rows, :tile_columns]
                for name, array in {'frames': padded, **others}.items()
            }
            program = continue_clips.lower(*arguments_of(first)).compile()
            check_program(program, *sizes)
        prediction = in_tiles(forecast_tile, {'frames': padded, **others}, run.frame_shape[:2])
    if 'valid' in beside:
        prediction = np.where(beside['valid'].any(axis=1, keepdims=True), prediction, np.nan)
    return prediction.reshape(members, -1, *prediction.shape[1:])


def open_forecaster(run: Run | str | os.PathLike[str]) -> Run:
    """The run of a forecaster; the newest checkpoint, if its workdir is given."""
    run = open_run(run)
    if run.config.model.name in RECOGNIZERS:
        how = '--mode=recognize' + ', or run.observe' * (not needs_of(run.model).scores_only)
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


def _keys_beside(run: Run) -> Iterator[str]:
    """Which keys of the data set give what is beside the frames."""
    for key in ('static', 'calendar', 'known', 'targets'):
        if run.config.dataset.get(key):
            yield f'dataset.{key}={tuple(run.config.dataset[key])}'


def checked_horizon(horizon: int | None, run: Run) -> int:
    """The number of frames to forecast, for None as in training; raises InputError below 1."""
    if horizon is None:
        return int(run.config.dataset.output_frames)
    try:
        horizon = operator.index(horizon)
    except TypeError:
        raise InputError(f'horizon is {horizon!r}; it must be an integer.') from None
    if horizon < 1:
        raise InputError(f'horizon is {horizon}; it must be at least 1.')
    return horizon


def checked_members(members: int | None, run: Run) -> int:
    """The number of futures, 1 for None; raises InputError where the run cannot make as many."""
    if members is None:
        return 1
    if isinstance(members, bool) or not isinstance(members, int | np.integer) or members < 1:
        raise InputError(f'members={members!r}: must be an integer >= 1.')
    if members > 1 and not needs_of(run.model).noise:
        raise InputError(
            f'members={members}: the run has one future only, as it was trained without '
            'model.noise_channels.'
        )
    return int(members)


def check_finite(prediction: np.ndarray) -> None:
    """Raises RunError for forecasts `[B, T_out, H, W, C]` that are not finite."""
    good = np.isfinite(prediction).all(axis=(0, 2, 3, 4))
    if not good.all():
        raise RunError(
            f'The forecast is not finite from frame {int(np.argmin(good)) + 1} on. Use a smaller '
            'horizon, or a checkpoint of a training that did not diverge.'
        )
