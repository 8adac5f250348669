"""The task 'prediction': the frames that follow are forecast."""

import functools
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from e3d.data.batches import evaluation_batches, frame_shape
from e3d.data.sources.dataset import Source
from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import (
    channel_names,
    scale_of,
    simple_forecasts,
    variables_of,
    with_inputs,
)
from e3d.data.sources.scales import UNNAMED_UNIT, Scale
from e3d.errors import InputError
from e3d.evaluation.baselines import mean_image
from e3d.evaluation.conventions import CONVENTIONS, choose_events, event_problems
from e3d.evaluation.curves import write_curves
from e3d.evaluation.evaluate import evaluate
from e3d.evaluation.optical_flow import load_opencv
from e3d.evaluation.perceptual.measure import Perception, choose_metrics
from e3d.evaluation.presets import PRESETS, check_presets
from e3d.evaluation.report import format_table, write_report
from e3d.evaluation.samples import write_samples
from e3d.evaluation.shown import Chosen, Shown, choose
from e3d.model import FORECASTERS
from e3d.model.beside import beside_frames, check_losses
from e3d.model.needs import needs_of
from e3d.model.tiles import in_tiles
from e3d.parallel import devices, processes
from e3d.tasks.evaluator import (
    REPORT_NAME,
    open_splits,
    picture_paths,
    samples_folder,
    say_where,
)
from e3d.tasks.layout_forecast import LayoutForecast, draw_futures
from e3d.tasks.losses import Objective
from e3d.tasks.prediction_loss import build_loss
from e3d.tasks.provenance import split_label
from e3d.tasks.registry import Task, register_task
from e3d.terminal import show


class ForecastEvaluator:
    """Forecasts whole splits of a data set and compares them with what followed.

    Attributes:
      sources: by split; 'train' is among them where it is at hand.
      name: of the files that it writes, without suffix.
      shown: see `Evaluator`.
    """

    name = REPORT_NAME

    def __init__(
        self,
        config: ConfigDict,
        model: nn.Module,
        workdir: pathlib.Path,
        mesh: Mesh,
        splits: Sequence[str],
        scale: Scale | None = None,
        gaps: bool = False,
    ):
        """Opens the data, so that what is missing shows at once.

        Args:
          config: of the run.
          model: the forecaster.
          workdir: where the pictures go.
          mesh: the devices that forecast.
          splits: which will be evaluated.
          scale: see `open_splits`.
          gaps: see there.

        Raises:
          InputError: a split cannot be opened.
        """
        self._config, self._workdir = config, workdir
        self.shown: list[Shown] = []
        needed = needs_of(model).inputs
        self.sources = {
            split: with_inputs(source, needed)
            for split, source in open_splits(config, splits, scale, gaps).items()
        }
        self._layout = layout_of(config.dataset)
        first = self.sources[splits[0]]
        self._scale, beside = scale_of(first), beside_frames(first[0])
        check_losses(config.model.name, needs_of(model), beside)
        self._noise = needs_of(model).noise
        self._inputs = (*needed, *beside, *(['index'] if self._noise else []))
        forecast = LayoutForecast(model, self._layout, self._scale.bounds)
        self._apply = devices.parallel_apply(forecast, mesh, config.evaluation.batch_size)
        self._perceptual = choose_metrics(
            config.evaluation.perceptual,
            self._layout.length,
            frame_shape(first),
            self._scale.value_range is None,
            devices.on_accelerator(),
        )
        if config.evaluation.optical_flow:
            load_opencv()
        asked = config.evaluation.presets
        self._presets = tuple(name for name in asked if name in PRESETS)
        check_presets(self._presets, frame_shape(first), 'valid' in beside)
        variables = variables_of(first)
        units = tuple(dict.fromkeys(unit for _, unit in variables))
        check_thresholds(config, tuple(filter(None, units)))
        self._variables = variables if len(units) > 1 else ()
        self._events = choose_events(
            config.evaluation.thresholds,
            asked,
            self._scale.from_unit,
            self._scale.value_range is None,
        )

    def _forecast(
        self, members: int, variables: Any, frames: np.ndarray, **inputs: np.ndarray
    ) -> np.ndarray:
        """`[B, T_out, H, W, C]`; of a model with noise `[members, B, T_out, H, W, C]`."""
        if not self._noise:
            return self._in_tiles(variables, {'frames': frames, **inputs})
        sequences, futures = inputs.pop('index'), []
        steps, shape = self._layout.input_frames + self._layout.output_frames, frames.shape[2:]
        for member in range(members):
            draw = np.stack([sequences, np.full_like(sequences, member)], axis=-1).astype(np.int32)
            noise = np.asarray(draw_futures(draw, steps, shape, self._noise))
            futures.append(self._in_tiles(variables, {'frames': frames, 'noise': noise, **inputs}))
        return np.stack(futures)

    def _in_tiles(self, variables: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
        tile = self._config.dataset.get('crop')
        if not tile:
            return self._apply(variables, batch)
        return in_tiles(functools.partial(self._apply, variables), batch, tuple(tile))

    @functools.cached_property
    def _mean_image(self) -> np.ndarray | None:
        if 'train' not in self.sources or self._config.dataset.get('crop'):
            return None
        return mean_image(self.sources['train'])

    def evaluate(
        self, variables: Any, step: int, split: str, max_sequences: int | None = None
    ) -> dict[str, Any]:
        """See `Evaluator.evaluate`; the report is that of `e3d.evaluation.evaluate.evaluate`."""
        dataset, source = self._config.dataset, self.sources[split]
        members = self._config.evaluation.members
        # The validation is to be quick, and the fair CRPS, by which the best is chosen, does not depend
        # on their number, but of one member there is none.
        members = members if split == 'test' else 2
        forecast = functools.partial(self._forecast, members, variables)
        count = len(source) if max_sequences is None else min(max_sequences, len(source))
        share = (processes.index(), processes.count())
        batches = evaluation_batches(source, self._config.evaluation.batch_size, count, share)
        # The validation is to be quick.
        perceptual = self._perceptual if split == 'test' else ()
        kind = f'copy test {dataset.copy_test}, ' if dataset.copy_test else ''
        lengths = f'{dataset.input_frames} -> {dataset.output_frames}'
        protocol = f'{dataset.name} {split_label(split, source)} {kind}{lengths}'
        report = evaluate(
            forecast,
            batches,
            self._layout.input_frames,
            self._mean_image,
            protocol,
            step,
            num_sequences=count,
            simple_forecasts=simple_forecasts(source),
            scale=self._scale,
            gather=processes.gather,
            show_progress=processes.is_first(),
            perception=Perception(perceptual) if perceptual else None,
            inputs=self._inputs,
            presets=self._presets,
            events=self._events,
            optical_flow=self._config.evaluation.optical_flow,
            variables=self._variables,
        )
        if processes.is_first():
            self._draw_samples(variables, source, step)
            if split == 'test':
                self.shown = self._choose(variables, source, report['mse_per_sequence'])
        return report

    def _sample(
        self, variables: Any, source: Source, places: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Some sequences of a source, and their forecasts; of a model with noise the first draw."""
        batch = next(evaluation_batches(Chosen(source, places), len(places)))
        batch = {**batch, 'index': np.array(places)}
        inputs = {name: batch[name] for name in self._inputs}
        seen = batch['frames'][:, : self._layout.input_frames]
        predictions = self._forecast(1, variables, seen, **inputs)
        return batch, predictions[0] if self._noise else predictions

    def _choose(
        self, variables: Any, source: Source, errors: Sequence[float | None]
    ) -> list[Shown]:
        """Takes the sequences to be shown, and forecasts them."""
        if not self._config.evaluation.num_samples:
            return []
        titles = choose(errors, self._config.evaluation.num_samples, 'MSE')
        batch, predictions = self._sample(variables, source, list(titles))
        observed = self._layout.observed[: self._layout.input_frames]
        known = batch.get('valid', [None] * len(titles))
        parts = zip(titles.items(), batch['frames'], predictions, known, strict=True)
        return [
            Shown(title, place, frames, observed, prediction, valid)
            for (place, title), frames, prediction, valid in parts
        ]

    def _draw_samples(self, variables: Any, source: Source, step: int) -> None:
        count = min(self._config.evaluation.num_samples, len(source))
        if not count:
            return
        batch, predictions = self._sample(variables, source, range(count))
        observed = self._layout.observed[: self._layout.input_frames]
        folder = samples_folder(self._workdir, self.name)
        frames = batch['frames']
        if 'valid' in batch:
            valid = batch['valid']
            frames = np.where(valid, frames, np.nan)
            predictions = np.where(valid.any(axis=1, keepdims=True), predictions, np.nan)
        write_samples(
            folder,
            step,
            frames,
            predictions,
            observed,
            value_range=self._scale.value_range if self._scale.is_linear else None,
            channels=channel_names(source),
            unit=self._scale.unit,
            figures=self._config.evaluation.figures,
        )

    def error(self, report: dict[str, Any]) -> float:
        """The MSE; of several futures the fair CRPS. Infinite where none is defined."""
        ensemble = report.get('ensemble', {'crps': report['mse']})
        error = ensemble.get('crps_fair', ensemble['crps'])
        return math.inf if error is None else error

    def present(self, report: dict[str, Any]) -> None:
        """See `Evaluator.present`."""
        write_report(report, self._workdir / f'{self.name}.json')
        config = self._config
        paths = picture_paths(self._workdir / f'{self.name}.png', config.evaluation.figures)
        unit = self._scale.unit or UNNAMED_UNIT * self._scale.is_linear
        write_curves(report, paths, config.model.name, unit)
        show(format_table(report))
        say_where(self._workdir, self.name, report)


def check_thresholds(config: ConfigDict, units: Sequence[str]) -> None:
    """Raises InputError where thresholds are asked for, which are of one unit, of data of several."""
    asked = {
        'evaluation.thresholds': config.evaluation.thresholds,
        # A task of one's own has another section.
        'loss.balance_thresholds': config.loss.get('balance_thresholds'),
        'evaluation.presets': [name for name in config.evaluation.presets if name in CONVENTIONS],
    }
    for key, thresholds in asked.items():
        if thresholds and len(units) > 1:
            raise InputError(
                f'{key}={tuple(thresholds)}: thresholds are of one unit, but what is forecast '
                f'has {len(units)}: {", ".join(units)}. Leave them out, or name variables of one unit '
                'with dataset.targets.'
            )


@register_task('prediction')
class Prediction(Task):
    """The frames that follow are forecast."""

    objective = Objective
    models = FORECASTERS
    default_model = 'e3d_lstm'
    build_loss = staticmethod(build_loss)
    evaluator = ForecastEvaluator

    @staticmethod
    def problems(config: Mapping[str, Any]) -> Iterable[str]:
        """As `Task.problems`."""
        weights = [f'loss.{name}_weight' for name in ('l2', 'l1', 'cross_entropy', 'crps')]
        if not any(config[key] for key in weights):
            yield f'{"=0, ".join(weights)}=0: at least one must be above 0'
        yield from event_problems(config)
        if bool(config.get('model.noise_channels')) != bool(config['loss.crps_weight']):
            yield (
                f'loss.crps_weight={config["loss.crps_weight"]} and model.noise_channels='
                f'{config.get("model.noise_channels", 0)}: both must be above 0, or neither; the other '
                'weights of the loss may be 0 then'
            )
        counts = [len(config[f'loss.balance_{name}']) for name in ('thresholds', 'weights')]
        if counts[0] != counts[1]:
            yield (
                f'loss.balance_thresholds has {counts[0]} values and loss.balance_weights {counts[1]}: '
                'must be as many'
            )
        if counts[0] and not (config['loss.l2_weight'] or config['loss.l1_weight']):
            yield (
                f'loss.balance_thresholds={config["loss.balance_thresholds"]}: must be () with '
                'loss.l2_weight=0 and loss.l1_weight=0, as cross-entropy and CRPS are not balanced, and '
                'loss.balance_weights too; or set one of the two weights above 0'
            )
