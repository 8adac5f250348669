"""Tensors of another code in the tree of parameters of the model here, by a table of their names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError

_MOST_LISTED = 10


class Place(NamedTuple):
    """Where a tensor of a file goes.

    Attributes:
      shape: that it must have in the file.
      path: of the parameter, the names in the tree; () where it has no effect.
      axes: the axes of the tensor in the order of the parameter.
      blocks: which blocks of the last axis to take, each of as many numbers as the state has
        channels, in the order of the parameter; () for all.
    """

    shape: tuple[int, ...]
    path: tuple[str, ...] = ()
    axes: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


class Foreign(NamedTuple):
    """The weights of another code as a model here.

    Attributes:
      fields: of the model `e3d_lstm`.
      params: its tree of parameters.
      channels: of the frames.
      frame_size: height and width of the frames, or None where the weights are for any.
      lengths: observed and forecast frames of its training, or None where the file does not tell.
      account: what was understood, in lines.
    """

    fields: dict[str, Any]
    params: dict[str, Any]
    channels: int
    frame_size: tuple[int, int] | None
    lengths: tuple[int, int] | None
    account: list[str]


def place_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], places: Mapping[str, Place], features: int
) -> dict[str, Any]:
    """The tree of parameters.

    Args:
      path: of the file, for messages.
      tensors: by name.
      places: of every tensor that there must be.
      features: channels of the states.

    Raises:
      InputError: tensors are missing, too many, of another shape or no floats; they are listed.
    """
    problems = [f'{name} {list(place.shape)} is missing' for name, place in places.items()
                if name not in tensors]  # fmt: skip
    problems += [f'{name} {list(tensors[name].shape)} is too many' for name in tensors
                 if name not in places]  # fmt: skip
    for name in (name for name in places if name in tensors):
        if tensors[name].shape != places[name].shape:
            problems.append(
                f'{name} is {list(tensors[name].shape)}, not {list(places[name].shape)}'
            )
        elif not jnp.issubdtype(tensors[name].dtype, jnp.floating):
            problems.append(f'{name} holds no floats')
    if problems:
        more = len(problems) - _MOST_LISTED
        lines = [*problems[:_MOST_LISTED], *([f'and {more} more'] if more > 0 else [])]
        raise InputError(
            f'{path} does not hold the tensors of such a model:\n'
            + '\n'.join(f'  {line}' for line in lines)
        )
    tree: dict[str, Any] = {}
    for name, place in places.items():
        if place.path:
            *parents, leaf = place.path
            branch = tree
            for parent in parents:
                branch = branch.setdefault(parent, {})
            branch[leaf] = _arranged(tensors[name], place, features)
            if not np.isfinite(branch[leaf]).all():
                raise InputError(f'{path}: {name} holds numbers that are not finite.')
    return tree


def _arranged(tensor: np.ndarray, place: Place, features: int) -> np.ndarray:
    values = tensor.transpose(place.axes) if place.axes else tensor
    if place.blocks:
        parts = [values[..., features * n : features * (n + 1)] for n in place.blocks]
        values = np.concatenate(parts, axis=-1)
    return np.ascontiguousarray(values, np.float32)


def count_layers(names: Sequence[str], before: str) -> int:
    """How many layers L there are with a name that begins with `before` and L."""
    layers = 0
    while any(name.startswith((f'{before}{layers}/', f'{before}{layers}.')) for name in names):
        layers += 1
    return layers


def channels_of(path: Path, values: int, patch_size: int | None) -> int:
    """The channels of frames of whose patches there are `values` numbers.

    Raises:
      InputError: the patch size is not given, or is none for so many numbers.
    """
    possible = [size for size in range(1, 1 + int(values**0.5)) if values % size**2 == 0]
    if patch_size in possible:
        return values // patch_size**2
    counts = {size: values // size**2 for size in possible}
    choices = ', '.join(f'{size} ({n} channel{"s" * (n > 1)})' for size, n in counts.items())
    given = f'cannot have patch_size={patch_size}' if patch_size else 'does not tell patch_size'
    raise InputError(
        f'{path} {given}. A patch has {values} numbers, so that patch_size (side of a patch, in '
        f'pixels) can be {choices}: give --patch_size.'
    )
