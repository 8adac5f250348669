"""Pages as files: that of a run in its folder, that of a comparison anywhere."""

import base64
import contextlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from e3d.data.readers.array_files import load_arrays
from e3d.data.sources.registry import channel_names, class_names, scale_of
from e3d.errors import InputError
from e3d.evaluation.shown import Shown
from e3d.files import atomic_write, local_path, read_bytes
from e3d.options.flat import flatten
from e3d.pages.content import (
    PAGE_FILE,
    REPORT_FILE,
    Content,
    Inside,
    read_content,
    samples_of,
)
from e3d.pages.document import render
from e3d.runs.reporting import METRICS_FILE, read_lines
from e3d.runs.workdir import INSPECTION_FILE, INSPECTION_FOLDER, resolve_workdir
from e3d.tasks.evaluator import REPORT_NAME, Evaluator

INSPECTION_BYTES = 600_000
STEP_BYTES = 2**16  # of the array that tells the step of an inspection


def write_page(
    workdir: pathlib.Path,
    config: ConfigDict,
    report: Mapping[str, Any],
    evaluator: Evaluator,
) -> pathlib.Path:
    """Writes the page of an evaluation into the folder of its run.

    Args:
      workdir: the folder.
      config: of the evaluation.
      report: of it.
      evaluator: that measured; has the sequences to be shown.

    Returns:
      The path: report.html, or one that says what was measured instead of the run's own data.

    Raises:
      RunError: it cannot be written.
    """
    source = evaluator.sources['test']
    shown: Sequence[Shown] = getattr(evaluator, 'shown', ())
    samples = samples_of(shown, scale_of(source), channel_names(source), class_names(source))
    lines = read_lines(workdir / METRICS_FILE)
    content = Content(workdir.resolve().name, flatten(config), report, lines, samples)
    stem, suffix = PAGE_FILE.split('.')
    path = workdir / f'{stem}{evaluator.name.removeprefix(REPORT_NAME)}.{suffix}'
    _write(path, render([content], inspection_of(workdir)))
    return path


def renew_page(workdir: str | os.PathLike[str]) -> None:
    """Writes the page of a run again, with what --mode=inspect drew; nothing where there is none."""
    folder = resolve_workdir(workdir)
    if (folder / PAGE_FILE).exists() and (folder / REPORT_FILE).exists():
        _write(folder / PAGE_FILE, render([read_content(folder)], inspection_of(folder)))


def write_comparison(
    workdirs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> pathlib.Path:
    """Writes a page that compares finished runs.

    Runs that differ only by their seeds become one row and one curve, with bars of the standard
    deviation; see `group_runs`. Sequences are shown that all runs have in their pages.

    Args:
      workdirs: of the runs, two or more.
      output: the page.

    Returns:
      Its path.

    Raises:
      InputError: a run has no report or a damaged one, or they are of different tasks.
      RunError: it cannot be written.
    """
    if len(workdirs) < 2:
        raise InputError('compare needs the folders of two runs or more: e3d compare RUN RUN ...')
    contents = [read_content(resolve_workdir(workdir)) for workdir in workdirs]
    tasks = sorted({content.config['task'] for content in contents})
    if len(tasks) > 1:
        raise InputError(f'The runs are of different tasks ({" and ".join(tasks)}): compare one.')
    path = local_path(output, 'The output')
    try:
        page = render(contents)
    except InputError:
        raise
    except Exception as error:  # of any type: a report may hold anything
        damaged = [str(run) for run, one in zip(workdirs, contents, strict=True) if _fails(one)]
        raise InputError(
            f'The runs cannot be compared, as {REPORT_FILE} or {METRICS_FILE} is damaged in '
            f'{" and ".join(damaged) or "one of them"}: {error}. Evaluate it again, with '
            '--mode=evaluate --workdir=RUN.'
        ) from error
    _write(path, page)
    return path


def _fails(content: Content) -> bool:
    """Whether no page can be made of a run alone."""
    try:
        render([content])
    except Exception:  # as above
        return True
    return False


def inspection_of(workdir: pathlib.Path) -> Inside:
    """What --mode=inspect drew, as much as fits."""
    found, used = [], 0
    for path in sorted((workdir / INSPECTION_FOLDER).glob('*.png')):
        with contextlib.suppress(InputError):  # what is too large is left out
            content = read_bytes(path, INSPECTION_BYTES - used)
            used += len(content)
            found.append((path.stem.replace('_', ' '), base64.b64encode(content).decode('ascii')))
    return Inside(found, _step_of_inspection(workdir / INSPECTION_FOLDER / INSPECTION_FILE))


def _step_of_inspection(path: pathlib.Path) -> int | None:
    """What a file of an inspection tells; None of an earlier version, or where it is damaged."""
    with contextlib.suppress(InputError):
        step = load_arrays(path, STEP_BYTES, ['step']).get('step')
        if step is not None and step.shape == () and step.dtype.kind in 'iu':
            return int(step)
    return None


def _write(path: pathlib.Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding='utf-8')
