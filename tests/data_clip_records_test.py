"""Clips are prepared once, whole or not at all, and read anywhere."""

import multiprocessing
import os
import pathlib
import pickle
import time

import numpy as np
import pytest

from e3d.data.batches import evaluation_batches
from e3d.data.readers.timing import Timing
from e3d.data.sources import clip_records
from e3d.data.sources.adaptation import Preparation
from e3d.data.sources.clip_records import CHUNK, RawClip, open_clip_set
from e3d.data.sources.clip_sequences import ClipSequences, read_frames
from e3d.data.sources.file_facts import FileFacts
from e3d.errors import InputError

RNG = np.random.default_rng(0)
LENGTHS = {'long': 2 * CHUNK + 3, 'even': CHUNK, 'one': 1}
CLIPS = {name: RNG.integers(0, 256, (n, 4, 6, 1), np.uint8) for name, n in LENGTHS.items()}


class SomeClips(clip_records.ClipSetBuilder):
    """A set for the tests."""


def broken():
    """A clip that breaks after its first chunk was read."""
    yield from CLIPS['long'][: CHUNK + 1]
    raise InputError('broken is truncated')


def opened(data_dir, raw_clips=None, **changes):
    if raw_clips is None:
        raw_clips = [RawClip(name, lambda f=f: iter(f), [name]) for name, f in CLIPS.items()]
    settings = {
        'name': 'some',
        'preparation': Preparation((4, 6, 1)),
        'list_clips': lambda: raw_clips,
    }
    config = clip_records.ClipSetConfig(**(settings | changes))
    return open_clip_set(SomeClips, config, str(data_dir))


def whole(clip_set, clip):
    start = clip.first_record, 0, clip.num_frames
    return read_frames(clip_set.records, *start, clip_set.deep)


def test_clips_come_back_as_they_were(tmp_path):
    clip_set = opened(tmp_path)
    assert [(clip.name, clip.num_frames) for clip in clip_set.clips] == list(LENGTHS.items())
    for clip in clip_set.clips:
        assert clip.about == [clip.name]
        np.testing.assert_array_equal(whole(clip_set, clip), CLIPS[clip.name])


@pytest.mark.parametrize('length', [1, 5, CHUNK, CHUNK + 2, 2 * CHUNK + 3])
def test_sequences_begin_anywhere(tmp_path, length):
    clip_set = opened(tmp_path)
    clip = clip_set.clips[0]
    last = clip.num_frames - length
    starts = np.array([(clip.first_record, start) for start in range(last + 1)])
    source = pickle.loads(pickle.dumps(ClipSequences(clip_set.records, starts, length)))
    assert len(source) == last + 1
    for start in range(last + 1):
        frames = source[start]['frames']
        np.testing.assert_array_equal(frames, CLIPS['long'][start : start + length])


def test_bits_that_16_leave_unused_in_all_clips_are_said(tmp_path):
    dark, bright, videos = (np.float32([[[[most]]]]) / 65535 for most in (700, 4000, 20000))
    floats = np.full((1, 1, 1, 1), 0.01234, np.float32)

    def lines(folder, **clips):
        raw_clips = [
            RawClip(name, lambda f=f: iter(f), as_stored=name != 'videos')
            for name, f in clips.items()
        ]
        clip_set = opened(tmp_path / folder, raw_clips, preparation=Preparation((1, 1, 1)))
        return [line for line in clip_set.account if 'no value' in line]

    (line,) = lines('twelve', dark=dark, bright=bright, floats=floats, videos=videos)
    assert 'no value is above 4,000, as of 12 bits' in line
    assert not lines('sixteen', dark=dark, bright=videos)
    assert not lines('video', videos=dark)
    assert not lines('floats', floats=floats)


def test_a_broken_clip_is_named_and_the_others_stay_right(tmp_path):
    raw_clips = [
        RawClip('broken', broken),
        RawClip('even', lambda: iter(CLIPS['even'])),
    ]
    for _ in range(2):
        clip_set = opened(tmp_path, raw_clips)
        assert clip_set.left_out == [('broken', 'broken is truncated', True)]
        (clip,) = clip_set.clips
        np.testing.assert_array_equal(whole(clip_set, clip), CLIPS['even'])


def test_a_clip_that_the_system_cannot_read_is_left_out(tmp_path):
    def unreadable():
        yield from CLIPS['even']
        raise PermissionError(13, 'Permission denied')

    raw_clips = [RawClip('unreadable', unreadable), RawClip('even', lambda: iter(CLIPS['even']))]
    clip_set = opened(tmp_path, raw_clips)
    assert clip_set.left_out == [('unreadable', 'cannot be read: Permission denied', True)]
    np.testing.assert_array_equal(whole(clip_set, clip_set.clips[0]), CLIPS['even'])


@pytest.mark.parametrize(
    ('folder', 'message'),
    [
        (os.fsdecode(b'caf\xe9'), 'not UTF-8'),
        (300 * 'n', 'cannot be made or written to: File name too long'),
        ('~nobody-here/x', 'home directory that is not known'),
        ('a_file/x', 'cannot be made or written to: Not a directory'),
    ],
)
def test_folders_that_cannot_be_written_are_an_input_error(tmp_path, folder, message):
    (tmp_path / 'a_file').write_text('')
    folder = folder if folder.startswith('~') else tmp_path / folder
    with pytest.raises(InputError, match=message):
        opened(folder)


@pytest.mark.parametrize('folder', ['with [1] and *', 'q?', 'at@3', '{braces}', 'sp ace, ü'])
def test_folders_of_unusual_names_are_written_and_read(tmp_path, folder):
    for _ in range(2):
        clip_set = opened(tmp_path / folder)
    np.testing.assert_array_equal(whole(clip_set, clip_set.clips[0]), CLIPS['long'])


@pytest.mark.parametrize('file', ['dataset_info.json', 'metadata.json', 'features.json'])
def test_damaged_records_are_an_input_error(tmp_path, file):
    folder = pathlib.Path(opened(tmp_path).folder)
    (folder / file).write_text('{')
    with pytest.raises(InputError, match=r'are damaged.*Delete that folder'):
        opened(tmp_path)


def test_the_forms_of_clips_are_told(tmp_path):
    wide = np.zeros((2, 8, 12, 3), np.uint8)
    raw_clips = [
        RawClip('wide', lambda: iter(wide), describe=lambda: (Timing(25.0, True), '')),
        RawClip('even', lambda: iter(CLIPS['even'])),
        RawClip('long', lambda: iter(CLIPS['long'])),
    ]
    assert opened(tmp_path, raw_clips).account == (
        '2 clips: frames as they are',
        '1 clip: 25 frames/s; RGB made gray; 8 x 12 pixels resized to 4 x 6',
    )


@pytest.mark.parametrize(
    ('timings', 'wanted', 'step'),
    [
        ([Timing(30.0, True), Timing(29.97, True)], None, 1 / 30),
        ([Timing(30.0, True), Timing(25.0, True)], None, None),
        ([Timing(30.0, True), Timing(30.0, False)], None, None),
        ([Timing(30.0, True), None], None, None),
        ([Timing(30.0, True), Timing(30.0, True)], 10.0, None),
    ],
)
def test_the_time_between_frames_is_known_where_all_clips_state_it(tmp_path, timings, wanted, step):
    clips = [
        RawClip(str(n), lambda: iter(CLIPS['even']), describe=lambda timing=timing: (timing, ''))
        for n, timing in enumerate(timings)
    ]
    facts = opened(tmp_path, clips, preparation=Preparation((4, 6, 1), frame_rate=wanted)).facts
    assert facts == (FileFacts(step=step) if step else None)


def test_equal_frames_have_equal_fingerprints(tmp_path):
    other = CLIPS['even'].copy()
    other[-1, 0, 0, 0] ^= 1
    clips = {'a': CLIPS['even'], 'b': CLIPS['even'].copy(), 'c': other, 'd': CLIPS['even'][:-1]}
    clip_set = opened(tmp_path, [RawClip(name, lambda f=f: iter(f)) for name, f in clips.items()])
    prints = [clip.fingerprint for clip in clip_set.clips]
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_a_set_without_a_whole_clip_is_rejected_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r'None of the 1 clips.*truncated'):
        opened(tmp_path, [RawClip('broken', broken)])
    assert [file.name for file in tmp_path.rglob('*') if file.is_file()] == ['.lock']


def test_an_interruption_leaves_nothing_that_passes_for_whole(tmp_path):
    def interrupted():
        yield from CLIPS['long']
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path, [RawClip('x', interrupted)])
    assert len(opened(tmp_path).clips) == 3


def prepare_until_killed(tmp_path, started):
    def end_abruptly():
        yield from CLIPS['long']
        started.set()
        time.sleep(2)
        os._exit(9)  # as when the system kills a process: nothing is cleaned up

    opened(tmp_path, [RawClip('x', end_abruptly)])


def test_a_second_process_waits_and_removes_what_a_killed_one_left(tmp_path):
    spawn = multiprocessing.get_context('spawn')
    started = spawn.Event()
    process = spawn.Process(target=prepare_until_killed, args=(tmp_path, started))
    process.start()
    assert started.wait(60)
    assert list(tmp_path.rglob('incomplete.*'))
    clip_set = opened(tmp_path)
    process.join(0.1)
    assert process.exitcode == 9
    assert [clip.name for clip in clip_set.clips] == list(CLIPS)
    assert not list(tmp_path.rglob('incomplete.*'))


def test_frames_are_resized_or_cropped_first(tmp_path):
    wide = np.zeros((3, 4, 12, 1), np.uint8)
    wide[:, :, 4:8] = 200
    raw_clips = [RawClip('wide', lambda: iter(wide))]
    sets = {
        fit: opened(tmp_path, raw_clips, name=fit, preparation=Preparation((2, 2, 1), fit))
        for fit in ('stretch', 'crop')
    }
    middle = {fit: whole(s, s.clips[0])[0, 0, :, 0].tolist() for fit, s in sets.items()}
    assert middle == {'stretch': [67, 67], 'crop': [200, 200]}  # a third of a half; all of it


def test_floats_keep_their_depth_and_bytes_beside_them_their_values(tmp_path):
    low_contrast = (0.5 + 0.001 * RNG.random((CHUNK + 3, 4, 6, 1))).astype(np.float32)
    bytes_ = CLIPS['long']
    clips = {'deep': low_contrast, 'shallow': bytes_}
    clip_set = opened(tmp_path, [RawClip(name, lambda f=f: iter(f)) for name, f in clips.items()])
    assert clip_set.deep
    deep, shallow = (whole(clip_set, clip) for clip in clip_set.clips)
    np.testing.assert_array_equal(deep, low_contrast)
    np.testing.assert_array_equal(shallow, np.float32(bytes_) / np.float32(255))
    assert deep.dtype == shallow.dtype == np.float32
    starts = np.array([[clip.first_record, 0] for clip in clip_set.clips])
    source = ClipSequences(clip_set.records, starts, 2, deep=clip_set.deep)
    (batch,) = evaluation_batches(source, 2)
    np.testing.assert_array_equal(batch['frames'], [low_contrast[:2], shallow[:2]])


def test_bytes_alone_stay_bytes(tmp_path):
    clip_set = opened(tmp_path)
    assert not clip_set.deep
    records = [clip_set.records[index] for index in range(len(clip_set.records))]
    assert {record['frames'].dtype for record in records} == {np.dtype(np.uint8)}
    assert not any(record['deep_frames'].size for record in records)


def test_a_clip_that_could_not_be_read_makes_no_set_deep(tmp_path):
    def broken_floats():
        yield from np.zeros((CHUNK + 1, 4, 6, 1), np.float32)
        raise InputError('truncated')

    raw_clips = [RawClip('broken', broken_floats), RawClip('even', lambda: iter(CLIPS['even']))]
    clip_set = opened(tmp_path, raw_clips)
    assert not clip_set.deep and whole(clip_set, clip_set.clips[0]).dtype == np.uint8


def test_colors_of_floats_become_gray(tmp_path):
    floats = RNG.random((3, 4, 6, 3), np.float32)
    raw_clips = [RawClip('floats', lambda: iter(floats))]
    clip_set = opened(tmp_path, raw_clips)
    gray = floats @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(whole(clip_set, clip_set.clips[0])[..., 0], gray, atol=1e-6)
