"""Stacked cells with the zig-zag route of the spatiotemporal memory M."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.modes import Operations
from e3d.model.cell import (
    CellOptions,
    CellState,
    E3DLSTMCell,
    remember,
    remembered_steps,
    required_history,
    update_cell,
)


class StackState(NamedTuple):
    """States of all layers between two steps.

    Attributes:
      cells: C of each layer, `[B, D, H, W, C]`.
      hiddens: H of each layer, `[B, D, H, W, C]`.
      memory: M of the top layer, `[B, D, H, W, C]`, which the bottom layer receives next.
    """

    cells: tuple[jax.Array, ...]
    hiddens: tuple[jax.Array, ...]
    memory: jax.Array


def update_stack(
    weights: Sequence[Any],
    options: CellOptions,
    state: StackState,
    inputs: jax.Array,
    operations: Operations,
) -> StackState:
    """One step of all layers, from the bottom to the top.

    M goes through the layers of a step and from the top layer to the bottom layer of the next step;
    each layer's X is H of the layer below.

    Args:
      weights: the tree of each layer.
      options: which form of the equations.
      state: the states after the step before.
      inputs: X of the bottom layer, `[B, D, H, W, channels]`.
      operations: carries out the convolutions and RECALL.
    """
    cells, hiddens, memory = [], [], state.memory
    for layer, layer_weights in enumerate(weights):
        before = CellState(state.cells[layer], state.hiddens[layer], memory)
        cell, inputs, memory = update_cell(
            layer_weights, options, before, inputs, operations, layer
        )
        cells.append(cell)
        hiddens.append(inputs)
    return StackState(tuple(cells), tuple(hiddens), memory)


def _step(options: CellOptions, weights, state, cells, inputs, operations: Operations):
    """`update_stack`, with the states that RECALL remembers, if there is one, apart from the others."""
    state = state._replace(cells=cells) if options.recall else state
    state = update_stack(weights, options, state, inputs, operations)
    if not options.recall:
        return state, (), state.hiddens[-1]
    return state._replace(cells=()), state.cells, state.hiddens[-1]


class E3DLSTMStackCarry(NamedTuple):
    """What `E3DLSTMStack` carries from step to step.

    Attributes:
      state: C, H of every layer and M of the top layer.
      histories: for each layer the remembered cell states, `[B, K, D, H, W, C]`.
      steps: how many steps each sequence has seen, int32 `[B]`.
    """

    state: StackState
    histories: tuple[jax.Array, ...]
    steps: jax.Array


class E3DLSTMStack(nn.RNNCellBase):
    """Several Eidetic 3D LSTM cells as one cell, for `nn.RNN` or a loop of one's own.

    Attributes:
      layers: number of cells; all have the same width, since M passes through them.
      features, kernel_size, history, variant, convolution, recall, dtype, param_dtype, kernel_init,
        carry_init: as in `E3DLSTMCell`.
    """

    layers: int
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

    def setup(self):
        """One cell for each layer."""
        if self.layers < 1:
            raise InputError(f'layers={self.layers}: at least 1 is needed')
        self.cells = [
            E3DLSTMCell(
                self.features,
                self.kernel_size,
                self.history,
                self.variant,
                self.convolution,
                self.recall,
                self.dtype,
                self.param_dtype,
                self.kernel_init,
                self.carry_init,
            )
            for _ in range(self.layers)
        ]

    @property
    def options(self) -> CellOptions:
        """The form of the equations, checked; raises InputError."""
        return CellOptions(
            self.features, self.kernel_size, self.variant, self.convolution, self.recall
        )

    @property
    def num_feature_axes(self) -> int:
        """Depth, height, width and channels: `nn.RNN` finds time before them."""
        return 4

    @property
    def step(self) -> Callable:
        """What a forecaster does with the stack at each step of its loop."""
        return functools.partial(_step, self.options)

    def weights(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Declares the parameters for inputs of this shape; a tree for each layer."""
        above = (*shape[:-1], self.features)
        return tuple(
            cell.weights(above if layer else shape) for layer, cell in enumerate(self.cells)
        )

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...]):
        """What `step` begins with, for inputs of this shape: zeros."""
        zeros = jnp.zeros((*shape[:-1], self.features), self.dtype or jnp.float32)
        states = (zeros,) * self.layers
        if not self.recall:
            return StackState(states, states, zeros), ()
        return StackState((), states, zeros), states

    def __call__(self, carry: E3DLSTMStackCarry, inputs: jax.Array):
        """One step.

        Args:
          carry: from `initialize_carry` or the step before.
          inputs: X, `[B, D, H, W, channels]`.

        Returns:
          The new carry and H of the top layer, `[B, D, H, W, C]`.
        """
        chex.assert_rank(inputs, 5)
        weights = self.weights(inputs.shape)
        operations = Operations(remembered_steps(carry.histories, carry.steps))
        inputs = inputs.astype(carry.state.memory.dtype)
        state = update_stack(weights, self.options, carry.state, inputs, operations)
        histories = tuple(
            remember(history, carry.steps, cell)
            for history, cell in zip(carry.histories, state.cells, strict=True)
        )
        return E3DLSTMStackCarry(state, histories, carry.steps + 1), state.hiddens[-1]

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> E3DLSTMStackCarry:
        """The carry before the first step, for inputs of shape `[B, D, H, W, channels]`.

        Raises:
          InputError: `history` is None, so that the carry would have no fixed shape.
        """
        slots = required_history(self.history, self.recall)
        dtype = self.dtype or jnp.float32
        shape = (*input_shape[:-1], self.features)
        keys = jax.random.split(rng, 2 * self.layers + 1)
        states = [self.carry_init(key, shape, dtype) for key in keys]
        state = StackState(
            tuple(states[: self.layers]), tuple(states[self.layers : -1]), states[-1]
        )
        history = jnp.zeros((shape[0], slots, *shape[1:]), dtype)
        return E3DLSTMStackCarry(state, (history,) * self.layers, jnp.zeros(shape[0], jnp.int32))
