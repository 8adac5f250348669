"""One update of the parameters: the mathematics of training, no devices, no input or output."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from e3d.training.losses import Objective, forecast_loss
from e3d.training.schedules import Sampling, draw_truth_mask, truth_probability
from e3d.training.state import TrainState


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    objective: Objective,
    sampling: Sampling,
    output_frames: int,
    seed: int,
    ema_decay: float | None = None,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update, a pure function of state and batch.

    An update whose loss or gradient is not finite is not applied: only the step is counted, and
    'loss' or 'gradient_norm' tell. So a state never goes bad, and the loop may look late.

    Args:
      state: before the update.
      batch: 'frames' `[B, T, H, W, C]` in [0, 1], the last `output_frames` are to be forecast;
        with `axis_name` the share of one device.
      model: a forecaster, see `e3d.model.E3DLSTM`.
      optimizer: see `state.build_optimizer`.
      learning_rate: of the optimiser, by step; only to report it.
      objective: the loss.
      sampling: how often true frames enter during the forecast.
      output_frames: T_out.
      seed: of the run.
      ema_decay: of the moving average, if the state keeps one. It begins lower and approaches
        this value, min(ema_decay, (1 + step) / (10 + step)), so that short runs have one as well.
      axis_name: of the devices, where each has a share of the batch.

    Returns:
      The state after it, and metrics, all scalars and means over the whole batch: 'loss', 'l2',
      'l1', 'gradient_norm' (before clipping), 'truth_probability', 'learning_rate'.
    """
    frames = batch['frames']
    truth_mask = draw_shared_mask(
        sampling, seed, state.step, frames.shape[0], output_frames - 1, axis_name
    )

    def loss_of(params):
        predictions = model.apply({'params': params}, frames[:, :-1], output_frames, truth_mask)
        input_frames = frames.shape[1] - output_frames
        return forecast_loss(objective, predictions, frames, input_frames, state.step)

    (loss, parts), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    if axis_name is not None:
        loss, parts, gradients = jax.lax.pmean((loss, parts, gradients), axis_name)
    gradient_norm = optax.tree.norm(gradients)
    new_state = update(state, optimizer, gradients, ema_decay)
    new_state = choose(jnp.isfinite(loss) & jnp.isfinite(gradient_norm), new_state, state)
    metrics = {
        'loss': loss,
        **parts,
        'gradient_norm': gradient_norm,
        'truth_probability': truth_probability(sampling, state.step),
        'learning_rate': learning_rate(state.step),
    }
    return new_state.replace(step=state.step + 1), metrics


def update(
    state: TrainState,
    optimizer: optax.GradientTransformation,
    gradients: optax.Updates,
    ema_decay: float | None,
) -> TrainState:
    """The state after the gradients are applied; its step is not counted yet."""
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params is not None:
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema_params = optax.incremental_update(params, ema_params, 1.0 - decay)
    return state.replace(params=params, ema_params=ema_params, opt_state=opt_state)


def choose(condition: jax.Array, if_true: TrainState, if_false: TrainState) -> TrainState:
    """One of two states, leaf by leaf, without a branch."""
    return jax.tree.map(lambda left, right: jnp.where(condition, left, right), if_true, if_false)


def draw_shared_mask(
    sampling: Sampling,
    seed: int,
    step: jax.Array,
    batch_size: int,
    frames: int,
    axis_name: str | None,
) -> jax.Array:
    """The rows of the mask that belong to this device's share of the batch.

    The mask is drawn for the whole batch on every device, so that the numbers do not depend on how
    many devices there are.

    Returns:
      bool `[batch_size, frames]`.
    """
    if axis_name is None:
        return draw_truth_mask(sampling, seed, step, batch_size, frames)
    devices = jax.lax.psum(1, axis_name)
    mask = draw_truth_mask(sampling, seed, step, batch_size * devices, frames)
    first = jax.lax.axis_index(axis_name) * batch_size
    return jax.lax.dynamic_slice_in_dim(mask, first, batch_size)
