"""Pictures decoded: upright, in gray or RGB, transparency on black, all their depth kept."""

import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from e3d.data.readers.containers import REMEDY
from e3d.data.readers.video_file import check_size
from e3d.errors import InputError
from e3d.files import regular_file
from e3d.pixel_values import DEEP_WHITE, as_floats, checked_values, over_black

PICTURE_SUFFIXES = (
    *('.png', '.apng', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.dib', '.gif', '.webp', '.avif'),
    *('.tif', '.tiff', '.pgm', '.ppm', '.pbm', '.pnm', '.pfm'),
)
# The only ones that Pillow may try, whatever the suffix: others run programs or open other files.
FORMATS = ('PNG', 'JPEG', 'BMP', 'DIB', 'GIF', 'WEBP', 'AVIF', 'TIFF', 'PPM')
MAX_PIXELS = 2**29  # of all frames, or
PIXELS_PER_BYTE = 100  # of larger files; what needs more time than this is made for that
GRAY = ('1', 'L', 'LA', 'La')
DEEP = ('RGB', 'RGBA', 'LA')  # modes of which channels may have had 16 bits
ALPHA = ('LA', 'La', 'PA', 'RGBA', 'RGBa')
# Numbers of tags of TIFF, and of one value.
WIDTH, HEIGHT = 256, 257
BITS, PHOTOMETRIC, SAMPLE_FORMAT, SIGNED, WHITE_IS_ZERO = 258, 262, 339, 2, 0
RGB, SAMPLES, EXTRA_SAMPLES, UNKNOWN = 2, 277, 338, 0
SUBFILE, REDUCED = 254, 1  # the bit of a thumbnail
_MANY = ('GIF', 'PNG', 'WEBP', 'AVIF', 'TIFF')  # formats with several frames
ORIENTATION = 274  # in EXIF
# How each orientation is put upright.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


@contextlib.contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image]:
    """A picture or animation; whatever is wrong with it becomes an InputError."""
    regular_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            image = Image.open(path, formats=_formats())
        with image:
            check_size(path, image.height, image.width)
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f'{path} is not a whole picture of a kind that is read: {", ".join(_formats())}, with '
            'at most 16 bits per channel, or gray floats of 32 bits.'
        ) from error
    except Exception as error:  # of any type: the decoders of Pillow expect no damage
        raise InputError(f'{path} is not a whole picture: {error}. {REMEDY}') from error


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_total(path: Path, frames: int, pixels: int, size: int) -> None:
    """Raises InputError for small files that need much time and memory.

    Args:
      path: what to call them.
      frames: their number.
      pixels: of all frames together.
      size: of the files, in bytes.
    """
    most = max(MAX_PIXELS, PIXELS_PER_BYTE * size)
    if pixels > most:
        raise InputError(
            f'{path} has {frames} frames with more than {most:,} pixels together, so many for '
            'its size in bytes that they are not read. Cut it, make it smaller, or make a video '
            'of it.'
        )


def is_animation(path: Path) -> bool:
    """Whether a picture file has several frames; raises InputError where it cannot be read."""
    with opened_picture(path) as image:
        return len(frames_of(image)) > 1


def frames_of(image: Image.Image) -> list[int]:
    """The numbers of the frames that count: no thumbnails, nor what stands for an animation."""
    if image.format not in _MANY:
        return [0]
    numbers = list(range(getattr(image, 'n_frames', 1)))
    if image.format == 'PNG' and len(numbers) > 1 and image.default_image:
        return numbers[1:]  # the first is for programs that know no animations
    if image.format == 'TIFF' and len(numbers) > 1:
        return [number for number in numbers if not _is_thumbnail(image, number)] or [0]
    return numbers


def _is_thumbnail(image: Image.Image, number: int) -> bool:
    image.seek(number)
    return bool(image.tag_v2.get(SUBFILE, 0) & REDUCED)


def shape_of(image: Image.Image) -> tuple[int, int]:
    """(H, W) of what `decode` gives."""
    height, width = image.height, image.width
    if image.format == 'TIFF':  # of which some versions of Pillow give the upright size at once
        height, width = image.tag_v2[HEIGHT], image.tag_v2[WIDTH]
    return (width, height) if _orientation(image) >= 5 else (height, width)


def is_gray(image: Image.Image) -> bool:
    """Whether `decode` gives one channel; never of a GIF, of which it depends on the frame."""
    return image.mode.startswith(('I', 'F')) or (image.mode in GRAY and image.format != 'GIF')


def is_deep(path: Path, image: Image.Image) -> bool:
    """Whether `decode` gives float32: more than 8 bits a channel."""
    return image.mode.startswith(('I', 'F')) or _has_deep_colors(path, image)


def unified(pixels: np.ndarray, gray: bool, deep: bool) -> np.ndarray:
    """One frame of a clip, of which all frames are gray or not, and some have more than 8 bits."""
    pixels = as_floats(pixels) if deep else pixels
    return pixels if gray or pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)


def decode(path: Path, image: Image.Image) -> np.ndarray:
    """Decodes the frame at which an opened picture stands.

    Gray stays gray, everything else becomes RGB. What is transparent lies on black. Values of more
    than 8 bits become float32: their share of the largest of their type, 65535 for 16 bits. Of
    AVIF Pillow gives 8 bits.

    Args:
      path: of the file.
      image: of `opened_picture`, not loaded yet.

    Returns:
      Upright, `[H, W, 1]` or `[H, W, 3]`, uint8, or float32 in [0, 1].

    Raises:
      InputError: its numbers are of a kind that has no such meaning.
    """
    if image.format == 'PPM':
        _check_single(path, image)
    if image.format == 'TIFF':
        _check_tiff(path, image)
    # Pillow puts TIFF upright itself.
    upright = _UPRIGHT.get(_orientation(image), lambda pixels: pixels)
    if image.mode.startswith(('I', 'F')):
        pixels = _deep_gray(path, image)
    elif _has_deep_colors(path, image):
        pixels = _deep_colors(path, image, upright)
    else:
        pixels = _shallow(image)
    return np.ascontiguousarray(pixels if image.format == 'TIFF' else upright(pixels))


def _check_single(path: Path, image: Image.Image) -> None:
    """Raises InputError for portable maps one after the other, of which Pillow reads the first."""
    if image.mode == '1':
        count = (image.width + 7) // 8 * image.height
    else:
        count = image.width * image.height * {'RGB': 3, 'F': 4, 'I': 2}.get(image.mode, 1)
        count *= 1 + _has_deep_colors(path, image)
    with path.open('rb') as file:
        plain = file.read(2) in (b'P1', b'P2', b'P3')
        file.seek(image.tile[0][2] + count)
        if not plain and file.read(8).lstrip().startswith(b'P'):
            raise InputError(f'{path} holds several pictures. Save each in a file of its own.')


def _check_tiff(path: Path, image: Image.Image) -> None:
    """Raises InputError for numbers without an agreed meaning, and for what Pillow leaves out."""
    tags, problem = image.tag_v2, ''
    bits = max(tags.get(BITS, (1,)))
    has_more = tags.get(PHOTOMETRIC) == RGB and tags.get(SAMPLES, 1) > 3
    if max(tile[1][3] for tile in image.tile) < tags[HEIGHT]:
        raise InputError(f'{path} is not a whole picture: rows of it are missing. {REMEDY}')
    if SIGNED in tags.get(SAMPLE_FORMAT, ()):
        problem = 'numbers with a sign, whose black level is not defined'
    elif image.mode.startswith('I') and bits > 16:
        problem = f'integers of {bits} bits, whose white level is not defined'
    elif UNKNOWN in tags.get(EXTRA_SAMPLES, (UNKNOWN,) if has_more else ()):
        problem = 'more channels, and does not say what they are'
    elif bits > 8 and not image.mode.startswith(('I', 'F')) and image.mode not in DEEP:
        problem = f'{bits} bits per channel in a form that is not read'
    if problem:
        raise InputError(
            f'{path} has {problem}. Save it in gray or RGB, with 8 or 16 bits without a sign or as '
            'gray floats in [0, 1]; other channels as an array (.npy).'
        )


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of any type; a picture is whole without what others noted about it
        return 1


def _shallow(image: Image.Image) -> np.ndarray:
    """A picture of 8 bits: uint8 `[H, W, 1]` or `[H, W, 3]`."""
    gray = is_gray(image)
    if image.mode in ALPHA or 'transparency' in image.info:
        return over_black(np.asarray(image.convert('LA' if gray else 'RGBA')))
    if image.mode == 'LAB':
        image = ImageCms.applyTransform(image, _lab_to_rgb())
    pixels = np.asarray(image.convert('L' if gray else 'RGB'))
    return pixels.reshape(*pixels.shape[:2], -1)


@functools.cache
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    profiles = ImageCms.createProfile('LAB'), ImageCms.createProfile('sRGB')
    return ImageCms.buildTransform(*profiles, 'LAB', 'RGB')


def _deep_gray(path: Path, image: Image.Image) -> np.ndarray:
    """A picture with one channel of 16 bits or floats: float32 `[H, W, 1]`."""
    tags = image.tag_v2 if image.format == 'TIFF' else {}
    bits, key = max(tags.get(BITS, (16,))), image.info.get('transparency')
    pixels = np.asarray(image)
    black = pixels == key if isinstance(key, int) else np.zeros((), bool)  # the transparent one
    if image.mode.startswith('I'):
        pixels = pixels.astype(np.float32) / np.float32(2**bits - 1)
    pixels = checked_values(pixels, str(path))
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        pixels = 1 - pixels
    return np.where(black, np.float32(0), pixels)[..., np.newaxis]


def _has_deep_colors(path: Path, image: Image.Image) -> bool:
    """Whether Pillow would reduce its channels to 8 bits."""
    if image.mode not in DEEP or image.format not in _CODECS:
        return False
    if image.format == 'TIFF':
        return bool(max(image.tag_v2.get(BITS, (8,))) > 8)
    with path.open('rb') as file:
        head = file.read(2**12)
    if image.format == 'PNG':
        return head[24] == 16  # the header comes first, the depth after both sides
    words = re.sub(rb'#[^\r\n]*', b' ', head).split(maxsplit=4)
    return words[3].isdigit() and int(words[3]) > 255


_CODECS = {'PNG': 'png', 'TIFF': 'tiff', 'PPM': 'ppm'}  # of FFmpeg, which keeps all bits


def _deep_colors(
    path: Path, image: Image.Image, upright: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """A picture with several channels of 16 bits: float32 `[H, W, 1]` or `[H, W, 3]`.

    Where FFmpeg decodes something else than Pillow, as of TIFF in tiles, it is not believed.
    """
    alpha = image.mode in ALPHA or 'transparency' in image.info
    reduced = np.asarray(image.convert('RGBA') if image.mode == 'LA' else image, np.float32)
    context = av.CodecContext.create(_CODECS[image.format], 'r')
    frames = context.decode(av.Packet(path.read_bytes())) or context.decode(None)
    pixels = frames[0].to_ndarray(format='rgba64le' if alpha else 'rgb48le').astype(np.float32)
    if image.format == 'TIFF':
        pixels = upright(pixels)
    seen = pixels[..., : reduced.shape[-1]]
    if seen.shape != reduced.shape or np.abs(seen / 257 - reduced).max() > 1:
        raise InputError(
            f'{path} has 16 bits per channel in a form that is not read. Save each frame as a PNG '
            'of 16 bits.'
        )
    pixels /= DEEP_WHITE
    return over_black(pixels) if alpha else pixels
