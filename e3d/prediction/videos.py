"""Video files, decoded and encoded by FFmpeg through PyAV."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from e3d.errors import InputError

MAX_PIXELS = 2**26  # of a frame
WHOLE = 0.95  # a file in which less than this share of what it announces is there was cut off
NOT_VIDEOS = ('tty', 'hls', 'dash', 'concat')  # FFmpeg opens plain text and lists of links as well
REMEDY = (
    'Give a video that FFmpeg decodes (.mp4, .avi, .webm, .mkv, ...), a .gif, .npy or .npz file '
    'or a folder of pictures.'
)


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """Decodes the first video stream of a file: uint8 RGB `[H, W, 3]`, upright.

    Raises:
      InputError: if the file is no video, damaged or truncated, or its frames are too large.
    """
    count = 0
    try:
        # Only files: a playlist could otherwise make FFmpeg follow links.
        with av.open(str(path.resolve()), options={'protocol_whitelist': 'file'}) as container:
            if not container.streams.video or container.format.name in NOT_VIDEOS:
                raise InputError(f'{path} holds no video. {REMEDY}')
            stream = container.streams.video[0]
            stream.thread_type = 'AUTO'
            check_size(path, stream.height, stream.width)
            first = frame = None
            for frame in container.decode(stream):
                count += 1
                first = first or frame
                size = {'height': first.height, 'width': first.width}
                pixels = frame.to_ndarray(format='rgb24', **size)
                yield np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
            if count:
                _check_whole(path, container, stream, count, first.time, frame.time)
    except InputError:
        raise
    except (av.FFmpegError, OSError) as error:
        state = f'is damaged after frame {count}' if count else 'is not a whole video file'
        raise InputError(f'{path} {state}: {error.strerror}. {REMEDY}') from error


def check_size(path: Path, height: int, width: int) -> None:
    """Raises InputError for frames that are too large."""
    if height * width > MAX_PIXELS:
        raise InputError(
            f'{path} has frames of {height} x {width} pixels, more than the {MAX_PIXELS:,} pixels '
            'that are read. Make them smaller.'
        )


def _check_whole(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    count: int,
    start: float | None,
    end: float | None,
) -> None:
    """Raises InputError if much less was decoded than the file announces.

    The shortest of the announced durations counts: that of the stream may take in frames that an
    MP4 hides, that of the file a longer audio track. The duration of an AVI is found from what is
    there, but its header tells the number of frames.
    """
    announced = []
    if stream.duration:
        announced.append(float(stream.duration * stream.time_base))
    elif 'DURATION' in stream.metadata:  # Matroska
        hours, minutes, seconds = stream.metadata['DURATION'].split(':')
        announced.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
    if container.duration and (announced or len(container.streams) == 1):
        announced.append(container.duration / av.time_base)
    share = 1.0
    if announced and stream.average_rate and None not in (start, end):
        share = (end - start + 1.0 / float(stream.average_rate)) / min(announced)
    if container.format.name == 'avi' and stream.frames:
        share = min(share, count / stream.frames)
    if share < WHOLE:
        raise InputError(
            f'{path} is truncated: only {share:.0%} of what it announces is there ({count} '
            'frames). Get the whole file, or save the frames that are there as a new one.'
        )


def video_rate(path: Path) -> float | None:
    """Frames per second of a video; None for what states no rate."""
    try:
        with av.open(str(path.resolve()), options={'protocol_whitelist': 'file'}) as container:
            rate = container.streams.video[0].average_rate
    except (av.FFmpegError, OSError, IndexError):
        return None
    return float(rate) if rate else None


def write_video(path: str | os.PathLike, frames: np.ndarray, frames_per_second: float) -> None:
    """Encodes frames as MP4: H.264, or MPEG-4 where PyAV was built without it; yuv420p.

    Args:
      path: of the file.
      frames: uint8 RGB `[T, H, W, 3]`. The encoders need even sides: an odd one gets its last
        row or column twice.
      frames_per_second: at which it is to be played.
    """
    odd = [(0, side % 2) for side in frames.shape[1:3]]
    frames = np.pad(frames, [(0, 0), *odd, (0, 0)], mode='edge')
    codec, options = 'libx264', {'crf': '12'}
    if codec not in av.codecs_available:
        codec, options = 'mpeg4', {'qmin': '1', 'qmax': '3'}
    with av.open(str(path), 'w') as container:
        rate = Fraction(frames_per_second).limit_denominator(1001)
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
