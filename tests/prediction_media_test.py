"""Clips survive every form of file; what cannot be read or written is refused."""

import numpy as np
import pytest
from PIL import Image

from e3d.errors import InputError
from e3d.prediction import media
from e3d.prediction.media import check_output, frame_rate, read_clip, write_clip

GREY = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 1), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (4, 6, 8, 3), np.uint8)


@pytest.mark.parametrize('frames', [GREY, COLOUR])
def test_png_folder_keeps_bytes(tmp_path, frames):
    write_clip(tmp_path / 'clip', frames)
    assert sorted(path.name for path in (tmp_path / 'clip').iterdir())[0] == 'frame_00001.png'
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip'), frames)


def test_gif_keeps_few_colours_and_its_rate(tmp_path):
    write_clip(tmp_path / 'clip.gif', COLOUR, frames_per_second=25)
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip.gif'), COLOUR)
    assert frame_rate(tmp_path / 'clip.gif') == 25
    write_clip(tmp_path / 'grey.gif', GREY)
    np.testing.assert_array_equal(read_clip(tmp_path / 'grey.gif'), GREY.repeat(3, axis=-1))


@pytest.mark.parametrize('channels', [1, 2, 3, 5])
def test_npy_keeps_numbers(tmp_path, channels):
    frames = np.random.default_rng(0).random((3, 4, 5, channels), np.float32)
    write_clip(tmp_path / 'clip.npy', frames)
    np.testing.assert_array_equal(read_clip(tmp_path / 'clip.npy'), frames)
    assert frame_rate(tmp_path / 'clip.npy') is None


def test_mp4_keeps_length_size_and_rate(tmp_path):
    write_clip(tmp_path / 'clip.mp4', COLOUR / np.float32(255), frames_per_second=30)
    assert read_clip(tmp_path / 'clip.mp4').shape == COLOUR.shape
    assert frame_rate(tmp_path / 'clip.mp4') == 30


@pytest.mark.parametrize('name', ['CLIP.MP4', 'CLIP.GIF', 'CLIP.NPY'])
def test_suffixes_in_capitals_are_the_same(tmp_path, name):
    write_clip(tmp_path / name, COLOUR)
    assert read_clip(tmp_path / name).shape == COLOUR.shape
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('name', ['clip.mp4', 'clip.gif', 'clip.npy', 'clip'])
def test_last_frames_of_any_form(tmp_path, name):
    write_clip(tmp_path / name, COLOUR)
    whole = read_clip(tmp_path / name)
    np.testing.assert_array_equal(read_clip(tmp_path / name, last=2), whole[2:])


def test_two_channels_are_written_as_colours(tmp_path):
    write_clip(tmp_path / 'flow', COLOUR[..., :2])
    assert read_clip(tmp_path / 'flow').shape == COLOUR.shape


def test_pictures_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1, 100):
        Image.new('L', (3, 2), number).save(tmp_path / f'frame {number}.png')
    (tmp_path / 'notes.txt').write_text('no picture')
    assert read_clip(tmp_path)[:, 0, 0, 0].tolist() == [1, 9, 10, 100]


def test_a_file_is_replaced_but_a_full_folder_is_not(tmp_path):
    path = tmp_path / 'clip.npy'
    write_clip(path, GREY)
    write_clip(path, GREY[:1])
    assert len(read_clip(path)) == 1
    for name in ('precious', 'precious.gif'):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'mine.txt').write_text('mine')
        with pytest.raises(InputError, match='left alone'):
            write_clip(folder, GREY)
        assert [file.name for file in folder.iterdir()] == ['mine.txt']


@pytest.mark.parametrize('name', ['clip.avi', 'clip.png'])
def test_other_suffixes_are_refused_before_any_work(tmp_path, name):
    with pytest.raises(InputError, match=r'\.mp4, \.gif or \.npy'):
        check_output(tmp_path / name)


def test_a_folder_cannot_replace_a_file(tmp_path):
    (tmp_path / 'clip').write_text('mine')
    with pytest.raises(InputError, match='is a file'):
        write_clip(tmp_path / 'clip', GREY)


def test_missing_and_empty_inputs_are_refused(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        read_clip(tmp_path / 'clip.mp4')
    with pytest.raises(InputError, match='holds no pictures'):
        read_clip(tmp_path)


@pytest.mark.parametrize('name', ['clip.gif', 'folder/frame_3.png'])
@pytest.mark.parametrize('kind', ['truncated', 'text', 'empty'])
def test_damaged_pictures_are_refused(tmp_path, name, kind):
    write_clip(tmp_path / 'clip.gif', COLOUR)
    write_clip(tmp_path / 'folder', COLOUR)
    path = tmp_path / name
    if not path.exists():
        path = tmp_path / 'folder' / 'frame_00003.png'
    content = path.read_bytes()
    path.write_bytes(
        {'truncated': content[: len(content) // 2], 'text': b'hello' * 50, 'empty': b''}[kind]
    )
    with pytest.raises(InputError, match='is not a whole picture'):
        read_clip(path if path.suffix == '.gif' else path.parent)


def test_pictures_of_different_sizes_are_refused(tmp_path):
    Image.new('RGB', (3, 2)).save(tmp_path / '1.png')
    Image.new('RGB', (4, 2)).save(tmp_path / '2.png')
    with pytest.raises(InputError, match=r'2\.png has 2 x 4 pixels.* 2 x 3'):
        read_clip(tmp_path)


def test_pictures_of_more_than_8_bits_are_refused(tmp_path):
    Image.fromarray(np.full((2, 3), 40000, np.uint16)).save(tmp_path / '1.png')
    with pytest.raises(InputError, match='8 bits'):
        read_clip(tmp_path)


@pytest.mark.parametrize(('limit', 'value'), [('MAX_FRAMES', 3), ('MAX_BYTES', 400)])
def test_clips_beyond_the_limits_are_refused(tmp_path, monkeypatch, limit, value):
    write_clip(tmp_path / 'clip.gif', COLOUR)
    monkeypatch.setattr(media, limit, value)
    with pytest.raises(InputError, match='too long'):
        read_clip(tmp_path / 'clip.gif')
