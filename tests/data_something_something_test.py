"""Something-Something v2 from the official lists and videos."""

import json
import os
import pickle

import numpy as np
import pytest
from clip_fixtures import write_timed, write_video, write_webm
from PIL import Image
from something_something_fixtures import (
    FRAMES,
    NAMES,
    TEMPLATES,
    write_data_set,
    write_labels,
    write_list,
)

from e3d.data.sources import something_something_files
from e3d.data.sources.registry import shown_part as part_shown_by
from e3d.data.sources.registry import validates_on_test
from e3d.data.sources.something_something import frame_numbers, open_something_something
from e3d.data.sources.something_something_files import FORTY_ONE, list_videos
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError


def make_dataset(tmp_path, **changes):
    return {
        'path': str(tmp_path / 'raw'),
        'data_dir': str(tmp_path / 'data'),
        'input_frames': 3,
        'output_frames': 2,
        'frame_size': (16, 16),
        'fit': 'crop',
        'frame_rate': 24.0,
        'fraction': 0.5,
        'num_classes': 41,
        'validation_fraction': 0.0,
        **changes,
    }


def numbers_in(example):
    frames = example['frames']
    assert (frames.shape, frames.dtype) == ((5, 16, 16, 3), np.uint8)
    return np.rint(frames[:, 8, 8].mean(axis=-1) / 15).astype(int).tolist()


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        # At 24 a second there are 24 frames: 0, 0, 1, 1, ...; the cut is before the given one.
        ({}, [4, 5, 5, 6, 6]),
        ({'fraction': 0.25}, [1, 2, 2, 3, 3]),
        ({'fraction': 1.0}, [9, 10, 10, 11, 11]),
        ({'fraction': 0.01}, [0, 0, 0, 0, 1]),
        ({'frame_rate': 12.0}, [3, 4, 5, 6, 7]),
        ({'frame_rate': 6.0}, [0, 2, 4, 6, 8]),
        ({'frame_rate': 6.0, 'fraction': 0.2}, [0, 0, 2, 4, 6]),
    ],
)
def test_a_sequence_is_the_end_of_the_front_and_what_follows(tmp_path, changes, expected):
    write_data_set(tmp_path)
    source = open_something_something(make_dataset(tmp_path, **changes), 'test')
    assert numbers_in(source[0]) == expected


@pytest.mark.parametrize(
    ('changes', 'clip_frames', 'shown_part'),
    [
        # At 24 a second there are 24 frames.
        ({'fraction': 0.25}, 24, (0.25, False)),
        ({'fraction': 0.25, 'input_frames': 6}, 24, (0.25, True)),
        ({'fraction': 0.25, 'input_frames': 7}, 24, (0.25, True)),
        ({'fraction': 0.5, 'frame_rate': 12.0, 'input_frames': 6}, 12, (0.5, True)),
    ],
)
def test_what_is_shown_of_the_whole_clip_is_told(tmp_path, changes, clip_frames, shown_part):
    write_data_set(tmp_path)
    source = open_something_something(make_dataset(tmp_path, **changes), 'test')
    assert source[0]['clip_frames'] == clip_frames
    assert part_shown_by(source) == shown_part


def test_a_varying_rate_follows_the_time_stamps(tmp_path):
    videos = write_data_set(tmp_path)
    stamps = [0, 100, 200, 300, 400, 500, 1000, 1500, 2000, 2500, 3000, 3500]
    write_timed(videos / '3.webm', stamps, 'libvpx-vp9')
    dataset = make_dataset(tmp_path, frame_rate=2.0, fraction=0.5)
    # At 2 a second: 0, 5, 6, 7 | 8, 9, 10, 11
    frames = open_something_something(dataset, 'test')[0]['frames']
    assert np.rint((frames[:, 8, 8].mean(axis=-1) - 10) / 10).tolist() == [5, 6, 7, 8, 9]


def test_a_video_whose_time_stamps_lie_far_apart_is_left_out(tmp_path):
    videos = write_data_set(tmp_path, test=('3', '4'))
    write_timed(videos / '3.webm', [0, 100, 10**9], 'libvpx-vp9')
    source = open_something_something(make_dataset(tmp_path), 'test')
    assert len(source) == 1
    assert [(one.name, one.damaged) for one in source.left_out] == [('3', True)]


def test_videos_become_their_middle_or_all_of_them(tmp_path):
    videos = write_data_set(tmp_path)
    wide = np.zeros((FRAMES, 32, 64, 3), np.uint8)
    wide[:, :, 16:48] = 240
    write_webm(videos / '3.webm', wide)
    crop, stretch = (
        open_something_something(make_dataset(tmp_path, fit=fit), 'test')[0]['frames']
        for fit in ('crop', 'stretch')
    )
    assert crop.min() > 225
    assert stretch[:, :, :3].max() < 15 and stretch[:, :, 5:11].min() > 225


def test_splits_and_labels_are_those_of_the_lists(tmp_path):
    train = [str(id) for id in range(10, 40)]
    write_data_set(tmp_path, train=train[:6])
    write_list(tmp_path / 'raw', 'train', train[:6], (*TEMPLATES, 'Not in the [list]'))
    dataset = make_dataset(tmp_path)
    sources = [open_something_something(dataset, split) for split in SPLITS]
    labels = [[source[i]['label'] for i in range(len(source))] for source in sources]
    pulling, picking = map(FORTY_ONE.index, NAMES)
    assert labels == [[pulling, picking, pulling, picking], [pulling], [pulling]]


def test_validation_is_a_share_of_the_training(tmp_path):
    write_data_set(tmp_path, train=[str(id) for id in range(100, 112)])
    dataset = make_dataset(tmp_path, validation_fraction=0.5)
    train, validation, test = (open_something_something(dataset, split) for split in SPLITS)
    assert len(train) + len(validation) == 12 and len(validation) in range(2, 11)
    assert len(test) == 1
    records = [{clip[0] for clip in source.clips} for source in (train, validation, test)]
    assert not records[0] & records[1] and not records[1] & records[2]
    assert not validates_on_test(validation)
    validation = open_something_something(dataset | {'validation_fraction': 0.0}, 'validation')
    assert validates_on_test(validation) and validation.clips == test.clips


def test_a_share_that_takes_no_clip_is_named(tmp_path):
    write_data_set(tmp_path)
    dataset = make_dataset(tmp_path, validation_fraction=1e-9)
    with pytest.raises(
        InputError, match=r'of the 2 .*dataset\.validation_fraction=1e-09 takes none'
    ):
        open_something_something(dataset, 'validation')


def test_all_classes_have_the_numbers_of_the_official_labels(tmp_path):
    write_data_set(tmp_path)
    write_labels(tmp_path, reverse=True)
    source = open_something_something(make_dataset(tmp_path, num_classes=174), 'train')
    assert [source[i]['label'] for i in range(2)] == [173, 172]


def test_the_present_list_numbers_the_classes_of_records_that_are_older(tmp_path):
    write_data_set(tmp_path)
    dataset = make_dataset(tmp_path, num_classes=174)
    folders = set()
    for reverse in (False, True):
        names = write_labels(tmp_path, reverse)
        source = open_something_something(dataset, 'train')
        assert source.class_names == tuple(names)
        assert [names[source[i]['label']] for i in range(2)] == NAMES
        folders.add(source.folder)
    assert len(folders) == 1  # nothing was prepared again


def test_the_paper_has_forty_one_different_classes():
    assert len(set(FORTY_ONE)) == 41


def test_videos_are_stored_as_they_are_and_the_files_needed_no_more(tmp_path):
    videos = write_data_set(tmp_path)
    source = open_something_something(make_dataset(tmp_path), 'train')
    assert bytes(source.records[0]['webm']) == (videos / '1.webm').read_bytes()
    other = open_something_something(make_dataset(tmp_path, frame_size=(8, 8)), 'train')
    assert other.folder == source.folder
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[1]['frames'], source[1]['frames'])


def test_videos_may_lie_in_several_folders_and_containers(tmp_path):
    videos = write_data_set(tmp_path, train=('1', '2', '4'))
    frames = np.broadcast_to(np.uint8(99), (FRAMES, 32, 64, 3)).copy()
    for id, name in (('2', 'more/2.webm'), ('4', 'other/deep/4.mp4')):
        (videos / f'{id}.webm').unlink()
        path = tmp_path / 'raw' / name
        path.parent.mkdir(parents=True)
        write_video(path, frames, 'mpeg4' if name.endswith('mp4') else 'libvpx-vp9', 12)
    source = open_something_something(make_dataset(tmp_path), 'train')
    assert len(source) == 3 and not source.left_out
    assert source[2]['frames'].mean() == pytest.approx(99, abs=2)


def test_broken_and_missing_videos_are_named_and_left_out(tmp_path):
    videos = write_data_set(tmp_path, train=('1', '2', '4', '5'))
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 32, 64, 3), np.uint8)
    content = write_webm(videos / '1.webm', noise).read_bytes()
    (videos / '1.webm').write_bytes(content[: len(content) // 2])
    (videos / '2.webm').write_text('no video')
    (videos / '4.webm').unlink()
    source = open_something_something(make_dataset(tmp_path), 'train')
    assert len(source) == 1
    reasons = {one.name: one.reason for one in source.left_out}
    assert reasons.keys() == {'1', '2', '4'}
    for id, reason in (('1', 'truncated'), ('2', 'not a whole video'), ('4', 'not there')):
        assert reason in reasons[id]


def test_videos_may_lie_in_several_folders_in_other_forms_or_as_pictures(tmp_path):
    raw = tmp_path / 'raw'
    for number, id in enumerate(('1', '2', '3', '4')):
        frames = np.full((FRAMES, 16, 16, 3), 60 * number, np.uint8)
        frames += 2 * np.arange(FRAMES, dtype=np.uint8)[:, None, None, None]
        folder = raw / f'20bn-something-something-v2-{number:02d}'
        folder.mkdir(parents=True)
        if id == '1':
            write_webm(folder / '1.webm', frames)
        elif id == '2':
            write_video(folder / '2.mp4', frames, 'libx264', 12)
        else:
            (folder / id).mkdir()
            for n, frame in enumerate(frames, 1):
                Image.fromarray(frame).save(folder / id / f'{n:06d}.png')
    write_list(raw / '20bn-something-something-v2-00', 'train', ['1', '2', '3'])
    write_list(raw / '20bn-something-something-v2-03', 'validation', ['4'])
    dataset = make_dataset(tmp_path, frame_rate=12.0)
    train, test = (open_something_something(dataset, split) for split in ('train', 'test'))
    # Of 12 frames the front half ends before frame 6.
    values = [
        source[i]['frames'][:, 8, 8, 0] for source in (train, test) for i in range(len(source))
    ]
    expected = 60 * np.arange(4)[:, None] + 2 * np.arange(3, 8)
    np.testing.assert_allclose(np.int32(values), expected, atol=4)
    np.testing.assert_array_equal(values[2], expected[2])  # pictures lose nothing
    assert train.account[0] == (
        'files: 2 pictures, 1 .webm, 1 .mp4, pictures taken to be 12 a second'
    )
    copy = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(copy[2]['frames'], train[2]['frames'])


def test_a_clip_of_which_pictures_are_missing_is_left_out(tmp_path):
    videos = write_data_set(tmp_path, train=('1', '2'))
    (videos / '1.webm').unlink()
    for number in (1, 2, 3, 5, 6, 7):
        (videos / '1').mkdir(exist_ok=True)
        Image.new('RGB', (16, 16)).save(videos / '1' / f'{number:06d}.png')
    source = open_something_something(make_dataset(tmp_path), 'train')
    reasons = {one.name: one.reason for one in source.left_out}
    assert 'Between 000003.png and 000005.png' in reasons['1']


def test_a_video_of_both_lists_is_for_testing_only(tmp_path):
    write_data_set(tmp_path, train=('1', '2', '3'), test=('3', '4'))
    write_list(tmp_path / 'raw', 'train', ['1', '2', '3', '2'])
    train, test = (
        open_something_something(make_dataset(tmp_path), split) for split in ('train', 'test')
    )
    assert (len(train), len(test)) == (2, 2)
    assert {(one.name, one.reason) for one in train.left_out} == {
        ('3', 'in both lists, used for testing only'),
        ('2', 'twice in a list, used once'),
    }


def test_a_repaired_video_is_read_at_the_next_start(tmp_path):
    videos = write_data_set(tmp_path)
    whole = (videos / '1.webm').read_bytes()
    (videos / '1.webm').write_bytes(bytes(len(whole)))  # of the same size
    assert len(open_something_something(make_dataset(tmp_path), 'train')) == 1
    (videos / '1.webm').write_bytes(whole)
    source = open_something_something(make_dataset(tmp_path), 'train')
    assert len(source) == 2 and not source.left_out


def test_the_account_tells_how_many_clips_go_where(tmp_path):
    write_data_set(tmp_path, train=[str(id) for id in range(100, 112)])
    source = open_something_something(make_dataset(tmp_path, validation_fraction=0.5), 'test')
    train = len(open_something_something(make_dataset(tmp_path, validation_fraction=0.5), 'train'))
    assert source.account == (
        'files: 13 .webm',
        'frames: RGB, crop; 24 a second',
        'divided by the official lists, that for validation is the test; clips: train '
        f'{train}, validation {12 - train}, 50% of that list, test 1',
        'classes: 2 of 41 have clips for training; without: "Something falling like a rock", '
        '"Something falling like a feather or paper", "Throwing something" and 36 more',
    )


@pytest.mark.parametrize(
    ('tested', 'said'),
    [
        (FORTY_ONE[:1], '; without: "{2}"'),
        (FORTY_ONE[1:3], '; without: "{2}"; tested all the same: "{2}"'),
    ],
)
def test_classes_without_clips_for_training_are_named(tmp_path, tested, said):
    clips = [str(id) for id in range(10, 50)]
    videos = write_data_set(tmp_path, train=clips[:1], test=('3', '4'))
    for id in clips[1:]:
        (videos / f'{id}.webm').symlink_to(videos / '10.webm')
    write_list(tmp_path / 'raw', 'train', clips, (*FORTY_ONE[:2], *FORTY_ONE[3:]))
    write_list(tmp_path / 'raw', 'validation', ('3', '4'), tested)
    source = open_something_something(make_dataset(tmp_path), 'train')
    line = 'classes: 40 of 41 have clips for training' + said.format(*FORTY_ONE)
    assert line in source.account


def test_it_is_said_that_all_classes_have_clips_for_training(tmp_path):
    clips = [str(id) for id in range(10, 51)]
    videos = write_data_set(tmp_path, train=clips[:1])
    for id in clips[1:]:
        (videos / f'{id}.webm').symlink_to(videos / '10.webm')
    write_list(tmp_path / 'raw', 'train', clips, FORTY_ONE)
    source = open_something_something(make_dataset(tmp_path), 'train')
    assert 'classes: 41 of 41 have clips for training' in source.account


@pytest.mark.parametrize(('fraction', 'said'), [(0.25, False), (1.0, True)])
def test_it_is_said_where_less_of_a_clip_is_observed_than_the_fraction(tmp_path, fraction, said):
    write_data_set(tmp_path)
    source = open_something_something(make_dataset(tmp_path, fraction=fraction), 'test')
    line = (
        f'of 1 clips less than dataset.fraction={fraction:g} is observed, as dataset.output_frames='
    )
    assert any(text.startswith(line) for text in source.account) == said


def test_parts_that_were_not_unpacked_are_named(tmp_path):
    (tmp_path / 'raw').mkdir()
    for part in ('00', '01'):
        (tmp_path / 'raw' / f'20bn-something-something-v2-{part}').write_bytes(b'x')
    with pytest.raises(InputError, match=r'Unpack them first: cat .*v2-\?\? \| tar'):
        open_something_something(make_dataset(tmp_path), 'train')


def test_short_clips_are_left_out(tmp_path):
    dataset = make_dataset(tmp_path)
    assert frame_numbers([0, 1 / 12], dataset) == ()
    assert frame_numbers([0, 1 / 12, 2 / 12], dataset) == (0, 0, 0, 1, 1)
    assert frame_numbers([0, 1 / 12, 2 / 12], dataset | {'frame_rate': 12.0}) == ()


def break_files(tmp_path, kind):
    raw = tmp_path / 'raw'
    train = raw / 'something-something-v2-train.json'
    match kind:
        case 'no list':
            train.unlink()
        case 'no json':
            train.write_text('[')
        case 'no list of objects':
            train.write_text('{"id": "1"}')
        case 'path as id':
            train.write_text(json.dumps([{'id': '../../1', 'template': TEMPLATES[0]}]))
        case 'no template':
            train.write_text(json.dumps([{'id': '1'}]))
        case 'deep':
            train.write_text('[' * 100_000)
        case 'deep objects':
            train.write_text('{"a":' * 100_000 + '1' + '}' * 100_000)
        case 'huge number':
            train.write_text(f'[{{"id": {"9" * 5000}}}]')
        case 'splits':
            train.write_text('{"split": []}')
        case 'list as template':
            train.write_text('[{"id": "1", "template": []}]')
        case 'a pipe':
            train.unlink()
            os.mkfifo(train)
        case 'long':
            train.write_text(' ' * 2000 + '[]')
        case 'no videos':
            for file in raw.rglob('*.webm'):
                file.unlink()
        case 'other classes':
            for name in ('train', 'validation'):
                write_list(raw, name, ['1'], ['Doing [nothing]'])


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('no list', 'has none of something-something-v2-train.json'),
        ('no json', 'is not JSON'),
        ('no list of objects', 'must be a list of objects'),
        ('path as id', r"the id '\.\./\.\./1'"),
        ('no template', 'no "template"'),
        ('deep', 'nested too deeply'),
        ('deep objects', 'nested too deeply'),
        ('huge number', 'is not JSON'),
        ('splits', 'must be a list of objects'),
        ('list as template', 'no "template"'),
        ('a pipe', 'has none of something-something-v2-train.json'),
        ('long', 'more than the 1,000'),
        ('no videos', r'There are no videos in .*78687\.webm.*qualcomm\.com'),
        ('other classes', 'no video of the 41 classes'),
    ],
)
def test_files_of_another_form_are_rejected(tmp_path, monkeypatch, kind, message):
    write_data_set(tmp_path)
    break_files(tmp_path, kind)
    if kind == 'long':
        monkeypatch.setattr(something_something_files, 'MAX_LIST_BYTES', 1000)
    with pytest.raises(InputError, match=message):
        open_something_something(make_dataset(tmp_path), 'train')
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize(
    'labels',
    [
        [],
        {'a': '0'},
        {str(n): 'x' for n in range(174)},
        {str(n): '0' for n in range(174)},
        {str(n): float('inf') for n in range(174)},
        {str(n): [n] for n in range(174)},
        {str(n): n for n in range(1, 175)},
    ],
)
def test_labels_of_another_form_are_rejected(tmp_path, labels):
    write_data_set(tmp_path)
    (tmp_path / 'raw' / 'labels.json').write_text(json.dumps(labels))
    with pytest.raises(InputError, match='each of 174 classes its number'):
        list_videos(tmp_path / 'raw', 174)


@pytest.mark.parametrize('path', ['', 'missing', 300 * 'n'])
def test_no_folder_is_told_where_the_data_come_from(tmp_path, monkeypatch, path):
    write_data_set(tmp_path)
    monkeypatch.chdir(tmp_path / 'raw')  # an empty path is not the current folder
    with pytest.raises(
        InputError,
        match=r'(not a folder|not given).*Qualcomm.*19\.4 GB.*--config\.dataset\.path=.*quickstart',
    ):
        open_something_something(make_dataset(tmp_path, path=path), 'train')


def test_clips_that_are_all_too_short_are_rejected(tmp_path):
    write_data_set(tmp_path)
    with pytest.raises(InputError, match=r'no clips of more than .*output_frames=24'):
        open_something_something(make_dataset(tmp_path, output_frames=24), 'train')
