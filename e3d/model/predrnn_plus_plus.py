"""PredRNN++ (Wang et al., ICML 2018): Causal LSTMs and a gradient highway."""

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
from e3d.options.rules import SWITCH


class CausalLSTMState(NamedTuple):
    """States of one layer, each `[B, D, H, W, C]`; as an argument, `memory` is M_below."""

    cell: jax.Array
    hidden: jax.Array
    memory: jax.Array


def update_causal_lstm(
    weights: dict[str, Any], state: CausalLSTMState, inputs: jax.Array, operations: Operations
) -> CausalLSTMState:
    """One step of one layer: C first, then M from C, then H from both.

        I, F = sigmoid(W1*[X, H', C'] + b)          G  = tanh(W1*[X, H', C'] + b)
        C    = F.C' + I.G
        I', F' = sigmoid(W2*[X, C, M_below] + b)    G' = tanh(W2*[X, C] + b)
        M    = F'.tanh(W3*M_below) + I'.G'
        O    = tanh(W4*[X, H', C, M] + b)
        H    = O.tanh(W1x1*[C, M])

    Each gate has its own part of W1, W2 and b. Where the paper and its authors' code differ this is the
    code: G' does not see M_below, and O sees H'.

    Args:
      weights: the tree of `CausalLSTMCell.weights`.
      state: C' and H' of this layer at the step before, and M_below.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions.
    """
    features = state.cell.shape[-1]

    def gates(name: str, operand: jax.Array) -> list[jax.Array]:
        return convolve_gates(weights[name], operand, features, operations)

    x_i, x_g, x_f, x_i2, x_g2, x_f2, x_o = gates('input_gates', inputs)
    h_i, h_g, h_f, h_o = gates('hidden_gates', state.hidden)
    c_i, c_g, c_f = gates('cell_gates', state.cell)
    cell = operations.gate('F', x_f + h_f + c_f) * state.cell
    cell = cell + operations.gate('I', x_i + h_i + c_i) * jnp.tanh(x_g + h_g + c_g)

    n_i, n_g, n_f, n_o = gates('new_cell_gates', cell)
    m_i, m_f, m_m = gates('memory_gates', state.memory)
    memory = operations.gate("F'", x_f2 + n_f + m_f) * jnp.tanh(m_m)
    memory = memory + operations.gate("I'", x_i2 + n_i + m_i) * jnp.tanh(x_g2 + n_g)

    (of_memory,) = gates('memory_output', memory)
    output_gate = jnp.tanh(x_o + h_o + n_o + of_memory)
    both = jnp.concatenate([cell, memory], axis=-1)
    hidden = output_gate * jnp.tanh(both @ weights['projection'].astype(both.dtype))
    return CausalLSTMState(cell, hidden, memory)


class CausalLSTMCell(RecurrentCell):
    """Causal LSTM cell, see `update_causal_lstm`, for `nn.RNN` or your own loop.

    A lone cell is a stack of one: the M it receives from below is its own M of the step before. The
    biases of both forget gates start at 1.

    Attributes:
      features, kernel_size, layer_norm, dtype, param_dtype, kernel_init, carry_init: as in
        `RecurrentCell`.
    """

    State = CausalLSTMState
    update = staticmethod(update_causal_lstm)

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        size = self.features
        return {
            'input_gates': self.declare_gates('input_gates', shape[-1], 7, (0, 0, 1, 0, 0, 1, 0)),
            'hidden_gates': self.declare_gates('hidden_gates', size, 4),
            'cell_gates': self.declare_gates('cell_gates', size, 3),
            'new_cell_gates': self.declare_gates('new_cell_gates', size, 4),
            'memory_gates': self.declare_gates('memory_gates', size, 3),
            'memory_output': self.declare_gates('memory_output', size, 1),
            'projection': self.declare_product('projection', 2 * size),
        }


class HighwayState(NamedTuple):
    """Z of the gradient highway, `[B, D, H, W, C]`."""

    hidden: jax.Array


def update_highway(
    weights: dict[str, Any], state: HighwayState, inputs: jax.Array, operations: Operations
) -> HighwayState:
    """One step of the gradient highway unit.

        P = tanh(Wpx*X + Wpz*Z' + bp)    S = sigmoid(Wsx*X + Wsz*Z' + bs)
        Z = S.P + (1 - S).Z'

    Args:
      weights: the tree of `GradientHighwayUnit.weights`.
      state: Z', of the step before.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions.
    """
    features = state.hidden.shape[-1]
    x_p, x_s = convolve_gates(weights['input_gates'], inputs, features, operations)
    z_p, z_s = convolve_gates(weights['hidden_gates'], state.hidden, features, operations)
    switch = operations.gate('S', x_s + z_s)
    return HighwayState(switch * jnp.tanh(x_p + z_p) + (1 - switch) * state.hidden)


class GradientHighwayUnit(RecurrentCell):
    """Gradient highway unit, see `update_highway`: a short path of gradients through time.

    Attributes:
      features, kernel_size, layer_norm, dtype, param_dtype, kernel_init, carry_init: as in
        `RecurrentCell`.
    """

    State = HighwayState
    update = staticmethod(update_highway)

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        return {
            'input_gates': self.declare_gates('input_gates', shape[-1], 2, (0, 0)),
            'hidden_gates': self.declare_gates('hidden_gates', self.features, 2),
        }


@register_forecaster('predrnn_plus_plus')
class PredRNNPlusPlus(Forecaster):
    """Stacked Causal LSTMs, with a gradient highway unit above the lowest, that forecast frames.

    M zigzags as in `PredRNN`, past the highway.

    Attributes:
      layer_norm: as in `CausalLSTMCell`.
      layers: number of Causal LSTMs.
      features, kernel_size, patch_size, pad_frames, depth, encoder_layers, decoder_layers, dtype,
        precision, memory: as in `Forecaster`.
    """

    layer_norm: bool = option(False, 'LayerNorm on the pre-activations of the gates', SWITCH)

    @nn.nowrap
    def build_stack(self) -> RecurrentStack:
        """A Causal LSTM, the highway, and the other Causal LSTMs."""
        kinds = [CausalLSTMCell] * self.layers
        kinds.insert(1, GradientHighwayUnit)
        cells = (
            kind(self.features, self.kernel_size, self.layer_norm, self.dtype, parent=None)
            for kind in kinds
        )
        return RecurrentStack(tuple(cells), parent=None)
