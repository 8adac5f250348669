"""Files from the network: whole and checked, or not there.

Pooch would do this but for the limit on what a server may send; with a downloader of our own for that,
little is left that it does.
"""

import hashlib
import http.client
import pathlib
import urllib.error
import urllib.request
from typing import Any

from e3d.errors import InputError, RunError
from e3d.progress import progress

TIMEOUT = 60  # seconds without a byte
MAX_BYTES = 2**32
PIECE = 2**20


def fetch(url: str, file: pathlib.Path, sha1: str = '') -> None:
    """Fetches a file, if it is not there yet, with a progress bar.

    It gets its name when it is complete; what an interrupted download left is written over by the
    next one.

    Args:
      url: http or https.
      file: where it goes; folders are made.
      sha1: its checksum in hexadecimal digits, if known.

    Raises:
      InputError: the server cannot be reached, does not have it, sends less than it announces,
        or something else.
      RunError: it cannot be written.
    """
    if file.exists():
        return
    partial = file.with_name(f'{file.name}.part')
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        output = partial.open('wb')
    except OSError as error:
        raise _unwritable(file, error) from error
    with output, _opened(url) as response:
        announced, count = _announced_bytes(response, url), 0
        with progress(file.name, announced or None, unit='B', unit_scale=True) as bar:
            while piece := _read(response, url):
                count += len(piece)
                if count > MAX_BYTES:
                    raise InputError(f'{url} is rejected: longer than {MAX_BYTES / 2**30:g} GiB.')
                digest.update(piece)
                try:
                    output.write(piece)
                except OSError as error:
                    raise _unwritable(file, error) from error
                bar.update(len(piece))
    if announced and count != announced:
        raise InputError(f'{url} ended after {count:,} of {announced:,} bytes.')
    if sha1 and digest.hexdigest() != sha1:
        raise InputError(
            f'What {url} sent has the SHA-1 checksum {digest.hexdigest()} instead of {sha1}.'
        )
    try:
        partial.replace(file)
    except OSError as error:
        raise _unwritable(file, error) from error


def _announced_bytes(response: Any, url: str) -> int:
    """The length that a server states, 0 where it states none."""
    text = response.headers.get('Content-Length', '0').strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InputError(f'{url} could not be fetched: its length is stated as {text[:40]!r}.')
    if int(text) > MAX_BYTES:
        raise InputError(f'{url} is rejected: longer than {MAX_BYTES / 2**30:g} GiB.')
    return int(text)


def _opened(url: str) -> Any:
    try:
        response = urllib.request.urlopen(url, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        raise InputError(f'{url} could not be fetched: {error.code} {error.reason}.') from error
    # ValueError: a server that leads to an address that is none.
    except (http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, 'reason', error)
        raise InputError(f'{url} could not be fetched: {reason}.') from error
    if not response.url.startswith(('http:', 'https:')):
        raise InputError(f'{url} could not be fetched: it leads to {response.url[:80]}.')
    return response


def _read(response: Any, url: str) -> bytes:
    try:
        return bytes(response.read(PIECE))
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise InputError(f'{url} could not be fetched whole: {error}.') from error


def _unwritable(file: pathlib.Path, error: OSError) -> RunError:
    return RunError(
        f'{file} could not be written: {error.strerror}. Free some space, or choose another '
        'dataset.data_dir.'
    )
