"""The entries of a sweep, one after the other."""

import os
import subprocess
from collections.abc import Sequence

from e3d import signals
from e3d.errors import InputError, RunError
from e3d.runs.workdir import CONFIG_FILE, prepare_workdir
from e3d.signals import SIGNALS, Interrupted
from e3d.sweep.entries import Entry
from e3d.sweep.results import FINISHED, read_result, write_results
from e3d.terminal import show, tell


def run_sweep(
    command: Sequence[str],
    entries: Sequence[Entry],
    folder: str | os.PathLike[str],
    index: int | None = None,
) -> None:
    """Trains the entries of a sweep, each in a process of its own, and shows the results.

    An entry that is finished is passed over, one that was interrupted goes on, and after one that
    fails comes the next. A process of its own gives back all memory, and what crashes it leaves
    the sweep alone. The results are written after every entry, so that the entries may as well
    run at once, each started by its index.

    Args:
      command: that trains with what follows it, the arguments of the entry and its --workdir.
      entries: see `entries.make_entries`.
      folder: gets a workdir for each entry, and the results.
      index: of the only entry to run; None runs all.

    Raises:
      InputError: there is no entry of that index, or the folder is that of a run or cannot be
        written.
      RunError: entries have failed, or left no results; they are named.
      Interrupted: by a signal, which the running entry got as well.
    """
    if index is not None and index >= len(entries):
        raise InputError(f'--sweep_index={index}: must be 0 to {len(entries) - 1}')
    folder = prepare_workdir(folder)
    if (folder / CONFIG_FILE).exists():
        raise InputError(f"--workdir='{folder}' is the folder of a run; give one for the sweep.")
    failed = {}
    for number, entry in enumerate(entries):
        if index not in (None, number):
            continue
        workdir = folder / entry.name
        if read_result(entry, workdir).status == FINISHED:
            tell(f'Sweep, {number + 1} of {len(entries)}: {entry.name} is finished.')
            continue
        tell(f'Sweep, {number + 1} of {len(entries)}: {entry.name}')
        code = run_process([*command, *entry.arguments, f'--workdir={workdir}'])
        for signal_number in SIGNALS:
            if code in (128 + signal_number, -signal_number):
                raise Interrupted(
                    signal_number, 'Interrupted. Run the same command again to continue the sweep.'
                )
        if code:
            failed[entry.name] = f'failed with exit code {code}'
        else:
            result, steps = read_result(entry, workdir), entry.config.train.steps
            if result.step > steps:
                failed[entry.name] = (
                    f'has learned for {result.step:,} updates already, more than train.steps={steps}: '
                    'give the sweep another --workdir'
                )
            elif result.status != FINISHED:
                # Such as one that has joined another training, whose files lie elsewhere.
                failed[entry.name] = 'ended without results in its folder'
        write_results(entries, folder, failed)
    show(write_results(entries, folder, failed))
    if failed:
        names = '\n'.join(f'  {folder / name}: {what}' for name, what in failed.items())
        raise RunError(
            f'{len(failed)} of {len(entries)} entries of the sweep failed, see above:\n{names}\n'
            'Run the same command again to retry them; finished entries are skipped.'
        )


def run_process(command: Sequence[str]) -> int:
    """Runs a command to its end and returns its exit code; it gets the signals that come here."""
    process, early = None, []

    def pass_on(number: int) -> None:
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    with signals.handled(pass_on, passing_on=True):
        # In a group of its own, or Ctrl-C would reach it twice and end it without a checkpoint.
        process = subprocess.Popen(command, process_group=0)
        for number in early:
            process.send_signal(number)
        return process.wait()
