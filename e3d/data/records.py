"""Prepared data sets on disk: TFDS builders run without TensorFlow, whole or not there."""

import contextlib
import io
import pathlib
import tempfile
from collections.abc import Iterator

import tensorflow_datasets as tfds
from absl import logging

from e3d.errors import InputError, RunError


def open_records(builder_class: type, config: tfds.core.BuilderConfig, data_dir: str):
    """Opens a data set, which is written first, as array_record, where it is not there yet.

    It appears in its folder all at once when it is complete, so that neither an interruption nor a
    second process at the same work leaves a part of it to be read.

    Args:
      builder_class: A TFDS builder, whose data go to a folder of its name.
      config: Of the builder; its name names the folder within.
      data_dir: Folder of prepared data.

    Returns:
      The builder to read with.

    Raises:
      InputError: what the builder raises, a folder that cannot be written, damaged data.
      RunError: writing failed, as on a full disk.
    """
    folder = str(pathlib.Path(data_dir).expanduser())
    with _quiet():
        builder = builder_class(data_dir=folder, config=config, file_format='array_record')
        if not builder.data_path.exists():
            _prepare(builder)
    with _damage_explained(builder.data_path):
        return tfds.builder_from_directory(builder.data_path)


def read_split(builder: tfds.core.DatasetBuilder, split: str):
    """Opens a split by random access, `len` and `[index]`; the source can be pickled.

    Raises:
      InputError: damaged data.
    """
    with _damage_explained(builder.data_path):
        records = builder.as_data_source(split)
        records[0]
    return records


@contextlib.contextmanager
def _damage_explained(folder) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise InputError(
            f'The data in {folder} are damaged: {error}. Delete that folder; it is written anew at '
            'the next start.'
        ) from error


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    try:
        builder.data_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'The folder {builder.data_path.parent} cannot be made: {error.strerror}. Let '
            'dataset.data_dir name a folder that you may write to.'
        ) from error
    try:
        with tempfile.TemporaryDirectory() as no_downloads:
            builder.download_and_prepare(download_dir=no_downloads)
    except (OSError, RuntimeError) as error:  # array_record reports a full disk by the latter
        if not builder.data_path.exists():
            raise RunError(
                f'Writing the data to {builder.data_path} failed: {error}. Nothing of it was kept; '
                'make room or choose another dataset.data_dir, and start again.'
            ) from error
        # Another process was first, and the same set is there.


@contextlib.contextmanager
def _quiet():
    """Silences TFDS, which speaks of downloads and warns of every config made on the spot."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
