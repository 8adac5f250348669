"""What all convolutional recurrent cells have in common.

A cell declares its weights and has a pure function `update(weights, state, inputs, operations) ->
state`, whose `hidden` is the output. `CellBase` makes a `flax.linen.RNNCellBase` of that; `stack.py`
piles cells up. `RecurrentCell` adds the fields of the models that E3D-LSTM is compared with. States
are `[B, D, H, W, C]`: pictures have D = 1, and a kernel deeper than 1 makes any of the cells a 3D one.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.modes import Operations
from e3d.model.fields import (
    DTYPES,
    check_dtype,
    check_input_shape,
    check_sizes,
    check_states,
    parameters_for,
)
from e3d.model.gates import mark_kernels


class CellBase(nn.RNNCellBase):
    """A convolutional recurrent cell, without fields.

    A subclass has `State`, a NamedTuple with `hidden` among its fields, the pure function `update`,
    and a method `weights(shape)` that declares the parameters for inputs of that shape. A state with a
    field `memory` takes part in the zig-zag route of M (see `stack.py`). Where `recalls` is true,
    `update` takes a `history` of the state's `cell`, too, and a field `history` says of how many earlier
    steps; None, or no such field, for all.
    """

    if TYPE_CHECKING:  # fields of every subclass
        features: int
        kernel_size: tuple[int, int, int]
        dtype: Any
        carry_init: nn.initializers.Initializer

    State: ClassVar[type]
    update: ClassVar[Callable]

    @property
    def num_feature_axes(self) -> int:
        """Depth, height, width and channels: `nn.RNN` finds time before them."""
        return 4

    @property
    def recalls(self) -> bool:
        """Whether a step looks at the `cell` of earlier steps."""
        return False

    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        raise NotImplementedError

    def __call__(self, carry, inputs: jax.Array):
        """One step.

        Args:
          carry: from `initialize_carry` or the step before.
          inputs: X, `[B, D, H, W, channels]`.

        Returns:
          The new carry and its H, `[B, D, H, W, C]`.

        Raises:
          InputError: inputs with another number of axes, or a carry for others.
        """
        self.check(carry, inputs.shape)
        with parameters_for(inputs.shape):
            weights = self.weights(inputs.shape)
        carry = self.step(weights, carry, inputs.astype(carry.hidden.dtype), Operations())
        return carry, carry.hidden

    @nn.nowrap
    def check(self, carry, shape: tuple[int, ...]) -> None:
        """Raises InputError unless the carry fits inputs of this shape."""
        check_input_shape(shape)
        if not hasattr(carry, '_asdict'):
            raise InputError(f'{type(self).__name__}: the carry must be from initialize_carry')
        states = carry._asdict()
        known = {name: states.get(name, ()) for name in ('hidden', 'cell', 'memory')}
        known = {name: state for name, state in known.items() if not isinstance(state, tuple)}
        check_states(known, shape, self.features)

    @nn.nowrap
    def step(self, weights, carry, inputs: jax.Array, operations: Operations):
        """One step, from carry to carry."""
        return self.update(weights, carry, inputs, operations)

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]):
        """The state before the first step, for inputs of shape `[B, D, H, W, channels]`."""
        check_input_shape(input_shape)
        check_sizes(self.features, self.kernel_size)
        shape = (*input_shape[:-1], self.features)
        dtype = jnp.float32 if self.dtype is None else self.dtype
        check_dtype(dtype, (*DTYPES, 'float16'))
        keys = jax.random.split(rng, len(self.State._fields))
        return self.State(*(self.carry_init(key, shape, dtype) for key in keys))

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...]):
        """The state that `update` begins with, for inputs of this shape."""
        return self.initialize_carry(jax.random.key(0), shape)


class RecurrentCell(CellBase):
    """A convolutional recurrent cell; the base of `ConvLSTMCell`, `STLSTMCell` and others.

    See `CellBase` for what a subclass has.

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

    def declare_gates(
        self, name: str, channels: int, gates: int, bias: Sequence[float] | None = None
    ) -> dict[str, Any]:
        """Declares a group of gates; `bias` has the first value for each gate, None for no bias."""
        check_sizes(self.features, self.kernel_size)
        return mark_kernels(self.param(name, self._initial_gates, channels, gates, bias))

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
