"""Zarr stores of others: every codec that is read, and chunks that unpack to more than they hold."""

import bz2
import gzip
import json
import os
import zlib

import numcodecs
import numpy as np
import pytest
import xarray
import zarr
from grid_fixtures import dates, write_zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from e3d.configuration import default_config
from e3d.data.readers.labeled_grids import open_labeled_grids
from e3d.data.sources.grid_timeline import open_file
from e3d.data.sources.registry import open_source
from e3d.errors import InputError

# How bytes are packed; what packs so in arrays of version 2, and of 3 where its specification has it.
CODECS = {
    'blosc': (numcodecs.Blosc().encode, numcodecs.Blosc, BloscCodec),
    'bz2': (bz2.compress, numcodecs.BZ2, None),
    'gzip': (gzip.compress, numcodecs.GZip, GzipCodec),
    'lz4': (numcodecs.LZ4().encode, numcodecs.LZ4, None),
    'zlib': (zlib.compress, numcodecs.Zlib, None),
    'zstd': (numcodecs.Zstd().encode, numcodecs.Zstd, ZstdCodec),
}


def shards(chunk, shard):
    codecs = (BytesCodec(), ZstdCodec())
    serializer = ShardingCodec(chunk_shape=(chunk, 8, 9), codecs=codecs)
    return {'chunks': (shard, 8, 9), 'serializer': serializer, 'compressors': ()}


@pytest.fixture(scope='module')
def rain():
    return np.random.default_rng(0).integers(0, 900, (10, 8, 9)).astype(np.int32)


def write(path, rain, version=3, **encoding):
    content = xarray.Dataset(
        {'rain': (('time', 'y', 'x'), rain)}, {'time': dates(len(rain)).astype('datetime64[ns]')}
    )
    encoding = {'rain': {'chunks': (5, 8, 9), **encoding}}
    write_zarr(content, path, zarr_format=version, encoding=encoding)


def second_chunk(path, version=3):
    return path / 'rain' / ('1.0.0' if version == 2 else 'c/1/0/0')


def read(path):
    opened = open_file(path)
    try:
        return opened.grids['rain'].read(0, 0, 10, None)[..., 0]
    finally:
        opened.close()


def test_variables_are_in_the_order_of_their_names(tmp_path, rain):
    """A store is a folder: the order of its listing is another on each disk."""
    names = ['snow', 'hail', 'wind', 'rain', 'cloud', 'sun', 'fog', 'dew']
    content = xarray.Dataset(
        {name: (('time', 'y', 'x'), rain + place) for place, name in enumerate(names)},
        {'time': dates(len(rain)).astype('datetime64[ns]')},
    )
    write_zarr(content, tmp_path / 'all.zarr')
    opened = open_file(tmp_path / 'all.zarr')
    try:
        assert list(opened.grids) == sorted(names)
        for place, name in enumerate(names):
            np.testing.assert_array_equal(
                opened.grids[name].read(0, 0, 10, None)[..., 0], rain + place
            )
    finally:
        opened.close()


def write_packed(path, rain, version, name):
    """By the codec of a name, also where it is in no specification."""
    pack, version_2, version_3 = CODECS[name]
    if version == 2 or version_3:
        compressor = (version_2 if version == 2 else version_3)()
        write(path, rain, version, compressors=(compressor,))
        return
    write(path, rain, compressors=(Crc32cCodec(),))
    file = path / 'rain' / 'zarr.json'
    described = json.loads(file.read_text())
    described['codecs'][-1] = {'name': f'numcodecs.{name}', 'configuration': {'level': 1}}
    file.write_text(json.dumps(described))
    for place in (0, 1):
        chunk = path / 'rain' / 'c' / str(place) / '0' / '0'
        chunk.write_bytes(pack(rain[5 * place :][:5].tobytes()))


@pytest.mark.parametrize('version', [2, 3])
@pytest.mark.parametrize('name', CODECS)
def test_a_chunk_unpacks_to_what_it_must_have_or_not_at_all(tmp_path, rain, version, name):
    pack = CODECS[name][0]
    write_packed(tmp_path / 'rain.zarr', rain, version, name)
    np.testing.assert_array_equal(read(tmp_path / 'rain.zarr'), rain)
    chunk = second_chunk(tmp_path / 'rain.zarr', version)
    for values in (np.zeros(2**20, np.uint8), rain[:4]):  # too many, too few
        chunk.write_bytes(pack(values.tobytes()))
        with pytest.raises(
            InputError, match=r"'rain' in .* a chunk does not unpack to the 1,440 b"
        ):
            read(tmp_path / 'rain.zarr')
    packed = pack(rain[5:].tobytes())
    chunk.write_bytes(packed)
    np.testing.assert_array_equal(read(tmp_path / 'rain.zarr'), rain)
    chunk.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"The values of 'rain' in .* cannot be read"):
        read(tmp_path / 'rain.zarr')


@pytest.mark.parametrize(
    ('version', 'encoding'),
    [
        (2, {'filters': (numcodecs.Delta('i4'),)}),
        (2, {'filters': (numcodecs.FixedScaleOffset(0, 1, 'i4', 'i2'),)}),
        (2, {'filters': (numcodecs.Shuffle(4), numcodecs.Fletcher32())}),
        (2, {'filters': (numcodecs.Delta('i4', 'i2'),), 'compressors': ()}),
        (3, {'compressors': (ZstdCodec(), Crc32cCodec())}),
        (3, {'compressors': (Crc32cCodec(), GzipCodec())}),
        (3, {'compressors': ()}),
        (3, shards(2, 10)),
    ],
    ids=str,
)
def test_what_is_done_before_and_after_packing_changes_the_size(tmp_path, rain, version, encoding):
    write(tmp_path / 'rain.zarr', rain, version, **encoding)
    np.testing.assert_array_equal(read(tmp_path / 'rain.zarr'), rain)


def test_a_piece_of_a_shard_unpacks_to_no_more_than_it_must_have(tmp_path, rain):
    write(tmp_path / 'rain.zarr', rain, **shards(2, 10))
    described = tmp_path / 'rain.zarr' / 'rain' / 'zarr.json'
    # Numbers of two bytes, where four were stored.
    described.write_text(described.read_text().replace('"int32"', '"int16"'))
    with pytest.raises(InputError, match='a chunk does not unpack to the 288 bytes'):
        read(tmp_path / 'rain.zarr')


def test_zstd_may_leave_the_size_to_the_reader(tmp_path, rain):
    write(tmp_path / 'rain.zarr', rain)
    chunk = second_chunk(tmp_path / 'rain.zarr')

    def frame(stored):  # one block as it is (RFC 8878, 3.1.1), as writers of streams have them
        block = (len(stored) << 3 | 1).to_bytes(3, 'little')
        return bytes.fromhex('28b52ffd0058') + block + stored

    chunk.write_bytes(frame(rain[5:].tobytes()))
    np.testing.assert_array_equal(read(tmp_path / 'rain.zarr'), rain)
    for values in (rain, rain[:4]):
        chunk.write_bytes(frame(values.tobytes()))
        with pytest.raises(InputError, match=r"The values of 'rain' in .* cannot be read"):
            read(tmp_path / 'rain.zarr')


def test_codecs_that_hide_how_much_comes_out_are_rejected(tmp_path, rain):
    write(tmp_path / 'twice.zarr', rain, compressors=(GzipCodec(), ZstdCodec()))
    with pytest.raises(InputError, match=r"'rain' in .* is packed twice"):
        open_file(tmp_path / 'twice.zarr')
    write(tmp_path / 'index.zarr', rain, **shards(2, 10))
    file = tmp_path / 'index.zarr' / 'rain' / 'zarr.json'
    described = json.loads(file.read_text())
    described['codecs'][0]['configuration']['index_codecs'][1]['name'] = 'gzip'
    file.write_text(json.dumps(described))
    with pytest.raises(InputError, match="an index packed by 'gzip'"):
        open_file(tmp_path / 'index.zarr')


@pytest.mark.parametrize('version, encoding', [(3, {}), (3, shards(1, 5)), (2, {})], ids=str)
def test_pieces_that_are_not_there_are_counted(tmp_path, rain, version, encoding):
    path = tmp_path / 'rain.zarr'
    write(path, rain, version, **encoding)
    dataset = default_config('grids').dataset
    dataset.update({'path': str(path), 'input_frames': 1, 'output_frames': 1})
    assert 'chunks' not in str(open_source(dataset, 'train').account)
    second_chunk(path, version).unlink()
    os.utime(path)
    said = open_source(dataset, 'train').account
    assert f"'rain' in {path}: 1 of 2 chunks are not stored and read as 0" in said
    np.testing.assert_array_equal(read(path), np.concatenate([rain[:5], 0 * rain[5:]]))


def test_zeros_are_values_unless_something_says_that_they_are_gaps(tmp_path):
    """zarr gives its arrays of version 2 the fill value 0 without being asked."""
    rain = np.arange(80, dtype=np.float32).reshape(10, 2, 4) % 5
    for name, fill, attributes in (
        ('plain', 0, {}),
        ('named', 0, {'_FillValue': 0.0}),
        ('other', 1, {}),
    ):
        store = zarr.open_group(str(tmp_path / f'{name}.zarr'), mode='w', zarr_format=2)
        hours = {'units': 'hours since 2020-01-01', '_ARRAY_DIMENSIONS': ['time']}
        rows = {'_ARRAY_DIMENSIONS': ['time', 'y', 'x'], **attributes}
        for array, values, stated in (('time', np.arange(10), hours), ('rain', rain, rows)):
            made = store.create_array(array, data=values, fill_value=fill * (array == 'rain'))
            made.attrs.update(stated)
    np.testing.assert_array_equal(read(tmp_path / 'plain.zarr'), rain)
    for name, gap in (('named', 0), ('other', 1)):
        np.testing.assert_array_equal(np.isnan(read(tmp_path / f'{name}.zarr')), rain == gap)
    dataset = default_config('grids').dataset
    dataset.update({'path': str(tmp_path / 'plain.zarr'), 'input_frames': 1, 'output_frames': 1})
    source = open_source(dataset, 'train')
    line = f"'rain' in {dataset.path}: 0, the fill value that zarr takes by default, is a gap only with"
    assert any(text.startswith(line) for text in source.account) and not source.masked
    assert any('2020-01-01T00:00:00 to 2020-01-01T09' in text for text in source.account)
    dataset.missing = 0.0
    assert open_source(dataset, 'train').masked
    dataset.update({'path': str(tmp_path / 'other.zarr'), 'missing': None})
    assert not any('fill value' in text for text in open_source(dataset, 'train').account)


def test_text_is_left_out_and_is_no_time(tmp_path, rain):
    path = tmp_path / 'rain.zarr'
    write(path, rain)
    names = xarray.Dataset(coords={'station': np.array(['Berne', 'Basle'], object)})
    write_zarr(names, path, mode='a')
    np.testing.assert_array_equal(read(path), rain)
    texts = xarray.Dataset(
        {'rain': (('time', 'y', 'x'), rain)}, {'time': dates(10).astype(str).astype(object)}
    )
    write_zarr(texts, tmp_path / 'text.zarr')
    with pytest.raises(InputError, match=r"'time' in .* is text of any length. Write the times as"):
        open_labeled_grids(tmp_path / 'text.zarr')
