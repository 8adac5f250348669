"""2D layers of the models whose step is written out, with gradients that are fast in a loop.

A layer is a tree with a `kernel`, `[1, kh, kw, C, F]` or, for 1 x 1, `[C, F]`, and maybe a `bias`. Its
inputs are `[B, H, W, C]`. A layer that halves or doubles height and width is rewritten before the loop,
by `strided` or `transposed`, as one of stride 1 over patches of 2 x 2 pixels.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from e3d.kernels.convolution import VALID, Kernel, Padding, same_padding
from e3d.kernels.modes import Operations
from e3d.model.gates import add_bias
from e3d.model.strided import double, halve, halve_kernel

Layer = Mapping[str, Any]


def convolve(layer: Layer, inputs: jax.Array, operations: Operations) -> jax.Array:
    """SAME convolution and bias: `[B, H, W, C]` to `[B, H, W, F]`."""
    if layer['kernel'].ndim == 2:
        return add_bias(inputs @ layer['kernel'].astype(inputs.dtype), layer)
    return _convolve(layer, inputs, same_padding(layer['kernel'].shape[:3]), operations)


def _convolve(layer: Layer, inputs: jax.Array, padding: Padding, operations: Operations):
    outputs = operations.convolve(inputs[:, None], layer['kernel'], padding)
    return add_bias(outputs[:, 0], layer)


def strided(layer: Layer, padding: int) -> dict[str, Any]:
    """The layer for `shrink`, with so many zeros before the first row and column."""
    return {**layer, 'kernel': Kernel(halve_kernel(layer['kernel'].taps, padding))}


def shrink(layer: Layer, inputs: jax.Array, padding: int, operations: Operations) -> jax.Array:
    """Convolution of stride 2 and bias: `[B, H, W, C]` to `[B, H / 2, W / 2, F]`.

    Args:
      layer: from `strided`, for the same padding.
      inputs: of even height and width.
      padding: zeros before the first row and column. TensorFlow's SAME has (k - 2) // 2.
      operations: carries out the convolution.
    """
    before = (padding + 1) // 2
    space = [(before, size - 1 - before) for size in layer['kernel'].shape[1:3]]
    halved = halve(inputs[:, None])[:, 0]
    return _convolve(layer, halved, (VALID[0], *space), operations)


def transposed(layer: Layer) -> dict[str, Any]:
    """The layer, of 3 x 3, for `grow`."""
    halved = halve_kernel(jnp.swapaxes(layer['kernel'].taps, -1, -2), 0)
    return {**layer, 'kernel': Kernel(jnp.swapaxes(halved[:, ::-1, ::-1], -1, -2))}


def grow(layer: Layer, inputs: jax.Array, operations: Operations) -> jax.Array:
    """Transposed convolution of stride 2 and bias: `[B, H, W, C]` to `[B, 2 H, 2 W, F]`.

    y[2 i + a] = sum over i and a of x[i] k[a], cropped at the end: the transpose of TensorFlow's SAME.

    Args:
      layer: from `transposed`.
      inputs: of any height and width.
      operations: carries out the convolution.
    """
    height, width = inputs.shape[1:3]
    padding = (VALID[0], (1, 0), (1, 0))
    outputs = operations.convolve(inputs[:, None], layer['kernel'], padding)
    return add_bias(double(outputs, (2 * height, 2 * width))[:, 0], layer)


def repeat(inputs: jax.Array) -> jax.Array:
    """Nearest neighbor times 2: `[B, H, W, C]` to `[B, 2 H, 2 W, C]`."""
    return jnp.repeat(jnp.repeat(inputs, 2, axis=1), 2, axis=2)


def max_pool(inputs: jax.Array) -> jax.Array:
    """The largest of each 2 x 2: `[B, H, W, C]` to `[B, H / 2, W / 2, C]`.

    By pairs: the gradient of a maximum over axes looks for the maximum again, and where that was rounded
    otherwise, as XLA may do, there is none and the gradient is not a number.
    """
    batch, height, width, channels = inputs.shape
    pairs = inputs.reshape(batch, height // 2, 2, width // 2, 2, channels)
    rows = jnp.maximum(pairs[:, :, 0], pairs[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


class LSTMState(NamedTuple):
    """C and H of a ConvLSTM, each `[B, H, W, C]`."""

    cell: jax.Array
    hidden: jax.Array


def update_lstm(
    layer: Layer, state: LSTMState, inputs: jax.Array, operations: Operations
) -> LSTMState:
    """One step of a ConvLSTM with one convolution W of [X, H'], without peepholes.

        I, J, F, O = W*[X, H'] + b
        C = C' . sigmoid(F + 1) + sigmoid(I) . tanh(J)
        H = tanh(C) . sigmoid(O)

    Args:
      layer: W and b, from C(X) + C to 4 C channels, in the order I, J, F, O.
      state: C' and H', of the step before.
      inputs: X, `[B, H, W, C(X)]`.
      operations: carries out the convolution.
    """
    joined = jnp.concatenate([inputs, state.hidden], axis=-1)
    gates = jnp.split(convolve(layer, joined, operations), 4, axis=-1)
    input_gate, modulation, forget, output = gates
    cell = state.cell * jax.nn.sigmoid(forget + 1)
    cell = cell + jax.nn.sigmoid(input_gate) * jnp.tanh(modulation)
    return LSTMState(cell, jnp.tanh(cell) * jax.nn.sigmoid(output))
