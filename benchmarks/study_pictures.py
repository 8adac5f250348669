"""The pictures of the studies of forecasting."""

import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from benchmarks.differences import Seeds
from benchmarks.direct_labels import label_ends
from benchmarks.error_bars import bars_aside, draw_with_bars
from benchmarks.study_tables import Costs, Runs
from e3d.evaluation.figures import make_plain
from e3d.evaluation.styles import Style, simple_styles, styles_of
from e3d.files import atomic_write

VALIDATION = 'MSE per frame, validation split'
TEST = 'MSE per frame, test split'


def draw_models(runs: Runs, path: pathlib.Path) -> None:
    """Draws the MSE on the validation split by step, and on the test split by frame.

    Bars are standard deviations over the seeds; they stand a little beside their points, so that they
    are told apart where lines coincide.
    """
    figure = Figure(figsize=(10.5, 4), dpi=130, layout='constrained')
    by_step, by_frame = figure.subplots(1, 2)
    styles = styles_of(runs)
    lines = []
    for (name, seeds), aside in zip(runs.items(), bars_aside(len(runs)), strict=True):
        steps, curves = _curves(seeds)
        every = steps[1] - steps[0] if len(steps) > 1 else 0
        _draw_seeds(by_step, steps, curves, styles[name], aside * every)
        curves = [seed['mse_per_frame'] for seed in seeds.values()]
        frames = list(range(1, 1 + len(curves[0])))
        lines.append(_draw_seeds(by_frame, frames, curves, styles[name], aside))
    by_step.set(xlabel='update', ylabel=VALIDATION)
    _limit(by_step, runs.values())
    by_frame.set(xlabel='predicted frame', ylabel=TEST)
    by_frame.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_ends(by_frame, lines, list(styles.values()))
    _finish(figure, path)


def draw_times(runs: Runs, costs: Costs, path: pathlib.Path) -> None:
    """Draws the MSE on the validation split against the seconds of training, for all models."""
    figure = Figure(figsize=(8.5, 4.6), dpi=130, layout='constrained')
    axes = figure.subplots()
    for name, style in styles_of(runs).items():
        if name in costs:
            steps, curves = _curves(runs[name])
            times = [step * costs[name]['seconds'] for step in steps]
            _draw_seeds(axes, times, curves, style)
    axes.set(xlabel='seconds of one core, without compilation', ylabel=VALIDATION, xscale='log')
    _limit(axes, [runs[name] for name in runs if name in costs])
    figure.legend(loc='outside right center', fontsize='small')
    _finish(figure, path)


def draw_lengths(
    runs: Mapping[str, Mapping[int, Seeds]], mean_image: float, path: pathlib.Path
) -> None:
    """Draws the MSE on the test split by the number of unrelated frames in between."""
    figure = Figure(figsize=(7.5, 3.8), dpi=130, layout='constrained')
    axes = figure.subplots()
    styles, lines = styles_of(runs), []
    for name, style in styles.items():
        lengths = sorted(runs[name])
        errors = [[seed['test']['mse'] for seed in runs[name][n].values()] for n in lengths]
        means = [statistics.mean(values) for values in errors]
        lines += axes.plot(lengths, means, **style.of_line)
    ticks = sorted({n for of in runs.values() for n in of})
    simple = simple_styles(['mean image'])
    for style in simple.values():
        lines += axes.plot(ticks, [mean_image] * len(ticks), **style.of_line)
    axes.set(xlabel='unrelated frames in between', ylabel=TEST, xscale='log', ylim=(0, None))
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    label_ends(axes, lines, [*styles.values(), *simple.values()])
    _finish(figure, path)


def draw_hours(runs: Runs, simple: Mapping[str, Sequence[float]], path: pathlib.Path) -> None:
    """Draws the RMSE of flows on the test split by hour; `simple` needs no training, by its name."""
    figure = Figure(figsize=(7.5, 4.4), dpi=130, layout='constrained')
    axes = figure.subplots()
    styles, lines = styles_of(runs), []
    for name, style in styles.items():
        curves = [seed['test']['rmse_per_frame'] for seed in runs[name].values()]
        hours = list(range(1, 1 + len(curves[0])))
        lines.append(_draw_seeds(axes, hours, curves, style))
    gray = simple_styles(simple)
    for name, style in gray.items():
        lines += axes.plot(hours, simple[name], **style.of_line)
    axes.set(xlabel='hours ahead', ylabel='RMSE in bikes, test split', yscale='log')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 6, 7, 8)))
    axes.yaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axes.yaxis.set_minor_formatter(NullFormatter())
    label_ends(axes, lines, [*styles.values(), *gray.values()])
    _finish(figure, path)


def _curves(seeds: Seeds) -> tuple[list[int], list[list[float]]]:
    """Updates, and the MSE on the validation split after them by seed."""
    curves = [seed['curve'] for seed in seeds.values()]
    return [step for step, _ in curves[0]], [[value for _, value in curve] for curve in curves]


def _limit(axes: Axes, runs: Iterable[Seeds]) -> None:
    """Keeps the first steps of a model that starts far above all others from pressing them flat."""
    curves = [list(zip(*_curves(seeds)[1], strict=True)) for seeds in runs]
    later = [statistics.mean(values) for curve in curves for values in curve[1:]]
    if later:
        axes.set_ylim(top=min(axes.get_ylim()[1], 1.5 * max(later)))


def _draw_seeds(
    axes: Axes,
    places: Sequence[float],
    curves: Sequence[Sequence[float]],
    style: Style,
    aside: float = 0.0,
) -> Line2D:
    """Draws the mean of curves, one a seed, and bars of its standard deviation by `draw_with_bars`."""
    means = [statistics.mean(values) for values in zip(*curves, strict=True)]
    spread = [statistics.stdev(values) for values in zip(*curves, strict=True) if len(values) > 1]
    return draw_with_bars(axes, places, means, spread or None, style, aside)


def _finish(figure: Figure, path: pathlib.Path) -> None:
    for axes in figure.axes:
        make_plain(axes)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format='png')
