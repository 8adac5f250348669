"""A data set made ready ahead of training, and an account of it."""

import pathlib
from collections.abc import Mapping
from typing import Any

from e3d.data.batches import frame_shape
from e3d.data.readers.left_out import describe_left_out, summarize_left_out
from e3d.data.sources.dataset import DATASETS, ENDLESS, Source
from e3d.data.sources.layouts import plain_dataset
from e3d.data.sources.registry import (
    account,
    left_out,
    open_source,
    scale_of,
    validates_on_test,
)
from e3d.data.sources.splits import SPLITS
from e3d.errors import RunError

ACCOUNT_FILE = 'preparation.txt'


def prepare(dataset: Mapping[str, Any], seed: int) -> str:
    """Makes all splits of a data set ready, with a progress bar where that takes time.

    The account is also kept beside the records, in `preparation.txt`.

    Args:
      dataset: the section `dataset` of a config.
      seed: of the run.

    Returns:
      How many sequences of which size there are in each split, how the files were understood and
      divided, what was left out and why, and where all of it lies, in lines for the user.

    Raises:
      InputError: the data were not found or cannot be used.
      RunError: writing failed, as on a full disk.

    Example:
      >>> print(e3d.prepare(e3d.make_config('quickstart:small').dataset, seed=0))
      moving_mnist: 5 -> 5 frames of 32 x 32 x 1
        train      a new sequence at every draw
        validation 16 sequences
        test       32 sequences
      ...
    """
    # In the copy test each sequence is used twice, but there are no others.
    plain = plain_dataset(dataset)
    sources = {split: open_source(plain, split, seed) for split in SPLITS}
    lines = describe(plain, sources).splitlines()
    lines += [f'  {line}' for line in describe_left_out(left_out(sources['train']))]
    lines += [f'  {line}' for line in DATASETS[dataset['name']].details(dataset)]
    folder = _folder_of(sources['test'])
    if folder is None:
        return printable(
            '\n'.join([*lines, '  nothing was written: the files are read as they are'])
        )
    size = sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())
    lines.append(f'  {folder}, {size / 2**20:,.1f} MiB')
    text = printable('\n'.join(lines))
    _write(folder / ACCOUNT_FILE, text)
    return text


def describe(dataset: Mapping[str, Any], sources: Mapping[str, Source]) -> str:
    """What was understood of a data set, and how many sequences go where, in a few lines.

    Args:
      dataset: the section `dataset` of a config.
      sources: by split.
    """
    any_source = next(iter(sources.values()))
    height, width, channels = frame_shape(any_source)
    lines = [
        f'{dataset["name"]}: {dataset["input_frames"]} -> {dataset["output_frames"]} frames of '
        f'{height} x {width} x {channels}'
    ]
    lines += [f'  {split:<11}{_count(source, split)}' for split, source in sources.items()]
    accounts = [line for source in sources.values() for line in account(source)]
    lines += [f'  {line}' for line in dict.fromkeys(accounts)]
    if values := scale_of(any_source).describe():
        lines.append(f'  {values}')
    return printable('\n'.join(lines))


def summarize(dataset: Mapping[str, Any], sources: Mapping[str, Source]) -> str:
    """Like `describe`, but with what was left out in one line."""
    summary = summarize_left_out(left_out(next(iter(sources.values()))))
    more = f'  {summary}; --mode=prepare tells more' if summary else ''
    return '\n'.join(filter(None, (describe(dataset, sources), printable(more))))


def printable(text: str) -> str:
    """Text that can be printed and written though names of files in it are no UTF-8."""
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')


def _count(source: Source, split: str) -> str:
    if len(source) >= ENDLESS:
        return 'a new sequence at every draw'
    shared = ', those of the test split' * (split == 'validation' and validates_on_test(source))
    return f'{len(source):,} sequences{shared}'


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
