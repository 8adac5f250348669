"""A trained run continues a clip in a file, and writes the continuation to another."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from e3d.data.sources.adaptation import color_name
from e3d.data.sources.scales import numbered
from e3d.errors import InputError
from e3d.evaluation.pictures import drawn_parts
from e3d.files import local_path
from e3d.prediction.forecast import (
    checked_horizon,
    checked_members,
    forecast_clips,
    open_forecaster,
)
from e3d.prediction.inputs import read_input
from e3d.prediction.media import check_output, check_sides, playable_rate, write_clip
from e3d.prediction.memory import check_fits
from e3d.prediction.presentation import Presentation, in_a_row
from e3d.runs.trained_run import Run

DEFAULT_RATE = 10.0  # frames per second of a written clip whose input states none
PLAIN = Presentation()
BYTES_OF_PIXEL = 9  # of a picture: three colors, in up to three copies


def predict_file(
    run: Run | str | os.PathLike[str],
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    horizon: int | None = None,
    overwrite: bool = False,
    presentation: Presentation = PLAIN,
    members: int | None = None,
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
      members: as for `forecast`; `.npy` holds all of them, pictures of each one go to an output of
        its own, as `next_1.gif`, `next_2.gif`.

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
    outputs = _outputs_of(output, members)
    for one in outputs:
        check_output(one, overwrite)
    numbers = output.suffix.lower() == '.npy'
    presentation.check(has_pictures=not numbers)
    run = open_forecaster(run)
    horizon = checked_horizon(horizon, run)
    count = checked_members(members, run)
    check_fits(count, horizon, run.frame_shape)
    clip = read_input(input, run, horizon)
    frame_shape = clip.frames.shape[1:]
    names = run.channel_names
    height, width = presentation.shape(frame_shape, clip.size, names)
    steps = len(clip.frames) + horizon
    if not numbers:
        check_sides(output, height, width)
        check_fits(count, steps, frame_shape, BYTES_OF_PIXEL * steps * height * width)
    beside = {name: array[np.newaxis] for name, array in clip.beside.items()}
    futures = forecast_clips(run, clip.frames[np.newaxis], horizon, count, beside)[:, 0]
    rate = clip.rate or DEFAULT_RATE
    ends = None
    if numbers:
        height, width, _ = frame_shape
        values = run.scale.to_unit(futures)
        write_clip(output, values[0] if members is None else values, overwrite=overwrite)
        colors = color_name(frame_shape[2], names)
    else:
        seen = clip.known
        ends = presentation.ends(seen, futures)
        for one, future in zip(outputs, futures, strict=True):
            pictures = presentation.draw(seen, future, clip.size, ends, names)
            colors = color_name(pictures.shape[-1])
            write_clip(one, pictures, rate, overwrite)
    lines = [*clip.account]
    lines.append(
        f'Wrote the next {horizon} frames{_account_of_members(members)}, {height} x {width} '
        f'{colors}, to {_names(outputs)}{_account_of_rate(output, clip.rate)}.'
    )
    parts = [name for name, _ in drawn_parts(frame_shape[2], names)]
    if not numbers and len(parts) > 1:
        lines.append(f'A picture has its channels side by side{_account_of_rows(parts)}.')
    if not run.scale.of_pixels:
        lines.append(_account_of_values(run, ends))
    if presentation.with_input:
        lines.append(
            f'The {len(clip.frames)} frames that the model saw come first, with a blue border; that '
            'of the forecast is orange.'
        )
    return '\n'.join(lines)


def _outputs_of(output: Path, members: int | None) -> list[Path]:
    """Where each member goes: all numbers to one file, pictures to one each."""
    if members is None or output.suffix.lower() == '.npy':
        return [output]
    return [output.with_name(f'{output.stem}_{n}{output.suffix}') for n in range(1, members + 1)]


def _account_of_members(members: int | None) -> str:
    return '' if members is None else f' of {members} futures' if members > 1 else ' of one future'


def _names(outputs: list[Path]) -> str:
    return str(outputs[0]) if len(outputs) == 1 else f'{outputs[0]} .. {outputs[-1].name}'


def _account_of_rate(output: Path, rate: float | None) -> str:
    if output.suffix.lower() not in ('.mp4', '.gif'):
        return '' if rate is None else f'; a frame stands for 1/{rate:g} s'
    written = playable_rate(output, rate or DEFAULT_RATE)
    reason = '' if rate else ', as the input states none'
    if written != (rate or DEFAULT_RATE):
        reason = f', as near as such a file comes to {rate:g}'
    return f' at {written:.4g} frames/s{reason}'


def _account_of_rows(names: Sequence[str]) -> str:
    """Says where which channel is."""
    columns = in_a_row(len(names))
    rows = [', '.join(names[first : first + columns]) for first in range(0, len(names), columns)]
    return f', row by row: {"; ".join(rows)}' if rows[1:] else f': {rows[0]}'


def _account_of_values(run: Run, ends: tuple[float, float] | None) -> str:
    """Says what the values of a forecast are; `ends` were drawn as black and as white in pictures."""
    unit = run.scale.unit and f'in {run.scale.unit}'
    unit = unit or ('scaled' if run.scale.value_range is None else 'in the unit of the data')
    if ends is None:
        return f'Its values are {unit}.'
    lows, highs = (np.ravel(run.scale.to_unit(value)).tolist() for value in ends)
    called = run.channel_names or numbered(len(lows))
    names = [f' of {name}' for name in called] if lows[1:] else ['']
    colors = ' '.join(
        f'The darkest color{name} is {low:g}, the brightest {high:g}.'
        for name, low, high in zip(names, lows, highs, strict=True)
    )
    return f'{colors[:-1]}, {unit}; .npy keeps the numbers.'
