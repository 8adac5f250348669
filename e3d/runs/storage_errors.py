"""What the libraries that store checkpoints raise, in the words of this one."""

import contextlib
import pathlib
from collections.abc import Iterator

from absl import logging

from e3d.errors import InputError, RunError


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silences orbax, which warns of every folder that is only to be read."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _as_input_error(what: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of any type: the libraries expect no damage
        raise InputError(f'{what}: {str(error)[:300]}\n{remedy}') from error


def opening_errors(folder: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Turns what goes wrong when orbax looks at a folder of checkpoints into an InputError."""
    return _as_input_error(
        f'The checkpoints in {folder} cannot be opened',
        'Move the one that is damaged away, or give another --workdir.',
    )


def read_errors(path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Turns what the libraries raise for missing or damaged files into an InputError."""
    return _as_input_error(
        f'The checkpoint {path} cannot be read',
        'If it is damaged, move that folder away; the next newest one is used then.',
    )


@contextlib.contextmanager
def write_errors(folder: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong with the disk into a RunError that says what is safe."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f'A checkpoint could not be written to {folder}: {error}\nThe earlier ones are intact. '
            'Free some space or give write permission, then run the same command again.'
        ) from error
