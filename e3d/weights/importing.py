"""A run made of weights: those of other codes, or a file that was exported."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from e3d.configuration import check_config, default_config, model_section
from e3d.data.sources.dataset import DATASETS
from e3d.data.sources.registry import open_source, scale_of
from e3d.data.sources.scales import PIXELS, Scale
from e3d.errors import InputError
from e3d.files import local_path
from e3d.model import RECOGNIZERS, build_model
from e3d.model.beside import widths_beside
from e3d.model.needs import initialize, needs_of
from e3d.options.flat import list_differences
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.state import check_fit
from e3d.runs.trained_run import Run, stored_run
from e3d.runs.workdir import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    held,
    prepare_workdir,
    unused_removed,
    write_config,
)
from e3d.training.optimizer import build_optimizer, state_from
from e3d.weights.google import read_google
from e3d.weights.openstl import read_openstl
from e3d.weights.readers.layouts import Foreign
from e3d.weights.readers.tensorflow_bundle import bundle_prefix
from e3d.weights.tensor_file import read_run


def import_run(
    source: str | os.PathLike,
    workdir: str | os.PathLike,
    config: ConfigDict | None = None,
    *,
    patch_size: int | None = None,
    stride: int | None = None,
    frame_size: tuple[int, int] | None = None,
    average: bool = False,
    kept: Collection[str] = (),
) -> str:
    """Makes a run of weights, which can be evaluated, predict, and be trained further.

    Args:
      source: a checkpoint of github.com/google/e3d_lstm (`model.ckpt-N`, TensorFlow's version 2); a
        `.pth` or `.ckpt` file of OpenSTL; or a `.safetensors` file of `export_run`.
      workdir: of the run that is made; it must hold none.
      config: of an experiment: its data and training become those of the run, and its lengths where
        the weights do not tell theirs; its model becomes the one of the weights. Data with a unit must
        be there, as their range is kept with the run. If not given, the data are one's own
        (`video_folder`). Not for `.safetensors`, which have a config of their own.
      patch_size: side of a patch in pixels, where the file does not tell it.
      stride: of the convolutions in the cells of OpenSTL, where the file does not tell it.
      frame_size: height and width of the frames, where the weights are for any; that of the config,
        if not given.
      average: takes the moving averages of the weights in a checkpoint of google/e3d_lstm.
      kept: keys of `config`, 'section.key', for which the weights may have no other value.

    Returns:
      What was understood and made, in a few lines for the user.

    Raises:
      InputError: the source cannot be read, what it does not tell was not given, it does not fit the
        config, or the workdir cannot be used.
      RunError: the run cannot be written.

    Example:
      >>> account = e3d.import_run('run.safetensors', 'runs/imported')
      >>> e3d.load_run('runs/imported').frame_shape
      (16, 16, 1)
    """
    source = local_path(source, 'The source')
    options = {'patch_size': patch_size, 'stride': stride, 'frame_size': frame_size}
    if source.suffix == '.safetensors':
        given = [f'--{name}' for name, value in options.items() if value is not None]
        if given or config is not None or average:
            raise InputError(
                f'{source} has a config of its own: leave out --config, --ema and '
                f'{" and ".join(given) or "the like"}.'
            )
        run = read_run(source)
        account = [f'{source}: {run.config.model.name} after {run.step:,} updates.']
    else:
        foreign = _read_foreign(source, patch_size, stride, average)
        run = _as_run(source, foreign, config, frame_size, kept)
        account = foreign.account
    _write(run, workdir)
    height, width, channels = run.frame_shape
    dataset = run.config.dataset
    mode = 'recognize' if run.config.model.name in RECOGNIZERS else 'predict'
    account.append(
        f'Made the run {workdir} for frames of {height} x {width} x {channels}, {dataset.input_frames} '
        f'to {dataset.output_frames}: --mode=evaluate and --mode={mode} work with it.'
    )
    return '\n'.join(account)


def _read_foreign(
    source: Path, patch_size: int | None, stride: int | None, average: bool
) -> Foreign:
    prefix = bundle_prefix(source)
    if prefix is not None:
        if stride is not None:
            raise InputError('--stride is for weights of OpenSTL, google/e3d_lstm has none.')
        return read_google(prefix, patch_size, average)
    if average:
        raise InputError('--ema is for checkpoints of google/e3d_lstm, which have both.')
    return read_openstl(source, patch_size, stride)


def _as_run(
    source: Path,
    foreign: Foreign,
    config: ConfigDict | None,
    frame_size: tuple[int, int] | None,
    kept: Collection[str],
) -> Run:
    """The run of weights: the config with their model, and their frames."""
    given = config
    if config is None:
        config = default_config('video_folder')
        config.name = source.stem
    if config.task != 'prediction':
        raise InputError(
            f'task={config.task!r}: weights of forecasters need a config of prediction.'
        )
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.model = model_section('e3d_lstm')
    config.model.update(foreign.fields)
    dataset = config.dataset
    key = next((key for key in ('frame_size', 'canvas') if key in dataset), None)
    size = foreign.frame_size or frame_size or (dataset[key] if key else None)
    if frame_size not in (None, size):
        raise InputError(
            f'--frame_size={frame_size}: {source} is for frames of {size[0]} x {size[1]} alone.'
        )
    if size is None:
        raise InputError(
            f'{source} is for frames of any size, and so are the data: give --frame_size.'
        )
    if key:
        dataset[key] = tuple(size)
    if 'channels' in dataset:
        dataset.channels = foreign.channels
    if foreign.lengths:
        dataset.input_frames, dataset.output_frames = foreign.lengths
    if given is not None:
        _check_kept(source, config, given, kept)
    check_config(config)
    model = build_model(**config.model)
    shape = (*size, foreign.channels)
    expected = jax.eval_shape(lambda: initialize(model, jax.random.key(0), shape))
    check_fit({'params': foreign.params}, expected, source)
    return Run(model, foreign.params, config, shape, 0, _scale_of(dataset, shape, source))


def _check_kept(source: Path, own: ConfigDict, given: ConfigDict, kept: Collection[str]) -> None:
    """Raises InputError where the config of the weights has other values for keys than was given."""
    differences = list_differences(own, given, owners=('the weights', 'given'))
    if lines := [line for line in differences if line.partition(':')[0] in kept]:
        listed = '\n'.join(f'  {line}' for line in lines)
        raise InputError(
            f'{source} says itself what these are:\n{listed}\n'
            'Leave them out. Every use of the run that is made may have another model.precision or '
            'model.memory; for others train a new run with them, which begins with these parameters by '
            '--config.init_from=WORKDIR.'
        )


def _scale_of(dataset: Mapping[str, Any], frame_shape: tuple[int, int, int], source: Path) -> Scale:
    """What the values of the data stand for; those with a unit are opened, as they alone tell."""
    if DATASETS[dataset['name']].resizable:
        return PIXELS
    data = open_source(dataset, 'train')
    sequence = data[0]
    found, beside = sequence['frames'].shape[1:], widths_beside(sequence)
    if beside or found != frame_shape:
        raise InputError(
            f"The data '{dataset['path']}' have frames of {found} [H, W, C] with "
            f'{" and ".join(beside) or "nothing"} beside them; {source} is for {frame_shape} with '
            'nothing beside them.'
        )
    return scale_of(data)


def _write(run: Run, workdir: str | os.PathLike) -> None:
    """The config and one checkpoint, from which training can go on with a new optimizer."""
    with unused_removed(workdir):
        path = prepare_workdir(workdir)
        taken = [name for name in (CONFIG_FILE, CHECKPOINTS_FOLDER) if (path / name).exists()]
        if taken:
            raise InputError(
                f"'{workdir}' holds a run already ({taken[0]}): give another --workdir."
            )
        params, collections = jax.tree.map(jnp.asarray, (run.params, run.collections))
        networks = needs_of(run.model).networks
        optimizer, _ = build_optimizer(run.config.optimizer, run.config.train.steps, networks)
        keep_ema = run.config.optimizer.ema_decay is not None
        state = state_from(params, collections, optimizer, keep_ema, run.step)
        with held(path), Checkpoints(path) as checkpoints:
            checkpoints.save(state, stored_run(run))
            checkpoints.wait()
            write_config(path, run.config)
