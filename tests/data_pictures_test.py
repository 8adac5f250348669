"""Frames from pictures: in the order of their names, with the right values, or a clear error."""

import numpy as np
import pytest
from PIL import Image

from e3d.data.clips import read_clip
from e3d.errors import InputError

COLOUR = np.random.default_rng(1).integers(0, 256, (4, 6, 8, 3), np.uint8)


def write_pictures(folder, frames=COLOUR):
    folder.mkdir()
    for index, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(folder / f'frame_{index:05d}.png')


def write_gif(path, frames=COLOUR):
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=100)


def test_pictures_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1, 100):
        Image.new('L', (3, 2), number).save(tmp_path / f'frame {number}.png')
    (tmp_path / 'notes.txt').write_text('no picture')
    assert read_clip(tmp_path)[:, 0, 0, 0].tolist() == [1, 9, 10, 100]


@pytest.mark.parametrize('name', ['clip.gif', 'folder/frame_3.png'])
@pytest.mark.parametrize('kind', ['truncated', 'text', 'empty'])
def test_damaged_pictures_are_refused(tmp_path, name, kind):
    write_gif(tmp_path / 'clip.gif')
    write_pictures(tmp_path / 'folder')
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
