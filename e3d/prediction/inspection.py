"""What a trained run does inside while it forecasts one clip: arrays, and files of them to look at."""

import os
import re
from collections.abc import Sequence

import numpy as np

from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import open_source
from e3d.errors import InputError
from e3d.evaluation.figures import save_figure
from e3d.evaluation.pictures import draw_parts, ends_of
from e3d.files import atomic_write, local_path
from e3d.model.inspection import Inspection, inspect_model
from e3d.model.needs import needs_of
from e3d.pixel_values import as_floats
from e3d.prediction.forecast import checked_horizon, open_forecaster, seen_clips
from e3d.prediction.inputs import read_input
from e3d.prediction.inspection_pictures import draw_attention, draw_gates, draw_steps
from e3d.runs.trained_run import Run
from e3d.runs.workdir import INSPECTION_FILE, INSPECTION_FOLDER, prepare_workdir

MOST_PIXELS, MOST_BYTES = 16, 2**30


def inspect_run(
    run_or_model: Run | str | os.PathLike[str],
    frames: np.ndarray | None = None,
    pixels: Sequence[tuple[int, int]] = (),
    horizon: int | None = None,
) -> Inspection:
    """Looks into a run that forecasts one clip: what RECALL reads, how far the gates are open.

    Args:
      run_or_model: a run of `e3d.load_run`, or the path of its workdir.
      frames: `[T, H, W]` or `[T, H, W, C]`, as for `e3d.forecast`; None for the first sequence of
        the test split of the run, laid out as in training (in the copy test with its context).
      pixels: rows and columns of the pixels whose queries are looked at, in frames as the model
        sees them; by default the brightest patch of the last frame that is observed.
      horizon: how many frames to forecast after a clip; by default as many as in training.

    Returns:
      Arrays, see `e3d.model.inspection.Inspection`.

    Raises:
      InputError: the clip, a pixel or the horizon cannot be used, or the model has no recurrent
        layers or sees more than frames.

    Example:
      >>> found = e3d.inspect_run(run, clip, horizon=2)
      >>> found.weights.shape  # layers, steps, places, remembered steps, rows, columns
      (1, 4, 1, 4, 4, 4)
    """
    run = open_forecaster(run_or_model)
    if frames is None:
        return inspect_sequence(run, _first_of_test(run), pixels)
    seen = seen_clips(run, np.asarray(frames))
    if len(seen) != 1:
        raise InputError(f'{len(seen)} clips: one is looked into at a time')
    return _inspect(run, *_with_horizon(seen[0], checked_horizon(horizon, run)), pixels)


def inspect_sequence(
    run: Run, frames: np.ndarray, pixels: Sequence[tuple[int, int]] = ()
) -> Inspection:
    """The same of a sequence `[T, H, W, C]` of the data set of a run, laid out as in training."""
    return _inspect(run, *_laid_out(run, frames), pixels)


def inspect_to_files(
    run: Run,
    workdir: str | os.PathLike[str],
    input: str | os.PathLike[str] | None = None,
    pixels: str | None = None,
    steps: str | None = None,
    horizon: int | None = None,
) -> str:
    """The same of the clip in a file, drawn into the folder `inspection` of a workdir.

    Args:
      run: of the workdir.
      workdir: gets the files `inspection/attention_layer_1.png` (and so on for each layer),
        `attention_by_step.png` (these not without RECALL), `gates.png` and `inspection.npz`, the
        arrays of `Inspection` by their names, as 'gate_NAME' those of the gates, and as 'step'
        that of the checkpoint.
      input: as for `predict_file`; None for the first sequence of the test split.
      pixels: 'ROW,COLUMN;ROW,COLUMN', see `inspect_run`.
      steps: 'T,T', the times of the frames whose steps are drawn, from 1; by default those of the
        last frame that is observed and of the last of all.
      horizon: see `inspect_run`.

    Returns:
      What was found and written, in a few lines for the user.
    """
    run, places = open_forecaster(run), _read_pixels(pixels)
    account = [f'Looked into the checkpoint of step {run.step:,}.']
    if input is None:
        if horizon is not None:
            raise InputError('--horizon needs --input: a sequence of the test split has its own.')
        frames, observed = _laid_out(run, _first_of_test(run))
        account.append('Looked at the first sequence of the test split.')
    else:
        clip = read_input(local_path(input, 'The input'), run)
        account += clip.account
        frames, observed = _with_horizon(clip.frames, checked_horizon(horizon, run))
    chosen = _read_steps(steps, observed)
    found = _inspect(run, frames, observed, places)
    folder = prepare_workdir(workdir) / INSPECTION_FOLDER
    folder.mkdir(exist_ok=True)
    patch = run.model.patch_size
    if found.weights is not None:
        drawn = draw_parts(found.frames, ends_of(found.frames), run.channel_names)
        name, pictures = next(iter(drawn.items()))
        if name:
            account.append(f'Of the {len(drawn)} channels the first, {name}, is drawn.')
        for layer in range(len(found.weights)):
            figure = draw_attention(found, pictures, layer, chosen, patch)
            save_figure(figure, [folder / f'attention_layer_{layer + 1}.png'])
        save_figure(draw_steps(found, chosen, patch), [folder / 'attention_by_step.png'])
    save_figure(draw_gates(found), [folder / 'gates.png'])
    arrays = {name: array for name, array in found._asdict().items() if name != 'gates'}
    arrays |= {f'gate_{name}': shares for name, shares in found.gates.items()}
    arrays['step'] = np.array(run.step)
    with atomic_write(folder / INSPECTION_FILE) as temporary, open(temporary, 'wb') as file:
        np.savez_compressed(file, **{k: v for k, v in arrays.items() if v is not None})
    return '\n'.join([*account, *describe(found, chosen, patch), f'files  {folder}'])


def describe(found: Inspection, steps: Sequence[int], patch: int) -> list[str]:
    """What stands out, in lines: the steps that RECALL reads most, and how many gates are shut."""
    lines = []
    for layer, of_layer in enumerate([] if found.by_step is None else found.by_step):
        for step in steps:
            for (row, column), shares in zip(found.places * patch, of_layer[step], strict=True):
                most = [n for n in np.argsort(-shares, kind='stable')[:3] if shares[n] > 0]
                read = ', '.join(f't={n + 1} {shares[n]:.0%}' for n in most) or 'nothing yet'
                lines.append(
                    f'layer {layer + 1}, step t={step + 1}, pixel {row},{column} reads most: {read}'
                )
    for name, shares in found.gates.items():
        below, above = shares[..., 0].mean(), shares[..., -1].mean()
        lines.append(f'gate {name:<2}  below 0.1: {below:6.1%}   from 0.9: {above:6.1%}')
    return lines


def _inspect(
    run: Run, frames: np.ndarray, observed: np.ndarray, pixels: Sequence[tuple[int, int]]
) -> Inspection:
    beside = [*run.beside, *(['random numbers'] if needs_of(run.model).noise else [])]
    if beside:
        raise InputError(
            f'The model of the run sees {" and ".join(beside)} beside the frames: only models that see '
            'frames alone can be looked into.'
        )
    patch = getattr(run.model, 'patch_size', 1)
    height, width = frames.shape[1:3]
    for row, column in pixels:
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(
                f'the pixel {row},{column}: must be within frames of {height} x {width} pixels, as the '
                'model sees them'
            )
    places = [(row // patch, column // patch) for row, column in pixels]
    if not places:
        places = [brightest_place(frames[np.flatnonzero(observed)[-1]], patch)]
    layers, steps = getattr(run.model, 'layers', 1), len(frames)
    size = 4 * layers * len(places) * steps**2 * (-(-height // patch)) * (-(-width // patch))
    if len(places) > MOST_PIXELS or size > MOST_BYTES:
        raise InputError(
            f'{len(places)} pixels and {steps} steps give {size / 2**30:.2g} GiB of weights: must be at '
            f'most {MOST_PIXELS} pixels and {MOST_BYTES / 2**30:.2g} GiB; take fewer pixels or a '
            'smaller horizon'
        )
    return inspect_model(run.model, run.params, frames, observed.tolist(), places)


def brightest_place(frame: np.ndarray, patch: int) -> tuple[int, int]:
    """Row and column of the patch of `[H, W, C]` with the largest mean; a rest of the sides is left.

    Sides that are shorter than a patch are padded, as the model does.
    """
    short = [(0, max(0, patch - side)) for side in frame.shape[:2]]
    frame = np.pad(frame, [*short, (0, 0)], mode='edge')
    rows, columns = (side // patch for side in frame.shape[:2])
    whole = frame[: rows * patch, : columns * patch].reshape(rows, patch, columns, patch, -1)
    return divmod(int(whole.mean(axis=(1, 3, 4)).argmax()), columns)


def _first_of_test(run: Run) -> np.ndarray:
    return open_source(run.config.dataset, 'test')[0]['frames']


def _laid_out(run: Run, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frames that enter of a sequence of its data, all but the last, and which are seen."""
    return as_floats(frames)[:-1], layout_of(run.config.dataset).observed[:-1]


def _with_horizon(seen: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a clip and room for own forecasts after them; which of them are seen."""
    frames = np.pad(seen, [(0, horizon - 1), (0, 0), (0, 0), (0, 0)])
    return frames, np.arange(len(frames)) < len(seen)


def _read_pixels(text: str | None) -> list[tuple[int, int]]:
    if not text:
        return []
    if not re.fullmatch(r'\s*\d+\s*,\s*\d+\s*(;\s*\d+\s*,\s*\d+\s*)*', text, re.ASCII):
        raise InputError(
            f"--pixels='{text}': must be ROW,COLUMN or several with semicolons between"
        )
    pairs = [part.split(',') for part in text.split(';')]
    return [(int(row), int(column)) for row, column in pairs]


def _read_steps(text: str | None, observed: np.ndarray) -> list[int]:
    """Steps from 0, of times from 1."""
    if not text:
        return sorted({int(np.flatnonzero(observed)[-1]), len(observed) - 1})
    if not re.fullmatch(r'\s*\d+\s*(,\s*\d+\s*)*', text, re.ASCII):
        raise InputError(f"--steps='{text}': must be times of frames, as 5 or 5,9")
    times = [int(part) for part in text.split(',')]
    if not all(1 <= time <= len(observed) for time in times):
        raise InputError(f"--steps='{text}': must be between 1 and {len(observed)}")
    return [time - 1 for time in times]
