"""The forecast that is measured: what a model makes of the part of a sequence that it may see."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from e3d.data.sources.layouts import Layout
from e3d.data.sources.scales import Bound
from e3d.evaluation.metrics import within
from e3d.model.beside import beside_frames, draw_noise, enter_at_once, enter_in_steps
from e3d.model.needs import call_in_use, needs_of
from e3d.tasks.losses import Batch
from e3d.tasks.schedules import NOISE, random_key


@dataclasses.dataclass(frozen=True)
class LayoutForecast:
    """The measured forecast of a model; of what comes before it sees what the layout has observed.

    Attributes:
      model: a forecaster, see `e3d.model.E3DLSTM`.
      layout: of the sequences.
      bounds: the least and the largest value there can be, see `Scale`.
    """

    model: nn.Module
    layout: Layout
    bounds: tuple[Bound, Bound]

    def __call__(self, variables: Any, batch: Batch) -> jax.Array:
        """Forecasts what follows the frames.

        Args:
          variables: of the model.
          batch: 'frames' `[B, layout.input_frames, H, W, C]`, and what else the model needs or the
            data have beside them, of all frames; for a model with noise 'noise', see `draw_futures`.

        Returns:
          `[B, layout.output_frames, H, W, C]`, within the bounds.
        """
        layout, frames, beside = self.layout, batch['frames'], beside_frames(batch)
        needs = needs_of(self.model)
        arguments: tuple[Any, ...]
        if needs.future_only:
            seen = enter_at_once(frames, layout.output_frames, beside)
            arguments = layout.seen_at_once(seen), layout.output_frames
        else:
            padding = [(0, 0)] * frames.ndim
            padding[1] = (0, layout.output_frames - 1)
            entering = jnp.broadcast_to(layout.entering, (len(frames), layout.later_frames - 1))
            inputs = enter_in_steps(jnp.pad(frames, padding), entering, frames.shape[1], beside)
            arguments = inputs.frames, layout.later_frames, inputs.truth_mask
        predictions = call_in_use(self.model, variables, arguments, batch, frames.shape[-1])
        predictions = predictions[..., : frames.shape[-1]]
        return within(predictions[:, -layout.output_frames :], self.bounds)


@functools.partial(jax.jit, static_argnames=('steps', 'frame_shape', 'channels'))
def draw_futures(
    numbers: jax.Array, steps: int, frame_shape: tuple[int, int, int], channels: int
) -> jax.Array:
    """The random numbers of a model with noise that is used, whatever its seed: runs are measured alike.

    They are drawn for whole frames, from which tiles are cut: so those that overlap see the same numbers
    where they do, and those that do not see others.

    Args:
      numbers: of the sequence and of the member, int `[B, 2]`.
      steps: frames that are seen and forecast, N.
      frame_shape: (H, W, C).
      channels: K.

    Returns:
      Float32 `[B, N, H, W, K]`.
    """
    return draw_noise(random_key(0, NOISE), numbers, steps, frame_shape, channels)
