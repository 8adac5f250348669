"""The curves of a page: loss and validation by step, metrics by frame or by the part observed."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from e3d.evaluation.report import describe_baselines, describe_others
from e3d.evaluation.styles import SIMPLE_COLOR, Style, simple_styles
from e3d.pages.charts import Line, chart, legend
from e3d.pages.content import Content, common_unit, stated_units
from e3d.pages.groups import Group
from e3d.runs.reporting import validation_metrics

# Of a report, by frame, with the unit.
BY_FRAME = {
    'rmse': 'RMSE',
    'mse': 'MSE, sum over a frame',
    'mae_in_unit': 'MAE',
    'psnr': 'PSNR (dB)',
    'ssim': 'SSIM',
    'lpips': 'LPIPS',
    'csi_mean': 'CSI, mean over the thresholds',
    'sharpness': 'sharpness, 1 as the truth',
}
IN_UNIT = ('rmse', 'mae_in_unit')
# Of the evaluations during training, those that are drawn.
BY_STEP = {
    'mse': 'MSE, sum over a frame',
    'ssim': 'SSIM',
    'accuracy_observed': 'accuracy, mean of the trained parts',
}


def curves_of(groups: Sequence[Group]) -> list[str]:
    """The charts of some runs, and the legend."""
    drawn = [*_by_step(groups), *_by_frame(groups), *_of_members(groups), *_by_part(groups)]
    others = simple_styles(_baselines(groups).values())
    guessing = [_GUESSING] * any('curve' in group.runs[0].report for group in groups)
    styles = [group.style for group in groups] + list(others.values()) + guessing
    return [legend(styles), f'<div class="charts">{"".join(drawn)}</div>']


_GUESSING = Style('guessing', SIMPLE_COLOR, '', ':')


def metrics_left_out(contents: Sequence[Content]) -> tuple[str, ...]:
    """The metrics that are not shown, as the runs state different units."""
    return IN_UNIT if len(stated_units(contents)) > 1 else ()


def _by_step(groups: Sequence[Group]) -> list[str]:
    """Loss and validation, which some data have on the test split alone."""

    def losses(run: Any) -> list[tuple[int, Any]]:
        lines = run.lines
        return [
            (line['step'], line['loss'])
            for line in lines
            if line.get('split') == 'train' and 'loss' in line
        ]

    charts = [chart('training: loss', 'update', '', _lines(groups, losses, bars=False), True)]
    lines = [line for run in _runs(groups) for line in run.lines]
    on_test = any(line.get('split') == 'validation_on_test' for line in lines)
    measured_on = 'on the test split' if on_test else 'validation'
    for metric, title in BY_STEP.items():

        def measured(run: Any, metric: str = metric) -> list[tuple[int, Any]]:
            return validation_metrics(run.lines).get(metric, [])

        name = f'{measured_on}: {title}'
        charts.append(chart(name, 'update', '', _lines(groups, measured)))
    return charts


def _by_frame(groups: Sequence[Group]) -> list[str]:
    """Metrics over the forecast frames, beside forecasts that need no learning."""
    first = groups[0].runs[0].report
    left_out = metrics_left_out(_runs(groups))
    charts = []
    for metric, title in BY_FRAME.items():
        if metric in left_out:
            continue
        key = f'{metric}_per_frame'
        labels = _baselines(groups)
        lines = [
            Line(style, _places(first[name][key]), first[name][key])
            for (name, label), style in zip(
                labels.items(), simple_styles(labels.values()).values(), strict=True
            )
            if key in first[name] and metric != 'sharpness'
        ]

        def measured(run: Any, key: str = key) -> list[tuple[int, Any]]:
            values = run.report.get(key, [])
            return list(zip(_places(values), values, strict=True))

        own = _lines(groups, measured)
        if own:
            in_unit = common_unit(_runs(groups)) if metric in IN_UNIT else ''
            charts.append(chart(title, 'forecast frame', in_unit, [*lines, *own]))
    return charts


def _of_members(groups: Sequence[Group]) -> list[str]:
    """CRPS and reliability of several futures over the forecast frames, and the ranks of the truth."""

    def measured(run: Any, values: Callable[[Any], Sequence[Any]]) -> list[tuple[int, Any]]:
        ensemble = run.report.get('ensemble', {})
        found = values(ensemble) if 'spread' in ensemble else ()
        return list(enumerate(found, 1))

    def reliability(ensemble: Any) -> list[float | None]:
        pairs = zip(ensemble['spread_per_frame'], ensemble['rmse_per_frame'], strict=True)
        # None is undefined or infinite, in one of them or in both.
        return [spread / error if error and spread is not None else None for spread, error in pairs]

    drawn = {
        ('CRPS of the members', 'forecast frame'): lambda found: found['crps_per_frame'],
        ('spread / error, 1 is reliable', 'forecast frame'): reliability,
        ('ranks of the truth among the members, share', 'rank'): lambda f: f['rank_histogram'],
    }
    if len(stated_units(_runs(groups))) > 1:
        del drawn['CRPS of the members', 'forecast frame']
    charts = []
    for (title, label), values in drawn.items():
        lines = _lines(groups, functools.partial(measured, values=values))
        charts += [chart(title, label, '', lines)] if lines else []
    return charts


def _by_part(groups: Sequence[Group]) -> list[str]:
    """Accuracy over the fraction of the clip that is observed."""

    def measured(run: Any) -> list[tuple[float, Any]]:
        fractions, curve = run.report.get('fractions', []), run.report.get('curve', [])
        return [(100 * x, 100 * y) for x, y in zip(fractions, curve, strict=True)]

    lines = _lines(groups, measured)
    if not lines:
        return []
    classes = groups[0].runs[0].report['classes']
    places = lines[0].places
    chance = Line(_GUESSING, [places[0], places[-1]], [100 / len(classes)] * 2)
    return [chart('top-1 accuracy (%)', 'observed (% of the clip)', '', [chance, *lines])]


def _lines(
    groups: Sequence[Group], points: Callable[[Any], Sequence[tuple[Any, Any]]], bars: bool = True
) -> list[Line]:
    """A curve for each group, those that stand out on top."""
    lines = []
    for group in sorted(groups, key=lambda group: group.style.emphasized):
        curves = [dict(points(run)) for run in group.runs]
        places = [place for place in curves[0] if all(place in curve for curve in curves)]
        if not places:
            continue
        means, spread = group.mean([[curve[place] for place in places] for curve in curves])
        lines.append(Line(group.style, places, means, spread if bars else ()))
    return lines


def _baselines(groups: Sequence[Group]) -> dict[str, str]:
    """The forecasts that need no learning, of the first run; of one alone the mean of its members."""
    alone = len(groups) == 1 and not groups[0].repeated
    return (describe_others if alone else describe_baselines)(groups[0].runs[0].report)


def _runs(groups: Sequence[Group]) -> list[Content]:
    return [run for group in groups for run in group.runs]


def _places(values: Sequence[Any]) -> list[int]:
    return list(range(1, len(values) + 1))
