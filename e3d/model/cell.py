"""The Eidetic 3D LSTM cell (paper, equations 1 and 2)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jax.numpy import tanh

from e3d.errors import InputError
from e3d.kernels.history import History, valid_slots, write
from e3d.kernels.layer_norm import layer_norm
from e3d.kernels.modes import Operations
from e3d.model.fields import check_at_least, check_choice, check_sizes
from e3d.model.gates import (
    OPERATORS,
    add_bias,
    convolve_gates,
    join_operators,
    kernel_shapes,
    mark_kernels,
)
from e3d.model.recurrent import CellBase


class E3DLSTMState(NamedTuple):
    """States of one layer, each `[B, D, H, W, C]`; as an argument, `memory` is M_below."""

    cell: jax.Array  # C, the eidetic 3D memory
    hidden: jax.Array  # H
    memory: jax.Array  # M, the spatiotemporal memory


class Form(NamedTuple):
    """What the variants of the cell do differently."""

    forget: Callable  # from the pre-activation of F' to F'
    carried: Callable  # from M_below and the gates that see it to what F' weighs
    output: Callable  # from the pre-activation of O to O


# What RECALL attends to, see `update_e3d_lstm`.
RECALLS = ('everywhere', 'in_place', 'nearby', 'none')
MOST_RADIUS = 16  # the work grows with its square

# `released` is the form of the published code, its unused update of M mended. It also has a LayerNorm on
# the joint pre-activations of each group of gates: see `E3DLSTMCell.weights`.
VARIANTS = {
    'paper': Form(forget=sigmoid, carried=lambda M_below, m: M_below, output=sigmoid),
    'released': Form(
        forget=lambda gate: sigmoid(gate + 1),
        carried=lambda M_below, m: tanh(m.m),
        output=lambda gate: sigmoid(tanh(gate)),
    ),
}


@dataclasses.dataclass(frozen=True)
class CellOptions:
    """What decides the equations of a cell, apart from its weights.

    Attributes:
      features: channels C of every state and gate.
      kernel_size: depth, height and width of the gate convolutions.
      history: how many earlier C RECALL looks at (tau); None for all.
      variant: 'paper' for equations 1 and 2 as printed, 'released' for the published code's form.
      convolution: the operator `*`: 'same', 'transposed' or 'separable' (see `gates.py`).
      recall: 'everywhere', 'in_place' or 'nearby', see `update_e3d_lstm`; 'none' leaves the memory
        attention out (baseline 4 of Table 2): C = I.G + LN(C'). True is 'everywhere', False 'none'.
      recall_radius: r of 'nearby', 0 to 16; the others do not use it.
    """

    features: int
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    history: int | None = None
    variant: str = 'paper'
    convolution: str = 'same'
    recall: str | bool = 'everywhere'
    recall_radius: int = 1

    def __post_init__(self):
        if isinstance(self.recall, bool):
            object.__setattr__(self, 'recall', 'everywhere' if self.recall else 'none')
        check_choice('variant', self.variant, tuple(VARIANTS))
        check_choice('convolution', self.convolution, OPERATORS)
        check_choice('recall', self.recall, RECALLS)
        check_at_least({'recall_radius': (self.recall_radius, 0)})
        if self.recall_radius > MOST_RADIUS:
            raise InputError(f'recall_radius={self.recall_radius}: must be at most {MOST_RADIUS}')
        check_sizes(self.features, self.kernel_size)
        object.__setattr__(self, 'kernel_size', tuple(self.kernel_size))
        if self.history is not None and self.recalls:
            check_at_least({'history': (self.history, 1)})

    @property
    def recalls(self) -> bool:
        """Whether there is a recall gate."""
        return self.recall != 'none'

    @property
    def radius(self) -> int | None:
        """How far RECALL looks, as `e3d.kernels.recall` has it."""
        return {'in_place': 0, 'nearby': self.recall_radius}.get(self.recall)

    @property
    def gates(self) -> dict[str, tuple[str, ...]]:
        """The gates of each group that shares an operand, in the order of its kernel's outputs."""
        temporal = ('i', 'g', 'o', *(('r',) if self.recalls else ()))
        spatial = ('i_', 'g_', 'f_')
        return {
            'input_gates': temporal + spatial,
            'hidden_gates': temporal,
            'memory_gates': (*spatial, 'm') if self.variant == 'released' else spatial,
        }


def update_e3d_lstm(
    options: CellOptions,
    weights: Mapping[str, Any],
    state: E3DLSTMState,
    inputs: jax.Array,
    operations: Operations,
    history: History | None = None,
) -> E3DLSTMState:
    """One step of one layer.

        R  = sigmoid(Wxr*X + Whr*H' + br)    I = sigmoid(Wxi*X + Whi*H' + bi)
        G  = tanh(Wxg*X + Whg*H' + bg)
        C  = I.G + LayerNorm(C' + RECALL(R, history))                                       (1)
        I' = sigmoid(W'xi*X + Wmi*M_below + b'i)    G' = tanh(W'xg*X + Wmg*M_below + b'g)
        F' = sigmoid(W'xf*X + Wmf*M_below + b'f)
        M  = I'.G' + F'.M_below
        O  = sigmoid(Wxo*X + Who*H' + Wco*C + Wmo*M + bo)
        H  = O.tanh(W1x1x1*[C, M])                                                          (2)

    With S_k the C of earlier step k and p a position of depth, height and width, R[p] a vector of
    channels,

        RECALL(R, S)[p] = sum_kq softmax_kq(R[p] . S_k[q]) S_k[q]

    where q is, with `recall='everywhere'`, any position, as equation 1 is printed; with 'in_place' p
    alone; with 'nearby' those in the depth of p that are at most `recall_radius` = r from it in height
    and in width, (2r+1) x (2r+1) of them or, at the border of the frame, fewer.

    `variant='released'` has F' = sigmoid(. + 1), M = I'.G' + F'.tanh(Wmm*M_below), O = sigmoid(tanh(.)).

    Args:
      options: which form of the equations.
      weights: the tree of `E3DLSTMCell.weights`.
      state: C' and H' of this layer at the step before, and M_below.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions and RECALL.
      history: C of this layer at earlier steps; not needed with `recall='none'`.

    Returns:
      The new C, H and M.
    """
    form = VARIANTS[options.variant]
    C_before, H_before, M_below = state

    def gates(name: str, operand: jax.Array) -> SimpleNamespace:
        values = convolve_gates(weights[name], operand, options.features, operations)
        return SimpleNamespace(**dict(zip(options.gates[name], values, strict=True)))

    x = gates('input_gates', inputs)  # x.i is Wxi*X + bi, x.i_ is W'xi*X + b'i
    h = gates('hidden_gates', H_before)
    m = gates('memory_gates', M_below)

    past = C_before
    if options.recalls:
        R = sigmoid(x.r + h.r)
        past = C_before + operations.recall(R, history, options.radius)
    I = sigmoid(x.i + h.i)
    G = tanh(x.g + h.g)
    C = I * G + layer_norm(past, weights['cell_norm'])  # (1)

    I_ = sigmoid(x.i_ + m.i_)
    G_ = tanh(x.g_ + m.g_)
    F_ = form.forget(x.f_ + m.f_)
    M = I_ * G_ + F_ * form.carried(M_below, m)

    C_and_M = jnp.concatenate([C, M], axis=-1)
    O = form.output(x.o + h.o + _output_terms(weights['outputs'], C_and_M, options, operations))
    H = O * tanh(_project(weights['projection'], C_and_M))  # (2)
    return E3DLSTMState(C, H, M)


def _output_terms(groups, C_and_M: jax.Array, options: CellOptions, operations: Operations):
    """Wco*C + Wmo*M."""
    operands = jnp.split(C_and_M, len(groups), axis=-1)
    return sum(
        convolve_gates(group, operand, options.features, operations)[0]
        for group, operand in zip(groups, operands, strict=True)
    )


def _project(group: Mapping[str, jax.Array], states: jax.Array) -> jax.Array:
    """W1x1x1 * states."""
    return add_bias(states @ group['kernel'].astype(states.dtype), group)


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
      variant: 'paper' or 'released', see `update_e3d_lstm`.
      convolution: 'same', 'transposed' or 'separable', see `gates.py`.
      recall: what RECALL attends to: 'everywhere', 'in_place', 'nearby' or 'none', see
        `CellOptions`.
      recall_radius: how far 'nearby' looks in height and width.
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
    recall: str | bool = 'everywhere'
    recall_radius: int = 1
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
        """The equations of this cell, see `update_e3d_lstm`."""
        return functools.partial(update_e3d_lstm, self.options)

    @property
    def recalls(self) -> bool:
        """Whether a step looks at earlier C."""
        return self.options.recalls

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters for inputs of this shape and returns their tree."""
        options, features = self.options, self.features
        released = options.variant == 'released'

        def declare(name: str, channels: int, gates: int, bias: bool, norm: bool):
            return self.param(name, self._initial_group, channels, gates, bias, norm)

        operands = {
            'input_gates': (shape[-1], True),
            'hidden_gates': (features, released),
            'memory_gates': (features, released),
        }
        groups = {
            name: mark_kernels(declare(name, channels, len(options.gates[name]), bias, released))
            for name, (channels, bias) in operands.items()
        }
        outputs = join_operators(
            [
                declare(f'{state}_output', features, 1, released, False)
                for state in ('cell', 'memory')
            ]
        )
        return groups | {
            'outputs': [mark_kernels(group) for group in outputs],
            'cell_norm': self.param('cell_norm', lambda key: self._initial_norm(features)),
            'projection': self.param('projection', self._initial_projection, released),
        }

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
        past = History(states, valid_slots(states, carry.steps))
        state = self.update(weights, state, inputs, operations, past)
        history = write(history, carry.steps, state.cell)
        return E3DLSTMCarry(*state, history, carry.steps + 1)

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> E3DLSTMCarry:
        """The carry before the first step, for inputs of shape `[B, D, H, W, channels]`.

        Raises:
          InputError: another number of axes; or `history` is None, so that the carry would have no
            fixed shape.
        """
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
