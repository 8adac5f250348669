"""The task 'recognition': the class of a clip from its front part, and the next frames beside it."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from e3d.data.batches import evaluation_batches
from e3d.data.sources.dataset import Source
from e3d.data.sources.registry import class_names
from e3d.data.sources.scales import PIXELS, Scale
from e3d.errors import InputError, RunError
from e3d.evaluation.recognition import (
    draw_confidences,
    format_recognition,
    recognition_report,
    write_recognition,
)
from e3d.evaluation.report import write_report
from e3d.model import RECOGNIZERS
from e3d.model.needs import call_in_training, call_in_use, needs_of
from e3d.options.option import option
from e3d.options.rules import PARTS, number, one_of
from e3d.parallel import devices, processes
from e3d.progress import progress
from e3d.tasks.evaluator import (
    REPORT_NAME,
    open_splits,
    samples_folder,
    say_where,
)
from e3d.tasks.losses import Batch, LossFunction, Outcome
from e3d.tasks.observing import (
    align,
    check_observed,
    fractions_shown,
    front,
    is_shown,
    of_whole_clips,
    shown_lengths,
)
from e3d.tasks.provenance import split_label
from e3d.tasks.registry import Task, register_task
from e3d.tasks.schedules import DROPPING, OBSERVING, Sampling, random_key, truth_probability
from e3d.terminal import show


@dataclasses.dataclass(frozen=True)
class RecognitionObjective:
    """What is minimized (equations 4 and 5, Table 7): the section `loss` of a config.

    The error is a mean over elements where equation 4 has a sum, T * H * W * C times as much: the
    paper's 10 is there that many times as heavy as here.
    """

    strategy: str = option(
        'scheduled',
        "how classification and prediction are trained (Table 7); a run with 'prediction' is one "
        'that a later one begins with (init_from)',
        one_of('scheduled', 'fixed', 'classification', 'prediction'),
    )
    start: float = option(
        10.0,
        "of 'scheduled': weight of the squared error of the predicted frames beside the "
        'cross-entropy at step 0',
        number(0),
    )
    decrease: float = option(2e-5, 'decrease of it with each update', number(0))
    least: float = option(0.1, 'lowest value of it', number(0))
    fixed: float = option(1.0, "of 'fixed': that weight", number(0, above=True))
    observed: tuple[float, ...] = option(
        (1.0,),
        'fractions of the whole clip that are observed, of which each clip draws one; (): all that '
        'the data set shows of a clip',
        PARTS,
    )


def prediction_weight(objective: RecognitionObjective, step: jax.Array) -> jax.Array:
    """Weight of the prediction beside the classification (equations 4 and 5)."""
    if objective.strategy == 'scheduled':
        return jnp.maximum(objective.least, objective.start - objective.decrease * step)
    weights = {'fixed': objective.fixed, 'classification': 0.0, 'prediction': 1.0}
    return jnp.full((), weights[objective.strategy])


def build_loss(config: ConfigDict, model: nn.Module, scale: Scale = PIXELS) -> LossFunction:
    """Equation 4 as a config has it.

    Each clip is observed up to one of the fractions of `loss.observed`; of the `output_frames`
    after that the model predicts each, from its own predictions or, as `sampling` has it, the true
    frames. The squared error is a mean over the elements of all predicted frames, the observed ones
    included. The equation has their sum, `||X' - X||_F^2`, which is T * H * W * C times as much for
    T predicted frames [H, W, C]: a weight of the paper, as 10 falling to 0.1, is there that many
    times as heavy beside the cross-entropy as the same value of `loss.start`, `loss.least` or
    `loss.fixed` is here.

    Reports 'cross_entropy', 'accuracy' (of equal scores the first class is taken), 'l2' and
    'prediction_weight'. The scale has no part.
    """
    objective = RecognitionObjective(**config.loss)
    sampling, seed = Sampling(**config.sampling), config.seed
    input_frames, output_frames = config.dataset.input_frames, config.dataset.output_frames
    fractions = np.array(objective.observed or (1.0,))  # no more than is shown
    of_clip = of_whole_clips(config)
    longest = int(front(fractions.max(), input_frames))

    def loss(variables: Any, batch: Batch, step: jax.Array, axis_name: str | None) -> Any:
        frames, _ = align(batch)
        # Of a longer clip than is shown, a fraction may be all that is shown.
        parts_of_longer = of_clip and 'clip_frames' in batch
        length = output_frames + (input_frames if parts_of_longer else longest)
        frames = frames[:, :length]
        key = jax.random.fold_in(random_key(seed, OBSERVING), step)
        size: Any = len(frames)
        first: Any = 0
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
        lengths = shown_lengths(fractions, batch, input_frames, of_clip)
        lengths = jnp.take_along_axis(lengths, chosen[:, None], axis=1)[:, 0]
        places = jnp.arange(length - 1)
        observed = places < lengths[:, None]
        counted = places < lengths[:, None] + output_frames - 1
        arguments = frames[:, :-1], 1, observed | truth, lengths
        dropping = jax.random.fold_in(random_key(seed, DROPPING), step)
        (predictions, scores), _, collections = call_in_training(
            model, variables, arguments, batch, frames, dropping, axis_name
        )
        if predictions is None:
            l2 = jnp.zeros(())
        else:
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
        metrics = {
            'cross_entropy': cross_entropy,
            'accuracy': accuracy,
            'l2': l2,
            'prediction_weight': weight,
        }
        return value, Outcome(metrics, collections)

    return loss


@dataclasses.dataclass(frozen=True)
class Recognition:
    """Logarithms of the probabilities of the classes.

    Attributes:
      model: a recognizer.
      input_frames: of a sequence, so many at most are seen.
    """

    model: nn.Module
    input_frames: int

    def __call__(self, variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Maps sequences, and 'lengths' `[B, L]` of what is seen of them, to `[B, L, classes]`."""
        frames, _ = align(batch)
        arguments = frames[:, : self.input_frames], 1, None, batch['lengths']
        scores = call_in_use(self.model, variables, arguments, batch).scores
        return jax.nn.log_softmax(scores)


class RecognitionEvaluator:
    """Recognizes the clips of whole splits from their front parts.

    Attributes:
      sources: by split; 'train' is among them where it is at hand.
      name: of the files that it writes, without suffix.
    """

    name = REPORT_NAME

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
          model: the recognizer.
          workdir: where the pictures go.
          mesh: the devices that recognize.
          splits: which will be evaluated.

        Raises:
          InputError: a split cannot be opened, the model has another number of classes, or it cannot
            be trained as the config has it.
        """
        self._config, self._workdir = config, workdir
        if needs_of(model).scores_only and config.loss.strategy != 'classification':
            raise InputError(
                f'loss.strategy={config.loss.strategy!r}: {config.model.name} predicts no frames; '
                'take --config.loss.strategy=classification'
            )
        self.sources = open_splits(config, splits)
        self._names = class_names(self.sources[splits[0]])
        if len(self._names) != config.model.classes:
            raise InputError(
                f'model.classes={config.model.classes}: {config.dataset.name} has '
                f'{len(self._names)} classes'
            )
        if 'validation' in splits:  # or else nothing is trained
            check_observed(config, self.sources)

        recognize = Recognition(model, config.dataset.input_frames)
        self._recognize = devices.parallel_apply(recognize, mesh, config.evaluation.batch_size)

    def _fractions(self, source: Source) -> tuple[list[float], list[int]]:
        """The fractions of a clip that are measured, and the places of those that are trained."""
        shown = fractions_shown(source)
        if not of_whole_clips(self._config):
            return list(shown), []
        trained = [part for part in self._config.loss.observed if is_shown(part, source)]
        if not self._config.loss.observed:
            trained = [shown[-1]]
        fractions = sorted({*shown, *trained})
        return fractions, [fractions.index(part) for part in trained]

    def _inputs(self, batch: Mapping[str, Any], fractions: Sequence[float]) -> dict[str, Any]:
        """What recognizing takes: sequences, and their lengths at each fraction.

        Where the run is trained on fractions of what is shown, their lengths come after those.
        """
        input_frames = self._config.dataset.input_frames
        lengths = [shown_lengths(fractions, batch, input_frames)]
        if not of_whole_clips(self._config):
            observed = self._config.loss.observed
            lengths.append(shown_lengths(observed, batch, input_frames, of_clip=False))
        inputs = {key: batch[key] for key in ('frames', 'repeated') if key in batch}
        return inputs | {'lengths': np.concatenate(lengths, axis=1)}

    def evaluate(
        self, variables: Any, step: int, split: str, max_sequences: int | None = None
    ) -> dict[str, Any]:
        """See `Evaluator.evaluate` and `e3d.evaluation.recognition.recognition_report`.

        Beside it 'accuracy_observed', the mean over the fractions of `loss.observed`.
        """
        source, config = self.sources[split], self._config
        fractions, trained = self._fractions(source)
        count = len(source) if max_sequences is None else min(max_sequences, len(source))
        # Every process goes through all of it: the numbers are few and need no exchange.
        logs, labels = [], []
        with progress('evaluating', count, unit=' sequences', shown=processes.is_first()) as bar:
            for batch in evaluation_batches(source, config.evaluation.batch_size, count):
                kept = {key: values[batch['mask']] for key, values in batch.items()}
                logs.append(self._recognize(variables, self._inputs(kept, fractions)))
                labels.append(kept['label'])
                bar.update(len(kept['label']))
        log_probabilities, truth = np.concatenate(logs), np.concatenate(labels)
        if not np.isfinite(log_probabilities).all():
            raise RunError(f'The scores of the classes are not finite at step {step}.')
        self._draw_samples(variables, source, step, fractions)
        report = {
            'step': step,
            'protocol': f'{config.dataset.name} {split_label(split, source)}, front parts of the '
            'whole clip',
            'num_sequences': count,
        }
        of_clip = log_probabilities[:, : len(fractions)]
        report |= recognition_report(of_clip, truth, self._names, fractions)
        trained = trained or list(range(len(fractions), log_probabilities.shape[1]))
        if trained:
            right = log_probabilities[:, trained].argmax(axis=-1) == truth[:, None]
            report['accuracy_observed'] = right.mean(dtype=np.float64).item()
        return report

    def _draw_samples(
        self, variables: Any, source: Source, step: int, fractions: Sequence[float]
    ) -> None:
        count = min(self._config.evaluation.num_samples, len(source))
        if not count or not processes.is_first():
            return
        batch = next(evaluation_batches(source, count, count))
        inputs = self._inputs(batch, fractions)
        logs = self._recognize(variables, inputs)[:, : len(fractions)]
        frames = np.asarray(align(batch)[0])
        for index in range(count):
            draw_confidences(
                samples_folder(self._workdir, self.name) / f'step_{step:08d}_sample_{index}.png',
                frames[index],
                np.exp(logs[index]),
                inputs['lengths'][index],
                int(batch['label'][index]),
                self._names,
                fractions,
            )

    def error(self, report: dict[str, Any]) -> float:
        """The share of clips that are not recognized, mean over the fractions that are trained."""
        return 1.0 - report['accuracy_observed']

    def present(self, report: dict[str, Any]) -> None:
        """See `Evaluator.present`."""
        write_report(report, self._workdir / f'{self.name}.json')
        write_recognition(report, self._workdir / f'{self.name}.png')
        show(format_recognition(report))
        say_where(self._workdir, self.name, report)


@register_task('recognition')
class RecognitionTask(Task):
    """The class of a clip is recognized early, beside the prediction of the next frames."""

    objective = RecognitionObjective
    models = RECOGNIZERS
    default_model = 'e3d_recognizer'
    labeled = True
    build_loss = staticmethod(build_loss)
    evaluator = RecognitionEvaluator

    @staticmethod
    def problems(config: Mapping[str, Any]) -> Iterable[str]:
        """As `Task.problems`."""
        if config['dataset.copy_test']:
            yield "dataset.copy_test is for task='prediction': must be ()"
        if config['sampling.kind'] != 'scheduled':
            yield "sampling.kind='reverse' is for task='prediction': must be 'scheduled'"
