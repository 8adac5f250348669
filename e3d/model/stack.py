"""Stacked cells of any kind, with the zig-zag route of the spatiotemporal memory M."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import flax.linen as nn
import jax

from e3d.errors import InputError
from e3d.kernels.history import History
from e3d.kernels.modes import Operations
from e3d.model.fields import check_input_shape, parameters_for
from e3d.model.recurrent import CellBase

Arrays = tuple[jax.Array, ...]
StackStep = Callable[
    [Any, Any, Arrays, tuple[History, ...], jax.Array, Operations], tuple[Any, Arrays, jax.Array]
]


class Stack(Protocol):
    """What a forecaster or recognizer asks of its recurrent layers.

    Attributes:
      step: pure function `(weights, state, remembered, histories, inputs, operations) -> (state,
        remembered, outputs)`. `remembered` are the states that RECALL remembers, of each layer that
        recalls; `histories` are those of earlier steps. Inputs and outputs are `[B, D, h, w, channels]`.
        It asks its `operations` for every convolution and RECALL (see `e3d.kernels.modes`), and so gets
        their fast gradients and the choice of what training keeps.
    """

    @property
    def step(self) -> StackStep:
        """See above."""
        ...

    def weights(self, shape: tuple[int, ...]) -> Any:
        """Declares the parameters for inputs of this shape: a tree."""
        ...

    def initial_state(self, shape: tuple[int, ...]) -> tuple[Any, Arrays]:
        """State and remembered states before the first step, for inputs of this shape."""
        ...

    @property
    def recall_window(self) -> int | None:
        """How many of the newest states RECALL looks at, >= 1; None for all."""
        ...


def update_layers(
    updates: Sequence[Callable],
    weights: Sequence[Any],
    states: Sequence[Any],
    inputs: jax.Array,
    operations: Operations,
) -> tuple[Any, ...]:
    """One step of all layers, from the bottom to the top; each layer's X is H of the layer below.

    The spatiotemporal memory M goes through those layers that have one, and from the top one to the
    lowest one of the next step; so between two steps only the top one of them has it.

    Args:
      updates: of each layer, `(weights, state, inputs, operations) -> state`.
      weights: the tree of each layer.
      states: of each layer, after the step before.
      inputs: X of the bottom layer, `[B, D, H, W, channels]`.
      operations: carries out the convolutions and RECALL.

    Returns:
      The new states.

    Raises:
      InputError: a layer's state does not keep its shapes and types.
    """
    memory = next((state.memory for state in reversed(states) if hasattr(state, 'memory')), None)
    new_states = []
    for layer, (update, state) in enumerate(zip(updates, states, strict=True)):
        if hasattr(state, 'memory'):
            state = state._replace(memory=memory)
        new_state = update(weights[layer], state, inputs, operations)
        _check_kept(layer, state, new_state)
        memory = getattr(new_state, 'memory', memory)
        inputs = new_state.hidden
        new_states.append(new_state)
    return memory_of_the_top(new_states)


def memory_of_the_top(states: Sequence[Any]) -> tuple[Any, ...]:
    """The states with () as M of every layer but the highest that has one."""
    having = [layer for layer, state in enumerate(states) if hasattr(state, 'memory')]
    widths = {states[layer].hidden.shape[-1] for layer in having}
    if len(widths) > 1:
        raise InputError(
            f'features of {" and ".join(map(str, sorted(widths)))}: cells with a spatiotemporal memory '
            'must have equal features, as it passes through all of them'
        )
    return tuple(
        state._replace(memory=()) if layer in having[:-1] else state
        for layer, state in enumerate(states)
    )


def _check_kept(layer: int, before: Any, after: Any) -> None:
    for name, old, new in zip(before._fields, before, after, strict=True):
        if jax.tree.structure(old) != jax.tree.structure(new):
            raise InputError(f'layer {layer}: update() returns another form of `{name}`')
        for one, other in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                raise InputError(
                    f'layer {layer}: update() returns `{name}` as {other.dtype}{other.shape}, but its '
                    f'state has {one.dtype}{one.shape}. Where the type differs: parameters are '
                    'float32 whatever the type of the states, so cast them where they are used, as in '
                    'weights[...].astype(state.hidden.dtype)'
                )


class StackBase(nn.RNNCellBase):
    """Several cells as one, for `nn.RNN`, your own loop, or a `Forecaster`.

    A subclass has `cells` once it is bound, and gives them unbound by `build_cells`.
    """

    @property
    def num_feature_axes(self) -> int:
        """Depth, height, width and channels: `nn.RNN` finds time before them."""
        return 4

    @nn.nowrap
    def build_cells(self) -> Sequence[CellBase]:
        """The cells, from the bottom to the top."""
        raise NotImplementedError

    @property
    def step(self) -> StackStep:
        """What a forecaster does with the stack at each step of its loop, see `Stack`."""
        cells = self.build_cells()
        recalls = tuple(cell.recalls for cell in cells)
        return functools.partial(_step, tuple(cell.update for cell in cells), recalls)

    def weights(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Declares the parameters for inputs of this shape; a tree for each layer."""
        trees = []
        for cell in self.cells:
            trees.append(cell.weights(shape))
            shape = (*shape[:-1], cell.features)
        return tuple(trees)

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...]) -> tuple[Any, Arrays]:
        """What `step` begins with, for inputs of this shape, see `Stack`."""
        cells = self.build_cells()
        states = memory_of_the_top([cell.initial_state(shape) for cell in cells])
        return _set_apart(states, [cell.recalls for cell in cells])

    @property
    def recall_window(self) -> int | None:
        """The `history` of the cells that recall; 1, which is no matter, where none does.

        Raises:
          InputError: they differ, but one loop remembers for all.
        """
        windows = {getattr(cell, 'history', None) for cell in self.build_cells() if cell.recalls}
        if len(windows) > 1:
            raise InputError(
                f'history of {" and ".join(sorted(map(str, windows)))}: cells that recall must have '
                'equal history, as one loop remembers their states'
            )
        return windows.pop() if windows else 1

    def __call__(self, carry, inputs: jax.Array):
        """One step.

        Args:
          carry: of each layer, from `initialize_carry` or the step before.
          inputs: X, `[B, D, H, W, channels]`.

        Returns:
          The new carry and H of the top layer, `[B, D, H, W, C]`.

        Raises:
          InputError: inputs with another number of axes, or a carry for others.
        """
        check_input_shape(inputs.shape)
        if len(carry) != len(self.cells):
            raise InputError(
                f'a carry of {len(carry)} parts for {len(self.cells)} layers: make the carry with '
                'initialize_carry(rng, inputs.shape)'
            )
        for cell, state in zip(self.cells, carry, strict=True):
            cell.check(state, inputs.shape)
        with parameters_for(inputs.shape):
            weights = self.weights(inputs.shape)
        inputs = inputs.astype(carry[0].hidden.dtype)
        steps = [cell.step for cell in self.cells]
        carry = update_layers(steps, weights, carry, inputs, Operations())
        return carry, carry[-1].hidden

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> tuple[Any, ...]:
        """The carry before the first step, for inputs of shape `[B, D, H, W, channels]`."""
        cells = self.build_cells()
        if not cells:
            raise InputError('cells=(): a stack that is a cell itself needs at least one')
        keys = jax.random.split(rng, len(cells))
        return memory_of_the_top(
            [cell.initialize_carry(key, input_shape) for key, cell in zip(keys, cells, strict=True)]
        )


class RecurrentStack(StackBase):
    """Several cells as one, for `nn.RNN`, your own loop, or a `Forecaster`.

    Attributes:
      cells: from the bottom to the top; those with a spatiotemporal memory have equal widths.
    """

    cells: Sequence[CellBase]

    @nn.nowrap
    def build_cells(self) -> Sequence[CellBase]:
        """The cells."""
        return self.cells


def _set_apart(states: Sequence[Any], recalls: Sequence[bool]) -> tuple[tuple[Any, ...], Arrays]:
    """States without the C that RECALL remembers, and these."""
    remembered = tuple(
        state.cell for state, recalled in zip(states, recalls, strict=True) if recalled
    )
    rest = tuple(
        state._replace(cell=()) if recalled else state
        for state, recalled in zip(states, recalls, strict=True)
    )
    return rest, remembered


def _step(updates, recalls, weights, states, remembered, histories, inputs, operations):
    """`update_layers` as a forecaster's step; without layers the inputs pass."""
    if not updates:
        return states, remembered, inputs
    updates, states, past = (
        list(updates),
        list(states),
        iter(zip(remembered, histories, strict=True)),
    )
    for layer, recalled in enumerate(recalls):
        if recalled:
            cell, history = next(past)
            states[layer] = states[layer]._replace(cell=cell)
            updates[layer] = functools.partial(updates[layer], history=history)
    states = update_layers(updates, weights, states, inputs, operations)
    return *_set_apart(states, recalls), states[-1].hidden
