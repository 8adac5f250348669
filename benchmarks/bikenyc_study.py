"""Runs what is missing of the sweep of experiments/bikenyc.py and writes its table (Table 4).

    python -m benchmarks.bikenyc_study --path=NYC14_M16x8_T60.h5
    python -m benchmarks.bikenyc_study --path=NYC14_M16x8_T60.h5 --only '*/gated,*'
    python -m benchmarks.bikenyc_study --path=NYC14_M16x8_T60.h5 --only '*/gated,*' --again

A run takes up to ten minutes on two CPU cores. It may be stopped and started again: a run goes on
from its checkpoint, and the numbers of a finished one are kept in results/bikenyc.json, so that it is
not run again on another machine either. With `--again` it is, where no finished run lies in its
folder, and its new numbers are kept. After each run what stands between the two marks in
results/bikenyc.md is written again.
"""

import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import finished_runs, study_pictures
from benchmarks.differences import difference
from benchmarks.finished_runs import ROOT, shown
from benchmarks.study_tables import in_order, row
from e3d.evaluation.styles import label_of
from e3d.sweep.entries import Entry

NUMBERS = ROOT / 'results' / 'bikenyc.json'
STUDY = 'bikenyc'
EXPERIMENTS = {STUDY: 'experiments/bikenyc.py:small'}
SHAPE = (16, 8, 2)
# What needs no training.
SIMPLE = {
    'hour_average': 'hour average',
    'last_week': 'last week',
    'yesterday': 'yesterday',
    'mean_image': 'mean training frame',
    'last_frame': 'repeat the last frame',
}
# Metrics of the table, with the digits that are shown.
METRICS = {'rmse': 2, 'mse': 3, 'mae': 2, 'psnr': 2, 'ssim': 3}
PER_HOUR = 'rmse_per_frame'


def main():
    """Runs and writes."""
    finished_runs.complete(__doc__, NUMBERS, EXPERIMENTS, pathlib.Path('runs'), measure, write)


def measure(entry: Entry, workdir: pathlib.Path) -> dict[str, Any]:
    """The numbers of a finished run."""
    metrics = (*METRICS, PER_HOUR)
    return finished_runs.measure_forecasts(entry, workdir, metrics, SIMPLE, SHAPE)


def write(numbers: finished_runs.Numbers) -> None:
    """Writes the table and draws the picture."""
    known = numbers[STUDY]
    of_devices = finished_runs.of_devices(finished_runs.by_seed(known))
    parts, runs = [table(known), *of_devices], in_order(known)
    if runs:
        picture = NUMBERS.with_suffix('.png')
        any_run = next(iter(known['entries'].values()))
        simple = {label: any_run[name][PER_HOUR] for name, label in SIMPLE.items()}
        study_pictures.draw_hours(runs, simple, picture)
        parts.append(f'![RMSE by hour]({picture.name})\n')
    finished_runs.write_section(NUMBERS.with_suffix('.md'), STUDY, parts)


def table(known: Mapping[str, Any]) -> str:
    """The models by their error, then what needs no training, in Markdown."""
    runs = in_order(known)
    reference = runs.get('e3d_lstm', {})
    head = f'less that of {label_of("e3d_lstm")}'
    columns = ['forecast', 'parameters', 'updates', 'seeds', 'RMSE', 'MSE', head]
    columns += ['MAE', 'PSNR', 'SSIM', 'RMSE after 1, 2, 3, 4 hours']
    lines = [row(columns), '|---' * len(columns) + '|']
    for name, seeds in runs.items():
        first = next(iter(seeds.values()))
        against = difference(seeds, reference) if seeds is not reference else None
        head = [label_of(name), f'{first["parameters"]:,}', f'{first["curve"][-1][0]:,}']
        reports = [seed['test'] for seed in seeds.values()]
        compared = against.text(3) if against else ''
        lines.append(row([*head, str(len(seeds)), *_cells(reports, compared)]))
    for name, label in SIMPLE.items() if runs else ():
        lines.append(row([label, '', '', '', *_cells([first[name]])]))
    return '\n'.join(lines) + '\n'


def _cells(reports: Sequence[Mapping[str, Any]], compared: str = '') -> list[str]:
    """The metrics, after the second what they are beside those of E3D-LSTM, and the RMSE by the hour."""
    rmse, mse, *others = (
        shown((report[key] for report in reports), digits) for key, digits in METRICS.items()
    )
    hours = zip(*(report[PER_HOUR] for report in reports), strict=True)
    by_hour = ', '.join(f'{statistics.mean(hour):.2f}' for hour in hours)
    return [rmse, mse, compared, *others, by_hour]


if __name__ == '__main__':
    main()
