"""A trained run: its newest or best parameters and all that using them takes."""

import functools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from e3d.data.sources.file_facts import FileFacts
from e3d.data.sources.layouts import layout_of
from e3d.data.sources.scales import PIXELS, Scale
from e3d.errors import InputError
from e3d.model import MODELS, build_model
from e3d.model.beside import channels_beside
from e3d.model.needs import initialize, needs_of
from e3d.options.flat import list_differences
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.state import count_parameters, variables_of
from e3d.runs.storage_errors import read_errors
from e3d.runs.stored_run import StoredRun
from e3d.runs.workdir import CHECKPOINTS_FOLDER, CONFIG_FILE, read_config, resolve_workdir


class Run(NamedTuple):
    """A trained model, ready for use.

    Attributes:
      model: the module.
      params: the parameters to forecast with: the moving average where the run keeps one.
      config: of the run.
      frame_shape: (H, W, C) of the frames it was trained on.
      step: number of updates it has seen.
      scale: what the values of the frames stand for; that of pictures where a run of an earlier
        version does not tell.
      collections: what the model keeps beside its parameters, by the name of the collection; None
        for most models.
      beside: channels that its data have beside those of the frames, see `e3d.model.beside`.
      report: of its evaluation on the test split, if it is known.
      class_names: what a recognizer tells apart; () where it does not tell, as a run of an earlier
        version, and for forecasters.
      channel_names: of the channels of its frames; () where they have none, as gray and colors.
      facts: what the files of its data state; None for other data, and for a run of an earlier version.
    """

    model: nn.Module
    params: Any
    config: ConfigDict
    frame_shape: tuple[int, int, int]
    step: int
    scale: Scale = PIXELS
    collections: Any = None
    beside: Mapping[str, int] = {}
    report: Mapping[str, Any] | None = None
    class_names: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    facts: FileFacts | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes: the parameters and the collections."""
        return variables_of(self.params, self.collections)

    def __repr__(self) -> str:
        height, width, channels = self.frame_shape
        return (
            f'Run({type(self.model).__name__}, step {self.step:,}, frames of {height} x {width} x '
            f'{channels}, {count_parameters(self.params):,} parameters)'
        )


def shapes_of_variables(
    model: nn.Module,
    frame_shape: tuple[int, int, int],
    beside: Mapping[str, int],
    lengths: tuple[int, int],
) -> Any:
    """Shapes and types of the variables of a model; arguments as in `Run` and `initialize`."""
    height, width, channels = frame_shape
    entering = height, width, channels + channels_beside(beside, needs_of(model))
    return jax.eval_shape(lambda: initialize(model, jax.random.key(0), entering, lengths))


def check_lengths(run: Run, lengths: tuple[int, int]) -> None:
    """Raises InputError where what a run has learned does not fit these numbers of frames.

    Only models that see their input at once can depend on them: in the shapes of their parameters, and
    where they go on from their own forecast, as they never did in the training.

    Args:
      run: of any model.
      lengths: how many frames are to be seen and to be forecast.
    """
    trained, needs = layout_of(run.config.dataset).lengths, needs_of(run.model)
    if not needs.future_only or lengths == trained:
        return
    needed = _parameters_for(run.model, run.frame_shape, tuple(run.beside.items()), lengths)
    found = jax.tree.map(jnp.shape, run.params)
    # Networks beside the model, as a discriminator of whole sequences, are for training alone.
    if any(needed[name] != found[name] for name in needed.keys() - {*needs.networks}):
        remedy = (
            f'Use these, or train with dataset.input_frames={lengths[0]} and '
            f'dataset.output_frames={lengths[1]}.'
        )
        if run.config.dataset.get('copy_test'):  # whose context no clip has
            remedy = 'They see the context of the copy test: train with dataset.copy_test=().'
        raise InputError(
            f'{lengths[0]} frames to see and {lengths[1]} to forecast: the parameters of this '
            f'{run.config.model.name} are for {trained[0]} and {trained[1]} alone. {remedy}'
        )
    once = {'frame': 1, 'pass': lengths[0]}.get(needs.feeds_back)
    if once and (run.beside or needs.noise) and trained[1] <= once < lengths[1]:
        # No loss has asked anything of the channels that would enter.
        raise InputError(
            f'{lengths[1]} frames to forecast: this {run.config.model.name} was trained to forecast '
            f'{trained[1]}, never from its own forecast, which says nothing of what is beside '
            f'the frames. Forecast at most {once}, or train with dataset.output_frames={lengths[1]}.'
        )


@functools.lru_cache(maxsize=16)  # a forecast of another horizon is asked for again and again
def _parameters_for(
    model: nn.Module,
    frame_shape: tuple[int, int, int],
    beside: tuple[tuple[str, int], ...],
    lengths: tuple[int, int],
) -> Any:
    """The shapes of the parameters for so many frames."""
    shapes = shapes_of_variables(model, frame_shape, dict(beside), lengths)
    return jax.tree.map(jnp.shape, shapes['params'])


def open_checkpoints(workdir: str | os.PathLike[str]) -> Checkpoints:
    """The checkpoints of a run that is there, only to be read.

    Raises:
      InputError: there is no run.
    """
    if not os.path.isdir(resolve_workdir(workdir) / CHECKPOINTS_FOLDER):
        raise InputError(
            f"There is no trained run in '{workdir}': it has no folder '{CHECKPOINTS_FOLDER}'. "
            'Train one first, or name the folder of one with --workdir.'
        )
    return Checkpoints(workdir, write=False)


def load_run(
    workdir: str | os.PathLike[str], best: bool = False, checkpoint: str | int = 'newest'
) -> Run:
    """Opens a trained run for use.

    Args:
      workdir: of the run, as it was given to `launch.py --workdir`.
      best: the same as `checkpoint='best'`.
      checkpoint: 'newest'; 'best', the one with the least error on the validation split; or the
        step of one that was kept.

    Returns:
      The model, its parameters and all else that a forecast needs.

    Raises:
      InputError: there is no run, it has no such checkpoint, the checkpoint cannot be read or does
        not fit its config, or its model is one of your own that was not imported.
    """
    if best and checkpoint not in ('newest', 'best'):
        raise InputError(f"best=True and checkpoint='{checkpoint}': give one of them.")
    with open_checkpoints(workdir) as checkpoints:
        step = checkpoints.choose('best' if best else checkpoint)
        stored = checkpoints.read_run(step)
        with read_errors(checkpoints.folder / str(step)):
            model_name = str(stored.config.model.name)
        if model_name not in MODELS:
            raise InputError(
                f'The run in {workdir} has a model of its own, model.name={model_name!r}, which is '
                'not known here. Name the file that it was trained with, --config=FILE.py; in '
                'Python, import the file that defines it first.'
            )
        with read_errors(checkpoints.folder / str(step)):
            model = build_model(**stored.config.model)
            lengths = layout_of(stored.config.dataset).lengths
            expected = shapes_of_variables(model, stored.frame_shape, stored.beside, lengths)
        return run_from(stored, model, checkpoints.read_variables(step, expected), step)


def run_from(stored: StoredRun, model: nn.Module, variables: Mapping[str, Any], step: int) -> Run:
    """A run of its variables and of what is stored beside them."""
    collections = {name: tree for name, tree in variables.items() if name != 'params'} or None
    params = variables['params']
    return Run(model, params, step=step, collections=collections, **stored._asdict())


def with_model(run: Run, section: Mapping[str, Any]) -> Run:
    """The run with the model of a section that differs in what changes no parameter, if at all."""
    if not list_differences(run.config.model, section):
        return run
    return run._replace(model=build_model(**section))


def stored_run(run: Run) -> StoredRun:
    """What is stored beside the parameters of a run, so that it can be used."""
    return StoredRun(**{name: getattr(run, name) for name in StoredRun._fields})


def stored_config(workdir: str | os.PathLike[str]) -> ConfigDict | None:
    """The config of the run in a workdir, from config.json or else the newest checkpoint.

    None where there is no run.

    Raises:
      InputError: it cannot be read.
    """
    folder = resolve_workdir(workdir)
    if (folder / CONFIG_FILE).exists():
        return read_config(folder / CONFIG_FILE)
    if not os.path.isdir(folder / CHECKPOINTS_FOLDER):
        return None
    with Checkpoints(workdir, write=False) as checkpoints:
        step = checkpoints.newest()
        return None if step is None else checkpoints.read_run(step).config
