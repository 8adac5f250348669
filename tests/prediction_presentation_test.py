"""Pictures of forecasts: size, borders and enlargement are those asked for, the colors unchanged."""

import numpy as np
import pytest
from PIL import Image
from prediction_helpers import FadingSum, run_of

from e3d.data.readers.clips import read_clip
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.evaluation.pictures import FORECAST, GAP, SEEN, as_colors
from e3d.prediction.forecast import forecast
from e3d.prediction.predict import predict_file
from e3d.prediction.presentation import Presentation

SEEN_FRAMES = np.random.default_rng(0).random((3, 8, 6, 1), np.float32)
PREDICTION = np.random.default_rng(1).random((2, 8, 6, 1), np.float32)


def test_plain_pictures_are_the_forecast():
    pictures = Presentation().draw(SEEN_FRAMES, PREDICTION, (80, 90), (0.0, 1.0))
    np.testing.assert_array_equal(pictures, np.round(PREDICTION * 255))
    assert pictures.dtype == np.uint8


def test_pixels_become_squares():
    pictures = Presentation(scale=4).draw(SEEN_FRAMES, PREDICTION, (80, 90), (0.0, 1.0))
    assert pictures.shape == (2, 32, 24, 1)
    for row in range(4):
        for column in range(4):
            part = pictures[:, row::4, column::4]
            np.testing.assert_array_equal(part, np.round(PREDICTION * 255))


@pytest.mark.parametrize('scale', [1, 20])
def test_borders_tell_the_input_from_the_forecast(scale):
    presentation = Presentation(with_input=True, scale=scale)
    pictures = presentation.draw(SEEN_FRAMES, PREDICTION, (80, 90), (0.0, 1.0))
    assert pictures.shape == (5, *presentation.shape((8, 6, 1), (80, 90)), 3)
    width = (pictures.shape[2] - 6 * scale) // 2
    assert width >= 2
    expected = as_colors(np.concatenate([SEEN_FRAMES, PREDICTION]))
    inside = pictures[:, width:-width, width:-width]
    np.testing.assert_array_equal(inside[:, ::scale, ::scale], expected)
    for index, frame in enumerate(pictures):
        color = SEEN if index < 3 else FORECAST
        for edge in (frame[:width], frame[-width:], frame[:, :width], frame[:, -width:]):
            assert (edge == color).all()


def test_the_size_of_the_input_undoes_the_stretching():
    left = np.zeros((1, 4, 4, 1), np.float32)
    left[:, :, :2] = 1
    pictures = Presentation(size='input').draw(left, left, (8, 20), (0.0, 1.0))
    assert pictures.shape == (1, 8, 20, 1)
    assert (pictures[:, :, :6] == 255).all() and (pictures[:, :, -6:] == 0).all()


@pytest.mark.parametrize(
    ('fit', 'expected'), [('stretch', (16, 24)), ('crop', (16, 16))]
)  # of 16 x 24, cut to the aspect of 8 x 8
def test_files_in_the_size_of_the_input(tmp_path, fit, expected):
    clip = np.random.default_rng(2).integers(0, 256, (4, 16, 24, 3), np.uint8)
    np.save(tmp_path / 'in.npy', clip)
    run = run_of(FadingSum(), dataset={'fit': fit})
    text = predict_file(
        run, tmp_path / 'in.npy', tmp_path / 'out', presentation=Presentation(False, 2, 'input')
    )
    height, width = (2 * side for side in expected)
    assert read_clip(tmp_path / 'out').shape == (2, height, width, 1)
    assert f'{height} x {width}' in text


def test_a_picture_of_every_frame_and_the_input_before_it(tmp_path):
    clip = np.random.default_rng(2).integers(0, 256, (5, 8, 8, 3), np.uint8)
    np.save(tmp_path / 'in.npy', clip)
    run = run_of(FadingSum(), channels=3)
    text = predict_file(
        run, tmp_path / 'in.npy', tmp_path / 'out', presentation=Presentation(with_input=True)
    )
    assert 'The 3 frames that the model saw come first, with a blue border' in text
    files = sorted((tmp_path / 'out').iterdir())
    assert len(files) == 5
    shown = np.stack([np.asarray(Image.open(file))[2:-2, 2:-2] for file in files])
    np.testing.assert_array_equal(shown[:3], clip[-3:])
    np.testing.assert_array_equal(shown[3:], as_colors(forecast(run, clip)))


@pytest.mark.parametrize(
    ('channels', 'names', 'places'),
    [
        (3, 'abc', [(0, 0), (0, 1), (0, 2)]),
        (5, (), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]),
        (3, (), [(0, 0)]),
    ],
)
@pytest.mark.parametrize('with_input', [False, True])
def test_channels_that_are_no_colors_are_side_by_side(channels, names, places, with_input):
    random = np.random.default_rng(3)
    seen, prediction = random.random((3, 8, 6, channels)), random.random((2, 8, 6, channels))
    presentation = Presentation(with_input, scale=2)
    drawn = presentation.draw(seen, prediction, (80, 90), (0.0, 1.0), names)
    assert drawn.shape[1:3] == presentation.shape((8, 6, channels), (80, 90), names)
    border, shown = (2, np.concatenate([seen, prediction])) if with_input else (0, prediction)
    height, width = 16 + 2 * border + GAP, 12 + 2 * border + GAP
    for channel, (row, column) in enumerate(places):
        top, left = row * height + border, column * width + border
        part = drawn[:, top : top + 16 : 2, left : left + 12 : 2]
        of_colors = len(places) == 1
        values = shown if of_colors else shown[..., channel : channel + 1]
        np.testing.assert_array_equal(part, as_colors(values, viridis=not of_colors))
        if with_input:
            assert (drawn[0, top - 1, left] == SEEN).all()
            assert (drawn[-1, top + 16, left] == FORECAST).all()


def test_it_is_said_which_channel_is_where(tmp_path):
    np.save(tmp_path / 'in.npy', np.zeros((3, 8, 8, 5), np.float32))
    ranges = tuple((0.0, 10.0**n) for n in range(5))
    scale = Scale((0.0, 1.0), (0.0, 1.0), ranges)
    run = run_of(FadingSum(), channels=5, dataset={'layout': 'THWC'})
    run = run._replace(scale=scale, channel_names=tuple('abcDe'))
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'out')
    assert f'{2 * 8 + GAP} x {3 * 8 + 2 * GAP} RGB, to {tmp_path / "out"}' in text
    assert 'A picture has its channels side by side, row by row: a, b, c; D, e.' in text
    assert 'The darkest color of D is 0, the brightest 1000. The darkest color of e' in text
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'out.npy')
    assert '8 x 8 with 5 channels (a, b, c, D, e), to' in text and 'side by side' not in text


def test_forecasts_below_0_are_drawn_whole(tmp_path):
    clip = np.linspace(-8, 10, 3 * 8 * 8, dtype=np.float32).reshape(3, 8, 8, 1)
    np.save(tmp_path / 'in.npy', clip)
    run = run_of(FadingSum(), dataset={'layout': 'THWC'})
    run = run._replace(scale=Scale((0.0, 10.0), (-np.inf, np.inf), unit='degC'))
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'out')
    future = forecast(run, clip)
    assert f'The darkest color is {future.min():g}, the brightest 10, in degC' in text
    expected = np.round((future - future.min()) / (10 - future.min()) * 255)
    np.testing.assert_allclose(read_clip(tmp_path / 'out'), expected, atol=1)
    presentation = Presentation(with_input=True)
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'both', presentation=presentation)
    assert 'The darkest color is -8, the brightest 10, in degC' in text


def test_gray_pictures_with_a_colored_border_are_called_rgb(tmp_path):
    np.save(tmp_path / 'in.npy', np.zeros((3, 8, 8, 1), np.uint8))
    presentation = Presentation(with_input=True)
    run = run_of(FadingSum(), channels=1)
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'out', presentation=presentation)
    assert f'12 x 12 RGB, to {tmp_path / "out"}' in text
    assert read_clip(tmp_path / 'out').shape[1:] == (12, 12, 3)


@pytest.mark.parametrize(
    ('presentation', 'message'),
    [
        (Presentation(scale=0), 'scale=0: must be an integer from 1 to 64'),
        (Presentation(scale=65), 'scale=65'),
        (Presentation(scale=1.5), r'scale=1\.5'),
        (Presentation(scale=True), 'scale=True'),
        (Presentation(size='big'), "size='big': must be 'model' or 'input'"),
    ],
)
def test_what_cannot_be_drawn_is_rejected(presentation, message):
    with pytest.raises(InputError, match=message):
        presentation.check(has_pictures=True)


def test_numbers_stay_plain():
    Presentation().check(has_pictures=False)
    for presentation in (Presentation(True), Presentation(scale=2), Presentation(size='input')):
        with pytest.raises(InputError, match='plain numbers'):
            presentation.check(has_pictures=False)
