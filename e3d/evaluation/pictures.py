"""Frames as pictures: their colors, and animations."""

import os
from collections.abc import Sequence
from typing import IO

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

from e3d.data.sources.scales import numbered

ANIMATION_SIDES = (192, 320)  # longer side of a frame, least and most
MANY, SMALLER_SIDES = 3, (96, 160)  # from so many channels on
GAP, LINE = 4, 24  # between frames, for a line of text; pixels
MILLISECONDS = 150  # that a frame of an animation stands
FONT = ImageFont.load_default(size=14)
WHOLE = (0.0, 1.0)  # black and white of pictures, and of data that do not go beyond
STRIPES = (150, 190)  # grays of what has no value
INK, PAPER = (40, 40, 40), (255, 255, 255)
# Borders of the animation, by what the model makes of a frame.
SEEN, HIDDEN, FORECAST = (44, 123, 182), (160, 160, 160), (230, 97, 1)


def as_colors(
    frames: np.ndarray, ends: tuple[float, float] = WHOLE, viridis: bool = False
) -> np.ndarray:
    """Makes frames visible: `[..., H, W, C]`, floats or uint8, to uint8 `[..., H, W, 3]`.

    Floats go from black to white at the `ends`; what lies outside is drawn as these. One channel is
    shown as gray, three as red, green and blue. Of any other number (two in traffic flow), and with
    `viridis`, the first is shown, in the colors of matplotlib's viridis. NaN is hatched.
    """
    frames = np.asarray(frames)
    hidden = np.isnan(frames).any(axis=-1) if frames.dtype != np.uint8 else np.zeros(())
    if hidden.any():
        known = np.where(hidden[..., None], 0.0, frames)
        return _hatched(as_colors(known, ends, viridis), hidden)
    if frames.dtype != np.uint8:
        shares = (frames - ends[0]) / (ends[1] - ends[0])
        frames = np.round(np.clip(shares, 0.0, 1.0) * 255.0).astype(np.uint8)
    if frames.shape[-1] == 3 and not viridis:
        return frames
    if frames.shape[-1] == 1 and not viridis:
        return np.repeat(frames, 3, axis=-1)
    return colormaps['viridis'](frames[..., 0], bytes=True)[..., :3]


def drawn_parts(count: int, names: Sequence[str] = ()) -> list[tuple[str, slice]]:
    """Which channels are drawn together, and how they are called.

    Args:
      count: of the channels.
      names: of the channels, if they have any; they are no colors then.

    Returns:
      One gray channel or three colors without a name, or each channel with its own.
    """
    if count == 1 or (count == 3 and not names):
        return [('', slice(None))]
    called = [*names[:count], *numbered(count)[len(names) :]]
    return [(name, slice(c, c + 1)) for c, name in enumerate(called)]


def draw_parts(
    frames: np.ndarray, ends: tuple[float, float] = WHOLE, names: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Frames `[..., H, W, C]` as pictures uint8 `[..., H, W, 3]` of each of `drawn_parts`, by name."""
    return {
        name: as_colors(frames[..., part], ends, viridis=bool(name))
        for name, part in drawn_parts(frames.shape[-1], names)
    }


def ends_of(frames: np.ndarray) -> tuple[float, float]:
    """What to draw as black and as white: 0 and 1, or the ends of data that go beyond."""
    known = np.asarray(frames)[~np.isnan(frames)]
    if not known.size:
        return WHOLE
    return min(WHOLE[0], float(known.min())), max(WHOLE[1], float(known.max()))


def _hatched(colors: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Colors `[..., H, W, 3]` with diagonal stripes where there is nothing to show."""
    rows, columns = np.indices(hidden.shape[-2:])
    stripes = np.where((rows + columns) % 4 < 2, *STRIPES).astype(np.uint8)
    return np.where(hidden[..., None], stripes[..., None], colors)


def save_animation(images: Sequence[Image.Image], file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Writes pictures as a GIF that runs again and again; the last one stands longer."""
    durations = [MILLISECONDS] * (len(images) - 1) + [8 * MILLISECONDS]
    first, *others = images
    first.save(file, 'GIF', save_all=True, append_images=others, duration=durations, loop=0)


def draw_animation(
    frames: np.ndarray, prediction: np.ndarray, observed: np.ndarray, channels: Sequence[str] = ()
) -> list[Image.Image]:
    """One sequence as moving pictures: the truth on the left, what the model makes on the right.

    While the model still sees the truth, both are alike and framed in blue; then its forecast
    begins and the frames turn orange. What it does not see before is black on the right and
    framed in gray. Channels that are no colors are below each other. Arguments as for
    `e3d.evaluation.strips.lay_out`.
    """
    shown = observed[:, None, None, None]
    ends = ends_of(frames)
    seen = np.where(shown, frames[: len(observed)], np.asarray(ends[0], frames.dtype))
    panels = {'truth': frames, 'prediction': np.concatenate([seen, prediction])}
    drawn = {label: draw_parts(panel, ends, channels) for label, panel in panels.items()}
    names = [*drawn['truth']]
    sides = ANIMATION_SIDES if len(names) < MANY else SMALLER_SIDES
    height, width = drawn_size(frames.shape[1], frames.shape[2], sides)
    above = LINE * (len(names) > 1)  # for the name of a channel
    step, row = width + 4 * GAP, above + height + 2 * GAP  # from one panel to the next
    images = []
    for index in range(len(frames)):
        image = Image.new('RGB', (2 * step + 2 * GAP, len(names) * row + 2 * LINE), PAPER)
        draw = ImageDraw.Draw(image)
        part, color = ('forecast', FORECAST)
        if index < len(observed):
            part, color = ('seen', SEEN) if observed[index] else ('hidden', HIDDEN)
        for column, (label, panel) in enumerate(drawn.items()):
            left = 3 * GAP + column * step
            draw.text((left + width / 2, LINE - 2 * GAP), label, INK, FONT, anchor='ms')
            for place, pictures in enumerate(panel.values()):
                top = LINE + place * row + above + GAP
                border = (left - GAP, top - GAP, left + width + GAP - 1, top + height + GAP - 1)
                draw.rectangle(border, fill=color)
                image.paste(resized(pictures[index], height, width), (left, top))
        for place, name in enumerate(names):
            draw.text((2 * GAP, LINE + place * row + above - 2 * GAP), name, INK, FONT, anchor='ls')
        foot = (image.width / 2, image.height - 2 * GAP)
        draw.text(foot, f't = {index + 1}, {part}', color, FONT, anchor='ms')
        images.append(image)
    return images


def drawn_size(height: int, width: int, sides: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which frames are drawn: small ones enlarged by an integer."""
    longest = max(height, width)
    least, most = sides
    if longest > most:
        return max(1, round(height * most / longest)), max(1, round(width * most / longest))
    factor = -(-least // longest)
    return height * factor, width * factor


def resized(frame: np.ndarray, height: int, width: int) -> Image.Image:
    """A frame uint8 `[H, W, 3]` as a picture of a size."""
    smaller = frame.shape[0] > height
    resampling = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
    return Image.fromarray(frame).resize((width, height), resampling)
