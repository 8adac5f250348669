"""E3D-LSTM beside the last frame and optical flow on rain that a wind carries, in mm/h.

    python -m benchmarks.moving_rain FOLDER [--workdir=DIR] [--config.section.key=VALUE ...]

writes FOLDER/rain.npz if it is not there, 150 series of 24 frames of 32 x 32 cells a wind of their own
carries showers over, NaN outside of the circle that a radar would see, and trains
`experiments/grids.py:small` on them with B-MSE and B-MAE; the report has CSI and the like at 0.5, 2, 5
and 10 mm/h. Further arguments change values of the config.
"""

import pathlib
import sys

import numpy as np

SERIES, FRAMES, SIDE = 150, 24, 32
SHOWERS = 8  # of a series
OPTIONS = [
    '--config=experiments/grids.py:small',
    '--config.name=moving_rain',
    '--config.dataset.unit=mm/h',
    '--config.dataset.transform=log1p',
    '--config.dataset.input_frames=6',
    '--config.dataset.output_frames=6',
    '--config.dataset.stride=2',
    '--config.model.variant=refined',
    '--config.model.recall=in_place',
    '--config.optimizer.learning_rate=0.01',
    '--config.evaluation.thresholds=(0.5, 2.0, 5.0, 10.0)',
    '--config.evaluation.optical_flow=True',
    '--config.loss.balance_thresholds=(2.0, 5.0, 10.0)',
    '--config.loss.balance_weights=(2.0, 5.0, 10.0)',
]


def moving_rain(
    seed: int = 0, size: tuple[int, int] = (SIDE, SIDE), circle: bool = True
) -> np.ndarray:
    """Rain in mm/h, float32 `[SERIES, FRAMES, *size]`; with a circle NaN outside of it."""
    random = np.random.default_rng(seed)
    time, rows, columns = np.indices((FRAMES, *size), np.float32)
    rain = np.zeros((SERIES, FRAMES, *size), np.float32)
    showers = SHOWERS * size[0] * size[1] // SIDE**2
    for series in rain:
        wind = random.normal(0, 1, 2)
        reach = SIDE / 2 + FRAMES * np.abs(wind).max()
        for _ in range(showers):
            # Somewhere in the area that passes over the grid in these frames.
            start = random.uniform(-reach / 2, np.add(size, reach / 2), 2)
            width, height = random.uniform(1.5, 4), random.gamma(2, 6)
            places = [start[axis] + wind[axis] * time for axis in (0, 1)]
            squares = (rows - places[0]) ** 2 + (columns - places[1]) ** 2
            series += height * np.exp(-squares / (2 * width**2))
    rain[rain < 0.05] = 0  # less is dry
    if circle:
        middle = (SIDE - 1) / 2
        outside = (rows[0] - middle) ** 2 + (columns[0] - middle) ** 2 > (SIDE / 2) ** 2
        rain[..., outside] = np.nan
    return rain


def main(arguments: list[str]) -> int:
    """Writes the rain, and trains on it by the command line of the library."""
    if not arguments or arguments[0].startswith('-'):
        print(__doc__)
        return 2
    from e3d import launcher

    path = pathlib.Path(arguments[0]) / 'rain.npz'
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, rain=moving_rain()[..., None])  # [N, T, H, W, C]
    return launcher.main(['moving_rain', *OPTIONS, f'--config.dataset.path={path}', *arguments[1:]])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
