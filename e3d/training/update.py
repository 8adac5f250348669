"""The update and the first state that a config describes."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from e3d.data.sources.layouts import layout_of
from e3d.data.sources.scales import PIXELS, Scale
from e3d.model.needs import needs_of
from e3d.runs.state import TrainState
from e3d.tasks.losses import Batch, LossFunction
from e3d.tasks.registry import TASKS
from e3d.training.optimizer import build_optimizer, create_state
from e3d.training.step import train_step


class Update(NamedTuple):
    """What is trained, and how.

    Attributes:
      loss: of the task.
      step: from a state and a batch to the next state and metrics, see `train_step`.
      create: makes the first state.
    """

    loss: LossFunction
    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    create: Callable[[], TrainState]


def build_update(
    config: ConfigDict,
    model: nn.Module,
    frame_shape: tuple[int, int, int],
    axis_name: str | None = None,
    scale: Scale = PIXELS,
) -> Update:
    """Puts the loss, the optimizer and the model of a config together.

    Args:
      config: of an experiment.
      model: as the config has it.
      frame_shape: (H, W, C).
      axis_name: of the devices, where each has a share of the batch.
      scale: what the values of the frames stand for.
    """
    optimizer, learning_rate = build_optimizer(
        config.optimizer, config.train.steps, needs_of(model).networks
    )
    ema_decay = config.optimizer.ema_decay
    loss = TASKS[config.task].build_loss(config, model, scale)
    step = functools.partial(
        train_step,
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        ema_decay=ema_decay,
        axis_name=axis_name,
    )
    create = functools.partial(
        create_state,
        model,
        optimizer,
        frame_shape,
        config.seed,
        keep_ema=ema_decay is not None,
        lengths=layout_of(config.dataset).lengths,
    )
    return Update(loss, step, create)
