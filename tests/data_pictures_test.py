"""Pictures become upright pixels with all their depth, on black, or a clear error."""

import itertools
import os
import struct
import zlib

import numpy as np
import pytest
from picture_fixtures import chunk, deep_png, write_tiff
from PIL import Image, ImageCms

from e3d.data.readers.pictures import (
    decode,
    is_animation,
    is_deep,
    is_gray,
    opened_picture,
    shape_of,
)
from e3d.errors import InputError

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (5, 7, 4), np.uint8)
COLORS, OPACITY = BYTES[..., :3], BYTES[..., 3:]
WORDS = RANDOM.integers(0, 65536, (5, 7, 4), np.uint16)
SHARES = WORDS / 65535


def read(path):
    """Decodes a picture, having made sure that its head told what comes."""
    with opened_picture(path) as image:
        looks = is_gray(image), is_deep(path, image), shape_of(image)
        pixels = decode(path, image)
    assert looks == (pixels.shape[2] == 1, pixels.dtype == np.float32, pixels.shape[:2])
    return pixels


def on_black(colors, opacity):
    return np.rint(colors * (opacity / 255) - 1e-9).astype(np.uint8)


@pytest.mark.parametrize('suffix', ['png', 'webp', 'tiff', 'bmp', 'ppm'])
def test_colors_of_8_bits_are_kept(tmp_path, suffix):
    options = {'lossless': True} if suffix == 'webp' else {}
    Image.fromarray(COLORS).save(tmp_path / f'a.{suffix}', **options)
    np.testing.assert_array_equal(read(tmp_path / f'a.{suffix}'), COLORS)


@pytest.mark.parametrize('suffix', ['png', 'tiff', 'bmp', 'pgm'])
def test_gray_is_kept(tmp_path, suffix):
    Image.fromarray(BYTES[..., 0]).save(tmp_path / f'a.{suffix}')
    np.testing.assert_array_equal(read(tmp_path / f'a.{suffix}'), BYTES[..., :1])


@pytest.mark.parametrize('suffix', ['png', 'tiff', 'pbm'])
def test_one_bit_is_black_and_white(tmp_path, suffix):
    Image.fromarray(BYTES[..., 0] > 99).save(tmp_path / f'a.{suffix}')
    np.testing.assert_array_equal(read(tmp_path / f'a.{suffix}'), 255 * (BYTES[..., :1] > 99))


@pytest.mark.parametrize('suffix', ['png', 'webp', 'tiff'])
def test_what_is_transparent_is_black(tmp_path, suffix):
    options = {'lossless': True, 'exact': True} if suffix == 'webp' else {}
    Image.fromarray(BYTES).save(tmp_path / f'a.{suffix}', **options)
    np.testing.assert_array_equal(read(tmp_path / f'a.{suffix}'), on_black(COLORS, OPACITY))


def test_transparency_of_gray_of_palettes_and_of_one_color(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(BYTES[..., 2:]).save(path)
    np.testing.assert_array_equal(read(path), on_black(BYTES[..., 2:3], OPACITY))
    key = BYTES[0, 0].tolist()
    Image.fromarray(COLORS).save(path, transparency=tuple(key[:3]))
    np.testing.assert_array_equal(read(path)[0, 0], 0)
    np.testing.assert_array_equal(read(path)[1:], COLORS[1:])
    Image.fromarray(BYTES[..., 0]).save(path, transparency=key[0])
    np.testing.assert_array_equal(read(path)[0, 0], 0)
    palette = Image.fromarray(COLORS).quantize(8)
    colors, indices = np.asarray(palette.convert('RGB')), np.asarray(palette)
    palette.save(path, transparency=bytes([0, 100]))
    opacity = np.where(indices == 0, 0, np.where(indices == 1, 100, 255))[..., np.newaxis]
    np.testing.assert_array_equal(read(path), on_black(colors, opacity))
    palette.save(tmp_path / 'a.gif', transparency=3)
    expected = np.where(indices[..., np.newaxis] == 3, 0, colors)
    np.testing.assert_array_equal(read(tmp_path / 'a.gif'), expected)


@pytest.mark.parametrize(
    ('orientation', 'suffix'), [*itertools.product(range(1, 9), ['png', 'tiff'])]
)
def test_pictures_are_put_upright(tmp_path, orientation, suffix):
    marked = np.zeros((5, 7, 3), np.uint8)
    marked[0, 0], marked[0, 6] = 100, 200  # upper left and upper right as they are stored
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(marked).save(tmp_path / f'a.{suffix}', exif=exif)
    pixels = read(tmp_path / f'a.{suffix}')[..., 0]
    # Where EXIF 2.32 says that the first row and the first column are to be seen.
    ways = ['top left', 'top right', 'bottom right', 'bottom left']
    ways += ['left top', 'right top', 'right bottom', 'left bottom']
    row, column = ways[orientation - 1].split()
    corner = tuple(-1 if side in ('bottom', 'right') else 0 for side in (row, column))
    if row in ('left', 'right'):  # the stored row is an upright column
        first, end = corner[::-1], (-1 - corner[1], corner[0])
        assert pixels.shape == (7, 5)
    else:
        first, end = corner, (corner[0], -1 - corner[1])
        assert pixels.shape == (5, 7)
    assert (pixels[first], pixels[end]) == (100, 200)


def test_orientation_of_deep_colors(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    content = deep_png(WORDS[..., :3], chunk(b'eXIf', exif.tobytes().removeprefix(b'Exif\0\0')))
    (tmp_path / 'a.png').write_bytes(content)
    expected = np.rot90(SHARES[..., :3], -1)
    np.testing.assert_allclose(read(tmp_path / 'a.png'), expected, rtol=1e-6)


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_png_of_16_bits_keeps_them(tmp_path, channels):
    (tmp_path / 'a.png').write_bytes(deep_png(WORDS[..., :channels]))
    opacity = SHARES[..., channels - 1 : channels] if channels in (2, 4) else 1
    colors = SHARES[..., : channels - (channels in (2, 4))] * opacity
    pixels = read(tmp_path / 'a.png')
    np.testing.assert_allclose(pixels, np.broadcast_to(colors, pixels.shape), atol=1e-7)


@pytest.mark.parametrize('channels', [1, 3])
def test_one_transparent_color_of_16_bits_is_black(tmp_path, channels):
    key = WORDS[0, 0, :channels].astype('>u2').tobytes()
    (tmp_path / 'a.png').write_bytes(deep_png(WORDS[..., :channels], chunk(b'tRNS', key)))
    expected = SHARES[..., :channels].copy()
    expected[0, 0] = 0
    np.testing.assert_allclose(read(tmp_path / 'a.png'), expected, atol=1e-7)


@pytest.mark.parametrize('order', ['<', '>'])
def test_tiff_of_16_bits_keeps_them(tmp_path, order):
    write_tiff(tmp_path / 'gray.tif', WORDS[..., 0], order)
    np.testing.assert_allclose(read(tmp_path / 'gray.tif'), SHARES[..., :1], atol=1e-7)
    write_tiff(tmp_path / 'rgb.tif', WORDS[..., :3], order)
    np.testing.assert_allclose(read(tmp_path / 'rgb.tif'), SHARES[..., :3], atol=1e-7)


def test_tiff_where_0_is_white_is_turned_round(tmp_path):
    write_tiff(tmp_path / 'words.tif', WORDS[..., 0], t262=0)
    np.testing.assert_allclose(read(tmp_path / 'words.tif'), 1 - SHARES[..., :1], atol=1e-7)
    write_tiff(tmp_path / 'bytes.tif', BYTES[..., 0], t262=0)
    np.testing.assert_array_equal(read(tmp_path / 'bytes.tif'), 255 - BYTES[..., :1])


@pytest.mark.parametrize('white', [1023, 65535])
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('plain', [True, False])
def test_portable_maps_of_more_than_8_bits_keep_them(tmp_path, white, channels, plain):
    pixels = RANDOM.integers(0, white + 1, (5, 7, channels))
    kind = {1: 2, 3: 3}[channels] + 3 * (not plain)
    body = ' '.join(map(str, pixels.ravel())).encode() if plain else pixels.astype('>u2').tobytes()
    (tmp_path / 'a.pnm').write_bytes(b'P%d\n# 7 5 9\n7 5\n%d\n' % (kind, white) + body)
    np.testing.assert_allclose(read(tmp_path / 'a.pnm'), pixels / white, atol=1e-5)


@pytest.mark.parametrize('suffix', ['pbm', 'pgm', 'ppm'])
def test_portable_maps_one_after_the_other_are_rejected(tmp_path, suffix):
    pixels = {'pbm': BYTES[..., 0] > 99, 'pgm': BYTES[..., 0], 'ppm': COLORS}[suffix]
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.write_bytes(content + b'\n')
    assert read(path).shape[:2] == (5, 7)
    path.write_bytes(2 * content)
    with pytest.raises(InputError, match='holds several pictures'):
        read(path)


def test_floats_are_kept(tmp_path):
    floats = RANDOM.random((5, 7), np.float32)
    Image.fromarray(floats).save(tmp_path / 'a.tif')
    np.testing.assert_array_equal(read(tmp_path / 'a.tif'), floats[..., np.newaxis])


def test_maps_of_floats_are_kept(tmp_path):
    if '.pfm' not in Image.registered_extensions():
        pytest.skip('Pillow is too old for them')
    floats = RANDOM.random((5, 7), np.float32)
    (tmp_path / 'a.pfm').write_bytes(b'Pf\n7 5\n-1.0\n' + floats[::-1].astype('<f4').tobytes())
    np.testing.assert_array_equal(read(tmp_path / 'a.pfm'), floats[..., np.newaxis])


@pytest.mark.parametrize(
    ('pixels', 'message'),
    [
        (np.float32([[0, 2]]), r'from 0 to 2; floats must lie in \[0, 1\]'),
        (np.float32([[0, np.nan]]), 'NaN'),
        (np.int16([[0, 2]]), 'with a sign'),
        (np.int8([[0, 2]]), 'with a sign'),
        (np.int32([[0, 2]]), 'with a sign'),
        (np.uint32([[0, 2]]), 'integers of 32 bits'),
        (np.zeros((1, 2, 3), np.float32), 'at most 16 bits'),
        (np.zeros((1, 2)), 'at most 16 bits'),
    ],
)
def test_numbers_without_an_agreed_white_are_rejected(tmp_path, pixels, message):
    write_tiff(tmp_path / 'a.tif', pixels)
    with pytest.raises(InputError, match=message):
        read(tmp_path / 'a.tif')


def test_channels_that_mean_nothing_known_are_not_left_out_silently(tmp_path):
    for tags in ({'t338': 0}, {}):  # red, green, blue and perhaps infrared
        write_tiff(tmp_path / 'a.tif', BYTES, **tags)
        with pytest.raises(InputError, match=r'more channels.*as an array \(\.npy\)'):
            read(tmp_path / 'a.tif')
    write_tiff(tmp_path / 'a.tif', BYTES, t338=2)
    np.testing.assert_array_equal(read(tmp_path / 'a.tif'), on_black(COLORS, OPACITY))
    write_tiff(tmp_path / 'a.tif', WORDS, t262=5)  # CMYK
    with pytest.raises(InputError, match='16 bits per channel in a form that is not read'):
        read(tmp_path / 'a.tif')


def test_tiff_of_which_rows_are_missing_is_rejected(tmp_path):
    write_tiff(tmp_path / 'a.tif', WORDS[..., 0], t257=50)
    with pytest.raises(InputError, match='rows of it are missing'):
        read(tmp_path / 'a.tif')


def test_other_color_spaces_become_rgb(tmp_path):
    red = Image.new('RGB', (7, 5), (200, 30, 60))
    red.convert('CMYK').save(tmp_path / 'cmyk.tif')
    red.convert('YCbCr').save(tmp_path / 'ycbcr.jpg')
    profiles = [ImageCms.createProfile(name) for name in ('sRGB', 'LAB')]
    ImageCms.applyTransform(red, ImageCms.buildTransform(*profiles, 'RGB', 'LAB')).save(
        tmp_path / 'lab.tif'
    )
    for name in ('cmyk.tif', 'ycbcr.jpg', 'lab.tif'):
        pixels = read(tmp_path / name)
        np.testing.assert_allclose(pixels, np.broadcast_to([200, 30, 60], (5, 7, 3)), atol=2)


def test_only_the_known_formats_are_tried(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / 'a.eps')  # starts another program when it is read
    Image.fromarray(COLORS).save(tmp_path / 'a.tga')
    for name in ('a.eps', 'a.tga'):
        (tmp_path / name).rename(tmp_path / 'a.png')
        with pytest.raises(InputError, match='of a kind that is read: PNG'):
            read(tmp_path / 'a.png')


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / 'a.png')
    with pytest.raises(InputError, match='named pipe'):
        read(tmp_path / 'a.png')


@pytest.mark.parametrize(('side', 'message'), [(9000, '9000 x 9000'), (10000, 'limit')])
def test_too_large_pictures_are_rejected_before_they_are_decoded(tmp_path, side, message, recwarn):
    Image.new('1', (side, side)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match=message):
        read(tmp_path / 'a.png')
    assert not recwarn.list


def test_texts_that_unpack_to_much_are_rejected(tmp_path):
    text = b'comment\0\0' + zlib.compress(bytes(2**24))
    (tmp_path / 'a.png').write_bytes(deep_png(WORDS, chunk(b'zTXt', text)))
    with pytest.raises(InputError, match='not a whole picture'):
        read(tmp_path / 'a.png')


def test_damaged_notes_do_no_harm(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(COLORS).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk(b'eXIf', b'II*\0\xff\xff') + content[33:])
    np.testing.assert_array_equal(read(path), COLORS)


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'tif', 'gif', 'bmp', 'pgm', 'pnm'])
@pytest.mark.parametrize('damage', ['truncated', 'text', 'empty'])
def test_damaged_pictures_are_rejected(tmp_path, suffix, damage):
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(COLORS if suffix != 'pgm' else BYTES[..., 0]).resize((99, 99)).save(path)
    content = path.read_bytes()
    damaged = {'truncated': content[: len(content) // 2], 'text': b'hello' * 50, 'empty': b''}
    path.write_bytes(damaged[damage])
    with pytest.raises(InputError, match='is not a whole picture'):
        read(path)


def test_several_frames_make_an_animation(tmp_path):
    frames = [Image.fromarray(COLORS), Image.fromarray(COLORS[::-1].copy())]
    for suffix in ('gif', 'png', 'webp', 'tif'):
        path = tmp_path / f'a.{suffix}'
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert is_animation(path)
        frames[0].save(path)
        assert not is_animation(path)
    # A thumbnail, as cameras add it.
    frames[0].save(path, append_images=[frames[1]], save_all=True, tiffinfo={254: 1})
    assert not is_animation(path)
    path.write_text('no picture')
    with pytest.raises(InputError, match='not a whole picture'):
        is_animation(path)


def test_words_of_the_header_may_be_comments(tmp_path):
    body = struct.pack('>3H', 65535, 0, 32768)
    (tmp_path / 'a.ppm').write_bytes(b'P6 # 1\n1 # 255\n1\n65535\n' + body)
    np.testing.assert_allclose(read(tmp_path / 'a.ppm')[0, 0], [1, 0, 32768 / 65535], atol=1e-7)
