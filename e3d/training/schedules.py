"""Quantities that change during training, each a function of the step alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from e3d.data.layouts import Layout

# Streams of random numbers, kept apart by folding their number into the key.
INITIALIZATION, SAMPLING = 0, 1


class Sampling(NamedTuple):
    """Scheduled sampling, as the section `sampling` of a config has it.

    Attributes:
      start: probability of the true frame at step 0.
      decrease: what each step takes from it.
    """

    start: float = 1.0
    decrease: float = 2e-5


def warm_up(step: jax.Array, steps: int) -> jax.Array:
    """Grows linearly from 0 at step 0 to 1 at `steps`, and stays there; 1 throughout for 0."""
    return jnp.minimum(1.0, step / steps) if steps else jnp.ones(())


def truth_probability(sampling: Sampling, step: jax.Array) -> jax.Array:
    """Probability that the true frame enters in place of the prediction (paper, section 4.1)."""
    return jnp.clip(sampling.start - sampling.decrease * step, 0.0, 1.0)


def draw_truth_mask(
    sampling: Sampling, seed: int, step: jax.Array, batch_size: int, layout: Layout
) -> jax.Array:
    """Where the true frame enters in a step of training: a function of (seed, step).

    Frames that the layout has observed always do; those that are to be forecast, as it is drawn.

    Returns:
      Bool `[batch_size, layout.later_frames - 1]`, the `truth_mask` of a model.
    """
    key = jax.random.fold_in(random_key(seed, SAMPLING), step)
    shape = (batch_size, layout.later_frames - 1)
    drawn = jax.random.bernoulli(key, truth_probability(sampling, step), shape)
    return drawn | layout.entering


def draw_shared_mask(
    sampling: Sampling,
    seed: int,
    step: jax.Array,
    batch_size: int,
    layout: Layout,
    axis_name: str | None,
) -> jax.Array:
    """The rows of the mask that belong to this device's share of the batch.

    The mask is drawn for the whole batch on every device, so that the numbers do not depend on how
    many devices there are.

    Returns:
      bool `[batch_size, layout.later_frames - 1]`.
    """
    if axis_name is None:
        return draw_truth_mask(sampling, seed, step, batch_size, layout)
    devices = jax.lax.psum(1, axis_name)
    mask = draw_truth_mask(sampling, seed, step, batch_size * devices, layout)
    first = jax.lax.axis_index(axis_name) * batch_size
    return jax.lax.dynamic_slice_in_dim(mask, first, batch_size)


def random_key(seed: int, stream: int) -> jax.Array:
    """The key of one of the streams above."""
    return jax.random.fold_in(jax.random.key(seed), stream)


def learning_rate_schedule(
    schedule: str, learning_rate: float, warmup_steps: int, steps: int
) -> optax.Schedule:
    """The learning rate by step.

    Args:
      schedule: 'constant', or 'cosine', which falls to 0 at the last step.
      learning_rate: the highest, reached after the warm-up.
      warmup_steps: over so many steps it grows linearly from 0.
      steps: length of the training.
    """
    if schedule == 'cosine':
        main = optax.cosine_decay_schedule(learning_rate, max(steps - warmup_steps, 1))
    else:
        main = optax.constant_schedule(learning_rate)
    if not warmup_steps:
        return main
    # The first update is of step 0, whose rate would be 0 and whose work would be lost.
    rise = optax.linear_schedule(learning_rate / warmup_steps, learning_rate, warmup_steps - 1)
    return optax.join_schedules([rise, main], [warmup_steps])
