"""The Eidetic 3D LSTM cell, whose equations are in `equations.py`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.history import History, ages_of_slots, write
from e3d.kernels.modes import Operations
from e3d.kernels.platforms import is_for_accelerators
from e3d.model.equations import AGES, CellOptions, E3DLSTMState, join_inputs, update_e3d_lstm
from e3d.model.gates import join_operators, kernel_shapes, mark_kernels
from e3d.model.openstl import openstl_shapes, update_openstl
from e3d.model.recurrent import CellBase


class E3DLSTMCarry(NamedTuple):
    """What `E3DLSTMCell` carries from step to step.

    Attributes:
      cell: C, `[B, D, H, W, C]`.
      hidden: H, `[B, D, H, W, C]`.
      memory: M, `[B, D, H, W, C]`; () in a layer of a stack that hands it to the layer above.
      history: the remembered C, `[B, K, D, H, W, C]`, K slots used in turn.
      steps: how many steps each sequence has seen, int32 `[B]`.
    """

    cell: jax.Array
    hidden: jax.Array
    memory: jax.Array
    history: jax.Array
    steps: jax.Array


class E3DLSTMCell(CellBase):
    """Eidetic 3D LSTM cell, for `nn.RNN`, `nn.scan` or your own loop.

    A lone cell is a stack of one: the M it receives from below is its own M of the step before. The
    equations are those of `update_e3d_lstm`. The carry keeps the last `history` cell states; it has a
    fixed shape and knows no sequence length, so `history` must be a number here (`T - 1` remembers
    all of T steps). `E3DLSTM`, which knows its length, trains in less time and memory.

    Attributes:
      features: channels C of the states.
      kernel_size: depth, height and width of the convolutions; (1, 5, 5) on inputs of depth 1 is the
        "without 3D convolutions" ablation.
      history: how many earlier cell states RECALL looks at (tau). Needed for `initialize_carry`.
      variant: 'paper', 'refined', 'gated', 'timed', 'released', 'published' or 'openstl', see
        `CellOptions`.
      convolution: 'same', 'transposed' or 'separable', see `gates.py`.
      recall: what RECALL attends to: 'everywhere', 'in_place', 'nearby' or 'none', see
        `CellOptions`.
      recall_radius: how far 'nearby' looks in height and width.
      stride: of the convolutions of 'openstl'; 1 for the others.
      dtype: type of the computation, float32 if None. Softmax and LayerNorm sums are float32 always.
      param_dtype: type of the parameters.
      kernel_init: initializer of the kernels.
      carry_init: initializer of C, H and M.

    Example:
      >>> cell = e3d.E3DLSTMCell(features=4, kernel_size=(2, 3, 3), history=2)
      >>> clips = e3d.windows(np.zeros((2, 3, 8, 8, 1), np.float32))  # [B, T, D, H, W, C]
      >>> nn.RNN(cell).init_with_output(jax.random.key(0), clips)[0].shape
      (2, 3, 2, 8, 8, 4)
    """

    features: int
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    history: int | None = None
    variant: str = 'paper'
    convolution: str = 'same'
    recall: str | bool = 'everywhere'
    recall_radius: int = 1
    stride: int = 1
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    carry_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    State = E3DLSTMState

    @property
    def options(self) -> CellOptions:
        """The form of the equations, checked.

        Raises:
          InputError: a field has a value that is not allowed.
        """
        fields = dataclasses.fields(CellOptions)
        return CellOptions(**{field.name: getattr(self, field.name) for field in fields})

    @property
    def update(self) -> Callable:
        """The equations of this cell, see `update_e3d_lstm` and `update_openstl`."""
        options = self.options
        update = update_openstl if options.variant == 'openstl' else update_e3d_lstm
        return functools.partial(update, options)

    @property
    def recalls(self) -> bool:
        """Whether a step looks at earlier C."""
        return self.options.recalls

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        options, features = self.options, self.features
        if options.variant == 'openstl':
            return self._openstl_weights(shape)
        released = options.normalizes_gates

        def declare(name: str, channels: int, gates: int, bias: bool, norm: bool):
            return self.param(name, self._initial_group, channels, gates, bias, norm)

        operands = {
            'input_gates': (shape[-1], True),
            'hidden_gates': (features, released),
            'memory_gates': (features, released),
        }
        groups = {
            name: declare(name, channels, len(options.gates[name]), bias, released)
            for name, (channels, bias) in operands.items()
        }
        if options.convolution == 'same' and not released and is_for_accelerators():
            groups = join_inputs(options, groups)
        groups = {name: mark_kernels(group) for name, group in groups.items()}
        outputs = join_operators(
            [
                declare(f'{state}_output', features, 1, released, False)
                for state in ('cell', 'memory')
            ]
        )
        groups['outputs'] = [mark_kernels(group) for group in outputs]
        if options.normalizes:
            groups['cell_norm'] = self.param('cell_norm', lambda key: self._initial_norm(features))
        if options.timed:
            steps = self.param('ages', lambda key: jnp.zeros(AGES, self.param_dtype))
            groups['bias_of_ages'] = jnp.cumsum(steps)  # once, and not at every step
        groups['projection'] = self.param('projection', self._initial_projection, released)
        return groups

    def _openstl_weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        groups = {
            name: self.param(name, self._initial_arrays, shapes)
            for name, shapes in openstl_shapes(self.options, shape).items()
        }
        outputs = join_operators([groups.pop('cell_output'), groups.pop('memory_output')])
        convolved = {name: mark_kernels(groups[name]) for name in ('input_gates', 'hidden_gates')}
        return groups | convolved | {'outputs': [mark_kernels(outputs[0])]}

    def _initial_arrays(self, key, shapes: dict[str, tuple[int, ...]]):
        initial = {
            'kernel': self.kernel_init,
            'norm_scale': nn.initializers.ones_init(),
            'norm_bias': nn.initializers.zeros_init(),
        }
        return {name: initial[name](key, shape, self.param_dtype) for name, shape in shapes.items()}

    def _initial_group(self, key, channels: int, gates: int, bias: bool, norm: bool):
        outputs = gates * self.features
        shapes = kernel_shapes(
            self.convolution, tuple(self.kernel_size), channels, self.features, gates
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

    @nn.nowrap
    def check(self, carry: E3DLSTMCarry, shape: tuple[int, ...]) -> None:
        """Raises InputError unless the carry fits inputs of this shape."""
        super().check(carry, shape)
        batch, *grid = shape[:-1]
        slot = (*grid, self.features)
        history, steps = jnp.shape(carry.history), jnp.shape(carry.steps)
        if (history[0], *history[2:]) != (batch, *slot) or steps != (batch,):
            raise InputError(
                f'the carry has history of shape {history} and steps of shape {steps}, but inputs of '
                f'shape {tuple(shape)} need {(batch, "K", *slot)} and {(batch,)}: make the carry with '
                'initialize_carry(rng, inputs.shape)'
            )

    @nn.nowrap
    def step(
        self, weights, carry: E3DLSTMCarry, inputs: jax.Array, operations: Operations
    ) -> E3DLSTMCarry:
        """One step, with the history in the carry."""
        state = E3DLSTMState(carry.cell, carry.hidden, carry.memory)
        history = carry.history
        if not self.recalls:
            state = self.update(weights, state, inputs, operations)
            return E3DLSTMCarry(*state, history, carry.steps + 1)
        states = history.reshape(*history.shape[:2], -1, history.shape[-1])
        past = History(states, ages_of_slots(states, carry.steps))
        state = self.update(weights, state, inputs, operations, past)
        history = write(history, carry.steps, state.cell)
        return E3DLSTMCarry(*state, history, carry.steps + 1)

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> E3DLSTMCarry:
        """The carry before the first step, for inputs of shape `[B, D, H, W, channels]`.

        Raises:
          InputError: another number of axes; `history` is None, so that the carry would have no
            fixed shape; or a type in which no gradient of the variant is finite.
        """
        if self.variant == 'published' and jnp.dtype(self.dtype or 'float32') == jnp.float16:
            raise InputError(
                "dtype=float16: must be float32, bfloat16 or float64 with variant='published', whose "
                'LayerNorm multiplies the gradients of the first state by 10^6, more than float16 holds'
            )
        if self.recalls and self.history is None:
            raise InputError(
                'history=None: the carry of a cell or stack has a fixed shape, so history must be '
                'an integer >= 1 here; history=T-1 remembers all of a sequence of T steps'
            )
        slots = self.options.history if self.recalls else 0
        state = super().initialize_carry(rng, input_shape)
        batch, *shape = state.cell.shape
        history = jnp.zeros((batch, slots, *shape), state.cell.dtype)
        return E3DLSTMCarry(*state, history, jnp.zeros(batch, jnp.int32))

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...]) -> E3DLSTMState:
        """C, H and M before the first step, for inputs of this shape."""
        return super().initialize_carry(jax.random.key(0), shape)
