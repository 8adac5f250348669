"""Animations come with their times: a frame that stands longer is several steps."""

import struct

import numpy as np
import pytest
from picture_fixtures import GifFrame, chunk, first_pixels, gif_of, write_tiff
from PIL import Image

from e3d.data.readers import pictures
from e3d.data.readers.animations import animation_frames, even_times
from e3d.data.readers.clips import clip_frames, clip_timing, describe_clip, frame_rate, read_clip
from e3d.errors import InputError

GRAYS = [20, 70, 130, 200]
PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
FORMATS = ('gif', 'png', 'webp', 'tif')


def write(path, durations=100, grays=GRAYS, **options):
    frames = [Image.new('RGB', (8, 6), (gray, gray, gray)) for gray in grays]
    if path.suffix == '.webp':
        options['lossless'] = True
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations, loop=0, **options
    )
    return path


@pytest.mark.parametrize('suffix', FORMATS)
def test_all_frames_are_read(tmp_path, suffix):
    path = write(tmp_path / f'a.{suffix}')
    assert first_pixels(read_clip(path)) == GRAYS
    assert first_pixels(read_clip(path, last=2)) == GRAYS[2:]
    assert frame_rate(path) == (None if suffix == 'tif' else 10)


def test_avif_where_pillow_reads_it(tmp_path):
    path = tmp_path / 'a.avif'
    if '.avif' not in Image.registered_extensions():
        pytest.skip('Pillow was built without AVIF')
    write(path, quality=95)
    np.testing.assert_allclose(first_pixels(read_clip(path)), GRAYS, atol=4)
    assert frame_rate(path) == 10


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp'])
@pytest.mark.parametrize(
    ('durations', 'shown', 'rate'),
    [
        ([100, 200, 100, 300], [0, 1, 1, 2, 3, 3, 3], 10),
        ([40, 60, 40, 40], [0, 0, 1, 1, 1, 2, 2, 3, 3], 50),
        ([20, 20, 20, 1000], [0, 1, 2] + 50 * [3], 50),
        ([100, 100, 100, 137], [0, 1, 2, 3], 10),
    ],
)
def test_frames_are_repeated_as_long_as_they_stand(tmp_path, suffix, durations, shown, rate):
    path = write(tmp_path / f'a.{suffix}', durations)
    assert first_pixels(read_clip(path)) == [GRAYS[index] for index in shown]
    assert frame_rate(path) == pytest.approx(rate)
    constant = shown == [0, 1, 2, 3]
    assert clip_timing(path).constant == constant
    assert (f'in even steps of {1000 / rate:.4g} ms' in describe_clip(path)) != constant


def test_another_rate_follows_the_times(tmp_path):
    path = write(tmp_path / 'a.gif', [100, 200, 100, 300])
    assert first_pixels([*clip_frames(path, rate=5)]) == [GRAYS[index] for index in (0, 1, 3, 3)]
    assert first_pixels([*clip_frames(path, rate=20)]) == [
        GRAYS[index] for index in (0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3)
    ]


@pytest.mark.parametrize(('suffix', 'shortest'), [('gif', 20), ('png', 11), ('webp', 11)])
def test_what_is_too_short_stands_as_long_as_in_browsers(tmp_path, suffix, shortest):
    assert frame_rate(write(tmp_path / f'zero.{suffix}', [0, 0, 0, 0])) == 10
    assert frame_rate(write(tmp_path / f'ten.{suffix}', [10, 10, 10, 10])) == 10
    path = write(tmp_path / f'short.{suffix}', shortest)
    assert frame_rate(path) == pytest.approx(1000 / shortest)


@pytest.mark.parametrize(
    ('durations', 'tick', 'starts', 'end', 'step'),
    [
        ([30, 40, 30, 30, 40, 30], 10, [0, 1, 2, 3, 4, 5], 6, 100 / 3),
        ([33, 34, 33, 66], 1, [0, 1, 2, 3], 5, 33.25),
        ([20, 30, 20, 30], 10, [0, 1, 2, 3], 4, 25),
        ([40, 60], 10, [0, 2], 5, 20),
        ([60, 60, 200, 60, 260, 60], 10, [0, 1, 2, 5, 6, 10], 11, 64),
        ([100, 200, 50, 1e9], 1, [0, 2, 6, 7], 7 + 2e7, 50),
        ([500, 500, 137], 10, [0, 1, 2], 3, 500),
    ],
)
def test_even_steps_are_found_in_rounded_times(durations, tick, starts, end, step):
    times = even_times(durations, tick)
    assert times.step == pytest.approx(step, rel=1e-3)
    np.testing.assert_allclose(np.array(times.starts) / times.step, starts, atol=1e-9)
    assert times.end == pytest.approx(end * step, rel=1e-3)


def test_times_without_even_steps_are_kept():
    times = even_times([100, 137, 211, 155], 1)
    assert times == ([0, 100, 237, 448], 603, 100, False)


def test_the_picture_that_stands_for_an_animation_is_no_frame(tmp_path):
    path = tmp_path / 'a.png'
    frames = [Image.new('RGB', (8, 6), (gray, gray, gray)) for gray in GRAYS]
    frames[0].save(path, save_all=True, default_image=True, append_images=frames[1:], duration=100)
    assert first_pixels(read_clip(path)) == GRAYS[1:]


def test_what_is_transparent_is_black_in_every_frame(tmp_path):
    frames = []
    for column in range(3):
        frame = np.zeros((4, 6, 4), np.uint8)
        frame[...] = (90, 160, 250, 0)
        frame[:, column] = (200, 100, 50, 255)
        frames.append(Image.fromarray(frame))
    for suffix in ('gif', 'png', 'webp'):
        options = {'lossless': True, 'exact': True} if suffix == 'webp' else {}
        path = tmp_path / f'a.{suffix}'
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=100, disposal=2, **options
        )
        clip = read_clip(path)
        for column, frame in enumerate(clip):
            assert (frame[:, column] == (200, 100, 50)).all()
            assert not np.delete(frame, column, axis=1).any()


@pytest.mark.parametrize('disposal', [2, 3])
def test_a_frame_that_states_no_disposal_stays(tmp_path, disposal):
    def patch(index, column, disposal):
        return GifFrame(np.full((2, 2), index, np.uint8), disposal, (1, column), clear=255)

    ground = GifFrame(np.full((4, 6), 1, np.uint8), 1)
    frames = [ground, patch(2, 0, disposal), patch(3, 2, 0), patch(4, 4, 0)]
    (tmp_path / 'a.gif').write_bytes(gif_of((4, 6), PALETTE, frames))
    expected = np.broadcast_to(PALETTE[1], (4, 4, 6, 3)).copy()
    expected[1, 1:3, :2] = PALETTE[2]
    expected[2:, 1:3, :2] = 0 if disposal == 2 else PALETTE[1]
    expected[2:, 1:3, 2:4] = PALETTE[3]
    expected[3, 1:3, 4:] = PALETTE[4]
    np.testing.assert_array_equal(read_clip(tmp_path / 'a.gif'), expected)


def test_colors_after_grays_are_read_as_such(tmp_path):
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    indices = np.arange(24, dtype=np.uint8).reshape(4, 6)
    frames = [GifFrame(indices), GifFrame(indices, palette=PALETTE), GifFrame(indices[:2, :3])]
    (tmp_path / 'a.gif').write_bytes(gif_of((4, 6), grays, frames))
    expected = np.stack([grays[indices], PALETTE[indices], PALETTE[indices]])
    expected[2, :2, :3] = grays[indices[:2, :3]]
    np.testing.assert_array_equal(read_clip(tmp_path / 'a.gif'), expected)


def test_a_frame_of_a_gif_that_leaves_its_screen_is_rejected(tmp_path):
    frames = [GifFrame(np.ones((4, 6), np.uint8)), GifFrame(np.ones((4, 8), np.uint8))]
    (tmp_path / 'a.gif').write_bytes(gif_of((4, 6), PALETTE, frames))
    with pytest.raises(InputError, match=r'Frame 2 of .*Pillow finds 4 x 8 pixels, FFmpeg 4 x 6'):
        read_clip(tmp_path / 'a.gif')


def test_a_gif_without_its_end_is_told(tmp_path):
    content = gif_of((4, 6), PALETTE, 3 * [GifFrame(np.ones((4, 6), np.uint8))])
    path = tmp_path / 'a.gif'
    for whole in (content, content + bytes(9)):
        path.write_bytes(whole)
        assert describe_clip(path) == ''
    one_less = content.rindex(b'!\xf9')
    for cut, count in ((content[:-1], 3), (content[:one_less], 2)):
        path.write_bytes(cut)
        assert len(read_clip(path)) == count
        assert describe_clip(path).endswith('is missing, so that it may be cut off')


def test_pages_that_are_gray_and_in_color_come_in_one_form(tmp_path):
    pages = [Image.new('L', (8, 6), 40), Image.new('RGB', (8, 6), (200, 30, 60))]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    assert read_clip(tmp_path / 'a.tif')[:, 0, 0].tolist() == [[40] * 3, [200, 30, 60]]


def test_a_stack_of_16_bits_keeps_them(tmp_path):
    words = np.random.default_rng(0).integers(0, 65536, (3, 4, 5), np.uint16)
    pages = [Image.fromarray(page) for page in words]
    pages[0].save(tmp_path / 'a.tiff', save_all=True, append_images=pages[1:])
    clip = read_clip(tmp_path / 'a.tiff')
    np.testing.assert_allclose(clip, words[..., np.newaxis] / 65535, atol=1e-7)


def test_a_single_picture_is_a_clip_of_one_frame(tmp_path):
    write_tiff(tmp_path / 'a.tif', np.full((4, 5), 9, np.uint8))
    assert read_clip(tmp_path / 'a.tif').shape == (1, 4, 5, 1)
    assert frame_rate(tmp_path / 'a.tif') is None


def test_pages_of_several_sizes_are_rejected(tmp_path):
    pages = [Image.new('L', (8, 6), 40), Image.new('L', (8, 5), 40)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match='frame 2 has 5 x 8 pixels'):
        read_clip(tmp_path / 'a.tif')


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp', 'tif'])
def test_small_files_that_need_much_are_rejected(tmp_path, suffix, monkeypatch):
    path = write(tmp_path / f'a.{suffix}')
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 4 * 8 * 6 - 1)
    monkeypatch.setattr(pictures, 'PIXELS_PER_BYTE', 0)
    with pytest.raises(InputError, match='4 frames with more than 191 pixels together'):
        next(animation_frames(path))
    monkeypatch.setattr(pictures, 'PIXELS_PER_BYTE', 192)
    assert first_pixels(read_clip(path)) == GRAYS  # a large file has many pixels


def test_an_animation_that_claims_too_many_frames(tmp_path):
    path = write(tmp_path / 'a.png')
    content = bytearray(path.read_bytes())
    place = content.index(b'acTL')
    content[place - 4 : place + 16] = chunk(b'acTL', struct.pack('>II', 9, 0))
    path.write_bytes(content)
    with pytest.raises(InputError, match='not a whole picture'):
        read_clip(path)
