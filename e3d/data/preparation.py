"""A data set made ready ahead of training, and an account of it."""

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds

from e3d.data.batches import frame_shape
from e3d.data.clip_records import describe_skipped
from e3d.data.digits import SPLITS
from e3d.data.kth import count_sequences
from e3d.data.sources import ENDLESS, Source, open_source, value_range
from e3d.errors import RunError

ACCOUNT_FILE = 'preparation.txt'


def prepare(dataset: Mapping[str, Any], seed: int) -> str:
    """Makes all splits of a data set ready, with a progress bar where that takes time.

    The account is also kept beside the records, in `preparation.txt`.

    Args:
      dataset: The section `dataset` of a config.
      seed: Of the run.

    Returns:
      How many sequences of which size there are in each split, what was left out and where all
      of it lies, in a few lines for the user.

    Raises:
      InputError: the data are not at hand or cannot be used.
      RunError: writing failed, as on a full disk.
    """
    # In the copy test each sequence is used twice, but there are no others.
    plain = {**dataset, 'copy_test': ()}
    sources = {split: open_source(plain, split, seed) for split in SPLITS}
    height, width, channels = frame_shape(sources['train'])
    lines = [
        f'{dataset["name"]}: {dataset["input_frames"]} -> {dataset["output_frames"]} frames of '
        f'{height} x {width} x {channels}'
    ]
    lines += [f'  {split:<11}{_count(source)}' for split, source in sources.items()]
    if dataset['name'] == 'kth':
        lines += [
            f'  {rule} rule: ' + ', '.join(f'{split} {count:,}' for split, count in counts.items())
            for rule, counts in count_sequences(dataset).items()
        ]
    if value_range(sources['train']):
        low, high = value_range(sources['train'])
        lines.append(f'  0 and 1 stand for the counts {low:g} and {high:g}')
    folder = _folder_of(sources['test'])
    if folder is None:
        return '\n'.join([*lines, '  nothing was written: the files are read as they are'])
    size = sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())
    lines.append(f'  {folder}, {size / 2**20:,.1f} MiB')
    skipped = tfds.builder_from_directory(folder).info.metadata or {}
    if skipped.get('skipped'):
        lines.append(describe_skipped(skipped['skipped']))
    _write(folder / ACCOUNT_FILE, '\n'.join(lines))
    return '\n'.join(lines)


def _count(source: Source) -> str:
    if len(source) >= ENDLESS:
        return 'a new sequence at every draw'
    return f'{len(source):,} sequences'


def _folder_of(source: Source) -> pathlib.Path | None:
    """Where the records of a source lie; None for one that reads the user's files."""
    folder = getattr(source, 'folder', None)
    info = getattr(source, 'dataset_info', None)
    if info is not None:
        folder = info.data_dir
    return pathlib.Path(folder) if folder else None


def _write(file: pathlib.Path, text: str) -> None:
    try:
        file.write_text(text + '\n', encoding='utf-8')
    except OSError as error:
        raise RunError(f'{file} could not be written: {error.strerror}.') from error
