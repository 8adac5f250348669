"""Decoded frames of FFmpeg made arrays: color, depth, transparency, orientation."""

import av
import numpy as np

from e3d.pixel_values import over_black

_TURNS = 1 << 16  # 1 in the fixed-point numbers of a display matrix


def pixels_of(frame: av.VideoFrame, opaque: bool = False) -> np.ndarray:
    """The pixels of a decoded frame as RGB, as they are to be seen.

    Range (limited or full) and matrix are those that the frame states, as FFmpeg converts them.
    What is transparent lies on black. Pixels that are not square are taken as they are stored.

    Args:
      frame: of any pixel format.
      opaque: ignore its alpha channel.

    Returns:
      `[H, W, 3]`, upright: uint8, or for more than 8 bits per channel float32, the value divided
      by the largest one of its type.
    """
    components = frame.format.components
    # A palette may hold transparent colors, which its components do not tell.
    alpha = not opaque and (frame.format.has_palette or any(c.is_alpha for c in components))
    bits = max(component.bits for component in components)
    if bits <= 8:
        pixels = frame.to_ndarray(format='rgba' if alpha else 'rgb24')
    elif len(components) == 1 and bits < 16 and frame.format.name.startswith('gray'):
        pixels = _gray(frame, bits)  # which FFmpeg would only shift to 16 bits
    else:
        pixels = frame.to_ndarray(format='rgba64le' if alpha else 'rgb48le')
        pixels = pixels.astype(np.float32) / np.float32(65535)
    return np.ascontiguousarray(_upright(over_black(pixels) if alpha else pixels, frame))


def _gray(frame: av.VideoFrame, bits: int) -> np.ndarray:
    plane = frame.planes[0]
    order = '>u2' if frame.format.is_big_endian else '<u2'
    rows = np.frombuffer(plane, order).reshape(-1, plane.line_size // 2)
    gray = rows[: frame.height, : frame.width].astype(np.float32) / np.float32(2**bits - 1)
    return np.repeat(gray[..., np.newaxis], 3, axis=-1)


def _upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turns and mirrors a frame as its display matrix says, by multiples of 90 degrees.

    The matrix maps a pixel (x, y) to (a x + c y, b x + d y).
    """
    data = frame.side_data.get('DISPLAYMATRIX')
    if data is None:
        return pixels
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5] / _TURNS
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels = pixels.swapaxes(0, 1)
        a, d = c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
