"""All data sets: what they are, whether they are at hand, and how to get the others."""

import pathlib
import textwrap

from e3d.data.sources.dataset import DATASETS, Dataset
from e3d.files import local_path

WIDTH = 100
OBTAINED = {
    'made': 'made when it is used, nothing to fetch',
    'fetched': 'fetched when it is used',
    'by hand': 'to be fetched by hand',
    'own': 'your own files',
}


def describe_data_sets(data_dir: str | pathlib.Path = 'data') -> str:
    """Each data set with its state, for the user.

    Args:
      data_dir: the folder of prepared data, `dataset.data_dir` of configs.

    Raises:
      InputError: it is not the path of a folder.
    """
    folder = local_path(data_dir, 'The folder of prepared data')
    blocks = [_describe(name, known, folder) for name, known in sorted(DATASETS.items())]
    return '\n\n'.join(blocks)


def _describe(name: str, known: type[Dataset], folder: pathlib.Path) -> str:
    origin = known.origin
    summary = (known.__doc__ or '').partition('\n')[0]
    state = _prepared(folder / name) or OBTAINED[origin.obtained]
    facts = ', '.join(filter(None, (state, origin.size, origin.terms)))
    lines = [f'{name}: {summary}', f'  {facts}']
    lines += textwrap.wrap(
        origin.instructions,
        WIDTH,
        initial_indent='  ',
        subsequent_indent='  ',
        break_long_words=False,
        break_on_hyphens=False,
    )
    return '\n'.join(lines)


def _prepared(folder: pathlib.Path) -> str:
    """What was prepared of a data set; '' if nothing was."""
    files = [path for path in folder.rglob('*') if path.is_file()] if folder.is_dir() else []
    if not files:
        return ''
    size = sum(path.stat().st_size for path in files)
    return f'ready in {folder}, {size / 2**20:,.1f} MiB'
