"""Which kinds of video files are read, and what their structure says about their end."""

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

VIDEO_SUFFIXES = (
    *('.3g2', '.3gp', '.asf', '.avi', '.divx', '.dv', '.f4v', '.flv', '.gxf', '.h264', '.hevc'),
    *('.ivf', '.m1v', '.m2t', '.m2ts', '.m2v', '.m4v', '.mjpeg', '.mjpg', '.mkv', '.mov', '.mp4'),
    *('.mpe', '.mpeg', '.mpg', '.mts', '.mxf', '.nut', '.obu', '.ogm', '.ogv', '.qt', '.rm'),
    *('.rmvb', '.ts', '.vob', '.webm', '.wmv', '.wtv', '.y4m'),
)
# FFmpeg's names of the containers and raw streams that are read. All of them hold their frames
# themselves; others (playlists, patterns of file names, devices) make FFmpeg open other files.
CONTAINERS = (
    *('asf', 'avi', 'dv', 'flv', 'gxf', 'ivf', 'matroska', 'mov', 'mpeg', 'mpegts', 'mxf', 'nut'),
    *('ogg', 'rm', 'webm', 'wtv', 'yuv4mpegpipe'),
)
# Nothing but frames: FFmpeg makes their times up.
RAW_STREAMS = (
    *('av1', 'cavsvideo', 'dirac', 'h261', 'h263', 'h264', 'hevc', 'm4v', 'mjpeg', 'mpegvideo'),
    *('obu', 'vc1', 'vvc'),
)
REMEDY = (
    'Give a video that FFmpeg decodes (.mp4, .avi, .webm, .mkv, ...), a .gif, .npy or .npz file '
    'or a folder of pictures.'
)
_ASF_PROPERTIES = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')
_MATROSKA_SEGMENT = bytes.fromhex('18538067')
APPENDED = 0.9  # share of a file that must be its own
_OGG_PAGE = 2**16  # bytes at most
_HEAD = 2**16  # bytes in which the header of an ASF file states its size


def is_whole(path: Path, content: BinaryIO | None, demuxer: str) -> bool | None:
    """Tells whether the parts of a file, by their own sizes, fill it.

    That proves that it was not cut off. The contrary often proves nothing, as sizes are left at 0
    where a file was written to a pipe.

    Args:
      path: of the file, if there is no `content`.
      content: of the file; its position is kept.
      demuxer: FFmpeg's name of the container.

    Returns:
      True, if they fill it; False, if the file is smaller than it says; None, if that is open.
    """
    walk = next((walk for name, walk in _WALKS.items() if name in demuxer.split(',')), None)
    if walk is None:
        return None
    try:
        if content is None:
            with open(path, 'rb') as file:
                return walk(file, os.fstat(file.fileno()).st_size)
        position = content.tell()
        try:
            return walk(content, content.seek(0, io.SEEK_END))
        finally:
            content.seek(position)
    except (OSError, struct.error, IndexError, ValueError):
        return None


def _walk_boxes(file: BinaryIO, size: int) -> bool | None:
    """MP4, QuickTime: boxes of [size, type], where 1 announces a size of 64 bits."""
    position, kinds = 0, set()
    while position < size:
        file.seek(position)
        length, kind = struct.unpack('>I4s', file.read(8))
        if length == 1:
            (length,) = struct.unpack('>Q', file.read(8))
        if length < 8:  # 0: up to the end, wherever that is
            return None
        kinds.add(kind)
        position += length
    return (position == size and b'moov' in kinds) or None


def _walk_riff(file: BinaryIO, size: int) -> bool | None:
    """AVI: chunks of [type, size], padded to an even size; large files have several."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack('<4sI', file.read(8))
        if kind != b'RIFF':
            break
        position += 8 + length + length % 2
    unpadded = position == size + 1
    return _fills(position - unpadded, size)


def _walk_matroska(file: BinaryIO, size: int) -> bool | None:
    """Matroska, WebM: a header, then a segment, each [id, size of 1 to 8 bytes]."""
    file.seek(0)
    head = file.read(4 + 8)
    length, used = _matroska_size(head[4:])
    position = 4 + used + length
    file.seek(position)
    head = file.read(4 + 8)
    length, used = _matroska_size(head[4:])
    return _fills(position + 4 + used + length, size) if head[:4] == _MATROSKA_SEGMENT else None


def _matroska_size(data: bytes) -> tuple[int, int]:
    """(size, number of bytes that state it); the leading zeros of the first byte tell the latter.

    An unknown size, all ones, is larger than any file.
    """
    used = 9 - data[0].bit_length()
    return int.from_bytes(data[:used], 'big') & ((1 << 7 * used) - 1), used


def _walk_asf(file: BinaryIO, size: int) -> bool | None:
    """ASF, WMV: the header states the size of the file."""
    file.seek(0)
    head = file.read(_HEAD)
    place = head.find(_ASF_PROPERTIES)
    stated, flags = struct.unpack_from('<40xQ40xI', head, place if place >= 0 else len(head))
    if flags & 1 or stated == 0:  # a broadcast, whose size was not known when it began
        return None
    return False if stated > size else _fills(stated, size)


def _walk_flv(file: BinaryIO, size: int) -> bool | None:
    """FLV: after each tag comes its size; the last one is looked at."""
    file.seek(size - 4)
    (length,) = struct.unpack('>I', file.read(4))
    file.seek(size - 4 - length)
    head = file.read(4)
    filled = head[0] in (8, 9, 18) and int.from_bytes(head[1:], 'big') == length - 11
    return filled or None


def _walk_ogg(file: BinaryIO, size: int) -> bool | None:
    """Ogg: pages that begin with the sizes of their segments; the last one is looked at."""
    file.seek(max(0, size - 2 * _OGG_PAGE))
    tail = file.read()
    page = tail.rindex(b'OggS')
    segments = tail[page + 27 : page + 27 + tail[page + 26]]
    end = page + 27 + tail[page + 26] + sum(segments)
    return False if end > len(tail) else end == len(tail) or None


def _fills(end: int, size: int) -> bool | None:
    """Whether parts that end there fill a file, to which a little may have been appended."""
    return APPENDED * size <= end <= size or None


_WALKS = {
    'mov': _walk_boxes,
    'avi': _walk_riff,
    'matroska': _walk_matroska,
    'asf': _walk_asf,
    'flv': _walk_flv,
    'ogg': _walk_ogg,
}
