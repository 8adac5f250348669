"""Forecasts to files: videos, animated GIFs, NumPy arrays, folders of pictures."""

import os
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import GifImagePlugin, Image

from e3d.errors import InputError
from e3d.evaluation.pictures import as_colors
from e3d.files import atomic_write

OUTPUT_SUFFIXES = ('.mp4', '.gif', '.npy', '')
PICTURE = re.compile(r'frame_\d{5,}\.png')  # of a folder that `write_clip` made
# Least and most frames per second. A GIF counts in hundredths of a second, up to 65535; what is to
# stand shorter than two of them, browsers show for ten.
RATES = {'.mp4': (1 / 3600, 1000.0), '.gif': (100 / 65535, 50.0)}
GRAYS = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()  # as a palette
# The longest side that such a file can have, in pixels: of MP4 what players decode.
SIDES = {'.mp4': 8190, '.gif': 65535, '': 65535}


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raises InputError if `write_clip` could not write there, before any work is done."""
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(
            f'{path}: "{path.suffix}" cannot be written. Use .mp4, .gif or .npy, or a name without '
            'a suffix for a folder of PNG pictures.'
        )
    try:
        _check_place(path, overwrite)
        parent = next(parent for parent in path.absolute().parents if parent.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(
                f'{path} cannot be written: {parent} is not a folder that can be written to.'
            )
    except OSError as error:  # names that are too long, folders that may not be looked into
        raise InputError(f'{path} cannot be written: {error.strerror}.') from error


def _check_place(path: Path, overwrite: bool) -> None:
    """Raises InputError for what lies there already and may not be replaced."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not path.suffix and path.is_file():
        raise InputError(f'{path} is a file; a folder of pictures needs another name.')
    if path.is_dir():
        if not any(path.iterdir()) and not path.suffix:
            return
        others = [file.name for file in path.iterdir() if not PICTURE.fullmatch(file.name)]
        if path.suffix or others:
            raise InputError(
                f'{path} is a folder with other content, which is left untouched. Give another '
                'name.'
            )
    elif not path.is_file():
        raise InputError(f'{path} is not a regular file. Give another name.')
    if not overwrite:
        raise InputError(f'{path} exists already. Give another name, or replace it: --overwrite.')


def check_sides(path: str | os.PathLike[str], height: int, width: int) -> None:
    """Raises InputError for pictures that are too large for such a file."""
    longest = SIDES[Path(path).suffix.lower()]
    if max(height, width) > longest:
        raise InputError(
            f'{path} cannot have pictures of {height:,} x {width:,} pixels: a side must be at most '
            f'{longest:,}. Use a smaller scale.'
        )


def playable_rate(path: str | os.PathLike[str], frames_per_second: float) -> float:
    """The rate nearest to the wanted one that a file of this kind can have."""
    low, high = RATES.get(Path(path).suffix.lower(), (0.0, np.inf))
    return min(max(frames_per_second, low), high)


def write_clip(
    path: str | os.PathLike[str],
    frames: np.ndarray,
    frames_per_second: float = 10.0,
    overwrite: bool = False,
) -> None:
    """Writes a clip in the form that the suffix tells; all of it or nothing.

    Only `.npy` keeps the numbers as they are (float32); the other forms hold colors of 8 bits (see
    `as_colors` for other than one or three channels). `.mp4` loses a little and has even sides; a
    frame of `.gif` has up to 256 colors.

    Args:
      path: `.mp4`, `.gif`, `.npy`, or no suffix for a folder of PNG files.
      frames: `[T, H, W, C]`, uint8 or floats in [0, 1]; for `.npy` any floats.
      frames_per_second: for `.mp4` and `.gif`; see `playable_rate`.
      overwrite: replaces a file of the same name, or a folder that such a clip was written to.

    Raises:
      InputError: if the path cannot be used.
      RunError: if writing fails.
    """
    path = Path(path)
    check_output(path, overwrite)
    rate = playable_rate(path, frames_per_second)
    with atomic_write(path) as temporary:
        match path.suffix.lower():
            case '.npy':
                scale = 255.0 if frames.dtype == np.uint8 else 1.0
                with temporary.open('wb') as file:  # np.save would add to a suffix like .NPY
                    np.save(file, frames.astype(np.float32) / np.float32(scale))
            case '.mp4':
                write_video(temporary, as_colors(frames), rate)
            case '.gif':
                write_gif(temporary, as_colors(frames), rate)
            case _:
                temporary.mkdir()
                for index, frame in enumerate(as_colors(frames), start=1):
                    gray = frames.shape[-1] == 1
                    image = Image.fromarray(frame[..., 0] if gray else frame)
                    image.save(temporary / f'frame_{index:05d}.png')
                for old in path.glob('*') if path.is_dir() else ():
                    old.unlink()  # which `check_output` saw to be such pictures


def write_gif(path: str | os.PathLike[str], frames: np.ndarray, frames_per_second: float) -> None:
    """Writes an animated GIF with exactly these frames; each has its own colors, up to 256.

    Pillow itself, and with it imageio, would make one of equal frames in a row.

    Args:
      path: of the file.
      frames: uint8 RGB `[T, H, W, 3]`.
      frames_per_second: see `playable_rate`; the time of each frame is rounded to 10 ms.
    """
    moments = np.rint(np.arange(len(frames) + 1) * 100 / frames_per_second).astype(int)
    with open(path, 'wb') as file:
        for index, frame in enumerate(frames):
            if (frame == frame[..., :1]).all():
                image = Image.fromarray(frame[..., 0])
                image.putpalette(GRAYS)  # or it would be read with that of the first frame
            else:
                image = Image.fromarray(frame).convert('P', palette=Image.Palette.ADAPTIVE)
            if not index:
                file.writelines(GifImagePlugin.getheader(image, info={'loop': 0})[0])
            duration = 10 * int(moments[index + 1] - moments[index])
            options = {'duration': duration, 'include_color_table': True}
            file.writelines(GifImagePlugin.getdata(image, **options))
        file.write(b';')


def write_video(path: str | os.PathLike[str], frames: np.ndarray, frames_per_second: float) -> None:
    """Encodes frames as MP4: H.264, or MPEG-4 where PyAV was built without it; yuv420p.

    The colors are those of BT.601 with limited range, which H.264 states.

    By PyAV, which reads videos too: mediapy needs the program ffmpeg; imageio, which calls PyAV in its
    turn, takes no options of the encoder.

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
        if frames_per_second < 1:
            rate = 1 / Fraction(1 / frames_per_second).limit_denominator(1001)
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        # What FFmpeg converts to. Where it is not said, players take large frames for BT.709.
        stream.codec_context.colorspace = Colorspace.ITU601
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
