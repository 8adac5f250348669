"""E3D-LSTM as OpenSTL computes it (openstl/modules/e3dlstm_modules.py), for weights trained with it.

It is here so that those weights can be used and compared; new training is better served by the paper's
form. What differs from equations 1 and 2:

* A convolution has no padding in depth, so it leaves one slot, which is copied to all. With a `stride`
  its outputs are fewer in height and width, too, and copied to the size of the state.
* There are no biases. The LayerNorm of C has a scale and a bias for each position, so that a model is
  for frames of one size only.
* RECALL attends to rows of C numbers that are cut out of the states in the order (channel, depth,
  height, width): parts of the map of a channel, not the channels of a position. A state of zeros is
  always among those remembered.
* M is 0 in every layer and at every step, as each cell hands on the one that it was given. So F' and the
  convolutions of M are without effect, and not among the parameters.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.numpy import tanh

from e3d.errors import InputError
from e3d.kernels.convolution import Kernel, same_padding
from e3d.kernels.history import History, with_zero_state
from e3d.kernels.layer_norm import layer_norm
from e3d.kernels.modes import Operations

# The gates of each group that shares an operand, in the order of its kernel's outputs.
GATES = {'input_gates': ('i', 'g', 'o', 'r', 'i_', 'g_'), 'hidden_gates': ('i', 'g', 'o', 'r')}


def update_openstl(
    options: Any,
    weights: Mapping[str, Any],
    state: Any,
    inputs: jax.Array,
    operations: Operations,
    history: History,
) -> Any:
    """One step of one layer.

        R = sigmoid(Wxr*X + Whr*H')    I = sigmoid(Wxi*X + Whi*H')    G = tanh(Wxg*X + Whg*H')
        C = I.G + LayerNorm(C' + RECALL(R, [0, history]))
        M = sigmoid(W'xi*X).tanh(W'xg*X)
        O = sigmoid(tanh(Wxo*X + Who*H' + Wco*C + Wmo*M))
        H = O.tanh(W1x1x1*[C, M])

    Args:
      options: the `CellOptions`.
      weights: the tree that `E3DLSTMCell` declares with `openstl_shapes`.
      state: C' and H' of this layer at the step before, and M of the layer below, which is 0.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions and RECALL.
      history: C of this layer at earlier steps.

    Returns:
      The state with the new C and H.
    """

    def gates(name: str, operand: jax.Array) -> list[jax.Array]:
        outputs = _convolve(weights[name]['kernel'], operand, options.stride, operations)
        return jnp.split(outputs, len(GATES[name]), axis=-1)

    x_i, x_g, x_o, x_r, x_i2, x_g2 = gates('input_gates', inputs)
    h_i, h_g, h_o, h_r = gates('hidden_gates', state.hidden)
    past = state.cell + _recall(operations.gate('R', x_r + h_r), history, operations)
    C = operations.gate('I', x_i + h_i) * tanh(x_g + h_g)
    C = C + _normalize(past, weights['cell_norm'])
    M = operations.gate("I'", x_i2) * tanh(x_g2)
    C_and_M = jnp.concatenate([C, M], axis=-1)
    outputs = _convolve(weights['outputs'][0]['kernel'], C_and_M, options.stride, operations)
    O = operations.gate('O', tanh(x_o + h_o + outputs))
    H = O * tanh(C_and_M @ weights['projection']['kernel'].astype(C.dtype))
    return state._replace(cell=C, hidden=H)


def openstl_shapes(options: Any, shape: tuple[int, ...]) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of the parameters for inputs of this shape, `[B, D, H, W, channels]`.

    Raises:
      InputError: this form does not exist for them.
    """
    depth, height, width, channels = shape[1:]
    if depth != options.kernel_size[0]:
        raise InputError(
            f"depth={depth}: with variant='openstl' it must be the depth of the kernel, "
            f'{options.kernel_size[0]}, of which its convolutions leave one slot'
        )
    features = options.features
    kernels = {
        'input_gates': (channels, len(GATES['input_gates'])),
        'hidden_gates': (features, len(GATES['hidden_gates'])),
        'cell_output': (features, 1),
        'memory_output': (features, 1),
    }
    norm = (depth, height, width, features)
    return {
        name: {'kernel': (*options.kernel_size, size, gates * features)}
        for name, (size, gates) in kernels.items()
    } | {
        'cell_norm': {'norm_scale': norm, 'norm_bias': norm},
        'projection': {'kernel': (2 * features, features)},
    }


def check_openstl(options: Any) -> None:
    """Raises InputError unless the options of a cell are those of this form."""
    fixed = {'recall': 'everywhere', 'convolution': 'same'}
    for name, value in fixed.items():
        if getattr(options, name) != value:
            raise InputError(
                f"{name}={getattr(options, name)!r}: with variant='openstl' it must be {value!r}"
            )
    if any(side % 2 == 0 for side in options.kernel_size[1:]):
        raise InputError(
            f"kernel_size={options.kernel_size}: with variant='openstl' height and width must be odd"
        )


def _convolve(
    kernel: Kernel | jax.Array, inputs: jax.Array, stride: int, operations: Operations
) -> jax.Array:
    """A convolution that leaves one slot and every `stride`-th place, copied to what there was."""
    padding = ((0, 0), *same_padding(kernel.shape[:3])[1:])
    outputs = operations.convolve(inputs, kernel, padding)
    if stride > 1:
        outputs = outputs[:, :, ::stride, ::stride]
        for axis in (2, 3):
            size, small = inputs.shape[axis], outputs.shape[axis]
            # Of the lower place, as PyTorch has it; `jax.image.resize` goes by the middle of places.
            outputs = jnp.take(outputs, jnp.arange(size) * small // size, axis)
    return jnp.repeat(outputs, inputs.shape[1], axis=1)


def _recall(gate: jax.Array, history: History, operations: Operations) -> jax.Array:
    """RECALL among rows of numbers, see above."""
    states, ages = with_zero_state(history)
    rows = _rows(gate.reshape(gate.shape[0], -1, gate.shape[-1])).reshape(gate.shape)
    recalled = operations.recall(rows, History(_rows(states), ages))
    channels = recalled.reshape(gate.shape[0], gate.shape[-1], -1)
    return jnp.swapaxes(channels, -1, -2).reshape(gate.shape)


def _rows(states: jax.Array) -> jax.Array:
    """States `[..., P, C]`, read channel after channel, as rows of C numbers `[..., P, C]`."""
    return jnp.swapaxes(states, -1, -2).reshape(states.shape)


def _normalize(states: jax.Array, group: Mapping[str, jax.Array]) -> jax.Array:
    """LayerNorm over D, H, W and C of each sample, with a scale and a bias for each position."""
    scale, bias = group['norm_scale'], group['norm_bias']
    ones = jnp.ones(states.shape[-1], scale.dtype)
    normalized = layer_norm(states, {'norm_scale': ones, 'norm_bias': 0 * ones})
    return (normalized * scale + bias).astype(states.dtype)
