"""A model fitted to arrays, without files."""

import contextlib
import io
import os
import pathlib
import tempfile
from typing import Any

import jax
from ml_collections import ConfigDict

from e3d.configuration import change_config, default_config, switch_model
from e3d.data.sources.in_memory import Frames, divide_clips, lend
from e3d.errors import RunError
from e3d.fitting.run import Run, load_run
from e3d.model import build_model
from e3d.model.fields import check_at_least
from e3d.signals import Interrupted
from e3d.training.loop import train

SEQUENCES = 8  # of an update, on so many devices or fewer
_BRIEF = 2000  # updates, at most, for which a high rate is the best


def fit(
    frames: Frames,
    model: str = 'e3d_lstm',
    *,
    input_frames: int = 10,
    output_frames: int = 10,
    steps: int = 500,
    test: Frames | None = None,
    value_range: tuple[float, float] | None = None,
    workdir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    **values: Any,
) -> Run:
    """Trains a model on frames in memory, and measures it on some that are held out.

    Sequences of input_frames + output_frames are cut out of the clips: for training one beginning at
    every frame, of what is held out one every output_frames, so that no frame is forecast twice.
    Clips of fewer frames are not used, which is said.
    Of three clips or more the last tenth is held out for the test and the tenth before for
    validation; of fewer, the last tenths of the frames of each.

    The settings are those of `experiments/quickstart.py`, with 16 channels in place of 15, for minutes
    on two CPU cores, with a lower learning rate for more than 2,000 updates; those of the paper are
    `**{'model.layers': 4, 'model.features': 64}` and more steps.

    Args:
      frames: clips of one size: `[T, H, W]`, `[T, H, W, C]` or `[N, T, H, W, C]`, or a list of the
        first two, which may have different lengths. One clip of more than four channels is given as
        `[1, T, H, W, C]` or in a list, as `[T, H, W, C]` could be clips `[N, T, H, W]`. Uint8, uint16,
        bool or floats in [0, 1], or with `value_range` any numbers.
      model: name of a forecaster, such as 'e3d_lstm', 'predrnn', 'convlstm' or 'simvp'.
      input_frames: how many frames the model sees.
      output_frames: how many it learns to forecast; after training it forecasts any number.
      steps: number of updates.
      test: clips to test on instead of a part of `frames`; then only validation is held out.
      value_range: (low, high), what 0 and 1 stand for in the unit of the data, as temperatures or
        counts have one: forecasts are then in this unit. Values may lie beyond, but for 'frnn', 'mcnet'
        and 'st_resnet', which forecast nothing there. None for pixels.
      workdir: a folder that keeps config, checkpoints, metrics and pictures; the same call again
        resumes a run that was interrupted, or evaluates a finished one. None keeps no file.
      seed: of the parameters and the order of the sequences.
      **values: other values of the config, by 'section.key' (docs/config.md).

    Returns:
      The run, with its report; it forecasts by `run.forecast(clip, horizon)`.

    Raises:
      InputError: the frames or the values cannot be used.
      RunError: the training diverged.
      KeyboardInterrupt: by SIGTERM or SIGINT.

    Example:
      >>> run = e3d.fit(frames, input_frames=3, output_frames=2, steps=2, **{'model.layers': 1})
      >>> run.report['num_sequences'], len(run.report['mse_per_frame'])
      (1, 2)
    """
    counts = {'input_frames': input_frames, 'output_frames': output_frames, 'steps': steps}
    check_at_least({name: (count, 1) for name, count in counts.items()})
    input_frames, output_frames, steps = map(int, counts.values())
    lent = divide_clips(frames, test, input_frames + output_frames, value_range)
    with contextlib.ExitStack() as stack:
        kept = workdir is not None
        if workdir is None:
            workdir = stack.enter_context(tempfile.TemporaryDirectory(prefix='e3d-fit-'))
            # Nobody would see the pictures, nor find the files that the table names.
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        config = fit_config(model, steps, lent.splits['train'][0].shape[1:3])
        config.dataset.update({'input_frames': input_frames, 'output_frames': output_frames})
        config.dataset.path = stack.enter_context(lend(lent))
        config.evaluation.num_samples = 4 if kept else 0
        change_config(config, model, {'seed': seed} | values)
        try:
            report = train(config, pathlib.Path(workdir))
        except (Interrupted, RunError) as error:
            if not kept:
                error.args = (
                    f'{error} Nothing was kept: give workdir=FOLDER to be able to go on.',
                )
            raise
        return load_run(workdir)._replace(report=report)


def fit_config(model: str, steps: int, size: tuple[int, ...]) -> ConfigDict:
    """The settings of the quickstart for another model, number of updates and size of frames."""
    config = default_config('in_memory')
    config.name = 'fit'
    config.model.update({'layers': 2, 'features': 16, 'variant': 'gated', 'recall': 'in_place'})
    switch_model(config, model)
    if 'width' in config.model:  # of the paper's channels, 105.7 million parameters
        config.model.width = 1 / 16
    if 'pad_frames' in config.model:
        multiple = build_model(**config.model).multiple
        config.model.pad_frames = any(side % multiple for side in size)
    config.loss.l1_weight = 0.0
    config.sampling.decrease = min(1.0, 9 / steps)
    # After 1,000 updates the gated form is better at 1e-2; after 10,000 all that were tried are far
    # better at 3e-3: results/forecasting.md.
    rate = 1e-2 if model == 'e3d_lstm' and steps <= _BRIEF else 3e-3
    config.optimizer.update({'learning_rate': rate, 'schedule': 'cosine', 'clip_norm': 1.0})
    config.optimizer.warmup_steps = min(20, steps // 10)
    devices = jax.local_device_count()
    config.train.update({'steps': steps, 'batch_size': -(-SEQUENCES // devices) * devices})
    config.train.evaluate_every = config.checkpoint.every = max(1, steps // 4)
    config.evaluation.max_sequences = 64
    return config
