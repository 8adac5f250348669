"""The streams of a video file: which one is the video, and what decodes it."""

import collections
import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager as ContextManager
from pathlib import Path

import av
from av.codec import CodecContext
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from e3d.data.readers.containers import REMEDY
from e3d.errors import InputError

PEEKED = 1000  # packets that are looked at to tell a picture from a video
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
# What decodes the transparency of WebM, which FFmpeg's own decoders leave out.
_ALPHA_DECODERS = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}


def main_stream(
    path: Path, container: InputContainer, again: Callable[[], ContextManager[InputContainer]]
) -> VideoStream:
    """The default stream, the largest if there are several; never a cover picture.

    Args:
      path: what to call the file in messages.
      container: open, nothing read yet.
      again: opens it again.

    Raises:
      InputError: there is no video, or none that can be decoded.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & _COVERS]
    if not streams:
        cover = ' but a cover picture' if container.streams.video else ''
        raise InputError(f'{path} holds no video{cover}. {REMEDY}')
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise InputError(f'{path} holds a video whose codec is not known here. {REMEDY}')
    if len(readable) > 1:
        readable = list(_moving(readable, again))
    return max(
        readable,
        key=lambda stream: (
            bool(stream.disposition & Disposition.default),
            stream.height * stream.width,
        ),
    )


def decoder_of(path: Path, stream: VideoStream, max_pixels: int) -> CodecContext:
    """The decoder of a stream, one that knows of transparency where there is some.

    Raises:
      InputError: that one is missing.
    """
    decoder = stream.codec_context
    name = _ALPHA_DECODERS.get(stream.codec.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if name and tags.get('alpha_mode') == '1':
        if name not in av.codecs_available:
            raise InputError(
                f'{path} has transparent parts, which need the decoder {name}; this PyAV was built '
                'without it. Encode the video again without transparency.'
            )
        decoder = CodecContext.create(name, 'r')
        decoder.extradata = stream.codec_context.extradata
    decoder.thread_type = 'AUTO'
    decoder.options = {'max_pixels': str(max_pixels)}
    return decoder


def _moving(
    streams: Sequence[VideoStream], again: Callable[[], ContextManager[InputContainer]]
) -> Sequence[VideoStream]:
    """Those of some streams that have more than a picture; all, if none has."""
    with again() as container:
        copies = [container.streams[stream.index] for stream in streams]
        packets = itertools.islice(container.demux(copies), PEEKED)
        counts = collections.Counter(packet.stream_index for packet in packets if packet.size)
    return [stream for stream in streams if counts[stream.index] > 1] or streams
