"""What the convolutional recurrent cells that E3D-LSTM is compared with have in common.

A cell declares its weights and has a pure function `update(weights, state, inputs, operations) ->
state`, whose `hidden` is the output. `RecurrentCell` makes a `flax.linen.RNNCellBase` of that;
`RecurrentStack` piles cells up, for `nn.RNN` or for a `Forecaster`. States are `[B, D, H, W, C]`:
pictures have D = 1, and a kernel deeper than 1 makes any of the cells a 3D one.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.convolution import same_padding
from e3d.kernels.layer_norm import layer_norm
from e3d.kernels.modes import Operations, Remembered
from e3d.model.cell import check_sizes


def convolve_gates(
    group: dict[str, jax.Array], operand: jax.Array, features: int, operations: Operations
) -> list[jax.Array]:
    """The pre-activations `W * operand + b` of a group of gates, each `[B, D, H, W, features]`.

    Where the group has `norm_scale` and `norm_bias`, its gates are normalised together (LayerNorm over
    D, H, W and all channels of a sample), and `norm_bias` is b.
    """
    kernel = group['kernel']
    outputs = operations.convolve(operand, kernel, same_padding(kernel.shape[:3]))
    if 'norm_scale' in group:
        outputs = layer_norm(outputs, group)
    elif 'bias' in group:
        outputs = outputs + group['bias'].astype(outputs.dtype)
    return jnp.split(outputs, outputs.shape[-1] // features, axis=-1)


class RecurrentCell(nn.RNNCellBase):
    """A convolutional recurrent cell; the base of `ConvLSTMCell`, `STLSTMCell` and others.

    A subclass has `State`, a NamedTuple with `hidden` among its fields, the pure function `update`,
    and a method `weights(shape)` that declares the parameters for inputs of that shape.

    Attributes:
      features: channels C of the states.
      kernel_size: depth, height and width of the convolutions.
      layer_norm: LayerNorm on the joint pre-activations of each convolution, in place of biases.
      dtype: type of the computation, float32 if None.
      param_dtype: type of the parameters.
      kernel_init: initializer of the kernels.
      carry_init: initializer of the states.
    """

    features: int
    kernel_size: tuple[int, int, int] = (1, 5, 5)
    layer_norm: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    carry_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    State: ClassVar[type]
    update: ClassVar[Callable]

    @property
    def num_feature_axes(self) -> int:
        """Depth, height, width and channels: `nn.RNN` finds time before them."""
        return 4

    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        raise NotImplementedError

    def declare_gates(
        self, name: str, channels: int, gates: int, bias: Sequence[float] | None = None
    ):
        """Declares a group of gates; `bias` has the first value for each gate, None for no bias."""
        check_sizes(self.features, self.kernel_size)
        return self.param(name, self._initial_gates, channels, gates, bias)

    def _initial_gates(self, key, channels: int, gates: int, bias: Sequence[float] | None):
        outputs = gates * self.features
        kernel = self.kernel_init(key, (*self.kernel_size, channels, outputs), self.param_dtype)
        biases = jnp.repeat(jnp.array(bias or gates * (0.0,), self.param_dtype), self.features)
        if self.layer_norm:
            scale = jnp.ones(outputs, self.param_dtype)
            return {'kernel': kernel, 'norm_scale': scale, 'norm_bias': biases}
        return {'kernel': kernel} | ({'bias': biases} if bias else {})

    def declare_product(self, name: str, channels: int) -> jax.Array:
        """Declares the kernel of a 1 x 1 x 1 convolution from `channels`, `[channels, C]`."""
        return self.param(name, self.kernel_init, (channels, self.features), self.param_dtype)

    def __call__(self, carry, inputs: jax.Array):
        """One step.

        Args:
          carry: the state, from `initialize_carry` or the step before.
          inputs: X, `[B, D, H, W, channels]`.

        Returns:
          The new state and its H, `[B, D, H, W, C]`.
        """
        chex.assert_rank(inputs, 5)
        weights = self.weights(inputs.shape)
        carry = self.update(weights, carry, inputs.astype(carry.hidden.dtype), compute())
        return carry, carry.hidden

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]):
        """The state before the first step, for inputs of shape `[B, D, H, W, channels]`."""
        shape = (*input_shape[:-1], self.features)
        keys = jax.random.split(rng, len(self.State._fields))
        return self.State(*(self.carry_init(key, shape, self.dtype or jnp.float32) for key in keys))


def compute() -> Operations:
    """Operations that just compute, for cells that recall nothing."""
    return Operations(Remembered((), jnp.ones((0, 0), bool)))


def update_layers(
    updates: Sequence[Callable],
    weights: Sequence[Any],
    states: Sequence[Any],
    inputs: jax.Array,
    operations: Operations,
) -> tuple[Any, ...]:
    """One step of all layers, from the bottom to the top; each layer's X is H of the layer below.

    The spatiotemporal memory M goes through those layers that have one, and from the top one to the
    lowest one of the next step.

    Args:
      updates: of each layer.
      weights: the tree of each layer.
      states: of each layer, after the step before.
      inputs: X of the bottom layer, `[B, D, H, W, channels]`.
      operations: carries out the convolutions.

    Returns:
      The new states.
    """
    memory = next((state.memory for state in reversed(states) if hasattr(state, 'memory')), None)
    new_states = []
    for update, layer_weights, state in zip(updates, weights, states, strict=True):
        if hasattr(state, 'memory'):
            state = update(layer_weights, state._replace(memory=memory), inputs, operations)
            memory = state.memory
        else:
            state = update(layer_weights, state, inputs, operations)
        inputs = state.hidden
        new_states.append(state)
    return tuple(new_states)


class RecurrentStack(nn.RNNCellBase):
    """Several cells as one, for `nn.RNN`, a loop of one's own, or a `Forecaster`.

    Attributes:
      cells: from the bottom to the top; those with a spatiotemporal memory have equal widths.
    """

    cells: Sequence[RecurrentCell]

    @property
    def num_feature_axes(self) -> int:
        """Depth, height, width and channels: `nn.RNN` finds time before them."""
        return 4

    @property
    def step(self) -> Callable:
        """What a forecaster does with the stack at each step of its loop."""
        return functools.partial(_step, tuple(cell.update for cell in self.cells))

    def weights(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Declares the parameters for inputs of this shape; a tree for each layer."""
        trees = []
        for cell in self.cells:
            trees.append(cell.weights(shape))
            shape = (*shape[:-1], cell.features)
        return tuple(trees)

    def __call__(self, carry, inputs: jax.Array):
        """One step.

        Args:
          carry: the state of each layer, from `initialize_carry` or the step before.
          inputs: X, `[B, D, H, W, channels]`.

        Returns:
          The new carry and H of the top layer, `[B, D, H, W, C]`.
        """
        chex.assert_rank(inputs, 5)
        weights = self.weights(inputs.shape)
        inputs = inputs.astype(carry[0].hidden.dtype)
        carry, _, outputs = self.step(weights, carry, (), inputs, compute())
        return carry, outputs

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> tuple[Any, ...]:
        """The states before the first step, for inputs of shape `[B, D, H, W, channels]`."""
        keys = jax.random.split(rng, len(self.cells))
        return tuple(
            cell.initialize_carry(key, input_shape)
            for key, cell in zip(keys, self.cells, strict=True)
        )

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...]):
        """What `step` begins with, for inputs of this shape."""
        return self.initialize_carry(jax.random.key(0), shape), ()


def _step(updates: Sequence[Callable], weights, states, cells, inputs, operations: Operations):
    """`update_layers` as a forecaster's step; nothing is recalled, so there are no cells."""
    states = update_layers(updates, weights, states, inputs, operations)
    return states, cells, states[-1].hidden
