"""Small weight files of other codes, written without these."""

import io
import math
import struct
import zipfile

import numpy as np

from e3d.weights.readers.checksum import crc32c

STORAGES = {'<f4': 'FloatStorage', '<f8': 'DoubleStorage', '<i8': 'LongStorage'}
DTYPES = {'<f4': 1, '<f8': 2, '<i8': 9}


def varint(number):
    pieces = []
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def masked(content):
    checksum = crc32c(content)
    return struct.pack('<I', ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def block(items):
    """A block of a table whose keys share what they begin with, and its trailer."""
    content, before = b'', b''
    for key, value in items:
        shared = next((n for n, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), 0)
        content += varint(shared) + varint(len(key) - shared) + varint(len(value))
        content += key[shared:] + value
        before = key
    content += struct.pack('<II', 0, 1)
    return content, content + b'\0' + masked(content + b'\0')


def bundle_files(tensors, **changes):
    """The contents of `.index` and `.data-00000-of-00001`; `changes` replace fields of the first."""
    data, items = b'', [(b'', field(1, 1) + field(3, field(1, 1)))]
    for name, tensor in sorted(tensors.items()):
        content = tensor.tobytes()
        shape = b''.join(field(2, field(1, side)) for side in tensor.shape)
        values = {'dtype': DTYPES[tensor.dtype.str], 'shape': shape, 'shard': 0}
        values |= {'offset': len(data), 'size': len(content)} | changes
        changes = {}
        entry = b''.join(field(number, value) for number, value in enumerate(values.values(), 1))
        items.append((name.encode(), entry + b'\x35' + masked(content)))
        data += content
    middle = len(items) // 2
    blocks = [items[:middle], items[middle:]]
    table, places = b'', []
    for part in blocks:
        content, whole = block(part)
        places.append((part[-1][0], varint(len(table)) + varint(len(content))))
        table += whole
    handles = b''
    for part in ([], places):
        content, whole = block(part)
        handles += varint(len(table)) + varint(len(content))
        table += whole
    footer = handles.ljust(40, b'\0') + struct.pack('<Q', 0xDB4775248B80FB57)
    return table + footer, data


def write_bundle(prefix, tensors, **changes):
    """A TensorFlow checkpoint of version 2."""
    index, data = bundle_files(tensors, **changes)
    prefix.with_name(f'{prefix.name}.index').write_bytes(index)
    prefix.with_name(f'{prefix.name}.data-00000-of-00001').write_bytes(data)
    return prefix


def pickled(value):
    """The instructions that make a value, as torch.save writes them; bytes are such themselves."""
    match value:
        case bytes():
            return value
        case str():
            return b'X' + struct.pack('<I', len(value.encode())) + value.encode()
        case bool() | None:
            return {True: b'\x88', False: b'\x89', None: b'N'}[value]
        case int():
            size = value.bit_length() // 8 + 1
            return b'\x8a' + bytes([size]) + value.to_bytes(size, 'little', signed=True)
        case tuple():
            return b'(' + b''.join(map(pickled, value)) + b't'
        case list():
            return b'](' + b''.join(map(pickled, value)) + b'e'
        case dict():
            items = b''.join(pickled(part) for item in value.items() for part in item)
            attributes = b'}' + pickled('_metadata') + b'K\x01sb'
            made = b'ccollections\nOrderedDict\n)R(' + items + b'u'
            return made + attributes
    raise TypeError(value)


def tensor_pickle(key, array, count=None, offset=0, shape=None, strides=None):
    """The instructions of a tensor whose numbers are those of the storage `key`."""
    kind = f'ctorch\n{STORAGES[array.dtype.str]}\n'.encode()
    count = array.size if count is None else count
    identity = b'(' + pickled('storage') + kind + pickled(key) + pickled('cpu') + pickled(count)
    shape = array.shape if shape is None else shape
    if strides is None:
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    rest = b''.join(map(pickled, (offset, shape, strides, False)))
    rebuild = b'ctorch._utils\n_rebuild_tensor_v2\n'
    return rebuild + b'(' + identity + b'tQ' + rest + pickled({}) + b'tR'


def program(value):
    return b'\x80\x02' + pickled(value) + b'.'


def zip_file(tensors, wrap=lambda tensors: tensors, pickles=None):
    """What torch.save writes since version 1.6."""
    keys = {name: str(number) for number, name in enumerate(tensors)}
    made = {name: tensor_pickle(keys[name], array) for name, array in tensors.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('archive/data.pkl', program(wrap(made | (pickles or {}))))
        archive.writestr('archive/byteorder', 'little')
        for name, array in tensors.items():
            archive.writestr(f'archive/data/{keys[name]}', array.tobytes())
        archive.writestr('archive/version', '3\n')
    return file.getvalue()


def legacy_file(tensors, wrap=lambda tensors: tensors):
    """What torch.save wrote before."""
    keys = {name: str(1000 + number) for number, name in enumerate(tensors)}
    made = {name: tensor_pickle(keys[name], array) for name, array in tensors.items()}
    parts = [0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}, wrap(made)]
    content = b''.join(map(program, [*parts, list(keys.values())]))
    for array in tensors.values():
        content += struct.pack('<q', array.size) + array.tobytes()
    return content


def some_tensors(seed=0):
    generator = np.random.default_rng(seed)
    names = {'cell.weight': (3, 2, 2), 'cell.bias': (3,), 'head.weight': (2, 3), 'scalar': ()}
    return {name: generator.random(shape).astype('<f4') for name, shape in names.items()}
