"""What the training of a recognizer minimizes (paper, equations 4 and 5; Table 7)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from e3d.data.sources.scales import PIXELS, Scale
from e3d.model.needs import Training, call_in_training
from e3d.options.option import option
from e3d.options.rules import PARTS, number, one_of
from e3d.tasks.losses import Batch, LossFunction, Outcome
from e3d.tasks.observing import align, front, of_whole_clips, shown_lengths
from e3d.tasks.schedules import (
    DROPPING,
    OBSERVING,
    Sampling,
    place_in_batch,
    random_key,
    truth_probability,
)


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
    'prediction_weight'. The scale is not used.
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
        first, whole = place_in_batch(len(frames), axis_name)
        chosen = jax.random.randint(key, (whole,), 0, len(fractions))
        truth = jax.random.bernoulli(
            jax.random.fold_in(key, 1), truth_probability(sampling, step), (whole, length - 1)
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
            model, variables, arguments, batch, frames, dropping, Training(axis_name)
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
