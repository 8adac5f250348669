"""What training changes, and the rule by which it does."""

import pathlib
from collections.abc import Iterator
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
    """

    step: jax.Array
    params: Any
    ema_params: Any
    opt_state: Any

    @property
    def forecast_params(self) -> Any:
        """The parameters to forecast with: the moving average where there is one."""
        return self.params if self.ema_params is None else self.ema_params


def check_fit(stored: Any, expected: Any, path: pathlib.Path) -> None:
    """Raises InputError, naming the first leaves that differ, where two trees have other shapes."""
    stored, expected = dict(_shapes(stored)), dict(_shapes(expected))
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


def _shapes(tree: Any) -> Iterator[tuple[str, str]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        yield name, f'{leaf.dtype}{list(leaf.shape)}'
