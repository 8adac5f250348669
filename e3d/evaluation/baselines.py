"""Forecasts that need no learning, beside which a model is measured."""

from typing import Any

import numpy as np

from e3d.errors import InputError


def last_known(seen: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """The last value of each cell that is known, `[B, 1, H, W, C]`; 0 where none is.

    Args:
      seen: `[B, T_in, H, W, C]`.
      valid: bool `[B, T, H, W, C]`, T >= T_in; None: all are known.
    """
    newest = seen[:, -1:]
    if valid is None:
        return newest
    newest = np.where(valid[:, seen.shape[1] - 1 : seen.shape[1]], newest, 0)
    found = valid[:, seen.shape[1] - 1 : seen.shape[1]]
    for time in range(seen.shape[1] - 2, -1, -1):
        now = valid[:, time : time + 1]
        newest = np.where(now & ~found, seen[:, time : time + 1], newest)
        found = found | now
    return newest


def mean_image(source: Any, max_sequences: int = 1000) -> np.ndarray:
    """The mean of all frames of a source: the best forecast that never looks at its input.

    Args:
      source: `source[i]['frames']` is `[T, H, W, C]`, uint8 or float in [0, 1]; where there is
        'valid', bool of the same shape, only those values count, and a cell without any is 0.
      max_sequences: of a longer source so many sequences count, spread evenly over it.

    Returns:
      Float32 `[H, W, C]` in [0, 1].
    """
    chosen = min(len(source), max_sequences)
    if not chosen:
        raise InputError('The training split is empty: there is no mean image of it.')
    total, count = np.zeros(()), np.zeros(())
    for index in np.linspace(0, len(source) - 1, chosen).round().astype(int):
        sequence = source[int(index)]
        frames = np.asarray(sequence['frames'])
        white = 255.0 if frames.dtype == np.uint8 else 1.0
        if 'valid' in sequence:
            count = count + sequence['valid'].mean(axis=0)
            frames = np.where(sequence['valid'], frames, 0)
        total = total + frames.mean(axis=0, dtype=np.float64) / white
    if count.ndim:
        return np.divide(total, count, out=np.zeros_like(total), where=count > 0).astype(np.float32)
    return (total / chosen).astype(np.float32)
