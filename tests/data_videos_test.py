"""Real encoders and decoders: whole, truncated and foreign files."""

import io
import os
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from e3d.data.readers import video_file
from e3d.data.readers.clips import describe_clip
from e3d.data.readers.videos import measure_video, video_frames
from e3d.errors import InputError

CODECS = {
    '.avi': 'mpeg4',
    '.flv': 'flv1',
    '.mov': 'mpeg4',
    '.ogv': 'libvpx',
    '.webm': 'libvpx-vp9',
    '.wmv': 'wmv2',
}


def moving_square(frames=20, height=32, width=48):
    """A bright square that moves right over a dark ground with noise that costs bytes."""
    clip = np.random.default_rng(0).integers(0, 60, (frames, height, width, 3), np.uint8)
    for index in range(frames):
        clip[index, 8:20, index : index + 12] = (250, 200, 30)
    return clip


def encoded(path, frames, rate=10, **options):
    """Writes a video with the codec that its suffix suggests."""
    with av.open(str(path), 'w', options=options) as container:
        stream = container.add_stream(CODECS.get(path.suffix, 'libx264'), rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], 'yuv420p'
        stream.bit_rate = 2_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    return path


def read(path):
    return np.stack([frame.pixels for frame in video_frames(path)])


@pytest.mark.parametrize('suffix', [*CODECS, '.mkv', '.mp4', '.nut', '.ts'])
def test_every_frame_of_common_containers_is_read(tmp_path, suffix):
    clip = read(encoded(tmp_path / f'clip{suffix}', moving_square()))
    assert clip.shape == (20, 32, 48, 3)
    bright = clip[:, 14, :, 0].astype(int).argmax(axis=1)
    assert all(index - 1 <= column <= index + 12 for index, column in enumerate(bright))


def test_the_content_of_a_file_is_read_without_the_file(tmp_path):
    content = encoded(tmp_path / 'clip.avi', moving_square(5)).read_bytes()
    read_from = np.stack(
        [frame.pixels for frame in video_frames(Path('inside.avi'), io.BytesIO(content))]
    )
    np.testing.assert_array_equal(read_from, read(tmp_path / 'clip.avi'))
    with pytest.raises(InputError, match=r'inside\.avi'):
        list(video_frames(Path('inside.avi'), io.BytesIO(content[:100])))


@pytest.mark.parametrize('suffix', [*CODECS, '.mkv', '.mp4'])
def test_truncated_videos_are_rejected(tmp_path, suffix):
    content = encoded(tmp_path / f'clip{suffix}', moving_square()).read_bytes()
    path = tmp_path / f'cut{suffix}'
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(InputError, match=r'cut\.\w+ is (truncated|damaged|not a whole video)'):
        read(path)


def test_truncated_video_with_its_index_in_front_is_rejected(tmp_path):
    content = encoded(tmp_path / 'clip.mp4', moving_square(), movflags='faststart').read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(InputError, match=r'truncated|damaged'):
        read(tmp_path / 'cut.mp4')


@pytest.mark.parametrize('suffix', ['.avi', '.flv', '.mov'])
def test_damage_that_the_decoder_notices_is_rejected(tmp_path, suffix):
    path = encoded(tmp_path / f'clip{suffix}', moving_square())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux() if packet.size][9]
        middle = packet.pos + packet.size // 2
    content = bytearray(path.read_bytes())
    content[middle : middle + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'clip\.\w+ is damaged: parts of frame 10 are missing'):
        read(path)


def test_recordings_that_begin_in_the_midst_or_are_joined_are_no_damage(tmp_path):
    content = encoded(tmp_path / 'clip.ts', moving_square()).read_bytes()
    packets = len(content) // 188
    for begin in (0, packets // 3, packets // 2):
        (tmp_path / 'joined.ts').write_bytes(content[188 * begin :] + content)
        assert len(read(tmp_path / 'joined.ts')) >= 20


class Pipe:
    """What cannot go back to fill in sizes and lengths."""

    def __init__(self):
        self.content = b''

    def write(self, data):
        self.content += bytes(data)
        return len(data)


@pytest.mark.parametrize(
    ('container', 'codec'),
    [
        ('avi', 'mpeg4'),
        ('ivf', 'libvpx-vp9'),
        ('matroska', 'libx264'),
        ('webm', 'libvpx-vp9'),
        ('flv', 'flv1'),
        ('asf', 'wmv2'),
        ('mpegts', 'libx264'),
        ('nut', 'mpeg4'),
    ],
)
def test_videos_written_to_a_pipe_are_whole(tmp_path, container, codec):
    pipe = Pipe()
    with av.open(pipe, 'w', format=container) as output:
        stream = output.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, 'yuv420p'
        for frame in moving_square(12):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        output.mux(stream.encode())
    path = tmp_path / f'clip.{container}'
    path.write_bytes(pipe.content)
    assert len(read(path)) == 12
    assert measure_video(path).end == pytest.approx(1.2)


@pytest.mark.parametrize('suffix', ['.avi', '.mkv', '.mov', '.mp4', '.ts'])
def test_a_little_at_the_end_that_is_no_video_does_no_harm(tmp_path, suffix):
    path = encoded(tmp_path / f'clip{suffix}', moving_square())
    with path.open('ab') as file:
        file.write(b'left by another program')
    assert len(read(path)) == 20


def test_a_longer_sound_track_is_no_truncation(tmp_path):
    path = tmp_path / 'clip.mp4'
    with av.open(str(path), 'w') as container:
        picture = container.add_stream('libx264', rate=10)
        picture.height, picture.width, picture.pix_fmt = 16, 16, 'yuv420p'
        sound = container.add_stream('aac', rate=8000, layout='mono')
        for frame in np.zeros((5, 16, 16, 3), np.uint8):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        for index in range(16):  # 2 s
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, 1000), np.float32), format='fltp', layout='mono'
            )
            samples.sample_rate, samples.pts = 8000, 1000 * index
            container.mux(sound.encode(samples))
        container.mux(picture.encode())
        container.mux(sound.encode())
    assert len(read(path)) == 5


PLAYLIST = '#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nclip.ts\n#EXT-X-ENDLIST\n'
FOREIGN = {
    'text.mp4': b'this is not a video\n' * 100,
    'text.txt': b'hello\n' * 100,  # FFmpeg would draw the letters
    'empty.mp4': b'',
    'zeros.mkv': bytes(10000),
    # These make FFmpeg open other files.
    'list.txt': b"ffconcat version 1.0\nfile 'clip.ts'\n",
    'list.ffconcat': b"ffconcat version 1.0\nfile 'clip.ts'\n",
    'list.mp4': b"ffconcat version 1.0\nfile 'clip.ts'\n",
    'list.m3u8': PLAYLIST.encode(),
    'other.mp4': PLAYLIST.encode(),
    'picture_%d.png': b'',
    'session.sdp': b'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5000 RTP/AVP 96\n',
}


@pytest.mark.parametrize('name', FOREIGN)
def test_other_files_are_rejected(tmp_path, name):
    encoded(tmp_path / 'clip.ts', moving_square(5))
    Image.new('RGB', (16, 16)).save(tmp_path / 'picture_1.png')
    (tmp_path / name).write_bytes(FOREIGN[name])
    with pytest.raises(InputError, match=rf'{name} is not a whole video file, or not of a kind'):
        read(tmp_path / name)


def test_pictures_and_animations_under_the_name_of_a_video_are_rejected(tmp_path):
    for kind in ('png', 'gif', 'webp', 'tiff'):
        path = tmp_path / f'{kind}.mp4'
        Image.new('RGB', (16, 16)).save(path, format=kind)
        with pytest.raises(InputError, match='not of a kind that is read'):
            read(path)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / 'pipe.mp4')
    (tmp_path / 'zero.mp4').symlink_to('/dev/zero')
    for name in ('pipe.mp4', 'zero.mp4'):
        with pytest.raises(InputError, match=f'{name} is a (named pipe|device)'):
            read(tmp_path / name)
        with pytest.raises(InputError, match=f'{name} is a (named pipe|device)'):
            measure_video(tmp_path / name)
    encoded(tmp_path / 'clip.mp4', moving_square(3))
    (tmp_path / 'link.mp4').symlink_to('clip.mp4')
    assert len(read(tmp_path / 'link.mp4')) == 3


def test_names_may_be_any_bytes(tmp_path):
    folder = tmp_path / os.fsdecode(b'caf\xe9')
    folder.mkdir()
    path = encoded(tmp_path / 'clip.avi', moving_square(3)).rename(
        folder / os.fsdecode(b'\xff\xfe.avi')
    )
    assert len(read(path)) == 3
    assert len(measure_video(path).starts) == 3
    path.write_bytes(b'')
    with pytest.raises(InputError) as caught:
        read(path)
    str(caught.value).encode('utf-8', 'backslashreplace')


def test_sound_without_pictures_is_rejected(tmp_path):
    with wave.open(str(tmp_path / 'sound.wav'), 'wb') as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    with pytest.raises(InputError, match='not of a kind that is read'):
        read(tmp_path / 'sound.wav')


def test_frames_that_are_too_large_are_rejected(tmp_path, monkeypatch):
    path = encoded(tmp_path / 'clip.mp4', moving_square(2))
    monkeypatch.setattr(video_file, 'MAX_PIXELS', 1000)
    with pytest.raises(InputError, match=r'32 x 48 pixels|at most 1,000 pixels'):
        read(path)


def test_frames_larger_than_the_header_says_are_not_decoded(tmp_path, monkeypatch):
    with av.open(str(tmp_path / 'clip.mov'), 'w') as container:
        stream = container.add_stream('png', rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 64, 'rgb24'
        for frame in np.zeros((2, 64, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    content = bytearray((tmp_path / 'clip.mov').read_bytes())
    size = content.index(b'png ', content.index(b'stsd')) + 28
    assert content[size : size + 4] == bytes([0, 64, 0, 64])
    content[size : size + 4] = bytes([0, 16, 0, 16])
    (tmp_path / 'clip.mov').write_bytes(content)
    assert read(tmp_path / 'clip.mov').shape == (2, 64, 64, 3)
    monkeypatch.setattr(video_file, 'MAX_PIXELS', 1000)
    with pytest.raises(InputError, match=r'64 x 64 pixels|at most 1,000 pixels'):
        read(tmp_path / 'clip.mov')


def test_frames_whose_size_changes_are_rejected(tmp_path):
    small = encoded(tmp_path / 'small.ts', moving_square(5, 32, 32)).read_bytes()
    large = encoded(tmp_path / 'large.ts', moving_square(5, 32, 48)).read_bytes()
    (tmp_path / 'joined.ts').write_bytes(small + large)
    with pytest.raises(InputError, match=r'joined\.ts has 32 x 48 pixels, those before it 32 x 32'):
        read(tmp_path / 'joined.ts')


def write_streams(path, streams):
    """Writes (codec, frames, disposition) side by side."""
    with av.open(str(path), 'w') as container:
        added = []
        for codec, frames, disposition in streams:
            stream = container.add_stream(codec, rate=10)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = 'rgb24' if codec == 'png' else 'yuv420p'
            stream.disposition = disposition
            added.append(stream)
        for stream, (_, frames, _) in zip(added, streams, strict=True):
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize('cover_first', [True, False])
def test_a_cover_picture_is_not_taken_for_the_video(tmp_path, cover_first):
    cover = ('png', np.full((1, 64, 64, 3), 200, np.uint8), Disposition.attached_pic)
    video = ('mpeg4', moving_square(4, 16, 32), Disposition.default)
    streams = [cover, video] if cover_first else [video, cover]
    path = write_streams(tmp_path / 'clip.mp4', streams)
    assert read(path).shape == (4, 16, 32, 3)
    assert len(measure_video(path).starts) == 4
    with pytest.raises(InputError, match='holds no video but a cover picture'):
        read(write_streams(tmp_path / 'cover.mp4', [cover]))


def test_of_several_streams_the_default_one_is_taken_then_the_largest(tmp_path):
    small, large = moving_square(3, 16, 16), moving_square(3, 32, 32)
    none, default = Disposition(0), Disposition.default
    for dispositions, side in (((none, default), 32), ((default, none), 16), ((none, none), 32)):
        streams = [('mpeg4', small, dispositions[0]), ('mpeg4', large, dispositions[1])]
        path = write_streams(tmp_path / 'clip.mkv', streams)
        assert read(path).shape == (3, side, side, 3), dispositions
        assert describe_clip(path) == f'{path}: of 2 video streams that of {side} x {side}'


def test_pixels_that_are_not_square_are_taken_as_stored_and_said(tmp_path):
    path = tmp_path / 'clip.mp4'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=10)
        stream.height, stream.width, stream.pix_fmt = 16, 32, 'yuv420p'
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for frame in moving_square(3, 16, 32):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    assert read(path).shape == (3, 16, 32, 3)
    assert describe_clip(path) == f'{path}: pixels that are not square (2:1), as stored'


@pytest.mark.parametrize('name', ['clip.mkv', 'clip.mp4', 'clip.mov'])
def test_a_thumbnail_that_is_not_marked_as_one_is_not_taken_either(tmp_path, name):
    thumbnail = ('mpeg4', np.full((1, 64, 64, 3), 200, np.uint8), Disposition.default)
    video = ('mpeg4', moving_square(4, 16, 32), Disposition.default)
    path = write_streams(tmp_path / name, [thumbnail, video])
    assert read(path).shape == (4, 16, 32, 3)
    content = io.BytesIO(path.read_bytes())
    assert len(list(video_frames(Path('inside'), content))) == 4
    assert read(write_streams(tmp_path / name, [thumbnail])).shape == (1, 64, 64, 3)
