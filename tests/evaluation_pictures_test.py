"""Pictures show what they say, of frames of any size and number of channels."""

import numpy as np
import pytest
from PIL import Image

from e3d.evaluation import pictures
from e3d.evaluation.evaluate import evaluate


def clip(frames=5, height=8, width=6, channels=1):
    shape = (frames, height, width, channels)
    return np.random.default_rng(0).random(shape, np.float32)


def test_colors_of_gray_rgb_and_other_channels():
    gray = pictures.as_colors(clip())
    assert gray.dtype == np.uint8
    np.testing.assert_array_equal(gray[..., 0], np.round(clip()[..., 0] * 255))
    np.testing.assert_array_equal(gray[..., 0], gray[..., 2])
    np.testing.assert_array_equal(
        pictures.as_colors(clip(channels=3)), np.round(clip(channels=3) * 255)
    )
    flow = pictures.as_colors(clip(channels=2))
    assert flow.shape == (5, 8, 6, 3)
    assert (flow[..., 0] != flow[..., 2]).any()


def test_colors_outside_the_range_are_clipped():
    np.testing.assert_array_equal(
        pictures.as_colors(np.array([[[-1.0], [2.0]]]))[0, :, 0], [0, 255]
    )


@pytest.mark.parametrize('channels', [1, 2, 3])
@pytest.mark.parametrize(('length', 'input_frames'), [(5, 2), (5, 4), (60, 10)])
def test_strip_shows_every_row(channels, length, input_frames):
    frames = clip(length, channels=channels)
    strip = pictures.draw_strip(frames, frames[input_frames:], np.ones(input_frames, bool))
    columns = min(max(input_frames, length - input_frames), pictures.MOST_COLUMNS)
    height, width = 96, 72  # 8 x 6 enlarged by 12
    assert strip.width == pictures.MARGIN + columns * (width + pictures.GAP) + pictures.GAP
    corners = {
        'input': (pictures.MARGIN, pictures.LINE),
        'truth': (pictures.MARGIN, 2 * pictures.LINE + height + pictures.GAP),
        'prediction': (pictures.MARGIN, 2 * pictures.LINE + 2 * (height + pictures.GAP)),
    }
    colors = pictures.as_colors(frames)
    for row, (left, top) in corners.items():
        shown = np.asarray(strip.crop((left, top, left + width, top + height)))
        expected = colors[0 if row == 'input' else input_frames]
        np.testing.assert_array_equal(shown[::12, ::12], expected, err_msg=row)


def test_difference_is_red_where_too_bright_and_blue_where_too_dark():
    truth = np.full((2, 8, 8, 1), 0.5, np.float32)
    prediction = truth[1:].copy()
    prediction[:, :, :4] += 0.2
    prediction[:, :, 4:] -= 0.2
    strip = np.asarray(pictures.draw_strip(truth, prediction, np.ones(1, bool)))
    row = strip[-20, pictures.MARGIN :]
    bright, dark = row[10].astype(int), row[80].astype(int)
    assert bright[0] > bright[2] + 50
    assert dark[2] > dark[0] + 50


@pytest.mark.parametrize(
    ('size', 'drawn'),
    [
        ((64, 64), (128, 128)),
        ((16, 8), (96, 48)),
        ((128, 128), (128, 128)),
        ((480, 640), (120, 160)),
    ],
)
def test_small_frames_are_enlarged_and_large_ones_made_smaller(size, drawn):
    assert pictures._drawn_size(*size, pictures.STRIP_SIDES) == drawn


def test_animation_tells_seen_from_forecast_frames():
    frames = clip(4)
    images = pictures.draw_animation(frames, 1 - frames[3:], np.ones(3, bool))
    borders = [image.getpixel((2 * pictures.GAP, pictures.LINE)) for image in images]
    assert borders == [pictures.SEEN] * 3 + [pictures.FORECAST]
    halves = [np.split(np.asarray(i)[pictures.LINE + 4 : -40, 4:-4], 2, axis=1) for i in images]
    assert all(np.array_equal(*pair) for pair in halves[:3])
    assert not np.array_equal(*halves[3])


def test_pictures_do_not_show_as_input_what_was_hidden():
    frames, observed = clip(5), np.array([True, False, True])
    strip = pictures.draw_strip(frames, frames[3:], observed)
    height, width = 96, 72
    left = pictures.MARGIN + width + pictures.GAP
    second = np.asarray(strip.crop((left, pictures.LINE, left + width, pictures.LINE + height)))
    np.testing.assert_array_equal(second[::12, ::12], pictures.as_colors(frames)[2])
    hidden = pictures.draw_animation(frames, frames[3:], observed)[1]
    assert hidden.getpixel((2 * pictures.GAP, pictures.LINE)) == pictures.HIDDEN
    right = np.asarray(hidden)[pictures.LINE + 4 : -40, 4:-4]
    right = np.split(right, 2, axis=1)[1]
    assert not right[10:-10, 20:-20].any()


def test_samples_are_written_as_strips_and_animations(tmp_path):
    frames = np.stack([clip(), clip()])
    paths = pictures.write_samples(
        tmp_path / 'samples', 20, frames, frames[:, 3:], np.ones(3, bool)
    )
    assert sorted(paths) == sorted((tmp_path / 'samples').iterdir())
    assert [path.name for path in paths[:2]] == [
        'step_00000020_sample_0.png',
        'step_00000020_sample_0.gif',
    ]
    with Image.open(paths[3]) as animation:
        assert animation.n_frames == 5


@pytest.mark.parametrize(('side', 'panels'), [(8, 3), (6, 2)])  # too small for SSIM: one less
def test_curves_have_a_panel_for_every_metric(tmp_path, side, panels):
    frames = clip(height=side, width=8)[None]
    batch = {'frames': frames, 'mask': np.ones(1, bool), 'index': np.arange(1)}
    report = evaluate(lambda seen: seen[:, :2], [batch], 3, frames[0, 0], 'noise', 0)
    pictures.write_curves(report, tmp_path / 'curves.png')
    with Image.open(tmp_path / 'curves.png') as picture:
        assert picture.width == 480 * panels


def test_data_that_go_beyond_1_are_drawn_whole():
    truth = np.linspace(0, 1.5, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8, 1)
    strip = np.asarray(pictures.draw_strip(truth, truth[1:], np.ones(1, bool), (0.0, 200.0)))
    top = 2 * pictures.LINE + 96 + pictures.GAP  # of the truth, 8 x 8 enlarged by 12
    shown = strip[top : top + 96 : 12, pictures.MARGIN : pictures.MARGIN + 96 : 12, 0]
    np.testing.assert_array_equal(shown, np.round(truth[1, ..., 0] / 1.5 * 255))
    np.testing.assert_array_equal(pictures.as_colors(truth, 1.5)[1, -1, -1], 255)
