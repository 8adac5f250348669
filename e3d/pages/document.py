"""One file of HTML that tells of one run or of several, with nothing from elsewhere."""

import importlib.resources
import json
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from e3d.evaluation.presets import PRESETS
from e3d.evaluation.report import (
    HEADINGS,
    MEMBERS_MEAN,
    TRIVIAL_FORECASTS,
    describe_baselines,
    format_number,
    verdict,
)
from e3d.evaluation.styles import label_of
from e3d.pages import parts
from e3d.pages.content import NOT_INSPECTED, Content, Inside, common_unit, stated_units
from e3d.pages.curves import curves_of, metrics_left_out
from e3d.pages.groups import Group, group_runs

INSPECTION_NOTE = (
    'What RECALL attends to and how far gates are open: the pictures of --mode=inspect.'
)
TABLES = {'gray': 'gray', 'values': 'viridis', 'signs': 'RdBu_r'}


def render(contents: Sequence[Content], inside: Inside = NOT_INSPECTED) -> str:
    """The page.

    Args:
      contents: of the runs, one or more; the first says what is measured.
      inside: what was drawn of the first.
    """
    groups = group_runs(contents)
    samples = join_samples(contents, groups)
    first = contents[0]
    body = [*_head(contents, groups), *_metrics(contents, groups)]
    if samples['sequences']:
        body += [parts.heading(2, 'Sequences'), *_scales(samples), parts.player()]
    if samples['left_out']:
        body.append(
            parts.paragraph(
                f'{samples["left_out"]} sequences were left out, so that the page stays small; the '
                'folder samples/ has the first ones as files.',
                'faint',
            )
        )
    body += [parts.heading(2, 'Curves'), *curves_of(groups)]
    if 'confusion' in first.report:
        body.append(parts.heading(2, 'Confusion'))
        bar = parts.color_bar('Blues', '0 %', '100 %', 'share of the clips of a class')
        body.append(f'<div class="scales">{bar}</div>')
        body += [_matrices(content) for content in contents]
    if inside.pictures:
        body.append(parts.heading(2, 'Inside the model'))
        body.append(parts.paragraph(INSPECTION_NOTE, 'faint'))
        if inside.step not in (None, first.report['step']):
            told = f'They are of step {inside.step:,}, all else of step {first.report["step"]:,}.'
            body.append(parts.paragraph(told))
        body += [
            f'<figure class="inspection"><img alt="" src="data:image/png;base64,{png}">'
            f'<figcaption>{escape(caption)}</figcaption></figure>'
            for caption, png in inside.pictures
        ]
    names = unique_names([content.folder for content in contents])
    body.append(parts.heading(2, 'Settings'))
    body.append(
        parts.config_table({name: c.config for name, c in zip(names, contents, strict=True)})
    )
    return _page(_title(contents), body, samples)


def join_samples(contents: Sequence[Content], groups: Sequence[Group]) -> dict[str, Any]:
    """The samples of several runs, side by side where they are the same sequences.

    Of one run all are shown; of several those that all of them have, told by their true frames, and
    of repetitions with other seeds the forecasts of the first.
    """
    joined = dict(contents[0].samples)
    if len(contents) == 1:
        return joined
    labels, contents = [group.label for group in groups], [group.runs[0] for group in groups]
    for name in ('limit', 'white'):
        joined[name] = max(content.samples[name] for content in contents)
    joined['black'] = min(content.samples.get('black', 0.0) for content in contents)
    by_truth = [{one['key']: one for one in content.samples['sequences']} for content in contents]
    sequences = []
    for one in contents[0].samples['sequences']:
        same = [known.get(one['key']) for known in by_truth]
        if any(other is None for other in same):
            continue
        forecasts = [
            {**other['forecasts'][0], 'label': label}
            for other, label in zip(same, labels, strict=True)
            if other
        ]
        title = f'sequence {one["index"]}'
        sequences.append({**one, 'title': title, 'forecasts': forecasts})
    return {**joined, 'sequences': sequences, 'left_out': 0}


def unique_names(names: Sequence[str]) -> list[str]:
    """Names, with a number where one comes again."""
    return [
        f'{name} ({names[: place + 1].count(name)})' if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _title(contents: Sequence[Content]) -> str:
    labels = dict.fromkeys(label_of(content.config['model.name']) for content in contents)
    if len(contents) == 1:
        return f'{contents[0].config["name"] or contents[0].folder}: {"".join(labels)}'
    return f'{len(contents)} runs: {", ".join(labels)}'


def _head(contents: Sequence[Content], groups: Sequence[Group]) -> list[str]:
    first = contents[0].report
    told = f'{first["protocol"]}, {first["num_sequences"]:,} sequences, {_steps(groups)}'
    lines = [parts.heading(1, _title(contents)), parts.paragraph(told, 'faint')]
    lines += [parts.paragraph(f'Take care: {text}') for text in _incomparable(contents)]
    if len(contents) == 1 and 'mse' in first:
        lines.append(parts.paragraph(verdict(first)))
    return lines


def _steps(groups: Sequence[Group]) -> str:
    """At which step all were measured, or which runs at which steps."""
    steps = [sorted({run.report['step'] for run in group.runs}) for group in groups]
    if len(common := {step for some in steps for step in some}) == 1:
        return f'step {common.pop():,}'
    told = (
        f'step {", ".join(f"{step:,}" for step in some)} ({group.label})'
        for group, some in zip(groups, steps, strict=True)
    )
    return '; '.join(told)


def _incomparable(contents: Sequence[Content]) -> list[str]:
    """What of the runs cannot be compared, in sentences."""
    told = []
    protocols = dict.fromkeys(content.report['protocol'] for content in contents)
    if len(protocols) > 1:
        others = '; '.join(list(protocols)[1:])
        told.append(f'not all runs were measured alike. Others: {others}.')
    elif differences := _differences_of_data(contents):
        told.append(f'not all runs have the same data. {"; ".join(differences)}.')
    if len(units := stated_units(contents)) > 1:
        told.append(
            'errors in the unit of the data (RMSE, MAE, CRPS) are left out, as the runs have '
            f'different ones: {"; ".join(units)}.'
        )
    reports = [content.report['events'] for content in contents if 'events' in content.report]
    events = dict.fromkeys(', '.join(f'{at:g}' for at in one['thresholds']) for one in reports)
    if len(events) > 1 or (events and len(units) > 1):
        thresholds = '; '.join(events)
        told.append(f'CSI is not of the same events in all runs: thresholds {thresholds}.')
    return told


def _differences_of_data(contents: Sequence[Content]) -> list[str]:
    """How the data of runs differ from those of the first, as far as both tell, a text for each."""
    first, told = contents[0].data, []
    for other in contents[1:]:
        if first is None or other.data is None:
            continue
        if differences := first.find_differences(other.data):
            told.append(f'{other.folder}: {", ".join(differences)}')
    return told


def _metrics(contents: Sequence[Content], groups: Sequence[Group]) -> list[str]:
    """The table of means; baselines are those of the first run."""
    first = contents[0].report
    if 'curve' in first:
        names = [name for name in first if name.startswith(('accuracy_', 'top5_'))]
        head = ['run', *(_accuracy_heading(name) for name in names)]
        rows = [[g.label, *(g.shown(name, percent=True) for name in names)] for g in groups]
        rows.append(['guessing', *(f'{100 / len(first["classes"]):.1f}' for _ in names[:1])])
        rows[-1] += [''] * (len(head) - len(rows[-1]))
        return [parts.table(head, rows)]
    headings = {**HEADINGS, **{name: name for name in PRESETS}}
    left_out = metrics_left_out(contents)
    metrics = {k: text for k, text in headings.items() if k in first and k not in left_out}
    rows, strong = [], []
    for group in groups:
        strong += [len(rows)] * group.style.emphasized
        rows.append([group.label, *(group.shown(name) for name in metrics)])
        # Not a baseline: each model has its own members.
        if any(MEMBERS_MEAN in run.report for run in group.runs):
            label = f'{group.label}, {TRIVIAL_FORECASTS[MEMBERS_MEAN]}'
            rows.append([label, *(group.shown(name, of=MEMBERS_MEAN) for name in metrics)])
    for name, label in describe_baselines(first).items():
        cells = (
            format_number(m, first[name][m]) if first[name].get(m) is not None else ''
            for m in metrics
        )
        rows.append([label, *cells])
    seeds = ' ± is the standard deviation over seeds.' if any(g.repeated for g in groups) else ''
    note = 'MSE and MAE: summed over the pixels of a frame. PSNR in dB.'
    note += f' RMSE in {common_unit(contents)}.' if 'rmse' in metrics else ''
    means = parts.table(['forecast', *metrics.values()], rows, strong)
    return [means, parts.paragraph(note + seeds, 'faint')]


def _accuracy_heading(name: str) -> str:
    kind, _, part = name.partition('_')
    seen = f'{part} % of the clip' if part[0].isdigit() else 'trained parts, mean'
    return f'{"top-1" if kind == "accuracy" else "top-5"} (%), {seen}'


def _scales(samples: Mapping[str, Any]) -> list[str]:
    """What the colors of the sequences mean."""
    factor = 1.0 if samples['low'] is None else samples['high'] - samples['low']
    offset = samples['low'] or 0.0
    unit = samples['unit']
    if 'png' not in samples['sequences'][0]['forecasts'][0]:
        return []
    in_unit = f' ({unit})' * bool(unit)
    bars = []
    first = samples['sequences'][0]
    # Pages of earlier versions do not tell.
    colors = ', mean of the colors' * first.get('rgb', first['channels'] == 3)
    limit = f'{samples["limit"] * factor:.3g}'
    if samples['colored']:
        bars.append(
            parts.color_bar(
                TABLES['values'],
                f'{offset + factor * samples.get("black", 0.0):.3g}',
                f'{offset + factor * samples["white"]:.3g}',
                f'values{in_unit}',
            )
        )
    bars.append(
        parts.color_bar(
            TABLES['signs'],
            f'-{limit} too low',
            f'too high +{limit}',
            f'difference: forecast less truth{colors}{in_unit}',
        )
    )
    return [f'<div class="scales">{"".join(bars)}</div>']


def _matrices(content: Content) -> str:
    made = [
        parts.confusion_matrix(counts, content.report['classes'], f'{part} % of the clip seen')
        for part, counts in content.report['confusion'].items()
    ]
    return f'{parts.heading(3, content.folder)}<div class="matrices">{"".join(made)}</div>'


def _page(title: str, body: Sequence[str], samples: Mapping[str, Any]) -> str:
    tables = {
        name: ''.join(parts.hex_colors(colors, 255 if name == 'signs' else 256))
        for name, colors in TABLES.items()
    }
    # Nothing in a string may end the element that holds it.
    data = json.dumps({**samples, 'tables': tables}, separators=(',', ':'))
    text = data.replace('<', '\\u003c')
    files = importlib.resources.files('e3d.pages')
    template = string.Template((files / 'page.html').read_text('utf-8'))
    return template.substitute(
        title=escape(title),
        style=(files / 'page.css').read_text('utf-8'),
        script=(files / 'page.js').read_text('utf-8'),
        body='\n'.join(body),
        data=text,
    )
