"""Pictures with several frames: GIF, APNG, animated WebP and AVIF, TIFF with several pages."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from e3d.data.readers.pictures import (
    check_total,
    decode,
    frames_of,
    is_deep,
    is_gray,
    opened_picture,
    unified,
)
from e3d.data.readers.timing import TimedFrame, Timing
from e3d.data.readers.video_file import check_size
from e3d.data.readers.video_pixels import pixels_of
from e3d.errors import InputError

# As browsers do: what is not to stand longer than 10 ms stands for 100 ms.
SHORTEST, DEFAULT = 11.0, 100.0
TICK = {'GIF': 10.0}  # to which times are rounded; to a millisecond where not said
FINEST = 5  # steps in the shortest duration, at most
TAIL = 2**12  # bytes in which the end of a GIF is looked for
MAX_TRIED = 2**22  # steps, times the number of frames


class Times(NamedTuple):
    """When the frames of an animation appear, in milliseconds.

    Attributes:
      starts: of each.
      end: of the last one.
      step: with which frames follow each other evenly, if each is repeated as long as it stands.
      constant: whether each stands for one step.
    """

    starts: list[float]
    end: float
    step: float
    constant: bool


class _Plan(NamedTuple):
    """What is known of an animation before it is decoded.

    Attributes:
      numbers: of the frames that count.
      gray: whether all of them are.
      deep: whether any has more than 8 bits.
      times: of the frames; None where there are none.
      has_end: whether the file ends as its format has it; only of GIF it is looked for.
    """

    numbers: list[int]
    gray: bool
    deep: bool
    times: Times | None
    has_end: bool


def animation_frames(path: Path) -> Iterator[TimedFrame]:
    """Decodes the frames of a picture file with one or more of them; see `decode`.

    Times are put on the grid of even steps where there is one, see `even_times`. A single picture
    has no times, nor have the pages of a TIFF; a page that is marked as a thumbnail is left out.

    Yields:
      Frames of one number of channels and one depth; the pages of a TIFF may have several sizes.

    Raises:
      InputError: the file is no whole picture, or its frames are too large.
    """
    numbers, gray, deep, times, _ = _look_through(path)
    with opened_picture(path) as image:
        moving_gif = image.format == 'GIF' and len(numbers) > 1
        frames = _gif_frames if moving_gif else _frames
        for index, pixels in enumerate(frames(path, image, numbers)):
            pixels = unified(pixels, gray, deep)
            if times:
                end = times.starts[index + 1] if index + 1 < len(numbers) else times.end
                yield TimedFrame(pixels, times.starts[index] / 1000, end / 1000)
            else:
                yield TimedFrame(pixels)


def _frames(path: Path, image: Image.Image, numbers: list[int]) -> Iterator[np.ndarray]:
    for number in numbers:
        image.seek(number)
        yield decode(path, image)


def _gif_frames(path: Path, image: Image.Image, numbers: list[int]) -> Iterator[np.ndarray]:
    """The frames of a GIF as FFmpeg draws them, one over the other; Pillow notices damage.

    Pillow lets a frame that does not say what becomes of it go as the one before, and shows colors
    after a gray frame as grays.
    """
    with path.open('rb') as file, av.open(file, format='gif') as container:
        drawn = container.decode(video=0)
        for number in numbers:
            image.seek(number)
            image.load()
            frame = next(drawn, None)
            if frame is None or (frame.height, frame.width) != (image.height, image.width):
                found = 'nothing' if frame is None else f'{frame.height} x {frame.width} pixels'
                raise InputError(
                    f'Frame {number + 1} of {path} can be read in two ways: Pillow finds '
                    f'{image.height} x {image.width} pixels, FFmpeg {found}. Save each frame as a '
                    'PNG picture, in a folder.'
                )
            yield pixels_of(frame)


def animation_timing(path: Path) -> Timing | None:
    """The rate of its even steps, see `even_times`; None for what has no times."""
    times = _look_through(path).times
    return times and Timing(1000 / times.step, times.constant)


def describe_animation(path: Path) -> str:
    """Says how the times of an animation are understood, and whether it may be cut off; or ''."""
    remarks = '; '.join(_remarks(_look_through(path)))
    return f'{path}: {remarks}' if remarks else ''


def _remarks(plan: _Plan) -> Iterator[str]:
    if len(plan.numbers) < 2:
        yield 'a single picture'
    elif plan.times is None:
        yield 'a frame for each page'
    elif not plan.times.constant:
        yield f'frames of unequal duration, repeated in even steps of {plan.times.step:.4g} ms'
    if not plan.has_end:
        yield 'the mark at the end of a GIF is missing, so that it may be cut off'


def even_times(durations: Sequence[float], tick: float) -> Times:
    """Finds the even steps in which frames follow each other.

    They are one for each frame, if that agrees with rounded times; or the shortest duration or up
    to its `FINEST`th part, of which the others are multiples, exactly or but for the rounding. The
    last frame may stand any time. Without such a step it is the shortest duration, and times stay
    as they are.

    Args:
      durations: of the frames, in milliseconds.
      tick: to which the times are rounded, in milliseconds.
    """
    moments = np.cumsum([0.0, *durations])
    starts, end = moments[:-1], float(moments[-1])
    found = _even_places(moments, tick) if len(starts) > 1 else None
    if found is None:
        return Times(starts.tolist(), end, min(durations), False)
    places, step = found
    places = places[: len(starts)]
    last = max(places[-1] + 1, float(np.rint(places[-1] + durations[-1] / step)))
    return Times((places * step).tolist(), last * step, step, last == len(starts))


def _even_places(moments: np.ndarray, tick: float) -> tuple[np.ndarray, float] | None:
    """The multiples of one step at which the moments lie, with or without the last, the end."""
    exact, rounded, cut_off = (1e-3, 1e-3), (tick / 2, tick / 2), (1e-3, 0.99 * tick)
    places = np.arange(len(moments))
    for rounding in (rounded, cut_off):
        if step := _fit(moments[1:], places[1:], rounding):
            return places, step
    tries = [
        (known, float(np.diff(known).min()) / parts, parts)
        for parts in range(1, FINEST + 1)
        for known in (moments, moments[:-1])
        if len(known) > 2
    ]
    for known, near, parts in tries:
        places = np.rint(known / near)
        # Of short parts too many times are multiples by chance.
        is_long = parts == 1 or near >= (2 if parts == 2 else 4) * tick
        if is_long and (step := _fit(known[1:], places[1:], exact)):
            return places, step
    for known, near, _ in tries:
        low, high = max(near - tick, 0.6 * near), near + tick
        tried = range(max(1, int(known[-1] / high)), int(known[-1] / low) + 1)
        for count in tried if len(tried) * len(known) <= MAX_TRIED else ():
            places = np.rint(known * (count / known[-1]))
            for rounding in (rounded, cut_off) if (np.diff(places) > 0).all() else ():
                if step := _fit(known[1:], places[1:], rounding):
                    return places, step
        # Durations that were each cut off to a tick, some of them after they were added to others.
        for step in near + np.arange(0.5, 10) * tick / 10:
            counts = np.rint(np.diff(known) / step)
            if step := _fit(np.diff(known), counts, (tick / 2, tick)):
                return np.cumsum([0.0, *counts]), step
    return None


def _fit(times: np.ndarray, counts: np.ndarray, rounding: tuple[float, float]) -> float | None:
    """The step of which all times are the multiples, but for the rounding; None if there is none.

    Args:
      times: in milliseconds; each from the start, or all durations.
      counts: of steps in each, at least 1.
      rounding: by how much times may be too large, and too small.
    """
    above, below = rounding
    least, most = ((times - above) / counts).max(), ((times + below) / counts).min()
    mean = times[-1] / counts[-1] if (np.diff(times) > 0).all() else times.sum() / counts.sum()
    return float(np.clip(mean, least, most)) if least <= most else None


def _look_through(path: Path) -> _Plan:
    with opened_picture(path) as image:
        numbers = frames_of(image)
        size, pixels, durations, gray, deep = path.stat().st_size, 0, [], True, False
        check_total(path, len(numbers), len(numbers) * image.height * image.width, size)
        for number in numbers:
            image.seek(number)
            check_size(path, image.height, image.width)
            pixels += image.height * image.width
            check_total(path, len(numbers), pixels, size)
            gray, deep = gray and is_gray(image), deep or is_deep(path, image)
            if image.format in ('WEBP', 'AVIF') and len(numbers) > 1:
                image.load()  # which tells the duration
            duration = image.info.get('duration', 0)
            durations.append(float(duration) if duration >= SHORTEST else DEFAULT)
        timed = image.format != 'TIFF' and len(numbers) > 1
        times = even_times(durations, TICK.get(image.format, 1.0)) if timed else None
        return _Plan(numbers, gray, deep, times, image.format != 'GIF' or _has_trailer(path))


def _has_trailer(path: Path) -> bool:
    """Whether a GIF ends with its last block, which zeros may follow."""
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read().rstrip(b'\0').endswith(b';')
