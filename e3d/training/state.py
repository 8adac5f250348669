"""What training changes, and the rule by which it does."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from e3d.errors import InputError
from e3d.training.schedules import INITIALIZATION, learning_rate_schedule, random_key


class TrainState(struct.PyTreeNode):
    """All that a checkpoint holds.

    Attributes:
      step: number of updates so far, int32.
      params: of the model.
      ema_params: their exponential moving average, or None where the run keeps none.
      opt_state: of the optimiser.
    """

    step: jax.Array
    params: Any
    ema_params: Any
    opt_state: Any

    @property
    def forecast_params(self) -> Any:
        """The parameters to forecast with: the moving average where there is one."""
        return self.params if self.ema_params is None else self.ema_params


def build_optimizer(
    options: Mapping[str, Any], steps: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Adam with its schedule and clipping.

    Args:
      options: the section `optimizer` of a config.
      steps: length of the training.

    Returns:
      The optimiser, and its learning rate by step.
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


def check_fit(stored: Any, expected: Any, path: pathlib.Path) -> None:
    """Raises InputError, naming the first leaves that differ, where two trees have other shapes."""
    stored, expected = dict(_shapes(stored)), dict(_shapes(expected))
    differing = [name for name in (expected | stored) if stored.get(name) != expected.get(name)]
    if differing:
        lines = [
            f'  {name}: stored {stored.get(name, "nothing")}, '
            f'needed {expected.get(name, "nothing")}'
            for name in differing[:5]
        ]
        more = f'\n  and {len(differing) - 5} more' if len(differing) > 5 else ''
        raise InputError(
            f'The checkpoint {path} does not fit the config:\n' + '\n'.join(lines) + more + '\n'
            'Use the config that it was trained with, or another --workdir.'
        )


def _shapes(tree: Any) -> Iterator[tuple[str, str]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        yield name, f'{leaf.dtype}{list(leaf.shape)}'
