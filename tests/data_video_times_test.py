"""When the frames of real files appear, and their end without what comes before."""

from fractions import Fraction

import numpy as np
import pytest
from clip_fixtures import MILLISECOND, write_timed

from e3d.data.readers import clips
from e3d.data.readers.clips import clip_frames, clip_timing, describe_clip, read_clip
from e3d.data.readers.timing import Timing
from e3d.data.readers.videos import JumpError, last_video_frames, measure_video, video_frames
from e3d.errors import InputError

UNEVEN = [0, 100, 200, 300, 400, 500, 1000, 1500, 2000, 2500, 3000, 3500]  # 10 a second, then 2
CONTAINERS = {
    'clip.mp4': 'libx264',
    'clip.mov': 'mpeg4',
    'clip.mkv': 'libx264',
    'clip.webm': 'libvpx-vp9',
    'clip.flv': 'flv1',
    'clip.wmv': 'wmv2',
    'clip.ts': 'libx264',
    'clip.nut': 'mpeg4',
    'clip.3gp': 'mpeg4',
}


def numbers(frames):
    return [round((float(frame[0, 0, 0]) - 10) / 10) for frame in frames]


@pytest.mark.parametrize(
    ('name', 'reorder'), [*((name, 0) for name in CONTAINERS), ('clip.mp4', 2), ('clip.mkv', 2)]
)
def test_other_rates_follow_the_time_stamps(tmp_path, name, reorder):
    path = write_timed(tmp_path / name, UNEVEN, CONTAINERS[name], reorder=reorder)
    assert numbers(clip_frames(path)) == list(range(12))
    assert numbers(clip_frames(path, rate=2.0)) == [0, 5, 6, 7, 8, 9, 10, 11]
    assert clip_timing(path) == Timing(pytest.approx(11 / 3.5), False)
    assert describe_clip(path) == f'{path}: frames of unequal duration'


def test_times_start_at_the_first_frame_wherever_its_stamp_is(tmp_path):
    late = write_timed(tmp_path / 'clip.mkv', [5000 + stamp for stamp in UNEVEN], 'libx264')
    assert numbers(clip_frames(late, rate=2.0)) == [0, 5, 6, 7, 8, 9, 10, 11]
    assert next(video_frames(late)).start == 0


@pytest.mark.parametrize('first', [0, 33])
def test_stated_rates_come_back_from_rounded_stamps(tmp_path, first):
    stamps = [first + round(1000 * n / 30) for n in range(40)]
    path = write_timed(tmp_path / 'clip.mkv', stamps, 'libx264', rate=30)
    assert clip_timing(path) == Timing(30.0, True)
    assert describe_clip(path) == ''
    assert [frame.start for frame in video_frames(path)] == pytest.approx(
        [n / 30 for n in range(40)], abs=1e-9
    )


def test_dropped_frames_of_an_avi_let_the_one_before_stand(tmp_path):
    path = write_timed(tmp_path / 'clip.avi', [0, 1, 2, 3, 10, 11], 'mpeg4', Fraction(1, 10))
    assert numbers(clip_frames(path)) == list(range(6))
    assert numbers(clip_frames(path, rate=5.0)) == [0, 2, 3, 3, 3, 4]


STATED = [name for name in CONTAINERS if name not in ('clip.ts', 'clip.nut')]


@pytest.mark.parametrize('name', [*STATED, 'fragmented.mp4'])
def test_videos_whose_last_frame_stands_long_are_whole(tmp_path, name):
    path = write_timed(
        tmp_path / name,
        [0, 100, 200, 300],
        CONTAINERS.get(name, 'libx264'),
        durations=[100, 100, 100, 1700],
        options={'movflags': 'frag_keyframe+empty_moov'} if name == 'fragmented.mp4' else None,
    )
    assert numbers(clip_frames(path)) == [0, 1, 2, 3]
    assert numbers(clip_frames(path, rate=2.0)) == [0, 3, 3, 3]
    assert measure_video(path).end == pytest.approx(2.0)


def test_an_avi_that_ends_with_dropped_frames_is_whole(tmp_path):
    path = write_timed(tmp_path / 'clip.avi', [0, 1, 2], 'mpeg4', Fraction(1, 10), [1, 1, 18])
    assert numbers(clip_frames(path)) == [0, 1, 2]
    assert numbers(clip_frames(path, rate=2.0)) == [0, 2, 2, 2]


def test_a_matroska_without_a_duration_is_whole(tmp_path):
    path = write_timed(tmp_path / 'live.mkv', [0, 100, 200], 'libx264', options={'live': '1'})
    assert numbers(clip_frames(path)) == [0, 1, 2]


def test_joined_recordings_follow_each_other(tmp_path):
    one = write_timed(tmp_path / 'one.ts', range(0, 1000, 100), 'libx264').read_bytes()
    (tmp_path / 'both.ts').write_bytes(one + one)
    times = measure_video(tmp_path / 'both.ts')
    assert times.starts == pytest.approx([n / 10 for n in range(20)])
    assert [frame.start for frame in video_frames(tmp_path / 'both.ts')] == times.starts
    assert times.timing.constant and times.timing.rate == pytest.approx(10)


@pytest.mark.parametrize('gap', [3, 9])
def test_a_broadcast_recorded_from_the_middle_is_whole(tmp_path, gap):
    path = write_timed(tmp_path / 'clip.ts', range(0, 4000, 100), 'libx264', gop=10)
    whole = [frame.pixels[0, 0, 0] for frame in video_frames(path)]
    content = path.read_bytes()
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    first = [at for at, packet in enumerate(packets) if packet[1] & 0x40 and packet[2] == 0][gap]
    path.write_bytes(b''.join(packets[first:]))
    read = [frame.pixels[0, 0, 0] for frame in video_frames(path)]
    assert 10 <= len(read) < 40 and read == whole[-len(read) :]
    times = measure_video(path)
    assert times.starts == [frame.start for frame in video_frames(path)]
    assert times.starts[0] == 0


@pytest.mark.parametrize(('name', 'codec'), [('a.h264', 'libx264'), ('a.m1v', 'mpeg1video')])
def test_raw_streams_state_no_times_and_keep_their_frames(tmp_path, name, codec):
    path = write_timed(tmp_path / name, range(5), codec, Fraction(1, 25), rate=25)
    assert clip_timing(path) is None
    assert numbers(clip_frames(path, rate=2.0)) == [0, 1, 2, 3, 4]


def test_time_stamps_far_apart_do_not_become_endless_frames(tmp_path):
    path = write_timed(tmp_path / 'clip.mkv', [0, 100, 10**9], 'libx264')
    assert numbers(clip_frames(path)) == [0, 1, 2]
    with pytest.raises(InputError, match=r'clip\.mkv at 0\.1 s stands for 1e\+06 s'):
        for _ in clip_frames(path, rate=30.0):
            pass


LONG = {'long.mp4': 2, 'long.mkv': 0, 'long.avi': 0, 'long.flv': 0, 'long.ts': 0}


@pytest.mark.parametrize(('name', 'reorder'), LONG.items())
def test_the_end_of_a_long_video_is_decoded_alone(tmp_path, monkeypatch, name, reorder):
    codec = CONTAINERS.get(name.replace('long', 'clip'), 'mpeg4')
    tick = Fraction(1, 10) if name.endswith('avi') else MILLISECOND
    stamps = [n if name.endswith('avi') else 100 * n for n in range(80)]
    path = write_timed(tmp_path / name, stamps, codec, tick, reorder=reorder, gop=8)
    everything = list(video_frames(path))
    at_rate = np.stack(list(clip_frames(path, rate=7.0)))

    def forbidden(path):
        raise AssertionError('decodes from the start')

    monkeypatch.setattr(clips, 'video_frames', forbidden)
    expected = np.stack([frame.pixels for frame in everything[-5:]])
    np.testing.assert_array_equal(read_clip(path, last=5), expected)
    np.testing.assert_array_equal(read_clip(path, last=5, rate=7.0), at_rate[-5:])
    last = list(last_video_frames(path, measure_video(path), 70))
    assert [frame.start for frame in last] == [frame.start for frame in everything[70:]]
    assert [frame.end for frame in last] == [frame.end for frame in everything[70:]]


def test_where_a_jump_leads_elsewhere_all_is_decoded(tmp_path, monkeypatch):
    path = write_timed(tmp_path / 'clip.mp4', range(0, 8000, 100), 'libx264', gop=8)
    times = measure_video(path)
    wrong = times._replace(stamps=[stamp + (stamp > times.stamps[75]) for stamp in times.stamps])
    with pytest.raises(JumpError):
        list(last_video_frames(path, wrong, 70))
    with pytest.raises(JumpError):
        list(last_video_frames(path, times._replace(keys=[]), 70))
    monkeypatch.setattr(clips, 'measure_video', lambda path: wrong)
    assert len(read_clip(path, last=10)) == 10
    np.testing.assert_array_equal(
        read_clip(path, last=10), np.stack([frame.pixels for frame in video_frames(path)][-10:])
    )


def test_a_long_clip_is_read_piece_by_piece_but_not_kept(tmp_path, monkeypatch):
    path = write_timed(tmp_path / 'clip.mp4', range(0, 4000, 100), 'libx264')
    monkeypatch.setattr(clips, 'MAX_BYTES', 10 * 16 * 16 * 3)
    assert sum(1 for _ in clip_frames(path)) == 40
    assert len(read_clip(path, last=10)) == 10
    with pytest.raises(InputError, match='too long'):
        read_clip(path)
