"""PredRNN (Wang et al., NeurIPS 2017): stacked spatiotemporal LSTMs, the paper's appendix A."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.modes import Operations
from e3d.model.forecaster import Forecaster
from e3d.model.gates import convolve_gates
from e3d.model.recurrent import RecurrentCell
from e3d.model.registry import register_forecaster
from e3d.model.stack import RecurrentStack
from e3d.options.option import option
from e3d.options.rules import SWITCH, number

# Keeps the gradient of a norm finite where all is zero.
_EPSILON = 1e-12


class STLSTMState(NamedTuple):
    """States of one layer; as an argument of `update_st_lstm`, `memory` is M_below.

    Attributes:
      cell: C, `[B, D, H, W, C]`.
      hidden: H, `[B, D, H, W, C]`.
      memory: M, the spatiotemporal memory, `[B, D, H, W, C]`.
      overlap: sum over the steps so far of `memory_overlap`, `[B]`; 0 without an adapter.
    """

    cell: jax.Array
    hidden: jax.Array
    memory: jax.Array
    overlap: jax.Array


def update_st_lstm(
    weights: dict[str, Any], state: STLSTMState, inputs: jax.Array, operations: Operations
) -> STLSTMState:
    """One step of one layer (paper, equation 6).

        I  = sigmoid(Wxi*X + Whi*H' + bi)          G  = tanh(Wxg*X + Whg*H' + bg)
        F  = sigmoid(Wxf*X + Whf*H' + bf)          C  = F.C' + I.G
        I' = sigmoid(W'xi*X + Wmi*M_below + b'i)   G' = tanh(W'xg*X + Wmg*M_below + b'g)
        F' = sigmoid(W'xf*X + Wmf*M_below + b'f)   M  = F'.M_below + I'.G'
        O  = sigmoid(Wxo*X + Who*H' + Wco*C + Wmo*M + bo)
        H  = O.tanh(W1x1*[C, M])

    Args:
      weights: the tree of `STLSTMCell.weights`; with an 'adapter' the overlap of the two updates
        is summed up.
      state: C' and H' of this layer at the step before, and M_below.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions and the gates.
    """
    features = state.cell.shape[-1]
    of_inputs = convolve_gates(weights['input_gates'], inputs, features, operations)
    of_hidden = convolve_gates(weights['hidden_gates'], state.hidden, features, operations)
    of_memory = convolve_gates(weights['memory_gates'], state.memory, features, operations)

    input_gate, modulation, forget = (a + b for a, b in zip(of_inputs[:3], of_hidden, strict=False))
    cell_update = operations.gate('I', input_gate) * jnp.tanh(modulation)
    cell = operations.gate('F', forget) * state.cell + cell_update
    input_gate, modulation, forget = (a + b for a, b in zip(of_inputs[3:6], of_memory, strict=True))
    memory_update = operations.gate("I'", input_gate) * jnp.tanh(modulation)
    memory = operations.gate("F'", forget) * state.memory + memory_update

    both = jnp.concatenate([cell, memory], axis=-1)
    (of_both,) = convolve_gates(weights['output_gate'], both, features, operations)
    output_gate = operations.gate('O', of_inputs[6] + of_hidden[3] + of_both)
    hidden = output_gate * jnp.tanh(both @ weights['projection'].astype(both.dtype))
    overlap = state.overlap
    if 'adapter' in weights:
        overlap = overlap + memory_overlap(weights['adapter'], cell_update, memory_update)
    return STLSTMState(cell, hidden, memory, overlap)


def memory_overlap(
    adapter: jax.Array, cell_update: jax.Array, memory_update: jax.Array
) -> jax.Array:
    """How alike the updates of C and M are: the decoupling term of PredRNN-V2, `[B]`.

    The absolute cosine of W1x1*(I.G) and W1x1*(I'.G') over depth and space, averaged over channels.

    Args:
      adapter: W1x1, `[C, C]`.
      cell_update: I.G, `[B, D, H, W, C]`.
      memory_update: I'.G', `[B, D, H, W, C]`.
    """
    precise = jnp.promote_types(cell_update.dtype, jnp.float32)
    left, right = (
        (update @ adapter.astype(update.dtype)).astype(precise)
        for update in (cell_update, memory_update)
    )

    def product(left, right):
        return (left * right).sum(axis=(1, 2, 3))

    norms = (product(left, left) + _EPSILON) * (product(right, right) + _EPSILON)
    return jnp.abs(product(left, right) * jax.lax.rsqrt(norms)).mean(axis=-1)


class STLSTMCell(RecurrentCell):
    """Spatiotemporal LSTM cell, see `update_st_lstm`, for `nn.RNN` or your own loop.

    A lone cell is a stack of one: the M it receives from below is its own M of the step before. The
    biases of both forget gates start at 1.

    Attributes:
      decoupling: whether the carry sums up the overlap of the two memories' updates.
      features, kernel_size, layer_norm, dtype, param_dtype, kernel_init, carry_init: as in
        `RecurrentCell`.
    """

    decoupling: bool = False

    State = STLSTMState
    update = staticmethod(update_st_lstm)

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        size = self.features
        weights = {
            'input_gates': self.declare_gates('input_gates', shape[-1], 7, (0, 0, 1, 0, 0, 1, 0)),
            'hidden_gates': self.declare_gates('hidden_gates', size, 4),
            'memory_gates': self.declare_gates('memory_gates', size, 3),
            'output_gate': self.declare_gates('output_gate', 2 * size, 1),
            'projection': self.declare_product('projection', 2 * size),
        }
        if self.decoupling:
            weights['adapter'] = self.declare_product('adapter', size)
        return weights

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> STLSTMState:
        """The state before the first step, for inputs of shape `[B, D, H, W, channels]`."""
        state = super().initialize_carry(rng, input_shape)
        precise = jnp.promote_types(state.cell.dtype, jnp.float32)
        return state._replace(overlap=jnp.zeros(input_shape[0], precise))


@register_forecaster('predrnn')
class PredRNN(Forecaster):
    """Stacked spatiotemporal LSTMs that forecast frames.

    M zigzags: from layer to layer within a step, and from the top layer to the bottom layer of the
    next step. With `encoder_layers` this is the paper's baseline "3D-CNN at bottom" (figure 1a), with
    `decoder_layers` "3D-CNN on top" (figure 1b), with `decoupling` PredRNN-V2 (Wang et al., 2021).

    Attributes:
      decoupling: weight of the decoupling term in the loss, 0 for none. It is the mean overlap over
        layers and steps; all layers share one adapter.
      layer_norm: as in `STLSTMCell`.
      layers, features, kernel_size, patch_size, pad_frames, depth, encoder_layers, decoder_layers,
        dtype, precision, memory: as in `Forecaster`.
    """

    decoupling: float = option(0.0, 'weight of the decoupling term in the loss', number(0))
    layer_norm: bool = option(False, 'LayerNorm on the pre-activations of the gates', SWITCH)

    @nn.nowrap
    def build_stack(self) -> RecurrentStack:
        """Equal layers, the lowest of which owns the adapter."""
        cells = (
            STLSTMCell(
                self.features,
                self.kernel_size,
                self.layer_norm,
                self.dtype,
                decoupling=bool(self.decoupling) and not layer,
                parent=None,
            )
            for layer in range(self.layers)
        )
        return RecurrentStack(tuple(cells), parent=None)

    def stack_weights(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """The parameters of the layers, the adapter in each."""
        layers = super().stack_weights(shape)
        if not self.decoupling:
            return layers
        return tuple(layer | {'adapter': layers[0]['adapter']} for layer in layers)

    def penalties(self, state: Any, steps: int) -> dict[str, jax.Array]:
        """The decoupling term, weighted."""
        if not self.decoupling:
            return {}
        overlaps = jnp.stack([layer.overlap for layer in state]) / steps
        return {'decoupling': self.decoupling * overlaps.mean()}
