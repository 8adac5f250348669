"""Pictures show what they say, of frames of any size and number of channels."""

import re

import numpy as np
import pytest
from PIL import Image

from e3d.data.sources.something_something_files import FORTY_ONE
from e3d.evaluation import curves, pictures, recognition_pictures, strips
from e3d.evaluation.curves import write_curves
from e3d.evaluation.evaluate import evaluate
from e3d.evaluation.samples import write_samples
from e3d.evaluation.strips import lay_out


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
    strip = lay_out(frames, frames[input_frames:], np.ones(input_frames, bool)).image()
    columns = min(max(input_frames, length - input_frames), strips.MOST_COLUMNS)
    height, width = 96, 72  # 8 x 6 enlarged by 12
    assert strip.width == strips.MARGIN + columns * (width + pictures.GAP) + pictures.GAP
    corners = {
        'input': (strips.MARGIN, pictures.LINE),
        'truth': (strips.MARGIN, 2 * pictures.LINE + height + pictures.GAP),
        'prediction': (strips.MARGIN, 2 * pictures.LINE + 2 * (height + pictures.GAP)),
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
    strip = np.asarray(lay_out(truth, prediction, np.ones(1, bool)).image())
    row = strip[-20, strips.MARGIN :]
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
    assert pictures.drawn_size(*size, strips.SIDES) == drawn


def test_animation_tells_seen_from_forecast_frames():
    frames = clip(4)
    images = pictures.draw_animation(frames, 1 - frames[3:], np.ones(3, bool))
    borders = [image.getpixel((2 * pictures.GAP, pictures.LINE)) for image in images]
    assert borders == [pictures.SEEN] * 3 + [pictures.FORECAST]
    halves = [np.split(np.asarray(i)[pictures.LINE + 4 : -40, 4:-4], 2, axis=1) for i in images]
    assert all(np.array_equal(*pair) for pair in halves[:3])
    assert not np.array_equal(*halves[3])


@pytest.mark.parametrize('names', [('rain', 'east', 'north'), ('in', 'out'), ()])
def test_animations_show_every_channel(names):
    frames = clip(4, channels=len(names) or 2)
    prediction = 1 - frames[3:]
    last = np.asarray(pictures.draw_animation(frames, prediction, np.ones(3, bool), names)[-1])
    side = 96 if len(names) == 3 else 192  # the longer of 8 x 6 pixels
    for channel in range(frames.shape[-1]):
        top = (channel + 1) * pictures.LINE + channel * (side + 2 * pictures.GAP) + 5
        top += pictures.LINE - 1
        for column, shown in enumerate((frames[3], prediction[0])):
            left = 3 * pictures.GAP + column * (side * 6 // 8 + 4 * pictures.GAP)
            drawn = last[top : top + side : side // 8, left : left + side * 6 // 8 : side // 8]
            expected = pictures.as_colors(shown[..., channel : channel + 1], viridis=True)
            np.testing.assert_array_equal(drawn, expected)


def test_pictures_do_not_show_as_input_what_was_hidden():
    frames, observed = clip(5), np.array([True, False, True])
    strip = lay_out(frames, frames[3:], observed).image()
    height, width = 96, 72
    left = strips.MARGIN + width + pictures.GAP
    second = np.asarray(strip.crop((left, pictures.LINE, left + width, pictures.LINE + height)))
    np.testing.assert_array_equal(second[::12, ::12], pictures.as_colors(frames)[2])
    hidden = pictures.draw_animation(frames, frames[3:], observed)[1]
    assert hidden.getpixel((2 * pictures.GAP, pictures.LINE)) == pictures.HIDDEN
    right = np.asarray(hidden)[pictures.LINE + 4 : -40, 4:-4]
    right = np.split(right, 2, axis=1)[1]
    assert not right[10:-10, 20:-20].any()


def test_samples_are_written_as_strips_and_animations(tmp_path):
    frames = np.stack([clip(), clip()])
    paths = write_samples(tmp_path / 'samples', 20, frames, frames[:, 3:], np.ones(3, bool))
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
    write_curves(report, [tmp_path / 'curves.png'])
    with Image.open(tmp_path / 'curves.png') as picture:
        assert picture.width == 480 * panels


def test_data_that_go_beyond_1_are_drawn_whole():
    truth = np.linspace(0, 1.5, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8, 1)
    strip = np.asarray(lay_out(truth, truth[1:], np.ones(1, bool)).image())
    top = 2 * pictures.LINE + 96 + pictures.GAP  # of the truth, 8 x 8 enlarged by 12
    shown = strip[top : top + 96 : 12, strips.MARGIN : strips.MARGIN + 96 : 12, 0]
    np.testing.assert_array_equal(shown, np.round(truth[1, ..., 0] / 1.5 * 255))
    np.testing.assert_array_equal(pictures.as_colors(truth, (0.0, 1.5))[1, -1, -1], 255)


def texts_of(strip):
    return [text.text for text in strip.texts]


def test_data_that_go_below_0_are_drawn_whole():
    values = np.float32([-1, -0.5, 0, 1])
    frames = np.tile(values.repeat(2)[:, None], (3, 1, 8))[..., None]  # 8 x 8, in four stripes
    strip = lay_out(frames, frames[2:], np.ones(2, bool), (10.0, 14.0), unit='mm')
    shown = np.asarray(strip.image())[pictures.LINE : pictures.LINE + 96 : 24, strips.MARGIN]
    expected = pictures.as_colors((values[:, None] + 1) / 2, viridis=True)
    np.testing.assert_array_equal(shown, expected)
    assert len(np.unique(shown, axis=0)) == 4
    assert {'6.00', '14'} <= set(texts_of(strip))  # the ends of the scale of colors
    gray = np.asarray(lay_out(frames, frames[2:], np.ones(2, bool)).image())
    gray = gray[pictures.LINE : pictures.LINE + 96 : 24, strips.MARGIN, 0]
    np.testing.assert_array_equal(gray, [0, 64, 128, 255])

    hidden, other = np.array([False, True]), pictures.LINE + 10
    animation = np.asarray(pictures.draw_animation(frames, frames[2:], hidden)[0])
    panels = np.split(animation[other : other + 192 : 48], 2, axis=1)
    np.testing.assert_array_equal(panels[0][:, 50, 0], gray)
    np.testing.assert_array_equal(panels[1][:, 50, 0], 0)


def test_every_channel_of_a_flow_has_rows_with_its_name_and_scales_in_the_unit():
    frames = clip(4, channels=2)
    prediction = frames[2:] + np.array([0.2, -0.1], np.float32)
    strip = lay_out(frames, prediction, np.ones(2, bool), (0.0, 50.0), channels=('in', 'out'))
    texts = texts_of(strip)
    assert [texts.count(name) for name in ('in', 'out', 'truth')] == [4, 4, 2]
    three = np.concatenate([frames, frames[..., :1]], axis=-1)
    named = lay_out(three, three[2:], np.ones(2, bool), channels=('rain', 'east', 'north'))
    assert [texts_of(named).count(name) for name in ('rain', 'north', 'truth')] == [4, 4, 3]
    assert texts_of(lay_out(three, three[2:], np.ones(2, bool))).count('truth') == 1
    wrong = three[2:] + np.float32([0.4, 0, 0])
    assert '+0.40' in texts_of(lay_out(three, wrong, np.ones(2, bool), channels='abc'))
    assert '+0.13' in texts_of(lay_out(three, wrong, np.ones(2, bool)))
    assert texts.count('-10') == texts.count('+10') == texts.count('50') == 2
    assert {'too low', 'too high'} <= set(texts)
    # The second channel's first true frame, below the four rows of the first one.
    height, width = 96, 72
    top = 3 * strips.LINE + 5 * (height + pictures.GAP) + strips.LINE
    shown = np.asarray(
        strip.image().crop((strips.MARGIN, top, strips.MARGIN + width, top + height))
    )
    expected = pictures.as_colors(frames[2, ..., [1, 1]].transpose(1, 2, 0))
    np.testing.assert_array_equal(shown[::12, ::12], expected)


def test_one_scale_of_differences_for_all_strips(tmp_path):
    frames = np.stack([clip(), clip()])
    predictions = frames[:, 3:] + np.array([0.1, 0.4], np.float32)[:, None, None, None, None]
    write_samples(tmp_path, 1, frames, predictions, np.ones(3, bool))
    left = strips.MARGIN + 10
    colors = []
    for number in range(2):
        with Image.open(tmp_path / f'step_00000001_sample_{number}.png') as picture:
            colors.append(picture.getpixel((left, picture.height - 20)))
    expected = strips._as_signs(np.array([0.1 / 0.4, 1.0]))
    np.testing.assert_array_equal(colors, expected)


@pytest.mark.parametrize('kind', ['pdf', 'svg'])
def test_figures_for_papers_keep_their_text(tmp_path, kind):
    frames = clip()[None]
    paths = write_samples(tmp_path, 1, frames, frames[:, 3:], np.ones(3, bool), figures=kind)
    assert [path.suffix for path in paths] == ['.png', '.gif', f'.{kind}']
    content = paths[-1].read_bytes()
    assert b'too high' in content if kind == 'svg' else content.startswith(b'%PDF')


def test_data_with_a_unit_have_their_rmse_drawn(tmp_path):
    report = {'mse': 1.0, 'mse_per_frame': [1.0, 1.0], 'rmse': 2.0, 'rmse_per_frame': [2.0, None]}
    write_curves(report | {'last_frame': report}, [tmp_path / 'x.svg'], 'e3d_lstm', 'bikes')
    drawn = (tmp_path / 'x.svg').read_text(encoding='utf-8')
    assert 'RMSE (bikes)' in drawn and 'MSE, sum' not in drawn
    assert 'E3D-LSTM' in drawn and 'repeat the last frame' in drawn


def test_nothing_is_cut_off(monkeypatch):
    drawn = []
    for module in (curves, recognition_pictures):
        monkeypatch.setattr(module, 'save_figure', lambda figure, paths: drawn.append(figure))
    means = {'mse': 1.0, 'mse_per_frame': [0.001, 1234.5]}
    others = {f'a forecast of a long name, number {number}': means for number in range(6)}
    write_curves({**means, **others}, [])
    names = [f'pretending to put something next to something, {number}' for number in range(13)]
    table = np.eye(13, dtype=int).tolist()
    report = {'classes': names, 'fractions': [0.5, 1.0], 'curve': [0.1, 1.0]}
    report['confusion'] = {'50': table, '100': table}
    recognition_pictures.write_recognition(report, [])
    chances, frames = np.full((2, 13), 1 / 13), clip(16)
    recognition_pictures.draw_confidences([], frames, chances, [8, 16], 2, names, [0.5, 1.0])
    recognition_pictures.draw_recognized('', frames, names, [0.5, 1.0], [8, 16], chances)
    for figure in drawn:
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02
    assert len(drawn) == 4


def test_short_names_of_different_classes_are_different():
    short = recognition_pictures.short_names(FORTY_ONE)
    assert len(set(short)) == 41 and max(map(len, short)) <= 22
    by_name = dict(zip(FORTY_ONE, short, strict=True))
    assert by_name['Pushing something from left to right'] == 'Pushing …left to right'
    assert by_name['Pushing something from right to left'] == 'Pushing …right to left'
    assert by_name['Putting something behind something'] == 'Putting something beh…'
    assert by_name['Holding something'] == 'Holding something'
    alike = ['x' * 40 + 'a' + 'y' * 40, 'x' * 40 + 'b' + 'y' * 40, 'x' * 21 + '…', 'x' * 99]
    assert len(set(recognition_pictures.short_names(alike))) == 4


STRANGE = ('_walk', 'a$_{$', '$x$', '[/]', 'nearby')


def texts_in(path):
    """The texts of a drawn .svg."""
    drawn = path.read_text(encoding='utf-8')
    return re.findall('<text[^>]*>([^<]*)</text>', drawn)


def test_names_of_classes_are_drawn_as_they_are(tmp_path):
    chances, frames = np.array([[0.1, 0.1, 0.2, 0.2, 0.4]]), clip(16)
    path = tmp_path / 'recognized.svg'
    recognition_pictures.draw_recognized(path, frames, STRANGE, [1.0], [16], chances)
    legend = [
        f'{name}, {100 * chance:.1f} %' for name, chance in zip(STRANGE, chances[0], strict=True)
    ]
    assert set(legend) <= set(texts_in(path))
    path = tmp_path / 'confidences.svg'
    recognition_pictures.draw_confidences([path], frames, chances, [16], 1, STRANGE, [1.0])
    assert {'true class: a$_{$', 'nearby', '[/]', '$x$'} <= set(texts_in(path))
    report = {'classes': STRANGE, 'fractions': [1.0], 'curve': [1.0]}
    report['confusion'] = {'100': np.eye(5, dtype=int).tolist()}
    path = tmp_path / 'report.svg'
    recognition_pictures.write_recognition(report, [path], '_own$_{$')
    assert {*STRANGE, '_own$_{$'} <= set(texts_in(path))


def test_names_of_models_units_and_channels_are_drawn_as_they_are(tmp_path):
    means = {'mse': 1.0, 'mse_per_frame': [1.0, 1.0], 'rmse': 2.0, 'rmse_per_frame': [2.0, 1.0]}
    path = tmp_path / 'curves.svg'
    write_curves(means | {'last_frame': means}, [path], '_own', 'US$ and a$_{$')
    assert {'_own', 'RMSE (US$ and a$_{$)', 'repeat the last frame'} <= set(texts_in(path))
    frames = clip(4, channels=2)
    *_, path = write_samples(
        tmp_path,
        1,
        frames[None],
        frames[None, 2:],
        np.ones(2, bool),
        figures='svg',
        channels=('a$_{$', '_b'),
    )
    assert {'a$_{$', '_b'} <= set(texts_in(path))


def test_scales_of_small_units_keep_their_digits():
    frames = clip(4)
    texts = texts_of(lay_out(frames, frames[2:], np.ones(2, bool), (0.0, 0.0041), unit='m'))
    assert {'0.00', '0.0041'} <= set(texts)
