"""MCnet, motion and content decomposed (Villegas et al., ICLR 2017).

A motion encoder sees the difference d of the two newest frames, a content encoder the newest frame;
their combination is decoded into the next one. All convolutions have stride 1 and a bias, w = 64:

    part         layers                                                                     parameters
    motion       conv 5 x 5, w | pool | conv 5 x 5, 2 w | pool | conv 7 x 7, 4 w | pool     1,812,480
                 with ReLUs, then a ConvLSTM 3 x 3, 4 w (`update_lstm`)                     4,719,616
    content      [conv 3 x 3, w] x 2 | pool | [2 w] x 2 | pool | [4 w] x 3 | pool; ReLUs    1,734,336
    combination  of both: conv 3 x 3, 4 w, 2 w, 4 w; ReLUs                                  1,770,112
    residuals    at each of the three scales, of what both encoders have before the pool:
                 conv 3 x 3, ReLU, conv 3 x 3                                               2,323,328
    decoder      at each scale: unpool, + residual, ReLU, then conv 3 x 3 with ReLUs,
                 4 w, 4 w, 2 w | 2 w, w | w, C; after the last a tanh                       1,734,081

A pool takes the largest of 2 x 2; unpool puts a value at the top left of 2 x 2 zeros. Differences are
of gray frames in [0, 1], without what is beside the frames; content encoder and decoder have all
channels, frames in [-1, 1]. 14,093,953 parameters for gray frames, 14,096,259 for three colors.

Roll-out: the K - 1 differences of the input go through motion encoder and ConvLSTM; forecast 1 is of
the last of them and x_K. Then the forecast takes the place of the newest frame.

Loss, beside the squared error of the config (of frames in [-1, 1] in the paper: `loss.l2_weight=4`):

    L_gdl = mean of | |dx x^| - |dx x| | + | |dy x^| - |dy x| |     of frames in [0, 1]; differences are
                                                                    to the next pixel, at the end to 0
    L_gan = cross-entropy of 1 and the discriminator's logit for the input and the forecast

`gradient_difference` weighs the first, `adversarial_weight` the second; with 0 there is no
discriminator, and the model is deterministic. The discriminator (`adversary.py`) has an optimizer of its
own, with the same settings, and 4,368,321 parameters for 20 gray frames of 128 x 128.

Sources: the paper, and the authors' code (github.com/rubenvillegas/iclr2017mcnet), from which are the
unpool and the rule by which a network rests. There the discriminator is updated before the generator,
and its errors are measured again after both; here both are updated from one pass, whose errors decide
about the next update.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.convolution import prepare_kernels
from e3d.kernels.modes import Operations
from e3d.kernels.scan import scan_with_history
from e3d.model.adversary import Discriminator, cross_entropy, updated_next
from e3d.model.fields import check_options
from e3d.model.layers import Layer, LSTMState, convolve, max_pool, update_lstm
from e3d.model.needs import NETWORKS, Needs, Training
from e3d.model.network import StepInputs
from e3d.model.registry import register_forecaster
from e3d.model.stepwise import StepwiseForecaster
from e3d.options.option import option
from e3d.options.rules import MOST_FEATURES, number, whole

_GRAY = (0.299, 0.587, 0.114)
_FLAGS = ('update_main', 'update_discriminator')

Maps = list[jax.Array]


class MotionState(NamedTuple):
    """Between two frames.

    Attributes:
      lstm: of the ConvLSTM.
      gray: the frame before, `[B, H, W, 1]` in [0, 1].
    """

    lstm: LSTMState
    gray: jax.Array


class RollOutState(NamedTuple):
    """The same, and the newest frame, which was not seen yet, `[B, H, W, C]` in [0, 1]."""

    motion: MotionState
    frame: jax.Array


def to_gray(frames: jax.Array) -> jax.Array:
    """`[..., C]` to `[..., 1]`: the luma of three colors, or else the mean of the channels."""
    if frames.shape[-1] != len(_GRAY):
        return frames.mean(-1, keepdims=True)
    return (frames * jnp.asarray(_GRAY, frames.dtype)).sum(-1, keepdims=True)


def unpool(inputs: jax.Array) -> jax.Array:
    """Each value at the top left of 2 x 2 zeros: `[B, H, W, C]` to `[B, 2 H, 2 W, C]`."""
    spread = (0, 1, 1)
    return jax.lax.pad(inputs, jnp.zeros((), inputs.dtype), ((0, 0, 0), spread, spread, (0, 0, 0)))


def _layers(
    layers: list[Layer], inputs: jax.Array, operations: Operations, last=jax.nn.relu
) -> jax.Array:
    """Convolutions with a ReLU after each but the last, which has another."""
    for layer in layers[:-1]:
        inputs = jax.nn.relu(convolve(layer, inputs, operations))
    return last(convolve(layers[-1], inputs, operations))


def _encode(
    scales: list[list[Layer]], inputs: jax.Array, operations: Operations
) -> tuple[Maps, jax.Array]:
    """An encoder: what it has at each scale before the pool, and after the last."""
    maps = []
    for layers in scales:
        maps.append(_layers(layers, inputs, operations))
        inputs = max_pool(maps[-1])
    return maps, inputs


def watch(
    channels: int,
    weights: dict[str, Any],
    state: MotionState,
    frame: jax.Array,
    operations: Operations,
) -> tuple[MotionState, Maps]:
    """Motion encoder and ConvLSTM: takes in a frame; the new state, and the maps for the residuals.

    Motion is that of the first `channels`: what is beside them is no picture.
    """
    gray = to_gray(frame[..., :channels])
    difference = (gray - state.gray).astype(state.lstm.hidden.dtype)
    maps, outputs = _encode(weights['motion'], difference, operations)
    return MotionState(update_lstm(weights['lstm'], state.lstm, outputs, operations), gray), maps


def forecast_step(
    channels: int, weights: dict[str, Any], state: RollOutState, operations: Operations
) -> tuple[RollOutState, jax.Array]:
    """Takes in the newest frame and forecasts the next, `[B, H, W, C]` in [0, 1]."""
    motion, motion_maps = watch(channels, weights, state.motion, state.frame, operations)
    hidden = motion.lstm.hidden
    frame = (state.frame * 2 - 1).astype(hidden.dtype)
    content_maps, content = _encode(weights['content'], frame, operations)
    joined = jnp.concatenate([hidden, content], axis=-1)
    outputs = _layers(weights['combination'], joined, operations)
    for scale in (2, 1, 0):
        joined = jnp.concatenate([motion_maps[scale], content_maps[scale]], axis=-1)
        residual = _layers(weights['residuals'][scale], joined, operations, last=lambda maps: maps)
        outputs = jax.nn.relu(unpool(outputs) + residual)
        last = jax.nn.relu if scale else jnp.tanh
        outputs = _layers(weights['decoder'][scale], outputs, operations, last)
    forecast = (outputs.astype(state.frame.dtype) + 1) / 2
    return RollOutState(motion, forecast), forecast


def _watch_step(channels, weights, state, remembered, histories, frame, operations):
    return watch(channels, weights, state, frame, operations)[0], remembered, ()


def _forecast_step(channels, weights, state, remembered, histories, _, operations):
    state, forecast = forecast_step(channels, weights, state, operations)
    return state, remembered, forecast


def gradient_difference(forecast: jax.Array, truth: jax.Array) -> jax.Array:
    """L_gdl of frames `[..., H, W, C]` in [0, 1]."""

    def steps(frames, axis):
        padding = [(0, 0)] * frames.ndim
        padding[axis] = (0, 1)
        return jnp.abs(jnp.diff(jnp.pad(frames, padding), axis=axis % frames.ndim))

    return sum(jnp.abs(steps(forecast, axis) - steps(truth, axis)).mean() for axis in (-3, -2))


@register_forecaster('mcnet')
class MCnet(StepwiseForecaster):
    """Motion-content network.

    Attributes:
      features: channels w of the first convolutions.
      adversarial_weight: of the adversarial term of the loss; 0: no discriminator.
      gradient_difference: weight of L_gdl.
      pad_frames, dtype, precision, memory: as in `StepwiseForecaster`. Height and width must be
        multiples of 8.
    """

    features: int = option(64, 'channels of the first convolutions', whole(1, MOST_FEATURES))
    adversarial_weight: float = option(0.02, 'of the adversarial term; 0: none', number(0))
    gradient_difference: float = option(1.0, 'weight of the gradient difference loss', number(0))

    def setup(self):
        """The discriminator."""
        if self.adversarial_weight:
            self.discriminator = Discriminator(self.features)

    @property
    def needs(self) -> Needs:
        """The future only, which channels are frames, a loss and an optimizer of its own."""
        return Needs(
            future_only=True,
            feeds_back='frame',
            channels=True,
            bounded=True,
            losses=bool(self.adversarial_weight or self.gradient_difference),
            networks=('discriminator',) if self.adversarial_weight else (),
        )

    @property
    def multiple(self) -> int:
        """What three pools ask for."""
        return 8

    @nn.compact
    def weights(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Declares the layers, by the part and the scale that they belong to."""
        w, channels = self.features, shape[-1]

        def layers(name, size, inputs, *features):
            widths = zip((inputs, *features[:-1]), features, strict=True)
            return [
                self.declare(f'{name}_{place}', size, *pair) for place, pair in enumerate(widths)
            ]

        scales = ((0, w), (1, 2 * w), (2, 4 * w))
        return {
            'motion': [
                layers('motion_0', 5, 1, w),
                layers('motion_1', 5, w, 2 * w),
                layers('motion_2', 7, 2 * w, 4 * w),
            ],
            'lstm': self.declare('lstm', 3, 8 * w, 16 * w),
            'content': [
                layers('content_0', 3, channels, w, w),
                layers('content_1', 3, w, 2 * w, 2 * w),
                layers('content_2', 3, 2 * w, 4 * w, 4 * w, 4 * w),
            ],
            'combination': layers('combination', 3, 8 * w, 4 * w, 2 * w, 4 * w),
            'residuals': [layers(f'residual_{n}', 3, 2 * size, size, size) for n, size in scales],
            'decoder': [
                layers('decoder_0', 3, w, w, channels),
                layers('decoder_1', 3, 2 * w, 2 * w, w),
                layers('decoder_2', 3, 4 * w, 4 * w, 4 * w, 2 * w),
            ],
        }

    @nn.nowrap
    def initial_state(self, weights: Any, shape: tuple[int, int, int, int]) -> LSTMState:
        """Zeros."""
        batch, height, width, _ = shape
        zeros = jnp.zeros((batch, height // 8, width // 8, 4 * self.features), self.dtype)
        return LSTMState(zeros, zeros)

    @nn.nowrap
    def roll_out(
        self, weights: Any, inputs: StepInputs, output_frames: int, channels: int
    ) -> jax.Array:
        """The forecast, `[output_frames, B, H, W, C]`."""
        observed = inputs.frame[: len(inputs.frame) - (output_frames - 1)]
        lstm = self.initial_state(weights, observed.shape[1:])
        state = MotionState(lstm, to_gray(observed[0, ..., :channels]))
        weights = prepare_kernels(weights)
        watch_step, step = (functools.partial(s, channels) for s in (_watch_step, _forecast_step))
        if len(observed) > 2:
            state, _, _ = scan_with_history(
                watch_step, 1, self.memory, weights, state, (), observed[1:-1]
            )
        start, steps = RollOutState(state, observed[-1]), jnp.arange(output_frames)
        _, _, forecast = scan_with_history(step, 1, self.memory, weights, start, (), steps)
        return forecast

    def __call__(
        self, frames: jax.Array, output_frames: int, channels: int | None = None
    ) -> jax.Array:
        """Forecasts so many frames, `[B, output_frames, H, W, C]`, as `StepwiseForecaster` does.

        Args:
          frames: as there.
          output_frames: as there.
          channels: see `Needs`; None: all but those of random numbers.
        """
        if channels is None:
            check_options(self)
            channels = frames.shape[-1] - self.noise_channels
        forecast = super().__call__(frames, output_frames, channels=channels)
        if self.is_initializing() and self.adversarial_weight:
            # It sees frames alone, without the random numbers beside them.
            self.discriminator(_whole(frames, forecast)[..., :channels])
            for name in _FLAGS:
                self.put_variable(NETWORKS, name, jnp.array(True))
        return forecast

    def extra_losses(
        self, predictions: jax.Array, frames: jax.Array, training: Training
    ) -> dict[str, jax.Array]:
        """The gradient difference loss, and what the two networks do to each other.

        Args:
          predictions: the forecast, `[B, T_out, H, W, C]`.
          frames: the true sequences.
          training: of the update.

        Returns:
          'gradient_difference', and with a discriminator 'adversarial', of the generator alone, and
          'discriminator', of the discriminator alone.
        """
        seen = frames.shape[1] - predictions.shape[1]
        terms = {
            'gradient_difference': self.gradient_difference
            * gradient_difference(predictions, frames[:, seen:])
        }
        if not self.adversarial_weight:
            return terms
        axis_name = training.axis_name
        forecast = _whole(frames[:, :seen], predictions)
        fixed = jax.lax.stop_gradient(self.discriminator.variables)
        logits = Discriminator(self.features, parent=None).apply(fixed, forecast, axis_name)
        real, fake = (
            cross_entropy(self.discriminator(jax.lax.stop_gradient(sequences), axis_name), are_true)
            for sequences, are_true in ((frames * 2 - 1, True), (forecast, False))
        )
        self._rest(real, fake, axis_name)
        return terms | {
            'adversarial': self.adversarial_weight * cross_entropy(logits, True),
            'discriminator': real + fake,
        }

    def _rest(self, real: jax.Array, fake: jax.Array, axis_name: str | None) -> None:
        """Notes which networks the next update is for."""
        errors = real, fake
        if axis_name is not None:
            errors = jax.lax.pmean(errors, axis_name)
        updates = tuple(self.get_variable(NETWORKS, name) for name in _FLAGS)
        for name, value in zip(_FLAGS, updated_next(updates, errors), strict=True):
            self.put_variable(NETWORKS, name, value)


def _whole(seen: jax.Array, forecast: jax.Array) -> jax.Array:
    """Input and forecast as one sequence in [-1, 1]."""
    return jnp.concatenate([seen.astype(forecast.dtype), forecast], axis=1) * 2 - 1
