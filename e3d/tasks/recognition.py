"""The task 'recognition': the class of a clip from its front part, and the next frames beside it."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from e3d.data.batches import evaluation_batches
from e3d.data.sources.dataset import Source
from e3d.data.sources.labeled import LabeledSequences
from e3d.data.sources.registry import class_names
from e3d.data.sources.scales import Scale
from e3d.errors import InputError, RunError
from e3d.evaluation.recognition import format_recognition, recognition_report
from e3d.evaluation.recognition_pictures import draw_confidences, write_recognition
from e3d.evaluation.report import write_report
from e3d.evaluation.shown import Chosen, Shown, choose
from e3d.model import RECOGNIZERS
from e3d.model.classifier import LEAST_LAYERS
from e3d.model.needs import call_in_use, needs_of
from e3d.parallel import devices, processes
from e3d.progress import progress
from e3d.tasks.evaluator import (
    REPORT_NAME,
    open_splits,
    picture_paths,
    samples_folder,
    say_where,
)
from e3d.tasks.observing import (
    align,
    check_observed,
    fractions_shown,
    is_shown,
    of_whole_clips,
    shown_lengths,
)
from e3d.tasks.provenance import split_label
from e3d.tasks.recognition_loss import RecognitionObjective, build_loss
from e3d.tasks.registry import Task, register_task
from e3d.terminal import show


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
        scores = call_in_use(self.model, variables, arguments, batch, frames.shape[-1]).scores
        return jax.nn.log_softmax(scores)


class RecognitionEvaluator:
    """Recognizes the clips of whole splits from their front parts.

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
          model: the recognizer.
          workdir: where the pictures go.
          mesh: the devices that recognize.
          splits: which will be evaluated.
          scale: see `open_splits`.
          gaps: see there.

        Raises:
          InputError: a split cannot be opened, the splits have other classes than each other or than
            the model, or it cannot be trained as the config has it.
        """
        self._config, self._workdir = config, workdir
        self.shown: list[Shown] = []
        if needs_of(model).scores_only and config.loss.strategy != 'classification':
            raise InputError(
                f'loss.strategy={config.loss.strategy!r}: {config.model.name} predicts no frames; '
                'take --config.loss.strategy=classification'
            )
        classes = config.model.classes
        self.sources: dict[str, Source] = {
            split: LabeledSequences(source, split, classes)
            for split, source in open_splits(config, splits, scale, gaps).items()
        }
        self._names = _names_of_all(self.sources)
        if len(self._names) != classes:
            raise InputError(
                f'model.classes={classes}: {config.dataset.name} has {len(self._names)} classes'
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
        if split == 'test' and processes.is_first():
            self._choose(source, log_probabilities[:, : len(fractions)], truth, fractions)
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

    def _choose(
        self,
        source: Source,
        log_probabilities: np.ndarray,
        labels: np.ndarray,
        fractions: Sequence[float],
    ) -> None:
        """Takes the clips to be shown, with what was recognized in them."""
        errors = -np.take_along_axis(log_probabilities, labels[:, None, None], axis=-1).mean((1, 2))
        titles = choose(errors.tolist(), self._config.evaluation.num_samples, 'cross-entropy')
        chosen = Chosen(source, list(titles))
        self.shown = []
        if not len(chosen) or not self._config.evaluation.num_samples:
            return
        batch = next(evaluation_batches(chosen, len(chosen)))
        frames = np.asarray(align(batch)[0])[:, : self._config.dataset.input_frames]
        lengths = self._inputs(batch, fractions)['lengths'][:, : len(fractions)]
        observed = np.ones(frames.shape[1], bool)
        for place, (index, title) in enumerate(titles.items()):
            self.shown.append(
                Shown(
                    f'{title}: {self._names[int(labels[index])]}',
                    index,
                    frames[place],
                    observed,
                    chances=np.exp(log_probabilities[index]),
                    lengths=lengths[place].tolist(),
                    label=int(labels[index]),
                )
            )

    def _draw_samples(
        self, variables: Any, source: Source, step: int, fractions: Sequence[float]
    ) -> None:
        count = min(self._config.evaluation.num_samples, len(source))
        if not count or not processes.is_first():
            return
        batch = next(evaluation_batches(source, count, count))
        inputs = self._inputs(batch, fractions)
        logs = self._recognize(variables, inputs)[:, : len(fractions)]
        frames, figures = np.asarray(align(batch)[0]), self._config.evaluation.figures
        folder = samples_folder(self._workdir, self.name)
        for index in range(count):
            draw_confidences(
                picture_paths(folder / f'step_{step:08d}_sample_{index}.png', figures),
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
        path = self._workdir / f'{self.name}.png'
        write_recognition(
            report, picture_paths(path, self._config.evaluation.figures), self._config.model.name
        )
        show(format_recognition(report))
        say_where(self._workdir, self.name, report)


def _names_of_all(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """What the classes of all splits are called; raises InputError where they are not the same."""
    first, *others = sources
    names = class_names(sources[first])
    for split in others:
        for number, pair in enumerate(itertools.zip_longest(names, class_names(sources[split]))):
            if pair[0] != pair[1]:
                own, other = ('missing' if name is None else repr(name) for name in pair)
                raise InputError(
                    f'Class {number} is {own} in the {first} split and {other} in the {split} split. '
                    'Number the classes of all splits alike, also those that a split has no clip of.'
                )
    return names


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
        separable, layers = config.get('model.separable', 'none'), config.get('model.top_layers', 0)
        if layers < LEAST_LAYERS[separable]:
            other = '; for the E(2+1)D-LSTM set model.convolution=separable'
            yield (
                f"model.separable={separable!r}: must be 'none' with model.top_layers={layers}, whose "
                f'{separable} half it changes; or set at least {LEAST_LAYERS[separable]} of them'
                f'{other * ("model.convolution" in config)}'
            )
