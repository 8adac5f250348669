"""What training changes, and the rule by which it does."""

import dataclasses
import pathlib
from typing import Any

import jax
from flax import struct

from e3d.errors import InputError


class TrainState(struct.PyTreeNode):
    """All that a checkpoint holds.

    Attributes:
      step: number of updates so far, int32.
      params: of the model.
      ema_params: their exponential moving average, or None where the run keeps none.
      opt_state: of the optimizer.
      collections: what the model keeps beside its parameters, as statistics of batches, by the name
        of the collection; None for most models.
      ema_collections: the same of the moving average of the parameters: their own moving average.
    """

    step: jax.Array
    params: Any
    ema_params: Any
    opt_state: Any
    collections: Any = None
    ema_collections: Any = None

    @property
    def forecast_variables(self) -> dict[str, Any]:
        """The variables to forecast with: of the moving average where there is one."""
        if self.ema_params is None:
            return variables_of(self.params, self.collections)
        return variables_of(self.ema_params, self.ema_collections)

    def to_stored(self) -> dict[str, Any]:
        """What a checkpoint holds, by name: the collections only where there are some."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        absent = [name for name in _COLLECTIONS if fields[name] is None]
        return {name: value for name, value in fields.items() if name not in absent}


# What states of earlier versions, and of most models, do not have.
_COLLECTIONS = ('collections', 'ema_collections')


def variables_of(params: Any, collections: Any) -> dict[str, Any]:
    """What `model.apply` takes."""
    return {'params': params, **(collections or {})}


def count_parameters(params: Any) -> int:
    """How many numbers there are to learn."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path, such as 'params/stack/cells_0/projection/kernel'."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}


def check_fit(stored: Any, expected: Any, path: pathlib.Path) -> None:
    """Raises InputError, naming the first leaves that differ, where two trees have other shapes."""
    stored, expected = _shapes(stored), _shapes(expected)
    differing = [name for name in (expected | stored) if stored.get(name) != expected.get(name)]
    if differing:
        lines = [
            f'  {name}: stored {stored.get(name, "nothing")}, '
            f'needed {expected.get(name, "nothing")}'
            for name in differing[:5]
        ]
        more = f'\n  and {len(differing) - 5} more' if len(differing) > 5 else ''
        raise InputError(
            f'The checkpoint {path} does not fit the config:\n' + '\n'.join(lines) + more + '\n'
            'Use the config that it was trained with, or another --workdir.'
        )


def _shapes(tree: Any) -> dict[str, str]:
    return {name: f'{leaf.dtype}{list(leaf.shape)}' for name, leaf in named_leaves(tree).items()}
