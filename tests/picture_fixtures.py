"""Pictures as files, of kinds that Pillow does not write."""

import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by the number of channels


def chunk(kind, content):
    """A chunk of a PNG."""
    body = kind + content
    return struct.pack('>I', len(content)) + body + struct.pack('>I', zlib.crc32(body))


def deep_png(pixels, *chunks):
    """A PNG of 16 bits: uint16 [H, W, C], with more chunks before the pixels."""
    height, width, channels = pixels.shape
    header = struct.pack('>IIBBBBB', width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
    chunks = [chunk(b'IHDR', header), *chunks, chunk(b'IDAT', zlib.compress(rows))]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks) + chunk(b'IEND', b'')


def write_tiff(path, pixels, order='<', **tags):
    """A TIFF of one strip: any array [H, W] or [H, W, C]; `tags` by number, as `t262=0`."""
    kinds = {'u': 1, 'i': 2, 'f': 3}
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    values = {
        256: pixels.shape[1],
        257: pixels.shape[0],
        258: [8 * pixels.itemsize] * channels,
        259: 1,
        262: 2 if channels > 2 else 1,
        273: 8,
        277: channels,
        278: pixels.shape[0],
        279: len(content),
        339: [kinds[pixels.dtype.kind]] * channels,
    }
    values |= {int(name[1:]): value for name, value in tags.items()}
    place = 8 + len(content)
    extra, entries = b'', b''
    for number, value in sorted(values.items()):
        items = value if isinstance(value, list) else [value]
        packed = struct.pack(f'{order}{len(items)}H', *items) if number != 279 else b''
        if number == 279:
            entries += struct.pack(f'{order}HHII', number, 4, 1, value)
            continue
        if len(packed) > 4:
            offset = place + 2 + 12 * len(values) + 4 + len(extra)
            extra += packed
            packed = struct.pack(f'{order}I', offset)
        entries += struct.pack(f'{order}HHI', number, 3, len(items)) + packed.ljust(4, b'\0')
    mark = b'II*\0' if order == '<' else b'MM\0*'
    directory = (
        struct.pack(f'{order}H', len(values)) + entries + struct.pack(f'{order}I', 0) + extra
    )
    path.write_bytes(mark + struct.pack(f'{order}I', place) + content + directory)


class GifFrame(NamedTuple):
    """A frame as a GIF has it.

    Attributes:
      indices: uint8 [H, W], at most 250 of them.
      disposal: what becomes of it: 0 is not said, 1 stays, 2 is cleared, 3 gives way to what was
        before.
      place: row and column of its upper left corner.
      palette: its own colors, uint8 [256, 3]; None for those of the file.
      clear: index of what is transparent, as 2 needs it; None for none.
    """

    indices: np.ndarray
    disposal: int = 0
    place: tuple[int, int] = (0, 0)
    palette: np.ndarray | None = None
    clear: int | None = None


def gif_of(size, palette, frames):
    """A GIF of one picture of size [H, W], whose frames stand for 100 ms each."""
    content = b'GIF89a' + struct.pack('<HHBBB', size[1], size[0], 0xF7, 0, 0) + palette.tobytes()
    for frame in frames:
        (row, column), (height, width) = frame.place, frame.indices.shape
        flags = 4 * frame.disposal + (frame.clear is not None)
        content += b'!\xf9\4' + struct.pack('<BHBB', flags, 10, frame.clear or 0, 0)
        own = frame.palette is not None
        content += b',' + struct.pack('<HHHHB', column, row, width, height, 0x87 if own else 0)
        content += frame.palette.tobytes() if own else b''
        codes = [256, *frame.indices.ravel().tolist(), 257]  # of 9 bits, between start and end
        bits = sum(code << 9 * place for place, code in enumerate(codes))
        packed = bits.to_bytes(9 * len(codes) // 8 + 1, 'little')
        blocks = [packed[start : start + 255] for start in range(0, len(packed), 255)]
        content += b'\x08' + b''.join(bytes([len(block)]) + block for block in blocks) + b'\0'
    return content + b';'


def write_grays(folder, grays, size=(3, 2)):
    """Pictures of one gray each, by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, gray in grays.items():
        Image.new('L', size, gray).save(folder / name)


def first_pixels(frames):
    """The upper left values of all frames."""
    return np.asarray(frames)[:, 0, 0, 0].tolist()
