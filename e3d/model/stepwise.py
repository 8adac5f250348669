"""Forecasters whose step is written out: from a frame and a state to the next frame."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.convolution import Kernel, prepare_kernels
from e3d.kernels.modes import Operations
from e3d.kernels.scan import scan_with_history
from e3d.model.fields import check_options, parameters_for
from e3d.model.forecaster import Forecaster, step_inputs
from e3d.model.network import StepInputs, choose_frame, in_own_precision
from e3d.model.patching import pad_to_patches
from e3d.options.option import option, same_option
from e3d.options.rules import SWITCH

# (weights, state, frame [B, H, W, C], operations) -> (state, prediction [B, H, W, C])
FrameStep = Callable[[Any, Any, jax.Array, Operations], tuple[Any, jax.Array]]


class StepwiseCarry(NamedTuple):
    """The state of a model, and its prediction of the coming frame, `[B, H, W, C]`."""

    state: Any
    prediction: jax.Array


class StepwiseForecaster(nn.Module):
    """A forecaster without a stack of cells; the base of those models.

    A subclass declares its parameters in `weights`, has a `step` and the state that it begins with.
    Step t sees x_t and predicts x_{t+1}; after the observed frames the prediction enters in place of
    x_t.

    Attributes:
      pad_frames: True pads frames by their last row and column to the multiples that the model needs
        and crops the predictions; False raises for such frames.
      dtype, precision, memory, noise_channels: as in `Forecaster`.
    """

    pad_frames: bool = option(
        False, 'pad frames to the multiples that are needed and crop the forecasts', SWITCH
    )
    dtype: str = same_option(Forecaster, 'dtype')
    precision: str = same_option(Forecaster, 'precision')
    memory: str = same_option(Forecaster, 'memory')
    noise_channels: int = same_option(Forecaster, 'noise_channels')

    kernel_init: ClassVar[nn.initializers.Initializer] = staticmethod(
        nn.initializers.glorot_uniform()
    )

    @property
    def multiple(self) -> int:
        """What height and width of the frames must be a multiple of."""
        return 1

    def weights(self, shape: tuple[int, int, int]) -> Any:
        """Declares the parameters for frames of this shape (H, W, C) and returns their tree."""
        raise NotImplementedError

    @nn.nowrap
    def initial_state(self, weights: Any, shape: tuple[int, int, int, int]) -> Any:
        """The state before the first frame, for frames of this shape `[B, H, W, C]`."""
        raise NotImplementedError

    @property
    def step(self) -> FrameStep:
        """A pure function that asks `operations` for each convolution.

        Frames are in the type of the parameters.
        """
        raise NotImplementedError

    def declare(
        self, name: str, size: int, channels: int, features: int, bias: bool = True, parts: int = 1
    ) -> dict[str, Any]:
        """Declares a 2D convolution of size x size, from `channels` to `features`.

        Its `parts` are initialized as convolutions of their own.
        """
        shape = (size, size, channels, features)
        layer = self.param(name, self._initial_layer, shape, bias, parts)
        kernel = layer['kernel']
        return layer | {'kernel': kernel[0, 0] if size == 1 else Kernel(kernel[None])}

    def _initial_layer(self, key, shape: tuple[int, ...], bias: bool = True, parts: int = 1):
        *size, features = shape
        keys = jax.random.split(key, parts) if parts > 1 else [key]
        kernels = [self.kernel_init(key, (*size, features // parts)) for key in keys]
        layer = {'kernel': jnp.concatenate(kernels, axis=-1)}
        return layer | ({'bias': jnp.zeros(features)} if bias else {})

    @in_own_precision
    def __call__(
        self,
        frames: jax.Array,
        output_frames: int,
        truth_mask: jax.Array | None = None,
        **more: Any,
    ) -> jax.Array:
        """Predicts every next frame, and `output_frames` frames beyond the observed ones.

        Arguments, result and errors are those of `Forecaster`. A model whose `needs` are `future_only`
        returns the forecast alone and takes no `truth_mask`. What its `roll_out` takes `more` is handed
        on to it.
        """
        check_options(self)
        inputs = step_inputs(frames, output_frames, truth_mask)
        height, width = inputs.frame.shape[2:4]
        inputs = inputs._replace(frame=self._fit(inputs.frame))
        if inputs.observed.ndim > 2:
            inputs = inputs._replace(observed=self._fit(inputs.observed))
        with parameters_for(inputs.frame.shape[1:]):
            weights = self.weights(inputs.frame.shape[2:])
        inputs = inputs._replace(frame=inputs.frame.astype(jax.tree.leaves(weights)[0].dtype))
        predictions = self.roll_out(weights, inputs, output_frames, **more)
        return jnp.moveaxis(predictions, 0, 1)[:, :, :height, :width]

    def _fit(self, frames: jax.Array) -> jax.Array:
        height, width = frames.shape[2:4]
        if not (height % self.multiple or width % self.multiple):
            return frames
        if not self.pad_frames:
            raise InputError(
                f'frames of {height} x {width}: height and width must be multiples of '
                f'{self.multiple}, or set pad_frames=True'
            )
        return pad_to_patches(frames, self.multiple)

    @nn.nowrap
    def roll_out(self, weights: Any, inputs: StepInputs, output_frames: int) -> jax.Array:
        """The predictions `[N, B, H, W, C]` of all steps, or of a `future_only` model the forecast."""
        shape = inputs.frame.shape[1:]
        carry = StepwiseCarry(
            self.initial_state(weights, shape), jnp.zeros(shape, inputs.frame.dtype)
        )
        return run_over_time(self.step, self.memory, weights, carry, inputs)[1]


def run_over_time(
    step: FrameStep, memory: str, weights: Any, carry: StepwiseCarry, inputs: StepInputs
) -> tuple[StepwiseCarry, jax.Array]:
    """Runs a step over all frames.

    Args:
      step: of a model.
      memory: 'save' or 'recompute'.
      weights: of the step.
      carry: before the first frame.
      inputs: of all steps, `[N, B, ...]`.

    Returns:
      The last carry, and the predictions `[N, B, H, W, C]`.
    """

    def advance(weights, carry, remembered, histories, inputs, operations):
        frame = choose_frame(inputs, carry.prediction)
        state, prediction = step(weights, carry.state, frame, operations)
        return StepwiseCarry(state, prediction), remembered, prediction

    weights = prepare_kernels(weights)
    carry, _, predictions = scan_with_history(advance, 1, memory, weights, carry, (), inputs)
    return carry, predictions
