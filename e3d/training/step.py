"""One update of the parameters: the mathematics of training, no devices, no input or output."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from e3d.model.needs import NETWORKS
from e3d.runs.state import TrainState, variables_of
from e3d.tasks.losses import Batch, LossFunction
from e3d.training.optimizer import at_step, choose


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    loss: LossFunction,
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    ema_decay: float | None = None,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update, a pure function of state and batch.

    An update whose loss or gradient is not finite is not applied: only the step is counted, and
    'loss' or 'gradient_norm' tell. So a state never goes bad, and the loop may look late.

    Args:
      state: before the update.
      batch: 'frames' `[B, T, H, W, C]` in [0, 1], and what else the task needs; with `axis_name`
        the share of one device.
      loss: of the task.
      optimizer: any; that of a config is `e3d.training.optimizer.build_optimizer`.
      learning_rate: of the optimizer, by the step of the state; only to report it.
      ema_decay: of the moving average, if the state keeps one. It begins lower and approaches
        this value, min(ema_decay, (1 + step) / (10 + step)), so that short runs have one as well.
      axis_name: of the devices, where each has a share of the batch.

    Returns:
      The state after it, and metrics, all scalars and means over the whole batch: 'loss', those
      of the task, 'gradient_norm' (before clipping), 'learning_rate'; and 'module_norms', see
      the function of that name.
    """

    def loss_of(params: Any) -> Any:
        return loss(variables_of(params, state.collections), batch, state.step, axis_name)

    (value, (parts, collections)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
        state.params
    )
    if axis_name is not None:
        value, parts, gradients = jax.lax.pmean((value, parts, gradients), axis_name)
    norms = module_norms(gradients)
    gradient_norm = optax.tree.norm(norms)
    new_state = update(state, optimizer, gradients, collections, ema_decay)
    new_state = choose(jnp.isfinite(value) & jnp.isfinite(gradient_norm), new_state, state)
    metrics = {
        'loss': value,
        **parts,
        'gradient_norm': gradient_norm,
        'learning_rate': learning_rate(state.step),
        'module_norms': norms,
    }
    return new_state.replace(step=state.step + 1), metrics


def module_norms(gradients: optax.Updates) -> dict[str, jax.Array]:
    """The norm of the gradient of each module, by its path: what tells where numbers went bad.

    Modules are told apart to the second level, as 'stack/cells_0'; a parameter that belongs to the
    model itself goes by its own name.
    """
    modules: dict[str, list[jax.Array]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        names = [jax.tree_util.keystr((key,), simple=True) for key in path]
        modules.setdefault('/'.join(names[:-1][:2] or names), []).append(leaf)
    return {name: optax.tree.norm(leaves) for name, leaves in modules.items()}


def update(
    state: TrainState,
    optimizer: optax.GradientTransformation,
    gradients: optax.Updates,
    collections: Any,
    ema_decay: float | None,
) -> TrainState:
    """The state after the gradients are applied; its step is not counted yet.

    The networks that are updated are those that the collections before it name. Schedules of the
    optimizer follow the step of the state.
    """
    options = {}
    if NETWORKS in (state.collections or {}):
        flags = state.collections[NETWORKS].items()
        options['updated'] = {name.removeprefix('update_'): flag for name, flag in flags}
    opt_state = at_step(state.opt_state, state.step)
    updates, opt_state = optimizer.update(gradients, opt_state, state.params, **options)
    params = optax.apply_updates(state.params, updates)
    averages = state.ema_params, state.ema_collections
    if state.ema_params is not None:
        decay = jnp.minimum(ema_decay or 0.0, (1.0 + state.step) / (10.0 + state.step))
        averages = move_averages(averages, (params, collections), 1.0 - decay)
    return state.replace(
        params=params,
        ema_params=averages[0],
        opt_state=opt_state,
        collections=collections,
        ema_collections=averages[1],
    )


def move_averages(averages: Any, newest: Any, step_size: jax.Array) -> Any:
    """Moving averages, a step nearer to the newest values; what is not a float is the newest."""

    def move(average: jax.Array, value: jax.Array) -> jax.Array:
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            return value
        return optax.incremental_update(value, average, step_size)

    return jax.tree.map(move, averages, newest)
