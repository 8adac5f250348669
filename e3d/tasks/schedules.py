"""Quantities that change during training, each a function of the step alone."""

import collections
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from e3d.data.sources.layouts import Layout
from e3d.options.option import option
from e3d.options.rules import number, one_of, whole

# Streams of random numbers, kept apart by folding their number into the key.
INITIALIZATION, SAMPLING, OBSERVING, DROPPING, NOISE = 0, 1, 2, 3, 4


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Scheduled sampling: the section `sampling` of a config.

    Attributes:
      start, decrease: the probability of the true frame, in place of the model's forecast of it, is
        max(0, start - decrease * step).
      kind: 'scheduled', where all that is observed enters; or 'reverse' (PredRNN-V2, Wang et al.,
        2021), where forecasts enter among the observed frames as well, ever less often. Then
        `start` and `decrease` have no part.
      first_step: of 'reverse'; until then either kind of frame is the true one half of the time.
      last_step: from then on all observed frames and none of the others are true ones.
      time_constant: in between the probability of forecasts among the observed frames falls
        exponentially, by 1/e in so many steps; that of true frames among the others linearly.
    """

    start: float = option(1.0, 'probability of the true frame at step 0', number(0, 1))
    decrease: float = option(2e-5, 'decrease of it with each update', number(0))
    kind: str = option(
        'scheduled',
        "'reverse' draws among the observed frames as well (PredRNN-V2)",
        one_of('scheduled', 'reverse'),
    )
    first_step: int = option(
        25_000, "of 'reverse': when the probabilities begin to change, updates", whole(0)
    )
    last_step: int = option(50_000, "of 'reverse': when they stop, updates", whole(1))
    time_constant: float = option(
        5_000.0,
        "of 'reverse': how fast forecasts among the observed frames become rare, updates",
        number(0, above=True),
    )


def warm_up(step: jax.Array, steps: int) -> jax.Array:
    """Grows linearly from 0 at step 0 to 1 at `steps`, and stays there; 1 throughout for 0."""
    return jnp.minimum(1.0, step / steps) if steps else jnp.ones(())


def truth_probability(sampling: Sampling, step: jax.Array) -> jax.Array:
    """How often a true frame enters where the model forecasts (paper, section 4.1)."""
    if sampling.kind == 'scheduled':
        return jnp.clip(sampling.start - sampling.decrease * step, 0.0, 1.0)
    passed = (step - sampling.first_step) / (sampling.last_step - sampling.first_step)
    return 0.5 * (1.0 - jnp.clip(passed, 0.0, 1.0))


def observed_probability(sampling: Sampling, step: jax.Array) -> jax.Array:
    """How often a true frame enters where it has been observed."""
    if sampling.kind == 'scheduled':
        return jnp.ones(())
    passed = jnp.maximum(step - sampling.first_step, 0.0)
    rising = 1.0 - 0.5 * jnp.exp(-passed / sampling.time_constant)
    return jnp.where(step < sampling.last_step, rising, 1.0)


def draw_truth_mask(
    sampling: Sampling, seed: int, step: jax.Array, batch_size: int, layout: Layout
) -> jax.Array:
    """Where the true frame enters in a step of training: a function of (seed, step).

    Returns:
      Bool `[batch_size, N]`, the `truth_mask` of a model: for those of the later frames of a layout
      that can enter, or, in 'reverse' sampling, for all frames but the first and the last.
    """
    observed = layout.entering if sampling.kind == 'scheduled' else layout.observed[1:-1]
    probability = jnp.where(
        observed, observed_probability(sampling, step), truth_probability(sampling, step)
    )
    key = jax.random.fold_in(random_key(seed, SAMPLING), step)
    return jax.random.bernoulli(key, probability, (batch_size, len(observed)))


def draw_shared_mask(
    sampling: Sampling,
    seed: int,
    step: jax.Array,
    batch_size: int,
    layout: Layout,
    axis_name: str | None,
) -> jax.Array:
    """The rows of the mask that belong to this device's share of the batch, see `place_in_batch`.

    Returns:
      Bool `[batch_size, N]`, see `draw_truth_mask`.
    """
    first, whole = place_in_batch(batch_size, axis_name)
    mask = draw_truth_mask(sampling, seed, step, whole, layout)
    return jax.lax.dynamic_slice_in_dim(mask, first, batch_size)


def place_in_batch(size: int, axis_name: str | None) -> tuple[Any, int]:
    """Where the share of a device begins in the whole batch, and the size of that.

    What is random is drawn for the whole batch on every device, so that the numbers do not depend on
    how many devices there are.

    Args:
      size: of the share.
      axis_name: of the devices, where each has a share of the batch.
    """
    if axis_name is None:
        return 0, size
    return jax.lax.axis_index(axis_name) * size, size * jax.lax.psum(1, axis_name)


def random_key(seed: int, stream: int) -> jax.Array:
    """The key of one of the streams above."""
    return jax.random.fold_in(jax.random.key(seed), stream)


def learning_rate_schedule(
    schedule: str, learning_rate: float, warmup_steps: int, steps: int
) -> optax.Schedule:
    """The learning rate by step.

    Args:
      schedule: 'constant'; 'cosine', which falls to 0 at the last step; 'halving', by half after
        each fifth of the training; or 'onecycle', as PyTorch's OneCycleLR: a cosine up from a 25th
        in 30 % of the steps, then one down to a 10,000th of that.
      learning_rate: the highest, reached after the warm-up.
      warmup_steps: over so many steps it grows linearly from 0.
      steps: length of the training.
    """
    if schedule == 'onecycle':
        return optax.cosine_onecycle_schedule(steps, learning_rate)
    if schedule == 'cosine':
        main = optax.cosine_decay_schedule(learning_rate, max(steps - warmup_steps, 1))
    elif schedule == 'halving':
        # Those that end within the warm-up halve at its end, each of them.
        fifths = collections.Counter(
            max(part * steps // 5 - warmup_steps, 0) for part in range(1, 5)
        )
        factors = {start: 0.5**times for start, times in fifths.items()}
        main = optax.piecewise_constant_schedule(learning_rate, factors)
    else:
        main = optax.constant_schedule(learning_rate)
    if not warmup_steps:
        return main
    # The first update is of step 0, whose rate would be 0 and whose work would be lost.
    rise = optax.linear_schedule(learning_rate / warmup_steps, learning_rate, warmup_steps - 1)
    return optax.join_schedules([rise, main], [warmup_steps])
