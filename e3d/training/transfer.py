"""Parameters of another run to begin with, as in pre-training (Table 7)."""

import os

import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.terminal import tell
from e3d.training.checkpoints import load_run
from e3d.training.state import TrainState

_NAMED = 4


def begin_from(state: TrainState, workdir: str | os.PathLike) -> TrainState:
    """A new state with the parameters of the newest checkpoint of another run.

    Taken are those of the same name and shape; which and how many is said. The optimiser begins anew.

    Raises:
      InputError: there is no such run, or nothing of it fits.
    """
    stored = dict(_named(load_run(workdir).params))
    names = [name for name, _ in _named(state.params)]
    fitting = {
        name: jnp.array(stored[name], leaf.dtype)
        for name, leaf in _named(state.params)
        if name in stored and stored[name].shape == leaf.shape
    }
    if not fitting:
        raise InputError(
            f"init_from='{workdir}': none of its parameters has the name and shape of one of this "
            f'model ({", ".join(names[:_NAMED])}, ...). Name a run of a model like it.'
        )
    own = [name for name in names if name not in fitting]
    new = f'; new are {", ".join(own[:_NAMED])}{", ..." * (len(own) > _NAMED)}' if own else ''
    tell(f'Beginning with {len(fitting)} of {len(names)} parameters of {workdir}{new}.')
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: fitting.get(_name(path), leaf), state.params
    )
    ema_params = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
    return state.replace(params=params, ema_params=ema_params)


def _named(tree):
    return [(_name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator='/')
