"""PyTorch's `.pth` and `.ckpt` files, without PyTorch and without running what they hold.

    zip      since PyTorch 1.6: NAME/data.pkl, and the numbers of each storage in NAME/data/KEY
    legacy   before: pickles (magic number, version, system, object, list of keys), then for each key
             the count of numbers and these

The object is a dictionary of tensors (a state dict), or holds one as 'state_dict' among other things:
the files of Lightning, and `latest.pth` of OpenSTL.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError
from e3d.files import read_bytes, regular_file
from e3d.weights.readers.pickles import Global, Inert, read_pickle

MAX_BYTES = 2**34  # of a file
_ZIP = b'PK\x03\x04'
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MOST_AXES = 32
_MOST_SHOWN = 100  # characters of a name in a message
_DTYPES = {
    'FloatStorage': np.dtype('<f4'),
    'DoubleStorage': np.dtype('<f8'),
    'HalfStorage': np.dtype('<f2'),
    'BFloat16Storage': jnp.dtype('bfloat16'),
    'LongStorage': np.dtype('<i8'),
    'IntStorage': np.dtype('<i4'),
    'ShortStorage': np.dtype('<i2'),
    'CharStorage': np.dtype('<i1'),
    'ByteStorage': np.dtype('<u1'),
    'BoolStorage': np.dtype('?'),
}


class Storage(NamedTuple):
    """The numbers that tensors are views of: a key in the file, their type and count."""

    key: str
    dtype: np.dtype
    count: int


class Tensor(NamedTuple):
    """A tensor as the file describes it: a view of a storage, in numbers of it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StateDict(NamedTuple):
    """What a file holds of a model.

    Attributes:
      tensors: by name.
      hyper_parameters: numbers and texts by name, as Lightning stores them; empty elsewhere.
    """

    tensors: dict[str, np.ndarray]
    hyper_parameters: dict[str, Any]


def read_state_dict(path: str | os.PathLike[str]) -> StateDict:
    """Reads the state dict of a file.

    Raises:
      InputError: it cannot be read, is damaged, or holds no state dict; the message names the file
        and what is wrong.
    """
    path = regular_file(path)
    try:
        with path.open('rb') as file:
            zipped = file.read(4) == _ZIP
        held, bytes_of = _open_zip(path) if zipped else _open_legacy(path)
        tensors = {n: value for n, value in _state_dict(held).items() if isinstance(value, Tensor)}
        if not tensors:
            raise ValueError('it holds no tensors by name')
        arrays = _arrays(tensors, bytes_of, path.stat().st_size)
    except InputError:
        raise
    except (ValueError, KeyError, OSError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f'{path} cannot be read: {error}. It must be a whole file that torch.save wrote, with the '
            "weights of a model (its state dict), alone or as 'state_dict'."
        ) from error
    hyper = held.get('hyper_parameters') if isinstance(held, dict) else None
    plain = {
        name: value
        for name, value in (hyper if isinstance(hyper, dict) else {}).items()
        if isinstance(value, int | float | str | tuple | list)
    }
    return StateDict(arrays, plain)


def _state_dict(held: Any) -> dict[str, Any]:
    if isinstance(held, dict) and isinstance(held.get('state_dict'), dict):
        held = held['state_dict']
    if not isinstance(held, dict):
        raise ValueError('what it holds is no dictionary')
    return {name: value for name, value in held.items() if isinstance(name, str)}


def _arrays(
    tensors: dict[str, Tensor], bytes_of: Callable[[Storage], bytes], size: int
) -> dict[str, np.ndarray]:
    """The numbers of tensors, which together have no more bytes than the file."""
    used = sum(
        math.prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in tensors.values()
    )
    storages = {tensor.storage for tensor in tensors.values()}
    stored = sum(storage.count * storage.dtype.itemsize for storage in storages)
    if max(used, stored) > size:
        raise ValueError(f'it has {size:,} bytes, but its tensors {max(used, stored):,}')
    arrays, contents = {}, {}
    for name, (storage, offset, shape, strides) in tensors.items():
        if 0 in shape:
            arrays[name] = np.empty(shape, storage.dtype)
            continue
        last = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        if offset + last >= storage.count:
            raise ValueError(f'{name[:_MOST_SHOWN]!r} of shape {shape} goes beyond its numbers')
        if storage not in contents:
            contents[storage] = np.frombuffer(bytes_of(storage), storage.dtype, storage.count)
        steps = [stride * storage.dtype.itemsize for stride in strides]
        arrays[name] = np.lib.stride_tricks.as_strided(
            contents[storage][offset:], shape, steps, writeable=False
        )
    return arrays


def _open_zip(path: Path) -> tuple[Any, Callable[[Storage], bytes]]:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise ValueError('it has two members of one name')
    pickles = [name for name in members if name.endswith('/data.pkl') and name.count('/') == 1]
    if len(pickles) != 1:
        raise ValueError(f'it has {len(pickles)} members NAME/data.pkl where one is needed')
    root = pickles[0].removesuffix('data.pkl')

    def read(name: str) -> bytes:
        info = members.get(name)
        if info is None:
            raise ValueError(f'its member {name[:_MOST_SHOWN]} is missing')
        if info.compress_type != zipfile.ZIP_STORED or not info.file_size <= size:
            raise ValueError(
                f'its member {name[:_MOST_SHOWN]} is compressed, or larger than the file'
            )
        with zipfile.ZipFile(path) as archive:
            return archive.read(info)

    if f'{root}byteorder' in members and read(f'{root}byteorder') != b'little':
        raise ValueError('its numbers have the most significant byte first, which is not read')
    return _unpickle(io.BytesIO(read(pickles[0]))), lambda storage: read(
        f'{root}data/{storage.key}'
    )


def _open_legacy(path: Path) -> tuple[Any, Callable[[Storage], bytes]]:
    stream = io.BytesIO(read_bytes(path, MAX_BYTES))
    try:
        magic = _unpickle(stream)
    except ValueError:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise ValueError('it begins neither as a zip archive nor as an older file of PyTorch')
    _version, _system, held, keys = (_unpickle(stream) for _ in range(4))
    if not isinstance(keys, list):
        raise ValueError('its list of keys is damaged')
    content, position = stream.getbuffer(), stream.tell()
    storages = {storage.key: storage for storage in _storages(held)}
    places = {}
    for key in keys:
        if not isinstance(key, str):
            raise ValueError('its list of keys is damaged')
        count = int.from_bytes(content[position : position + 8], 'little')
        storage = storages.get(key)
        if storage is None or storage.count != count:
            raise ValueError(f'the storage {key[:_MOST_SHOWN]!r} is described in two ways')
        places[key] = slice(position + 8, position + 8 + count * storage.dtype.itemsize)
        position = places[key].stop
        if position > len(content):
            raise ValueError(
                f'the storage {key[:_MOST_SHOWN]!r} of {count:,} numbers goes beyond its end'
            )
    return held, lambda storage: content[places[storage.key]]


def _storages(held: Any) -> list[Storage]:
    """All storages of an object, however it holds them."""
    found, waiting, seen = [], [held], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            found.append(value.storage)
        elif isinstance(value, Storage):
            found.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return found


def _unpickle(stream: io.BytesIO) -> Any:
    return read_pickle(stream, _rebuild, _storage)


def _rebuild(called: Global, arguments: tuple) -> Any:
    if called == ('collections', 'OrderedDict'):
        pairs = arguments[0] if arguments else ()  # from Python 2, whose keys are texts
        return {pair[0]: pair[1] for pair in pairs if isinstance(pair[0], str)}
    if called == ('torch._utils', '_rebuild_tensor_v2'):
        return _tensor(*arguments[:4])
    if called == ('torch._utils', '_rebuild_parameter'):
        return arguments[0]
    return Inert(f'{called.module}.{called.name}')


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    numbers = (offset, *shape, *strides)
    whole = all(type(number) is int and 0 <= number < 2**63 for number in numbers)
    if not isinstance(storage, Storage) or not whole or len(shape) != len(strides):
        raise ValueError('a tensor is described in a way that is not understood')
    if len(shape) > _MOST_AXES:
        raise ValueError(f'a tensor has {len(shape):,} axes')
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _storage(identity: Any) -> Storage:
    match identity:
        case ('storage', Global('torch', kind), str(key), _, int(count), *_) if kind in _DTYPES:
            if count >= 0:
                return Storage(key, _DTYPES[kind], count)
    raise ValueError('the numbers of a tensor are of a type or in a place that is not understood')
