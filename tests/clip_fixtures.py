"""Small clips encoded in the containers and codecs of the originals."""

import av
import numpy as np


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
