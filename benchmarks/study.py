"""Runs what is missing of experiments/study.py and writes its tables and curves.

    python -m benchmarks.study
    python -m benchmarks.study --write_only

Every run takes minutes on two CPU cores. It may be stopped and started again: a run goes on from its
checkpoint, and the numbers of a finished one are kept in results/study.json, so that it is not
run again on another machine either. After each run the section of RESULTS.md between the two
marks and the pictures results/study*.png are written again.
"""

import itertools
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import finished_runs
from benchmarks.finished_runs import ROOT, shown
from e3d.evaluation.styles import Style, label_of, styles_of
from e3d.files import atomic_write
from e3d.sweep.entries import Entry
from e3d.sweep.results import read_result

NUMBERS = ROOT / 'results' / 'study.json'

# What is run, with a heading and the MSE of the paper's tables 1 and 2.
STUDIES = {
    'forecast': (
        'experiments/study.py',
        'Moving MNIST, one digit on 32 x 32, 5 frames to 5',
        {
            'e3d_lstm': 41.3,
            'without_3d_convolutions': 44.2,
            'without_attention': 45.7,
            '3d_cnn_at_bottom': 50.6,
            '3d_cnn_on_top': 53.4,
            'convlstm': 96.5,
            'predrnn': 56.5,
            'predrnn_plus_plus': 46.3,
        },
    ),
    'copy': (
        'experiments/study.py:copy',
        'Copy test, one digit on 32 x 32, 3 frames to 3 after a context of 6',
        {'e3d_lstm': 56.8, 'predrnn': 80.3, 'convlstm': 143.2},
    ),
    'rivals': (
        'experiments/study.py:rivals',
        'Other models of table 1: Moving MNIST, one digit on 32 x 32, 5 frames to 5',
        {'dfn': 89.0, 'cdna': 84.2, 'frnn': 68.4, 'vpn_baseline': 64.1},
    ),
    'recall': (
        'experiments/study.py:recall',
        'Copy test, 1 frame to 5 after a context of 6 and 6 unrelated frames, 2,500 updates',
        {},
    ),
    'brief': (
        'experiments/study.py:brief',
        'The same with a digit of 8 pixels on 16 x 16, 600 updates',
        {},
    ),
    'lengths': (
        'experiments/study.py:lengths',
        'The same after longer unrelated sequences',
        {},
    ),
    'rates': (
        'experiments/study.py:rates',
        'The learning rate of each model, 200 updates',
        {},
    ),
    'longer': (
        'experiments/study.py:longer',
        'Moving MNIST, one digit on 32 x 32, 5 frames to 5, 900 updates',
        {},
    ),
}

SIMPLE = {'last_frame': 'repeat the last frame', 'mean_image': 'mean image'}


def main():
    """Runs and writes."""
    flags = {study: flag for study, (flag, *_) in STUDIES.items()}
    finished_runs.complete(__doc__, NUMBERS, flags, pathlib.Path('runs/study'), measure, write)


def measure(entry: Entry, workdir: pathlib.Path) -> dict[str, Any]:
    """The numbers of a finished run."""
    report = json.loads((workdir / 'evaluation.json').read_text('utf-8'))
    metrics = ('mse', 'ssim', 'psnr')
    return {
        'parameters': finished_runs.count_parameters(entry),
        'test': {key: report[key] for key in metrics},
        'mse_per_frame': report['mse_per_frame'],
        'mse_per_sequence': [float(f'{value:.4g}') for value in report['mse_per_sequence']],
        'curve': read_result(entry, workdir).validation['mse'],
        **{name: {key: report[name][key] for key in metrics} for name in SIMPLE},
    }


def write(numbers: finished_runs.Numbers) -> None:
    """Writes the tables and the pictures."""
    finished_runs.write_section('study', [section(study, numbers[study]) for study in STUDIES])


def section(study: str, known: Mapping[str, Any]) -> str:
    """The table of a study in Markdown; draws its curves."""
    _, heading, paper = STUDIES[study]
    if not known['entries']:
        return f'### {heading}\n\nNot run yet.\n'
    runs = finished_runs.by_name(known)
    runs = dict(sorted(runs.items(), key=lambda item: mean_error(item[1])))
    lines = [
        f'### {heading}\n',
        '| model | parameters | seeds | MSE | SSIM | PSNR | seconds a step | MSE in the paper |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for name, seeds in runs.items():
        cells = [label_of(name), f'{seeds[0]["parameters"]:,}', str(len(seeds))]
        cells += quality(seeds, 'test')
        cells.append(f'{min(seed["seconds_per_step"] for seed in seeds):.2f}')
        lines.append('| ' + ' | '.join([*cells, str(paper.get(name, ''))]) + ' |')
    everything = list(itertools.chain(*runs.values()))
    for name, words in SIMPLE.items():
        cells = quality(everything, name)
        lines.append('| ' + ' | '.join([words, '', '', *cells, '', '']) + ' |')
    picture = NUMBERS.with_name(f'study_{study}.png')
    draw(runs, picture)
    lines.append(f'\n![MSE by step and by frame]({picture.relative_to(ROOT)})')
    return '\n'.join(lines) + '\n'


def mean_error(seeds: list[Mapping[str, Any]]) -> float:
    """MSE on the test split."""
    return statistics.mean(seed['test']['mse'] for seed in seeds)


def quality(seeds: list[Mapping[str, Any]], forecast: str) -> list[str]:
    """MSE, SSIM and PSNR of the model ('test') or of a simple forecast."""
    columns = ('mse', 2), ('ssim', 3), ('psnr', 2)
    return [shown((seed[forecast][key] for seed in seeds), digits) for key, digits in columns]


def draw(runs: Mapping[str, list[Mapping[str, Any]]], path: pathlib.Path) -> None:
    """Draws the MSE on the validation split by step, and on the test split by frame.

    Bars are standard deviations over the seeds; the lines lie a little beside each other, so that
    they are told apart where they coincide.
    """
    figure = Figure(figsize=(10.5, 4), dpi=130, layout='constrained')
    by_step, by_frame = figure.subplots(1, 2)
    styles = styles_of(runs)
    for place, (name, seeds) in enumerate(runs.items()):
        aside = 0.24 * (place / max(1, len(runs) - 1) - 0.5)  # of the distance between points
        steps = [step for step, _ in seeds[0]['curve']]
        every = steps[1] - steps[0] if len(steps) > 1 else 0
        curves = [[value for _, value in seed['curve']] for seed in seeds]
        _draw_seeds(by_step, [step + aside * every for step in steps], curves, styles[name])
        curves = [seed['mse_per_frame'] for seed in seeds]
        frames = [1 + aside + frame for frame in range(len(curves[0]))]
        _draw_seeds(by_frame, frames, curves, styles[name])
    by_step.set(xlabel='update', ylabel='MSE per frame, validation split')
    by_frame.set(xlabel='predicted frame', ylabel='MSE per frame, test split')
    by_frame.xaxis.get_major_locator().set_params(integer=True)
    for axes in (by_step, by_frame):
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(alpha=0.25)
    figure.legend(
        *by_frame.get_legend_handles_labels(), loc='outside right center', fontsize='small'
    )
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format='png')


def _draw_seeds(
    axes: Axes, places: Sequence[float], curves: Sequence[Sequence[float]], style: Style
) -> None:
    """Draws the mean of a curve over seeds, and bars of its standard deviation."""
    means = [statistics.mean(values) for values in zip(*curves, strict=True)]
    spread = [statistics.stdev(values) for values in zip(*curves, strict=True) if len(values) > 1]
    axes.errorbar(places, means, spread or None, capsize=2, elinewidth=0.8, **style.of_line)


if __name__ == '__main__':
    main()
