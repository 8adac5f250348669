"""NumPy's files are read as they are, and in bounds whatever they claim."""

import io
import os
import warnings
import zipfile

import numpy as np
import pytest

from e3d.data.readers import array_files
from e3d.data.readers.array_files import load_arrays, map_array
from e3d.errors import InputError

VALUES = np.arange(600).reshape(10, 6, 10)


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def write_archive(path, members, method=zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, 'w', method) as archive:
        warnings.simplefilter('ignore')  # of two members of one name
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize('dtype', ['u1', '>u2', 'f2', '>f4', 'f8', '?', 'c8', 'S3', 'M8[s]'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_arrays_are_read_as_numpy_wrote_them(tmp_path, dtype, order):
    array = np.asarray(VALUES.astype(dtype), order=order)
    np.save(tmp_path / 'a.npy', array)
    np.savez(tmp_path / 'a.npz', one=array, two=array[:3], none=array[:0])
    mapped = map_array(tmp_path / 'a.npy')
    arrays = load_arrays(tmp_path / 'a.npz', 10**6)
    assert list(arrays) == ['one', 'two', 'none']
    for read, expected in [
        (mapped, array), (arrays['one'], array), (arrays['two'], array[:3]),
        (arrays['none'], array[:0]),
    ]:  # fmt: skip
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize('version', [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(tmp_path, version):
    content = io.BytesIO()
    np.lib.format.write_array(content, VALUES, version)
    write_archive(tmp_path / 'a.npz', [('a.npy', content.getvalue())])
    np.testing.assert_array_equal(load_arrays(tmp_path / 'a.npz', 10**6)['a'], VALUES)


def test_only_what_is_wanted_counts_and_is_unpacked(tmp_path):
    path = write_archive(tmp_path / 'a.npz', [('a.npy', npy(VALUES)), ('b.txt', bytes(10**6))])
    assert list(load_arrays(path, 10**5, ['a'])) == ['a']
    with pytest.raises(InputError, match='unpacks to'):
        load_arrays(path, 10**5)


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_bound_are_rejected(tmp_path, method):
    path = write_archive(tmp_path / 'a.npz', [('a.npy', npy(VALUES))], method)
    with pytest.raises(InputError, match=r'a\.npy is compressed by the method'):
        load_arrays(path, 10**6)


def claim_size(path, size):
    """Writes another size of the member into the directory of an archive."""
    content = bytearray(path.read_bytes())
    place = content.rindex(b'PK\x01\x02') + 24
    content[place : place + 4] = size.to_bytes(4, 'little')
    path.write_bytes(content)


def test_a_directory_that_lies_does_not_lift_the_limit(tmp_path):
    path = write_archive(tmp_path / 'a.npz', [('a.npy', npy(np.zeros(10**6, np.uint8)))])
    claim_size(path, 500)
    with pytest.raises(InputError, match='cannot be read'):
        load_arrays(path, 1000)
    path = write_archive(tmp_path / 'a.npz', [('a.npy', npy(np.zeros(300, np.uint8)))])
    claim_size(path, 400)
    with pytest.raises(InputError, match='cannot be read'):
        load_arrays(path, 1000)


def encrypt(path):
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b'PK\x01\x02') + 8] |= 1
    path.write_bytes(content)


HEADER = npy(VALUES)
MEMBERS = {
    'is no .npy': (b'hello', 'does not begin as an .npy file'),
    'is empty': (b'', 'does not begin as an .npy file'),
    'is an archive': (b'PK\x03\x04' + bytes(100), 'does not begin as an .npy file'),
    'claims much': (HEADER.replace(b'(10, 6, 10)', b'(9**9, 6, )'), 'malformed'),
    'announces more': (HEADER.replace(b'(10, 6, 10)', b'(99, 6, 99)'), 'announces 470,448 bytes'),
    'announces less': (HEADER.replace(b'(10, 6, 10)', b'(9, 6, 10) '), 'not as many are there'),
    'is below 0': (HEADER.replace(b'(10, 6, 10)', b'(-1, 6, -9)'), r'its shape is \(-1, 6, -9\)'),
    'has objects': (HEADER.replace(b"'<i8'", b"'|O' "), 'Python objects, which are not loaded'),
    'has a long header': (b'\x93NUMPY\x02\x00' + b'\xff\xff\xff\x7f', 'longer than 10,000 bytes'),
    'is of another version': (b'\x93NUMPY\x07\x00', 'does not begin as an .npy file'),
    'is cut': (HEADER[:-1], 'not as many are there|4,927 are there'),
}


@pytest.mark.parametrize('kind', MEMBERS)
def test_a_member_that(tmp_path, kind):
    content, message = MEMBERS[kind]
    path = write_archive(tmp_path / 'a.npz', [('a.npy', content)])
    with pytest.raises(InputError, match=rf'a\.npz: a\.npy cannot be read: .*({message})'):
        load_arrays(path, 10**6)
    (tmp_path / 'a.npy').write_bytes(content)
    if kind != 'announces less':  # what follows the values of an .npy file is left alone
        with pytest.raises(InputError, match=r'a\.npy cannot be read'):
            map_array(tmp_path / 'a.npy')


def test_archives_that_are_dangerous_or_none_are_rejected(tmp_path):
    double = write_archive(tmp_path / 'double.npz', 2 * [('a.npy', npy(VALUES))])
    alike = write_archive(tmp_path / 'alike.npz', [('a', b''), ('a.npy', npy(VALUES))])
    secret = write_archive(tmp_path / 'secret.npz', [('a.npy', npy(VALUES))])
    encrypt(secret)
    os.mkfifo(tmp_path / 'pipe.npz')
    (tmp_path / 'zero.npz').symlink_to('/dev/zero')
    (tmp_path / 'text.npz').write_text('text')
    for path, message in {
        double: "holds 'a.npy' 2 times",
        alike: 'two arrays with the same name',
        secret: 'is encrypted',
        tmp_path / 'pipe.npz': 'a named pipe',
        tmp_path / 'zero.npz': 'a device',
        tmp_path / 'text.npz': 'a whole zip archive',
        tmp_path / f'{300 * "n"}.npz': 'File name too long',
    }.items():
        with pytest.raises(InputError, match=message):
            load_arrays(path, 10**6)


def test_an_archive_that_memory_does_not_hold_is_an_input_error(tmp_path, monkeypatch):
    path = write_archive(tmp_path / 'a.npz', [('a.npy', npy(VALUES))])

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(array_files, 'read_up_to', fail)
    with pytest.raises(InputError, match='does not fit into memory'):
        load_arrays(path, 10**6)
