"""Frames of any size and colour made into those that a model takes."""

import numpy as np

from e3d.errors import InputError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # grey of red, green and blue (ITU-R BT.601)


def adapt_frames(frames: np.ndarray, frame_shape: tuple[int, int, int]) -> np.ndarray:
    """Makes frames fit: values to [0, 1], grey to RGB or back, then the size.

    A side that shrinks is averaged over areas, one that grows is interpolated linearly. The whole
    frame stays in sight, so the aspect ratio changes where it differs.

    Args:
      frames: `[..., H, W, C]`, uint8, or floats in [0, 1].
      frame_shape: (H, W, C) that is wanted.

    Returns:
      Float32 `[..., *frame_shape]` in [0, 1].

    Raises:
      InputError: if the channels can not be converted.
    """
    height, width, channels = frame_shape
    given = frames.shape[-1]
    if {given, channels} != {1, 3} and given != channels:
        raise InputError(
            f'The frames have {given} channels (shape {frames.shape}), but {channels} are wanted. '
            'Only grey and RGB are converted into each other. Give frames '
            f'[..., H, W, {channels}]; if the channels come first, move them: '
            'np.moveaxis(frames, -3, -1).'
        )
    if frames.dtype == np.uint8:
        frames = frames.astype(np.float32) / np.float32(255.0)
    if given > channels:
        frames = (frames @ LUMA)[..., np.newaxis]
    if frames.shape[-3:-1] != (height, width):
        rows, columns = (
            _resampling(source, target)
            for source, target in zip(frames.shape[-3:-1], (height, width), strict=True)
        )
        frames = np.tensordot(frames, columns, axes=(-2, 1))  # [..., old H, C, W]
        frames = np.tensordot(frames, rows, axes=(-3, 1))  # [..., C, W, H]
        frames = np.clip(np.moveaxis(frames, (-1, -2), (-3, -2)), 0.0, 1.0)
    if given < channels:
        frames = np.repeat(frames, channels, axis=-1)
    return np.ascontiguousarray(frames, np.float32)


def _resampling(source: int, target: int) -> np.ndarray:
    """Weights `[target, source]` of the old pixels in every new one, along one axis."""
    pixels = np.arange(source)
    if target < source:
        edges = np.linspace(0.0, source, target + 1)[:, np.newaxis]
        overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
        weights = np.maximum(overlap, 0.0) * target / source
    else:
        centres = (np.arange(target) + 0.5) * source / target - 0.5
        centres = np.clip(centres, 0.0, source - 1.0)[:, np.newaxis]
        weights = np.maximum(1.0 - np.abs(centres - pixels), 0.0)
    return weights.astype(np.float32)


def crop_to_aspect(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cuts the middle out of frames `[..., H, W, C]`, as much as has the aspect of the size."""
    source_height, source_width = frames.shape[-3:-1]
    rows = max(1, min(source_height, round(source_width * height / width)))
    columns = max(1, min(source_width, round(source_height * width / height)))
    top, left = (source_height - rows) // 2, (source_width - columns) // 2
    return frames[..., top : top + rows, left : left + columns, :]
