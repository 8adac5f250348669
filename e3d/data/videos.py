"""Video files, decoded by FFmpeg through PyAV."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

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


def video_frames(path: Path, content: BinaryIO | None = None) -> Iterator[np.ndarray]:
    """Decodes the first video stream of a file: uint8 RGB `[H, W, 3]`, upright.

    Args:
      path: of the file; only its name in messages, if `content` is given.
      content: of the file, for one that lies in an archive.

    Raises:
      InputError: if the file is no video, damaged or truncated, or its frames are too large.
    """
    count = 0
    with _opened(path, content, lambda: count) as (container, stream):
        stream.thread_type = 'AUTO'
        first = frame = None
        for frame in container.decode(stream):
            count += 1
            first = first or frame
            size = {'height': first.height, 'width': first.width}
            pixels = frame.to_ndarray(format='rgb24', **size)
            yield np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
        if count:
            _check_whole(path, container, stream, count, first.time, frame.time)


def measure_video(path: Path, content: BinaryIO | None = None) -> tuple[int, float | None]:
    """Counts the frames of a video without decoding them, which is ten times as fast.

    Args:
      path: as for `video_frames`.
      content: as for `video_frames`.

    Returns:
      Their number, and the frames per second if stated.

    Raises:
      InputError: as `video_frames`, as far as it shows without decoding.
    """
    count, times = 0, []
    with _opened(path, content, lambda: count) as (container, stream):
        for packet in container.demux(stream):
            if packet.size:
                count += 1
                times.append(packet.pts and float(packet.pts * stream.time_base))
        if not count:
            raise InputError(f'{path} holds no frames. {REMEDY}')
        end = None if None in times else max(times)
        _check_whole(path, container, stream, count, times[0], end)
        return count, float(stream.average_rate) if stream.average_rate else None


@contextlib.contextmanager
def _opened(
    path: Path, content: BinaryIO | None, count: Callable[[], int]
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A container and its first video stream; whatever is wrong with it becomes an InputError.

    Args:
      path: of the file, or its name.
      content: of the file, if it is not to be opened by its path.
      count: tells how many frames were read, for the message.
    """
    try:
        # Only files: a playlist could otherwise make FFmpeg follow links.
        source = content or str(path.resolve())
        with av.open(source, options={'protocol_whitelist': 'file'}) as container:
            if not container.streams.video or container.format.name in NOT_VIDEOS:
                raise InputError(f'{path} holds no video. {REMEDY}')
            stream = container.streams.video[0]
            check_size(path, stream.height, stream.width)
            yield container, stream
    except InputError:
        raise
    except Exception as error:  # of any type: PyAV expects no damage
        reason = getattr(error, 'strerror', None) or error
        state = f'is damaged after frame {count()}' if count() else 'is not a whole video file'
        raise InputError(f'{path} {state}: {reason}. {REMEDY}') from error


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
    except Exception:  # of any type: PyAV expects no damage
        return None
    return float(rate) if rate else None
