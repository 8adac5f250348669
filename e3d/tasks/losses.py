"""What training minimizes (paper, equation 3)."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np

from e3d.data.sources.layouts import Layout
from e3d.evaluation.balanced import balanced_weights
from e3d.options.option import option
from e3d.options.rules import MOST, ascending, number, numbers, one_of, whole
from e3d.tasks.schedules import warm_up

Batch = dict[str, jax.Array]

_LEAST_PROBABILITY = 1.19e-7  # that float32 can tell from 0 and 1


class Outcome(NamedTuple):
    """What comes with a loss.

    Attributes:
      metrics: further scalars to report, by name.
      collections: of the model after its call; None for a model that has none.
    """

    metrics: dict[str, jax.Array]
    collections: dict[str, Any] | None = None


class LossFunction(Protocol):
    """What an update minimizes; each task has its own, see `e3d.tasks.registry`."""

    def __call__(
        self, variables: Any, batch: Batch, step: jax.Array, axis_name: str | None
    ) -> tuple[jax.Array, Outcome]:
        """The loss of a batch, or of a device's share of it, and what comes with it.

        Args:
          variables: of the model.
          batch: arrays `[B, ...]`.
          step: number of updates so far; all that is random follows from it and the seed.
          axis_name: of the devices, where each has a share of the batch.
        """


@dataclasses.dataclass(frozen=True)
class Objective:
    """Weights of the loss of forecasts (equation 3): the section `loss` of a config.

    The weight of L1 may grow from 0, as frames that are mostly black have a black median, with which
    L1 alone is content. 'all' predicted frames count, x_1 .. x_{T-1}, or only the 'future' ones that
    are to be forecast. With thresholds these are the balanced errors of Shi et al. (2017), B-MSE and
    B-MAE, up to a constant.
    """

    l2_weight: float = option(1.0, 'weight of the mean squared error', number(0))
    l1_weight: float = option(1.0, 'weight of the mean absolute error', number(0))
    cross_entropy_weight: float = option(
        0.0, 'weight of the cross-entropy of pixels as probabilities', number(0), older=0.0
    )
    l1_warmup_steps: int = option(0, 'updates over which the weight of L1 grows from 0', whole(0))
    frames: str = option(
        'all',
        "predicted frames that count: all, or only those after the input, 'future'",
        one_of('all', 'future'),
    )
    crps_weight: float = option(
        0.0,
        'weight of the fair CRPS of two forecasts with other random numbers (model.noise_channels)',
        number(0),
        older=0.0,
    )
    balance_thresholds: tuple[float, ...] = option(
        (),
        'values of the truth from which on errors weigh more (B-MSE and B-MAE), in the unit of the '
        'data, for pictures 0 to 1; (): all weigh 1',
        ascending(-MOST, (2.0, 5.0, 10.0)),
        older=(),
    )
    balance_weights: tuple[float, ...] = option(
        (),
        'what they weigh from each of these on; 1 below the first',
        numbers(0, (2.0, 5.0, 10.0)),
        older=(),
    )


def forecast_loss(
    objective: Objective,
    predictions: jax.Array,
    frames: jax.Array,
    layout: Layout,
    step: jax.Array,
    valid: jax.Array | None = None,
    axis_name: str | None = None,
    levels: np.ndarray | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted sum of squared and absolute errors, and of cross-entropies where these have a weight.

    All are means over elements where the paper has sums, which is the same up to a constant and
    does not depend on the resolution. What has no truth counts in none.

    Args:
      objective: the weights, and which frames count.
      predictions: of the last N frames, `[B, N, H, W, C]`: of all but the first, or of those that
        are to be forecast.
      frames: the true ones, `[B, T, H, W, C]` in [0, 1].
      layout: which of them are observed and which forecast.
      step: number of updates so far.
      valid: which of the true values are known, bool `[B, T, H, W, C]`; None: all.
      axis_name: of the devices, where each has a share of the batch.
      levels: `balance_thresholds` as the model sees them, see `balanced_weights`.

    Returns:
      The loss, and {'l2', 'l1'}: its parts before they are weighted; 'cross_entropy' and 'crps' if
      they count.
    """
    count = predictions.shape[1]
    assert count in (frames.shape[1] - 1, layout.output_frames), predictions.shape
    truth = frames[:, -count:]
    chex.assert_equal_shape([predictions, truth])
    weights: Any = 1.0 if valid is None else valid[:, -count:]
    if objective.frames == 'future':
        counts = ~layout.observed[-count:]
        predictions, truth = predictions[:, counts], truth[:, counts]
        weights = weights if valid is None else weights[:, counts]
    if valid is not None:
        # Before any arithmetic: a gradient through what is not finite would not be either.
        predictions, truth = (jnp.where(weights, x, 0.0) for x in (predictions, truth))
        weights = share_of_all(weights, axis_name)
    errors = predictions - truth
    balanced = weights
    if levels is not None and len(levels):
        balanced *= balanced_weights(truth, levels, objective.balance_weights)
    l2, l1 = jnp.mean(balanced * jnp.square(errors)), jnp.mean(balanced * jnp.abs(errors))
    l1_weight = objective.l1_weight * warm_up(step, objective.l1_warmup_steps)
    loss, parts = objective.l2_weight * l2 + l1_weight * l1, {'l2': l2, 'l1': l1}
    if objective.cross_entropy_weight:
        parts['cross_entropy'] = cross_entropy(predictions, truth, weights)
        loss += objective.cross_entropy_weight * parts['cross_entropy']
    if objective.crps_weight:
        parts['crps'] = fair_crps_of_pairs(predictions, truth, weights)
        loss += objective.crps_weight * parts['crps']
    return loss, parts


def fair_crps_of_pairs(
    predictions: jax.Array, truth: jax.Array, weights: jax.Array | float = 1.0
) -> jax.Array:
    """Mean over elements of (|X1 - x| + |X2 - x|) / 2 - |X1 - X2| / 2.

    The fair continuous ranked probability score (Ferro 2014) of an ensemble of two: its expectation is
    least where both are drawn from the distribution of the truth.

    Args:
      predictions: `[2 B, ...]`: two of each, the second ones after all first ones.
      truth: of the same shape, with each sequence twice.
      weights: of the same shape, or one for all.
    """
    first, second = jnp.split(predictions, 2)
    apart = jnp.abs(jnp.concatenate([first - second, second - first]))
    return jnp.mean(weights * (jnp.abs(predictions - truth) - apart / 2))


def share_of_all(valid: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Weights with which a mean over all elements is one over the valid ones, of all devices."""
    share = jnp.mean(valid.astype(jnp.float32))
    if axis_name is not None:
        share = jax.lax.pmean(share, axis_name)
    return valid / jnp.maximum(share, jnp.finfo(jnp.float32).tiny)


def cross_entropy(
    predictions: jax.Array, truth: jax.Array, weights: jax.Array | float = 1.0
) -> jax.Array:
    """Mean binary cross-entropy of pixels, predictions cut to probabilities, in nats."""
    p = jnp.clip(predictions, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return -jnp.mean(weights * (truth * jnp.log(p) + (1 - truth) * jnp.log1p(-p)))
