"""The Eidetic 3D LSTM cell (paper, equations 1 and 2)."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.layer_norm import layer_norm
from e3d.kernels.modes import Operations, Remembered
from e3d.model.gates import OPERATORS, apply_operator, join_operators, kernel_shapes

VARIANTS = ('paper', 'released')


@dataclasses.dataclass(frozen=True)
class CellOptions:
    """What decides the equations of a cell, apart from its weights.

    Attributes:
      features: channels C of every state and gate.
      kernel_size: depth, height and width of the gate convolutions.
      variant: 'paper' for equations 1 and 2 as printed, 'released' for the published code's form.
      convolution: the operator `*`: 'same', 'transposed' or 'separable' (see `gates.py`).
      recall: False leaves the memory attention out (baseline 4 of Table 2): C = I.G + LN(C').
    """

    features: int
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    variant: str = 'paper'
    convolution: str = 'same'
    recall: bool = True

    def __post_init__(self):
        object.__setattr__(self, 'kernel_size', tuple(self.kernel_size))
        if self.variant not in VARIANTS:
            raise InputError(f'variant={self.variant!r}: allowed are {_listed(VARIANTS)}')
        if self.convolution not in OPERATORS:
            raise InputError(f'convolution={self.convolution!r}: allowed are {_listed(OPERATORS)}')
        check_sizes(self.features, self.kernel_size)


def check_sizes(features: int, kernel_size: tuple[int, ...]) -> None:
    """Raises InputError unless these can be the channels and the kernel of a cell."""
    if features < 1:
        raise InputError(f'features={features}: at least 1 is needed')
    if len(kernel_size) != 3 or min(kernel_size) < 1:
        raise InputError(
            f'kernel_size={tuple(kernel_size)}: three sizes >= 1 (depth, height, width) are needed'
        )


def _listed(names) -> str:
    return ' and '.join(repr(name) for name in names)


class CellState(NamedTuple):
    """States of one layer, each `[B, D, H, W, C]`; as an argument, `memory` is M_below."""

    cell: jax.Array  # C, the eidetic 3D memory
    hidden: jax.Array  # H
    memory: jax.Array  # M, the spatiotemporal memory


def update_cell(
    weights: Mapping[str, Any],
    options: CellOptions,
    state: CellState,
    inputs: jax.Array,
    operations: Operations,
    layer: int = 0,
) -> CellState:
    """One step of one layer.

        R  = sigmoid(Wxr*X + Whr*H' + br)    I = sigmoid(Wxi*X + Whi*H' + bi)
        G  = tanh(Wxg*X + Whg*H' + bg)
        C  = I.G + LayerNorm(C' + RECALL(R, history))                                       (1)
        I' = sigmoid(W'xi*X + Wmi*M_below + b'i)    F' = sigmoid(W'xf*X + Wmf*M_below + b'f)
        G' = tanh(W'xg*X + Wmg*M_below + b'g)
        M  = I'.G' + F'.M_below
        O  = sigmoid(Wxo*X + Who*H' + Wco*C + Wmo*M + bo)
        H  = O.tanh(W1x1x1*[C, M])                                                          (2)

    `variant='released'` is the form of the published code, its unused update of M mended: LayerNorm
    on the joint pre-activations of each convolution, F' = sigmoid(. + 1),
    M = F'.tanh(fourth slice of conv(M_below)) + I'.G', O = sigmoid(tanh(.)).

    Args:
      weights: the tree of `E3DLSTMCell.weights`.
      options: which form of the equations.
      state: C' and H' of this layer at the step before, and M_below.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions and RECALL.
      layer: which of the remembered histories is this layer's.

    Returns:
      The new C, H and M.
    """
    released = options.variant == 'released'

    def gates(group: Mapping[str, Any], operand: jax.Array) -> jax.Array:
        outputs = _add_bias(apply_operator(group, operand, operations.convolve), group)
        return layer_norm(outputs, group) if 'norm_scale' in group else outputs

    from_inputs = gates(weights['input_gates'], inputs)
    from_hidden = gates(weights['hidden_gates'], state.hidden)
    from_memory = gates(weights['memory_gates'], state.memory)

    # The gates that X shares with H' come first, those it shares with M_below after them.
    boundary = from_hidden.shape[-1]
    temporal = _split(from_inputs[..., :boundary] + from_hidden, options.features)
    input_gate, modulation = jax.nn.sigmoid(temporal[0]), jnp.tanh(temporal[1])
    previous = state.cell
    if options.recall:
        previous = previous + operations.recall(jax.nn.sigmoid(temporal[3]), layer)
    cell = input_gate * modulation + layer_norm(previous, weights['cell_norm'])

    from_memory = _split(from_memory, options.features)
    spatial = _split(from_inputs[..., boundary:], options.features)
    spatial = [a + b for a, b in zip(spatial, from_memory[:3], strict=True)]
    memory_input, memory_modulation = jax.nn.sigmoid(spatial[0]), jnp.tanh(spatial[1])
    forget = jax.nn.sigmoid(spatial[2] + 1 if released else spatial[2])
    carried = jnp.tanh(from_memory[3]) if released else state.memory
    memory = memory_input * memory_modulation + forget * carried

    both = jnp.concatenate([cell, memory], axis=-1)
    operands = jnp.split(both, len(weights['outputs']), axis=-1)
    output = temporal[2] + sum(map(gates, weights['outputs'], operands))
    output_gate = jax.nn.sigmoid(jnp.tanh(output) if released else output)
    projection = weights['projection']
    projected = _add_bias(both @ projection['kernel'].astype(both.dtype), projection)
    return CellState(cell, output_gate * jnp.tanh(projected), memory)


def _add_bias(outputs: jax.Array, group: Mapping[str, jax.Array]) -> jax.Array:
    return outputs + group['bias'].astype(outputs.dtype) if 'bias' in group else outputs


def _split(gates: jax.Array, features: int) -> list[jax.Array]:
    return jnp.split(gates, gates.shape[-1] // features, axis=-1)


class E3DLSTMCarry(NamedTuple):
    """What `E3DLSTMCell` carries from step to step.

    Attributes:
      cell: C, `[B, D, H, W, C]`.
      hidden: H, `[B, D, H, W, C]`.
      memory: M, `[B, D, H, W, C]`.
      history: the remembered cell states, `[B, K, D, H, W, C]`, K slots used in turn.
      steps: how many steps each sequence has seen, int32 `[B]`.
    """

    cell: jax.Array
    hidden: jax.Array
    memory: jax.Array
    history: jax.Array
    steps: jax.Array


def remember(history: jax.Array, steps: jax.Array, cell: jax.Array) -> jax.Array:
    """Writes a cell state `[B, ...]` over the oldest slot of a history `[B, K, ...]`."""
    slots = history.shape[1]
    here = jnp.arange(slots) == (steps % max(slots, 1))[:, None]
    here = here.reshape(here.shape + (1,) * (cell.ndim - 1))
    return jnp.where(here, cell[:, None], history)


def remembered_steps(histories, steps: jax.Array) -> Remembered:
    """The view of RECALL on histories `[B, K, D, H, W, C]` after `steps` steps each."""
    batch, slots, *state, channels = histories[0].shape
    flat = [history.reshape(batch, slots, math.prod(state), channels) for history in histories]
    return Remembered(flat, jnp.arange(slots) < jnp.minimum(steps, slots)[:, None])


class E3DLSTMCell(nn.RNNCellBase):
    """Eidetic 3D LSTM cell, for `nn.RNN`, `nn.scan` or a loop of one's own.

    A lone cell is a stack of one: the M it receives from below is its own M of the step before. The
    equations are those of `update_cell`. The carry keeps the last `history` cell states; it has a
    fixed shape and knows no sequence length, so `history` must be a number here (`T - 1` remembers
    all of T steps). `E3DLSTM`, which knows its length, trains in less time and memory.

    Attributes:
      features: channels C of the states.
      kernel_size: depth, height and width of the convolutions; (1, 5, 5) on inputs of depth 1 is the
        "without 3D convolutions" ablation.
      history: how many earlier cell states RECALL looks at (tau). Needed for `initialize_carry`.
      variant: 'paper' or 'released', see `update_cell`.
      convolution: 'same', 'transposed' or 'separable', see `gates.py`.
      recall: False leaves the memory attention out.
      dtype: type of the computation, float32 if None. Softmax and LayerNorm sums are float32 always.
      param_dtype: type of the parameters.
      kernel_init: initializer of the kernels.
      carry_init: initializer of C, H and M.
    """

    features: int
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    history: int | None = None
    variant: str = 'paper'
    convolution: str = 'same'
    recall: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    carry_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @property
    def options(self) -> CellOptions:
        """The form of the equations, checked.

        Raises:
          InputError: a field has a value that is not allowed.
        """
        return CellOptions(
            self.features, self.kernel_size, self.variant, self.convolution, self.recall
        )

    @property
    def num_feature_axes(self) -> int:
        """Depth, height, width and channels: `nn.RNN` finds time before them."""
        return 4

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        options, features, channels = self.options, self.features, shape[-1]
        released = options.variant == 'released'
        temporal = 4 if options.recall else 3

        def declare(name: str, channels: int, gates: int, bias: bool, norm: bool):
            return self.param(name, self._initial_group, channels, gates, bias, norm)

        return {
            'input_gates': declare('input_gates', channels, temporal + 3, True, released),
            'hidden_gates': declare('hidden_gates', features, temporal, released, released),
            'memory_gates': declare(
                'memory_gates', features, 4 if released else 3, released, released
            ),
            'outputs': join_operators(
                [
                    declare(name, features, 1, released, False)
                    for name in ('cell_output', 'memory_output')
                ]
            ),
            'cell_norm': self.param('cell_norm', lambda key: self._initial_norm(features)),
            'projection': self.param('projection', self._initial_projection, released),
        }

    def _initial_group(self, key, channels: int, gates: int, bias: bool, norm: bool):
        outputs = gates * self.features
        shapes = kernel_shapes(
            self.options.convolution, self.options.kernel_size, channels, self.features, gates
        )
        group = {
            name: self.kernel_init(key, shape, self.param_dtype)
            for key, (name, shape) in zip(
                jax.random.split(key, len(shapes)), shapes.items(), strict=True
            )
        }
        if bias:
            group['bias'] = jnp.zeros(outputs, self.param_dtype)
        return group | self._initial_norm(outputs) if norm else group

    def _initial_norm(self, size: int):
        return {
            'norm_scale': jnp.ones(size, self.param_dtype),
            'norm_bias': jnp.zeros(size, self.param_dtype),
        }

    def _initial_projection(self, key, bias: bool):
        kernel = self.kernel_init(key, (2 * self.features, self.features), self.param_dtype)
        return {'kernel': kernel} | (
            {'bias': jnp.zeros(self.features, self.param_dtype)} if bias else {}
        )

    def __call__(self, carry: E3DLSTMCarry, inputs: jax.Array):
        """One step.

        Args:
          carry: from `initialize_carry` or the step before.
          inputs: X, `[B, D, H, W, channels]`.

        Returns:
          The new carry and its H, `[B, D, H, W, C]`.
        """
        chex.assert_rank(inputs, 5)
        weights = self.weights(inputs.shape)
        state = CellState(carry.cell, carry.hidden, carry.memory)
        state = update_cell(
            weights,
            self.options,
            state,
            inputs.astype(carry.cell.dtype),
            Operations(remembered_steps([carry.history], carry.steps)),
        )
        history = remember(carry.history, carry.steps, state.cell)
        return E3DLSTMCarry(*state, history, carry.steps + 1), state.hidden

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> E3DLSTMCarry:
        """The carry before the first step, for inputs of shape `[B, D, H, W, channels]`.

        Raises:
          InputError: `history` is None, so that the carry would have no fixed shape.
        """
        slots = required_history(self.history, self.recall)
        dtype = self.dtype or jnp.float32
        shape = (*input_shape[:-1], self.features)
        keys = jax.random.split(rng, 3)
        states = [self.carry_init(key, shape, dtype) for key in keys]
        history = jnp.zeros((shape[0], slots, *shape[1:]), dtype)
        return E3DLSTMCarry(*states, history, jnp.zeros(shape[0], jnp.int32))


def required_history(history: int | None, recall: bool) -> int:
    """The number of slots a carry needs.

    Raises:
      InputError: there is none, or it is negative.
    """
    if not recall:
        return 0
    if history is None:
        raise InputError(
            'history=None: the carry of a cell or stack has a fixed shape, so history must be a '
            'number >= 1 here; history=T-1 remembers all of a sequence of T steps'
        )
    if history < 1:
        raise InputError(f'history={history}: at least 1 is needed; recall=False for none')
    return history
