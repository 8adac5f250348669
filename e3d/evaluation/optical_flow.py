"""The forecast that moves what was seen on as it moved last: no rival that learns may lose to it.

Radar forecasters call it Lagrangian persistence. The motion between the last two frames is estimated
(Farneback 2003) and kept; every pixel of the forecast is fetched from where it came from, step by step
backwards along the motion (semi-Lagrangian). Nothing grows, decays or turns.
"""

from typing import Any

import numpy as np

from e3d.errors import missing_extra

# Of the estimate: a pyramid of halved sizes, means over windows of 31 pixels, iterations on each
# level, and neighborhoods of 7 pixels that are fitted by polynomials, with a Gaussian of 1.5.
_FARNEBACK = {
    'pyr_scale': 0.5,
    'levels': 5,
    'winsize': 31,
    'iterations': 10,
    'poly_n': 7,
    'poly_sigma': 1.5,
    'flags': 0,
}
_MARGIN = 16  # pixels, more than half a window: at a border it finds motion where nothing moves


def load_opencv() -> Any:
    """The module cv2, imported where it is used, as it takes a while.

    Raises:
      InputError: it is not installed.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise missing_extra('evaluation.optical_flow', error) from error
    return cv2


def extrapolate(seen: np.ndarray, output_frames: int) -> np.ndarray:
    """Moves the last frame of each sequence on as it moved since the one before.

    Channels move together, as their mean does. What comes in at a border is what stands there.

    Args:
      seen: `[B, T_in, H, W, C]`; of a single frame no motion is known, and it is repeated.
      output_frames: T_out.

    Returns:
      Float32 `[B, T_out, H, W, C]`.
    """
    cv2 = load_opencv()
    seen = np.asarray(seen, np.float32)
    grid: np.ndarray = np.indices(seen.shape[2:4], np.float32)
    forecasts = np.empty((len(seen), output_frames, *seen.shape[2:]), np.float32)
    for sequence, forecast in zip(seen, forecasts, strict=True):
        motion = _estimate_motion(cv2, sequence)
        y, x = grid[0], grid[1]
        for frame in forecast:
            step = _fetch(cv2, motion, x, y)
            x, y = x - step[..., 0], y - step[..., 1]
            for channel in range(seen.shape[-1]):
                frame[..., channel] = _fetch(cv2, sequence[-1, ..., channel], x, y)
    return forecasts


def _estimate_motion(cv2: Any, frames: np.ndarray) -> np.ndarray:
    """Pixels a frame to the right and down, float32 `[H, W, 2]`, between the last two frames."""
    if len(frames) < 2:
        return np.zeros((*frames.shape[1:3], 2), np.float32)
    pair = frames[-2:].mean(axis=-1)
    low, high = pair.min(), pair.max()
    # Farneback's regularization is made for bytes.
    pair = (pair - low) * (255 / (high - low) if high > low else 0)
    before, after = np.pad(pair, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)), mode='edge')
    motion = cv2.calcOpticalFlowFarneback(before, after, None, **_FARNEBACK)
    return motion[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _fetch(cv2: Any, values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values at places between pixels, bilinear; beyond the border those at the border."""
    values = np.ascontiguousarray(values)
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
