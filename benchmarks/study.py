"""Runs what is missing of experiments/study.py and writes its tables and curves.

    python -m benchmarks.study
    python -m benchmarks.study --write_only

Every run takes minutes on two CPU cores. It may be stopped and started again: a run goes on from its
checkpoint, and the numbers of a finished one are kept in results/study.json, so that it is not
run again on another machine either. After each run the section of RESULTS.md between the two
marks and the pictures results/study*.png are written anew.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

from e3d.command_line import ROOT, load_config
from e3d.configuration import flatten
from e3d.configuration.keys import CHANGEABLE
from e3d.evaluation.files import written_whole
from e3d.model import build_model
from e3d.sweep.entries import Entry, make_entries
from e3d.sweep.execution import run_process
from e3d.sweep.results import FINISHED, read_result
from e3d.training.reporting import METRICS_FILE, read_lines

NUMBERS = ROOT / 'results' / 'study.json'
TABLES = ROOT / 'RESULTS.md'
MARKS = ('<!-- study: begin -->\n', '<!-- study: end -->\n')

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
}


def main():
    """Runs and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--runs', type=pathlib.Path, default=pathlib.Path('runs/study'))
    parser.add_argument('--write_only', action='store_true', help='run nothing')
    arguments = parser.parse_args()
    numbers = read_numbers()
    for study, entry in planned():
        workdir = arguments.runs / study / entry.name
        if is_known(numbers[study], entry):
            continue
        if read_result(entry, workdir).status != FINISHED and not arguments.write_only:
            train(study, entry, workdir)
        if read_result(entry, workdir).status == FINISHED:
            numbers[study]['entries'][entry.name] = measure(entry, workdir)
            write(numbers)
    write(numbers)


def planned() -> list[tuple[str, Entry]]:
    """All runs, the first seed of everything first."""
    entries = [
        (study, entry)
        for study, (flag, *_) in STUDIES.items()
        for entry in make_entries('get_sweep', flag, ['launch.py', f'--config={flag}'])
    ]
    return sorted(entries, key=lambda pair: pair[1].config.seed)


def read_numbers() -> dict[str, Any]:
    """What is known so far; a study whose setting has changed since begins anew."""
    stored = json.loads(NUMBERS.read_text('utf-8')) if NUMBERS.exists() else {}
    numbers = {}
    for study, (flag, *_) in STUDIES.items():
        setting = {k: v for k, v in flatten(load_config(flag)).items() if k not in CHANGEABLE}
        setting = json.loads(json.dumps(setting))  # tuples as they are stored
        old = stored.get(study, {'setting': setting, 'entries': {}})
        # Keys that came later do not count: their defaults leave everything as it was.
        same = all(setting.get(key) == value for key, value in old['setting'].items())
        numbers[study] = old if same else {'setting': setting, 'entries': {}}
    return numbers


def is_known(known: Mapping[str, Any], entry: Entry) -> bool:
    """Whether the numbers of this very run are there."""
    found = known['entries'].get(entry.name)
    return found is not None and found['arguments'] == list(entry.arguments)


def train(study: str, entry: Entry, workdir: pathlib.Path) -> None:
    """Runs an entry in a process of its own, from where it stopped."""
    flag = STUDIES[study][0]
    command = [sys.executable, str(ROOT / 'launch.py'), f'--config={flag}', *entry.arguments]
    code = run_process([*command, f'--workdir={workdir}'])
    if code:
        raise SystemExit(f'{entry.name} ended with exit code {code}; the same command goes on.')


def measure(entry: Entry, workdir: pathlib.Path) -> dict[str, Any]:
    """The numbers of a finished run."""
    report = json.loads((workdir / 'evaluation.json').read_text('utf-8'))
    lines = read_lines(workdir / METRICS_FILE)
    metrics = ('mse', 'ssim', 'psnr')
    return {
        'arguments': list(entry.arguments),
        'parameters': count_parameters(entry),
        # Other work on the machine can only lengthen a step.
        'seconds_per_step': min(
            line['seconds_per_step'] for line in lines if 'seconds_per_step' in line
        ),
        'test': {key: report[key] for key in metrics},
        'mse_per_frame': report['mse_per_frame'],
        'curve': read_result(entry, workdir).validation['mse'],
        **{name: {key: report[name][key] for key in metrics} for name in SIMPLE},
    }


SIMPLE = {'last_frame': 'repeat the last frame', 'mean_image': 'mean image'}


def count_parameters(entry: Entry) -> int:
    """How many parameters the model of an entry has."""
    model = build_model(**entry.config.model)
    frames = jax.ShapeDtypeStruct((1, 1, *entry.config.dataset.canvas, 1), jnp.float32)
    initialize = lambda key, frames: model.init(key, frames, 1)  # noqa: E731
    variables = jax.eval_shape(initialize, jax.random.key(0), frames)
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


def write(numbers: Mapping[str, Any]) -> None:
    """Writes the numbers, the tables and the pictures."""
    NUMBERS.parent.mkdir(exist_ok=True)
    with written_whole(NUMBERS) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1) + '\n', 'utf-8')
    text = TABLES.read_text('utf-8') if TABLES.exists() else '# Results\n\n' + ''.join(MARKS)
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    sections = [section(study, numbers[study]) for study in STUDIES]
    with written_whole(TABLES) as temporary:
        temporary.write_text(before + MARKS[0] + '\n'.join(sections) + MARKS[1] + after, 'utf-8')


def section(study: str, known: Mapping[str, Any]) -> str:
    """The table of a study in Markdown; draws its curves."""
    _, heading, paper = STUDIES[study]
    if not known['entries']:
        return f'### {heading}\n\nNot run yet.\n'
    runs = {}
    for name, numbers in known['entries'].items():
        runs.setdefault(name.partition(',')[0], []).append(numbers)
    lines = [
        f'### {heading}\n',
        '| model | parameters | seeds | MSE | SSIM | PSNR | seconds a step | MSE in the paper |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for name, seeds in sorted(runs.items(), key=lambda item: spread(item[1], 'test', 'mse')[0]):
        cells = [name, f'{seeds[0]["parameters"]:,}', str(len(seeds))]
        cells += [shown(seeds, 'test', *column) for column in COLUMNS]
        cells.append(f'{min(seed["seconds_per_step"] for seed in seeds):.2f}')
        lines.append('| ' + ' | '.join([*cells, str(paper.get(name, ''))]) + ' |')
    everything = list(itertools.chain(*runs.values()))
    for name, words in SIMPLE.items():
        cells = [shown(everything, name, *column) for column in COLUMNS]
        lines.append('| ' + ' | '.join([words, '', '', *cells, '', '']) + ' |')
    picture = NUMBERS.with_name(f'study_{study}.png')
    draw(runs, picture)
    lines.append(f'\n![MSE by step and by frame]({picture.relative_to(ROOT)})')
    return '\n'.join(lines) + '\n'


COLUMNS = (('mse', 2), ('ssim', 3), ('psnr', 2))


def spread(runs: list[Mapping[str, Any]], part: str, metric: str) -> tuple[float, float | None]:
    """Mean over runs and, of two or more, their standard deviation."""
    values = [run[part][metric] for run in runs]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def shown(runs: list[Mapping[str, Any]], part: str, metric: str, digits: int) -> str:
    """Mean and deviation as text."""
    mean, deviation = spread(runs, part, metric)
    text = f'{mean:.{digits}f}'
    return text if deviation is None else f'{text} ± {deviation:.{digits}f}'


def draw(runs: Mapping[str, list[Mapping[str, Any]]], path: pathlib.Path) -> None:
    """Draws the MSE on the validation split by step, and on the test split by frame."""
    figure = Figure(figsize=(10, 4), dpi=130, layout='constrained')
    by_step, by_frame = figure.subplots(1, 2)
    for row, (name, seeds) in enumerate(runs.items()):
        style = {'color': f'C{row}', 'linestyle': '-', 'marker': 'o', 'markersize': 3}
        steps = [step for step, _ in seeds[0]['curve']]
        values = zip(*([value for _, value in seed['curve']] for seed in seeds), strict=True)
        by_step.plot(steps, [statistics.mean(v) for v in values], label=name, **style)
        values = [
            statistics.mean(v) for v in zip(*(s['mse_per_frame'] for s in seeds), strict=True)
        ]
        by_frame.plot(range(1, 1 + len(values)), values, **style)
    by_step.set(xlabel='update', ylabel='MSE on the validation split')
    by_frame.set(xlabel='predicted frame', ylabel='MSE on the test split')
    by_frame.xaxis.get_major_locator().set_params(integer=True)
    for axes in (by_step, by_frame):
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(alpha=0.25)
    figure.legend(loc='outside right center', fontsize='small')
    with written_whole(path) as temporary:
        figure.savefig(temporary, format='png')


if __name__ == '__main__':
    main()
