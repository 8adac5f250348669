"""Only regular files are opened."""

import os
import pathlib
import socket

import pytest

from e3d.errors import InputError
from e3d.files import local_path, read_bytes, read_json, regular_file


def test_a_file_and_a_link_to_it_are_accepted(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    (tmp_path / 'link').symlink_to('file')
    assert regular_file(str(tmp_path / 'file')) == tmp_path / 'file'
    assert regular_file(tmp_path / 'link') == tmp_path / 'link'


def test_everything_else_is_rejected_without_waiting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo('pipe')
    os.symlink('pipe', 'link_to_pipe')
    os.symlink('/dev/zero', 'zeros')
    os.symlink('nowhere', 'dangling')
    os.symlink('loop', 'loop')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind('socket')
        expected = {
            '.': 'a folder',
            'pipe': 'a named pipe',
            'link_to_pipe': 'a named pipe',
            'zeros': 'a device',
            'socket': 'a socket',
            'dangling': 'does not exist',
            'missing': 'does not exist',
            'missing/inside': 'does not exist',
            'loop': 'cannot be read',
            'n' * 5000: 'cannot be read',
            'null\0character': 'cannot be read',
        }
        for path, reason in expected.items():
            with pytest.raises(InputError, match=reason):
                regular_file(path)


def test_a_file_without_permission_is_rejected(tmp_path, monkeypatch):
    (tmp_path / 'file').write_bytes(b'')
    monkeypatch.setattr('os.access', lambda path, mode: False)  # a superuser may read everything
    with pytest.raises(InputError, match='file cannot be read: you have no permission'):
        regular_file(tmp_path / 'file')


def test_a_file_is_read_up_to_a_limit(tmp_path):
    (tmp_path / 'file').write_bytes(b'12345')
    assert read_bytes(tmp_path / 'file', 5) == b'12345'
    with pytest.raises(InputError, match='has 5 bytes, more than the 4'):
        read_bytes(tmp_path / 'file', 4)


def test_a_file_that_may_not_be_read_is_rejected(tmp_path, monkeypatch):
    (tmp_path / 'file').write_bytes(b'')
    denied = PermissionError(13, 'Permission denied')
    monkeypatch.setattr('pathlib.Path.open', lambda *_: (_ for _ in ()).throw(denied))
    with pytest.raises(InputError, match='file cannot be read: Permission denied'):
        read_bytes(tmp_path / 'file', 5)


def test_json_is_read_and_everything_else_is_rejected(tmp_path):
    file = tmp_path / 'file.json'
    file.write_text('{"a": [1, "b"]}')
    assert read_json(file, 100) == {'a': [1, 'b']}
    deep = b'[' * 200_000 + b']' * 200_000
    for content, reason in {
        b'': 'not JSON',
        b'{"a": ': 'not JSON',
        b'\xff\xff': 'not JSON',
        b'9' * 5000: 'not JSON',
        deep: 'nested too deeply',
        b'{"a": ' * 200_000 + b'1' + b'}' * 200_000: 'nested too deeply',
    }.items():
        file.write_bytes(content)
        with pytest.raises(InputError, match=reason):
            read_json(file, 2**24)


def test_a_path_of_a_user_has_its_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert local_path('~/clip.mp4', '--input') == tmp_path / 'clip.mp4'
    assert local_path('a:b/C:/x', '--input') == pathlib.Path('a:b/C:/x')
    assert local_path(tmp_path, '--input') == tmp_path


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'not the path of a file or folder'),
        ('a\0b', 'not the path'),
        ('gs://bucket/clip.mp4', r"--input 'gs://bucket/clip.mp4' is a URL \(gs:/\)"),
        ('s3://bucket', 'is a URL'),
        ('HTTPS://host/x', 'is a URL'),
        ('file:///tmp/x', 'is a URL'),
        ('~nobody-of-this-name/x', 'home directory that is not known'),
    ],
)
def test_what_is_no_local_path_is_rejected(text, message):
    with pytest.raises(InputError, match=message):
        local_path(text, '--input')
