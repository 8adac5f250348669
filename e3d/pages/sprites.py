"""Sequences as pictures in a page: values of 8 bits, which the page itself colors and subtracts.

A sprite is a PNG with the frames of a sequence side by side, one row of them for each channel, or a
single one in color. So the page can draw a difference, and another page compare two runs.
"""

import base64
import hashlib
import io
from typing import Any

import numpy as np
from PIL import Image

from e3d.evaluation.shown import Shown

MOST_FRAMES = 60
MOST_CHANNELS = 4


def sequence_data(shown: Shown, side: int, named: bool = False) -> dict[str, Any]:
    """A sequence as values that JSON can hold.

    Args:
      shown: the sequence.
      side: the longer side of a frame, at most.
      named: whether the channels have names, so that three are no colors.

    Returns:
      'title', 'index', 'key' (of its true values), 'size' [H, W] of the frames there, 'length',
      'times' (of the frames that are there, from 1), 'observed' (of each: 'seen', 'hidden' or
      'forecast'), 'channels', 'rgb' (whether these are colors), the
      sprite 'truth', and one entry of 'forecasts': a 'label', and a sprite or, of a recognizer,
      'chances', 'lengths' and 'true', the class.
    """
    length = len(shown.frames)
    kept = np.unique(np.linspace(0, length - 1, min(length, MOST_FRAMES)).round().astype(int))
    ahead = len(shown.observed)
    states = ['seen' if seen else 'hidden' for seen in shown.observed]
    states += ['forecast' if shown.prediction is not None else 'seen'] * (length - ahead)
    known = None if shown.valid is None else shown.valid[kept]
    truth, count = _made_smaller(shown.frames[kept], side, known), shown.frames.shape[-1]
    data = {
        'title': shown.title
        + (f', the first {MOST_CHANNELS} of {count} channels' if count > MOST_CHANNELS else ''),
        'index': shown.place,
        'key': hashlib.blake2b(_pixels(truth, 0.0, 1.0).tobytes(), digest_size=8).hexdigest(),
        'length': length,
        'size': list(truth.shape[1:3]),
        'original': list(shown.frames.shape[1:3]),
        'times': [int(time) + 1 for time in kept],
        'observed': [states[time] for time in kept],
        'channels': min(count, MOST_CHANNELS),
        'rgb': count == 3 and not named,
    }
    valid = None if known is None else _known(known, side)
    data['truth'] = sprite(truth, valid, named)
    found: dict[str, Any] = {'label': ''}
    if shown.prediction is not None:
        later = [time - ahead for time in kept if time >= ahead]
        # The same cells as of the truth, so that the difference of both is that of these.
        there = None if known is None else known[len(kept) - len(later) :]
        found |= sprite(_made_smaller(shown.prediction[later], side, there), named=named)
    if shown.chances is not None:
        found['chances'] = np.round(shown.chances, 4).tolist()
        found['lengths'] = [int(count) for count in shown.lengths]
        found['true'] = int(shown.label)
    return data | {'forecasts': [found]}


def sprite(
    frames: np.ndarray, valid: np.ndarray | None = None, named: bool = False
) -> dict[str, Any]:
    """Frames as a PNG.

    Args:
      frames: `[T, H, W, C]`.
      valid: bool `[T, H, W, C]`; what is not known is transparent.
      named: whether the channels have names, so that three are no colors.

    Returns:
      'low' and 'high', what 0 and 255 stand for; 'png', the picture in base64.
    """
    frames = frames[..., :MOST_CHANNELS]
    there = np.isfinite(frames)
    finite = frames[there if valid is None else there & valid[..., : frames.shape[-1]]]
    low, high = (0.0, 1.0)
    if finite.size:
        low, high = min(0.0, float(finite.min())), max(1.0, float(finite.max()))
    pixels = _pixels(frames, low, high)
    time, height, width, channels = pixels.shape
    rgb = channels == 3 and not named
    sheet = pixels.transpose(1, 0, 2, 3).reshape(height, time * width, 3) if rgb else _sheet(pixels)
    image = Image.fromarray(sheet)
    if valid is not None:
        known = valid[..., :channels]
        if rgb:
            known = np.all(known, axis=-1, keepdims=True)
        image.putalpha(Image.fromarray(np.where(_sheet(known), 255, 0).astype(np.uint8)))
    content = io.BytesIO()
    image.save(content, 'PNG')
    return {'low': low, 'high': high, 'png': base64.b64encode(content.getvalue()).decode('ascii')}


def _pixels(frames: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values from `low` to `high` as uint8."""
    scaled = np.nan_to_num((frames - low) / (high - low), posinf=1.0, neginf=0.0)
    return np.round(np.clip(scaled, 0.0, 1.0) * 255.0).astype(np.uint8)


def _sheet(pixels: np.ndarray) -> np.ndarray:
    """`[T, H, W, C]` to `[C * H, T * W]`."""
    time, height, width, channels = pixels.shape
    return pixels.transpose(3, 1, 0, 2).reshape(channels * height, time * width)


def _made_smaller(frames: np.ndarray, side: int, valid: np.ndarray | None = None) -> np.ndarray:
    """Means of blocks of pixels, so that no side is longer than `side`; `[T, H, W, C]`.

    Of blocks with gaps of the cells that are `valid`, and of all where none is.
    """
    frames = np.asarray(frames, np.float32)
    factor = -(-max(frames.shape[1:3]) // side)
    if factor == 1:
        return frames
    if valid is not None:
        share = _made_smaller(valid, side)
        of_valid = _made_smaller(np.where(valid, frames, 0), side) / np.maximum(share, 1e-9)
        return np.where(share > 0, of_valid, _made_smaller(frames, side))
    time, height, width, channels = frames.shape
    rows, columns = -(-height // factor), -(-width // factor)
    padding = [(0, 0), (0, rows * factor - height), (0, columns * factor - width), (0, 0)]
    blocks = np.pad(frames, padding, mode='edge')
    return blocks.reshape(time, rows, factor, columns, factor, channels).mean(axis=(2, 4))


def _known(valid: np.ndarray, side: int) -> np.ndarray:
    """Where most of a block is known, after `_made_smaller`."""
    return _made_smaller(valid, side) > 0.5
