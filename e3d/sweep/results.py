"""What a sweep has brought so far: a table, a CSV file and a picture."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from e3d.configuration import measures_the_same
from e3d.errors import InputError
from e3d.evaluation.figures import make_plain, save_figure
from e3d.evaluation.report import HEADINGS, as_text
from e3d.evaluation.styles import styles_of
from e3d.files import atomic_write
from e3d.runs.reporting import METRICS_FILE, metrics_of, read_lines, validation_metrics
from e3d.runs.workdir import CONFIG_FILE, read_config
from e3d.sweep.entries import PICTURE_FILE, TABLE_FILE, Entry

FINISHED = 'finished'
SHOWN_METRICS = 5


class Result(NamedTuple):
    """Where an entry stands.

    Attributes:
      status: 'finished', or in words how far it came.
      step: of the last numbers.
      test: metrics of the test split at the end; empty before.
      validation: {metric: [(step, value), ...]}, during training.
      on_test: whether that is on the test split, as the data have no other for it.
    """

    status: str
    step: int
    test: Mapping[str, float]
    validation: Mapping[str, list[tuple[int, float]]]
    on_test: bool = False


def read_result(entry: Entry, workdir: pathlib.Path) -> Result:
    """Reads what the run of an entry has written so far."""
    lines = read_lines(workdir / METRICS_FILE)
    step = max((line['step'] for line in lines), default=0)
    validation = validation_metrics(lines)
    on_test = any(line.get('split') == 'validation_on_test' for line in lines)
    steps = entry.config.train.steps
    tests = [line for line in lines if line.get('split') == 'test' and line['step'] == steps]
    if tests and step == steps and _is_of(entry, workdir):
        return Result(FINISHED, step, metrics_of(tests[-1]), validation, on_test)
    status = f'at step {step} of {steps}' if step else 'not begun'
    return Result(status, step, {}, validation, on_test)


def write_results(entries: Sequence[Entry], folder: pathlib.Path, failed: Mapping[str, str]) -> str:
    """Writes the table and the picture of a sweep.

    Args:
      entries: all of the sweep.
      folder: of the sweep; gets sweep.csv and sweep.png.
      failed: by name what is to be said of an entry that failed.

    Returns:
      The table as text, and where the files lie.
    """
    results = {entry.name: read_result(entry, folder / entry.name) for entry in entries}
    results = {
        name: result._replace(status=failed.get(name, result.status))
        for name, result in results.items()
    }
    metrics = list(dict.fromkeys(metric for r in results.values() for metric in r.test))
    with atomic_write(folder / TABLE_FILE) as temporary:
        temporary.write_text(_as_csv(entries, results, metrics), encoding='utf-8')
    if metrics:
        draw(results, metrics[0], folder / PICTURE_FILE)
    places = f'table    {folder / TABLE_FILE}'
    places += f'\npicture  {folder / PICTURE_FILE}' if metrics else ''
    return f'{format_table(results, metrics)}\n{places}'


def format_table(results: Mapping[str, Result], metrics: Sequence[str]) -> str:
    """One line for each entry: where it stands and the first metrics on the test split."""
    table = Table('entry', 'status', box=box.SIMPLE_HEAD)
    shown = metrics[:SHOWN_METRICS]
    for metric in shown:
        table.add_column(HEADINGS.get(metric, metric), justify='right')
    for name, result in results.items():
        numbers = [f'{result.test[m]:.5g}' if m in result.test else '' for m in shown]
        table.add_row(name, result.status, *numbers)
    return as_text(table, width=240)


def draw(results: Mapping[str, Result], metric: str, path: pathlib.Path) -> None:
    """Draws a metric: on the validation split by step, and on the test split by entry."""
    height = max(2.9, 0.28 * len(results) + 1.2)
    figure = Figure(figsize=(9.6, height), dpi=150, layout='constrained')
    curves, bars = figure.subplots(1, 2)
    label = HEADINGS.get(metric, metric)
    styles = styles_of(results)
    for row, (name, result) in enumerate(results.items()):
        style = styles[name]
        points = result.validation.get(metric)
        if points:
            curves.plot(*zip(*points, strict=True), **style.of_line)
        if metric in result.test:
            bars.barh(row, result.test[metric], color=style.color)
            bars.text(result.test[metric], row, f' {result.test[metric]:.4g}', va='center')
    on_test = ' on the test split' * any(result.on_test for result in results.values())
    curves.set(title=f'validation{on_test}: {label}', xlabel='step')
    bars.set(title=f'test: {label}', yticks=range(len(results)), yticklabels=list(results))
    bars.set_ylim(len(results) - 0.5, -0.5)
    curves.xaxis.get_major_locator().set_params(integer=True)
    bars.margins(x=0.18)
    for axes in (curves, bars):
        make_plain(axes)
    save_figure(figure, [path])


def _as_csv(entries: Sequence[Entry], results: Mapping[str, Result], metrics: Sequence[str]) -> str:
    points = {
        entry.name: dict(a.removeprefix('--config.').split('=', 1) for a in entry.arguments)
        for entry in entries
    }
    keys = dict.fromkeys(key for point in points.values() for key in point if key != 'name')
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['entry', *keys, 'status', 'step', *metrics])
    for name, result in results.items():
        values = [points[name].get(key, '') for key in keys]
        numbers = [result.test.get(metric, '') for metric in metrics]
        writer.writerow([name, *values, result.status, result.step, *numbers])
    return text.getvalue()


def _is_of(entry: Entry, workdir: pathlib.Path) -> bool:
    """Whether the run in a workdir has last measured what the entry asks for."""
    try:
        return measures_the_same(read_config(workdir / CONFIG_FILE), entry.config)
    except InputError:
        return False
