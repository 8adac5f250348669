"""Only regular files are opened."""

import os
import socket

import pytest

from e3d.errors import InputError
from e3d.files import regular_file


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
