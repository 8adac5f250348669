"""Zip archives are unpacked within bounds, whatever they claim."""

import tracemalloc
import zipfile

import pytest

from e3d.data.readers.archives import open_archive, read_member
from e3d.errors import InputError

CONTENT = bytes(range(256)) * 1000


def write(path, content=CONTENT, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, 'w', method) as archive:
        archive.writestr('member', content)
    return path


def read(path, max_bytes=10**6):
    with open_archive(path) as archive:
        return read_member(archive, archive.getinfo('member'), max_bytes)


def change(path, place, value):
    """Changes bytes of the entry of the directory."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b'PK\x01\x02') + place
    content[start : start + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_whole(tmp_path, method):
    assert read(write(tmp_path / 'a.zip', method=method)) == CONTENT


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_bounds_are_rejected(tmp_path, method):
    with pytest.raises(InputError, match=r'compressed by the method (bzip2|lzma)'):
        read(write(tmp_path / 'a.zip', method=method))


def test_a_member_over_the_limit_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r'unpacks to 256,000 bytes, more than the 1,000'):
        read(write(tmp_path / 'a.zip'), 1000)


def test_a_member_that_is_larger_than_it_says_takes_no_memory(tmp_path):
    path = write(tmp_path / 'a.zip', bytes(10**8))
    change(path, 24, (500).to_bytes(4, 'little'))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match='is damaged'):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_damaged_members_are_named(tmp_path):
    path = write(tmp_path / 'a.zip')
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'a\.zip: member is damaged'):
        read(path)


def test_a_password_is_not_asked_for(tmp_path):
    path = write(tmp_path / 'a.zip')
    change(path, 8, b'\x01')
    with pytest.raises(InputError, match='is encrypted'):
        read(path)
