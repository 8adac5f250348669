"""What is to be seen of the seams where the forecast of a large grid is put together from tiles.

    python -m benchmarks.tile_seams FOLDER

makes rain on 64 x 96 cells, see `moving_rain`, trains `experiments/grids.py:small` on crops of 32 x 32
in FOLDER/run, and forecasts the last series in three ways: the whole grid at once, in tiles that are
blended, as the library does it, and in tiles side by side. Prints the error of each, and how much larger
the steps between neighboring cells are where tiles end than elsewhere, the same of the truth beside it.
Draws the last frame of one of them to FOLDER/seams.png.
"""

import functools
import pathlib
import sys

import jax
import numpy as np
from matplotlib.figure import Figure

from benchmarks.moving_rain import moving_rain
from e3d import forecast, load_run
from e3d.model.tiles import tile_starts
from e3d.prediction.forecast import continue_clips

GRID, TILE, INPUT, HORIZON = (64, 96), 32, 6, 6
SHOWN = 15  # of the last series, which are the test
OPTIONS = [
    '--config=experiments/grids.py:small',
    '--config.name=tile_seams',
    '--config.dataset.unit=mm/h',
    '--config.dataset.transform=log1p',
    f'--config.dataset.crop=({TILE}, {TILE})',
    f'--config.dataset.input_frames={INPUT}',
    f'--config.dataset.output_frames={HORIZON}',
    '--config.dataset.stride=2',
    '--config.model.variant=refined',
    '--config.model.recall=in_place',
    '--config.optimizer.learning_rate=0.01',
]


def in_bounds(run, frames: np.ndarray) -> np.ndarray:
    """The whole grid at once, in the unit of the data."""
    seen = run.scale.from_unit(frames)
    found = continue_clips(run.model, run.variables, seen, np.int32(INPUT), HORIZON)
    return run.scale.to_unit(run.scale.clip(jax.device_get(found)))


def side_by_side(run, frames: np.ndarray) -> np.ndarray:
    """In tiles that do not overlap."""
    rows = [
        np.concatenate(
            [
                forecast(run, frames[:, :, top : top + TILE, left : left + TILE], HORIZON)
                for left in range(0, GRID[1], TILE)
            ],
            axis=3,
        )
        for top in range(0, GRID[0], TILE)
    ]
    return np.concatenate(rows, axis=2)


def step_at_seams(frames: np.ndarray, blended: bool) -> float:
    """The mean step between neighbors where tiles end, as a multiple of that elsewhere."""
    at, elsewhere = [], []
    for axis, side in ((2, GRID[0]), (3, GRID[1])):
        steps = np.abs(np.diff(frames, axis=axis)).mean(axis=tuple({0, 1, 2, 3, 4} - {axis}))
        starts = tile_starts(side, TILE) if blended else range(0, side, TILE)
        ends = {end - 1 for start in starts for end in (start, start + TILE) if 0 < end < side}
        at += [steps[place] for place in ends]
        elsewhere += [step for place, step in enumerate(steps) if place not in ends]
    return float(np.mean(at) / np.mean(elsewhere))


def main(arguments: list[str]) -> int:
    """Makes the rain, trains if there is no run yet, and prints a table."""
    if not arguments or arguments[0].startswith('-'):
        print(__doc__)
        return 2
    from e3d import launcher

    folder = pathlib.Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    rain = moving_rain(size=GRID, circle=False)[..., None]
    path, workdir = folder / 'rain.npz', folder / 'run'
    if not path.exists():
        np.savez_compressed(path, rain=rain)
    options = [*OPTIONS, f'--config.dataset.path={path}', f'--workdir={workdir}', *arguments[1:]]
    if code := launcher.main(['tile_seams', *options]):
        return code
    run = load_run(workdir)
    seen, truth = rain[-SHOWN:, :INPUT], rain[-SHOWN:, INPUT : INPUT + HORIZON]
    found = {
        'whole': in_bounds(run, seen),
        'blended tiles': forecast(run, seen, HORIZON),
        'tiles side by side': side_by_side(run, seen),
    }
    print('\n| forecast | RMSE, mm/h | steps where tiles end | of the truth there |')
    print('|---|---|---|---|')
    for name, frames in found.items():
        error = np.sqrt(np.square(frames - truth).mean())
        steps = functools.partial(step_at_seams, blended=name != 'tiles side by side')
        print(f'| {name} | {error:.3f} | {steps(frames):.2f} | {steps(truth):.2f} |')
    draw({'truth': truth, **found}, folder / 'seams.png')
    return 0


def draw(frames: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """The last frame of the series with the most rain, as forecast in each way."""
    wettest = frames['truth'][:, -1].sum(axis=(1, 2, 3)).argmax()
    figure = Figure(figsize=(4 * len(frames), 3.2), dpi=110, layout='constrained')
    axes = figure.subplots(1, len(frames))
    for axis, (name, array) in zip(axes, frames.items(), strict=True):
        highest = frames['truth'][wettest, -1].max()
        picture = axis.imshow(array[wettest, -1, ..., 0], vmin=0, vmax=highest, cmap='viridis')
        axis.set(title=name, xticks=[], yticks=[])
    figure.colorbar(picture, ax=axes, label='mm/h')
    figure.savefig(path)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
