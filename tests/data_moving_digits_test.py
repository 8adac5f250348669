import zlib

import numpy as np
import pytest

from e3d.data.sources import moving_digits
from e3d.data.sources.moving_digits import MovingDigits
from e3d.errors import InputError


def original_corners(x, y, angle, length=20, step=0.1, room=36):
    """The path of a digit as the authors of Moving MNIST compute it, in a unit square."""
    v_x, v_y = np.cos(angle), np.sin(angle)
    corners = []
    for _ in range(length):
        y += v_y * step
        x += v_x * step
        if x <= 0:
            x, v_x = 0.0, -v_x
        if x >= 1.0:
            x, v_x = 1.0, -v_x
        if y <= 0:
            y, v_y = 0.0, -v_y
        if y >= 1.0:
            y, v_y = 1.0, -v_y
        corners.append((int(room * y), int(room * x)))
    return corners


def test_digits_move_as_in_the_original_data_set():
    draws = np.random.default_rng(0).random((300, 3)) * [1, 1, 2 * np.pi]
    y, x, angle = draws.T
    velocities = 3.6 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    corners = moving_digits.move(draws[:, :2] * 36, velocities, np.array([36, 36]), 20)
    expected = [original_corners(*start) for start in zip(x, y, angle, strict=True)]
    np.testing.assert_array_equal(corners, np.transpose(expected, (1, 0, 2)))


def test_a_digit_steps_first_and_stops_at_the_border_before_it_turns():
    starts, velocities = np.array([[9.0, 0.5]]), np.array([[3.0, 1.0]])
    corners = moving_digits.move(starts, velocities, np.array([10, 100]), 6)
    assert corners[:, 0, 0].tolist() == [10, 7, 4, 1, 0, 3]
    assert corners[:, 0, 1].tolist() == [1, 2, 3, 4, 5, 6]  # truncated, not rounded


def test_speed_is_in_pixels_a_frame():
    settings = MovingDigits(canvas=(1028, 1028), num_digits=1, length=11)
    for index in range(5):
        frames = settings.sequence(0, 'train', index)[..., 0].astype(float)
        weights = frames / frames.sum((1, 2), keepdims=True)
        centers = np.stack(
            [(weights.sum(2) * np.arange(1028)).sum(1), (weights.sum(1) * np.arange(1028)).sum(1)]
        )
        # Truncation moves either end by less than a pixel along both axes.
        assert np.linalg.norm(centers[:, 10] - centers[:, 0]) == pytest.approx(36, abs=np.sqrt(2))


def test_the_brighter_pixel_counts_where_digits_overlap():
    images = np.array([[[10, 200], [0, 50]], [[90, 90], [90, 90]]], np.uint8)
    frames = moving_digits.draw(images, np.array([[[0, 0], [0, 0]], [[0, 0], [1, 1]]]), (3, 4))
    assert frames.dtype == np.uint8
    assert frames.tolist() == [
        [[90, 200, 0, 0], [90, 90, 0, 0], [0, 0, 0, 0]],
        [[10, 200, 0, 0], [0, 90, 90, 0], [0, 90, 90, 0]],
    ]


@pytest.mark.parametrize('split', ['train', 'validation', 'test'])
def test_the_digits_of_a_sequence_are_of_its_split(split):
    settings = MovingDigits(canvas=(28, 28), num_digits=1, length=1)  # the digit is the frame
    known = {image.tobytes() for image in settings.load_digits(split)}
    drawn = {settings.sequence(3, split, index).tobytes() for index in range(100)}
    assert drawn <= known
    assert len(drawn) > 80


def test_frames_have_the_shape_that_is_asked_for():
    settings = MovingDigits(canvas=(20, 34), num_digits=3, digit_size=12, speed=50.0, length=5)
    frames = settings.sequence(0, 'train', 0)
    assert frames.shape == (5, 20, 34, 1)
    assert frames.dtype == np.uint8
    assert frames.max((1, 2, 3)).min() > 100


def test_digits_as_large_as_the_canvas_stay_where_they_are():
    frames = MovingDigits(canvas=(28, 28), length=4).sequence(0, 'train', 0)
    assert (frames == frames[0]).all()


def test_a_sequence_is_a_function_of_seed_split_and_index():
    settings = MovingDigits(canvas=(32, 32), digit_size=10, length=3)
    first = settings.sequence(1, 'train', 7)
    np.testing.assert_array_equal(first, MovingDigits(**vars(settings)).sequence(1, 'train', 7))
    for other in ((2, 'train', 7), (1, 'test', 7), (1, 'train', 8)):
        assert (first != settings.sequence(*other)).any()


def test_the_fixed_sequences_stay_what_they_are():
    # Another value means other test sets: measured figures would no longer compare. If that is
    # meant, raise the version of the data set.
    frames = np.stack([MovingDigits().sequence(0, 'test', index) for index in range(3)])
    assert zlib.crc32(frames.tobytes()) == 44814900


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'canvas': (64, 20)}, 'digit_size 28'),
        ({'canvas': (64,)}, 'canvas'),
        ({'num_digits': 0}, 'num_digits is 0'),
        ({'digit_size': 0}, 'digit_size is 0'),
        ({'length': 0}, 'length is 0'),
        ({'speed': -1.0}, 'speed is -1.0'),
        ({'speed': float('nan')}, 'speed is nan'),
    ],
)
def test_settings_that_no_sequence_can_have_are_rejected(values, message):
    with pytest.raises(InputError, match=message):
        MovingDigits(**values)
