"""Frames of another colour or size become what a model was trained on."""

import numpy as np
import pytest

from e3d.data.adaptation import adapt_frames
from e3d.errors import InputError

RGB = np.random.default_rng(0).random((2, 3, 12, 8, 3), np.float32)


def test_fitting_frames_stay_as_they_are():
    np.testing.assert_array_equal(adapt_frames(RGB, (12, 8, 3)), RGB)
    levels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(adapt_frames(levels, (1, 3, 1)), levels / 255, rtol=1e-6)


def test_grey_and_rgb_are_converted_into_each_other():
    grey = adapt_frames(RGB, (12, 8, 1))
    np.testing.assert_allclose(grey[..., 0], RGB @ [0.299, 0.587, 0.114], rtol=1e-5)
    np.testing.assert_array_equal(adapt_frames(grey, (12, 8, 3)), np.repeat(grey, 3, axis=-1))


def test_smaller_frames_are_means_over_areas():
    blocks = RGB.reshape(2, 3, 4, 3, 4, 2, 3).mean(axis=(3, 5))
    np.testing.assert_allclose(adapt_frames(RGB, (4, 4, 3)), blocks, rtol=1e-5)
    uneven = adapt_frames(np.array([0.0, 0.3, 0.9]).reshape(1, 3, 1), (1, 2, 1))
    np.testing.assert_allclose(uneven.ravel(), [0.1, 0.7], rtol=1e-5)  # pixels 1.5 wide


def test_larger_frames_are_interpolated():
    wide = adapt_frames(np.array([0.0, 1.0]).reshape(1, 2, 1), (1, 4, 1))
    np.testing.assert_allclose(wide.ravel(), [0.0, 0.25, 0.75, 1.0], atol=1e-6)


@pytest.mark.parametrize('shape', [(5, 7, 3), (13, 8, 3), (11, 31, 1), (1, 1, 3)])
def test_constant_frames_stay_constant(shape):
    frames = adapt_frames(np.full((2, 12, 8, 3), 0.6, np.float32), shape)
    np.testing.assert_allclose(frames, np.full((2, *shape), 0.6), rtol=1e-5)
    assert frames.dtype == np.float32


@pytest.mark.parametrize(('given', 'trained'), [(2, 1), (3, 2), (4, 3), (64, 1)])
def test_other_channels_are_refused(given, trained):
    with pytest.raises(InputError, match=f'{given} channels.*moveaxis'):
        adapt_frames(np.zeros((1, 4, 4, given), np.float32), (4, 4, trained))
