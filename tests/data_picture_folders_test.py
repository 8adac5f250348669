"""Folders with one picture per frame: what belongs to the clip, and in which form."""

import os

import numpy as np
import pytest
from picture_fixtures import deep_png, first_pixels, write_grays
from PIL import Image

from e3d.data.readers import clips
from e3d.data.readers.clips import clip_frames, describe_clip, read_clip
from e3d.data.readers.picture_folders import order_folder
from e3d.errors import InputError


def read_all(folder):
    return np.stack(list(clip_frames(folder)))


def test_all_pictures_are_frames_but_a_clip_ends_at_a_gap(tmp_path):
    write_grays(tmp_path, {f'{n}.png': n for n in (3, 4, 5, 9, 10, 11, 12)})
    assert first_pixels(read_all(tmp_path)) == [3, 4, 5, 9, 10, 11, 12]
    assert first_pixels(read_clip(tmp_path)) == [9, 10, 11, 12]
    assert first_pixels(read_clip(tmp_path, last=2)) == [11, 12]


@pytest.mark.parametrize('suffix', ['gif', 'pgm', 'pnm', 'bmp', 'tif', 'jpg', 'webp', 'avif'])
def test_any_format_can_be_a_frame(tmp_path, suffix):
    if f'.{suffix}' not in Image.registered_extensions():
        pytest.skip('Pillow was built without it')
    write_grays(tmp_path, {f'{n}.{suffix}': 40 * n for n in (1, 2, 3)}, size=(16, 16))
    np.testing.assert_allclose(first_pixels(read_all(tmp_path)), [40, 80, 120], atol=3)


def test_hidden_files_folders_and_other_files_are_no_frames(tmp_path):
    write_grays(tmp_path, {'1.png': 1, '2.png': 2, '._1.png': 9, 'cover.jpg': 9})
    (tmp_path / 'Thumbs.db').write_bytes(b'')
    (tmp_path / '3.png').mkdir()
    assert first_pixels(read_all(tmp_path)) == [1, 2]
    assert [one.name for one in order_folder(tmp_path).left_out] == ['cover.jpg']
    assert 'cover.jpg' not in order_folder(tmp_path).account
    assert describe_clip(tmp_path).endswith('; left out: cover.jpg')
    write_grays(tmp_path, {f'{name}.png': 1 for name in (*'abc', *range(4, 8))})
    assert describe_clip(tmp_path).endswith('; left out: a.png, b.png, c.png, 1 more')


def test_a_single_color_picture_makes_all_frames_rgb(tmp_path):
    write_grays(tmp_path, {'1.png': 10, '3.png': 30})
    Image.new('RGB', (3, 2), (200, 30, 60)).save(tmp_path / '2.png')
    assert read_all(tmp_path)[:, 0, 0].tolist() == [[10] * 3, [200, 30, 60], [30] * 3]


def test_a_single_deep_picture_makes_all_frames_floats(tmp_path):
    write_grays(tmp_path, {'1.png': 51}, size=(2, 1))
    (tmp_path / '2.png').write_bytes(deep_png(np.uint16([[[13107], [65535]]])))
    frames = read_all(tmp_path)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames[:, 0, :, 0], [[0.2, 0.2], [0.2, 1]], rtol=1e-6)


def test_a_picture_of_another_size_is_named(tmp_path):
    write_grays(tmp_path, {'2.png': 1, '3.png': 1})
    write_grays(tmp_path, {'1.png': 1}, size=(4, 2))
    with pytest.raises(InputError, match=r'1\.png has 2 x 4 pixels.* 2 x 3'):
        read_all(tmp_path)


def test_upright_sizes_are_compared(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new('L', (3, 2), 1).save(tmp_path / '1.png')
    Image.new('L', (2, 3), 2).save(tmp_path / '2.png', exif=exif)
    assert read_all(tmp_path).shape == (2, 2, 3, 1)


def test_animations_are_clips_of_their_own(tmp_path):
    write_grays(tmp_path, {'1.png': 1, '3.png': 3})
    frames = [Image.new('L', (3, 2), n) for n in (5, 6)]
    frames[0].save(tmp_path / '2.tif', save_all=True, append_images=frames[1:])
    order = order_folder(tmp_path)
    assert [file.name for file in order.files] == ['1.png', '3.png']
    assert [one.name for one in order.left_out] == ['2.tif']
    for name in ('1.png', '3.png'):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r'only 2\.tif, which has several frames'):
        read_all(tmp_path)


def test_masks_are_not_taken_for_black_frames(tmp_path):
    write_grays(tmp_path, {'1.png': 0, '2.png': 1})
    with pytest.raises(InputError, match=r'no other values than 0 and 1.*multiply them by 255'):
        read_all(tmp_path)
    write_grays(tmp_path, {'2.png': 0})
    assert first_pixels(read_all(tmp_path)) == [0, 0]


def test_bytes_in_words_are_not_taken_for_black_frames(tmp_path):
    (tmp_path / '1.png').write_bytes(deep_png(np.uint16([[[0], [255]]])))
    with pytest.raises(InputError, match='no value above 255, where 65535 is white'):
        read_all(tmp_path)


def test_no_pictures_and_no_regular_files(tmp_path):
    with pytest.raises(InputError, match='holds no pictures'):
        read_all(tmp_path)
    os.mkfifo(tmp_path / '1.png')
    with pytest.raises(InputError, match='named pipe'):
        read_all(tmp_path)


def test_what_fills_the_memory_is_rejected_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new('1', (8000, 8000)).save(tmp_path / '0.png')
    for number in range(1, 10):
        os.link(tmp_path / '0.png', tmp_path / f'{number}.png')
    with pytest.raises(InputError, match=r'10 frames with more than .* so many for its size'):
        read_clip(tmp_path, last=10)
    write_grays(tmp_path / 'small', {f'{n}.png': n for n in range(5)})
    monkeypatch.setattr(clips, 'MAX_BYTES', 5 * 3 * 2 - 1)
    monkeypatch.setattr(clips, 'picture_frames', None)
    with pytest.raises(InputError, match='too long'):
        read_clip(tmp_path / 'small')


@pytest.mark.parametrize(
    ('target', 'reason'), [('nowhere', 'does not exist'), ('3.png', 'cannot be')]
)
def test_a_picture_that_is_a_link_to_nothing_is_named(tmp_path, target, reason):
    write_grays(tmp_path, {'1.png': 1, '2.png': 2})
    (tmp_path / '3.png').symlink_to(target)
    with pytest.raises(InputError, match=f'3.png {reason}'):
        read_clip(tmp_path)
