"""How a step of the recurrence carries out its two expensive operations.

A step is written once, as a pure function, and asks its `operations` for every convolution and every
RECALL. Which object it is given decides what else happens:

    Operations   computes them; differentiates with their own gradient rules
    Recording    computes them and keeps each result: the forward pass of training
    Replaying    is told each result and computes only its gradient: the backward pass of training

Recording and Replaying meet the operations in the same order, since they run the same step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from e3d.kernels.convolution import Kernel, convolve, convolve_again
from e3d.kernels.recall import recall, recall_again, recall_forward
from e3d.kernels.winograd import Padding


class Remembered(NamedTuple):
    """What RECALL looks at: the cell states of earlier steps.

    Attributes:
      histories: for each layer, `[B, K, P, C]`: K slots of the P = D*H*W positions of a state.
      valid: bool `[B, K]`, which slots are remembered.
    """

    histories: Sequence[jax.Array]
    valid: jax.Array


class Operations:
    """Computes each operation where it stands."""

    def __init__(self, remembered: Remembered):
        self.remembered = remembered

    def convolve(
        self, inputs: jax.Array, kernel: Kernel | jax.Array, padding: Padding
    ) -> jax.Array:
        """See `e3d.kernels.convolution.convolve`."""
        return convolve(inputs, kernel, padding)

    def recall(self, gate: jax.Array, layer: int) -> jax.Array:
        """RECALL(R, history of this layer) for a recall gate `[B, D, H, W, C]`."""
        queries = gate.reshape(gate.shape[0], -1, gate.shape[-1])
        recalled = self._recall(queries, self.remembered.histories[layer])
        return recalled.reshape(gate.shape)

    def _recall(self, queries: jax.Array, history: jax.Array) -> jax.Array:
        return recall(queries, history, self.remembered.valid)


class Recording(Operations):
    """Computes each operation and appends its result to `kept`."""

    def __init__(self, remembered: Remembered):
        super().__init__(remembered)
        self.kept = []

    def convolve(self, inputs, kernel, padding):
        """Convolves and keeps the result."""
        outputs = convolve(inputs, kernel, padding)
        self.kept.append(outputs)
        return outputs

    def _recall(self, queries, history):
        recalled, log_sum = recall_forward(queries, history, self.remembered.valid)
        self.kept.append((recalled, log_sum))
        return recalled


class Replaying(Operations):
    """Takes each result from what a `Recording` kept; only gradients are computed."""

    def __init__(self, remembered: Remembered, kept):
        super().__init__(remembered)
        self._next = iter(kept)

    def convolve(self, inputs, kernel, padding):
        """Gives the next of the kept results."""
        return convolve_again(inputs, kernel, padding, next(self._next))

    def _recall(self, queries, history):
        return recall_again(queries, history, self.remembered.valid, *next(self._next))
