"""Decoded frames made into frames that a model takes.

`Preparation` is all that a data set does to them, the same in training, evaluation and prediction.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from e3d.data.readers.timing import Timing
from e3d.data.sources.dataset import DATASETS, Dataset
from e3d.errors import InputError
from e3d.pixel_values import as_bytes, as_floats

_BLOCK_BYTES = 2**26  # of bytes that are adapted at once
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # gray of red, green and blue (ITU-R BT.601)


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What is done to the decoded frames of a clip before a model sees them.

    Frames of 8 bits are rounded to 8 bits again where their size or color changes, as they are
    kept in records; floats stay float32.

    Attributes:
      frame_shape: (H, W, C) that is wanted.
      fit: 'stretch' takes the whole frame, whatever its aspect; 'crop' cuts out its middle; 'none'
        accepts no other shape, for grids whose cells mean something.
      frame_rate: frames per second to which clips that state times are brought by repeating or
        leaving out frames (see `clips.read_clip`); None leaves them as they are.
    """

    frame_shape: tuple[int, int, int]
    fit: str = 'stretch'
    frame_rate: float | None = None

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        """Crops or stretches frames and converts their color; the rate is not changed here.

        Args:
          frames: `[..., H, W, C]`, uint8, or floats.

        Returns:
          `[..., *frame_shape]`, uint8 for uint8, else float32.

        Raises:
          InputError: if the channels cannot be converted, or with 'none' the shape is another.
        """
        if frames.shape[-3:] == self.frame_shape:
            return frames if frames.dtype == np.uint8 else frames.astype(np.float32, copy=False)
        if self.fit == 'none':
            raise InputError(
                f'The frames are {_in_words(frames.shape[-3:])}, but the data set has '
                f'{_in_words(self.frame_shape)}, which is not resized. Give frames of that shape.'
            )
        if self.fit == 'crop':
            frames = crop_to_aspect(frames, *self.frame_shape[:2])
        if frames.dtype != np.uint8:
            return adapt_frames(frames, self.frame_shape)
        # As floats a long clip of large frames takes four times its memory, and more while it shrinks.
        block = max(1, _BLOCK_BYTES // math.prod(frames.shape[1:]))
        parts = [frames[at : at + block] for at in range(0, len(frames), block)]
        if frames.ndim == 3 or len(parts) < 2:
            return as_bytes(adapt_frames(frames, self.frame_shape))
        return np.concatenate([as_bytes(adapt_frames(part, self.frame_shape)) for part in parts])

    def seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the part of decoded frames that is not cut away, in their pixels."""
        return _cropped_size(*size, *self.frame_shape[:2]) if self.fit == 'crop' else size

    def describe(self, shape: tuple[int, int, int], timing: Timing | None = None) -> str:
        """Says what is done to a clip; '' if nothing.

        Args:
          shape: (H, W, C) of its decoded frames.
          timing: of its frames; None without times.
        """
        changes = []
        if self.frame_rate and not timing:
            changes.append(f'no times stated: taken as {self.frame_rate:g} frames/s')
        elif timing and self.frame_rate and not timing.constant:
            changes.append(f'brought to {self.frame_rate:g} frames/s')
        elif timing and self.frame_rate and timing.rate != self.frame_rate:
            changes.append(f'{timing.rate:g} frames/s brought to {self.frame_rate:g}')
        if shape[2] != self.frame_shape[2]:
            changes.append(f'{color_name(shape[2])} made {color_name(self.frame_shape[2])}')
        size, wanted = tuple(shape[:2]), tuple(self.frame_shape[:2])
        if size == wanted:
            return '; '.join(changes)
        if self.fit == 'crop':
            middle = _cropped_size(*size, *wanted)
            if middle != size:
                changes.append(f'the middle {middle[0]} x {middle[1]} of {size[0]} x {size[1]} cut')
            size = middle
        if size != wanted:
            same_aspect = self.fit == 'crop' or size[0] * wanted[1] == size[1] * wanted[0]
            stretched = '' if same_aspect else ', aspect ratio changed'
            changes.append(
                f'{size[0]} x {size[1]} pixels resized to {wanted[0]} x {wanted[1]}{stretched}'
            )
        return '; '.join(changes)


def preparation_of(dataset: Mapping[str, Any], frame_shape: tuple[int, int, int]) -> Preparation:
    """The preparation that a data set does, for a clip of the user's.

    Args:
      dataset: the section `dataset` of a config.
      frame_shape: (H, W, C) of the frames that the model was trained on.
    """
    known = DATASETS.get(dataset.get('name', ''), Dataset)
    fit = dataset.get('fit', 'stretch') if known.resizable else 'none'
    height, width, channels = frame_shape
    return Preparation((height, width, channels), fit, dataset.get('frame_rate'))


def color_name(channels: int, names: Sequence[str] = ()) -> str:
    """What frames of so many channels, which may have names, are called in messages."""
    if names[1:]:
        return f'with {channels} channels ({", ".join(names)})'
    return {1: 'gray', 3: 'RGB'}.get(channels, f'with {channels} channels')


def _in_words(shape: tuple[int, ...]) -> str:
    return f'{shape[0]} x {shape[1]} with {shape[2]} channels'


def adapt_frames(frames: np.ndarray, frame_shape: tuple[int, int, int]) -> np.ndarray:
    """Makes frames fit: bytes to [0, 1], gray to RGB or back, then the size.

    A side that shrinks is averaged over areas, one that grows is interpolated linearly. The whole
    frame stays in sight, so the aspect ratio changes where it differs.

    Args:
      frames: `[..., H, W, C]`, uint8, or floats.
      frame_shape: (H, W, C) that is wanted.

    Returns:
      Float32 `[..., *frame_shape]`, in [0, 1] where the frames are.

    Raises:
      InputError: if the channels cannot be converted.
    """
    height, width, channels = frame_shape
    given = frames.shape[-1]
    if {given, channels} != {1, 3} and given != channels:
        raise InputError(
            f'The frames have {given} channels (shape {frames.shape}), but {channels} are wanted. '
            'Only gray and RGB are converted into each other. Give frames '
            f'[..., H, W, {channels}]; if the channels come first, move them: '
            'np.moveaxis(frames, -3, -1).'
        )
    frames = as_floats(frames)
    in_range = frames.size and frames.min() >= 0.0 and frames.max() <= 1.0
    if given > channels:
        frames = sum(weight * frames[..., i : i + 1] for i, weight in enumerate(LUMA))
    if frames.shape[-3:-1] != (height, width):
        frames = _resized(_resized(frames, -2, width), -3, height)
        if in_range:  # which rounding may leave; data with a unit may have gone beyond before
            frames = np.clip(frames, 0.0, 1.0)
    if given < channels:
        frames = np.repeat(frames, channels, axis=-1)
    return np.ascontiguousarray(frames, np.float32)


def _resized(frames: np.ndarray, axis: int, target: int) -> np.ndarray:
    """Frames with so many pixels along an axis that is counted from the last.

    Those of which a new one is made are added in their order, one after the other: a product of matrices
    would round as the machine likes, and as many frames as are there let it.
    """
    weights = _resampling(frames.shape[axis], target)
    first = (weights > 0).argmax(axis=1)
    resized: Any = np.float32(0)
    for place in range(int((weights > 0).sum(axis=1).max())):
        old = np.minimum(first + place, weights.shape[1] - 1)
        # Past the last pixel there are no more.
        weight = np.where(old == first + place, weights[np.arange(target), old], np.float32(0))
        resized = resized + weight.reshape(-1, *[1] * (-axis - 1)) * np.take(frames, old, axis)
    return resized


def _resampling(source: int, target: int) -> np.ndarray:
    """Weights `[target, source]` of the old pixels in every new one, along one axis."""
    pixels = np.arange(source)
    if target < source:
        edges = np.linspace(0.0, source, target + 1)[:, np.newaxis]
        overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
        weights = np.maximum(overlap, 0.0) * target / source
    else:
        centers = (np.arange(target) + 0.5) * source / target - 0.5
        centers = np.clip(centers, 0.0, source - 1.0)[:, np.newaxis]
        weights = np.maximum(1.0 - np.abs(centers - pixels), 0.0)
    return weights.astype(np.float32)


def crop_to_aspect(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cuts the middle out of frames `[..., H, W, C]`, as much as has the aspect of the size."""
    source_height, source_width = frames.shape[-3:-1]
    rows, columns = _cropped_size(source_height, source_width, height, width)
    top, left = (source_height - rows) // 2, (source_width - columns) // 2
    return frames[..., top : top + rows, left : left + columns, :]


def _cropped_size(
    source_height: int, source_width: int, height: int, width: int
) -> tuple[int, int]:
    rows = max(1, min(source_height, round(source_width * height / width)))
    columns = max(1, min(source_width, round(source_height * width / height)))
    return rows, columns
