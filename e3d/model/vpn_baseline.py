"""The baseline of the video pixel network (Kalchbrenner et al., ICML 2017).

What of the network is left without dependencies between the pixels of a frame: an encoder and a decoder
that keep the resolution, around a ConvLSTM.

    MU(h)  = g1 . tanh(g2 . h + g3 . u)         g1, g2, g3 = sigmoid(W*h + b), u = tanh(W*h + b),
                                                each with its own W, 3 x 3, from c to c channels
    RMB(h) = h + conv(MU(MU(conv(h))))          convs 1 x 1, from 2 c to c and back, linear

    frame -> conv 1 x 1, C to 2 c -> 8 RMBs -> ConvLSTM 3 x 3, 2 c -> 12 RMBs -> conv 1 x 1, 2 c to C

The ConvLSTM has one convolution (`update_lstm`). With c = 128: 590,336 parameters in an MU, 1,246,592 in
an RMB, 4,719,616 in the ConvLSTM, 29,652,225 in all for gray frames. That is 121 billion products for a
frame of 64 x 64; on patches of 4 x 4 and with c = 96, as PredCNN has these blocks, it is 16,690,768
parameters and 4 billion products.

Sources: the paper for the blocks and their number, the code of PredCNN (github.com/xzr12/PredCNN) for
their form. The head is linear, for frames of real values, in place of 768 channels and a distribution of
each pixel.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.modes import Operations
from e3d.model.layers import Layer, LSTMState, convolve, update_lstm
from e3d.model.patching import from_patches, to_patches
from e3d.model.registry import register_forecaster
from e3d.model.stepwise import FrameStep, StepwiseForecaster
from e3d.options.option import option
from e3d.options.rules import MOST_FEATURES, MOST_LAYERS, MOST_PIXELS, whole


def multiplicative_unit(layer: Layer, inputs: jax.Array, operations: Operations) -> jax.Array:
    """MU, `[B, H, W, c]` to the same; the layer has g1, g2, g3 and u in this order."""
    *gates, update = jnp.split(convolve(layer, inputs, operations), 4, axis=-1)
    first, second, third = (jax.nn.sigmoid(gate) for gate in gates)
    return first * jnp.tanh(second * inputs + third * jnp.tanh(update))


def residual_block(block: dict[str, Layer], inputs: jax.Array, operations: Operations) -> jax.Array:
    """RMB, `[B, H, W, 2 c]` to the same."""
    outputs = convolve(block['narrow'], inputs, operations)
    outputs = multiplicative_unit(block['first'], outputs, operations)
    outputs = multiplicative_unit(block['second'], outputs, operations)
    return inputs + convolve(block['widen'], outputs, operations)


def forecast_step(
    weights: dict[str, Any], state: LSTMState, frame: jax.Array, operations: Operations
) -> tuple[LSTMState, jax.Array]:
    """From the state and the newest frame to the new state and the prediction of the next one."""
    side = round((weights['stem']['kernel'].shape[-2] // frame.shape[-1]) ** 0.5)
    outputs = to_patches(frame, side).astype(state.hidden.dtype)
    outputs = convolve(weights['stem'], outputs, operations)
    for block in weights['encoder']:
        outputs = residual_block(block, outputs, operations)
    state = update_lstm(weights['lstm'], state, outputs, operations)
    outputs = state.hidden
    for block in weights['decoder']:
        outputs = residual_block(block, outputs, operations)
    prediction = convolve(weights['head'], outputs, operations)
    return state, from_patches(prediction.astype(frame.dtype), side)


@register_forecaster('vpn_baseline')
class VPNBaseline(StepwiseForecaster):
    """Baseline of the video pixel network.

    Attributes:
      features: c, half of the channels of the ConvLSTM.
      patch_size: side of the patches that it works on; 1 is the paper's full resolution.
      encoder_blocks: residual multiplicative blocks before the ConvLSTM.
      decoder_blocks: the same after it.
      pad_frames, dtype, memory: as in `StepwiseForecaster`. Height and width must be multiples of
        `patch_size`.
    """

    features: int = option(128, 'half of the channels of the ConvLSTM', whole(1, MOST_FEATURES))
    patch_size: int = option(
        1, 'side of a patch, pixels; 1: full resolution', whole(1, MOST_PIXELS)
    )
    encoder_blocks: int = option(8, 'residual blocks before the ConvLSTM', whole(0, MOST_LAYERS))
    decoder_blocks: int = option(12, 'residual blocks after it', whole(0, MOST_LAYERS))

    step: ClassVar[FrameStep] = staticmethod(forecast_step)

    @property
    def multiple(self) -> int:
        """A patch."""
        return self.patch_size

    @nn.compact
    def weights(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Declares stem, blocks, ConvLSTM and head."""
        width, channels = 2 * self.features, self.patch_size**2 * shape[-1]
        return {
            'stem': self.declare('stem', 1, channels, width),
            'encoder': [self._declare_block(f'encoder_{n}') for n in range(self.encoder_blocks)],
            'lstm': self.declare('lstm', 3, 2 * width, 4 * width),
            'decoder': [self._declare_block(f'decoder_{n}') for n in range(self.decoder_blocks)],
            'head': self.declare('head', 1, width, channels),
        }

    def _declare_block(self, name: str) -> dict[str, Layer]:
        c = self.features
        return {
            'narrow': self.declare(f'{name}_narrow', 1, 2 * c, c),
            'first': self.declare(f'{name}_first', 3, c, 4 * c, parts=4),
            'second': self.declare(f'{name}_second', 3, c, 4 * c, parts=4),
            'widen': self.declare(f'{name}_widen', 1, c, 2 * c),
        }

    @nn.nowrap
    def initial_state(self, weights: Any, shape: tuple[int, int, int, int]) -> LSTMState:
        """Zeros."""
        batch, height, width, _ = shape
        side = self.patch_size
        zeros = jnp.zeros((batch, height // side, width // side, 2 * self.features), self.dtype)
        return LSTMState(zeros, zeros)
