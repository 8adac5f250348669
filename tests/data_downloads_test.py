"""A download is whole and right, or not there."""

import contextlib
import hashlib
import http.server
import threading

import pytest

from e3d.data.readers import downloads
from e3d.data.readers.downloads import fetch
from e3d.errors import InputError, RunError

CONTENT = bytes(range(256)) * 400
SHA1 = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()


# What servers say that do not keep to HTTP.
RAW = {
    'word': b'HTTP/1.0 200 OK\r\nContent-Length: abc\r\n\r\n',
    'negative': b'HTTP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n',
    'pair': b'HTTP/1.0 200 OK\r\nContent-Length: 5, 5\r\n\r\n12345',
    'digits': b'HTTP/1.0 200 OK\r\nContent-Length: ' + b'9' * 5000 + b'\r\n\r\n',
    'huge': b'HTTP/1.0 200 OK\r\nContent-Length: 999999999999\r\n\r\n',
    'no status': b'hello\r\n\r\n',
    'nothing': b'',
    'long line': b'HTTP/1.0 200 OK\r\nX: ' + b'x' * 10**6 + b'\r\n\r\n',
    'odd status': b'HTTP/1.0 abc OK\r\n\r\n',
    'loop': b'HTTP/1.0 302 Found\r\nLocation: /raw/loop\r\n\r\n',
    'to a file': b'HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n',
    'to nowhere': b'HTTP/1.0 302 Found\r\nLocation: http://[\r\n\r\n',
    'chunks': b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file whole, and cut at another name."""

    def do_GET(self):
        if self.path.startswith('/raw/'):
            self.wfile.write(RAW[self.path[5:].replace('%20', ' ')])
            return
        if self.path not in ('/whole', '/cut'):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header('Content-Length', str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == '/whole' else CONTENT[:1000])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve():
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_a_file_is_fetched_once(tmp_path):
    file = tmp_path / 'deep' / 'file'
    with serve() as server:
        fetch(f'{server}/whole', file, SHA1)
    fetch(f'{server}/whole', file, SHA1)  # no server any more
    assert file.read_bytes() == CONTENT
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ('name', 'sha1', 'message'),
    [
        ('missing', '', '404'),
        ('cut', '', r'ended after 1,000 of 102,400 bytes'),
        ('whole', '0' * 40, f'{SHA1} instead of 000'),
    ],
)
def test_failed_downloads_are_not_there_and_can_be_repeated(tmp_path, name, sha1, message):
    file = tmp_path / 'file'
    with serve() as server:
        with pytest.raises(InputError, match=message):
            fetch(f'{server}/{name}', file, sha1)
        assert not file.exists()
        fetch(f'{server}/whole', file, SHA1)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize('name', RAW)
def test_servers_that_do_not_keep_to_http_are_named(tmp_path, name):
    with serve() as server, pytest.raises(InputError, match=rf'{server}/raw/.* (fetched|longer)'):
        fetch(f'{server}/raw/{name.replace(" ", "%20")}', tmp_path / 'file')
    assert not (tmp_path / 'file').exists()


def test_no_server_is_named(tmp_path):
    with serve() as server:
        pass
    with pytest.raises(InputError, match=rf'{server}/whole could not be fetched'):
        fetch(f'{server}/whole', tmp_path / 'file')


def test_endless_files_are_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, 'MAX_BYTES', 1000)
    with serve() as server, pytest.raises(InputError, match='rejected'):
        fetch(f'{server}/whole', tmp_path / 'file')
    assert not (tmp_path / 'file').exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(RunError, match='could not be written'):
        fetch('http://127.0.0.1:9/whole', tmp_path / 'file' / 'deep')
