"""What a training takes, told from shapes alone, before anything runs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from e3d.kernels.platforms import prepared_for
from e3d.runs.state import TrainState, count_parameters, variables_of
from e3d.tasks.losses import LossFunction


class Footprint(NamedTuple):
    """Sizes of a training.

    Attributes:
      parameters: how many numbers are learned.
      state_bytes: parameters, their moving average and what the optimizer keeps.
      kept_bytes: what the forward pass of an update keeps for the backward pass, on each device.
      is_least: whether no program keeps less. A loop over time keeps what it says; of models without
        one XLA makes again what is cheap, such as activations, and keeps down to half of it.
    """

    parameters: int
    state_bytes: int
    kept_bytes: int
    is_least: bool = True

    @property
    def gibibytes(self) -> float:
        """What each device must hold at once; XLA's work space comes on top."""
        return (self.state_bytes + self.kept_bytes) / 2**30

    def __str__(self) -> str:
        return (
            f'{self.parameters:,} parameters; training needs {"at least" if self.is_least else "about"} '
            f'{self.gibibytes:.2g} GiB on each device'
        )


def measure_footprint(
    loss: LossFunction,
    state: TrainState,
    example: Mapping[str, Any],
    batch_size: int,
    platform: str | None = None,
    is_least: bool = True,
) -> Footprint:
    """Traces an update without computing it.

    Args:
      loss: of the task.
      state: or the shapes and types of one.
      example: one of the source, frames in any type; they come as float32.
      batch_size: sequences on a device.
      platform: of the devices; None for JAX's default.
      is_least: of the `Footprint`.
    """

    def forward(state: TrainState, batch: dict[str, jax.Array]) -> Any:
        def of_params(params: Any) -> jax.Array:
            return loss(variables_of(params, state.collections), batch, state.step, None)[0]

        return jax.vjp(of_params, state.params)[1]

    batch = {
        key: jax.ShapeDtypeStruct(
            (batch_size, *np.shape(value)),
            np.float32 if key == 'frames' else np.asarray(value).dtype,
        )
        for key, value in example.items()
    }
    with prepared_for(platform or jax.default_backend()):
        kept = jax.eval_shape(forward, state, batch)
    return Footprint(count_parameters(state.params), _bytes(state), _bytes(kept), is_least)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
