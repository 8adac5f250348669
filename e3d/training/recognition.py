"""The task 'recognition': the class of a clip from its front part, and the next frames beside it."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from e3d.data.batches import evaluation_batches
from e3d.data.sources import class_names
from e3d.errors import InputError, RunError
from e3d.evaluation.evaluate import write_report
from e3d.evaluation.recognition import (
    FRACTIONS,
    draw_confidences,
    format_recognition,
    recognition_report,
    write_recognition,
)
from e3d.terminal import show
from e3d.training import devices, processes
from e3d.training.evaluator import (
    CURVES_FILE,
    REPORT_FILE,
    SAMPLES_FOLDER,
    open_splits,
    say_where,
)
from e3d.training.schedules import OBSERVING, Sampling, random_key, truth_probability
from e3d.training.step import Batch, LossFunction


class RecognitionObjective(NamedTuple):
    """The section `loss` of a config, see `experiments/base.py`."""

    strategy: str
    start: float
    decrease: float
    least: float
    fixed: float
    observed: tuple[float, ...]


def prediction_weight(objective: RecognitionObjective, step: jax.Array) -> jax.Array:
    """Weight of the prediction beside the classification (equations 4 and 5)."""
    if objective.strategy == 'scheduled':
        return jnp.maximum(objective.least, objective.start - objective.decrease * step)
    weights = {'fixed': objective.fixed, 'classification': 0.0, 'prediction': 1.0}
    return jnp.full((), weights[objective.strategy])


def align(batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array | int]:
    """Frames from the first one of each clip on, and how many of them only fill up at the end.

    A clip with fewer frames than are observed comes with its first one repeated; here the
    repetitions go, and the last frame is repeated instead, after all that is observed or predicted.
    """
    frames = batch['frames']
    if 'repeated' not in batch:
        return frames, 0
    order = jnp.arange(frames.shape[1]) + batch['repeated'][:, None]
    order = jnp.minimum(order, frames.shape[1] - 1)
    return jnp.take_along_axis(frames, order[..., None, None, None], axis=1), batch['repeated']


def front(fraction: Any, frames: Any) -> Any:
    """Frames of the front part of a clip, rounded up; at least one."""
    # What is not representable, as 0.7 * 10, must not count as more.
    return jnp.maximum(jnp.ceil(fraction * frames - 1e-4).astype(jnp.int32), 1)


def build_loss(config: ConfigDict, model: nn.Module) -> LossFunction:
    """Equation 4 as a config has it.

    Each clip is observed up to one of the fractions of `loss.observed`; of the `output_frames`
    after that the model predicts each, from its own predictions or, as `sampling` has it, the true
    frames. The squared error is a mean over all predicted frames, the observed ones included.

    Reports 'cross_entropy', 'accuracy', 'l2' and 'prediction_weight'.
    """
    objective = RecognitionObjective(**config.loss)
    sampling, seed = Sampling(**config.sampling), config.seed
    input_frames, output_frames = config.dataset.input_frames, config.dataset.output_frames
    fractions = np.array(objective.observed)
    length = int(front(fractions.max(), input_frames)) + output_frames

    def loss(params: Any, batch: Batch, step: jax.Array, axis_name: str | None):
        frames, repeated = align(batch)
        frames = frames[:, :length]
        key = jax.random.fold_in(random_key(seed, OBSERVING), step)
        size, first = len(frames), 0
        if axis_name is not None:  # drawn for the whole batch, so that devices do not matter
            first = jax.lax.axis_index(axis_name) * size
            size = size * jax.lax.psum(1, axis_name)
        chosen = jax.random.randint(key, (size,), 0, len(fractions))
        truth = jax.random.bernoulli(
            jax.random.fold_in(key, 1), truth_probability(sampling, step), (size, length - 1)
        )
        chosen, truth = (
            jax.lax.dynamic_slice_in_dim(x, first, len(frames)) for x in (chosen, truth)
        )
        lengths = front(jnp.asarray(fractions)[chosen], input_frames - repeated)
        places = jnp.arange(length - 1)
        observed = places < lengths[:, None]
        counted = places < lengths[:, None] + output_frames - 1
        predictions, scores = model.apply(
            {'params': params}, frames[:, :-1], 1, observed | truth, lengths
        )
        errors = jnp.square(predictions - frames[:, 1:]).mean(axis=(2, 3, 4))
        # The mean over frames of each clip, so that devices with other lengths weigh the same.
        l2 = ((errors * counted).sum(axis=1) / counted.sum(axis=1)).mean()
        labels = batch['label']
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        weight = prediction_weight(objective, step)
        value = weight * l2
        if objective.strategy != 'prediction':
            value = value + cross_entropy
        accuracy = (scores.argmax(axis=-1) == labels).mean(dtype=scores.dtype)
        return value, {
            'cross_entropy': cross_entropy,
            'accuracy': accuracy,
            'l2': l2,
            'prediction_weight': weight,
        }

    return loss


class RecognitionEvaluator:
    """Recognises the clips of whole splits from their front parts.

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
          model: the recogniser.
          workdir: where the pictures go.
          mesh: the devices that recognise.
          splits: which will be evaluated.

        Raises:
          InputError: a split cannot be opened, or the model has another number of classes.
        """
        self._config, self._workdir = config, workdir
        self.sources = open_splits(config, splits)
        self._names = class_names(self.sources['train'])
        if len(self._names) != config.model.classes:
            raise InputError(
                f'model.classes={config.model.classes}: {config.dataset.name} has '
                f'{len(self._names)} classes'
            )
        input_frames = config.dataset.input_frames

        def recognise(params, batch):
            frames, repeated = align(batch)
            clip = jnp.full(len(frames), input_frames) - repeated
            lengths = front(jnp.array(FRACTIONS), clip[:, None])
            scores = model.apply(
                {'params': params}, frames[:, :input_frames], 1, None, lengths
            ).scores
            return jax.nn.log_softmax(scores), lengths

        self._recognise = devices.parallel_apply(recognise, mesh, config.evaluation.batch_size)

    def evaluate(
        self, params: Any, step: int, split: str, max_sequences: int | None = None
    ) -> dict[str, Any]:
        """As `Evaluator.evaluate`; see `e3d.evaluation.recognition.recognition_report`."""
        source, config = self.sources[split], self._config
        count = len(source) if max_sequences is None else min(max_sequences, len(source))
        # Every process goes through all of it: the numbers are few and need no exchange.
        logs, labels = [], []
        with tqdm(
            total=count,
            desc='evaluating',
            unit=' sequences',
            leave=False,
            mininterval=0.5,
            disable=not processes.is_first(),
        ) as progress:
            for batch in evaluation_batches(source, config.evaluation.batch_size, count):
                kept = batch['mask']
                inputs = {key: batch[key][kept] for key in ('frames', 'repeated') if key in batch}
                logs.append(self._recognise(params, inputs)[0])
                labels.append(batch['label'][kept])
                progress.update(int(kept.sum()))
        log_probabilities = np.concatenate(logs)
        if not np.isfinite(log_probabilities).all():
            raise RunError(f'The scores of the classes are not finite at step {step}.')
        self._draw_samples(params, source, step)
        report = {
            'step': step,
            'protocol': f'{config.dataset.name} {split}, the front of {config.dataset.input_frames}'
            ' frames',
            'num_sequences': count,
        }
        return report | recognition_report(log_probabilities, np.concatenate(labels), self._names)

    def _draw_samples(self, params, source, step: int) -> None:
        count = min(self._config.evaluation.num_samples, len(source))
        if not count or not processes.is_first():
            return
        batch = next(evaluation_batches(source, count, count))
        inputs = {key: batch[key] for key in ('frames', 'repeated') if key in batch}
        logs, lengths = self._recognise(params, inputs)
        frames = np.asarray(align(batch)[0])
        for index in range(count):
            draw_confidences(
                self._workdir / SAMPLES_FOLDER / f'step_{step:08d}_sample_{index}.png',
                frames[index],
                np.exp(logs[index]),
                lengths[index],
                int(batch['label'][index]),
                self._names,
            )

    def error(self, report: dict[str, Any]) -> float:
        """The share of clips that are not recognised, mean over a quarter, a half and all of them."""
        return 1.0 - np.mean([report[f'accuracy_{part}'] for part in (25, 50, 100)]).item()

    def present(self, report: dict[str, Any]) -> None:
        """As `Evaluator.present`."""
        write_report(report, self._workdir / REPORT_FILE)
        write_recognition(report, self._workdir / CURVES_FILE)
        show(format_recognition(report))
        say_where(self._workdir)
