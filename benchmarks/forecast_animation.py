"""The first test sequences of a run beside its forecasts, as one small animation.

python -m benchmarks.forecast_animation --workdir=runs/quickstart --output=docs/forecast.gif

Above is the truth, below what the model makes of it: with a blue border while it sees the truth, with
an orange one where it forecasts.
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw

import e3d
from e3d.evaluation.pictures import FONT, FORECAST, INK, PAPER, SEEN, as_colors
from e3d.fitting.animation import animate

SCALE, BORDER, LABEL = 3, 3, 64  # of a pixel, around a frame, for the words on the left; pixels


def draw(frames: np.ndarray, predictions: np.ndarray) -> list[Image.Image]:
    """One picture for each time step.

    Args:
      frames: `[N, T, H, W, C]`, true sequences, in [0, 1].
      predictions: `[N, T_out, H, W, C]`, of their last frames.
    """
    seen = frames.shape[1] - predictions.shape[1]
    below = np.concatenate([frames[:, :seen], predictions], axis=1)
    height, width = (SCALE * side + 2 * BORDER for side in frames.shape[2:4])
    images = []
    for step in range(frames.shape[1]):
        image = Image.new('RGB', (LABEL + len(frames) * width, 2 * height), PAPER)
        canvas = ImageDraw.Draw(image)
        second = ('seen', below, SEEN) if step < seen else ('forecast', below, FORECAST)
        for row, (word, shown, color) in enumerate([('truth', frames, SEEN), second]):
            canvas.text((LABEL - 6, (row + 0.5) * height), word, INK, FONT, anchor='rm')
            canvas.rectangle((LABEL, row * height, image.width, (row + 1) * height), fill=color)
            tiles = as_colors(shown[:, step]).repeat(SCALE, axis=1).repeat(SCALE, axis=2)
            for column, tile in enumerate(tiles):
                place = (LABEL + column * width + BORDER, row * height + BORDER)
                image.paste(Image.fromarray(tile), place)
        images.append(image)
    return images


def main() -> None:
    """Reads the command line and writes the animation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--workdir', default='runs/quickstart')
    parser.add_argument('--output', default='docs/forecast.gif')
    parser.add_argument('--sequences', type=int, default=8)
    options = parser.parse_args()
    run = e3d.load_run(options.workdir)
    source = e3d.open_source(run.config.dataset, 'test')
    frames = np.stack([source[index]['frames'] for index in range(options.sequences)])
    seen = run.config.dataset.input_frames
    predictions = run.forecast(frames[:, :seen], frames.shape[1] - seen)
    animate(draw(frames.astype(np.float32) / 255, predictions)).save(options.output)
    print(f'Wrote {options.output}: {options.sequences} sequences of {options.workdir}, {run!r}.')


if __name__ == '__main__':
    main()
