"""The tables of the study in Markdown."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.differences import Seeds, difference
from benchmarks.finished_runs import by_seed, shown
from e3d.evaluation.styles import label_of

NOT_RUN = 'Not run yet.'
SIMPLE = {'last_frame': 'repeat the last frame', 'mean_image': 'mean image'}
AFTER = '_after_'  # in names of runs, before the number of unrelated frames

Runs = Mapping[str, Seeds]
Costs = Mapping[str, Mapping[str, float]]


def in_order(known: Mapping[str, Any]) -> dict[str, Seeds]:
    """The runs of a study by name, those of the least error first."""
    return dict(sorted(by_seed(known).items(), key=lambda item: mean_error(item[1])))


def mean_error(seeds: Seeds) -> float:
    """MSE on the test split."""
    return statistics.mean(seed['test']['mse'] for seed in seeds.values())


def models_table(
    runs: Runs, costs: Costs, reference: tuple[str, Seeds], paper: Mapping[str, float]
) -> str:
    """Quality and costs of every model, and how it differs from the reference.

    Args:
      runs: see `in_order`.
      costs: see `costs_of`; what is not known stays empty.
      reference: name and runs of the model that the others are compared with; ('', {}) for none.
      paper: MSE of the paper by name; a column where there is one.
    """
    compared, of_reference = reference
    columns = ['model', 'parameters', 'seeds', 'MSE']
    columns += [f'less that of {label_of(compared)}'] * bool(compared)
    columns += ['SSIM', 'PSNR'] + ['10^9 operations', 'seconds'] * bool(costs)
    columns += ['MSE in the paper'] * bool(paper)
    lines = ['| ' + ' | '.join(columns) + ' |', '|---' * len(columns) + '|']
    for name, seeds in runs.items():
        first = next(iter(seeds.values()))
        mse, ssim, psnr = quality(seeds.values(), 'test')
        against = difference(seeds, of_reference) if name != compared else None
        cost = costs.get(name, {})
        cells = [label_of(name), f'{first["parameters"]:,}', str(len(seeds)), mse]
        cells += [against.text() if against else ''] * bool(compared) + [ssim, psnr]
        if costs:
            cells.append(f'{cost["operations"] / 1e9:.2f}' if cost else '')
            cells.append(f'{cost["seconds"]:.3f}' if cost else '')
        lines.append(row(cells + [str(paper.get(name, ''))] * bool(paper)))
    everything = list(itertools.chain(*(seeds.values() for seeds in runs.values())))
    for name, words in SIMPLE.items():
        mse, ssim, psnr = quality(everything, name)
        cells = [words, '', '', mse, *[''] * bool(compared), ssim, psnr, *['', ''] * bool(costs)]
        lines.append(row(cells + [''] * bool(paper)))
    return '\n'.join(lines) + '\n'


def quality(seeds: Any, forecast: str) -> list[str]:
    """MSE, SSIM and PSNR of the model ('test') or of a simple forecast."""
    seeds, columns = list(seeds), (('mse', 2), ('ssim', 3), ('psnr', 2))
    return [shown((seed[forecast][key] for seed in seeds), digits) for key, digits in columns]


def equal_time_table(runs: Runs, costs: Costs) -> str:
    """The validation MSE of every model when the one that is done first is done.

    Between two evaluations it is interpolated. The others are in the middle of a schedule then,
    at a rate that would still fall: a run planned for that time would do better.
    """
    known = {name: seeds for name, seeds in runs.items() if name in costs}
    if not known:
        return ''
    ends = {name: _curve(seeds)[0][-1] * costs[name]['seconds'] for name, seeds in known.items()}
    time = min(ends.values())
    rows = []
    for name, seeds in known.items():
        steps, errors = _curve(seeds)
        updates = time / costs[name]['seconds']
        error = float(np.interp(updates, steps, errors)) if updates >= steps[0] else None
        rows.append((error, name, updates))
    lines = [
        f'| model | updates in {time:.0f} s | MSE on the validation split |',
        '|---|---|---|',
    ]
    for error, name, updates in sorted(rows, key=lambda row: row[0] or np.inf):
        lines.append(row([label_of(name), f'{updates:.0f}', f'{error:.2f}' if error else '']))
    return '\n'.join(lines) + '\n'


def rates_table(known: Mapping[str, Any], rates: Sequence[str]) -> str:
    """The validation MSE by model and learning rate, of those tried; the least of a model in bold."""
    found = chosen_rates(known, rates)
    rates = [rate for rate in rates if any(rate in errors for errors in found.values())]
    lines = ['| model | ' + ' | '.join(rates) + ' |', '|---' * (1 + len(rates)) + '|']
    for name, errors in found.items():
        best = min(errors, key=lambda rate: errors[rate])
        cells = [f'{errors[rate]:.2f}' if rate in errors else '' for rate in rates]
        marked = [
            f'**{cell}**' if rate == best else cell for rate, cell in zip(rates, cells, strict=True)
        ]
        lines.append(row([label_of(name), *marked]))
    return '\n'.join(lines) + '\n'


def chosen_rates(known: Mapping[str, Any], rates: Sequence[str]) -> dict[str, dict[str, float]]:
    """By model, the validation MSE at the end of the runs of each rate."""
    found: dict[str, dict[str, float]] = {}
    for name, seeds in by_seed(known).items():
        model, _, rate = name.rpartition('_')
        if rate in rates:
            found.setdefault(model, {})[rate] = next(iter(seeds.values()))['curve'][-1][1]
    return found


def by_length(lengths: Mapping[str, Any], shortest: Mapping[str, Any], frames: int) -> Any:
    """The runs by model and number of unrelated frames.

    Args:
      lengths: the study of longer sequences.
      shortest: that of `frames` of them, which has names without a length.
      frames: see above.

    Returns:
      {model: {frames: seeds}}, of the models that have more than one length.
    """
    found: dict[str, dict[int, Seeds]] = {}
    for name, seeds in by_seed(shortest).items():
        found.setdefault(name, {})[frames] = seeds
    for name, seeds in by_seed(lengths).items():
        model, _, number = name.partition(AFTER)
        found.setdefault(model, {})[int(number)] = seeds
    return {model: of for model, of in found.items() if len(of) > 1}


def lengths_table(runs: Mapping[str, Mapping[int, Seeds]]) -> str:
    """The test MSE by model and number of unrelated frames."""
    frames = sorted(set(itertools.chain(*runs.values())))
    lines = ['| model | ' + ' | '.join(f'{n} frames' for n in frames) + ' |']
    lines.append('|---' * (1 + len(frames)) + '|')
    for name, of in sorted(runs.items(), key=lambda item: mean_error(item[1][max(item[1])])):
        cells = [
            shown((seed['test']['mse'] for seed in of[n].values()), 2) if n in of else ''
            for n in frames
        ]
        lines.append(row([label_of(name), *cells]))
    return '\n'.join(lines) + '\n'


def _curve(seeds: Seeds) -> tuple[list[float], list[float]]:
    """Updates, and the mean over seeds of the MSE on the validation split after them."""
    curves = [seed['curve'] for seed in seeds.values()]
    steps = [step for step, _ in curves[0]]
    errors = zip(*([value for _, value in curve] for curve in curves), strict=True)
    return steps, [statistics.mean(values) for values in errors]


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return '| ' + ' | '.join(cells) + ' |'
