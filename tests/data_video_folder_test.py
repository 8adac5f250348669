"""A folder of anyone's clips becomes training, validation and test sequences."""

import pathlib
import pickle
import shutil

import numpy as np
import pytest
from clip_fixtures import moving_square, write_video
from picture_fixtures import write_grays
from PIL import Image

from e3d.data.sources import video_folder
from e3d.data.sources.splits import SPLITS
from e3d.data.sources.video_folder import open_video_folder
from e3d.data.sources.video_folder_files import find_clips
from e3d.data.sources.video_folder_splits import divide_clips
from e3d.errors import InputError
from e3d.runs.reporting import METRICS_FILE
from e3d.runs.workdir import CONFIG_FILE
from e3d.tasks.evaluator import SAMPLES_FOLDER

FRACTIONS = (0.6, 0.2, 0.2)


def make_dataset(tmp_path, **changes):
    return {
        'path': str(tmp_path / 'clips'),
        'data_dir': str(tmp_path / 'data'),
        'input_frames': 3,
        'output_frames': 2,
        'frame_size': (8, 8),
        'channels': 1,
        'fit': 'stretch',
        'frame_rate': None,
        'train_stride': 2,
        'test_stride': 5,
        'split_fractions': FRACTIONS,
        **changes,
    }


def write_arrays(tmp_path, names, frames=11):
    """Arrays whose pixels all tell which array it is."""
    for number, name in enumerate(names):
        path = tmp_path / 'clips' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((frames, 8, 8, 1), number, np.uint8))


def clips_in(source):
    return {int(source[index]['frames'].max()) for index in range(len(source))}


def test_every_kind_of_clip_is_found_and_read(tmp_path):
    folder = tmp_path / 'clips'
    (folder / 'deep' / 'pictures').mkdir(parents=True)
    (folder / '.hidden').mkdir()
    (folder / 'notes.txt').write_text('no clip')
    clips = (moving_square() + np.uint8(number) for number in range(7))  # which all differ
    for name, codec in (('a.mp4', 'libx264'), ('b.AVI', 'mpeg4'), ('deep/c.webm', 'libvpx-vp9')):
        write_video(folder / name, next(clips), codec, 10)
    np.save(folder / 'd.npy', next(clips))
    np.save(folder / '.hidden' / 'd.npy', moving_square())
    np.savez(folder / 'e.npz', next(clips) / np.float32(255))
    first, *others = [Image.fromarray(frame) for frame in next(clips)]
    first.save(folder / 'f.gif', save_all=True, append_images=others)
    for index, frame in enumerate(next(clips)):
        Image.fromarray(frame).save(folder / 'deep' / 'pictures' / f'{index}.png')
    expected = ['a.mp4', 'b.AVI', 'd.npy', 'deep/c.webm', 'deep/pictures', 'e.npz', 'f.gif']
    assert sorted(find_clips(str(folder))[0]) == expected
    dataset = make_dataset(tmp_path, frame_size=(32, 48), channels=3, split_fractions=(0.5, 0, 0.5))
    for split in ('train', 'test'):
        source = open_video_folder(dataset, split)
        for index in range(len(source)):
            frames = source[index]['frames']
            # The floats of e.npz keep their depth, so that all come as floats.
            assert (frames.shape, frames.dtype) == ((5, 32, 48, 3), np.float32)
            edges = (frames[:, 14, :, 0] > 0.49).argmax(axis=1)
            np.testing.assert_array_equal(np.diff(edges), 1)


def test_files_are_divided_and_never_cut(tmp_path):
    write_arrays(tmp_path, [f'{n}.npy' for n in range(10)])
    parts = {split: open_video_folder(make_dataset(tmp_path), split) for split in SPLITS}
    # Of 11 frames: sequences of 5 from 0, 2, 4, 6 and from 0, 5.
    assert {split: len(source) for split, source in parts.items()} == {
        'train': 6 * 4,
        'validation': 2 * 2,
        'test': 2 * 2,
    }
    clips = [clips_in(source) for source in parts.values()]
    assert set.union(*clips) == set(range(10)) and sum(map(len, clips)) == 10


def test_the_division_depends_on_the_names_alone(tmp_path):
    names = [f'clip {n}' for n in range(50)]
    groups = divide_clips(names, FRACTIONS).clips
    assert [len(groups[split]) for split in SPLITS] == [30, 10, 10]
    assert groups == divide_clips(names[::-1], FRACTIONS).clips
    assert groups['train'] != sorted(groups['train'])


def test_folders_are_splits(tmp_path):
    names = ['train/0.npy', 'train/deep/1.npy', 'test/2.npy', 'val/3.npy']
    write_arrays(tmp_path, names)
    dataset = make_dataset(tmp_path)
    clips = [clips_in(open_video_folder(dataset, split)) for split in SPLITS]
    assert clips == [{0, 1}, {3}, {2}]


def test_validation_is_taken_from_training_or_is_the_test(tmp_path):
    write_arrays(tmp_path, [f'train/{n}.npy' for n in range(8)] + ['test/8.npy'])
    train, validation, test = (
        clips_in(open_video_folder(make_dataset(tmp_path), split)) for split in SPLITS
    )
    assert test == {8} and train | validation == set(range(8)) and not train & validation
    dataset = make_dataset(tmp_path, split_fractions=(0.8, 0.0, 0.2))
    train, validation, test = (clips_in(open_video_folder(dataset, split)) for split in SPLITS)
    assert (train, validation, test) == (set(range(8)), {8}, {8})


def test_records_are_written_once_and_anew_for_other_files_or_settings(tmp_path, monkeypatch):
    write_arrays(tmp_path, [f'{n}.npy' for n in range(3)])
    dataset = make_dataset(tmp_path)
    first = open_video_folder(dataset, 'train')
    with monkeypatch.context() as patch:
        patch.setattr(video_folder, 'clip_frames', lambda *_: pytest.fail('read again'))
        other_lengths = dataset | {'input_frames': 2, 'train_stride': 1}
        assert open_video_folder(other_lengths, 'train').folder == first.folder
    others = [{'frame_size': (4, 8)}, {'channels': 3}, {'fit': 'crop'}, {'frame_rate': 5.0}]
    folders = [open_video_folder(dataset | other, 'train').folder for other in others]
    write_arrays(tmp_path, ['3.npy'])
    folders.append(open_video_folder(dataset, 'train').folder)
    assert len({first.folder, *folders}) == 6


def test_clips_come_at_the_rate_that_is_asked_for(tmp_path):
    (tmp_path / 'clips').mkdir()
    for number, name in enumerate(('a', 'b')):
        clip = moving_square(30) + np.uint8(number)
        write_video(tmp_path / 'clips' / f'{name}.mp4', clip, 'libx264', 30)
    dataset = make_dataset(
        tmp_path, frame_size=(32, 48), frame_rate=10.0, split_fractions=(0.5, 0, 0.5)
    )
    frames = open_video_folder(dataset, 'test')[1]['frames']
    edges = (frames[:, 14, :, 0] > 125).argmax(axis=1)
    assert edges.tolist() == [15, 18, 21, 24, 27]


def test_broken_clips_are_named_and_left_out(tmp_path):
    write_arrays(tmp_path, [f'{n}.npy' for n in range(5)])
    (tmp_path / 'clips' / 'text.mp4').write_text('no video')
    (left_out,) = open_video_folder(make_dataset(tmp_path), 'train').left_out
    assert left_out.name == 'text.mp4' and left_out.damaged
    assert 'text.mp4 is not a whole video file' in left_out.reason


def test_a_repaired_clip_leaves_all_others_where_they_are(tmp_path):
    names = [f'{n}.npy' for n in range(10)]
    write_arrays(tmp_path, names)
    dataset = make_dataset(tmp_path)
    before = [clips_in(open_video_folder(dataset, split)) for split in SPLITS]
    for number in range(10):
        path = tmp_path / 'clips' / f'{number}.npy'
        whole = path.read_bytes()
        path.write_bytes(bytes(len(whole)))
        after = [clips_in(open_video_folder(dataset, split)) for split in SPLITS]
        for first, second in zip(before, after, strict=True):
            assert second == first - {number}
        path.write_bytes(whole)
    source = open_video_folder(dataset, 'train')
    assert [clips_in(open_video_folder(dataset, split)) for split in SPLITS] == before
    assert not source.left_out


def test_a_split_whose_clips_are_all_damaged_is_named_with_the_cause(tmp_path):
    write_arrays(tmp_path, ['train/0.npy', 'train/1.npy', 'val/2.npy', 'test/3.npy'])
    (tmp_path / 'clips' / 'test' / '3.npy').write_bytes(b'damaged')
    dataset = make_dataset(tmp_path)
    with pytest.raises(InputError, match=r"'test' .* no clip that can be read.*test/3\.npy"):
        open_video_folder(dataset, 'test')
    assert clips_in(open_video_folder(dataset, 'validation')) == {2}


def test_a_split_of_nothing_but_copies_is_named_with_the_cause(tmp_path):
    write_arrays(tmp_path, ['train/0.npy', 'test/1.npy'])
    shutil.copy(tmp_path / 'clips' / 'test' / '1.npy', tmp_path / 'clips' / 'train' / '0.npy')
    dataset = make_dataset(tmp_path, split_fractions=(0.8, 0.0, 0.2))
    with pytest.raises(
        InputError, match=r"'train' .* no clips.* 1 clips were left out, as .*copies"
    ):
        open_video_folder(dataset, 'train')


def test_one_too_short_clip_blocks_no_split_and_is_named(tmp_path):
    names = [f'{n}.npy' for n in range(6)]
    write_arrays(tmp_path, names)
    for number in range(6):
        write_arrays(tmp_path, names)
        short = np.full((3, 8, 8, 1), number, np.uint8)
        np.save(tmp_path / 'clips' / f'{number}.npy', short)
        sources = [open_video_folder(make_dataset(tmp_path), split) for split in SPLITS]
        clips = [clips_in(source) for source in sources]
        assert set.union(*clips) == set(range(6)) - {number} and sum(map(len, clips)) == 5
        (left_out,) = sources[0].left_out
        assert (left_out.name, left_out.reason) == (f'{number}.npy', 'of fewer than 5 frames')


def test_a_stray_picture_blocks_nothing_and_is_told(tmp_path):
    write_arrays(tmp_path, ['train/0.npy', 'train/1.npy', 'test/2.npy'])
    Image.new('L', (9, 9)).save(tmp_path / 'clips' / 'logo.png')
    source = open_video_folder(make_dataset(tmp_path), 'train')
    (left_out,) = source.left_out
    assert (left_out.name, left_out.reason) == ('a picture in the folder itself', 'of one frame')


def test_floats_of_low_contrast_keep_their_levels(tmp_path):
    (tmp_path / 'clips').mkdir()
    fields = 0.5 + 0.01 * np.random.default_rng(0).random((3, 6, 8, 8, 1), np.float32)
    for number, field in enumerate(fields):
        np.save(tmp_path / 'clips' / f'{number}.npy', field)
    sources = [open_video_folder(make_dataset(tmp_path), split) for split in SPLITS]
    read = [source[0]['frames'] for source in sources]
    for frames in read:
        assert frames.dtype == np.float32
        assert any(np.array_equal(frames, field[:5]) for field in fields)
    assert 'values: float32, as some clips have more than 8 bits' in sources[0].account


def test_sources_can_be_pickled(tmp_path):
    write_arrays(tmp_path, [f'{n}.npy' for n in range(3)])
    source = open_video_folder(make_dataset(tmp_path), 'train')
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[1]['frames'], source[1]['frames'])


@pytest.mark.parametrize(
    ('names', 'changes', 'message'),
    [
        ([], {'path': ''}, 'dataset.path is not given'),
        ([], {'path': 'missing'}, "'missing', which is not a folder"),
        (['0.txt.npy'], {}, '1 different clip cannot be divided into 3 splits'),
        (['train/0.npy', 'train/1.npy'], {}, "no clip in a folder for testing .* beside 'train'"),
        (['Test/0.npy', 'x/1.npy'], {}, "no clip in a folder 'train' beside 'Test'"),
        (['0.npy', '1.npy', '2.npy'], {'output_frames': 9}, 'has 11 frames.* is 12'),
        (['0.npy', '1.npy', '2.npy'], {'channels': 2}, 'None of the 3 clips.*1 channels'),
    ],
)
def test_folders_that_cannot_be_used_are_rejected(tmp_path, names, changes, message):
    write_arrays(tmp_path, names)
    with pytest.raises(InputError, match=message):
        open_video_folder(make_dataset(tmp_path, **changes), 'train')


@pytest.mark.parametrize('workdir', ['', 'runs/some'])
def test_pictures_of_a_run_in_the_folder_are_no_clips(tmp_path, workdir):
    write_arrays(tmp_path, ['a.npy', 'b/c.npy'])
    before, _ = find_clips(str(tmp_path / 'clips'))
    folder = tmp_path / 'clips' / workdir
    for name in (
        CONFIG_FILE,
        METRICS_FILE,
        'evaluation.png',
        f'{SAMPLES_FOLDER}/step_1_sample_0.png',
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'')
    (folder / SAMPLES_FOLDER / 'step_1_sample_0.gif').write_bytes(b'')
    after, left_out = find_clips(str(tmp_path / 'clips'))
    assert after == before
    assert sorted(pathlib.PurePath(one.name).name for one in left_out) == [
        'evaluation.png',
        SAMPLES_FOLDER,
    ]


def test_a_folder_without_clips_is_rejected(tmp_path):
    (tmp_path / 'clips').mkdir()
    (tmp_path / 'clips' / 'notes.txt').write_text('no clip')
    with pytest.raises(InputError, match=r'no clips in .*\.mp4.*\.npy'):
        open_video_folder(make_dataset(tmp_path), 'train')


def test_no_sequence_crosses_a_gap_in_the_numbers_of_pictures(tmp_path):
    numbers = [*range(10, 170, 10), *range(180, 250, 10)]  # 170 is missing
    write_grays(tmp_path / 'clips' / 'walk', {f'f_{n:03d}.png': n for n in numbers}, (8, 8))
    np.save(tmp_path / 'clips' / 'other.npy', np.full((9, 8, 8), 255, np.uint8))
    dataset = make_dataset(tmp_path, train_stride=1, split_fractions=(0.5, 0, 0.5))
    sequences = [
        source[index]['frames'][:, 0, 0, 0].tolist()
        for source in (open_video_folder(dataset, 'train'), open_video_folder(dataset, 'test'))
        for index in range(len(source))
    ]
    walks = [grays for grays in sequences if grays[0] < 255]
    assert walks and all(grays == list(range(grays[0], grays[-1] + 1, 10)) for grays in walks)
    with pytest.raises(
        InputError, match=r"'walk', has 16 frames between gaps.* is 17.*numbered so"
    ):
        open_video_folder(dataset | {'input_frames': 15}, 'train')
    account = open_video_folder(dataset, 'train').account
    assert any(
        'in steps of 10; 1 gap in them, which no sequence crosses' in line for line in account
    )


def test_a_picture_that_is_no_frame_is_named_and_blocks_nothing(tmp_path):
    for index, clip in enumerate(('a', 'b', 'c', 'd', 'e')):
        grays = {f'{n}.png': 9 * n + index for n in range(9)}
        write_grays(tmp_path / 'clips' / clip, grays, (8, 8))
    write_grays(tmp_path / 'clips' / 'b', {'cover.jpg': 9}, (99, 80))
    write_grays(tmp_path / 'clips' / 'c', {'5.png': 9}, (99, 80))
    source = open_video_folder(make_dataset(tmp_path), 'train')
    reasons = {one.name: one.reason for one in source.left_out}
    assert reasons.keys() == {'b/cover.jpg', 'c'}
    assert 'another form' in reasons['b/cover.jpg']
    assert '5.png has 80 x 99 pixels' in reasons['c']


def test_animated_pictures_are_clips_and_others_beside_them_frames(tmp_path):
    folder = tmp_path / 'clips'
    frames = [Image.new('L', (8, 8), 10 * n) for n in range(1, 6)]
    for name in ('a.gif', 'b.png', 'c.webp', 'd.tif'):
        (folder / name[0]).mkdir(parents=True)
        frames[0].save(folder / name[0] / name, save_all=True, append_images=frames[1:])
    write_grays(folder / 'e', {f'{n}.gif': 50 * n for n in range(1, 6)}, (8, 8))
    assert sorted(find_clips(str(folder))[0]) == ['a/a.gif', 'b/b.png', 'c/c.webp', 'd/d.tif', 'e']
