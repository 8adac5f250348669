"""Prepared data sets on disk: TFDS builders run without TensorFlow, whole or not there."""

import contextlib
import fcntl
import io
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import shuffle
from tensorflow_datasets.core.constants import INCOMPLETE_PREFIX

from e3d.errors import InputError, RunError
from e3d.files import local_path


def open_records(builder_class: Any, config: tfds.core.BuilderConfig, data_dir: str) -> Any:
    """Opens a data set, which is written first, as array_record, where it is not there yet.

    It appears in its folder all at once when it is complete, so that an interruption leaves no part
    of it to be read; what a killed process left goes when the work starts over. A second process
    waits for the first.

    Args:
      builder_class: a TFDS builder, whose data go to a folder of its name.
      config: of the builder; its name names the folder within.
      data_dir: folder of prepared data.

    Returns:
      The builder to read with.

    Raises:
      InputError: what the builder raises, a folder that cannot be written, damaged data.
      RunError: writing failed, as on a full disk.
    """
    folder = str(local_path(data_dir, 'dataset.data_dir'))
    with _quiet():
        place = pathlib.Path(folder, builder_class.name, config.name)
        with damage_explained(place), _folder_explained(folder):
            folder.encode()  # array_record takes no other names
            builder = builder_class(data_dir=folder, config=config, file_format='array_record')
            is_there = builder.data_path.exists()
        if not is_there:
            with _only_process(pathlib.Path(builder.data_path.parent)):
                if not builder.data_path.exists():
                    _prepare(builder)
    with damage_explained(builder.data_path):
        builder = tfds.builder_from_directory(builder.data_path)
        if builder.info.metadata is not None:
            builder.info.metadata.load_metadata_if_needed()
        return builder


def read_split(builder: tfds.core.DatasetBuilder, split: str) -> Any:
    """Opens a split by random access, `len` and `[index]`; the source can be pickled.

    Raises:
      InputError: damaged data.
    """
    with damage_explained(builder.data_path):
        records = builder.as_data_source(split)
        records[0]
    return records


@contextlib.contextmanager
def damage_explained(folder: Any) -> Iterator[None]:
    """Makes an InputError of whatever goes wrong with prepared data."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of any type: TFDS expects no damage
        raise InputError(
            f'The data in {folder} are damaged: {error}. Delete that folder; it is written again at '
            'the next start.'
        ) from error


@contextlib.contextmanager
def _folder_explained(folder: str | pathlib.Path) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(
            f'The folder {folder!r} has a name that is not UTF-8; let dataset.data_dir name '
            'another one.'
        ) from error
    except OSError as error:
        raise InputError(
            f'The folder {folder} cannot be made or written to: {error.strerror}. Let '
            'dataset.data_dir name a folder that you can write to.'
        ) from error


@contextlib.contextmanager
def _only_process(folder: pathlib.Path) -> Iterator[None]:
    """Makes a folder and waits until no other process works in it; others then wait in turn.

    The system lifts the lock of a process that is killed.
    """
    with contextlib.ExitStack() as stack:
        with _folder_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / '.lock').open('w'))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    for left_over in pathlib.Path(builder.data_path.parent).glob(f'{INCOMPLETE_PREFIX}*'):
        shutil.rmtree(left_over, ignore_errors=True)
    # Beyond a GiB of records TFDS would put them into files with TensorFlow, and read those whole.
    shuffle.MAX_MEM_BUFFER_SIZE = sys.maxsize
    try:
        with tempfile.TemporaryDirectory() as no_downloads:
            builder.download_and_prepare(download_dir=no_downloads)
    except (OSError, RuntimeError) as error:  # array_record reports a full disk by the latter
        raise RunError(
            f'Writing the data to {builder.data_path} failed: {error}. Nothing of it was kept; '
            'free some space or choose another dataset.data_dir, and start again.'
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS, which speaks of downloads and warns of every config made on the spot."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
