"""A trained run as one `.safetensors` file: its variables by name, its config in the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from e3d.configuration import check_config
from e3d.data.sources.layouts import layout_of
from e3d.errors import InputError
from e3d.files import atomic_write, regular_file
from e3d.model import build_model
from e3d.runs.state import check_fit, named_leaves
from e3d.runs.stored_run import StoredRun
from e3d.runs.trained_run import Run, run_from, shapes_of_variables, stored_run

_KEY = 'e3d'  # of the metadata


def write_run(run: Run, output: Path) -> None:
    """Writes the variables of a run, as `params/stack/cells_0/projection/kernel`, and its config.

    Raises:
      RunError: the file cannot be written.
    """
    described = stored_run(run).to_json() | {'step': run.step}
    variables = named_leaves(run.variables)
    tensors = {name: np.asarray(leaf, order='C') for name, leaf in variables.items()}
    with atomic_write(output) as temporary:
        temporary.write_bytes(safetensors.numpy.save(tensors, {_KEY: json.dumps(described)}))


def read_run(path: Path) -> Run:
    """Reads what `write_run` wrote.

    Raises:
      InputError: it cannot be read, or is no such file.
    """
    path = regular_file(path)
    try:
        with safetensors.safe_open(path, 'numpy') as file:
            described = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        stored = StoredRun.from_json(described)
        check_config(stored.config)
        step = int(described['step'])
        if step < 0:
            raise ValueError(f'its step is {step}')
    except KeyError as error:
        raise InputError(
            f'{path} cannot be read: {error} is missing. It must be a file that python -m '
            'e3d.export wrote, whose metadata have the config of its run.'
        ) from error
    except (
        safetensors.SafetensorError,
        ValueError,
        TypeError,
        RecursionError,
        AttributeError,
        OverflowError,
        OSError,
    ) as error:
        raise InputError(f'{path} cannot be read: {str(error).rstrip(".")}.') from error
    model = build_model(**stored.config.model)
    lengths = layout_of(stored.config.dataset).lengths
    expected = shapes_of_variables(model, stored.frame_shape, stored.beside, lengths)
    tree = _nested(tensors)
    check_fit(tree, expected, path)
    return run_from(stored, model, tree, step)


def _nested(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *parents, leaf = name.split('/')
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise InputError(f'{name!r} lies within a tensor.')
        branch[leaf] = tensor
    return tree
