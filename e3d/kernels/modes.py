"""The three modes in which a step carries out its expensive operations.

A step of a recurrence is written once, as a pure function, and asks its `operations` for every
convolution, RECALL and LayerNorm and its gates. Which object it is given decides what else happens:

    Operations   computes them; differentiates with their own gradient rules
    Recording    computes them and keeps each result: the forward pass of training
    Replaying    is told each result and computes only its gradient: the backward pass of training

Of a LayerNorm the result is made anew; no more than its mean and variance are kept.

Recording and Replaying meet the operations in the same order, since they run the same step. An
operation inside a loop or another transformation of the step's own (`jax.lax.scan`, `jax.vmap`,
`jax.checkpoint`) is neither kept nor told: its result belongs to that loop. It is computed in both.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
from jax.extend.core import get_opaque_trace_state

from e3d.kernels.convolution import Kernel, Padding, convolve, convolve_again
from e3d.kernels.history import History
from e3d.kernels.layer_norm import EPSILON, layer_norm, layer_norm_again, statistics
from e3d.kernels.platforms import is_for_accelerators
from e3d.kernels.recall import recall, recall_again, recall_forward


class Operations:
    """Computes each operation where it stands."""

    def convolve(
        self, inputs: jax.Array, kernel: Kernel | jax.Array, padding: Padding
    ) -> jax.Array:
        """See `e3d.kernels.convolution.convolve`."""
        return convolve(inputs, kernel, padding)

    def recall(
        self,
        gate: jax.Array,
        history: History,
        radius: int | None = None,
        bias: jax.Array | None = None,
    ) -> jax.Array:
        """RECALL(R, history) for a recall gate `[B, D, H, W, C]`, see `e3d.kernels.recall`."""
        return recall(gate, history.states, history.valid, radius, bias)

    def layer_norm(
        self, inputs: jax.Array, group: Mapping[str, jax.Array], epsilon: float = EPSILON
    ) -> jax.Array:
        """See `e3d.kernels.layer_norm.layer_norm`."""
        return layer_norm(inputs, group, epsilon)

    def gate(self, name: str, values: jax.Array) -> jax.Array:
        """A gate: the sigmoid of its pre-activation. By its name it can be watched."""
        del name
        return jax.nn.sigmoid(values)


class _InsideStep(Operations):
    """Tells the operations of the step itself from those of a transformation within it."""

    def __init__(self):
        self._step = get_opaque_trace_state()

    def _is_within(self) -> bool:
        return get_opaque_trace_state() != self._step


class Recording(_InsideStep):
    """Computes each operation and appends its result to `kept`."""

    def __init__(self):
        super().__init__()
        self.kept: list[Any] = []

    def convolve(self, inputs, kernel, padding):
        """Convolves and keeps the result."""
        outputs = super().convolve(inputs, kernel, padding)
        if not self._is_within():
            self.kept.append(outputs)
        return outputs

    def recall(self, gate, history, radius=None, bias=None):
        """Recalls and keeps the result."""
        if self._is_within():
            return super().recall(gate, history, radius, bias)
        recalled, log_sum = recall_forward(gate, history.states, history.valid, radius, bias)
        self.kept.append((recalled, log_sum))
        return recalled

    def layer_norm(self, inputs, group, epsilon=EPSILON):
        """Normalizes; mean and variance are kept for GPUs and TPUs, where they are kernels to save."""
        if self._is_within():
            return super().layer_norm(inputs, group, epsilon)
        known = statistics(inputs, epsilon)
        self.kept.append(known if is_for_accelerators() else None)
        return layer_norm_again(inputs, group, known)


class Replaying(_InsideStep):
    """Takes each result from what a `Recording` kept; only gradients are computed."""

    def __init__(self, kept: Iterable[Any]):
        super().__init__()
        self._next = iter(kept)

    def convolve(self, inputs, kernel, padding):
        """Gives the next of the kept results."""
        if self._is_within():
            return super().convolve(inputs, kernel, padding)
        return convolve_again(inputs, kernel, padding, next(self._next))

    def recall(self, gate, history, radius=None, bias=None):
        """Gives the next of the kept results."""
        if self._is_within():
            return super().recall(gate, history, radius, bias)
        kept = next(self._next)
        return recall_again(gate, history.states, history.valid, *kept, radius, bias)

    def layer_norm(self, inputs, group, epsilon=EPSILON):
        """Normalizes by the next mean and variance, where they were kept."""
        if self._is_within():
            return super().layer_norm(inputs, group, epsilon)
        return layer_norm_again(inputs, group, next(self._next) or statistics(inputs, epsilon))
