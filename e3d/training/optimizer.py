"""What an update does with a gradient, and the state before the first update."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from e3d.runs.state import TrainState
from e3d.tasks.schedules import INITIALIZATION, learning_rate_schedule, random_key


def build_optimizer(
    options: Mapping[str, Any], steps: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Adam with its schedule and clipping.

    Args:
      options: the section `optimizer` of a config.
      steps: length of the training.

    Returns:
      The optimizer, and its learning rate by step.
    """
    schedule = learning_rate_schedule(
        options['schedule'], options['learning_rate'], options['warmup_steps'], steps
    )
    adam = optax.adam(schedule, b1=options['b1'], b2=options['b2'], eps=options['eps'])
    if options['clip_norm'] is None:
        return adam, schedule
    return optax.chain(optax.clip_by_global_norm(options['clip_norm']), adam), schedule


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    frame_shape: tuple[int, int, int],
    seed: int,
    keep_ema: bool = False,
) -> TrainState:
    """The state before the first update.

    Args:
      model: a forecaster, see `e3d.model.E3DLSTM`.
      optimizer: see `build_optimizer`.
      frame_shape: (H, W, C) of the frames.
      seed: of the parameters.
      keep_ema: whether the run keeps a moving average of the parameters.

    Raises:
      InputError: the model cannot take frames of that shape.
    """

    @jax.jit
    def create() -> TrainState:
        # One step is enough: the parameters do not depend on the number of frames.
        frames = jnp.zeros((1, 1, *frame_shape))
        params = model.init(random_key(seed, INITIALIZATION), frames, 1)['params']
        # A copy, as the step gives its buffers back and one cannot be given back twice.
        ema_params = jax.tree.map(jnp.copy, params) if keep_ema else None
        return TrainState(jnp.zeros((), jnp.int32), params, ema_params, optimizer.init(params))

    return create()
