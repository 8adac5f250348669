"""KTH from archives, AVI files and folders of pictures, by the persons and rules of the papers."""

import http.server
import io
import pickle
import re
import threading
import zipfile

import numpy as np
import pytest
from clip_fixtures import write_kth, write_video
from PIL import Image

from e3d.data.sources import kth, kth_files
from e3d.data.sources.clip_records import Clip
from e3d.data.sources.kth import open_kth, sequence_starts
from e3d.data.sources.kth_windows import stretches_of
from e3d.data.sources.registry import validates_on_test
from e3d.errors import InputError

LENGTH = 24


def make_dataset(tmp_path, **changes):
    return {
        'path': str(tmp_path / 'kth'),
        'data_dir': str(tmp_path / 'data'),
        'input_frames': 3,
        'output_frames': 2,
        'frame_size': (8, 8),
        'split': 'prediction',
        'validation_persons': (),
        'windows': 'e3d',
        **changes,
    }


def counting_frames(length=LENGTH):
    """Frames that tell their number, 1, 2, ..., by their gray: uint8 [T, 16, 16, 3]."""
    numbers = 10 * np.arange(1, length + 1, dtype=np.uint8)
    return np.broadcast_to(numbers[:, None, None, None], (length, 16, 16, 3)).copy()


def numbers_in(frames):
    return np.rint(frames[:, 4, 4, 0] / 10).astype(int).tolist()


def sequences(source):
    return [numbers_in(source[index]['frames']) for index in range(len(source))]


def write_clips(tmp_path, *names, length=LENGTH):
    folder = tmp_path / 'kth'
    folder.mkdir(exist_ok=True)
    for name in names:
        write_kth(folder / f'{name}_uncomp.avi', counting_frames(length))
    return folder


def write_ranges(tmp_path, **ranges):
    lines = [f'{name}\t\tframes\t{text}' for name, text in ranges.items()]
    head = 'Training:   person11, 12\n\nthe frames of each sequence\n\n'
    (tmp_path / 'kth' / '00sequences.txt').write_text(head + '\r\n'.join(lines) + '\r\n')


def test_the_e3d_rule_goes_backwards_and_never_across_a_gap(tmp_path):
    write_clips(tmp_path, 'person01_boxing_d1', 'person01_jogging_d1')
    ranges = '1-7, 8-12,  15-18, 19-24'  # ranges that touch each other are one
    write_ranges(tmp_path, person01_boxing_d1=ranges, person01_jogging_d1=ranges)
    starts = [numbers[0] for numbers in sequences(open_kth(make_dataset(tmp_path), 'train', 0))]
    assert starts == [3, 8, 15, 20, 2, 5, 8, 17, 20]
    for numbers in sequences(open_kth(make_dataset(tmp_path), 'train', 0)):
        assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_the_mcnet_rule_goes_forwards_within_each_range(tmp_path):
    write_clips(tmp_path, 'person17_boxing_d1', 'person17_running_d1')
    write_ranges(tmp_path, person17_boxing_d1='1-12, 13-24', person17_running_d1='1-12, 13-24')
    source = open_kth(make_dataset(tmp_path, windows='mcnet'), 'test', 0)
    assert [numbers[0] for numbers in sequences(source)] == [2, 4, 6, 14, 16, 18, 2, 5, 14, 17]


def test_the_mcnet_rule_draws_training_sequences(tmp_path):
    folder = write_clips(tmp_path, 'person01_boxing_d1')
    left = counting_frames()
    left[:, :, 8:] = 0
    write_kth(folder / 'person01_boxing_d1_uncomp.avi', left)
    write_ranges(tmp_path, person01_boxing_d1='1-10, 11-24')
    dataset = make_dataset(tmp_path, windows='mcnet')
    source, other = (open_kth(dataset, 'train', seed) for seed in (0, 1))
    assert len(source) >= 2**31
    drawn = [source[index]['frames'] for index in range(200)]
    starts = {round(int(frames[0].max()) / 10) for frames in drawn}
    assert starts == {*range(1, 7), *range(11, 21)}
    mirrored = [frames[-1, 4, 7, 0] > frames[-1, 4, 0, 0] for frames in drawn]
    assert 60 < sum(mirrored) < 140
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[7]['frames'], drawn[7])
    assert any((other[i]['frames'] != frames).any() for i, frames in enumerate(drawn[:9]))


def test_counts_of_both_rules_are_those_of_the_sequences(tmp_path):
    write_clips(tmp_path, 'person01_boxing_d1', 'person17_running_d1')
    write_ranges(tmp_path, person01_boxing_d1='1-12, 13-24', person17_running_d1='1-12, 13-24')
    dataset = make_dataset(tmp_path)
    counts = kth.count_sequences(dataset)
    assert counts == {
        'e3d': {'train': 4, 'validation': 0, 'test': 7},
        'mcnet': {'train': 2, 'validation': 0, 'test': 4},
    }
    assert len(open_kth(dataset, 'train', 0)) == 4
    assert len(open_kth(dataset | {'windows': 'mcnet'}, 'test', 0)) == 4


@pytest.mark.parametrize(
    ('changes', 'train', 'validation', 'test'),
    [
        ({}, {1, 11, 16}, {17, 22}, {17, 22}),
        ({'validation_persons': (16, 1)}, {11}, {1, 16}, {17, 22}),
        ({'split': 'recognition'}, {11, 16, 17}, {1}, {22}),
    ],
)
def test_splits_have_their_persons(tmp_path, changes, train, validation, test):
    folder = tmp_path / 'kth'
    folder.mkdir()
    persons = (1, 11, 16, 17, 22)
    for person in persons:
        frames = np.full((5, 16, 16, 3), 10 * persons.index(person), np.uint8)
        write_kth(folder / f'person{person:02d}_walking_d1_uncomp.avi', frames)
    dataset = make_dataset(tmp_path, **changes)
    for split, expected in (('train', train), ('validation', validation), ('test', test)):
        source = open_kth(dataset, split, 0)
        assert {persons[numbers[0]] for numbers in sequences(source)} == expected
        shared = split == 'validation' and validation == test
        assert (validates_on_test(source) and split != 'test') == shared


def test_a_few_clips_are_divided_by_their_ranges(tmp_path):
    write_clips(tmp_path, 'person01_boxing_d1')
    dataset = make_dataset(tmp_path, split='ranges')
    with pytest.raises(InputError, match=r'needs 00sequences\.txt'):
        open_kth(dataset, 'train', 0)
    write_ranges(tmp_path, person01_boxing_d1='1-6, 7-12, 13-24')
    train, validation, test = (
        [numbers[0] for numbers in sequences(open_kth(dataset, split, 0))]
        for split in ('train', 'validation', 'test')
    )
    assert (train, validation, test) == ([3, 8], [15, 20], [15, 20])


@pytest.mark.parametrize('windows', kth.RULES)
@pytest.mark.parametrize(
    ('ranges', 'trained', 'overlapping'),
    [
        ('1-12, 9-24', range(1, 9), True),
        ('1-9, 9-24', range(1, 9), True),
        ('1-7, 10-13, 9-24', range(1, 8), True),  # one within the last
        ('1-20, 3-8', [1, 2, *range(9, 21)], True),  # one around it
        ('1-8, 18-24, 9-17', [*range(1, 9), *range(18, 25)], False),  # one behind it
    ],
)
def test_frames_of_the_last_range_are_not_trained_on(
    tmp_path, windows, ranges, trained, overlapping
):
    write_clips(tmp_path, 'person01_jogging_d1')
    write_ranges(tmp_path, person01_jogging_d1=ranges)
    lengths = {'input_frames': 1, 'output_frames': 1}
    dataset = make_dataset(tmp_path, split='ranges', windows=windows, **lengths)
    train, test = (open_kth(dataset, split, 0) for split in ('train', 'test'))
    drawn = [train[index] for index in range(min(len(train), 300))]
    seen = {number for one in drawn for number in numbers_in(one['frames'])}
    if windows == 'mcnet':
        assert seen == set(trained)
    else:  # from the end of a range on, by steps of 3
        assert seen <= set(trained) and {trained[0], trained[-1]} & seen
    assert seen.isdisjoint(number for numbers in sequences(test) for number in numbers)
    said = 'another range shares frames with the last one: 1; ' in '\n'.join(train.account)
    assert said == overlapping


def write_pictures(folder, numbers):
    folder.mkdir(parents=True)
    for number in numbers:
        Image.new('L', (16, 16), 10 * number).save(folder / f'image_{number:04d}.jpg')


def test_folders_of_pictures_keep_the_numbers_of_their_frames(tmp_path):
    path = tmp_path / 'kth' / 'boxing'
    write_pictures(path / 'person01_boxing_d1_uncomp', [*range(2, 8), *range(10, 16)])
    write_pictures(path / 'person02_boxing_d1', range(1, 11))
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert [numbers[0] for numbers in sequences(source)] == [3, 11, 1, 6]
    write_ranges(tmp_path, person01_boxing_d1='1-9', person02_boxing_d1='1-6')
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert [numbers[0] for numbers in sequences(source)] == [3, 2]


def test_pictures_may_come_in_steps_and_those_missing_end_a_stretch(tmp_path):
    path = tmp_path / 'kth' / 'person01_boxing_d1'
    write_pictures(path, [1, 3, 5, 7, 9, 13, 15, 17, 19, 21])  # 11 is missing
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert sequences(source) == [[1, 3, 5, 7, 9], [13, 15, 17, 19, 21]]
    assert 'numbers in their names, in steps of 2; 1 gap' in '\n'.join(source.account)


def archive_clips(tmp_path, name='boxing.zip', members=('person01_boxing_d1_uncomp.avi',)):
    """Puts clips into an archive that lies where they were."""
    folder = write_clips(tmp_path)
    content = write_kth(tmp_path / 'clip.avi', counting_frames()).read_bytes()
    with zipfile.ZipFile(folder / name, 'w', zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, content)
    return folder / name


def test_archives_are_read_where_they_lie(tmp_path):
    archive_clips(tmp_path)
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert [numbers[0] for numbers in sequences(source)] == [5, 10, 15, 20]
    assert sorted(path.name for path in (tmp_path / 'kth').iterdir()) == ['boxing.zip']


@pytest.mark.parametrize(
    'member',
    [
        '../person01_boxing_d1_uncomp.avi',
        '/person01_boxing_d1_uncomp.avi',
        'a/../../person01_boxing_d1_uncomp.avi',
        '..\\person01_boxing_d1_uncomp.avi',
        'C:\\person01_boxing_d1_uncomp.avi',
    ],
)
def test_archives_that_lead_out_of_themselves_are_rejected(tmp_path, member):
    archive_clips(tmp_path, members=[member])
    with pytest.raises(InputError, match='leads out of the archive'):
        open_kth(make_dataset(tmp_path), 'train', 0)
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['boxing.zip', 'clip.avi', 'kth']


def test_zip_bombs_are_rejected(tmp_path, monkeypatch):
    folder = write_clips(tmp_path)
    with zipfile.ZipFile(folder / 'boxing.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('person01_boxing_d1_uncomp.avi', bytes(10**6))
    assert (folder / 'boxing.zip').stat().st_size < 2000
    monkeypatch.setattr(kth_files, 'MAX_CLIP_BYTES', 10**5)
    with pytest.raises(InputError, match='unpacks to 1,000,000 bytes'):
        open_kth(make_dataset(tmp_path), 'train', 0)


def test_damaged_archives_are_rejected_and_damaged_members_named(tmp_path):
    members = [f'person0{n}_boxing_d1_uncomp.avi' for n in (1, 2)]
    path = archive_clips(tmp_path, members=members)
    content = bytearray(path.read_bytes())
    content[300] ^= 255  # within the first clip
    path.write_bytes(content)
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert len(source) == 4
    (left_out,) = source.left_out
    assert left_out.damaged and 'person01_boxing_d1_uncomp.avi is damaged' in left_out.reason
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r'cannot be read: .* a whole zip archive'):
        open_kth(make_dataset(tmp_path), 'train', 0)


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_whose_sizes_hold_for_no_one_are_rejected(tmp_path, method):
    folder = write_clips(tmp_path)
    with zipfile.ZipFile(folder / 'boxing.zip', 'w', method) as archive:
        archive.writestr('person01_boxing_d1_uncomp.avi', bytes(10**6))
    with pytest.raises(InputError, match=r'compressed by the method .* stored and deflated'):
        open_kth(make_dataset(tmp_path), 'train', 0)


def test_ranges_are_read_as_they_stand(tmp_path):
    folder = write_clips(tmp_path)
    lines = [
        'Training:   person11, 12',
        'person01_boxing_d1\t\tframes\t1-95, 96-185,  180 - 360\r',
        'person13_handclapping_d3 \t\t*missing*  ',
        'person02_boxing_d1 frames 1-9' + 100_000 * ' ',
    ]
    (folder / '00sequences.txt').write_text('\n'.join(lines), 'latin-1')
    assert kth_files.read_ranges(folder / '00sequences.txt') == {
        'person01_boxing_d1': [(1, 95), (96, 185), (180, 360)],
        'person13_handclapping_d3': None,
        'person02_boxing_d1': [(1, 9)],
    }


@pytest.mark.parametrize(
    'text',
    [
        'frames 1-' + 5000 * '9',
        'frames ' + 100_000 * ' ' + 'x',
        'frames 1-9,' + 100_000 * ' ',
        'frames 9-1',
        'frames 0-9',
        'frames',
        '',
        '1-9',
        'frames 1-9\nperson01_boxing_d1 frames 10-12',
    ],
)
def test_ranges_of_another_form_are_rejected(tmp_path, text):
    folder = write_clips(tmp_path)
    (folder / '00sequences.txt').write_text(f'person01_boxing_d1 {text}')
    with pytest.raises(InputError, match=r"has the line 'person01_boxing_d1 .*must be like"):
        kth_files.read_ranges(folder / '00sequences.txt')


@pytest.mark.parametrize(
    'name',
    [
        'person01_boxing_d1.mp4',
        'Person01_Boxing_D1_uncomp.AVI',
        'person01 boxing d1.mkv',
        'person1-boxing-d1 uncomp.mov',
        'deep/er/person01_boxing_d1_uncomp.avi',
    ],
)
def test_clips_of_other_forms_and_spellings_are_found(tmp_path, name):
    path = tmp_path / 'kth' / name
    path.parent.mkdir(parents=True)
    write_video(path, counting_frames(), 'mpeg4', 25)
    write_ranges(tmp_path, person01_boxing_d1='1-10')
    (tmp_path / 'kth' / '00sequences.txt').rename(tmp_path / 'kth' / '00Sequences (1).TXT')
    starts = [numbers[0] for numbers in sequences(open_kth(make_dataset(tmp_path), 'train', 0))]
    assert starts == [1, 6]


def test_ranges_that_are_longer_than_their_clips_are_said(tmp_path):
    write_clips(tmp_path, 'person01_boxing_d1', 'person02_boxing_d1')
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert source.account[:2] == (
        '2 clips: 25 frames/s; RGB made gray; 16 x 16 pixels resized to 8 x 8',
        'all frames are used, as there is no 00sequences.txt',
    )
    write_ranges(tmp_path, person01_boxing_d1='1-24', person02_boxing_d1='1-12, 13-25')
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert source.account[1].startswith('1 clips end before the last frame that 00sequences.txt')
    assert 'person02_boxing_d1' in source.account[1]
    write_ranges(tmp_path, person01_boxing_d1='1-24', person02_boxing_d1='1-12, 13-24')
    assert 'divided by persons' in open_kth(make_dataset(tmp_path), 'train', 0).account[1]


def test_linked_folders_are_followed(tmp_path):
    write_clips(tmp_path, 'person01_boxing_d1')
    (tmp_path / 'kth').rename(tmp_path / 'elsewhere')
    (tmp_path / 'kth').mkdir()
    (tmp_path / 'kth' / 'linked').symlink_to('../elsewhere')
    (tmp_path / 'elsewhere' / 'back').symlink_to('../kth')
    assert len(open_kth(make_dataset(tmp_path), 'train', 0)) == 4


def test_of_two_forms_of_a_clip_one_counts_and_is_told(tmp_path):
    folder = write_clips(tmp_path, 'person01_boxing_d1')
    write_video(folder / 'person01_boxing_d1.mp4', counting_frames(), 'libx264', 25)
    (folder / 'notes.zip').write_bytes(b'no archive')
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert len(source) == 4
    assert {(one.name, one.damaged) for one in source.left_out} == {
        ('notes.zip', True),
        ('person01_boxing_d1_uncomp.avi', False),
    }


def test_a_repaired_clip_is_read_at_the_next_start(tmp_path):
    folder = write_clips(tmp_path, 'person01_boxing_d1', 'person02_boxing_d1')
    path = folder / 'person02_boxing_d1_uncomp.avi'
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))  # of the same size
    assert len(open_kth(make_dataset(tmp_path), 'train', 0)) == 4
    path.write_bytes(whole)
    source = open_kth(make_dataset(tmp_path), 'train', 0)
    assert len(source) == 8 and not source.left_out


def test_a_repaired_picture_is_read_at_the_next_start(tmp_path):
    folder = tmp_path / 'kth' / 'person01_boxing_d1'
    write_pictures(folder, range(1, 7))
    path = sorted(folder.iterdir())[2]
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(InputError, match='None of the 1 clips'):
        open_kth(make_dataset(tmp_path), 'train', 0)
    path.write_bytes(whole)
    assert len(open_kth(make_dataset(tmp_path), 'train', 0)) == 1


def test_a_damaged_clip_is_named_rather_than_those_that_are_not_there(tmp_path):
    folder = write_clips(tmp_path)
    (folder / 'person02_boxing_d1_uncomp.avi').write_text('no video')
    write_ranges(tmp_path, person01_boxing_d1='1-24', person02_boxing_d1='1-24')
    with pytest.raises(InputError, match=r'None of the 2 .*person02_boxing_d1_uncomp\.avi'):
        open_kth(make_dataset(tmp_path), 'train', 0)


def test_truncated_missing_and_foreign_clips_are_named_and_left_out(tmp_path):
    names = [f'person0{n}_boxing_d1' for n in (1, 2, 3)]
    folder = write_clips(tmp_path, *names)
    path = folder / 'person02_boxing_d1_uncomp.avi'
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    (folder / 'person03_boxing_d1_uncomp.avi').write_text('no video')
    write_ranges(tmp_path, **dict.fromkeys([*names, 'person04_boxing_d1'], '1-24'))
    with (folder / '00sequences.txt').open('a') as file:
        file.write('person13_handclapping_d3\t*missing*\n')
    dataset = make_dataset(tmp_path)
    assert len(open_kth(dataset, 'train', 0)) == 4
    source = open_kth(dataset, 'train', 0)
    reasons = {one.name: one.reason for one in source.left_out}
    assert [one.damaged for one in sorted(source.left_out)] == [True, True, False, False]
    expected = {
        'person02_boxing_d1': 'is (truncated|damaged)',
        'person03_boxing_d1': 'not a whole video',
        'person04_boxing_d1': 'named in the list but not there',
        'person13_handclapping_d3': 'lacking in the data set itself',
    }
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert re.search(reason, reasons[name])


def test_sequences_that_are_no_sequences_are_rejected(tmp_path):
    write_clips(tmp_path, 'person01_boxing_d1')
    (tmp_path / 'kth' / '00sequences.txt').write_text('boxing 1 to 20\n')
    with pytest.raises(InputError, match='has no line like'):
        open_kth(make_dataset(tmp_path), 'train', 0)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'path': 'missing'}, "'missing', which is not a folder"),
        ({'output_frames': 90}, "no sequences of 93 frames.*'ranges'"),
        ({'validation_persons': (20,)}, r'validation_persons=\(20,\)'),
    ],
)
def test_impossible_values_are_rejected(tmp_path, changes, message):
    write_clips(tmp_path, 'person01_boxing_d1')
    with pytest.raises(InputError, match=message):
        open_kth(make_dataset(tmp_path, **changes), 'train', 0)


def test_a_folder_without_clips_is_rejected(tmp_path):
    write_clips(tmp_path)
    with pytest.raises(InputError, match='no clips of KTH'):
        open_kth(make_dataset(tmp_path), 'train', 0)


def serve(monkeypatch, files):
    """Answers for the official server with some files; returns what was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path[1:])
            content = files.get(self.path[1:])
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(kth_files, 'URL', f'http://127.0.0.1:{server.server_port}/')
    monkeypatch.setattr(kth_files, 'ARCHIVES', dict.fromkeys(kth_files.ARCHIVES, ''))
    return asked


def test_the_official_archives_are_fetched_once(tmp_path, monkeypatch):
    content = write_kth(tmp_path / 'clip.avi', counting_frames()).read_bytes()
    files = {'00sequences.txt': b'person01_boxing_d1\tframes\t1-12\n'}
    for action in kth_files.ACTIONS:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, 'w') as archive:
            archive.writestr(f'person01_{action}_d1_uncomp.avi', content)
        files[f'{action}.zip'] = buffer.getvalue()
    cut = files.pop('running.zip')
    asked = serve(monkeypatch, files)
    dataset = make_dataset(tmp_path, path='')
    with pytest.raises(InputError, match=r'running\.zip could not.*404.*by hand.*quickstart'):
        open_kth(dataset, 'train', 0)
    files['running.zip'] = cut
    source = open_kth(dataset, 'train', 0)
    assert [numbers[0] for numbers in sequences(source)] == [3, 8]  # others have no range
    assert sorted(asked) == sorted([*kth_files.ARCHIVES, '00sequences.txt', 'running.zip'])
    for file in (tmp_path / 'data' / 'downloads' / 'kth').iterdir():
        file.unlink()  # what is prepared needs them no more
    assert len(open_kth(dataset, 'train', 0)) == 2
    assert len(asked) == 8


def test_clips_shorter_than_their_ranges_are_used_as_far_as_they_go():
    clip = Clip('person01_boxing_d1', 5, 8, {'numbers': None, 'gaps': [], 'ranges': [[1, 20]]})
    assert sequence_starts([clip], 'e3d', 2, 2).tolist() == [[5, 0], [5, 4]]


def test_pictures_that_count_from_0_are_numbered_as_the_ranges():
    def of(numbers, name='person01_boxing_d1'):
        return Clip(name, 5, len(numbers), {'numbers': numbers, 'gaps': [], 'ranges': [[3, 6]]})

    first, second = of([*range(8)]), of([*range(2, 8)], 'person02_boxing_d1')
    shown = stretches_of([first, second], joined=False)
    assert [(stretch.first, stretch.length) for stretch in shown] == [(2, 4), (0, 4)]
    (stretch,) = stretches_of([second], joined=False)  # nothing tells that these count from 0
    assert (stretch.first, stretch.length) == (1, 4)
