"""FRNN, the folded recurrent network (Oliu, Selva and Escalera, ECCV 2018).

Encoder and decoder share their states: each layer is a bijective ConvGRU between a lower state x and an
upper state s, which can be run in both directions.

    up    g1 = sigmoid(W1*[x, s])   g2 = sigmoid(W2*[x, s])   g3 = tanh(W3*[x, s . g1])
          s <- g2 . g3 + (1 - g2) . s
    down  g1 = sigmoid(V1*[x, s])   g2 = sigmoid(V2*[x, s])   g3 = tanh(V3*[x . g1, s])
          x <- g2 . g3 + (1 - g2) . x

    layer                               up                              down
    conv 5 x 5, C to 32, 32 to 64       y = tanh(K*x + b)               x = tanh(K'*y + b')
    pool                                largest of 2 x 2                each pixel repeated, 2 x 2
    bGRU 1, 2: 5 x 5, 64, 128, 128      s as above                      x as above
    pool; bGRU 3, 4: 5 x 5, 256, 256
    pool; bGRU 5, 6: 3 x 3, 512, 512
    pool; bGRU 7, 8: 3 x 3, 256, 256

K' is the transpose of K: the same kernel, mirrored, with its channels exchanged. Every other convolution
has a kernel of its own; all have a bias and pad with zeros. Frames are scaled to [-1, 1].

    input       of each frame: convolutions and pool, then s_l <- up(x_l, s_l) from the bottom up,
                where x_{l+1} is s_l, or its pool
    prediction  of each frame: x_8 <- down(x_8, s_8), x_l <- down(x_l, x_{l+1}) from the top down, where
                x_{l+1} is repeated if there is a pool; then the convolutions backwards: the frame. Then
                s_8 <- up(x_8, s_8)

So in the second phase only the top state moves upwards; predictions are never encoded again, and what a
forecast costs does not depend on the length of the input. Before the first frame every s_l has a learned
value for each channel.

105,705,313 parameters for gray frames, and 2,304 initial values.

Sources: the paper, and the authors' code (github.com/moliusimon/frnn). From the code are the shared
kernels, the states that the second phase uses, the learned initial values, and initial kernels with
orthonormal columns, scaled to a standard deviation of 2 / sqrt(fan-in + fan-out).

As it forecasts without feeding frames back, there is no scheduled sampling, and the loss is of the
forecast frames.
"""

import math
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.convolution import Kernel, prepare_kernels
from e3d.kernels.modes import Operations
from e3d.kernels.scan import scan_with_history
from e3d.model.layers import Layer, convolve, max_pool, repeat
from e3d.model.needs import Needs
from e3d.model.network import StepInputs
from e3d.model.registry import register_forecaster
from e3d.model.stepwise import StepwiseForecaster
from e3d.options import rules
from e3d.options.option import option

_CONVOLUTIONS = (32, 64)
# Side of the kernels and channels of each bijective ConvGRU; there is a pool before each first of two.
_CELLS = ((5, 128), (5, 128), (5, 256), (5, 256), (3, 512), (3, 512), (3, 256), (3, 256))

Arrays = tuple[jax.Array, ...]


class InputState(NamedTuple):
    """Between two frames of the input.

    Attributes:
      lowest: x_1, `[B, h, w, 64]`.
      upper: s_1 to s_8.
    """

    lowest: jax.Array
    upper: Arrays


class PredictionState(NamedTuple):
    """Between two frames of the forecast: x_1 to x_8, and s_8."""

    lower: Arrays
    top: jax.Array


def update_up(
    cell: dict[str, Layer], lower: jax.Array, upper: jax.Array, operations: Operations
) -> jax.Array:
    """The new s of a bijective ConvGRU."""
    gates = convolve(cell['up_gates'], jnp.concatenate([lower, upper], -1), operations)
    reset, update = jnp.split(jax.nn.sigmoid(gates), 2, axis=-1)
    joined = jnp.concatenate([lower, upper * reset], -1)
    candidate = jnp.tanh(convolve(cell['up_candidate'], joined, operations))
    return update * candidate + (1 - update) * upper


def update_down(
    cell: dict[str, Layer], lower: jax.Array, upper: jax.Array, operations: Operations
) -> jax.Array:
    """The new x of a bijective ConvGRU."""
    gates = convolve(cell['down_gates'], jnp.concatenate([lower, upper], -1), operations)
    reset, update = jnp.split(jax.nn.sigmoid(gates), 2, axis=-1)
    joined = jnp.concatenate([lower * reset, upper], -1)
    candidate = jnp.tanh(convolve(cell['down_candidate'], joined, operations))
    return update * candidate + (1 - update) * lower


def encode(
    weights: dict[str, Any], state: InputState, frame: jax.Array, operations: Operations
) -> InputState:
    """Takes in a frame."""
    outputs = frame.astype(state.lowest.dtype) * 2 - 1
    for layer in weights['convolutions']:
        outputs = jnp.tanh(convolve(layer['up'], outputs, operations))
    lowest = max_pool(outputs)
    upper: list[jax.Array] = []
    for number, (cell, before) in enumerate(zip(weights['cells'], state.upper, strict=True)):
        lower = _pass_on(number, upper[-1]) if upper else lowest
        upper.append(update_up(cell, lower, before, operations))
    return InputState(lowest, tuple(upper))


def _is_after_pool(number: int) -> bool:
    return number % 2 == 0


def _pass_on(number: int, upper: jax.Array) -> jax.Array:
    """What this layer sees of s of the one below."""
    return max_pool(upper) if _is_after_pool(number) else upper


def fold(state: InputState) -> PredictionState:
    """The same states as the second phase begins with them."""
    passed = (_pass_on(number, upper) for number, upper in enumerate(state.upper[:-1], 1))
    return PredictionState((state.lowest, *passed), state.upper[-1])


def decode(
    weights: dict[str, Any], state: PredictionState, operations: Operations
) -> tuple[PredictionState, jax.Array]:
    """The next frame `[B, H, W, C]` in [0, 1], and the state after it."""
    lower, above = [], state.top
    numbered = list(enumerate(zip(weights['cells'], state.lower, strict=True)))
    for number, (cell, before) in reversed(numbered):
        lower.insert(0, update_down(cell, before, above, operations))
        above = repeat(lower[0]) if _is_after_pool(number) else lower[0]
    for layer in reversed(weights['convolutions']):
        above = jnp.tanh(convolve(layer['down'], above, operations))
    top = update_up(weights['cells'][-1], lower[-1], state.top, operations)
    return PredictionState(tuple(lower), top), (above + 1) / 2


def _encode_step(weights, state, remembered, histories, frame, operations):
    return encode(weights, state, frame, operations), remembered, ()


def _decode_step(weights, state, remembered, histories, _, operations):
    state, prediction = decode(weights, state, operations)
    return state, remembered, prediction


def scaled_orthonormal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Kernels with orthonormal columns, scaled to a deviation of 2 / sqrt(fan-in + fan-out)."""
    *field, channels, features = shape
    rows, area = math.prod(shape[:-1]), math.prod(field)
    scale = 2 * math.sqrt(rows / (area * (channels + features)))
    return nn.initializers.orthogonal(scale)(key, shape)


@register_forecaster('frnn')
class FRNN(StepwiseForecaster):
    """Folded recurrent network.

    Attributes:
      width: multiple of the paper's numbers of channels. 0.35 has about as many parameters as E3D-LSTM
        at the size of its paper.
      pad_frames, dtype, memory: as in `StepwiseForecaster`. Height and width must be multiples of 16.
    """

    width: float = option(1.0, "multiple of the paper's channels", rules.number(0, 8, above=True))

    kernel_init: ClassVar[nn.initializers.Initializer] = staticmethod(scaled_orthonormal)
    needs: ClassVar[Needs] = Needs(future_only=True, feeds_back='frame', bounded=True)

    @property
    def multiple(self) -> int:
        """What four pools ask for."""
        return 2 ** ((len(_CELLS) + 1) // 2)

    @nn.nowrap
    def channels(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """These numbers of channels, times the width."""
        return tuple(max(1, round(self.width * number)) for number in numbers)

    @nn.compact
    def weights(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Declares the convolutions, the bijective ConvGRUs and their initial states."""
        sizes, numbers = zip(*_CELLS, strict=True)
        convolutions, layers = self.channels(_CONVOLUTIONS), self.channels(numbers)
        inputs = (shape[-1], *convolutions[:-1])
        below = (convolutions[-1], *layers[:-1])
        zeros = nn.initializers.zeros_init()
        return {
            'convolutions': [
                self._declare_tied(f'conv_{number}', *widths)
                for number, widths in enumerate(zip(inputs, convolutions, strict=True), 1)
            ],
            'cells': [
                self._declare_cell(f'cell_{number}', *cell)
                for number, cell in enumerate(zip(sizes, below, layers, strict=True), 1)
            ],
            'initial': [
                self.param(f'initial_{number}', zeros, (features,))
                for number, features in enumerate(layers, 1)
            ],
        }

    def _declare_tied(self, name: str, channels: int, features: int) -> dict[str, Layer]:
        up = self.declare(name, 5, channels, features)
        mirrored = jnp.swapaxes(up['kernel'].taps[:, ::-1, ::-1], -1, -2)
        bias = self.param(f'{name}_down_bias', nn.initializers.zeros_init(), (channels,))
        return {'up': up, 'down': {'kernel': Kernel(mirrored), 'bias': bias}}

    def _declare_cell(self, name: str, size: int, below: int, above: int) -> dict[str, Layer]:
        both = below + above
        return {
            'up_gates': self.declare(f'{name}_up_gates', size, both, 2 * above, parts=2),
            'up_candidate': self.declare(f'{name}_up_candidate', size, both, above),
            'down_gates': self.declare(f'{name}_down_gates', size, both, 2 * below, parts=2),
            'down_candidate': self.declare(f'{name}_down_candidate', size, both, below),
        }

    @nn.nowrap
    def initial_state(self, weights: Any, shape: tuple[int, int, int, int]) -> InputState:
        """The learned values everywhere."""
        batch, height, width, _ = shape
        upper = []
        for number, values in enumerate(weights['initial']):
            scale = 2 ** (1 + number // 2)
            size = (batch, height // scale, width // scale, len(values))
            upper.append(jnp.broadcast_to(values.astype(self.dtype), size))
        size = (batch, height // 2, width // 2, self.channels(_CONVOLUTIONS)[-1])
        return InputState(jnp.zeros(size, self.dtype), tuple(upper))

    @nn.nowrap
    def roll_out(self, weights: Any, inputs: StepInputs, output_frames: int) -> jax.Array:
        """The forecast, `[output_frames, B, H, W, C]`."""
        observed = inputs.frame[: len(inputs.frame) - (output_frames - 1)]
        state = self.initial_state(weights, observed.shape[1:])
        weights = prepare_kernels(weights)
        state, _, _ = scan_with_history(_encode_step, 1, self.memory, weights, state, (), observed)
        _, _, forecast = scan_with_history(
            _decode_step, 1, self.memory, weights, fold(state), (), jnp.arange(output_frames)
        )
        return forecast.astype(inputs.frame.dtype)
