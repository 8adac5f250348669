"""A zarr store whose chunks unpack to what a chunk holds, and no more."""

import asyncio
import bz2
import dataclasses
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any, Self

import numcodecs
import numpy as np
import zarr.abc.codec
import zarr.registry
from zarr.storage import LocalStore, WrapperStore

from e3d.data.readers.zarr_stores import BOUNDED, METADATA, bounded


def open_store(path: Path) -> 'BoundedStore':
    """The store of a folder, for reading, after `check_store` has looked at it."""
    return BoundedStore(LocalStore(path, read_only=True))


class BoundedStore(WrapperStore[LocalStore]):
    """A folder that says of its arrays that they are packed by the codecs here."""

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """What stands under a key, or None."""
        found = await super().get(key, prototype, byte_range)
        if found is None or key.rsplit('/', 1)[-1] not in METADATA:
            return found
        described = bounded(json.loads(found.to_bytes()), self._store.root / key)
        return prototype.buffer.from_bytes(json.dumps(described).encode())


class BoundedCodec(numcodecs.abc.Codec):
    """Reads what another codec has packed, for arrays of version 2.

    Attributes:
      packed_by: the other one.
      size: what it must unpack to, in bytes.
    """

    codec_id = BOUNDED

    def __init__(self, packed_by: str, size: int):
        self.packed_by, self.size = packed_by, size

    def encode(self, buf: Any) -> Any:
        """Stores are read alone."""
        raise NotImplementedError

    def decode(self, buf: Any, out: Any = None) -> bytes:
        """See `unpack`."""
        assert out is None  # of calls that zarr does not make
        return unpack(bytes(buf), self.packed_by, self.size)


@dataclasses.dataclass(frozen=True)
class BoundedCodec3(zarr.abc.codec.BytesBytesCodec):
    """The same for arrays of version 3."""

    is_fixed_size = False

    packed_by: str
    size: int

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """From the metadata of an array."""
        return cls(**data['configuration'])

    def to_dict(self) -> dict[str, Any]:
        """As `from_dict` takes it."""
        return {'name': BOUNDED, 'configuration': dataclasses.asdict(self)}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Nothing tells."""
        raise NotImplementedError

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        packed = chunk_data.to_bytes()
        unpacked = await asyncio.to_thread(unpack, packed, self.packed_by, self.size)
        return chunk_spec.prototype.buffer.from_bytes(unpacked)


def unpack(packed: bytes, packed_by: str, size: int) -> bytes:
    """Unpacks a chunk.

    Args:
      packed: what is stored.
      packed_by: a compressor of zarr.
      size: of what is in it, in bytes.

    Raises:
      ValueError, or what the codec raises: it is damaged, or unpacks to another size.
    """
    match packed_by:
        case 'blosc' if (_number(packed[4:8]), _number(packed[12:16])) == (size, len(packed)):
            unpacked = numcodecs.blosc.decompress(packed)
        case 'lz4' if _number(packed[:4]) == size:
            unpacked = numcodecs.lz4.decompress(packed)
        case 'zstd' if _stated_by_zstd(packed) in (None, size):
            unpacked = numcodecs.Zstd().decode(packed, out=np.empty(size, np.uint8)).tobytes()
        case 'zlib':
            unpacked = zlib.decompressobj().decompress(packed, size + 1)
        case 'gzip':
            unpacked = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(size + 1)
        case 'bz2':
            unpacked = bz2.BZ2File(io.BytesIO(packed)).read(size + 1)
        case _:
            unpacked = b''
    if len(unpacked) != size:
        raise ValueError(f'a chunk does not unpack to the {size:,} bytes that it must have')
    return unpacked


def _stated_by_zstd(packed: bytes) -> int | None:
    """What a chunk says of its size in its first frame (RFC 8878, 3.1.1.1); None where it does not."""
    flags = packed[4] if len(packed) > 4 else 0
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    start = 6 - single + (0, 1, 2, 4)[flags & 3]
    return _number(packed[start : start + width]) + 256 * (width == 2) if width else None


def _number(stored: bytes) -> int:
    return int.from_bytes(stored, 'little')


numcodecs.register_codec(BoundedCodec)
zarr.registry.register_codec(BOUNDED, BoundedCodec3)
