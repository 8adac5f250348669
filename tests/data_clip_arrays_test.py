"""Which arrays are clips, and what the others are told."""

import re

import numpy as np
import pytest

from e3d.data.readers import clip_arrays
from e3d.data.readers.clip_arrays import open_array, read_array, read_opened
from e3d.errors import InputError
from e3d.pixel_values import checked_values

BYTES = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
FLOATS = np.random.default_rng(0).random((5, 4, 6, 1), np.float32)


def saved(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize('array', [BYTES, FLOATS, FLOATS.astype(np.float64), FLOATS[..., 0]])
def test_npy_round_trip(tmp_path, array):
    clip = read_array(saved(tmp_path / 'clip.npy', array))
    assert clip.dtype == (np.uint8 if array is BYTES else np.float32)
    np.testing.assert_allclose(clip, array.reshape(clip.shape), rtol=1e-6)
    assert clip.ndim == 4


def test_only_the_last_frames(tmp_path):
    path = saved(tmp_path / 'clip.npy', BYTES)
    np.testing.assert_array_equal(read_array(path, last=2), BYTES[-2:])
    np.testing.assert_array_equal(read_array(path, last=9), BYTES)


def test_a_dark_end_does_not_change_what_white_is(tmp_path):
    frames = np.full((40, 4, 4, 1), 200, np.uint8)
    frames[-3:] = 1
    frames[-1, 0] = 0
    np.save(tmp_path / 'clip.npy', frames)
    np.testing.assert_array_equal(read_array(tmp_path / 'clip.npy', last=3), frames[-3:])
    np.save(tmp_path / 'clip.npy', frames.astype(np.float32))  # 0 to 255, at the end 0 to 1
    with pytest.raises(InputError, match='from 0 to 200'):
        read_array(tmp_path / 'clip.npy', last=3)


def test_npz_with_one_array_or_one_called_frames(tmp_path):
    np.savez_compressed(tmp_path / 'one.npz', anything=BYTES)
    np.savez(tmp_path / 'two.npz', frames=BYTES, labels=np.arange(3))
    for name in ('one.npz', 'two.npz'):
        np.testing.assert_array_equal(read_array(tmp_path / name), BYTES)
    np.savez(tmp_path / 'unclear.npz', a=BYTES, b=BYTES)
    with pytest.raises(InputError, match=r"a, b; .*'frames'"):
        read_array(tmp_path / 'unclear.npz')


def test_truth_values_and_rounding_are_accepted():
    np.testing.assert_array_equal(checked_values(np.array([True, False]), 'x'), [1.0, 0.0])
    np.testing.assert_array_equal(checked_values(np.array([-1e-6, 1 + 1e-6]), 'x'), [0.0, 1.0])


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((4, 6)), r'shape \(4, 6\).*\[T, H, W, C\]'),
        (np.zeros((2, 5, 4, 6, 3)), r'\[T, H, W, C\].*files of their own'),
        (np.zeros((0, 4, 6, 1)), 'no frames'),
        (np.full((2, 4, 6), np.nan), 'NaN or infinite, 48 of them'),
        (np.full((2, 4, 6), np.inf), 'NaN or infinite'),
        (np.linspace(0, 255, 48).reshape(2, 4, 6), r'from 0 to 255.*frames / 255\.'),
        (np.linspace(-1, 1, 48).reshape(2, 4, 6), 'from -1 to 1'),
        (np.zeros((2, 4, 6), np.int64), r'int64 with values from 0 to 0.*np\.uint8'),
        (np.zeros((2, 4, 6), complex), 'dtype complex128'),
        (np.full((2, 4, 6), 'a'), 'dtype <U1'),
        (np.full((2, 4, 6), None, object), 'plain numbers'),
    ],
)
def test_other_arrays_are_rejected(tmp_path, array, message):
    with pytest.raises(InputError, match=message):
        read_array(saved(tmp_path / 'clip.npy', array))


def test_damaged_files_are_rejected(tmp_path):
    whole = saved(tmp_path / 'clip.npy', BYTES).read_bytes()
    np.savez(tmp_path / 'whole.npz', BYTES)
    contents = {
        'cut.npy': whole[: len(whole) // 2],
        'head.npy': whole[:20],
        'empty.npy': b'',
        'text.npy': b'not an array',
        'cut.npz': (tmp_path / 'whole.npz').read_bytes()[:200],
        'empty.npz': b'',
        'text.npz': b'not an archive',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f'{re.escape(name)} cannot be read'):
            read_array(tmp_path / name)


def test_pickled_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath('sprung').touch, ())

    array = np.full((2, 4, 6), None, object)
    array[0, 0, 0] = Trap()
    np.save(tmp_path / 'trap.npy', array, allow_pickle=True)
    np.savez(tmp_path / 'trap.npz', frames=array)
    for name in ('trap.npy', 'trap.npz'):
        with pytest.raises(InputError):
            read_array(tmp_path / name)
    assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize('suffix', ['.npy', '.npz'])
def test_arrays_beyond_the_limit_are_rejected(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(clip_arrays, 'MAX_BYTES', 100)
    path = tmp_path / f'clip{suffix}'
    (np.save if suffix == '.npy' else np.savez_compressed)(path, np.zeros((5, 4, 6, 3), np.uint8))
    with pytest.raises(InputError, match='GiB'):
        read_array(path)


@pytest.mark.parametrize('dtype', ['<u2', '>u2'])
def test_the_white_of_16_bits_is_65535(tmp_path, dtype):
    array = np.array([0, 13107, 65535], dtype).reshape(3, 1, 1, 1) * np.ones((1, 5, 6, 1), dtype)
    clip = read_array(saved(tmp_path / 'clip.npy', array))
    assert clip.dtype == np.float32
    np.testing.assert_array_equal(clip[:, 0, 0, 0], np.float32([0, 0.2, 1]))


@pytest.mark.parametrize(
    ('most', 'said'),
    [
        (
            1023,
            'no value is above 1,023, as of 10 bits; 65,535 is white all the same: multiply by 64',
        ),
        (
            4095,
            'as of 12 bits; 65,535 is white all the same: multiply by 16 if 4,095 is to be white',
        ),
        (4096, 'no value is above 4,096, as of 14 bits'),
        (16384, None),
    ],
)
def test_bits_that_16_leave_unused_are_told_by_all_frames(tmp_path, most, said):
    frames = np.full((9, 5, 6), 300, np.uint16)
    frames[0] = most  # not among those that are read
    for stored in (frames, frames.astype('>u2')):
        path = saved(tmp_path / 'clip.npy', stored)
        reading = read_opened(open_array(path), path, last=2)
        np.testing.assert_array_equal(reading.frames, read_array(path, last=2))
        assert reading.account.count('no value is above') == bool(said)
        assert (said or '; 65535 is white') in reading.account
    floats = saved(tmp_path / 'clip.npy', frames / np.float32(65535))
    assert 'no value' not in read_opened(open_array(floats), floats).account


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (BYTES > 99, None),
        ((BYTES > 99).astype(np.uint8), r'0 and 1, .*frames\.astype\(bool\)'),
        (np.zeros((3, 5, 6), np.uint8), None),
        (BYTES.astype(np.uint16), r'at most 255, .*frames\.astype\(np\.uint8\)'),
        (BYTES.astype(np.int16), r'int16 with values from 0 to 255.*frames\.astype\(np\.uint8\)'),
        (BYTES.astype(np.int32) * 200, r'frames\.astype\(np\.uint16\)'),
        (BYTES.astype(np.int64) - 9, r'from -9 to 246.*\(frames - LOW\)'),
        (BYTES.astype('>f4'), r'from 0 to 255.*frames / 255\.'),
        (FLOATS * 3 - 1, r'the same LOW and HIGH for all files'),
        (np.ma.masked_array(FLOATS, FLOATS > 2), None),
        (np.ma.masked_array(FLOATS, FLOATS > 0.5), r'masked values.*filled\(VALUE\)'),
        (np.zeros((3, 5, 6), 'M8[s]'), 'plain numbers'),
        (np.zeros((3, 5, 6), [('x', 'f4')]), 'plain numbers'),
    ],
)
def test_no_remedy_changes_what_the_values_mean(array, message):
    if message is None:
        np.testing.assert_array_equal(checked_values(array, 'x'), np.asarray(array))
        return
    with pytest.raises(InputError, match=message) as caught:
        checked_values(array, 'x')
    for wrong in ('.min()', '.max()', 'largest value'):
        assert wrong not in str(caught.value)


@pytest.mark.parametrize('name', ['mask', 'valid_mask', 'Mask'])
def test_a_mask_beside_the_frames_is_not_dropped(tmp_path, name):
    np.savez(tmp_path / 'clip.npz', frames=FLOATS, **{name: FLOATS > 0.5})
    with pytest.raises(InputError, match=f"holds '{name}' beside the frames"):
        read_array(tmp_path / 'clip.npz')


def test_frames_that_are_a_mask_are_read(tmp_path):
    np.savez(tmp_path / 'clip.npz', mask=FLOATS > 0.5)
    np.testing.assert_array_equal(read_array(tmp_path / 'clip.npz'), FLOATS > 0.5)


def test_how_a_clip_was_understood_is_said(tmp_path):
    path = saved(tmp_path / 'clip.npy', np.moveaxis(BYTES, -1, 1))
    np.testing.assert_array_equal(read_array(path, layout='NTCHW'), BYTES)
    assert clip_arrays.describe_array(path, 'NTCHW') == (
        f'{path}: uint8 [5, 3, 4, 6] read as TCHW (as dataset.layout says): 5 frames of 4 x 6, 3 '
        'channels; 255 is white'
    )


def test_the_limit_is_that_of_the_frames_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_arrays, 'MAX_BYTES', 1000)
    for dtype, most in ((np.uint8, 10), (np.bool_, 2), (np.float16, 2), (np.uint16, 2)):
        path = saved(tmp_path / 'clip.npy', np.full((11, 10, 10), 1, dtype))
        with pytest.raises(InputError, match='GiB that are read'):
            read_array(path, last=most + 1)
        if dtype in (np.bool_, np.float16):
            assert read_array(path, last=most).nbytes <= 1000
