"""States on disk, each with the config and the frame shape that it belongs to.

A checkpoint is a folder `checkpoints/STEP` of the workdir: the state, and as JSON the config and
the shape of the frames, so that it can be opened without the experiment's file. It is written
beside the training and renamed when it is whole.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from flax import linen as nn
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers

from e3d.configuration import restore_config
from e3d.errors import InputError, RunError
from e3d.model import build_model
from e3d.training import devices
from e3d.training.state import TrainState

FOLDER = 'checkpoints'
# The number of an evaluation on the validation split by which the best checkpoint is chosen.
ERROR = 'error'


class Run(NamedTuple):
    """A trained forecaster, ready for use.

    Attributes:
      model: the module.
      params: the parameters to forecast with: the moving average where the run keeps one.
      config: of the run.
      frame_shape: (H, W, C) of the frames it was trained on.
      step: number of updates it has seen.
    """

    model: nn.Module
    params: Any
    config: ConfigDict
    frame_shape: tuple[int, int, int]
    step: int


class Checkpoints:
    """The checkpoints of a workdir, the last few and the best; a context manager.

    Attributes:
      folder: where they lie.
    """

    def __init__(
        self, workdir: str | os.PathLike, keep: int = 1, keep_best: bool = True, write: bool = True
    ):
        """Opens them.

        Args:
          workdir: of the run.
          keep: how many of the last to keep.
          keep_best: whether to keep the best one as well.
          write: False only reads, and changes nothing.
        """
        self.folder = pathlib.Path(workdir).expanduser().absolute() / FOLDER
        policies = [checkpoint_managers.LatestN(keep)]
        if keep_best:
            policies.append(
                checkpoint_managers.BestN(
                    get_metric_fn=_best_by,
                    reverse=True,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        options = ocp.CheckpointManagerOptions(
            best_fn=_best_by,
            best_mode='min',
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            create=write,
            read_only=not write,
        )
        handlers = {'state': ocp.StandardCheckpointHandler(), 'run': ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def __enter__(self) -> 'Checkpoints':
        return self

    def __exit__(self, *exception) -> None:
        self._manager.close()

    def newest(self) -> int | None:
        """Step of the newest one, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Step of the one with the least error on the validation split, or None."""
        if all(self._manager.metrics(step) is None for step in self._manager.all_steps()):
            return None
        return self._manager.best_step()

    def save(
        self,
        state: TrainState,
        config: ConfigDict,
        frame_shape: tuple[int, int, int],
        error: float | None = None,
    ) -> None:
        """Begins to write a state; the training goes on meanwhile.

        Args:
          state: the numbers are copied before this returns.
          config: of the run.
          frame_shape: (H, W, C).
          error: of this very state on the validation split, to tell which is the best.

        Raises:
          RunError: the disk is full or cannot be written, now or in the save before.
        """
        run = {'config': config.to_dict(), 'frame_shape': list(frame_shape)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run))
        metrics = None if error is None else {ERROR: error}
        with _write_errors(self.folder):
            self._manager.save(int(state.step), args=items, metrics=metrics, force=True)

    def wait(self) -> None:
        """Returns when everything is on the disk; raises RunError where it cannot be."""
        with _write_errors(self.folder):
            self._manager.wait_until_finished()

    def restore(self, template: TrainState, step: int) -> TrainState:
        """Reads a state into the places that `template` names.

        Args:
          template: of `devices.abstract_state`.
          step: one of those that exist.

        Raises:
          InputError: the checkpoint cannot be read, or belongs to another model or optimiser.
        """
        check_fit(self._stored(step), template, self.folder / str(step))
        return self._read(step, state=ocp.args.StandardRestore(template))['state']

    def read_run(self, step: int) -> tuple[ConfigDict, tuple[int, int, int]]:
        """The config and the frame shape that were stored with a state.

        Raises:
          InputError: they cannot be read.
        """
        run = self._read(step, run=ocp.args.JsonRestore())['run']
        return restore_config(run['config']), tuple(run['frame_shape'])

    def read_params(self, step: int) -> Any:
        """The parameters to forecast with, on the first device.

        Raises:
          InputError: they cannot be read.
        """
        stored = devices.abstract_state(self._stored(step), devices.local_mesh(1))
        state = self._read(step, state=ocp.args.StandardRestore(stored))['state']
        return state['params'] if state['ema_params'] is None else state['ema_params']

    def _stored(self, step: int) -> Any:
        """Shapes and types of the stored state, as nested dictionaries and lists."""
        with _read_errors(self.folder / str(step)):
            return self._manager.item_metadata(step)['state'].tree

    def _read(self, step: int, **items) -> Any:
        with _read_errors(self.folder / str(step)):
            return self._manager.restore(step, args=ocp.args.Composite(**items))


def load_run(workdir: str | os.PathLike, best: bool = False) -> Run:
    """Opens a trained run for use.

    Args:
      workdir: of the run, as it was given to `launch.py --workdir`.
      best: the checkpoint with the least error on the validation split instead of the newest.

    Raises:
      InputError: there is no run, it has no checkpoint yet, or the checkpoint cannot be read or
        does not fit its config.
    """
    if not (pathlib.Path(workdir).expanduser() / FOLDER).is_dir():
        raise InputError(
            f"There is no trained run in '{workdir}': it has no folder '{FOLDER}'. Train one "
            'first, or name the folder of one with --workdir.'
        )
    with Checkpoints(workdir, write=False) as checkpoints:
        step = checkpoints.best() if best else checkpoints.newest()
        if step is None:
            kind = 'evaluated checkpoint' if best else 'checkpoint'
            raise InputError(
                f"'{checkpoints.folder}' holds no {kind} yet. Let the training come "
                'to its first one (see checkpoint.every and train.evaluate_every).'
            )
        config, frame_shape = checkpoints.read_run(step)
        params = checkpoints.read_params(step)
        model = build_model(**config.model)
        expected = jax.eval_shape(
            lambda key, frames: model.init(key, frames, 1)['params'],
            jax.eval_shape(lambda: jax.random.key(0)),
            jax.ShapeDtypeStruct((1, 1, *frame_shape), 'float32'),
        )
        check_fit(params, expected, checkpoints.folder / str(step))
        return Run(model, params, config, frame_shape, step)


def check_fit(stored: Any, expected: Any, path: pathlib.Path) -> None:
    """Raises InputError, naming the first leaves that differ, where two trees have other shapes."""
    stored, expected = dict(_shapes(stored)), dict(_shapes(expected))
    differing = [name for name in (expected | stored) if stored.get(name) != expected.get(name)]
    if differing:
        lines = [
            f'  {name}: stored {stored.get(name, "nothing")}, '
            f'needed {expected.get(name, "nothing")}'
            for name in differing[:5]
        ]
        more = f'\n  and {len(differing) - 5} more' if len(differing) > 5 else ''
        raise InputError(
            f'The checkpoint {path} does not fit the config:\n' + '\n'.join(lines) + more + '\n'
            'Use the config that it was trained with, or another --workdir.'
        )


def _shapes(tree: Any) -> Iterator[tuple[str, str]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        yield name, f'{leaf.dtype}{list(leaf.shape)}'


def _best_by(metrics: dict[str, float]) -> float:
    return metrics[ERROR]


@contextlib.contextmanager
def _read_errors(path: pathlib.Path) -> Iterator[None]:
    """Turns what the libraries raise for missing or damaged files into an InputError."""
    try:
        yield
    except (ValueError, OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(
            f'The checkpoint {path} cannot be read: {str(error)[:300]}\nIf it is damaged, move '
            'that folder away; the next newest one is used then.'
        ) from error


@contextlib.contextmanager
def _write_errors(folder: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong with the disk into a RunError that says what is safe."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f'A checkpoint could not be written to {folder}: {error}\nThe earlier ones are whole. '
            'Make room or give write permission, then start the same command again.'
        ) from error
