"""Runs what is missing of the sweeps of experiments/moving_actions.py and writes Tables 5 to 8.

    python -m benchmarks.recognition_study
    python -m benchmarks.recognition_study --only 'moving_actions_sweep/i3d,*'
    python -m benchmarks.recognition_study --only '*/gated,*' --again

Every run takes about ten minutes on two CPU cores. It may be stopped and started again: a run goes
on from its checkpoint, and the numbers of a finished one are kept in results/recognition.json, so
that it is not run again on another machine either. With `--again` it is, where no finished run lies in
its folder, and its new numbers are kept. A run that begins from another one has that one made before,
where it is missing. After each run the sections of results/recognition.md between marks and the
pictures results/recognition*.png are written again.
"""

import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import finished_runs
from benchmarks.error_bars import bars_aside, draw_with_bars
from benchmarks.finished_runs import ROOT
from benchmarks.study_tables import row
from e3d.data.sources.moving_actions import CLASSES, MovingActions
from e3d.evaluation.figures import make_plain
from e3d.evaluation.recognition import FRACTIONS, PARTS, wilson_interval
from e3d.evaluation.styles import SIMPLE_COLOR, label_of, styles_of
from e3d.files import atomic_write
from e3d.sweep.entries import Entry
from experiments.moving_actions import RUNS, SLOW

NUMBERS = ROOT / 'results' / 'recognition.json'
STUDY, SLOWER = pathlib.Path(RUNS).name, 'moving_actions_slow_sweep'
EXPERIMENTS = {
    STUDY: 'experiments/moving_actions.py',
    SLOWER: 'experiments/moving_actions.py:slow',
}

Rows = Mapping[str, tuple[float, float] | None]

# The rows of each table of the paper, with its accuracies for the front 25 % and 50 % of 41 classes,
# where it has them: its rivals have a backbone like that of E3D-LSTM, not those that are published.
_E3D_LSTM = {'e3d_lstm': (14.59, 22.73)}
TABLES = {
    'Table 5: feed-forward and separable convolutions': {
        'cnn_3d': (9.11, 10.30),
        'separable_cnn': (8.94, 9.62),
        'cnn_2_1d': (9.08, 10.17),
        'e2_1d_lstm': (12.45, 19.86),
        **_E3D_LSTM,
    },
    'Table 5: published networks, as small': {
        **dict.fromkeys(('c3d', 'i3d', 's3d', 'p3d', 'r3d', 'mc3', 'r2plus1d')),
        **dict.fromkeys(f'{name}_without_dropout' for name in ('i3d', 's3d', 'p3d')),
        'r2plus1d_1e-2': None,
        **_E3D_LSTM,
    },
    'Table 6: ablations': {
        'cnn_at_bottom': (10.28, 16.05),
        'cnn_on_top': (9.63, 14.82),
        'without_3d_convolutions': (9.58, 13.92),
        'without_attention': (11.39, 18.84),
        'gated': None,
        **_E3D_LSTM,
    },
    'Table 7: strategies': {
        'classification_only': (13.78, 20.91),
        **dict.fromkeys(('classification_only_3000_updates', 'e3d_lstm_3000_updates')),
        'pre_trained': (14.00, 22.15),
        'fixed_ratio': (13.57, 20.46),
        **_E3D_LSTM,
    },
    'Table 8: online': {
        'online_classification_only': (13.49, 18.94),
        'online': (14.30, 20.85),
    },
}


def main():
    """Runs and writes."""
    finished_runs.complete(__doc__, NUMBERS, EXPERIMENTS, pathlib.Path(RUNS).parent, measure, write)


def measure(entry: Entry, workdir: pathlib.Path) -> dict[str, Any]:
    """The numbers of a finished run."""
    report = json.loads((workdir / 'evaluation.json').read_text('utf-8'))
    return {
        'parameters': finished_runs.count_parameters(entry),
        'clips': report['num_sequences'],
        'curve': report['curve'],
        'top5': [report[f'top5_{part}'] for part in PARTS],
        'per_class': report['per_class'],
    }


def write(numbers: finished_runs.Numbers) -> None:
    """Writes the tables and the pictures."""
    tables = list(TABLES.values())
    panels = {
        'models (Tables 5 and 6)': tables[0] | tables[2],
        'published networks, as small': tables[1],
        'strategies, offline and online (Tables 7 and 8)': tables[3] | tables[4],
    }
    best = best_accuracies()
    _write_section('recognition', numbers[STUDY], TABLES, panels, best, costs=True)
    slower = {'Moving actions at half the speed': dict.fromkeys(SLOW)}
    _write_section('recognition_slow', numbers[SLOWER], slower, slower, best, costs=False)


def _write_section(
    name: str,
    known: Mapping[str, Any],
    tables: Mapping[str, Rows],
    panels: Mapping[str, Rows],
    best: Sequence[float],
    costs: bool,
) -> None:
    runs = finished_runs.by_name(known)
    picture = NUMBERS.with_name(f'{name}.png')
    parts = [table(heading, rows, runs, best, costs) for heading, rows in tables.items()]
    parts += finished_runs.of_devices(finished_runs.by_seed(known))
    if runs:
        draw(panels, runs, best, picture)
        parts.append(f'![Accuracy by the part observed]({picture.name})\n')
    finished_runs.write_section(NUMBERS.with_suffix('.md'), name, parts)


def best_accuracies() -> list[float]:
    """Share of right answers, by `FRACTIONS`, who knows the rules and sees exact positions.

    It does not depend on the speed.
    """
    actions = MovingActions()
    return [
        actions.oracle_accuracy(round(actions.clip_frames * fraction)) for fraction in FRACTIONS
    ]


def table(
    heading: str,
    rows: Rows,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    best: Sequence[float],
    costs: bool,
) -> str:
    """The rows in Markdown; a column for the paper where it has some of them, and one for the costs."""
    columns = ['entry', 'parameters', 'seeds'] + ['seconds a step'] * costs
    columns += [f'front {part} %' for part in PARTS] + ['mean']
    of_paper = ['paper, 25 and 50 %'] * any(rows.values())
    columns += of_paper
    lines = [f'## {heading}\n', row(columns), '|---' * len(columns) + '|']
    for name, paper in rows.items():
        if name in runs:
            seeds = runs[name]
            cells = [f'{seeds[0]["parameters"]:,}', str(len(seeds))]
            of_cpus = [seed['seconds_per_step'] for seed in seeds if 'device' not in seed]
            cells += [f'{min(of_cpus):.2f}' if of_cpus else ''] * costs
            cells += [accuracy(seeds, FRACTIONS.index(part / 100)) for part in PARTS]
            cells.append(finished_runs.shown((100 * statistics.mean(s['curve']) for s in seeds), 1))
        else:
            cells = ['', '', *[''] * costs, *['not run yet'] * len(PARTS), '']
        cells += ['{:.2f}, {:.2f}'.format(*paper) if paper else ''] * len(of_paper)
        lines.append(row([label_of(name), *cells]))
    for name, values in (('best possible', best), ('guessing', [1 / len(CLASSES)] * len(best))):
        cells = [f'{100 * values[FRACTIONS.index(part / 100)]:.1f}' for part in PARTS]
        cells.append(f'{100 * statistics.mean(values):.1f}')
        lines.append(row([name, '', '', *[''] * costs, *cells, *[''] * len(of_paper)]))
    return '\n'.join(lines) + '\n'


def accuracy(seeds: Sequence[Mapping[str, Any]], place: int) -> str:
    """Accuracy in percent, with the 95 % interval that the number of test clips leaves."""
    values = [seed['curve'][place] for seed in seeds]
    clips = seeds[0]['clips']  # of every seed the same ones: more seeds do not narrow the interval
    low, high = wilson_interval(statistics.mean(values) * clips, clips)
    shown = finished_runs.shown((100 * value for value in values), 1)
    return f'{shown} ({100 * low:.1f} to {100 * high:.1f})'


def draw(
    panels: Mapping[str, Rows],
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    best: Sequence[float],
    path: pathlib.Path,
) -> None:
    """Draws the accuracy by the part observed, a panel for each group of rows."""
    figure = Figure(figsize=(6 * len(panels), 5.2), dpi=110, layout='constrained')
    several = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, rows) in zip(several, panels.items(), strict=True):
        _draw_curves(axes, {name: runs[name] for name in rows if name in runs}, best)
        axes.set(title=title, xlabel='observed (%)', ylabel='top-1 accuracy (%)', ylim=(0, 103))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format='png')


def _draw_curves(
    axes: Axes, runs: Mapping[str, Sequence[Mapping[str, Any]]], best: Sequence[float]
) -> None:
    """Draws means over seeds, the best at the end first; bars reach from seed to seed."""
    observed = np.array([100 * fraction for fraction in FRACTIONS])
    axes.plot(observed, [100 * value for value in best], 'k--', label='best possible')
    chance = 100 / len(CLASSES)
    axes.axhline(chance, color=SIMPLE_COLOR, linestyle=':', label='guessing')
    curves = {
        name: 100 * np.array([seed['curve'] for seed in seeds]) for name, seeds in runs.items()
    }
    styles = styles_of(sorted(curves, key=lambda name: -curves[name].mean()))
    every = observed[1] - observed[0]
    for (name, style), aside in zip(styles.items(), bars_aside(len(styles)), strict=True):
        means = curves[name].mean(axis=0)
        ends = [means - curves[name].min(axis=0), curves[name].max(axis=0) - means]
        draw_with_bars(axes, observed, means, ends, style, aside * every)
    make_plain(axes)
    axes.legend(fontsize='small', loc='upper center', bbox_to_anchor=(0.5, -0.13), ncols=3)


if __name__ == '__main__':
    main()
