"""What an evaluation measured: it stands in its report, and decides where the report goes."""

import re
import zlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from e3d.data.sources.dataset import DATASETS, Source
from e3d.data.sources.registry import validates_on_test
from e3d.options.flat import as_tuple, flatten, list_differences
from e3d.tasks.evaluator import REPORT_NAME

# Keys of the data set that do not change what is measured.
UNMEASURED = ('dataset.path', 'dataset.data_dir', 'dataset.workers')
MAX_NAME = 80  # characters that the name of a report adds to that of the run's own


def split_label(split: str, source: Source) -> str:
    """What the numbers of a split are called: a validation on the test split is none."""
    on_test = split == 'validation' and validates_on_test(source)
    return 'validation_on_test' if on_test else split


def why_no_best(config: ConfigDict, validation: Source) -> str:
    """Why a training can select no best checkpoint; '' where it can."""
    if validates_on_test(validation):
        remedy = DATASETS[config.dataset.name].hold_out
        hold_out = f' Hold out a part of the training data in a new run: {remedy}.' * bool(remedy)
        return (
            'the data have no validation split, so that the evaluations during training are on the '
            f'test split, by which none is selected.{hold_out}'
        )
    if config.task == 'recognition' and config.loss.strategy == 'prediction':
        return "loss.strategy='prediction' trains no classes, by whose accuracy it is selected."
    return ''


def describe(
    run: ConfigDict, config: ConfigDict, split: str, checkpoint: str | int
) -> dict[str, Any]:
    """What is measured, for a report.

    Args:
      run: the config of the run.
      config: of the evaluation.
      split: that is measured.
      checkpoint: how it was chosen.

    Returns:
      'checkpoint', 'data' (name, path, split and lengths) and 'differences', those of the configs.
    """
    names = ('name', 'path', 'test_path', 'input_frames', 'output_frames', 'copy_test')
    data = {name: config.dataset[name] for name in names if name in config.dataset}
    data['copy_test'] = list(data['copy_test'])
    return {
        'checkpoint': checkpoint,
        'data': {**data, 'split': split},
        'differences': list_differences(run, config),
    }


def describe_choice(checkpoint: str | int, step: int, sources: Mapping[str, Source]) -> str | int:
    """How a checkpoint was chosen, for a report: 'newest', 'best on validation', or its step.

    A run of an earlier version may have selected the best on the test split, which its 'validation'
    among the sources tells.
    """
    if checkpoint == 'newest':
        return checkpoint
    if checkpoint == 'best':
        on_test = 'validation' in sources and validates_on_test(sources['validation'])
        return f'best on {"test" if on_test else "validation"}'
    return step


def report_name(run: ConfigDict, config: ConfigDict, other_data: bool = False) -> str:
    """The name of the files of an evaluation, without suffix.

    Args:
      run: the config of the run.
      config: of the evaluation.
      other_data: whether the data at `dataset.path` are not those of the run.

    Returns:
      'evaluation' where the run's own data and lengths are measured, or else one that says what
      differs, so that no report takes the place of another.
    """
    before, now = flatten(run), flatten(config)
    keys = [
        key
        for key in now
        if key.startswith('dataset.')
        and key not in UNMEASURED
        and repr(as_tuple(before.get(key))) != repr(as_tuple(now[key]))
    ]
    parts = [f'{key.partition(".")[2]}_{now[key]}' for key in keys]
    if other_data:
        path = str(now.get('dataset.path', ''))
        parts.append(f'path_{path.rstrip("/").rpartition("/")[2]}_{zlib.crc32(path.encode()):08x}')
    name = re.sub(r'(?:[^\w.-]|_|\.{2,})+', '_', '_'.join([REPORT_NAME, *parts])).strip('_.')
    if len(name) <= MAX_NAME:
        return name
    return f'{name[:MAX_NAME]}_{zlib.crc32(name.encode()):08x}'
