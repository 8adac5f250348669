"""What is made ready, and what the user is told of it."""

import os

import h5py
import ml_collections
import numpy as np
import pytest
from clip_fixtures import moving_square, write_kth

from e3d.data.preparation import prepare, summarize
from e3d.data.sources.registry import open_source
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError


def make_dataset(tmp_path, name, **changes):
    return ml_collections.ConfigDict(
        {
            'name': name,
            'path': str(tmp_path / 'raw'),
            'data_dir': str(tmp_path / 'data'),
            'input_frames': 3,
            'output_frames': 2,
            **changes,
        }
    )


def test_a_folder_of_clips_is_accounted_for(tmp_path):
    (tmp_path / 'raw').mkdir()
    for number in range(5):
        np.save(tmp_path / 'raw' / f'{number}.npy', np.full((11, 8, 8, 1), number, np.uint8))
    (tmp_path / 'raw' / 'text.mp4').write_text('no video')
    dataset = make_dataset(
        tmp_path,
        'video_folder',
        frame_size=(4, 6),
        channels=3,
        fit='stretch',
        frame_rate=None,
        train_stride=1,
        test_stride=5,
        split_fractions=(0.6, 0.2, 0.2),
    )
    account = prepare(dataset, 0)
    lines = account.splitlines()
    assert lines[0] == 'video_folder: 3 -> 2 frames of 4 x 6 x 3'
    counts = [line.split() for line in lines[1:4]]
    assert counts == [
        ['train', '21', 'sequences'],
        ['validation', '2', 'sequences'],
        ['test', '2', 'sequences'],
    ]
    assert 'divided by dataset.split_fractions=(0.6, 0.2, 0.2): whole clips' in account
    assert 'clips: train 3, validation 1, test 1' in account
    form = '1 channel; 255 is white; gray made RGB; 8 x 8 pixels resized to 4 x 6'
    assert '5 clips: uint8 [11, 8, 8, 1] read as THWC' in account and form in account
    assert 'left out as unreadable: 1' in account and 'text.mp4 is not a whole video' in account
    (kept,) = (tmp_path / 'data').rglob('preparation.txt')
    assert kept.read_text() == account + '\n'
    assert str(kept.parent) in account
    assert prepare(dataset, 0).splitlines()[:4] == lines[:4]


def test_kth_tells_the_sequences_of_both_rules(tmp_path):
    (tmp_path / 'raw').mkdir()
    for person in (1, 17):
        path = tmp_path / 'raw' / f'person{person:02d}_jogging_d1_uncomp.avi'
        write_kth(path, moving_square(24, 16, 16))
    (tmp_path / 'raw' / '00sequences.txt').write_text(
        'person01_jogging_d1\tframes\t1-12, 13-24\nperson17_jogging_d1\tframes\t1-12\n'
    )
    dataset = make_dataset(
        tmp_path,
        'kth',
        frame_size=(8, 8),
        split='prediction',
        validation_persons=(),
        windows='mcnet',
    )
    account = prepare(dataset, 0)
    assert 'train      a new sequence at every draw' in account
    assert 'e3d rule: train 7, validation 0, test 3' in account
    assert 'mcnet rule: train 2, validation 0, test 2' in account


def test_flows_tell_what_their_scale_means(tmp_path):
    (tmp_path / 'raw').mkdir()
    with h5py.File(tmp_path / 'raw' / 'NYC_M3x2_T360.h5', 'w') as file:
        file['data'] = np.arange(24.0).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
        file['date'] = np.array(
            [b'201501%02d%02d' % (d + 1, s + 1) for d in range(6) for s in range(4)]
        )
    dataset = make_dataset(
        tmp_path, 'taxibj', test_days=2, validation_days=0, slots_per_day=None, data_dir=''
    )
    account = prepare(dataset, 0)
    assert '0 and 1 stand for 0 and 15 in the unit of the data' in account
    assert 'nothing was written' in account


def test_what_cannot_be_used_is_rejected(tmp_path):
    with pytest.raises(InputError, match='not a folder'):
        prepare(make_dataset(tmp_path, 'kth', frame_size=(8, 8)), 0)


def test_the_start_of_a_training_is_told_the_same_in_short(tmp_path):
    (tmp_path / 'raw').mkdir()
    for number in range(5):
        np.save(tmp_path / 'raw' / f'{number}.npy', np.full((11, 8, 8, 1), number, np.uint8))
    np.save(tmp_path / 'raw' / 'copy.npy', np.full((11, 8, 8, 1), 3, np.uint8))
    (tmp_path / 'raw' / 'text.mp4').write_text('no video')
    name = os.fsdecode(b'caf\xe9.npy')
    np.save(tmp_path / 'raw' / 'x.npy', np.full((3, 8, 8, 1), 9, np.uint8))
    (tmp_path / 'raw' / 'x.npy').rename(tmp_path / 'raw' / name)
    dataset = make_dataset(
        tmp_path,
        'video_folder',
        frame_size=(8, 8),
        channels=1,
        fit='stretch',
        frame_rate=None,
        train_stride=1,
        test_stride=5,
        split_fractions=(0.8, 0.0, 0.2),
    )
    sources = {split: open_source(dataset, split) for split in SPLITS}
    lines = summarize(dataset, sources).splitlines()
    assert lines[:4] == [
        'video_folder: 3 -> 2 frames of 8 x 8 x 1',
        '  train      28 sequences',
        '  validation 2 sequences, those of the test split',
        '  test       2 sequences',
    ]
    assert lines[-3].startswith('  divided by dataset.split_fractions=(0.8, 0, 0.2)')
    assert lines[-2] == '  clips: train 4, validation those of the test, test 1'
    assert lines[-1] == (
        '  left out: 1 unreadable (text.mp4); 1 a copy of another clip; 1 of fewer than 5 frames; '
        '--mode=prepare tells more'
    )
    assert 'caf\\xe9.npy' in prepare(dataset, 0)  # which is no UTF-8


def test_stored_sequences_tell_how_they_were_read(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 200, (1, 20, 6, 6), np.uint8)
    time_first = pictures + np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1)
    np.save(tmp_path / 'time_first.npy', time_first)
    np.save(tmp_path / 'channels_first.npy', time_first.swapaxes(0, 1)[:, :, np.newaxis])
    for name, layout in {'time_first': 'TNHW', 'channels_first': 'NTCHW'}.items():
        path = str(tmp_path / f'{name}.npy')
        dataset = make_dataset(tmp_path, 'moving_mnist', digits='array', path=path)
        account = prepare(dataset, 0)
        assert account.splitlines()[0] == 'moving_mnist: 3 -> 2 frames of 6 x 6 x 1'
        assert f'read as {layout} (' in account and '20 sequences of 8 frames' in account
