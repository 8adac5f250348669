"""Runs that are repetitions of each other, with other seeds, are one row and one curve."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from e3d.evaluation.report import format_number
from e3d.evaluation.styles import Style, label_of, styles_of
from e3d.pages.content import Content

# In which repetitions differ, or which has no part in what is learned.
OF_A_RUN = ('name', 'seed', 'dataset.path', 'dataset.data_dir', 'dataset.workers', 'init_from')


class Group(NamedTuple):
    """Runs that differ only by their seeds.

    Attributes:
      style: how they are called and drawn.
      runs: in the order in which they were given.
    """

    style: Style
    runs: Sequence[Content]

    @property
    def label(self) -> str:
        """What they are called."""
        return self.style.label

    @property
    def repeated(self) -> bool:
        """Whether there are several."""
        return len(self.runs) > 1

    def shown(self, metric: str, percent: bool = False) -> str:
        """The mean of a metric over the runs, with its standard deviation where there are several."""
        found = [run.report.get(metric) for run in self.runs]
        values = [value for value in found if value is not None]
        if len(values) < len(found):
            return ''
        factor = 100 if percent else 1
        numbers = [factor * value for value in values]
        written = [statistics.mean(numbers)]
        written += [statistics.stdev(numbers)] if self.repeated else []
        return ' ± '.join(f'{v:.1f}' if percent else format_number(metric, v) for v in written)

    def mean(self, curves: Sequence[Sequence[float | None]]) -> tuple[list[float], list[float]]:
        """The mean of curves over the runs and, of several, their standard deviation.

        What is not known in one of them is NaN.
        """
        columns = np.array(curves, float)  # None becomes NaN
        spread = columns.std(axis=0, ddof=1).tolist() if self.repeated else []
        return columns.mean(axis=0).tolist(), spread


def group_runs(contents: Sequence[Content]) -> list[Group]:
    """Puts together what differs only by seeds; a name tells what differs otherwise."""
    by_setting: dict[str, list[Content]] = {}
    for content in contents:
        setting = {key: value for key, value in content.config.items() if key not in OF_A_RUN}
        by_setting.setdefault(json.dumps(setting, sort_keys=True, default=str), []).append(content)
    groups = list(by_setting.values())
    models = [runs[0].config['model.name'] for runs in groups]
    names = [
        model if models.count(model) == 1 else f'{label_of(model)}: {_difference(runs[0], groups)}'
        for model, runs in zip(models, groups, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [f'{runs[0].folder} ({place + 1})' for place, runs in enumerate(groups)]
    styles = styles_of(names)
    return [Group(styles[name], runs) for name, runs in zip(names, groups, strict=True)]


def _difference(run: Content, groups: Sequence[Sequence[Content]]) -> str:
    """In which keys a run differs from others of its model, in short."""
    others = [g[0].config for g in groups if g[0].config['model.name'] == run.config['model.name']]
    keys = [
        key
        for key in run.config
        if key not in OF_A_RUN and len({str(other.get(key)) for other in others}) > 1
    ]
    return ', '.join(f'{_short(key)}={run.config[key]}' for key in keys[:3])


def _short(key: str) -> str:
    return key.rpartition('.')[2]


def validation_metrics(content: Content) -> Mapping[str, list[tuple[int, Any]]]:
    """What was measured during training: {metric: [(step, value), ...]}."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for line in content.lines:
        if line.get('split') in ('validation', 'validation_on_test'):
            for name, value in line.items():
                if name not in ('step', 'split', 'num_sequences'):
                    found.setdefault(name, []).append((line['step'], value))
    return found
