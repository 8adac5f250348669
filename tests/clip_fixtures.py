"""Small clips encoded in the containers and codecs of the originals."""

import itertools
from fractions import Fraction

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def moving_square(frames=20, height=32, width=48):
    """A bright square that moves right by a pixel a frame: uint8 [T, H, W, 3]."""
    clip = np.full((frames, height, width, 3), 30, np.uint8)
    for index in range(frames):
        clip[index, 8:20, index : index + 12] = 220
    return clip


def write_video(path, frames, codec, rate, tag=None):
    """Encodes frames; the suffix tells the container."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], 'yuv420p'
        stream.bit_rate = 2_000_000
        if tag:
            stream.codec_context.codec_tag = tag
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    return path


def write_kth(path, frames):
    """As the clips of KTH are: AVI, MPEG-4, DX50, 25 frames a second."""
    return write_video(path, frames, 'mpeg4', 25, 'DX50')


def write_webm(path, frames, rate=12):
    """As those of Something-Something are: WebM, VP9, 12 frames a second."""
    return write_video(path, frames, 'libvpx-vp9', rate)


def write_timed(
    path, stamps, codec, tick=MILLISECOND, durations=None, reorder=0, options=None, gop=12, rate=10
):
    """Writes gray frames of 16 x 16 that appear at the stamps; frame n has the value 10 + 10 n.

    Args:
      path: the suffix tells the container.
      stamps: in units of `tick`.
      codec: of FFmpeg.
      tick: seconds.
      durations: of the encoded frames, in units of `tick`; None as the encoder has it.
      reorder: how many frames in a row need a later one.
      options: of the container.
      gop: frames from one that needs no others to the next.
      rate: frames per second that is stated.
    """
    with av.open(str(path), 'w', options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width = stream.height = 16
        stream.pix_fmt, stream.codec_context.time_base = 'yuv420p', tick
        stream.codec_context.max_b_frames, stream.codec_context.gop_size = reorder, gop
        packets = []
        for number, stamp in enumerate(stamps):
            pixels = np.full((16, 16, 3), 10 + 10 * number % 240, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.pts, frame.time_base = stamp, tick
            packets += stream.encode(frame)
        packets += stream.encode()
        for packet, duration in itertools.zip_longest(packets, durations or []):
            if duration is not None:
                packet.duration = duration
            container.mux(packet)
    return path
