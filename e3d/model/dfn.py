"""Dynamic Filter Network (De Brabandere et al., NeurIPS 2016), with dynamic local filtering.

A network looks at the newest frame and at what it keeps of the earlier ones, h, and generates a filter
for each pixel, which is applied to the newest frame:

    #       layer                                               output, of 64 x 64      parameters
    1       conv 3 x 3, 32                                      64 x 64 x 32            320
    2       conv 3 x 3, 32, stride 2, a zero on each side       32 x 32 x 32            9,248
    3, 4    conv 3 x 3, 64, twice                               32 x 32 x 64            18,496 + 36,928
    5       conv 3 x 3, 128: a                                  32 x 32 x 128           73,856
    6, 7    conv 3 x 3, 128, twice, of the h before: b          32 x 32 x 128           147,584 x 2
            h = a + b                                           32 x 32 x 128
    8, 9    conv 3 x 3, 64, twice                               32 x 32 x 64            73,792 + 36,928
            each pixel repeated, 2 x 2                          64 x 64 x 64
    10, 11  conv 3 x 3, 64, twice                               64 x 64 x 64            36,928 x 2
    12      conv 1 x 1, 128                                     64 x 64 x 128           8,320
    13      conv 1 x 1, 81, linear                              64 x 64 x 81            10,449
            F = softmax over the 81                             64 x 64 x 81

    y[i, j] = sum over a, b = 0..8 of F[i, j, 9 a + b] x[i + a - 4, j + b - 4],     x = 0 outside

Every convolution has a bias; a leaky ReLU of slope 0.01 follows each but the last. h begins at zero.
With colors the filters are the same for each channel. 637,361 parameters in all, as the authors count.

Sources: the paper, and the authors' code for moving digits (github.com/dbbert/dfn,
model_bouncingMnistOriginal.py). From that code are the padding of layer 2, initial kernels that are
uniform within sqrt(3 / fan-in), and that neither a bias nor a refinement follows the filtering. As
there, what is near the border fades, for x is 0 outside.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.local_filters import filter_locally
from e3d.kernels.modes import Operations
from e3d.model.layers import convolve, repeat, shrink, strided
from e3d.model.registry import register_forecaster
from e3d.model.stepwise import FrameStep, StepwiseForecaster
from e3d.options.option import option
from e3d.options.rules import MOST_FEATURES, one_of, whole

_PADDING = 1  # before the rows and columns of layer 2


def generate_filters(
    weights: dict[str, Any], hidden: jax.Array, frame: jax.Array, operations: Operations
) -> tuple[jax.Array, jax.Array]:
    """The filter-generating network: from h and a frame to the new h and F, `[B, H, W, k * k]`."""

    def layers(outputs, *numbers):
        for number in numbers:
            outputs = convolve(weights[f'conv_{number}'], outputs, operations)
            outputs = jax.nn.leaky_relu(outputs, 0.01)
        return outputs

    outputs = layers(frame.astype(hidden.dtype), 1)
    outputs = shrink(weights['conv_2'], outputs, _PADDING, operations)
    outputs = layers(jax.nn.leaky_relu(outputs, 0.01), 3, 4, 5)
    hidden = outputs + layers(hidden, 6, 7)
    outputs = repeat(layers(hidden, 8, 9))
    logits = convolve(weights['conv_13'], layers(outputs, 10, 11, 12), operations)
    return hidden, jax.nn.softmax(logits.astype(frame.dtype))


def forecast_step(
    weights: dict[str, Any], hidden: jax.Array, frame: jax.Array, operations: Operations
) -> tuple[jax.Array, jax.Array]:
    """From h and the newest frame to the new h and the prediction of the next one."""
    hidden, filters = generate_filters(weights, hidden, frame, operations)
    return hidden, filter_locally(frame, filters)


@register_forecaster('dfn')
class DFN(StepwiseForecaster):
    """Dynamic Filter Network.

    Attributes:
      features: channels of h; the other layers have a half and a quarter of them.
      filter_size: side of the generated filters, odd.
      pad_frames, dtype, memory: as in `StepwiseForecaster`. Height and width must be even.
    """

    features: int = option(128, 'channels of the hidden state', whole(4, MOST_FEATURES))
    filter_size: int = option(9, 'side of the generated filters', one_of(*range(1, 33, 2)))

    kernel_init: ClassVar[nn.initializers.Initializer] = staticmethod(
        nn.initializers.variance_scaling(1.0, 'fan_in', 'uniform')
    )
    multiple: ClassVar[int] = 2
    step: ClassVar[FrameStep] = staticmethod(forecast_step)

    @nn.compact
    def weights(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Declares the layers by their numbers."""
        full, half, quarter = self.features, self.features // 2, self.features // 4
        channels = [shape[-1], quarter, quarter, half, half]  # of layers 1 to 5
        channels += [full, full, full, half, half, half, half, full]  # of layers 6 to 13
        features = [quarter, quarter, half, half, full, full, full, half, half, half, half, full]
        features.append(self.filter_size**2)
        weights = {
            f'conv_{number}': self.declare(f'conv_{number}', 1 if number > 11 else 3, *widths)
            for number, widths in enumerate(zip(channels, features, strict=True), 1)
        }
        return weights | {'conv_2': strided(weights['conv_2'], _PADDING)}

    @nn.nowrap
    def initial_state(self, weights: Any, shape: tuple[int, int, int, int]) -> jax.Array:
        """Zeros."""
        batch, height, width, _ = shape
        return jnp.zeros((batch, height // 2, width // 2, self.features), self.dtype)
