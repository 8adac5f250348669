import io
import pickle
import zipfile

import numpy as np
import pytest

from e3d.data.sources import arrays
from e3d.errors import InputError


def make_frames(*shape, dtype=np.uint8):
    """Sequences [N, T, ...] of unrelated pictures, each of which slowly becomes brighter."""
    pictures = np.random.default_rng(0).integers(0, 200, (shape[0], 1, *shape[2:]), np.uint8)
    times = np.arange(shape[1], dtype=np.uint8).reshape(1, -1, *[1] * (len(shape) - 2))
    frames = pictures + 2 * times
    return frames if dtype == np.uint8 else (frames / 255).astype(dtype)


def save(tmp_path, array, name='frames.npy'):
    np.save(tmp_path / name, array)
    return str(tmp_path / name)


def released(count=10, length=(3, 2), size=8):
    """The content of a released file, in small, and its sequences [N, T, H, W, 1]."""
    total = sum(length)
    frames = make_frames(count, total, size, size, 1, dtype=np.float32)
    starts = total * np.arange(count)
    clips = [[(start, length[0]), (start + length[0], length[1])] for start in starts]
    content = {
        'clips': np.array(clips, np.int32).transpose(1, 0, 2),
        'dims': np.array([[1, size, size]], np.int32),
        'input_raw_data': frames.reshape(-1, 1, size, size),
    }
    return content, frames


def read_all(path, length, fractions=(0.5, 0.2, 0.3), layout=''):
    sources = [
        arrays.open_array(path, split, length, fractions, layout)
        for split in ('train', 'validation', 'test')
    ]
    return [np.stack([source[i]['frames'] for i in range(len(source))]) for source in sources]


@pytest.mark.parametrize('size', [64, 32])
def test_the_published_test_set_is_known_by_its_frames(tmp_path, size):
    stored = make_frames(10, 20, size, size).swapaxes(0, 1)
    train, validation, test = read_all(save(tmp_path, stored, 'mnist_test_seq.npy'), 20)
    assert train.dtype == np.uint8
    read = np.concatenate([train, validation, test])
    assert read.shape == (10, 20, size, size, 1)
    np.testing.assert_array_equal(read[..., 0], stored.swapaxes(0, 1))


@pytest.mark.parametrize(
    ('shape', 'dtype'),
    [
        ((10, 6, 5, 6), np.uint8),
        ((10, 6, 5, 6, 3), np.uint8),
        ((10, 6, 5, 6, 2), np.float32),
        ((10, 6, 5, 6), np.float64),
        ((20, 30, 64, 64, 1), np.uint8),
        ((20, 6, 64, 64), np.float16),
        ((20, 6, 64, 64), np.uint8),
    ],
)
@pytest.mark.parametrize('archive', [False, True])
def test_other_arrays_are_read_sequences_first(tmp_path, shape, dtype, archive):
    stored = make_frames(*shape, dtype=dtype)
    path = save(tmp_path, stored)
    if archive:
        path = str(tmp_path / 'frames.npz')
        np.savez_compressed(path, stored)
    read = np.concatenate(read_all(path, 4))
    assert read.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    np.testing.assert_array_equal(read, stored.reshape(*shape[:4], -1)[:, :4].astype(read.dtype))


def test_the_splits_of_an_array_are_disjoint_and_follow_the_fractions(tmp_path):
    stored = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    splits = read_all(save(tmp_path, stored), 1, layout='NTHW')
    splits = [part.ravel().tolist() for part in splits]
    assert splits == [list(range(10)), list(range(10, 14)), list(range(14, 20))]


def test_a_layout_names_the_axes_in_any_order(tmp_path):
    stored = make_frames(10, 3, 4, 5, 2)
    for layout in ('NTHWC', 'NTCHW', 'TNCHW', 'NCTHW', 'CWHTN'):
        path = save(tmp_path, stored.transpose(['NTHWC'.index(axis) for axis in layout]))
        read = np.concatenate(read_all(path, 3, layout=layout))
        np.testing.assert_array_equal(read, stored)


def test_how_an_array_was_understood_is_said(tmp_path):
    source = arrays.open_array(save(tmp_path, make_frames(10, 7, 1, 8, 8)), 'train', 3)
    account, _ = source.account
    assert account.endswith(
        'uint8 [10, 7, 1, 8, 8] read as NTCHW (frames beside each other along the second axis are '
        'more alike than along the other in 54 of 54 places): 10 sequences of 7 frames of 8 x 8, 1 '
        'channel; 255 is white'
    )


def test_bits_that_16_leave_unused_are_said_of_each_split(tmp_path):
    frames = 20 * make_frames(10, 5, 8, 8).astype(np.uint16)
    frames[9, 4] = 65535
    path = save(tmp_path, frames)
    said = {
        split: ' '.join(arrays.open_array(path, split, 5).account) for split in ('train', 'test')
    }
    assert f"split 'train' of {path}: no value is above 4," in said['train']
    assert 'as of 14 bits' in said['train'] and 'no value' not in said['test']


def test_sequences_are_cut_to_their_first_frames(tmp_path):
    stored = make_frames(10, 7, 5, 5)
    read = np.concatenate(read_all(save(tmp_path, stored), 5))
    np.testing.assert_array_equal(read[..., 0], stored[:, :5])


def test_shorter_sequences_are_rejected(tmp_path):
    path = save(tmp_path, make_frames(10, 7, 5, 5))
    with pytest.raises(InputError, match=r'7 frames.*output_frames is 8'):
        arrays.open_array(path, 'train', 8)


@pytest.mark.parametrize('order', ['in order', 'reversed'])
def test_released_files_are_read_by_their_clips(tmp_path, order):
    content, frames = released()
    if order == 'reversed':
        content['clips'], frames = content['clips'][:, ::-1], frames[::-1]
    np.savez(tmp_path / 'moving.npz', **content)
    read = np.concatenate(read_all(str(tmp_path / 'moving.npz'), 5))
    np.testing.assert_array_equal(read, frames)


def test_sequences_with_frames_of_a_later_split_are_not_trained_on(tmp_path):
    content, _ = released(count=10)
    # The 5th begins 2 frames before the 6th; of ten, 5 are to train on and 3 to test.
    content['clips'][:, 4, 0] += 3
    np.savez(tmp_path / 'released.npz', **content)
    source = arrays.open_array(str(tmp_path / 'released.npz'), 'train', 5, (0.5, 0.2, 0.3))
    assert len(source) == 4
    assert [one.name[:10] for one in source.left_out] == ['sequence 5']
    test = arrays.open_array(str(tmp_path / 'released.npz'), 'test', 5, (0.5, 0.2, 0.3))
    assert len(test) == 3 and not test.left_out


@pytest.mark.parametrize('layout', ['NTHWC', 'TNHWC'])
def test_a_sequence_that_is_twice_in_a_file_is_not_trained_and_tested_on(tmp_path, layout):
    frames = make_frames(10, 5, 8, 8, 1)
    frames[1] = frames[9]  # of the test
    frames[2] = frames[5]  # of the validation
    frames[6] = frames[8]  # validation and test
    frames[3, 0], frames[3, -1] = frames[9, 0], frames[9, -1]  # alike, but not the same
    stored = frames if layout[0] == 'N' else frames.swapaxes(0, 1)
    path = save(tmp_path, stored)
    train, validation, test = read_all(path, 5, layout=layout)
    np.testing.assert_array_equal(train, frames[[0, 3, 4]])
    np.testing.assert_array_equal(validation, frames[[5]])
    np.testing.assert_array_equal(test, frames[7:])
    source = arrays.open_array(path, 'train', 5, (0.5, 0.2, 0.3), layout)
    assert [one.name.split(' of ')[0] for one in source.left_out] == ['sequence 2', 'sequence 3']
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[1]['frames'], frames[3])


def test_a_file_of_copies_cannot_be_divided(tmp_path):
    path = save(tmp_path, np.repeat(make_frames(1, 5, 8, 8, 1), 10, axis=0))
    with pytest.raises(InputError, match=r'All 5 sequences .* have frames of those in another'):
        arrays.open_array(path, 'train', 5, (0.5, 0.2, 0.3), 'NTHWC')


def test_by_which_rule_an_array_was_divided_is_said(tmp_path):
    path = save(tmp_path, make_frames(10, 5, 8, 8, 1))
    source = arrays.open_array(path, 'test', 5, (0.5, 0.2, 0.3))
    rule = 'divided by dataset.split_fractions=(0.5, 0.2, 0.3), in the order of the sequences'
    assert source.account[1] == rule
    source = arrays.open_array(path, 'test', 5, (0, 0, 1))
    assert len(source) == 10 and source.account[1].endswith('are for the test split')


def test_a_folder_of_released_files_has_a_file_for_each_split(tmp_path):
    for split, name in arrays.RELEASED_FILES.items():
        if split != 'validation':
            np.savez(tmp_path / name, **released(count=len(split))[0])
    assert len(arrays.open_array(str(tmp_path), 'train', 5)) == 5
    assert len(arrays.open_array(str(tmp_path), 'test', 5)) == 4
    with pytest.raises(InputError, match='moving-mnist-valid'):
        arrays.open_array(str(tmp_path), 'validation', 5)


def test_a_pickled_source_reads_the_file_again(tmp_path):
    source = arrays.open_array(save(tmp_path, make_frames(50, 5, 32, 32)), 'test', 4)
    content = pickle.dumps(source)
    assert len(content) < 1000
    np.testing.assert_array_equal(pickle.loads(content)[3]['frames'], source[3]['frames'])


def test_rounding_errors_are_accepted_and_clipped(tmp_path):
    stored = make_frames(10, 6, 5, 5, dtype=np.float64)
    stored[9, 0, 0, :2] = 1.0000001, -0.0000001
    test = arrays.open_array(save(tmp_path, stored), 'test', 6)
    assert test[0]['frames'][0, 0, :2, 0].tolist() == [1, 0]


@pytest.mark.parametrize('value', [np.nan, np.inf, -0.01, 1.01])
def test_values_out_of_range_are_rejected_in_the_split_that_holds_them(tmp_path, value):
    stored = make_frames(10, 6, 5, 5, dtype=np.float32)
    stored[9, 1, 2, 3] = value
    path = save(tmp_path, stored)
    arrays.open_array(path, 'train', 6)
    with pytest.raises(InputError, match=r"'test' of .*(must lie in \[0, 1\]|NaN or infinite)"):
        arrays.open_array(path, 'test', 6)
    arrays.open_array(path, 'test', 1)  # the value lies behind the frames that are read


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((4, 4, 4), np.uint8), r'shape \(4, 4, 4\)'),
        (np.zeros((4, 4, 0, 4), np.uint8), r'shape is \(4, 4, 0, 4\)'),
        (np.zeros((4, 4, 5, 5), np.int64), 'has dtype int64'),
        (np.zeros((4, 4, 5, 5), complex), 'has dtype complex128'),
        (np.zeros((4, 4, 5, 5), 'M8[s]'), 'has dtype datetime64'),
        (np.zeros((4, 4, 5, 5), [('x', float)]), 'has dtype .*x'),
    ],
)
def test_arrays_of_another_form_are_rejected(tmp_path, array, message):
    with pytest.raises(InputError, match=message):
        arrays.open_array(save(tmp_path, array), 'train', 2)


def test_arrays_of_objects_are_rejected_without_being_loaded(tmp_path):
    objects = np.array([print, {}], object)
    np.save(tmp_path / 'objects.npy', objects, allow_pickle=True)
    np.savez(tmp_path / 'objects.npz', objects)
    for name in ('objects.npy', 'objects.npz'):
        with pytest.raises(InputError, match='Python objects'):
            arrays.open_array(str(tmp_path / name), 'train', 2)


def test_damaged_files_are_rejected(tmp_path):
    stored = make_frames(10, 3, 8, 8)
    whole = io.BytesIO()
    np.save(whole, stored)
    packed = io.BytesIO()
    np.savez_compressed(packed, stored)
    garbled = bytearray(packed.getvalue())
    garbled[200:300] = bytes(100)
    huge = whole.getvalue().replace(b'(10, 3, 8, 8)', b'(9' + b'9' * 8 + b'9,9)')
    files = {
        'empty.npy': b'',
        'text.npy': b'frames',
        'half.npy': whole.getvalue()[:1000],
        'header.npy': whole.getvalue()[:40],
        'huge.npy': huge,
        'empty.npz': b'',
        'array.npz': whole.getvalue(),
        'half.npz': packed.getvalue()[:-300],
        'garbled.npz': bytes(garbled),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f'{name}.* cannot be read'):
            arrays.open_array(str(tmp_path / name), 'train', 2)


def test_an_archive_larger_than_the_limit_is_not_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / 'frames.npz', np.zeros((10, 3, 64, 64), np.uint8))
    monkeypatch.setattr(arrays, 'MAX_ARCHIVE_BYTES', 100_000)
    monkeypatch.setattr(np, 'load', None)
    with pytest.raises(InputError, match=r'unpacks to .*as \.npy'):
        arrays.open_array(str(tmp_path / 'frames.npz'), 'train', 2)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'dims': np.array([[1, 8, 9]])}, 'dims is'),
        ({'clips': np.zeros((2, 3), np.int32)}, 'clips is'),
        ({'clips': np.zeros((2, 3, 2))}, 'clips is float64'),
        ({'clips': np.array([[[0, 3]], [[4, 2]]])}, 'must follow'),
        ({'clips': np.array([[[10, 2**62]], [[10 + 2**62, 2**62 - 5]]])}, 'must follow'),
        ({'clips': np.array([[[0, 3]], [[3, 60]]])}, 'within the 50 frames'),
        ({'clips': np.array([[[-5, 3]], [[-2, 2]]])}, 'clip 0'),
        ({'input_raw_data': np.zeros((50, 8, 8), np.float32)}, 'input_raw_data'),
    ],
)
def test_inconsistent_released_files_are_rejected(tmp_path, change, message):
    np.savez(tmp_path / 'moving.npz', **{**released()[0], **change})
    with pytest.raises(InputError, match=message):
        arrays.open_array(str(tmp_path / 'moving.npz'), 'train', 5)


def test_paths_that_name_no_array_are_rejected(tmp_path):
    (tmp_path / 'frames.h5').write_bytes(b'')
    with zipfile.ZipFile(tmp_path / 'none.npz', 'w'):
        pass
    np.savez(tmp_path / 'several.npz', frames=np.zeros(3), labels=np.zeros(3))
    for path, message in [
        ('', "no file ''"),
        (tmp_path / 'missing.npy', 'missing.npy'),
        (tmp_path / 'frames.h5', 'neither an .npy nor an .npz'),
        (tmp_path / 'none.npz', 'holds nothing'),
        (tmp_path / 'several.npz', 'holds frames, labels'),
    ]:
        with pytest.raises(InputError, match=message):
            arrays.open_array(str(path), 'train', 2)


@pytest.mark.parametrize(
    ('fractions', 'message'),
    [
        ((0.5, 0.5), 'three shares'),
        ((0.5, 0.5, 0.5), 'sum to at most 1'),
        ((1.2, -0.1, -0.1), 'at least 0'),
        ((0.0, 0.5, 0.5), "'train' empty"),
    ],
)
def test_impossible_fractions_are_rejected(tmp_path, fractions, message):
    path = save(tmp_path, make_frames(10, 6, 5, 5))
    with pytest.raises(InputError, match=message):
        arrays.open_array(path, 'train', 2, fractions)


@pytest.mark.parametrize(
    ('dtype', 'white'), [(bool, True), ('<u2', 65535), ('>u2', 65535), ('>f8', 1.0), ('f2', 1.0)]
)
def test_white_is_one_whatever_the_type(tmp_path, dtype, white):
    stored = np.zeros((10, 4, 6, 5, 1), dtype)
    stored[:, 2:, 0] = white
    for index in range(10):  # none a copy of another
        stored[index, :, 1 + index // 5, index % 5] = white
    read = np.concatenate(read_all(save(tmp_path, stored), 4))
    assert read.dtype == np.float32
    assert read[:, :, 0, 0, 0].tolist() == [[0, 0, 1, 1]] * 10


def test_a_mask_of_bytes_is_not_taken_for_black(tmp_path):
    stored = (make_frames(10, 6, 5, 5) > 99).astype(np.uint8)
    with pytest.raises(InputError, match=r'0 and 1, where 255 is white.*astype\(bool\)'):
        arrays.open_array(save(tmp_path, stored), 'train', 4)


def test_who_gives_the_stored_sequences_out_is_said(tmp_path):
    with pytest.raises(InputError, match=r'no file .*toronto\.edu.*--config\.dataset\.test_path='):
        arrays.open_array(str(tmp_path / 'mnist_test_seq.npy'), 'test', 4)
