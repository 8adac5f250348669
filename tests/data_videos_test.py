"""Real encoders and decoders: whole, truncated and foreign files."""

import io
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from e3d.data import video_file
from e3d.data.videos import video_frames
from e3d.errors import InputError

CODECS = {'.avi': 'mpeg4', '.mkv': 'libx264', '.webm': 'libvpx-vp9', '.mov': 'mpeg4'}


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


@pytest.mark.parametrize('suffix', ['.avi', '.mkv', '.webm', '.mov', '.mp4', '.ts'])
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


@pytest.mark.parametrize('suffix', ['.avi', '.mkv', '.webm', '.mov', '.mp4'])
def test_truncated_videos_are_refused(tmp_path, suffix):
    content = encoded(tmp_path / f'clip{suffix}', moving_square()).read_bytes()
    path = tmp_path / f'cut{suffix}'
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(InputError, match=r'cut\.\w+ is (truncated|damaged|not a whole video)'):
        read(path)


def test_truncated_video_with_its_index_in_front_is_refused(tmp_path):
    content = encoded(tmp_path / 'clip.mp4', moving_square(), movflags='faststart').read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(InputError, match=r'truncated|damaged'):
        read(tmp_path / 'cut.mp4')


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


def test_turned_videos_come_upright(tmp_path):
    frames = np.zeros((3, 16, 32, 3), np.uint8)
    frames[:, :, :16] = 200  # the left half is bright
    encoded(tmp_path / 'lying.mp4', frames)
    content = (tmp_path / 'lying.mp4').read_bytes()
    one = 1 << 16
    upright = struct.pack('>9i', one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    clockwise = struct.pack('>9i', 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    head, track = content.split(b'tkhd')
    assert upright in track
    (tmp_path / 'turned.mp4').write_bytes(head + b'tkhd' + track.replace(upright, clockwise, 1))
    clip = read(tmp_path / 'turned.mp4')
    assert clip.shape == (3, 32, 16, 3)
    assert clip[:, :12].min() > 150 > clip[:, 20:].max()  # left has become top


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('clip.mp4', b'this is not a video\n' * 100),
        ('clip.txt', b'hello\n' * 100),  # FFmpeg would draw the letters
        ('empty.mp4', b''),
        ('list.txt', b"ffconcat version 1.0\nfile 'clip.mp4'\n"),
        ('list.m3u8', b'#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nclip.ts\n#EXT-X-ENDLIST\n'),
    ],
)
def test_other_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf'{name} (is not a whole video file|holds no video)'):
        read(tmp_path / name)


def test_sound_without_pictures_is_refused(tmp_path):
    with wave.open(str(tmp_path / 'sound.wav'), 'wb') as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    with pytest.raises(InputError, match='not of a kind that is read'):
        read(tmp_path / 'sound.wav')


def test_frames_that_are_too_large_are_refused(tmp_path, monkeypatch):
    path = encoded(tmp_path / 'clip.mp4', moving_square(2))
    monkeypatch.setattr(video_file, 'MAX_PIXELS', 1000)
    with pytest.raises(InputError, match='32 x 48 pixels'):
        read(path)
