"""Frames of another color or size become what a model was trained on."""

import numpy as np
import pytest

from e3d.data.readers.timing import Timing
from e3d.data.sources import adaptation
from e3d.data.sources.adaptation import Preparation, adapt_frames, preparation_of
from e3d.errors import InputError
from e3d.pixel_values import as_floats

RGB = np.random.default_rng(0).random((2, 3, 12, 8, 3), np.float32)


def test_fitting_frames_stay_as_they_are():
    np.testing.assert_array_equal(adapt_frames(RGB, (12, 8, 3)), RGB)
    levels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(adapt_frames(levels, (1, 3, 1)), levels / 255, rtol=1e-6)


def test_gray_and_rgb_are_converted_into_each_other():
    gray = adapt_frames(RGB, (12, 8, 1))
    np.testing.assert_allclose(gray[..., 0], RGB @ [0.299, 0.587, 0.114], rtol=1e-5)
    np.testing.assert_array_equal(adapt_frames(gray, (12, 8, 3)), np.repeat(gray, 3, axis=-1))


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


@pytest.mark.parametrize('shape', [(9, 9, 3), (20, 50, 1), (64, 5, 3)])
def test_a_frame_is_the_same_whatever_is_beside_it(shape):
    frames = np.random.default_rng(2).integers(0, 256, (24, 18, 24, 3), np.uint8)
    together = adapt_frames(frames, shape)
    for size in (1, 3, 5):
        parts = [adapt_frames(frames[i : i + size], shape) for i in range(0, 24, size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize(('given', 'trained'), [(2, 1), (3, 2), (4, 3), (64, 1)])
def test_other_channels_are_rejected(given, trained):
    with pytest.raises(InputError, match=f'{given} channels.*moveaxis'):
        adapt_frames(np.zeros((1, 4, 4, given), np.float32), (4, 4, trained))


def test_values_beyond_one_are_kept_where_the_data_have_them():
    frames = np.array([0.0, 1.4], np.float32).reshape(1, 2, 1)
    np.testing.assert_allclose(adapt_frames(frames, (1, 1, 1)).ravel(), [0.7])
    np.testing.assert_allclose(adapt_frames(frames, (1, 4, 1)).ravel()[-1], 1.4)


def test_bytes_stay_bytes_and_floats_floats():
    levels = np.random.default_rng(1).integers(0, 256, (5, 6, 8, 3), np.uint8)
    same = Preparation((6, 8, 3)).prepare(levels)
    np.testing.assert_array_equal(same, levels)
    small = Preparation((3, 4, 3)).prepare(levels)
    means = levels.reshape(5, 3, 2, 4, 2, 3).mean(axis=(2, 4))
    assert small.dtype == np.uint8
    np.testing.assert_allclose(small, means, atol=0.5 + 1e-4)
    deep = Preparation((3, 4, 3)).prepare(as_floats(levels))
    assert deep.dtype == np.float32
    np.testing.assert_allclose(deep * 255, means, rtol=1e-5)


def test_long_clips_are_adapted_in_blocks(monkeypatch):
    frames = np.random.default_rng(1).integers(0, 256, (7, 9, 8, 3), np.uint8)
    preparation = Preparation((4, 5, 1))
    whole = preparation.prepare(frames)
    monkeypatch.setattr(adaptation, '_BLOCK_BYTES', 3 * 9 * 8 * 3)
    sizes = []
    monkeypatch.setattr(
        adaptation,
        'adapt_frames',
        lambda part, shape: sizes.append(len(part)) or adapt_frames(part, shape),
    )
    np.testing.assert_array_equal(preparation.prepare(frames), whole)
    assert sizes == [3, 3, 1]


def test_a_crop_takes_the_middle_and_a_stretch_everything():
    wide = np.zeros((1, 2, 6, 1), np.uint8)
    wide[:, :, 2:4] = 90
    assert Preparation((1, 1, 1), 'crop').prepare(wide).item() == 90
    assert Preparation((1, 1, 1), 'stretch').prepare(wide).item() == 30


@pytest.mark.parametrize(
    ('size', 'middle'),
    [((8, 6), np.s_[:, 2:6]), ((4, 10), np.s_[:, :, 2:8]), ((8, 12), np.s_[:, :, :])],
)
def test_a_crop_has_the_aspect_that_is_wanted(size, middle):
    frames = np.arange(size[0] * size[1], dtype=np.uint8).reshape(1, *size, 1)
    found = Preparation((4, 6, 1), 'crop').prepare(frames)
    np.testing.assert_array_equal(found, Preparation((4, 6, 1)).prepare(frames[middle]))


@pytest.mark.parametrize('shape', [(4, 4, 2), (3, 4, 1)])
def test_a_grid_of_another_shape_is_not_resized(shape):
    preparation = preparation_of({'name': 'taxibj'}, (3, 4, 2))
    with pytest.raises(InputError, match='has 3 x 4 with 2 channels, which is not resized'):
        preparation.prepare(np.zeros((5, *shape), np.float32))


def test_the_preparation_of_a_data_set_is_that_of_its_keys():
    keys = {'name': 'video_folder', 'fit': 'crop', 'frame_rate': 2.0}
    assert preparation_of(keys, (4, 4, 1)) == Preparation((4, 4, 1), 'crop', 2.0)
    assert preparation_of({'name': 'kth'}, (4, 4, 1)) == Preparation((4, 4, 1))


@pytest.mark.parametrize(
    ('preparation', 'shape', 'timing', 'account'),
    [
        (Preparation((4, 6, 1)), (4, 6, 1), Timing(10.0, True), ''),
        (
            Preparation((4, 6, 1)),
            (4, 6, 1),
            Timing(3.1, False),
            '',
        ),
        (
            Preparation((4, 6, 1), 'crop', 2.0),
            (4, 6, 1),
            Timing(2.0, False),
            'brought to 2 frames/s',
        ),
        (Preparation((4, 6, 1)), (8, 12, 3), None, 'RGB made gray; 8 x 12 pixels resized to 4 x 6'),
        (
            Preparation((4, 6, 3), 'stretch', 2.0),
            (4, 8, 1),
            Timing(12.5, True),
            '12.5 frames/s brought to 2; gray made RGB; '
            '4 x 8 pixels resized to 4 x 6, aspect ratio changed',
        ),
        (
            Preparation((4, 6, 1), 'crop', 2.0),
            (4, 6, 1),
            None,
            'no times stated: taken as 2 frames/s',
        ),
        (Preparation((4, 4, 1), 'crop'), (4, 8, 1), None, 'the middle 4 x 4 of 4 x 8 cut'),
        (
            Preparation((2, 2, 1), 'crop'),
            (4, 8, 1),
            None,
            'the middle 4 x 4 of 4 x 8 cut; 4 x 4 pixels resized to 2 x 2',
        ),
    ],
)
def test_what_is_done_to_a_clip_is_said(preparation, shape, timing, account):
    assert preparation.describe(shape, timing) == account
