"""Runs what is missing of a sweep and keeps the numbers of what is finished, for the studies here.

A study is a folder of runs, the sweep of one experiment. Its runs may be stopped at any time: they go
on from their checkpoints. The numbers of a finished one are kept in a file of results/, so that it
is not run again, on another machine either, unless another run begins from it or --again asks for it.
"""

import argparse
import collections
import copy
import fnmatch
import functools
import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from e3d.configuration import changeable_keys, load_config
from e3d.data.sources.layouts import layout_of
from e3d.evaluation.styles import label_of
from e3d.files import atomic_write
from e3d.model import build_model
from e3d.model.needs import initialize
from e3d.options.flat import flatten
from e3d.runs import state
from e3d.runs.reporting import METRICS_FILE, read_lines
from e3d.sweep.entries import Entry, make_entries
from e3d.sweep.execution import run_process
from e3d.sweep.results import FINISHED, read_result

ROOT = pathlib.Path(__file__).resolve().parent.parent

# {study: {'setting': its config, 'entries': {name: numbers of the finished run}}}
Numbers = Mapping[str, Any]


def complete(
    documentation: str,
    path: pathlib.Path,
    experiments: Mapping[str, str],
    runs: pathlib.Path,
    measure: Callable[[Entry, pathlib.Path], dict[str, Any]],
    write: Callable[[Numbers], None],
) -> None:
    """The command of a study: runs its entries, and writes again after each.

    Args:
      documentation: of the command.
      path: where the numbers are kept.
      experiments: {study: value of --config}.
      runs: folder of the studies' folders, unless the command line names another.
      measure: the numbers of a finished run, from its entry and folder; its arguments and the
        seconds of a step are added.
      write: writes tables and pictures.
    """
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--runs', type=pathlib.Path, default=runs)
    parser.add_argument('--path', help='dataset.path of the runs, where the experiment has none')
    parser.add_argument(
        '--only',
        default=['*'],
        nargs='+',
        metavar='PATTERN',
        help="runs by 'study/name', as 'copy/*,seed=0'",
    )
    parser.add_argument(
        '--again',
        action='store_true',
        help='those too whose numbers are kept; what is finished in --runs is only measured again',
    )
    arguments = parser.parse_args()
    # A GPU's memory is for the runs, which are processes of their own.
    jax.config.update('jax_platforms', 'cpu')
    numbers, entries = read_numbers(path, experiments), plan(experiments)
    data = [f'--config.dataset.path={arguments.path}'] if arguments.path else []
    for study, entry in entries:
        name = f'{study}/{entry.name}'
        wanted = any(fnmatch.fnmatchcase(name, pattern) for pattern in arguments.only)
        if not wanted or (is_known(numbers[study], entry) and not arguments.again):
            continue
        folder = arguments.runs / study
        others = {other.name: other for of, other in entries if of == study}
        if _finish(experiments[study], entry, others, folder, data):
            workdir = folder / entry.name
            numbers[study]['entries'][entry.name] = _common(entry, workdir) | measure(
                entry, workdir
            )
            keep(path, numbers)
            write(numbers)
    write(numbers)


def plan(experiments: Mapping[str, str]) -> list[tuple[str, Entry]]:
    """All runs, the first seed of everything first."""
    entries = [
        (study, entry)
        for study, flag in experiments.items()
        for entry in make_entries('get_sweep', flag, ['launch.py', f'--config={flag}'])
    ]
    return sorted(entries, key=lambda pair: pair[1].config.seed)


def read_numbers(path: pathlib.Path, experiments: Mapping[str, str]) -> dict[str, Any]:
    """What is known so far; a study whose setting has changed since starts over, and says why."""
    stored = json.loads(path.read_text('utf-8')) if path.exists() else {}
    numbers, free = {}, changeable_keys()
    for study, flag in experiments.items():
        setting = {k: v for k, v in flatten(load_config(flag)).items() if k not in free}
        setting = json.loads(json.dumps(setting))  # tuples as they are stored
        old = stored.get(study, {'setting': setting, 'entries': {}})
        # Neither keys that came later count, whose defaults leave everything as it was, nor those
        # that have come to be free to change.
        changed = [
            key
            for key, value in old['setting'].items()
            if key not in free and setting.get(key) != value
        ]
        if changed:
            print(f'{study}: {", ".join(changed)} changed since; starting over.', file=sys.stderr)
        numbers[study] = {'setting': setting, 'entries': {}} if changed else old
    return numbers


def keep(path: pathlib.Path, numbers: Numbers) -> None:
    """Stores the numbers."""
    path.parent.mkdir(exist_ok=True)
    studies = []
    for study, known in numbers.items():
        setting, entries = (
            ',\n'.join(f'  {json.dumps(key)}: {json.dumps(value)}' for key, value in part.items())
            for part in (known['setting'], known['entries'])
        )  # a line for each run, so that a difference of two versions tells which are new
        studies.append(
            f'{json.dumps(study)}: {{\n "setting": {{\n{setting}\n }},\n'
            f' "entries": {{\n{entries}\n }}\n}}'
        )
    with atomic_write(path) as temporary:
        temporary.write_text('{\n' + ',\n'.join(studies) + '\n}\n', 'utf-8')


def is_known(known: Mapping[str, Any], entry: Entry) -> bool:
    """Whether the numbers of this very run are there."""
    found = known['entries'].get(entry.name)
    return found is not None and found['arguments'] == list(entry.arguments)


def _finish(
    flag: str,
    entry: Entry,
    others: Mapping[str, Entry],
    folder: pathlib.Path,
    data: Sequence[str],
) -> bool:
    """Trains an entry that is not finished, and before it the one that it begins from.

    Args:
      flag: value of --config.
      entry: of a study.
      others: the entries of the study by name; `init_from` may end in the name of one.
      folder: of the study, where that one lies too, whichever the experiment has.
      data: arguments that say where the data are.

    Returns:
      Whether the entry is finished.
    """
    workdir = folder / entry.name
    first = others.get(pathlib.Path(entry.config.init_from).name)
    if first:
        entry = _beginning_from(entry, folder / first.name)
    if read_result(entry, workdir).status != FINISHED:
        if first:
            _finish(flag, first, others, folder, data)
        _train(flag, entry, workdir, data)
    return read_result(entry, workdir).status == FINISHED


def _beginning_from(entry: Entry, workdir: pathlib.Path) -> Entry:
    config = copy.deepcopy(entry.config)
    config.init_from = str(workdir)
    arguments = (*entry.arguments, f'--config.init_from={workdir}')  # the last one counts
    return entry._replace(arguments=arguments, config=config)


def _train(flag: str, entry: Entry, workdir: pathlib.Path, data: Sequence[str]) -> None:
    """Runs an entry in a process of its own, from where it stopped."""
    workdir.parent.mkdir(parents=True, exist_ok=True)
    find_device = 'import jax; print(jax.devices()[0].device_kind)'
    made_by = {
        'commit': ('git', '-C', str(ROOT), 'rev-parse', '--short', 'HEAD'),
        'device': (sys.executable, '-c', find_device),
    }
    for name, command in made_by.items():
        _note(workdir, name).write_text(_output(command), 'utf-8')
    launch = [sys.executable, str(ROOT / 'launch.py'), f'--config={flag}', *entry.arguments]
    code = run_process([*launch, *data, f'--workdir={workdir}'])
    if code:
        raise SystemExit(f'{entry.name} ended with exit code {code}; the same command continues.')


def _note(workdir: pathlib.Path, name: str) -> pathlib.Path:
    """Where it is kept what made a run, beside its folder: the commit and the device."""
    return workdir.with_name(f'{workdir.name}.{name}')


def _output(command: Sequence[str]) -> str:
    """What a command prints; '' where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _common(entry: Entry, workdir: pathlib.Path) -> dict[str, Any]:
    lines = read_lines(workdir / METRICS_FILE)
    notes = {name: _note(workdir, name) for name in ('commit', 'device')}
    kept = {name: note.read_text('utf-8') if note.exists() else '' for name, note in notes.items()}
    if kept['device'] in ('', 'cpu'):
        del kept['device']
    return {
        'arguments': list(entry.arguments),
        **kept,
        # Other work on the machine can only lengthen a step.
        'seconds_per_step': min(
            line['seconds_per_step'] for line in lines if 'seconds_per_step' in line
        ),
    }


def measure_forecasts(
    entry: Entry,
    workdir: pathlib.Path,
    metrics: Iterable[str],
    simple: Iterable[str],
    shape: Sequence[int] = (),
) -> dict[str, Any]:
    """The numbers of a finished run of prediction.

    Args:
      entry: of a study.
      workdir: of its run.
      metrics: of its report that are kept.
      simple: forecasts that need no training, of which they are kept too.
      shape: see `count_parameters`.
    """
    report = json.loads((workdir / 'evaluation.json').read_text('utf-8'))
    metrics = tuple(metrics)
    return {
        'parameters': count_parameters(entry, shape),
        'test': {key: report[key] for key in metrics},
        'mse_per_frame': report['mse_per_frame'],
        'mse_per_sequence': [float(f'{value:.4g}') for value in report['mse_per_sequence']],
        'curve': read_result(entry, workdir).validation['mse'],
        **{name: {key: report[name][key] for key in metrics} for name in simple},
    }


def count_parameters(entry: Entry, shape: Sequence[int] = ()) -> int:
    """How many parameters the model of an entry has, for frames `[H, W, C]` or those of its config."""
    model, dataset = build_model(**entry.config.model), entry.config.dataset
    lengths, shape = layout_of(dataset).lengths, tuple(shape) or (*dataset.canvas, 1)
    create = functools.partial(initialize, model, jax.random.key(0), shape, lengths)
    return state.count_parameters(jax.eval_shape(create)['params'])


def by_seed(known: Mapping[str, Any]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """The numbers of a study's runs by the name before ',seed=' and by the seed."""
    runs: dict[str, dict[int, Mapping[str, Any]]] = collections.defaultdict(dict)
    for name, numbers in known['entries'].items():
        model, _, seed = name.partition(',seed=')
        runs[model][int(seed)] = numbers
    return dict(runs)


def by_name(known: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The same, a list of seeds each."""
    return {name: list(seeds.values()) for name, seeds in by_seed(known).items()}


def of_devices(runs: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[str]:
    """A sentence for each device that is no CPU, with the runs that were made on it.

    Args:
      runs: by name and seed.
    """
    found: dict[str, list[str]] = collections.defaultdict(list)
    for name, seeds in runs.items():
        for device in sorted({numbers.get('device', '') for numbers in seeds.values()} - {''}):
            of = [str(seed) for seed, numbers in seeds.items() if numbers.get('device') == device]
            which = f' (seed {", ".join(of)})' if len(of) < len(seeds) else ''
            found[device].append(label_of(name) + which)
    return [f'Trained on an {device}: {"; ".join(names)}.\n' for device, names in found.items()]


def shown(values: Iterable[float], digits: int) -> str:
    """Mean and, of two or more values, their standard deviation, as text."""
    values = list(values)
    text = f'{statistics.mean(values):.{digits}f}'
    return f'{text} ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else text


def write_section(page: pathlib.Path, name: str, parts: Sequence[str]) -> None:
    """Puts text into a page of results, between the marks with this name, or at the end."""
    marks = f'<!-- {name}: begin -->\n', f'<!-- {name}: end -->\n'
    text = page.read_text('utf-8') if page.exists() else '# Results\n'
    if marks[0] not in text:
        text += '\n' + ''.join(marks)
    before, _, rest = text.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    with atomic_write(page) as temporary:
        temporary.write_text(before + marks[0] + '\n'.join(parts) + marks[1] + after, 'utf-8')
