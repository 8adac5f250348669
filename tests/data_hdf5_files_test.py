"""What of HDF5 files is read, and what is not."""

import os
import zlib

import h5py
import numpy as np
import pytest

from e3d.data.readers.hdf5_files import open_hdf5, read_dataset
from e3d.errors import InputError

VALUES = np.arange(600, dtype=np.float64).reshape(10, 60)


def read(path, name='data', max_bytes=10**6):
    with open_hdf5(path) as content:
        return read_dataset(content, name, max_bytes)


@pytest.mark.parametrize(
    'storage',
    [
        {},
        {'chunks': (4, 7)},
        {'compression': 'gzip'},
        {'compression': 'gzip', 'shuffle': True, 'fletcher32': True},
        {'compression': 'lzf'},
        {'fletcher32': True},
    ],
)
@pytest.mark.parametrize('dtype', ['f8', '>f4', 'u2'])
def test_values_are_read_as_they_are(tmp_path, storage, dtype):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('data', data=VALUES.astype(dtype), **storage)
    np.testing.assert_array_equal(read(tmp_path / 'a.h5'), VALUES)


def write_links(file, folder):
    with h5py.File(folder / 'other.h5', 'w') as other:
        other['data'] = VALUES
    file['own'] = VALUES
    file['soft'] = h5py.SoftLink('/own')
    file['dangling'] = h5py.SoftLink('/nowhere')
    file['outer'] = h5py.ExternalLink(str(folder / 'other.h5'), 'data')
    np.save(folder / 'raw', VALUES)
    size = VALUES.nbytes
    file.create_dataset('raw', VALUES.shape, 'f8', external=[(str(folder / 'raw.npy'), 0, size)])
    layout = h5py.VirtualLayout(VALUES.shape, 'f8')
    layout[:] = h5py.VirtualSource(str(folder / 'other.h5'), 'data', VALUES.shape)
    file.create_virtual_dataset('virtual', layout)


@pytest.mark.parametrize('name', ['soft', 'dangling', 'outer', 'raw', 'virtual'])
def test_values_that_lie_elsewhere_are_rejected(tmp_path, name):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        write_links(file, tmp_path)
    with pytest.raises(InputError, match='must hold its values itself'):
        read(tmp_path / 'a.h5', name)


def test_what_was_never_written_is_rejected_before_there_is_memory_for_it(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('data', (10**9,), 'f8')
        file.create_dataset('small', (10,), 'f8')
        half = file.create_dataset('half', (10,), 'f8', chunks=(5,), compression='gzip')
        half[:5] = 1
        file.create_dataset('null', data=h5py.Empty('f8'))
    with pytest.raises(InputError, match=r'takes 7\.5 GiB'):
        read(tmp_path / 'a.h5')
    for name in ('small', 'half'):
        with pytest.raises(InputError, match='was not written to its end'):
            read(tmp_path / 'a.h5', name)
    with pytest.raises(InputError, match=r"'null' in .* holds no values"):
        read(tmp_path / 'a.h5', 'null')


@pytest.mark.parametrize('size', [10, VALUES.nbytes - 1, VALUES.nbytes + 1, 10**6])
@pytest.mark.parametrize('filters', [{}, {'shuffle': True, 'fletcher32': True}])
def test_a_chunk_that_unpacks_to_another_size_is_rejected(tmp_path, size, filters):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        data = file.create_dataset('data', (10, 60), 'f8', chunks=True, compression=1, **filters)
        data.id.write_direct_chunk((0, 0), zlib.compress(bytes(size)))
    with pytest.raises(InputError, match=r'unpacks to another size|cannot be read'):
        read(tmp_path / 'a.h5')


@pytest.mark.parametrize('filters', [{'shuffle': True}, {'compression': 'lzf'}])
def test_a_chunk_that_is_too_short_is_rejected(tmp_path, filters):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        data = file.create_dataset('data', (10, 60), 'f8', chunks=(10, 60), **filters)
        mask = 1 if 'compression' in filters else 0  # stored as it is
        data.id.write_direct_chunk((0, 0), bytes(100), mask)
    with pytest.raises(InputError, match='unpacks to another size'):
        read(tmp_path / 'a.h5')


def test_chunks_that_do_not_pack_are_stored_as_they_are(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 60), np.uint8)
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('data', data=noise, compression='lzf', chunks=(7, 9))
    np.testing.assert_array_equal(read(tmp_path / 'a.h5'), noise)


def test_a_filter_that_is_not_built_in_is_rejected(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('data', data=VALUES.astype('i4'), scaleoffset=4)
    with pytest.raises(InputError, match='packed by the filter 6'):
        read(tmp_path / 'a.h5')


def test_what_is_no_file_is_rejected_without_waiting(tmp_path):
    os.mkfifo(tmp_path / 'pipe.h5')
    (tmp_path / 'zero.h5').symlink_to('/dev/zero')
    for name, reason in {'pipe.h5': 'a named pipe', 'zero.h5': 'a device'}.items():
        with pytest.raises(InputError, match=reason):
            read(tmp_path / name)
