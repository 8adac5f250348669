"""Video files, decoded by FFmpeg through PyAV: frames and when they appear."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from e3d.data.readers.containers import REMEDY
from e3d.data.readers.timing import TimedFrame, Timing, timing_of
from e3d.data.readers.video_file import Packet, VideoFile, opened_video
from e3d.data.readers.video_pixels import pixels_of
from e3d.errors import InputError


class VideoTimes(NamedTuple):
    """When the frames of a video appear, in the order in which they do.

    Attributes:
      starts: seconds from the first one; None for each without times.
      end: when the last one ends, in seconds; None without times.
      timing: their rate; None without times.
      stamps: of the frames, as the file has them.
      keys: the stamps of those that are decoded without others; none where stamps do not tell one
        frame from another.
      remarks: what could have been understood otherwise.
    """

    starts: list[float | None]
    end: float | None
    timing: Timing | None
    stamps: list[int | None]
    keys: list[int]
    remarks: tuple[str, ...]


class JumpError(Exception):
    """What comes after a jump into a video is not what was expected."""


def video_frames(path: Path, content: BinaryIO | None = None) -> Iterator[TimedFrame]:
    """Decodes a video: RGB `[H, W, 3]`, upright, uint8 or float32; see `pixels_of`.

    Of several video streams the default one is taken, of several of these the largest; never a
    cover picture.

    Args:
      path: of the file; only its name in messages, if `content` is given.
      content: of the file, for one that lies in an archive.

    Raises:
      InputError: if the file is no video, truncated, or damaged so that FFmpeg notices it, its
        frames are too large, or their size changes.
    """
    with opened_video(path, content) as video:
        clock, held, last_duration = video.clock(), None, 0
        for stamp, duration, frame in video.decoded():
            start, last_duration = clock.place(stamp), duration
            if held is not None:
                yield TimedFrame(*held, start)
            held = pixels_of(frame, video.opaque), start
        video.check_whole()
        if held is None:
            raise InputError(f'{path} holds no frames. {REMEDY}')
        end = clock.end(last_duration, video.announced_end())
        yield TimedFrame(held[0], None if end is None else held[1], end)


def last_video_frames(path: Path, times: VideoTimes, first: int) -> Iterator[TimedFrame]:
    """Decodes the end of a video without most of what comes before it.

    Args:
      path: of the file.
      times: what `measure_video` found.
      first: number of the first frame that is wanted.

    Yields:
      The frames from `first` on.

    Raises:
      JumpError: a jump into the file is not possible, or does not lead to these frames: decode
        all of them.
    """
    wanted = times.stamps[first:]
    start = wanted[0]
    keys = [key for key in times.keys if start is not None and key <= start]
    # One key more than needed: some are such only to a decoder that saw what comes before.
    if len(keys) < 3:
        raise JumpError
    ends = [*times.starts[first + 1 :], times.end]
    count = 0
    try:
        with opened_video(path, None) as video:
            video.container.seek(keys[-2], stream=video.stream)
            for stamp, _, frame in video.decoded():
                if stamp is not None and start is not None and stamp < start:
                    continue
                if count == len(wanted) or stamp != wanted[count]:
                    break
                pixels = pixels_of(frame, video.opaque)
                yield TimedFrame(pixels, times.starts[first + count], ends[count])
                count += 1
            else:
                if count == len(wanted):
                    return
    except InputError as error:  # decoding all of it tells whether that is so
        raise JumpError from error
    raise JumpError


def measure_video(path: Path, content: BinaryIO | None = None) -> VideoTimes:
    """Finds the times of the frames, without decoding them if their stamps are in order.

    Args:
      path: as for `video_frames`.
      content: as for `video_frames`.

    Raises:
      InputError: as `video_frames`, as far as it shows.
    """
    with opened_video(path, content) as video:
        packets = list(video.packets())
        video.check_whole()
        if not packets:
            raise InputError(f'{path} holds no frames. {REMEDY}')
        if _is_in_order(packets, video.first_packet):
            return _times(video, sorted(packets, key=lambda packet: packet.stamp or 0))
    if content is not None:
        content.seek(0)
    with opened_video(path, content) as video:
        frames = [Packet(stamp, stamp, step, False) for stamp, step, _ in video.decoded()]
        video.check_whole()
        if not frames:
            raise InputError(f'{path} holds no frames. {REMEDY}')
        return _times(video, frames)


def _is_in_order(packets: Sequence[Packet], first: Packet | None) -> bool:
    """Whether each packet has a stamp of its own, by which they can be sorted.

    What comes before the first frame that is decoded without others may not be decoded at all.
    """
    stamps = {packet.stamp for packet in packets if packet.stamp is not None}
    decoded = [packet.decoded for packet in packets if packet.decoded is not None]
    if first is None or first.stamp is None or len(stamps) < len(packets):
        return False
    rising = all(before < after for before, after in itertools.pairwise(decoded))
    return rising and first.is_key and first.stamp <= min(stamps)


def _times(video: VideoFile, frames: Sequence[Packet]) -> VideoTimes:
    clock, stream = video.clock(), video.stream
    starts = [clock.place(frame.stamp) for frame in frames]
    end = clock.end(frames[-1].duration, video.announced_end())
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    stated = [float(rate) for rate in rates if rate]
    timing = timing_of(starts, stated, min(1e-3, float(stream.time_base or 0)))
    keys = [frame.stamp for frame in frames if frame.is_key and frame.stamp is not None]
    stamps = [frame.stamp for frame in frames]
    return VideoTimes(starts, end, timing, stamps, keys, tuple(_remarks(video, timing)))


def _remarks(video: VideoFile, timing: Timing | None) -> Iterator[str]:
    if timing and not timing.constant:
        yield 'frames of unequal duration'
    aspect = video.stream.sample_aspect_ratio
    if aspect and aspect != 1:
        yield f'pixels that are not square ({aspect.numerator}:{aspect.denominator}), as stored'
    if len(video.container.streams.video) > 1:
        height, width = video.stream.height, video.stream.width
        yield f'of {len(video.container.streams.video)} video streams that of {height} x {width}'
