"""Colors, depth, transparency and orientation of decoded videos."""

import struct

import av
import numpy as np
import pytest

from e3d.data.readers.clips import read_clip

ONE = 1 << 16


def write(path, pixels, source, codec, pixel_format, frames=2, metadata=None):
    """Encodes one picture several times; without loss, if the codec and format allow it."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], pixel_format
        stream.metadata.update(metadata or {})
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format=source)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def half_hidden():
    """Orange: the left half hidden, then a quarter half transparent, then opaque."""
    pixels = np.full((16, 32, 4), (250, 120, 20, 255), np.uint8)
    pixels[:, :16, 3], pixels[:, 16:24, 3] = 0, 128
    return pixels


@pytest.mark.parametrize(
    ('name', 'codec', 'pixel_format', 'tolerance'),
    [
        ('clip.mov', 'qtrle', 'argb', 0),
        ('clip.mov', 'png', 'rgba', 0),
        ('clip.mkv', 'ffv1', 'bgra', 0),
        ('clip.avi', 'png', 'rgba', 0),
        ('clip.nut', 'rawvideo', 'rgba', 0),
        ('clip.mov', 'prores_ks', 'yuva444p10le', 6),
        ('clip.webm', 'libvpx-vp9', 'yuva420p', 8),
        ('clip.mkv', 'libvpx-vp9', 'yuva420p', 8),
    ],
)
def test_what_is_transparent_lies_on_black(tmp_path, name, codec, pixel_format, tolerance):
    path = write(tmp_path / name, half_hidden(), 'rgba', codec, pixel_format)
    clip = read_clip(path)
    clip = clip if clip.dtype == np.uint8 else clip * 255.0
    assert clip.shape == (2, 16, 32, 3)
    for columns, expected in ((4, (0, 0, 0)), (19, (125, 60, 10)), (28, (250, 120, 20))):
        np.testing.assert_allclose(clip[-1, 8, columns].astype(float), expected, atol=tolerance)


def test_the_unused_byte_of_a_raw_avi_hides_nothing(tmp_path):
    path = write(tmp_path / 'clip.avi', half_hidden(), 'rgba', 'rawvideo', 'bgra')
    assert (read_clip(path) == (250, 120, 20)).all()


def test_gray_of_16_bits_keeps_its_depth(tmp_path):
    ramp = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16) * 257
    ramp[0, 1] = 1
    clip = read_clip(write(tmp_path / 'clip.mkv', ramp, 'gray16le', 'ffv1', 'gray16le'))
    assert clip.dtype == np.float32 and clip.shape == (2, 16, 16, 3)
    for channel in range(3):
        np.testing.assert_array_equal(clip[0, ..., channel], ramp / np.float32(65535))


def test_colors_of_16_bits_keep_their_depth(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (16, 16, 3), np.uint16)
    clip = read_clip(write(tmp_path / 'clip.mov', pixels, 'rgb48le', 'png', 'rgb48be'))
    np.testing.assert_array_equal(clip[1], pixels / np.float32(65535))


@pytest.mark.parametrize(('bits', 'pixel_format'), [(10, 'gray10le'), (12, 'gray12le')])
def test_gray_of_10_and_12_bits_reaches_from_0_to_1(tmp_path, bits, pixel_format):
    largest = 2**bits - 1
    ramp = np.linspace(0, largest, 256).astype(np.uint16).reshape(16, 16)
    with av.open(str(tmp_path / 'clip.mkv'), 'w') as container:
        stream = container.add_stream('ffv1', rate=10)
        stream.height, stream.width, stream.pix_fmt = 16, 16, pixel_format
        frame = av.VideoFrame(16, 16, pixel_format)
        rows = np.zeros((16, frame.planes[0].line_size // 2), '<u2')
        rows[:, :16] = ramp
        frame.planes[0].update(rows.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    np.testing.assert_array_equal(
        read_clip(tmp_path / 'clip.mkv')[0, ..., 0], ramp / np.float32(largest)
    )


def test_10_bits_show_steps_that_8_bits_do_not(tmp_path):
    levels = np.repeat(np.arange(400, 416, dtype=np.uint16), 16).reshape(16, 16) * 64
    pixels = np.repeat(levels[..., np.newaxis], 3, axis=-1)
    clip = read_clip(write(tmp_path / 'clip.mp4', pixels, 'rgb48le', 'libx264', 'yuv420p10le', 1))
    assert clip.dtype == np.float32
    steps = np.diff(clip[0, :, 8, 1])
    assert (steps > 0).sum() >= 10 and clip.max() < 0.45
    np.testing.assert_allclose(clip[0], pixels / 65535, atol=0.01)


@pytest.mark.parametrize(('full', 'expected'), [(False, 255), (True, 235)])
def test_the_range_is_the_one_that_is_stated(tmp_path, full, expected):
    with av.open(str(tmp_path / 'clip.mkv'), 'w') as container:
        stream = container.add_stream('ffv1', rate=10)
        stream.height, stream.width, stream.pix_fmt = 16, 16, 'yuv420p'
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(16, 16, 'yuv420p')
        for plane, value in zip(frame.planes, (235, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.color_range = 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert (read_clip(tmp_path / 'clip.mkv') == expected).all()


CORNERS = {'R': (255, 0, 0), 'G': (0, 255, 0), 'B': (0, 0, 255), 'W': (255, 255, 255)}


def letters(frame):
    """The colors of the corners: upper left, upper right, lower left, lower right."""
    height, width = frame.shape[:2]
    found = ''
    for row, column in ((2, 2), (2, width - 3), (height - 3, 2), (height - 3, width - 3)):
        color = tuple((frame[row, column] > 128) * 255)
        found += next(letter for letter, value in CORNERS.items() if value == color)
    return found


@pytest.mark.parametrize(
    ('matrix', 'expected'),
    [
        ((1, 0, 0, 1), 'RGBW'),
        ((-1, 0, 0, 1), 'GRWB'),  # mirrored
        ((1, 0, 0, -1), 'BWRG'),  # upside down
        ((-1, 0, 0, -1), 'WBGR'),
        ((0, 1, -1, 0), 'BRWG'),  # turned right
        ((0, -1, 1, 0), 'GWRB'),  # turned left
        ((0, 1, 1, 0), 'RBGW'),  # turned and mirrored
        ((0, -1, -1, 0), 'WGBR'),
    ],
)
def test_turned_and_mirrored_videos_come_upright(tmp_path, matrix, expected):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16], pixels[:8, 16:], pixels[8:, :16], pixels[8:, 16:] = CORNERS.values()
    stored = write(tmp_path / 'stored.mov', pixels, 'rgb24', 'png', 'rgb24').read_bytes()

    def display(a, b, c, d):
        return struct.pack('>9i', a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)

    head, track = stored.split(b'tkhd')
    assert display(1, 0, 0, 1) in track
    track = track.replace(display(1, 0, 0, 1), display(*matrix), 1)
    (tmp_path / 'turned.mov').write_bytes(head + b'tkhd' + track)
    clip = read_clip(tmp_path / 'turned.mov')
    assert letters(clip[0]) == expected
    assert clip.shape[1:3] == ((16, 32) if matrix[0] else (32, 16))
