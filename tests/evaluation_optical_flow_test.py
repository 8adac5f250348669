"""Extrapolation by optical flow: what moves steadily is forecast, what stands still stays."""

import sys

import numpy as np
import pytest

from e3d.errors import InputError
from e3d.evaluation.optical_flow import extrapolate

SIZE, SEEN, AHEAD = 48, 3, 6


def moving_blobs(velocities, seed=0):
    """`[B, SEEN + AHEAD, SIZE, SIZE, 2]`: five round blobs each that move on by pixels a frame."""
    random = np.random.default_rng(seed)
    time, rows, columns = np.indices((SEEN + AHEAD, SIZE, SIZE))
    frames = np.zeros((len(velocities), SEEN + AHEAD, SIZE, SIZE, 2), np.float32)
    for sequence, (down, right) in zip(frames, velocities, strict=True):
        for _ in range(5):
            (y, x), width = random.uniform(8, SIZE - 8, 2), random.uniform(2, 4)
            squares = (rows - y - down * time) ** 2 + (columns - x - right * time) ** 2
            sequence += 0.4 * np.exp(-squares / (2 * width**2))[..., None] * [1.0, 0.5]
    return frames


def test_beats_the_last_frame_on_advected_blobs():
    frames = moving_blobs([(1.5, -0.7), (-0.3, 2.0), (0.0, -1.0), (2.0, 1.0)])
    truth, last = frames[:, SEEN:], frames[:, SEEN - 1 : SEEN]
    forecast = extrapolate(frames[:, :SEEN], AHEAD)
    assert forecast.shape == truth.shape and forecast.dtype == np.float32
    errors, still = (np.square(one - truth).mean(axis=(2, 3, 4)) for one in (forecast, last))
    assert (errors < 0.1 * still).all()


def test_moves_by_the_motion_of_the_frames():
    frames = moving_blobs([(2.0, -1.0)])
    forecast = extrapolate(frames[:, :SEEN], 2)[0, ..., 0]
    # After two steps by 4 pixels down and 2 to the left, away from the border.
    moved = np.roll(frames[0, SEEN - 1, ..., 0], (4, -2), (0, 1))
    inside = slice(8, -8)
    np.testing.assert_allclose(forecast[1, inside, inside], moved[inside, inside], atol=0.05)


@pytest.mark.parametrize('shape', [(1, 1), (3, 20), (13, 64)])  # OpenCV has crashed on the last
def test_a_single_frame_or_one_that_stands_still_is_repeated(shape):
    rows, columns = np.indices(shape, np.float32)
    frame = 3 + np.stack([np.sin(rows / 3 + columns / 5), rows / 20])[:, None, ..., None]
    for seen in (frame, frame.repeat(2, axis=1)):
        np.testing.assert_allclose(extrapolate(seen, 2), frame.repeat(2, axis=1), atol=1e-3)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    with pytest.raises(InputError, match=r"needs the package cv2: pip install 'e3d\[all\]'"):
        extrapolate(np.zeros((1, 2, 4, 4, 1)), 1)
