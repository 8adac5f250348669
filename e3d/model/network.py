"""What forecasters and recognizers share: window of frames, feedback of predictions, loop over time."""

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.convolution import prepare_kernels
from e3d.kernels.history import History
from e3d.kernels.modes import Operations
from e3d.kernels.precision import PRECISIONS
from e3d.kernels.scan import scan_with_history
from e3d.model.fields import check_choice, check_options
from e3d.model.stack import Arrays, Stack, StackStep


class NetworkCarry(NamedTuple):
    """What one step of a network hands to the next, beside the states that RECALL remembers.

    Attributes:
      frames: the newest frames that were fed, `[B, frames, h, w, C]`.
      prediction: the network's prediction of the coming frame, `[B, h, w, C]`.
      state: of the stack.
      outputs: the newest slot of what the stack returned at each of the last `decoder_layers` steps
        of a forecaster, `[B, decoder_layers, h, w, features]`.
    """

    frames: jax.Array
    prediction: jax.Array
    state: Any
    outputs: jax.Array | tuple[()] = ()


class StepInputs(NamedTuple):
    """What enters at one step: a true frame `[B, h, w, C]` and whether it is used.

    Which is `[B]`, or of each value `[B, h, w, C]`.
    """

    frame: jax.Array
    observed: jax.Array


def feed(carry: NetworkCarry, inputs: StepInputs) -> jax.Array:
    """The window of a step: its newest frame is the true one where that is seen, else the prediction."""
    frame = choose_frame(inputs, carry.prediction)
    return jnp.concatenate([carry.frames[:, 1:], frame[:, None]], axis=1)


def choose_frame(inputs: StepInputs, prediction: jax.Array) -> jax.Array:
    """The true frame where it is used, else the prediction of it, `[B, h, w, C]`."""
    observed = inputs.observed
    if observed.ndim == 1:
        observed = observed[:, None, None, None]
    return jnp.where(observed, inputs.frame, prediction)


def run_stack(
    step: StackStep,
    weights: Any,
    state: Any,
    remembered: Arrays,
    histories: tuple[History, ...],
    inputs: jax.Array,
    operations: Operations,
) -> tuple[Any, Arrays, jax.Array]:
    """A step of the stack, whose outputs have the type of its inputs.

    Raises:
      InputError: they have another.
    """
    state, remembered, outputs = step(weights, state, remembered, histories, inputs, operations)
    if outputs.dtype != inputs.dtype:
        raise InputError(
            f'the layers compute in {outputs.dtype}, the model in dtype={inputs.dtype.name!r}: give '
            'the cells the dtype of the model in build_stack, as in MyCell(..., dtype=self.dtype)'
        )
    return state, remembered, outputs


def own_precision(model: nn.Module) -> contextlib.AbstractContextManager:
    """Where products are rounded as the field `precision` of a model says, if it has one."""
    if not hasattr(model, 'precision'):  # of one's own, which rounds as JAX is set
        return contextlib.nullcontext()
    check_choice('precision', model.precision, tuple(PRECISIONS))
    return jax.default_matmul_precision(PRECISIONS[model.precision])


def in_own_precision(method: Callable) -> Callable:
    """Has the products of a model's method rounded as the model's field `precision` says."""

    @functools.wraps(method)
    def run(model, *args, **kwargs):
        with own_precision(model):
            return method(model, *args, **kwargs)

    return run


class Network(nn.Module):
    """A recurrent network over frames, without fields; a subclass gives its layers by `build_stack`."""

    if TYPE_CHECKING:  # fields of every subclass
        layers: int
        features: int
        kernel_size: tuple[int, int, int]
        depth: int
        dtype: Any
        precision: str
        memory: str

    @nn.nowrap
    def build_stack(self) -> Stack:
        """The recurrent layers, see `Stack`; what a model has to give."""
        raise NotImplementedError

    @nn.nowrap
    def check_fields(self) -> None:
        """Checks the fields; `recall` is checked by the cells, which take True and False as well.

        Raises:
          InputError: naming the field and what is allowed.
        """
        check_options(self, apart=('dtype', 'recall'))

    @nn.nowrap
    def scan(
        self,
        step: Callable,
        stack: Stack,
        weights: Any,
        start: tuple[NetworkCarry, Arrays],
        inputs: StepInputs,
    ) -> tuple[NetworkCarry, Any]:
        """Runs a step over time, see `scan_with_history`.

        Args:
          step: `(weights, carry, remembered, histories, inputs, operations) -> (carry, remembered, y)`.
          stack: the recurrent layers.
          weights: of the step.
          start: the carry and the remembered states before the first step.
          inputs: of all steps, `[N, B, ...]`.

        Returns:
          The last carry, and every `y` stacked over N.
        """
        steps = len(inputs.frame)
        recalled = min(stack.recall_window or steps, max(steps - 1, 1))
        weights = prepare_kernels(weights)
        carry, _, outputs = scan_with_history(step, recalled, self.memory, weights, *start, inputs)
        return carry, outputs
