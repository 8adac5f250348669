"""A video file that FFmpeg has opened through PyAV, and what it announces of itself."""

import contextlib
import errno
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
from av.container import InputContainer

from e3d.data.readers.containers import CONTAINERS, RAW_STREAMS, REMEDY, is_whole
from e3d.data.readers.timing import Clock
from e3d.data.readers.video_streams import decoder_of, main_stream
from e3d.errors import InputError
from e3d.files import regular_file

MAX_PIXELS = 2**26  # of a frame
WHOLE = 0.95  # a file in which less than this share of what it announces is there was cut off
UNKNOWN = 2**30  # frames: what AVI and IVF state of a file whose end was not known
# Only the file itself: playlists and the like make FFmpeg open other files.
_OPTIONS = {'protocol_whitelist': 'file', 'format_whitelist': ','.join((*CONTAINERS, *RAW_STREAMS))}
# Containers with a header that tells their length; of others FFmpeg finds it from what is there.
_ANNOUNCING = (
    *('asf', 'avi', 'flv', 'gxf', 'ivf', 'matroska,webm', 'mov,mp4,m4a,3gp,3g2,mj2', 'mxf', 'rm'),
    *('wtv', 'yuv4mpegpipe'),
)
# Containers that state how long their last frame stands in nothing but a total.
_TOTALS = ('matroska,webm', 'avi', 'flv', 'asf')
_DURATION = re.compile(r'(\d{1,6}):(\d\d):(\d\d(?:\.\d*)?)')


class Packet(NamedTuple):
    """An encoded frame.

    Attributes:
      stamp: when it appears; None if not stated.
      decoded: when it is to be decoded; None if not stated.
      duration: 0 if not stated.
      is_key: whether it is decoded without others.
    """

    stamp: int | None
    decoded: int | None
    duration: int
    is_key: bool


class VideoFile:
    """A container and the video stream in it that is read.

    Attributes:
      path: of the file, or what it is called in messages.
      container: open.
      stream: of the container.
      opaque: whether an alpha channel means nothing: AVI has an unused byte there.
      count: how many frames or packets were read so far.
      first_packet: what the file begins with, shown or not; None before that was read.
    """

    def __init__(self, path: Path, container: InputContainer, content: BinaryIO | None):
        """Chooses the stream and its decoder; see `opened_video` for the errors."""
        self.path, self.container, self.count = path, container, 0
        self.first_packet: Packet | None = None
        self.stream = main_stream(path, container, lambda: _opened_again(path, content))
        check_size(path, self.stream.height, self.stream.width)
        self.opaque = container.format.name == 'avi' and self.stream.codec.name == 'rawvideo'
        self._decoder = decoder_of(path, self.stream, MAX_PIXELS)
        self._is_whole = is_whole(path, content, container.format.name)
        self._tick = float(self.stream.time_base or 0)
        self._first = math.inf  # stamps: of the first frame, and the end of the last one
        self._end = -math.inf

    def clock(self) -> Clock:
        """A clock for the stamps of this stream."""
        stream = self.stream
        if self.container.format.name in RAW_STREAMS:
            return Clock(0, None, None)
        rate = stream.average_rate or stream.guessed_rate
        return Clock(
            self._tick, float(rate) if rate else None, float(stream.base_rate or rate or 0)
        )

    def packets(self) -> Iterator[Packet]:
        """Yields the encoded frames that are to be shown, in the order of the file."""
        for packet in self.container.demux(self.stream):
            if not packet.size or self._is_hidden(packet):
                continue
            stamp, duration = _stamp(packet), packet.duration or 0
            encoded = Packet(stamp, packet.dts, duration, packet.is_keyframe)
            self.first_packet = self.first_packet or encoded
            if not packet.is_discard:
                self._note(stamp, duration)
                yield encoded

    def decoded(self) -> Iterator[tuple[int | None, int, av.VideoFrame]]:
        """Yields stamp, duration (0 if not stated) and frame, in the order of their showing.

        Raises:
          InputError: a frame in which the decoder noticed damage. It does not notice every damage:
            many a wrong byte makes other pixels that could be meant.
        """
        size = None
        for packet in self.container.demux(self.stream):
            if not packet.size and packet.dts is not None:
                continue  # stands for a repetition; to the decoder it would mean the end
            for frame in self._decoder.decode(packet):
                size = size or (frame.height, frame.width)
                self._check_frame(frame, size)
                stamp, duration = _stamp(frame), frame.duration or 0
                self._note(stamp, duration)
                yield stamp, duration, frame

    def check_whole(self) -> None:
        """Raises InputError if much less was read than the file announces."""
        remedy = 'Get the whole file, or save the frames that are there as a new one.'
        if self._is_whole is False:
            raise InputError(
                f'{self.path} is truncated: the file is smaller than it says of itself. {remedy}'
            )
        # The boxes of an MP4 may fill it although the one with the frames is missing.
        boxes = self.container.format.name.startswith('mov') and self.stream.frames
        share = min(self._shares(), default=1.0)
        if share < WHOLE and not (self._is_whole and self.count >= WHOLE * boxes):
            raise InputError(
                f'{self.path} is truncated: only {share:.0%} of what it announces is there '
                f'({self.count} frames). {remedy}'
            )

    def announced_end(self) -> float | None:
        """When the video ends by what a whole file says of it, in seconds as stamps are counted.

        Only for containers that do not state the duration of each frame.
        """
        name = self.container.format.name
        if not self._is_whole or name not in _TOTALS:
            return None
        if name == 'avi':
            return ((self.stream.start_time or 0) + (self.stream.duration or 0)) * self._tick
        return self._tagged_duration() or self._total_duration()

    def _shares(self) -> Iterator[float]:
        """What was read, as a share of what is announced, by the durations and by the number.

        The shortest of the durations counts: that of the stream may take in frames that an MP4
        hides, that of the file a longer audio track. The duration of an AVI is found from what is
        there, but its header tells the number of frames, dropped ones among them. A file that was
        written to a pipe announces nothing.
        """
        name, stream = self.container.format.name, self.stream
        if stream.frames >= UNKNOWN or name not in _ANNOUNCING:
            return
        announced, alone = self._tagged_duration(), len(self.container.streams) == 1
        if stream.duration and (alone or name != 'asf'):  # where it is that of the file
            announced = stream.duration * self._tick
        total = self.container.duration and self.container.duration / av.time_base
        if total and (announced or alone):
            announced = min(total, announced or total)
        if math.isfinite(self._first) and announced:
            # Matroska counts from 0 on, wherever the first frame is.
            start = 0 if name == 'matroska,webm' else self._first
            yield (self._end - start) * self._tick / announced
        if name == 'avi' and stream.frames:
            places = self._end if math.isfinite(self._end) else 0
            yield max(self.count, places) / stream.frames

    def _tagged_duration(self) -> float | None:
        """What Matroska states of a stream, in seconds."""
        for key, value in self.stream.metadata.items():
            match = key.upper().startswith('DURATION') and _DURATION.match(value)
            if match:
                return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
        return None

    def _total_duration(self) -> float | None:
        """What is stated of the file, in seconds, if nothing else is in it."""
        if len(self.container.streams) > 1 or not self.container.duration:
            return None
        return self.container.duration / av.time_base

    def _note(self, stamp: int | None, duration: int) -> None:
        self.count += 1
        if stamp is not None:
            step = duration or 1 / (self._tick * float(self.stream.average_rate or math.inf))
            self._first = min(self._first, stamp)
            self._end = max(self._end, stamp + step)

    def _is_hidden(self, packet: av.Packet) -> bool:
        """Whether a frame only serves to decode others; only VP8 has packets of these alone."""
        return self.stream.codec.name == 'vp8' and not bytes(packet)[0] & 16

    def _check_frame(self, frame: av.VideoFrame, size: tuple[int, int]) -> None:
        if frame.is_corrupt:
            raise InputError(
                f'{self.path} is damaged: parts of frame {self.count + 1} are missing or wrong. Get '
                'the file again, or save the frames before or after the damage as a new one.'
            )
        check_size(self.path, frame.height, frame.width)
        if (frame.height, frame.width) != size:
            raise InputError(
                f'Frame {self.count + 1} of {self.path} has {frame.height} x {frame.width} pixels, '
                f'those before it {size[0]} x {size[1]}. Cut the video there, or scale it to one '
                'size.'
            )


@contextlib.contextmanager
def opened_video(path: Path, content: BinaryIO | None) -> Iterator[VideoFile]:
    """Opens a video; whatever is wrong with it becomes an InputError.

    Args:
      path: of the file, or its name.
      content: of the file, if it is not to be opened by its path.
    """
    video = None
    try:
        with _container(path, content) as container:
            video = VideoFile(path, container, content)
            yield video
    except InputError:
        raise
    except Exception as error:  # of any type: PyAV expects no damage
        reason = getattr(error, 'strerror', None) or error
        if getattr(error, 'errno', None) == errno.EINVAL:  # another kind, or too large
            reason = f'FFmpeg rejects it; frames may have at most {MAX_PIXELS:,} pixels'
        state = 'is not a whole video file, or not of a kind that is read'
        if video and video.count:
            state = f'is damaged after frame {video.count}'
        raise InputError(f'{path} {state}: {reason}. {REMEDY}') from error


def _container(path: Path, content: BinaryIO | None) -> InputContainer:
    source = content or str(regular_file(path).resolve())
    # What its streams are is found by decoding some frames, which are bounded as well.
    return av.open(source, options={**_OPTIONS, 'max_pixels': str(MAX_PIXELS)})


@contextlib.contextmanager
def _opened_again(path: Path, content: BinaryIO | None) -> Iterator[InputContainer]:
    """A second look at a file; the position of `content` is kept."""
    position = content.tell() if content else 0
    if content:
        content.seek(0)
    try:
        with _container(path, content) as container:
            yield container
    finally:
        if content:
            content.seek(position)


def check_size(path: Path, height: int, width: int) -> None:
    """Raises InputError for frames that are too large."""
    if height * width > MAX_PIXELS:
        raise InputError(
            f'{path} has frames of {height} x {width} pixels, more than the {MAX_PIXELS:,} pixels '
            'that are read. Make them smaller.'
        )


def _stamp(timed: av.Packet | av.VideoFrame) -> int | None:
    """When it is to be shown; where only the time of its decoding is stated, that."""
    return timed.dts if timed.pts is None else timed.pts
