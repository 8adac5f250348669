"""Whether a forecast fits into memory, told before it is made."""

import os

import jax

from e3d.errors import InputError
from e3d.parallel import host_memory

# Of every float32 frame: as the loop leaves it, put together from patches, in the order of time, in
# the memory of the host.
COPIES = 4
FLOAT = 4  # bytes
SURE = 0.002  # of the memory; no model keeps 500 times as much as its frames


def check_fits(
    clips: int, steps: int, frame_shape: tuple[int, int, int], shown_bytes: int = 0
) -> bool:
    """Refuses a forecast of which the frames alone do not fit; what a model keeps comes on top.

    Args:
      clips: that go at once.
      steps: frames of a clip, seen and forecast.
      frame_shape: (H, W, C).
      shown_bytes: of the pictures that are made of the frames.

    Returns:
      Whether so much memory is left that a model cannot need all of it.

    Raises:
      InputError: with the figures.
    """
    height, width, channels = frame_shape
    needed = clips * steps * height * width * channels * FLOAT * COPIES + shown_bytes
    _check(needed, clips, steps, frame_shape)
    return needed < SURE * available_bytes()


def check_program(
    program: jax.stages.Compiled, clips: int, steps: int, frame_shape: tuple[int, int, int]
) -> None:
    """Refuses a forecast that does not fit with all that the model keeps; see `check_fits`."""
    sizes = program.memory_analysis()
    if sizes is not None:  # some backends do not tell
        needed = sizes.temp_size_in_bytes + sizes.output_size_in_bytes
        _check(needed, clips, steps, frame_shape)


def _check(needed: int, clips: int, steps: int, frame_shape: tuple[int, int, int]) -> None:
    height, width, channels = frame_shape
    available = available_bytes()
    if needed > available:
        several = f' of {clips} clips' if clips > 1 else ''
        raise InputError(
            f'{steps:,} frames of {height} x {width} x {channels}{several} take at least '
            f'{needed / 2**30:,.1f} GiB, but {available / 2**30:,.1f} GiB of memory are available. '
            'Use a smaller horizon, fewer clips at once, or a smaller scale of the pictures.'
        )


def available_bytes() -> int:
    """Memory of the first device and of the host that is not in use, the lesser of the two."""
    device = jax.local_devices()[0].memory_stats() or {}
    free = host_memory.free_bytes()
    if free is None:  # no Linux
        free = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    limits = [free]
    if 'bytes_limit' in device:
        limits.append(device['bytes_limit'] - device.get('bytes_in_use', 0))
    return min(limits)
