"""Train, evaluate and use E3D-LSTM, a network that forecasts video.

The command is `e3d`, or `python launch.py` in a checkout. NAME is an experiment of those below, or
a file of your own, FILE.py.

e3d --config=quickstart
    trains, shows progress, and prints a table of the test; the same command again resumes a run
    that was interrupted, or evaluates one that is finished
e3d --config=moving_mnist:small --config.train.steps=100
    an experiment in its small form, one value of its config changed
e3d --config=NAME --sweep='optimizer.learning_rate=1e-3,3e-4;model.history=5,None'
    trains every combination in turn, each in a folder of --workdir (runs/NAME_sweep if not given),
    and ends with a table and a picture; --sweep=get_sweep takes what get_sweep() in its file
    returns, --sweep_index=N only one entry; the same command again continues
e3d --workdir=runs/quickstart --config.dataset.path=FOLDER
    resumes a run by its stored config; here its data have moved
e3d --mode=evaluate --workdir=runs/quickstart
    measures a trained run on the whole test split; writes evaluation.json and pictures;
    --checkpoint=best takes the best on validation, --checkpoint=STEP that of a step
e3d --mode=predict --workdir=runs/quickstart --input=clip.mp4 --output=next.gif
    continues a clip (video, animated picture, folder of pictures, .npy, .npz) and writes it (.mp4,
    .gif, .npy, or a folder of PNG where the name has no suffix); --with_input --scale=8 shows the
    clip before it, enlarged
e3d --mode=recognize --workdir=runs/moving_actions --input=clip.mp4 [--output=curve.png]
    says what happens in a clip: the best five classes after its front 25 %, 50 % and all of it,
    with a picture of them by the part seen; --weights=i3d-kinetics400 in place of --workdir takes
    a published network (400 classes of Kinetics), without any training
e3d --mode=inspect --workdir=runs/quickstart
    draws what the memory attention reads, of which remembered step and place, and how far the gates
    are open, for the first test sequence or --input=clip.mp4; --pixels=16,20 --steps=5,9 choose
e3d data [FOLDER]
    lists the data sets: which are made or fetched, and what to fetch by hand for the others; FOLDER
    is that of prepared data, data if not given
e3d compare runs/one runs/two --output=compare.html
    one page with the curves and forecasts of several runs; each has a report.html of its own
e3d --mode=prepare --config=kth
    prepares a data set ahead of training, which would do it by itself, and says what is in it
e3d --config=NAME --coordinator=HOST:PORT --num_processes=2 --process_id=0
    trains together with a second process, which has --process_id=1, on this machine or another;
    SLURM, Kubernetes and TPU pods need no such flags; --coordinator=none keeps this process alone
"""

import contextlib
import functools
import itertools
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Collection, Sequence
from typing import Any

import jax
from absl import flags, logging
from ml_collections import ConfigDict

from e3d import signals, terminal
from e3d.command_line.help import describe_experiments, describe_flags, describe_keys
from e3d.command_line.parsing import changed_keys, parse, parse_comparison
from e3d.configuration import check_config, find_differences
from e3d.data.listing import describe_data_sets
from e3d.data.preparation import prepare
from e3d.errors import InputError, RunError, exit_code
from e3d.pages.writing import renew_page, write_comparison
from e3d.parallel import processes
from e3d.prediction.inspection import inspect_to_files
from e3d.prediction.predict import predict_file
from e3d.prediction.presentation import Presentation
from e3d.prediction.recognize import recognize_file
from e3d.progress import set_verbosity
from e3d.runs.trained_run import Run, load_run, with_model
from e3d.signals import Interrupted
from e3d.sweep.entries import make_entries
from e3d.sweep.execution import run_sweep
from e3d.terminal import show, tell
from e3d.training import loop

# What several processes can do together.
TOGETHER = ('train', 'evaluate')
# What only some modes have.
FLAGS_OF = {
    'predict': (
        *('input', 'output', 'horizon', 'members', 'overwrite'),
        *('with_input', 'scale', 'size'),
    ),
    'inspect': ('input', 'horizon', 'pixels', 'steps'),
    'recognize': ('input', 'output', 'overwrite', 'weights'),
}


def main(arguments: list[str], command: Sequence[str] = (sys.executable, '-m', 'e3d')) -> int:
    """Does what the command line says.

    Args:
      arguments: `sys.argv`, the program's name first.
      command: starts this program again, for the entries of a sweep.

    Returns:
      The exit code: 0, 1 for a failure during the work, 2 for input that cannot be used, 130 and
      143 where SIGINT and SIGTERM ended it.
    """
    program = name_of(arguments)
    logging.set_verbosity(logging.ERROR)
    try:
        with signals.unwinding():
            if arguments[1:2] in (['data'], ['compare']) and {'--help', '-h'} & {*arguments[2:]}:
                show(usage_of(arguments[1]))
            elif arguments[1:2] == ['data']:
                show(list_data_sets(arguments[2:]))
            elif arguments[1:2] == ['compare']:
                folders, output = parse_comparison(arguments[2:])
                show(f'comparison {write_comparison(folders, output)}')
            else:
                do(arguments, command)
        if (problem := terminal.lost_results()) is not None:
            raise RunError(f'The work is done, but its output is lost: {problem}.')
        return 0
    except Interrupted as stop:
        tell(f'\n{program}: {stop}')
        code = stop.exit_code
        if stop.agreed:
            return code
    except KeyboardInterrupt:  # a second signal, where this is no program of its own
        tell(f'\n{program}: Stopped at once.')
        code = 130
    except Exception as error:
        if wants_tracebacks(arguments):
            traceback.print_exc()
        known = isinstance(error, InputError | RunError)
        unknown = f'{type(error).__name__}: {error}\n(--debug shows the traceback)'
        tell(f'{program}: {error if known else unknown}')
        code = exit_code(error)
    processes.leave(code)
    return code


def do(arguments: list[str], command: Sequence[str]) -> None:
    """Does what flags say; arguments as for `main`."""
    values, config = parse(arguments)
    set_verbosity(values.verbosity)
    if values.verbosity == 'detailed':
        logging.set_verbosity(logging.INFO)
    if values.sweep and not values.help:
        sweep(arguments, command, values, config)
    else:
        run(values, config, changed_keys(arguments))


def usage_of(command: str) -> str:
    """What the head of this file says of 'data' or 'compare'."""
    found = re.search(rf'^e3d {command}\b.*\n(?:    .*\n)+', str(__doc__), re.MULTILINE)
    assert found
    return found[0].rstrip()


def list_data_sets(arguments: Sequence[str]) -> str:
    """What `e3d data [FOLDER]` says: every data set, and whether it lies in the folder `data`."""
    if len(arguments) > 1 or any(argument.startswith('-') for argument in arguments):
        raise InputError("'e3d data' takes at most the folder of prepared data: e3d data FOLDER.")
    return describe_data_sets(*arguments)


def name_of(arguments: Sequence[str]) -> str:
    """What the program was started as: 'e3d', also for `python -m e3d`, or 'launch.py'."""
    name = os.path.basename(arguments[0])
    return 'e3d' if name == '__main__.py' else name


def wants_tracebacks(arguments: list[str]) -> bool:
    """What `--debug` says, also in a command line that cannot be read."""
    found = [re.fullmatch(r'--?(no)?debug(?:=(.*))?', argument) for argument in arguments]
    last = next((match for match in reversed(found) if match), None)
    given = last is not None and (last[2] or 'true').lower() in ('true', 't', '1')
    return given and last is not None and not last[1]


def run(values: flags.FlagValues, config: Any, changed: Collection[str]) -> None:
    """Does what parsed flags and config, or None, say; see `e3d.command_line.parse`.

    Args:
      values: the flags.
      config: with its overrides.
      changed: the keys of these, 'section.key'.
    """
    if values.sweep_index is not None and values.sweep is None:
        raise InputError('--sweep_index needs --sweep.')
    if values.help:
        options, experiments = describe_flags(values), describe_experiments()
        keys = describe_keys(config)
        show(f'{__doc__}\nflags\n{options}\n\nexperiments\n{experiments}\n\nconfig\n{keys}')
        return
    check_flags(values, config)
    if values.mode == 'prepare':
        check_config(config)
        show(prepare(config.dataset, config.seed))
        return
    workdir = values.workdir
    if workdir is None and config is not None:
        workdir = pathlib.Path('runs') / config.name
    checkpoint = 'newest' if values.checkpoint is None else values.checkpoint
    keep_compilations()
    if values.mode in TOGETHER:
        patience = values.patience or processes.PATIENCE_SECONDS
        processes.connect(values.coordinator, values.num_processes, values.process_id, patience)
    if values.mode == 'train':
        loop.train(config, workdir)
    elif values.mode == 'evaluate':
        loop.evaluate(config, workdir, checkpoint)
    elif values.weights:
        show(recognize_file(values.weights, values.input, values.output, values.overwrite))
    else:
        chosen = load_run(workdir, checkpoint=checkpoint)
        if config is not None:
            reject_changes(values.mode, chosen.config, config, changed)
            chosen = with_changes(chosen, config, changed)
        show(use(values, chosen, workdir))


def check_flags(values: flags.FlagValues, config: Any) -> None:
    """Raises InputError where a mode lacks what it needs, or is given what is not for it."""
    needs_config = values.mode in ('train', 'prepare')
    if config is None and not values.weights and (needs_config or values.workdir is None):
        other = ' or --workdir=FOLDER of a run' + ' that was trained' * (not needs_config)
        raise InputError(
            f'--mode={values.mode} needs --config=FILE{other}. There are:\n{describe_experiments()}'
        )
    if values.mode == 'predict' and not (values.input and values.output):
        raise InputError('--mode=predict needs --input=FILE and --output=FILE.')
    if values.mode == 'recognize' and not values.input:
        raise InputError('--mode=recognize needs --input=FILE.')
    reject_flags_of_others(values)
    if values.weights and (values.workdir or values.checkpoint or config is not None):
        raise InputError(
            f'--weights={values.weights} is in place of a run: leave out --workdir, --checkpoint and '
            '--config.'
        )
    if values.checkpoint is not None and values.mode in ('train', 'prepare'):
        raise InputError(
            f'--mode={values.mode} does not take --checkpoint; --mode=evaluate, predict, inspect and '
            'recognize do.'
        )
    if names_processes(values) and values.mode not in TOGETHER:
        raise InputError(f'--mode={values.mode} runs in a single process; remove --coordinator.')


def names_processes(values: flags.FlagValues) -> bool:
    """Whether flags say which processes work together."""
    given = values.coordinator, values.num_processes, values.process_id
    return given != (None, None, None)


def use(values: flags.FlagValues, chosen: Run, workdir: Any) -> str:
    """Lets a trained run predict, or looks into it; says what was done."""
    if values.mode == 'recognize':
        return recognize_file(chosen, values.input, values.output, values.overwrite)
    if values.mode == 'inspect':
        account = inspect_to_files(
            chosen, workdir, values.input, values.pixels, values.steps, values.horizon
        )
        renew_page(workdir)
        return account
    presentation = Presentation(values.with_input, values.scale, values.size)
    return predict_file(
        chosen,
        values.input,
        values.output,
        horizon=values.horizon,
        overwrite=values.overwrite,
        presentation=presentation,
        members=values.members,
    )


def reject_flags_of_others(values: flags.FlagValues) -> None:
    """Raises InputError where a flag is given that is for other modes."""
    own = FLAGS_OF.get(values.mode, ())
    for name in itertools.chain(*FLAGS_OF.values()):
        if values[name].present and name not in own:
            modes = [f'--mode={mode}' for mode, names in FLAGS_OF.items() if name in names]
            raise InputError(
                f'--mode={values.mode} does not take --{name}; {" and ".join(modes)} '
                f'{"does" if len(modes) == 1 else "do"}.'
            )


def reject_changes(
    mode: str, stored: ConfigDict, config: ConfigDict, changed: Collection[str]
) -> None:
    """Raises InputError where keys are changed that a use of a run cannot have otherwise.

    Other values in the file of --config are no matter: it may be there for a model of its own.
    """
    differences = find_differences(stored, config)
    if rejected := [line for line in differences if line.partition(':')[0] in changed]:
        lines = '\n'.join(f'  {line}' for line in rejected)
        raise InputError(
            f'--mode={mode} uses the config of the run, which cannot be changed:\n{lines}'
        )


def with_changes(run: Run, config: ConfigDict, changed: Collection[str]) -> Run:
    """The run with the values of changed keys, such as where its data lie or how exactly it computes."""
    own = run.config.copy_and_resolve_references()
    for key in changed:
        *sections, name = key.split('.')
        holders = [functools.reduce(getattr, sections, holder) for holder in (own, config)]
        holders[0][name] = holders[1][name]
    return with_model(run, own.model)._replace(config=own)


def sweep(
    arguments: list[str],
    command: Sequence[str],
    values: flags.FlagValues,
    config: Any,
) -> None:
    """Trains the entries of --sweep, each by this program again."""
    if values.config is None or values.mode != 'train':
        raise InputError('--sweep needs --config=FILE and --mode=train.')
    entries = make_entries(values.sweep, values.config, arguments)
    default = pathlib.Path('runs') / f'{config.name}_sweep'
    folder = default if values.workdir is None else values.workdir
    # The last of two flags of one name counts; an empty --sweep is none.
    entry_command = [*command, *arguments[1:], '--sweep=']
    if values.sweep_index is not None and not names_processes(values):
        # What a scheduler starts at once are other entries, which the processes would join.
        entry_command.append(f'--coordinator={processes.ALONE}')
    run_sweep(entry_command, entries, folder, values.sweep_index)


def keep_compilations() -> None:
    """Lets JAX keep what it compiled, so that the next start is quick."""
    folder = os.path.expanduser('~/.cache/e3d/compilations')
    with contextlib.suppress(OSError):  # without a home directory there is no place for it
        set_already = getattr(jax.config, 'jax_compilation_cache_dir', None)  # some types lack it
        if not set_already and os.path.isabs(folder):
            os.makedirs(folder, exist_ok=True)
            jax.config.update('jax_compilation_cache_dir', folder)
