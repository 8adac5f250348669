"""ConvLSTM (Shi et al., NeurIPS 2015), with and without peepholes."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.modes import Operations
from e3d.model.forecaster import Forecaster
from e3d.model.gates import convolve_gates
from e3d.model.recurrent import RecurrentCell
from e3d.model.registry import register_forecaster
from e3d.model.stack import RecurrentStack
from e3d.options.option import option
from e3d.options.rules import SWITCH


class ConvLSTMState(NamedTuple):
    """C and H of one layer, each `[B, D, H, W, C]`."""

    cell: jax.Array
    hidden: jax.Array


def update_conv_lstm(
    weights: dict[str, Any], state: ConvLSTMState, inputs: jax.Array, operations: Operations
) -> ConvLSTMState:
    """One step of one layer.

        I = sigmoid(Wxi*X + Whi*H' + Wci.C' + bi)    F = sigmoid(Wxf*X + Whf*H' + Wcf.C' + bf)
        C = F.C' + I.tanh(Wxg*X + Whg*H' + bg)
        O = sigmoid(Wxo*X + Who*H' + Wco.C + bo)
        H = O.tanh(C)

    Wci, Wcf and Wco, the peepholes, have a weight for each element of the state and look at it by
    Hadamard products; O looks at the new C. Without 'peepholes' among the weights the terms are
    left out.

    Args:
      weights: the tree of `ConvLSTMCell.weights`.
      state: C' and H', of the step before.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions.
    """
    features = state.cell.shape[-1]
    from_inputs = convolve_gates(weights['input_gates'], inputs, features, operations)
    from_hidden = convolve_gates(weights['hidden_gates'], state.hidden, features, operations)
    input_gate, forget, modulation, output = (
        a + b for a, b in zip(from_inputs, from_hidden, strict=True)
    )
    peepholes = weights.get('peepholes')
    if peepholes is not None:
        peepholes = peepholes.astype(state.cell.dtype)
        input_gate = input_gate + peepholes[0] * state.cell
        forget = forget + peepholes[1] * state.cell
    cell = operations.gate('F', forget) * state.cell
    cell = cell + operations.gate('I', input_gate) * jnp.tanh(modulation)
    if peepholes is not None:
        output = output + peepholes[2] * cell
    return ConvLSTMState(cell, operations.gate('O', output) * jnp.tanh(cell))


class ConvLSTMCell(RecurrentCell):
    """ConvLSTM cell, see `update_conv_lstm`, for `nn.RNN` or your own loop.

    The bias of the forget gate starts at 1. The peepholes, of the paper's form, have the size of a
    state, so a cell that has them is for inputs of one size.

    Attributes:
      peephole: whether the gates look at C.
      features, kernel_size, layer_norm, dtype, param_dtype, kernel_init, carry_init: as in
        `RecurrentCell`.
    """

    peephole: bool = False

    State = ConvLSTMState
    update = staticmethod(update_conv_lstm)

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree.

        Raises:
          InputError: there are peepholes already, for inputs of another size.
        """
        weights = {
            'input_gates': self.declare_gates(
                'input_gates', shape[-1], 4, bias=(0.0, 1.0, 0.0, 0.0)
            ),
            'hidden_gates': self.declare_gates('hidden_gates', self.features, 4),
        }
        if self.peephole:
            size = (3, *shape[1:-1], self.features)
            known = self.get_variable('params', 'peepholes')
            if known is not None and known.shape != size:
                raise InputError(
                    f'states of {shape[2]} x {shape[3]}: the peepholes of this ConvLSTM are for '
                    f'{known.shape[2]} x {known.shape[3]}; peephole=False is for frames of any size'
                )
            zeros = nn.initializers.zeros_init()
            weights['peepholes'] = self.param('peepholes', zeros, size, self.param_dtype)
        return weights


@register_forecaster('convlstm')
class ConvLSTM(Forecaster):
    """Stacked ConvLSTM layers that forecast frames.

    Attributes:
      peephole, layer_norm: as in `ConvLSTMCell`.
      layers, features, kernel_size, patch_size, pad_frames, depth, encoder_layers, decoder_layers,
        dtype, precision, memory: as in `Forecaster`.
    """

    peephole: bool = option(False, 'gates see the cell state as well', SWITCH)
    layer_norm: bool = option(False, 'LayerNorm on the pre-activations of the gates', SWITCH)

    @nn.nowrap
    def build_stack(self) -> RecurrentStack:
        """Equal layers."""
        cells = (
            ConvLSTMCell(
                self.features,
                self.kernel_size,
                self.layer_norm,
                self.dtype,
                peephole=self.peephole,
                parent=None,
            )
            for _ in range(self.layers)
        )
        return RecurrentStack(tuple(cells), parent=None)
