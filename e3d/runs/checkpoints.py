"""States on disk, each with the config and the frame shape that it belongs to.

A checkpoint is a folder `checkpoints/STEP` of the workdir: the state, and as JSON the config and
the shape of the frames, so that it can be opened without the experiment's file. It is written
beside the training and renamed when it is whole.
"""

import itertools
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from e3d.errors import InputError, RunError
from e3d.parallel import devices, processes
from e3d.runs.checksums import (
    CheckedJson,
    CheckedState,
    RestoreJson,
    RestoreState,
    SaveJson,
    SaveState,
    check_folder,
    find_damage,
)
from e3d.runs.fingerprint import read_fingerprint
from e3d.runs.retention import Retention
from e3d.runs.state import TrainState, check_fit, variables_of
from e3d.runs.storage_errors import (
    opening_errors,
    read_errors,
    without_warnings,
    write_errors,
)
from e3d.runs.stored_run import StoredRun
from e3d.runs.workdir import CHECKPOINTS_FOLDER, resolve_workdir
from e3d.terminal import tell

# By step the error on the validation split, by which the best checkpoint is chosen.
ERRORS_FILE = 'errors.json'
NEVER_SECONDS = 9 * 10**9  # beyond any date to which a clock is set


class _Manager(ocp.CheckpointManager):
    """One that does not ask JAX's service for preemption, which is off: see `parallel/processes.py`.

    Older versions of Orbax fail where they ask and several processes train.
    """

    def reached_preemption(self, step: int) -> bool:
        """Never: a training looks for signals by itself."""
        return False


class Checkpoints:
    """The checkpoints of a workdir, the last few and the best; a context manager.

    Attributes:
      folder: where they lie.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        keep: int = 1,
        keep_best: bool = True,
        write: bool = True,
    ):
        """Opens them.

        Args:
          workdir: of the run.
          keep: how many of the last to keep.
          keep_best: whether to keep the best one as well.
          write: False only reads, and changes nothing.
        """
        self.folder = resolve_workdir(workdir).absolute() / CHECKPOINTS_FOLDER
        self._write = write
        self._retention = Retention(self.folder / ERRORS_FILE, keep, keep_best)
        check_folder(self.folder, write)
        handlers = {'state': CheckedState(), 'run': CheckedJson()}
        with without_warnings(), opening_errors(self.folder):
            options = ocp.CheckpointManagerOptions(
                preservation_policy=self._retention,
                create=False,
                read_only=not write,
                # Orbax goes by the clock of the day, which may be set while a checkpoint is written.
                async_options=ocp.AsyncOptions(
                    timeout_secs=NEVER_SECONDS, create_directories_asynchronously=False
                ),
                # Without the other processes, of which only the first one writes.
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=processes.index(),
                    active_processes={processes.index()},
                    barrier_sync_key_prefix=f'process{processes.index()}',
                ),
            )
            self._manager = _Manager(self.folder, options=options, item_handlers=handlers)

    def __enter__(self) -> 'Checkpoints':
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            with write_errors(self.folder):
                self._manager.close()
        except RunError:
            if kind is None:  # or else it has been said already
                raise

    def newest(self) -> int | None:
        """Step of the newest whole one, or None where there are none.

        Damaged ones are passed over and, with `write`, put aside as `damaged_STEP`, so that the
        training can come to that step again.

        Raises:
          InputError: there are some, and all are damaged.
          RunError: the one that is being written cannot be.
        """
        self.wait()
        damaged: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            problem = self._find_damage(step)
            if problem is None:
                self._pass_over(damaged, step)
                return step
            damaged[step] = problem
        if damaged:
            lines = '\n'.join(f'  {step}: {problem}' for step, problem in damaged.items())
            raise InputError(
                f'All checkpoints in {self.folder} are damaged:\n{lines}\nPut back a copy of one, '
                'or start over in another --workdir.'
            )
        return None

    def best(self) -> int | None:
        """Step of the whole one with the least error on the validation split, or None."""
        steps = set(self._manager.all_steps())
        while (step := self._retention.best_of(steps)) is not None:
            problem = self._find_damage(step)
            if problem is None:
                return step
            tell(f'The best checkpoint, {self.folder / str(step)}, is damaged: {problem}.')
            steps.remove(step)
        return None

    def choose(self, choice: str | int) -> int:
        """The step of the checkpoint that a user asks for.

        Args:
          choice: 'newest', 'best', or a step.

        Raises:
          InputError: there is none such, or it is damaged; or a better one than those that were kept
            is gone.
        """
        if choice == 'newest':
            step, kind = self.newest(), 'checkpoint'
        elif choice == 'best':
            self._explain_no_best()
            self._explain_lost_best()
            step, kind = self.best(), 'evaluated checkpoint'
        else:
            return self._checked_step(choice)
        if step is None:
            raise InputError(
                f"'{self.folder}' holds no {kind} yet{self._list_steps()}. Let the training come "
                'to its first one (see checkpoint.every and train.evaluate_every).'
            )
        return step

    def _explain_no_best(self) -> None:
        fingerprint = read_fingerprint(self.folder)
        if fingerprint is not None and fingerprint.no_best:
            raise InputError(
                f"checkpoint='best': '{self.folder}' has none: {fingerprint.no_best} Choose 'newest' "
                f'or a step{self._list_steps()}.'
            )

    def _explain_lost_best(self) -> None:
        lost = self._retention.lost_best(self._manager.all_steps())
        if lost is not None:
            raise InputError(
                f"checkpoint='best': that of step {lost} had the least error on the validation split "
                f"and is not in '{self.folder}' any more, as with checkpoint.keep_best=False. Choose "
                f"'newest' or a step{self._list_steps()}."
            )

    def _checked_step(self, choice: str | int) -> int:
        text = str(choice)
        known = {str(step): step for step in self._manager.all_steps()}
        if isinstance(choice, bool) or text not in known:
            raise InputError(
                f"checkpoint='{choice}': there is no such checkpoint in '{self.folder}'; allowed "
                f"is 'newest', 'best' or a step{self._list_steps()}."
            )
        problem = self._find_damage(known[text])
        if problem is not None:
            raise InputError(
                f'The checkpoint {self.folder / text} is damaged: {problem}. Choose another'
                f'{self._list_steps()}.'
            )
        return known[text]

    def _list_steps(self) -> str:
        steps = sorted(self._manager.all_steps())
        if not steps:
            return ''
        return f' (saved: step{"s" * (len(steps) > 1)} {", ".join(map(str, steps))})'

    def record_error(self, step: int, error: float) -> None:
        """Notes the error on the validation split of a state that is or will be saved.

        Raises:
          RunError: it cannot be written.
        """
        self._retention.record(step, error)

    def save(self, state: TrainState, run: StoredRun) -> None:
        """Begins to write a state; the training goes on meanwhile.

        Args:
          state: the numbers are copied before this returns.
          run: what is stored with it.

        Raises:
          RunError: the disk is full or cannot be written, now or in the save before.
        """
        # Arrays of the host: orbax rejects those that lie on the devices of one process of several.
        numbers = jax.tree.map(np.array, state.to_stored())
        items = ocp.args.Composite(state=SaveState(numbers), run=SaveJson(run.to_json()))
        with write_errors(self.folder):
            self._manager.save(int(state.step), args=items, force=True)

    def wait(self) -> None:
        """Returns when everything is on the disk; raises RunError where it cannot be."""
        with write_errors(self.folder):
            self._manager.wait_until_finished()

    def restore(self, template: TrainState, step: int) -> TrainState:
        """Reads a state into the places that `template` names.

        Args:
          template: of `devices.abstract_state`.
          step: one of those that exist.

        Raises:
          InputError: the checkpoint cannot be read, or belongs to another model or optimizer.
        """
        expected = template.to_stored()
        check_fit(self._stored(step), expected, self.folder / str(step))
        shardings = jax.tree.map(lambda leaf: leaf.sharding, expected)
        return TrainState(**jax.device_put(self._read_state(step, expected), shardings))

    def read_run(self, step: int) -> StoredRun:
        """What was stored with a state of its run.

        Raises:
          InputError: they cannot be read.
        """
        stored = self._read(step, run=RestoreJson())['run']
        with read_errors(self.folder / str(step)):
            return StoredRun.from_json(stored)

    def read_state(self, step: int) -> Any:
        """A whole state in the host's memory, as nested dictionaries and lists.

        Raises:
          InputError: it cannot be read.
        """
        return self._read_state(step, self._stored(step))

    def read_variables(self, step: int, expected: Mapping[str, Any]) -> dict[str, Any]:
        """The variables to forecast with, on the first device.

        Args:
          step: one of those that exist.
          expected: their shapes and types, as `TrainState.forecast_variables`.

        Raises:
          InputError: they cannot be read, or are those of another model.
        """
        shapes = self._stored(step)
        with read_errors(self.folder / str(step)):
            kind = '' if shapes['ema_params'] is None else 'ema_'
        # Before there is memory for what is stored.
        found = variables_of(shapes[f'{kind}params'], shapes.get(f'{kind}collections'))
        check_fit(found, expected, self.folder / str(step))
        state = self._read_state(step, shapes)
        found = variables_of(state[f'{kind}params'], state.get(f'{kind}collections'))
        return devices.place_state(found, devices.local_mesh(1))

    def _find_damage(self, step: int) -> str | None:
        folder = self.folder / str(step)
        return find_damage(folder / 'state') or find_damage(folder / 'run')

    def _pass_over(self, damaged: dict[int, str], step: int) -> None:
        for other, problem in damaged.items():
            path = self.folder / str(other)
            tell(f'The checkpoint {path} is damaged: {problem}. Taking that of step {step}.')
            if self._write:
                names = (f'damaged_{other}{"_" * repeat}' for repeat in itertools.count())
                path.rename(next(self.folder / n for n in names if not (self.folder / n).exists()))
        if damaged and self._write:
            self._manager.reload()

    def _stored(self, step: int) -> Any:
        """Shapes and types of the stored state, as nested dictionaries and lists."""
        with read_errors(self.folder / str(step)):
            return self._manager.item_metadata(step)['state'].tree

    def _read_state(self, step: int, shapes: Any) -> Any:
        """A state in the host's memory, in the structure of `shapes`."""
        with read_errors(self.folder / str(step)):  # more than there is memory for
            empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
        return self._read(step, state=RestoreState(empty))['state']

    def _read(self, step: int, **items: Any) -> Any:
        with read_errors(self.folder / str(step)):
            return self._manager.restore(step, args=ocp.args.Composite(**items))
