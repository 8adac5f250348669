"""What a training is put together from, all of it checked before anything is trained."""

import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from e3d.configuration import check_config
from e3d.data.batches import frame_shape
from e3d.data.sources.registry import scale_of
from e3d.data.sources.scales import Scale
from e3d.model import build_model
from e3d.model.beside import channels_beside, widths_beside
from e3d.model.needs import needs_of
from e3d.parallel import devices, processes
from e3d.runs.fingerprint import Fingerprint, fingerprint_of, training_moments
from e3d.runs.state import TrainState
from e3d.runs.transfer import check_beginning
from e3d.runs.workdir import check_same_experiment, prepare_workdir
from e3d.tasks.evaluator import Evaluator, check_sources, check_training_values
from e3d.tasks.provenance import why_no_best
from e3d.tasks.registry import TASKS
from e3d.training import memory, shared
from e3d.training.evaluation import check_evaluation
from e3d.training.footprint import Footprint, measure_footprint
from e3d.training.update import build_update


class Parts(NamedTuple):
    """What a training is put together from; nothing in it changes.

    Attributes:
      config: of the experiment.
      workdir: of the run; only the first process has it.
      mesh: the devices of this process.
      frame_shape: (H, W, C).
      scale: what the values of the frames stand for.
      beside: channels that the data have beside those of the frames, see `e3d.model.beside`.
      create: makes the first state.
      step_function: the update, for all devices.
      footprint: what it takes.
      evaluator: measures parameters.
      fingerprint: what tells its data from others.
    """

    config: ConfigDict
    workdir: pathlib.Path
    mesh: Mesh
    frame_shape: tuple[int, int, int]
    scale: Scale
    beside: Mapping[str, int]
    create: Callable[[], TrainState]
    step_function: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    footprint: Footprint
    evaluator: Evaluator
    fingerprint: Fingerprint


def prepare(config: ConfigDict, workdir: str | pathlib.Path) -> Parts:
    """Checks everything that can be wrong, and builds what the training needs.

    Raises:
      InputError: the config, the data or the workdir cannot be used, or processes that train
        together have different ones.
    """
    check_config(config)
    shared.check_shared_config(config)
    mesh = devices.local_mesh()
    devices.check_batch_size(config.train.batch_size, mesh)
    workdir = pathlib.Path(workdir)
    if processes.is_first():
        workdir = prepare_workdir(workdir)
        check_same_experiment(workdir, config)
        check_beginning(workdir, config.init_from)
    memory.check_sequence(config)
    model = build_model(**config.model)
    task = TASKS[config.task]
    with processes.first_alone():  # which makes the data ready
        evaluator = task.evaluator(config, model, workdir, mesh, ('validation', 'test'))
    sources = evaluator.sources
    shape, scale = frame_shape(sources['train']), scale_of(sources['train'])
    check_sources(config, sources, shape[2])
    check_training_values(config, needs_of(model), sources['train'])
    example = sources['train'][0]
    beside = widths_beside(example)
    entering = (*shape[:2], shape[2] + channels_beside(beside, needs_of(model)))
    update = build_update(config, model, entering, devices.AXIS, scale)
    share = config.train.batch_size // devices.num_devices(mesh)
    platform = mesh.devices.flat[0].platform
    state = jax.eval_shape(update.create)
    in_a_loop = 'memory' in config.model
    footprint = measure_footprint(update.loss, state, example, share, platform, in_a_loop)
    memory.check_training(footprint, config, mesh)
    check_evaluation(config, evaluator)
    paths = filter(None, (config.dataset.path, config.dataset.get('test_path')))
    no_best = why_no_best(config, sources['validation'])
    fingerprint = fingerprint_of(
        sources, no_best, ', '.join(paths), training_moments(sources['train'])
    )
    shared.check_shared_data(fingerprint)
    return Parts(
        config=config,
        workdir=workdir,
        mesh=mesh,
        frame_shape=shape,
        scale=scale,
        beside=beside,
        create=update.create,
        step_function=devices.parallel_step(update.step, mesh),
        footprint=footprint,
        evaluator=evaluator,
        fingerprint=fingerprint,
    )
