"""The report of an evaluation of forecasts: as JSON, and as a table."""

import io
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from e3d.evaluation.presets import PRESETS
from e3d.evaluation.undefined import without_infinite
from e3d.files import atomic_write

MEMBERS_MEAN = 'members_mean'  # not without learning, but beside a single member
TRIVIAL_FORECASTS = {
    'last_frame': 'repeat the last frame',
    'mean_image': 'mean training image',
    'optical_flow': 'moved by optical flow',
    MEMBERS_MEAN: 'mean of the members',
}

HEADINGS = {
    'mse': 'MSE ↓',
    'mae': 'MAE ↓',
    'rmse': 'RMSE ↓',
    'mae_in_unit': 'MAE, unit ↓',
    'csi_mean': 'CSI ↑',
    'psnr': 'PSNR ↑',
    'ssim': 'SSIM ↑',
    'lpips': 'LPIPS ↓',
    'fvd': 'FVD ↓',
    'sharpness': 'sharp',
}
EVENT_SCORES = {
    'pod': 'POD ↑',
    'far': 'FAR ↓',
    'bias': 'bias',
    'hss': 'HSS ↑',
    'fss': 'FSS ↑',
}
_STYLE: dict[str, Any] = {'box': box.SIMPLE_HEAD, 'title_style': '', 'title_justify': 'left'}
# Many columns, with as little between them as can be.
_NARROW: dict[str, Any] = {'collapse_padding': True, 'pad_edge': False}


def write_report(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a report as JSON, null for what is infinite; the file is either whole or not there."""
    text = json.dumps(without_infinite(report), indent=2, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def as_text(*printed: Table | str, width: int) -> str:
    """Tables and texts one below the other, as rich prints them, without blanks at the ends of lines."""
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        color_system=None,
        force_jupyter=False,  # in a notebook rich would show it at once, and write nothing
        markup=False,  # names of classes, variables and units may have brackets and colons
        emoji=False,
    )
    for one in printed:
        console.print(one)
    return '\n'.join(line.rstrip() for line in text.getvalue().splitlines())


def format_table(report: Mapping[str, Any]) -> str:
    """The report as text: means beside the forecasts that need no learning, then frame by frame."""
    rows: dict[str, Any] = {'model': report} | {
        label: report[name] for name, label in describe_others(report).items()
    }
    words = ' '.join([verdict(report), *_intervals(report)])
    printed: list[Table | str] = [
        _table_of_means(report, rows),
        f'{words}\n',
        _table_of_frames(report),
    ]
    if 'variables' in report:
        printed.append(_table_of_variables(rows))
    if 'events' in report:
        printed += _event_tables(rows)
    if 'ensemble' in report:
        unit = (
            'as the model sees the values' if 'variables' in report else 'in the unit of the data'
        )
        printed += _ensemble_table(report['ensemble'], unit)
    for preset in (*PRESETS, 'b_mse', 'b_mae'):
        if preset in report:
            values = (
                f'{label} {format_number(preset, row[preset])}' for label, row in rows.items()
            )
            printed.append(f'{preset}: {", ".join(values)}.')
    return as_text(*printed, _notes(report), width=100)


def _table_of_means(report: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> Table:
    title = f'{report["protocol"]}, {report["num_sequences"]:,} sequences, step {report["step"]:,}'
    table = Table('forecast', title=title, **_STYLE)
    metrics = [metric for metric in HEADINGS if metric in report]
    for metric in metrics:
        table.add_column(HEADINGS[metric], justify='right')
    for label, values in rows.items():
        table.add_row(label, *(format_number(metric, values[metric]) for metric in metrics))
    return table


def _table_of_frames(report: Mapping[str, Any]) -> Table:
    others = describe_others(report)
    metrics = [metric for metric in HEADINGS if f'{metric}_per_frame' in report]
    table = Table('frame', title='frame by frame', **_STYLE, **_NARROW)
    for heading in (
        *(HEADINGS[metric] for metric in metrics),
        *(f'MSE of {name.replace("_", " ")}' for name in others),
    ):
        table.add_column(heading, justify='right')
    for index in range(len(report['mse_per_frame'])):
        own = (format_number(metric, report[f'{metric}_per_frame'][index]) for metric in metrics)
        simple = (format_number('mse', report[name]['mse_per_frame'][index]) for name in others)
        table.add_row(str(index + 1), *own, *simple)
    return table


def _table_of_variables(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """RMSE of all forecasts, and the MAE of the model, of each variable in its unit."""
    table = Table('variable', 'unit', title='by variable, in its unit', **_STYLE, **_NARROW)
    for label in rows:
        table.add_column(f'RMSE of {label}', justify='right')
    table.add_column('MAE of model', justify='right')
    for variables in zip(*(row['variables'] for row in rows.values()), strict=True):
        errors = [format_number('rmse', one['rmse']) for one in variables]
        own = variables[0]
        mae = format_number('mae_in_unit', own['mae_in_unit'])
        table.add_row(own['name'], own['unit'] or 'not stated', *errors, mae)
    return table


def _notes(report: Mapping[str, Any]) -> str:
    """What the metrics of the table mean."""
    name = report.get('unit') or 'the unit of the data'
    unit = f' RMSE and MAE, unit: in {name}.' if 'rmse' in report else ''
    eyes = ' Sharp: size of the gradients beside the truth.' if 'sharpness' in report else ''
    eyes += ' LPIPS: AlexNet, v0.1.' if 'lpips' in report else ''
    if 'fvd' in report:
        eyes += ' FVD: whole clips, with the frames that were seen; it falls with their number.'
    infinite = ' Inf: more than float32 can hold.' if without_infinite(report) != report else ''
    return (
        'MSE and MAE: summed over the pixels of a frame.'
        f'{unit} PSNR: dB. SSIM: data range 1.{eyes}{infinite}'
    )


def _event_tables(rows: Mapping[str, Mapping[str, Any]]) -> Iterable[Table | str]:
    """CSI of all forecasts, and the other scores of the model, by pool and threshold."""
    table = Table('event', title='events', **_STYLE, **_NARROW)
    others = [f'CSI of {name}' for name in rows if name != 'model']
    for heading in ('side', 'of all', 'CSI ↑', *others, *EVENT_SCORES.values()):
        table.add_column(heading, justify='right')
    reports = [row['events'] for row in rows.values()]
    own = reports[0]
    for pool in (key for key in own if key.startswith('pool_')):
        side = pool.removeprefix('pool_')
        for place, threshold in enumerate(own['thresholds']):
            scores = [one[pool]['csi'][place] for one in reports]
            scores += [own[pool][score][place] for score in EVENT_SCORES]
            share = f'{100 * own[pool]["share"][place]:.2f} %'
            table.add_row(f'>= {threshold:g}', side, share, *map(_score, scores))
        for mean, label in (('csi_mean', 'mean'), ('csi_mean_of_frames', 'of frames')):
            table.add_row(label, side, '', *(_score(one[pool].get(mean)) for one in reports))
        table.add_section()
    yield table
    yield (
        'Events: the largest value in a square of that side counts. Ratios of the counts of all '
        'sequences and frames, - is undefined; mean: over thresholds that occur; of frames: '
        'the ratio of each frame first.\n'
    )


def _ensemble_table(ensemble: Mapping[str, Any], unit: str) -> Iterable[Table | str]:
    """CRPS, and spread beside error, by frame; the rank histogram in a line."""
    members = ensemble['members']
    headings = {'crps': 'CRPS ↓', 'crps_fair': 'fair ↓', 'spread': 'spread', 'rmse': 'RMSE of mean'}
    headings = {name: heading for name, heading in headings.items() if name in ensemble}
    table = Table('frame', title=f'{members} member{"s" * (members > 1)}', **_STYLE, **_NARROW)
    for heading in headings.values():
        table.add_column(heading, justify='right')
    frames = zip(*(ensemble[f'{name}_per_frame'] for name in headings), strict=True)
    rows = enumerate([*frames, [ensemble[name] for name in headings]], 1)
    for number, values in rows:
        last = number > len(ensemble['crps_per_frame'])
        table.add_row('all' if last else str(number), *map(_small, values))
    yield table
    shares = ', '.join(f'{100 * share:.1f}' for share in ensemble['rank_histogram'])
    yield (
        f'Per pixel, {unit}. A spread as large as the error is reliable. The model '
        f'above is the first member. Members below the truth, from none to all: {shares} % '
        f'(reliable: {100 / (members + 1):.1f} each).\n'
    )


def _small(value: float | None) -> str:
    return '-' if value is None else f'{value:.4g}'


def _score(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def describe_others(report: Mapping[str, Any]) -> dict[str, str]:
    """What to call the forecasts that a report has beside the model's, by name."""
    names = [
        name for name, value in report.items() if isinstance(value, Mapping) and 'mse' in value
    ]
    return {name: TRIVIAL_FORECASTS.get(name, name.replace('_', ' ')) for name in names}


def describe_baselines(report: Mapping[str, Any]) -> dict[str, str]:
    """The same without the mean of the members, which is the model's own."""
    return {k: name for k, name in describe_others(report).items() if k != MEMBERS_MEAN}


def format_number(metric: str, value: float | None) -> str:
    """A value of a metric as text, with as many digits as it has use for.

    Errors in a unit may be small whatever their worth, as of rain in m: they keep three digits.
    """
    if value is None:  # nothing to measure it by
        return '-'
    digits = {'psnr': 2, 'ssim': 4, 'lpips': 4, 'csi_mean': 4, 'sharpness': 2}.get(
        metric, 2 if value >= 1 else 4
    )
    small = 0 < value < 0.01 and metric not in ('ssim', 'lpips', 'csi_mean', 'sharpness')
    return f'{value:.3g}' if small else f'{value:.{digits}f}'


def verdict(report: Mapping[str, Any]) -> str:
    """The MSE of a model beside that of the best forecast that needs no learning, in a sentence."""
    others = describe_baselines(report)
    if None in (report['mse'], *(report[name]['mse'] for name in others)):
        return (
            'The MSE is undefined, or infinite: there is no truth, or a forecast is beyond float32.'
        )
    best = min(others, key=lambda name: report[name]['mse'])
    if not report[best]['mse']:
        return f'"{others[best]}" makes no error here: nothing moves.'
    ratio = report['mse'] / report[best]['mse']
    return f'The MSE of the model is {ratio:.2f} times that of "{others[best]}".'


def _intervals(report: Mapping[str, Any]) -> list[str]:
    """The 95 % intervals over sequences, in words; none where there are not enough of them."""
    found = [
        f'{HEADINGS[metric].split()[0]} {" to ".join(format_number(metric, end) for end in ends)}'
        for metric in HEADINGS
        if (ends := report.get(f'{metric}_interval'))
    ]
    if not found:
        return []
    if 'skill_interval' in report:
        low, high = report['skill_interval']
        found.append(
            f'skill against the last frame {report["skill"]:.3f} ({low:.3f} to {high:.3f})'
        )
    return [f'95 % intervals over the sequences: {", ".join(found)}.']
