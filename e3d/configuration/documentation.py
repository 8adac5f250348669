"""The page of all keys of a config, made of their options.

python -m e3d.configuration.documentation > docs/config.md
"""

import dataclasses
from collections.abc import Iterable, Mapping

from e3d.configuration.sections import Experiment, sections_of
from e3d.data.sources.dataset import DATASETS
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
    first, other = next(iter(TASKS.items()))
    common = sections_of(first, other.default_model, '')
    parts = [HEAD, _table('Every config', '', options_of(Experiment))]
    for name, fields in common.items():
        if name not in ('', 'model', 'dataset', 'loss'):
            parts.append(_table(f'`{name}`', name, options_of(fields), _summary(fields)))
    for name, task in TASKS.items():
        title = f"`loss` of `task='{name}'`"
        parts.append(_table(title, 'loss', options_of(task.objective), _summary(task)))
    for name, entries in (('dataset', DATASETS), *(('model', t.models) for t in TASKS.values())):
        parts += _tables_of(name, entries)
    return '\n'.join(parts)


def _tables_of(section: str, entries: Mapping[str, type]) -> Iterable[str]:
    """The keys of each base class, and for each entry those that it adds or has otherwise."""
    kinds: dict[type | None, list[str]] = {}
    for name, entry in entries.items():
        base = next((other for other in entry.__mro__[1:] if _has_options(other)), None)
        kinds.setdefault(base, []).append(name)
    for base, names in kinds.items():
        common = options_of(base) if base else {}
        if base:
            yield _table(f'`{section}`: every `{base.__name__}`', section, common, _summary(base))
        for name in names:
            own = {k: one for k, one in options_of(entries[name]).items() if common.get(k) != one}
            also = f' All keys of `{base.__name__}`' + (', and:' if own else '.') if base else ''
            title = f"`{section}.name='{name}'`"
            yield _table(title, section, own, f'{_summary(entries[name])}{also}')


def _has_options(section: type) -> bool:
    return dataclasses.is_dataclass(section) and bool(options_of(section))


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
