"""Clips survive every form of file; what cannot be written is rejected."""

import os

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from e3d.data.readers.clips import frame_rate, read_clip
from e3d.errors import InputError
from e3d.prediction.media import check_output, check_sides, playable_rate, write_clip, write_video

GRAY = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 1), np.uint8)
COLOR = np.random.default_rng(1).integers(0, 256, (4, 6, 8, 3), np.uint8)


@pytest.mark.parametrize('frames', [GRAY, COLOR])
def test_png_folder_keeps_bytes(tmp_path, frames):
    write_clip(tmp_path / 'clip', frames)
    assert sorted(path.name for path in (tmp_path / 'clip').iterdir())[0] == 'frame_00001.png'
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip'), frames)


def test_gif_keeps_few_colors_and_its_rate(tmp_path):
    write_clip(tmp_path / 'clip.gif', COLOR, frames_per_second=25)
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip.gif'), COLOR)
    assert frame_rate(tmp_path / 'clip.gif') == 25
    write_clip(tmp_path / 'gray.gif', GRAY)
    np.testing.assert_array_equal(read_clip(tmp_path / 'gray.gif'), GRAY.repeat(3, axis=-1))


@pytest.mark.parametrize('frames', [COLOR[[0, 0, 1, 1, 1]], GRAY[[0, 0, 0]], COLOR[[2]]])
@pytest.mark.parametrize('rate', [3.7, 24, 30, 50])
def test_gif_has_as_many_frames_as_were_written(tmp_path, frames, rate):
    write_clip(tmp_path / 'clip.gif', frames, rate)
    expected = np.broadcast_to(frames, (*frames.shape[:3], 3))
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip.gif'), expected)
    found = frame_rate(tmp_path / 'clip.gif')
    assert found == (pytest.approx(rate, rel=0.05) if len(frames) > 1 else None)


def test_gif_keeps_all_grays(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    write_clip(tmp_path / 'clip.gif', ramp)
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip.gif')[..., :1], ramp)


def test_gif_keeps_grays_among_colors(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    colors = np.random.default_rng(2).integers(0, 6, (2, 16, 16, 3), np.uint8) * 51
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1]):
        frames = np.concatenate([colors, ramp])[order]
        write_clip(tmp_path / 'clip.gif', frames, overwrite=True)
        with av.open(str(tmp_path / 'clip.gif')) as container:
            shown = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
        np.testing.assert_array_equal(np.stack(shown), frames)
        np.testing.assert_array_equal(read_clip(tmp_path / 'clip.gif'), frames)


@pytest.mark.parametrize(
    ('name', 'rate', 'playable'),
    [
        ('clip.gif', 1 / 3600, 1 / 655.35),
        ('clip.gif', 1000, 50),
        ('clip.mp4', 1 / 3600, 1 / 3600),
        ('clip.mp4', 1e-9, 1 / 3600),
        ('clip.mp4', 1e9, 1000),
    ],
)
def test_rates_that_cannot_be_stated_become_the_nearest(tmp_path, name, rate, playable):
    assert playable_rate(tmp_path / name, rate) == pytest.approx(playable)
    write_clip(tmp_path / name, COLOR, rate)
    assert len(read_clip(tmp_path / name)) == len(COLOR)
    assert frame_rate(tmp_path / name) == pytest.approx(playable)


@pytest.mark.parametrize('channels', [1, 2, 3, 5])
def test_npy_keeps_numbers(tmp_path, channels):
    frames = np.random.default_rng(0).random((3, 4, 5, channels), np.float32)
    write_clip(tmp_path / 'clip.npy', frames)
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip.npy', layout='THWC'), frames)
    assert frame_rate(tmp_path / 'clip.npy') is None


def test_mp4_keeps_length_size_and_rate(tmp_path):
    write_clip(tmp_path / 'clip.mp4', COLOR / np.float32(255), frames_per_second=30)
    assert read_clip(tmp_path / 'clip.mp4').shape == COLOR.shape
    assert frame_rate(tmp_path / 'clip.mp4') == 30


@pytest.mark.parametrize('name', ['CLIP.MP4', 'CLIP.GIF', 'CLIP.NPY'])
def test_suffixes_in_capitals_are_the_same(tmp_path, name):
    write_clip(tmp_path / name, COLOR)
    assert read_clip(tmp_path / name).shape == COLOR.shape
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('name', ['clip.mp4', 'clip.gif', 'clip.npy', 'clip'])
def test_last_frames_of_any_form(tmp_path, name):
    write_clip(tmp_path / name, COLOR)
    whole = read_clip(tmp_path / name)
    np.testing.assert_array_equal(read_clip(tmp_path / name, last=2), whole[2:])


def test_two_channels_are_written_as_colors(tmp_path):
    write_clip(tmp_path / 'flow', COLOR[..., :2])
    assert read_clip(tmp_path / 'flow').shape == COLOR.shape


@pytest.mark.parametrize('name', ['clip.mp4', 'clip.gif', 'clip.npy', 'clip'])
def test_what_exists_is_replaced_only_on_demand(tmp_path, name):
    write_clip(tmp_path / name, COLOR)
    with pytest.raises(InputError, match=r'exists already.*--overwrite'):
        write_clip(tmp_path / name, COLOR[:2])
    assert len(read_clip(tmp_path / name)) == 4
    write_clip(tmp_path / name, COLOR[:2], overwrite=True)
    assert len(read_clip(tmp_path / name)) == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('overwrite', [False, True])
def test_what_is_no_clip_is_never_replaced(tmp_path, overwrite):
    for name in ('precious', 'precious.gif'):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'frame_00001.png').write_text('picture')
        (folder / 'mine.txt').write_text('mine')
        with pytest.raises(InputError, match='left untouched'):
            write_clip(folder, GRAY, overwrite=overwrite)
        assert len(list(folder.iterdir())) == 2
    os.mkfifo(tmp_path / 'pipe.gif')
    with pytest.raises(InputError, match='not a regular file'):
        check_output(tmp_path / 'pipe.gif', overwrite)
    (tmp_path / 'dangling.gif').symlink_to('nowhere')
    with pytest.raises(InputError, match='not a regular file'):
        check_output(tmp_path / 'dangling.gif', overwrite)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / 'clip').mkdir()
    write_clip(tmp_path / 'clip', GRAY)
    assert len(read_clip(tmp_path / 'clip')) == 4


def test_places_that_cannot_be_written_are_rejected_before_any_work(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'file' / 'clip.gif', tmp_path / 'file' / 'deep' / 'clip.gif'):
        with pytest.raises(InputError, match='cannot be written'):
            check_output(path)
    with pytest.raises(InputError, match='cannot be written'):
        check_output(tmp_path / f'{"x" * 300}.gif')


@pytest.mark.parametrize(('name', 'longest'), [('a.mp4', 8190), ('a.gif', 65535), ('a', 65535)])
def test_sides_that_a_kind_of_file_cannot_have_are_rejected(tmp_path, name, longest):
    check_sides(tmp_path / name, longest, 1)
    for sides in ((longest + 1, 1), (1, longest + 1)):
        with pytest.raises(InputError, match=f'at most {longest:,}. Use a smaller scale'):
            check_sides(tmp_path / name, *sides)


@pytest.mark.parametrize('name', ['clip.mp4', 'clip.gif', 'clip'])
def test_the_longest_sides_can_be_written(tmp_path, name):
    longest = {'clip.mp4': 8190}.get(name, 65535)
    write_clip(tmp_path / name, np.zeros((1, 2, longest, 3), np.uint8))
    assert read_clip(tmp_path / name).shape == (1, 2, longest, 3)


@pytest.mark.parametrize('name', ['clip.avi', 'clip.png'])
def test_other_suffixes_are_rejected_before_any_work(tmp_path, name):
    with pytest.raises(InputError, match=r'\.mp4, \.gif or \.npy'):
        check_output(tmp_path / name)


def test_a_folder_cannot_replace_a_file(tmp_path):
    (tmp_path / 'clip').write_text('mine')
    with pytest.raises(InputError, match='is a file'):
        write_clip(tmp_path / 'clip', GRAY)


def test_written_video_reads_back(tmp_path):
    frames = np.zeros((6, 32, 48, 3), np.uint8)
    frames += np.arange(0, 48, dtype=np.uint8)[:, None] * 5  # a smooth ramp survives yuv420p
    write_video(tmp_path / 'clip.mp4', frames, 12.5)
    np.testing.assert_allclose(read_clip(tmp_path / 'clip.mp4').astype(int), frames, atol=4)
    assert frame_rate(tmp_path / 'clip.mp4') == 12.5
    with av.open(str(tmp_path / 'clip.mp4')) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ('h264', 'yuv420p')


def test_a_written_video_states_its_colors(tmp_path):
    frames = np.full((2, 16, 16, 3), (200, 30, 60), np.uint8)
    write_video(tmp_path / 'clip.mp4', frames, 10)
    with av.open(str(tmp_path / 'clip.mp4')) as container:
        context = container.streams.video[0].codec_context
        stated = context.colorspace, context.color_range
    assert stated == (Colorspace.ITU601, ColorRange.MPEG)
    np.testing.assert_allclose(read_clip(tmp_path / 'clip.mp4').astype(int), frames, atol=4)


def test_odd_sides_get_their_last_row_and_column_twice(tmp_path):
    frames = np.full((3, 17, 15, 3), 40, np.uint8)
    frames[:, -1:] = frames[:, :, -1:] = 220
    write_video(tmp_path / 'clip.mp4', frames, 10)
    clip = read_clip(tmp_path / 'clip.mp4')
    assert clip.shape == (3, 18, 16, 3)
    np.testing.assert_allclose(clip[:, 16:].astype(int), 220, atol=12)


def test_mpeg4_where_there_is_no_h264(tmp_path, monkeypatch):
    monkeypatch.setattr(av, 'codecs_available', {'mpeg4'})
    frames = np.full((3, 16, 16, 3), 90, np.uint8)
    write_video(tmp_path / 'clip.mp4', frames, 10)
    np.testing.assert_allclose(read_clip(tmp_path / 'clip.mp4').astype(int), 90, atol=4)
    with av.open(str(tmp_path / 'clip.mp4')) as container:
        assert container.streams.video[0].codec_context.name == 'mpeg4'
