"""A forecast as pictures to be looked at: enlarged, in the size of the clip, after its input."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from e3d.data.sources.adaptation import adapt_frames
from e3d.errors import InputError
from e3d.evaluation.pictures import FORECAST, GAP, PAPER, SEEN, draw_parts, drawn_parts, ends_of

SIZES = ('model', 'input')
MAX_SCALE = 64
IN_A_ROW = 4  # channels; of more as many as there are rows, or one more


class Presentation(NamedTuple):
    """How the pictures of a forecast are made.

    Channels that are no colors are drawn side by side, in one picture.

    Attributes:
      with_input: the frames that the model saw come first; a blue border marks these and an orange
        one the forecast.
      scale: each pixel is drawn as a square of `scale` x `scale` pixels.
      size: 'model', the size that the model works in; 'input', that of the clip, or of the part of
        it that the model saw.
    """

    with_input: bool = False
    scale: int = 1
    size: str = 'model'

    def check(self, has_pictures: bool) -> None:
        """Raises InputError for what cannot be, or where no pictures are made."""
        if isinstance(self.scale, bool) or self.scale not in range(1, MAX_SCALE + 1):
            raise InputError(f'scale={self.scale}: must be an integer from 1 to {MAX_SCALE}.')
        if self.size not in SIZES:
            raise InputError(f'size={self.size!r}: must be {" or ".join(map(repr, SIZES))}.')
        if not has_pictures and self != Presentation():
            raise InputError(
                'An .npy file holds the plain numbers of the forecast: with_input, scale and size '
                'are for pictures (.mp4, .gif, a folder of PNG).'
            )

    def shape(
        self, frame_shape: tuple[int, int, int], size: tuple[int, int], channels: Sequence[str] = ()
    ) -> tuple[int, int]:
        """Height and width of the pictures.

        Args:
          frame_shape: (H, W, C) of the model.
          size: of what the model saw of the clip.
          channels: their names, if they have any.
        """
        height, width = size if self.size == 'input' else frame_shape[:2]
        border = 2 * self._border(height, width) if self.with_input else 0
        parts = len(drawn_parts(frame_shape[2], channels))
        columns = in_a_row(parts)
        rows = math.ceil(parts / columns)
        return (
            rows * (height * self.scale + border + GAP) - GAP,
            columns * (width * self.scale + border + GAP) - GAP,
        )

    def ends(self, seen: np.ndarray, futures: np.ndarray) -> tuple[float, float]:
        """What is drawn as black and as white: 0 and 1, or the ends of data that go beyond.

        Args:
          seen: `[T_in, H, W, C]` as the model saw them.
          futures: `[M, T_out, H, W, C]`, which are drawn alike so that they can be compared.
        """
        drawn = [futures.reshape(-1, *seen.shape[1:]), *([seen] if self.with_input else [])]
        return ends_of(np.concatenate(drawn))

    def draw(
        self,
        seen: np.ndarray,
        prediction: np.ndarray,
        size: tuple[int, int],
        ends: tuple[float, float],
        channels: Sequence[str] = (),
    ) -> np.ndarray:
        """Makes the pictures.

        Args:
          seen: `[T_in, H, W, C]` as the model saw them.
          prediction: `[T_out, H, W, C]`.
          size: of what the model saw of the clip.
          ends: what is drawn as black and as white.
          channels: their names, if they have any.

        Returns:
          Uint8 `[T, H', W', 1]` for gray without a border, else `[T, H', W', 3]`; H' and W' as
          `shape` has them.
        """
        frames = np.concatenate([seen, prediction]) if self.with_input else prediction
        height, width = size if self.size == 'input' else frames.shape[1:3]
        frames = adapt_frames(frames, (height, width, frames.shape[-1]))
        plain = frames.shape[-1] == 1 and not self.with_input
        parts = [
            part.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
            for part in draw_parts(frames, ends, channels).values()
        ]
        if plain:
            return parts[0][..., :1]
        if self.with_input:
            border = self._border(height, width)
            parts = [_bordered(part, border, len(seen)) for part in parts]
        return _side_by_side(parts)

    def _border(self, height: int, width: int) -> int:
        return max(2, round(max(height, width) * self.scale / 64))


def in_a_row(count: int) -> int:
    """How many of so many channels stand side by side, before a new row begins."""
    return count if count <= IN_A_ROW else math.ceil(math.sqrt(count))


def _bordered(pixels: np.ndarray, border: int, seen: int) -> np.ndarray:
    """Pictures `[T, H, W, 3]` with a border in the color of the `seen` first, or of the forecast."""
    bordered = np.pad(pixels, [(0, 0), (border, border), (border, border), (0, 0)])
    for part, color in ((slice(seen), SEEN), (slice(seen, None), FORECAST)):
        inside = bordered[part, border:-border, border:-border].copy()
        bordered[part] = color
        bordered[part, border:-border, border:-border] = inside
    return bordered


def _side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures `[T, H, W, 3]` of equal size as one of all, in rows."""
    count, height, width, _ = parts[0].shape
    columns = in_a_row(len(parts))
    rows = math.ceil(len(parts) / columns)
    shape = (count, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    joined = np.full(shape, PAPER, np.uint8)
    for place, part in enumerate(parts):
        row, column = divmod(place, columns)
        top, left = row * (height + GAP), column * (width + GAP)
        joined[:, top : top + height, left : left + width] = part
    return joined
