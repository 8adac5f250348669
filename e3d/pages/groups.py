"""Runs that are repetitions of each other, with other seeds, are one row and one curve."""

import json
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from e3d.evaluation.report import format_number
from e3d.evaluation.styles import Style, label_of, styles_of
from e3d.pages.content import Content

# In which repetitions differ, or which has no part in what is learned.
OF_A_RUN = ('name', 'seed', 'dataset.data_dir', 'dataset.workers')
# Where the data lie has no part in it either, as long as they are the same.
PATH = 'dataset.path'


class Group(NamedTuple):
    """Runs that differ only by their seeds and were measured alike.

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

    def shown(self, metric: str, percent: bool = False, of: str = '') -> str:
        """The mean of a metric over the runs, with its standard deviation where there are several.

        `of` names what was measured beside the model, such as the mean of its members.
        """
        reports = [run.report.get(of, {}) if of else run.report for run in self.runs]
        found = [report.get(metric) for report in reports]
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
    """Puts together what differs only by seeds; a name tells what differs otherwise.

    Two runs of one seed are no repetitions of each other, whatever else agrees.
    """
    groups: list[list[Content]] = []
    for content in contents:
        group = next((runs for runs in groups if _is_repetition(content, runs)), None)
        if group is None:
            groups.append([content])
        else:
            group.append(content)
    names = _names(groups)
    styles = styles_of(names)
    return [Group(styles[name], runs) for name, runs in zip(names, groups, strict=True)]


def _is_repetition(content: Content, runs: Sequence[Content]) -> bool:
    """Whether a run differs from others only by its seed, which none of them has."""
    same = _compared(content) == _compared(runs[0]) and _same_data(content, runs[0])
    return same and all(content.config['seed'] != run.config['seed'] for run in runs)


def _setting(content: Content) -> dict[str, Any]:
    """What repetitions have in common, by 'section.key': what was measured, and their configs."""
    measured = {
        **_checkpoint(content),
        # An evaluation may have others than the config of its run.
        'evaluation.thresholds': tuple(content.report.get('events', {}).get('thresholds', ())),
        'evaluation.members': content.report.get('ensemble', {}).get('members'),
        'dataset.unit': content.unit,
    }
    return measured | {
        key: value
        for key, value in content.config.items()
        if key not in (*OF_A_RUN, PATH, *measured)
    }


def _checkpoint(content: Content) -> dict[str, Any]:
    """Which checkpoint was measured: of the best the rule tells, as its step is another in each run."""
    chosen = content.report.get('checkpoint')
    if isinstance(chosen, str) and chosen.startswith('best'):
        return {'checkpoint': chosen}
    return {'step': content.report['step']}


def _compared(content: Content) -> dict[str, str]:
    """The setting, to be compared."""
    setting = _setting(content)
    if content.begun_from:  # of which there may be repetitions as well
        others = {key: value for key, value in content.begun_from.items() if key not in OF_A_RUN}
        setting['init_from'] = others
    return {key: json.dumps(value, sort_keys=True, default=str) for key, value in setting.items()}


def _same_data(content: Content, other: Content) -> bool:
    """Whether two runs have the same data: those of one path, as long as they do not tell otherwise."""
    own, others = content.data, other.data
    moved = content.config[PATH] != other.config[PATH]
    if own is None or others is None:
        return not moved
    return own.is_same(others) if moved else not own.find_differences(others)


def _names(groups: Sequence[Sequence[Content]]) -> list[str]:
    """How groups are called: by their model and, where several have it, by what differs."""
    models = [runs[0].config['model.name'] for runs in groups]
    told = [
        (model, _difference(runs[0], groups)) for model, runs in zip(models, groups, strict=True)
    ]
    names = []
    for place, (model, difference) in enumerate(told):
        folder = f'{groups[place][0].folder} ({place + 1})' * (told.count((model, difference)) > 1)
        more = ', '.join(filter(None, (difference, folder)))
        names.append(model if models.count(model) == 1 else f'{label_of(model)}: {more}')
    return names


def _difference(run: Content, groups: Sequence[Sequence[Content]]) -> str:
    """In which keys a run differs from others of its model, in short."""
    firsts = [runs[0] for runs in groups]
    others = [one for one in firsts if one.config['model.name'] == run.config['model.name']]
    compared = [_compared(other) for other in others]
    own = _setting(run)
    keys = [key for key in own if len({other.get(key) for other in compared}) > 1]
    if not all(_same_data(run, other) for other in others):
        keys.append(PATH)
        own[PATH] = run.config[PATH]
    return ', '.join(f'{_short(key)}={_shown(own[key])}' for key in keys[:3])


def _shown(value: Any) -> str:
    return str(value) or "''"


def _short(key: str) -> str:
    return key.rpartition('.')[2]
