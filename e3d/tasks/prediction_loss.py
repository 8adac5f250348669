"""What the training of a forecaster minimizes (paper, equation 3), under scheduled sampling."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from e3d.data.sources.layouts import layout_of
from e3d.data.sources.scales import PIXELS, Scale
from e3d.model.beside import beside_frames, draw_noise, enter_at_once, enter_in_steps
from e3d.model.needs import Needs, Training, call_in_training, needs_of
from e3d.tasks.losses import Batch, LossFunction, Objective, Outcome, forecast_loss
from e3d.tasks.schedules import (
    DROPPING,
    NOISE,
    Sampling,
    draw_shared_mask,
    place_in_batch,
    random_key,
    truth_probability,
)


def build_loss(config: ConfigDict, model: nn.Module, scale: Scale = PIXELS) -> LossFunction:
    """Equation 3 under scheduled sampling, as a config has them, and what the model adds to it.

    A model with `noise_channels` forecasts each sequence twice, with other random numbers; the errors
    are means over both.

    Reports 'l2', 'l1', the terms of the model by name, and 'truth_probability', how often true
    frames enter during the forecast.
    """
    objective, sampling = Objective(**config.loss), Sampling(**config.sampling)
    seed, layout, needs = config.seed, layout_of(config.dataset), needs_of(model)
    levels = np.array([scale.from_unit(value) for value in objective.balance_thresholds])

    def loss(variables: Any, batch: Batch, step: jax.Array, axis_name: str | None) -> Any:
        size, truth_mask, metrics = len(batch['frames']), None, {}
        training = Training(axis_name, draws=2 if needs.noise else 1)
        if not needs.future_only:
            truth_mask = draw_shared_mask(sampling, seed, step, size, layout, axis_name)
            metrics['truth_probability'] = truth_probability(sampling, step)
        if needs.noise:
            batch, truth_mask = jax.tree.map(lambda x: jnp.concatenate([x, x]), (batch, truth_mask))
            batch['noise'] = draw_two(seed, step, size, batch['frames'].shape, needs, axis_name)
        frames, beside = batch['frames'], beside_frames(batch)
        arguments: tuple[Any, ...]
        truth = frames
        if truth_mask is None:
            before, after = jnp.split(frames, [layout.input_frames], axis=1)
            seen = enter_at_once(before, layout.output_frames, beside)
            arguments = layout.seen_at_once(seen), layout.output_frames
            truth = jnp.concatenate([layout.seen_at_once(before), after], axis=1)
        else:
            entering = enter_in_steps(frames[:, :-1], truth_mask, layout.input_frames, beside)
            arguments = entering.frames, truth_mask.shape[1] + 1, entering.truth_mask
        key = jax.random.fold_in(random_key(seed, DROPPING), step) if needs.training else None
        predictions, terms, collections = call_in_training(
            model, variables, arguments, batch, truth, key, training
        )
        predictions = predictions[..., : frames.shape[-1]]
        valid = batch.get('valid')
        value, parts = forecast_loss(
            objective, predictions, frames, layout, step, valid, axis_name, levels
        )
        return value + sum(terms.values()), Outcome(parts | terms | metrics, collections)

    return loss


def draw_two(
    seed: int,
    step: jax.Array,
    size: int,
    shape: tuple[int, ...],
    needs: Needs,
    axis_name: str | None,
) -> jax.Array:
    """Two draws of noise for the sequences of a batch, `[2 B, T, H, W, K]`, those of this device.

    A draw belongs to a place in the whole batch, see `place_in_batch`.
    """
    first, _ = place_in_batch(size, axis_name)
    places = first + jnp.arange(size)
    numbers = jnp.stack([jnp.tile(places, 2), jnp.repeat(jnp.arange(2), size)], axis=-1)
    key = jax.random.fold_in(random_key(seed, NOISE), step)
    return draw_noise(key, numbers, shape[1], shape[2:], needs.noise)
