"""A forecast as pictures to be looked at: enlarged, in the size of the clip, after its input."""

from typing import NamedTuple

import numpy as np

from e3d.data.sources.adaptation import adapt_frames
from e3d.errors import InputError
from e3d.evaluation.pictures import FORECAST, SEEN, as_colors, white_of

SIZES = ('model', 'input')
MAX_SCALE = 64


class Presentation(NamedTuple):
    """How the pictures of a forecast are made.

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

    def shape(self, frame_shape: tuple[int, int, int], size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the pictures.

        Args:
          frame_shape: (H, W, C) of the model.
          size: of what the model saw of the clip.
        """
        height, width = size if self.size == 'input' else frame_shape[:2]
        border = 2 * self._border(height, width) if self.with_input else 0
        return height * self.scale + border, width * self.scale + border

    def white(self, seen: np.ndarray, futures: np.ndarray) -> float:
        """The value that is drawn as white: 1, or the largest of data that go beyond.

        Args:
          seen: `[T_in, H, W, C]` as the model saw them.
          futures: `[M, T_out, H, W, C]`, which are drawn alike so that they can be compared.
        """
        drawn = [futures.reshape(-1, *seen.shape[1:]), *([seen] if self.with_input else [])]
        return white_of(np.concatenate(drawn))

    def draw(
        self, seen: np.ndarray, prediction: np.ndarray, size: tuple[int, int], white: float
    ) -> np.ndarray:
        """Makes the pictures.

        Args:
          seen: `[T_in, H, W, C]` as the model saw them.
          prediction: `[T_out, H, W, C]`.
          size: of what the model saw of the clip.
          white: the value that is drawn as white.

        Returns:
          Uint8 `[T, H', W', 1]` for gray without a border, else `[T, H', W', 3]`; H' and W' as
          `shape` has them.
        """
        frames = np.concatenate([seen, prediction]) if self.with_input else prediction
        height, width = size if self.size == 'input' else frames.shape[1:3]
        frames = adapt_frames(frames, (height, width, frames.shape[-1]))
        plain = frames.shape[-1] == 1 and not self.with_input
        pixels = as_colors(frames, white)[..., : 1 if plain else 3]
        pixels = pixels.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        if not self.with_input:
            return pixels
        border = self._border(height, width)
        bordered = np.pad(pixels, [(0, 0), (border, border), (border, border), (0, 0)])
        for part, color in ((slice(len(seen)), SEEN), (slice(len(seen), None), FORECAST)):
            inside = bordered[part, border:-border, border:-border].copy()
            bordered[part] = color
            bordered[part, border:-border, border:-border] = inside
        return bordered

    def _border(self, height: int, width: int) -> int:
        return max(2, round(max(height, width) * self.scale / 64))
