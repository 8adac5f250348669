"""Parameters against the splits of a data set: the report, its table and pictures."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from e3d.data.batches import evaluation_batches, frame_shape
from e3d.data.sources import open_source
from e3d.errors import InputError
from e3d.evaluation.evaluate import evaluate, format_table, mean_image, write_report
from e3d.evaluation.pictures import write_curves, write_samples
from e3d.training import devices

REPORT_FILE = 'evaluation.json'
CURVES_FILE = 'evaluation.png'
SAMPLES_FOLDER = 'samples'


class Evaluator:
    """Forecasts whole splits of a data set and compares them with what followed.

    Attributes:
      sources: by split, 'train' among them.
    """

    def __init__(
        self,
        config: ConfigDict,
        model: nn.Module,
        workdir: pathlib.Path,
        mesh: Mesh,
        splits: Sequence[str],
    ):
        """Opens the data, so that what is missing shows at once.

        Args:
          config: of the run.
          model: the forecaster.
          workdir: where the pictures go.
          mesh: the devices that forecast.
          splits: which will be evaluated.

        Raises:
          InputError: a split cannot be opened.
        """
        self._config, self._workdir = config, workdir
        self.sources = {
            split: open_source(config.dataset, split, config.seed) for split in ('train', *splits)
        }
        output_frames = config.dataset.output_frames

        def forecast(params: Any, frames: jax.Array) -> jax.Array:
            predictions = model.apply({'params': params}, frames, output_frames)
            return jnp.clip(predictions[:, -output_frames:], 0.0, 1.0)

        self._forecast = devices.parallel_forecast(forecast, mesh, config.evaluation.batch_size)

    def check_channels(self, channels: int) -> None:
        """Raises InputError where a split has frames of another number of channels."""
        for split, source in self.sources.items():
            found = frame_shape(source)[2]
            if found != channels:
                raise InputError(
                    f'The frames of the {split} split have {found} channels; the model is for '
                    f'{channels}. Give data of {channels} channels.'
                )

    @functools.cached_property
    def _mean_image(self) -> np.ndarray:
        return mean_image(self.sources['train'])

    def evaluate(
        self, params: Any, step: int, split: str, max_sequences: int | None = None
    ) -> dict[str, Any]:
        """Measures parameters on a split and draws the first sequences of it.

        Args:
          params: placed by `devices.place_state`.
          step: at which they are.
          split: one of those that were opened.
          max_sequences: only so many of the first; None takes the whole split.

        Returns:
          The report, see `e3d.evaluation.evaluate.evaluate`.
        """
        dataset, source = self._config.dataset, self.sources[split]
        forecast = functools.partial(self._forecast, params)
        count = len(source) if max_sequences is None else min(max_sequences, len(source))
        batches = evaluation_batches(source, self._config.evaluation.batch_size, count)
        protocol = f'{dataset.name} {split} {dataset.input_frames} -> {dataset.output_frames}'
        report = evaluate(
            forecast, batches, dataset.input_frames, self._mean_image, protocol, step, count
        )
        self._draw_samples(forecast, source, step)
        return report

    def _draw_samples(self, forecast, source, step: int) -> None:
        count = min(self._config.evaluation.num_samples, len(source))
        if not count:
            return
        frames = next(evaluation_batches(source, count, count))['frames']
        seen = self._config.dataset.input_frames
        folder = self._workdir / SAMPLES_FOLDER
        write_samples(folder, step, frames, forecast(frames[:, :seen]), seen)


def present(report: dict[str, Any], workdir: pathlib.Path) -> None:
    """Writes the report and its curves into a workdir, prints its table and where things lie."""
    write_report(report, workdir / REPORT_FILE)
    write_curves(report, workdir / CURVES_FILE)
    print(format_table(report))
    places = {
        'numbers': REPORT_FILE,
        'curves': CURVES_FILE,
        'pictures': f'{SAMPLES_FOLDER}/',
        'checkpoints': 'checkpoints/',
    }
    for name, place in places.items():
        print(f'{name:<12} {workdir}/{place}')
