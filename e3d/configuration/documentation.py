"""The page of all keys of a config, made of their options.

python -m e3d.configuration.documentation > docs/config.md
"""

import functools
import operator
from collections.abc import Iterable, Mapping

from e3d.configuration.sections import Experiment, sections_of
from e3d.data.sources.dataset import DATASETS, Dataset
from e3d.options.option import Option, options_of
from e3d.tasks.registry import TASKS

Options = Mapping[str, Option]

HEAD = """# The keys of a config

`python -m e3d.configuration.documentation > docs/config.md` made this page. A value is changed by
`--config.section.key=VALUE`, or in Python by `e3d.make_config(experiment, **{'section.key': value})`;
`--config=FILE --help` shows those of an experiment. Keys with a * may have another value when a run
goes on: they do not change what is learned.
"""


def document() -> str:
    """The page, in Markdown."""
    task, other = next(iter(TASKS.items()))
    common = sections_of(task, other.default_model, '')
    parts = [HEAD, _table('Every config', '', options_of(Experiment))]
    for name, fields in common.items():
        if name not in ('', 'model', 'dataset', 'loss'):
            parts.append(_table(f'`{name}`', name, options_of(fields), _summary(fields)))
    for name, task in TASKS.items():
        title = f"`loss` of `task='{name}'`"
        parts.append(_table(title, 'loss', options_of(task.objective), _summary(task)))
    parts += _tables_of('dataset', 'data sets', Dataset, DATASETS)
    for name, task in TASKS.items():
        usual = task.models[task.default_model]
        parts += _tables_of('model', f"models of `task='{name}'`", usual, task.models)
    return '\n'.join(parts)


def _tables_of(section: str, title: str, usual: type, entries: Mapping[str, type]) -> Iterable[str]:
    """The keys that all entries have, and for each entry those that it alone has or has otherwise."""
    options = {name: options_of(entry) for name, entry in entries.items()}
    shared = functools.reduce(operator.and_, (one.keys() for one in options.values()))
    common = {key: one for key, one in options_of(usual).items() if key in shared}
    yield _table(f'`{section}`: all {title}', section, common)
    for name, entry in entries.items():
        own = {key: one for key, one in options[name].items() if common.get(key) != one}
        yield _table(f"`{section}.name='{name}'`", section, own, _summary(entry))


def _summary(described: type) -> str:
    return (described.__doc__ or '').partition('\n')[0]


def _table(title: str, section: str, options: Options, summary: str = '') -> str:
    lines = [f'## {title}', '', *([summary, ''] if summary else [])]
    if options:
        lines += ['| key | default | meaning | must be |', '|---|---|---|---|']
    for name, option in options.items():
        key = f'{section}.{name}'.lstrip('.') + '*' * option.changeable
        cells = (key, f'`{option.default!r}`', option.meaning, option.rule.brief)
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join([*lines, ''])


if __name__ == '__main__':
    print(document(), end='')
