"""Weight files of other codes: read exactly, rejected where damaged, and never run."""

import io
import pickle
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from weight_fixtures import (
    bundle_files,
    legacy_file,
    pickled,
    program,
    some_tensors,
    tensor_pickle,
    write_bundle,
    zip_file,
)

from e3d.errors import InputError
from e3d.weights.readers.checksum import crc32c
from e3d.weights.readers.pickles import Inert, read_pickle
from e3d.weights.readers.pytorch_files import read_state_dict
from e3d.weights.readers.tensorflow_bundle import bundle_prefix, read_bundle

TENSORS = some_tensors()
PEAK = 2**20  # bytes that reading a file of some KiB may take


def everything(name):
    return True


def assert_equal(found, expected=TENSORS):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_checksum_is_that_of_the_standard():
    assert crc32c(b'123456789') == 0xE3069283  # RFC 3720, appendix B.4 has the next two
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes([0xFF] * 32)) == 0x62A8AB43
    content = np.random.default_rng(0).bytes(3 * 4096 + 5)  # long enough for pieces side by side
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(content) == register ^ 0xFFFFFFFF


@pytest.mark.parametrize('suffix', ['', '.index', '.data-00000-of-00001'])
def test_a_bundle_is_found_by_any_of_its_files(tmp_path, suffix):
    write_bundle(tmp_path / 'model.ckpt-3', TENSORS)
    prefix = bundle_prefix(tmp_path / f'model.ckpt-3{suffix}')
    assert_equal(read_bundle(prefix, everything))
    assert_equal(
        read_bundle(prefix, lambda name: name == 'cell.bias'), {'cell.bias': TENSORS['cell.bias']}
    )
    assert bundle_prefix(tmp_path / 'model.ckpt-4') is None


@pytest.mark.parametrize('write', [zip_file, legacy_file])
def test_state_dicts_in_every_container(tmp_path, write):
    path = tmp_path / 'weights.pth'
    path.write_bytes(write(TENSORS))
    assert_equal(read_state_dict(path).tensors)
    others = {'epoch': 3, 'hyper_parameters': {'stride': 2, 'method': 'x'}, 'callbacks': [None]}
    path.write_bytes(write(TENSORS, lambda tensors: {'state_dict': tensors} | others))
    found = read_state_dict(path)
    assert_equal(found.tensors)
    assert found.hyper_parameters == {'stride': 2, 'method': 'x'}


def test_views_of_one_storage_and_other_types(tmp_path):
    numbers = np.arange(12, dtype='<f4')
    view = tensor_pickle('0', numbers, 12, offset=1, shape=(2, 3), strides=(1, 2))
    path = tmp_path / 'views.pth'
    path.write_bytes(zip_file({'all': numbers}, pickles={'view': view}))
    found = read_state_dict(path).tensors
    np.testing.assert_array_equal(found['view'], [[1, 3, 5], [2, 4, 6]])
    kinds = {kind: np.arange(3).astype(kind) for kind in ('<f8', '<i8')}
    path.write_bytes(legacy_file(kinds))
    assert_equal(read_state_dict(path).tensors, kinds)


def damage(content, generator):
    content = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        at = int(generator.integers(len(content))) if content else 0
        match generator.integers(5):
            case 0 if content:
                content[at] ^= 1 << int(generator.integers(8))
            case 1:
                del content[at:]
            case 2:
                content[at:at] = generator.bytes(int(generator.integers(1, 20)))
            case 3:
                del content[at : at + int(generator.integers(1, 20))]
            case 4:
                content[at : at + 8] = bytes(len(content[at : at + 8]))
    return bytes(content)


def read_damaged(path, read):
    """What was read, or None where the file was rejected by name; in either case little memory."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        found = read()
    except InputError as error:
        assert str(path.parent / path.stem) in str(error) and len(str(error)) < 1000
        found = None
    assert tracemalloc.get_traced_memory()[1] - before < PEAK
    return found


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_400_damaged_bundles(tmp_path, traced):
    generator = np.random.default_rng(0)
    files, rejected = bundle_files(TENSORS), 0
    paths = [tmp_path / f'model.{suffix}' for suffix in ('index', 'data-00000-of-00001')]
    for number in range(400):
        which = int(number % 4 == 0)
        for path, content in zip(paths, files, strict=True):
            path.write_bytes(content)
        paths[which].write_bytes(damage(files[which], generator))
        found = read_damaged(paths[which], lambda: read_bundle(bundle_prefix(paths[0]), everything))
        rejected += found is None
        if found is not None:  # only what nothing depends on was damaged
            assert_equal(found)
    assert rejected > 350


@pytest.mark.parametrize('write', [zip_file, legacy_file])
def test_300_damaged_files_of_pytorch(tmp_path, traced, write):
    generator = np.random.default_rng(1)
    wrapped = write(TENSORS, lambda tensors: {'state_dict': tensors, 'epoch': 1})
    path, rejected = tmp_path / 'weights.pth', 0
    for number in range(300):
        path.write_bytes(damage(write(TENSORS) if number % 2 else wrapped, generator))
        found = read_damaged(path, lambda: read_state_dict(path).tensors)
        rejected += found is None
        if found is not None and write is zip_file:  # which has checksums
            assert_equal(found)
    assert rejected > 150


class Evil:
    """Makes a file where it is unpickled as usual."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_nothing_of_a_file_is_run(tmp_path):
    trap = tmp_path / 'trap'
    path = tmp_path / 'weights.pth'
    call = f'cbuiltins\nopen\n({pickled(str(trap)).decode()}{pickled("w").decode()}tR'.encode()
    path.write_bytes(zip_file(TENSORS, lambda tensors: {'state_dict': tensors, 'hook': call}))
    assert_equal(read_state_dict(path).tensors)
    for protocol in range(6):
        content = pickle.dumps(Evil(trap), protocol)
        path.write_bytes(zip_file({}, lambda tensors, content=content: content[:-1]))
        with pytest.raises(InputError, match='cannot be read'):
            read_state_dict(path)
    assert not trap.exists()
    (pickle.loads(content)).close()
    assert trap.exists()  # so that the trap is one


def claims():
    """Pickles that ask for more than they are; what is said of them."""
    small = np.zeros(4, '<f4')
    yield tensor_pickle('0', small, 2**40), 'bytes, but its tensors'
    yield tensor_pickle('0', small, shape=(2**20, 2**20), strides=(0, 0)), 'bytes, but its tensors'
    yield tensor_pickle('0', small, shape=(5,)), 'goes beyond its numbers'
    yield tensor_pickle('0', small, offset=4, shape=(1,)), 'goes beyond its numbers'
    yield tensor_pickle('0', small, shape=(-1,)), 'not understood'
    yield tensor_pickle('0', small, shape=(1,) * 40, strides=(1,) * 40), 'axes'
    yield tensor_pickle('7', small), 'data/7 is missing'
    yield b'\x8e' + struct.pack('<Q', 2**60) + b'x', 'expected'  # bytes of that length
    yield b'X' + struct.pack('<I', 2**32 - 1) + b'x', 'expected'
    yield b'N' + b'r' + struct.pack('<I', 2**32 - 1) + b'0' + pickled({}), 'no tensors'  # a place
    yield b'h\x05', 'damaged'  # what was never put there
    yield b'(iposix\nsystem\n', 'instruction INST'
    yield b'c__main__\nX\n)R', 'no dictionary'


@pytest.mark.parametrize('claim', list(claims()), ids=lambda claim: '')
def test_what_a_file_claims_is_checked_against_it(tmp_path, traced, claim):
    value, message = claim
    path = tmp_path / 'weights.pth'
    direct = not value.startswith(b'ctorch')
    path.write_bytes(
        zip_file({}, lambda tensors: value) if direct else zip_file(
            {'0': np.zeros(4, '<f4')}, lambda tensors: {'x': value}
        )
    )  # fmt: skip
    size = path.stat().st_size
    tracemalloc.reset_peak()
    with pytest.raises(InputError, match=message):
        read_state_dict(path)
    assert tracemalloc.get_traced_memory()[1] < PEAK + 100 * size


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'shape': b'\x12\x03\x08\xff\x7f'}, 'does not have 12 bytes'),
        ({'size': 2**40}, 'fewer than the tensors'),
        ({'offset': 2**40}, 'would end at byte'),
        ({'dtype': 7}, 'type that is not read'),
        ({'shard': 5}, 'data-00005-of-00001 does not exist'),
    ],
)
def test_what_an_index_claims_is_checked_against_the_data(tmp_path, changes, message):
    prefix = write_bundle(tmp_path / 'model.ckpt', TENSORS, **changes)
    with pytest.raises(InputError, match=message):
        read_bundle(prefix, everything)


def test_a_tuple_that_holds_itself_twice_and_so_on_is_written_out_nowhere(tmp_path):
    path, doubled = tmp_path / 'weights.pth', b')' + 60 * b'2\x86'
    path.write_bytes(zip_file({}, lambda tensors: doubled + b'2\x93'))  # as a name
    with pytest.raises(InputError, match='a name that is no text'):
        read_state_dict(path)
    written = legacy_file(TENSORS)
    keys = written.rindex(b'\x80\x02')  # before the list of keys
    path.write_bytes(written[:keys] + b'\x80\x02](' + doubled + b'e.' + bytes(8))
    with pytest.raises(InputError, match='list of keys is damaged'):
        read_state_dict(path)


def test_calls_become_inert_and_pickles_end_where_they_end():
    stream = io.BytesIO(program(b'cos\nsystem\n' + pickled(('x',)) + b'R') + b'rest')
    found = read_pickle(stream, lambda called, _: Inert(called.name), lambda _: None)
    assert found == Inert('system') and stream.read() == b'rest'
    nested = b'})' + 9 * b'\x85' + b'Ns.'  # a key whose hash would have to go as deep
    assert read_pickle(io.BytesIO(nested), None, None) == {}
    with pytest.raises(ValueError, match='pickle'):
        read_pickle(io.BytesIO(zlib.compress(b'no pickle')), None, None)
