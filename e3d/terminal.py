"""What is said on stdout and stderr: output never costs the work that led to it."""

import contextlib
import errno
import os
import sys
import unicodedata
from typing import Any

# Of characters that a terminal may lack, those that the tables and messages have.
_PLAINER = {'─': '-', '━': '-', '│': '|', '→': '->', '↑': '^', '↓': 'v', '…': '...', '±': '+/-'}


def show(text: str) -> None:
    """Prints a result on stdout; characters that it cannot have are written plainly."""
    text = _without_controls(text)
    try:
        print(text)
    except UnicodeEncodeError:
        print(_plain(text, sys.stdout.encoding))


def tell(text: str) -> None:
    """Prints a line for the user on stderr, apart from the results."""
    print(_without_controls(text), file=sys.stderr)


def _without_controls(text: str) -> str:
    """The same with what steers a terminal written out: files and variables may be called so."""
    return ''.join(
        character.encode('unicode_escape').decode('ascii')
        if unicodedata.category(character) == 'Cc' and character not in '\n\t'
        else character
        for character in text
    )


def _plain(text: str, encoding: str) -> str:
    def plain(character: str) -> str:
        try:
            character.encode(encoding)
            return character
        except UnicodeEncodeError:
            escaped = character.encode('ascii', 'backslashreplace').decode('ascii')
            return _PLAINER.get(character, escaped)

    return ''.join(map(plain, text))


class _Lasting:
    """A stream of the program that goes on where its other end has gone."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.lost = self.lost or error
        # What is still in the buffer must go somewhere, or the end of the program would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def take_over() -> None:
    """Lets stdout and stderr of this program be closed, or their readers end, before it does."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # or the next file to be opened would get what is printed
            os.open(os.devnull, os.O_RDWR)
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name) or open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115
        setattr(sys, name, _Lasting(stream))


def lost_results() -> str | None:
    """Why results on stdout were lost, unless their reader wanted no more; None if they were not."""
    sys.stdout.flush()
    lost = getattr(sys.stdout, 'lost', None)
    return None if lost is None or lost.errno == errno.EPIPE else lost.strerror
