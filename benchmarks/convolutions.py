"""Convolutions outside of a loop that XLA:CPU is slow at: this package's forms and XLA's own, in turn.

    python -m benchmarks.convolutions

Depthwise ones as in the blocks of SimVP at TaxiBJ, by taps; 3D ones of clips as in the small C3D of
`experiments/moving_actions.py`, and in the second layer of C3D as published, as pictures.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.train_step import timed
from e3d.kernels import clips, depthwise


class Case(NamedTuple):
    """What is convolved, and the two ways."""

    name: str
    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    native: Callable[..., jax.Array]
    ours: Callable[..., jax.Array]


def depthwise_case(size: int, dilation: int, channels: int) -> Case:
    """16 pictures of 16 x 16."""
    spread = f', dilation {dilation}' if dilation > 1 else ''
    ways = (depthwise.convolve_natively, depthwise.convolve_depthwise)
    return Case(
        f'depthwise, {size} x {size}{spread}, {channels} channels',
        (16, 16, 16, channels),
        (size, size, channels),
        *(functools.partial(way, dilation=dilation) for way in ways),
    )


def clips_case(batch: int, frames: int, side: int, channels: int, features: int) -> Case:
    """Clips and 3 x 3 x 3 taps."""
    ways = (clips.natively, clips.as_pictures)
    same = {'strides': (1, 1, 1), 'pads': ((1, 1),) * 3}
    return Case(
        f'3 x 3 x 3, {channels} to {features} channels, {batch} clip{"s" * (batch > 1)} of '
        f'{frames} x {side} x {side}',
        (batch, frames, side, side, channels),
        (3, 3, 3, channels, features),
        *(functools.partial(way, **same) for way in ways),
    )


CASES = (
    depthwise_case(5, 1, 256),
    depthwise_case(7, 3, 256),
    depthwise_case(3, 1, 2048),
    clips_case(48, 16, 32, 3, 4),
    clips_case(48, 16, 16, 4, 8),
    clips_case(48, 8, 8, 16, 16),
    clips_case(1, 16, 56, 64, 128),
)


def main():
    """Prints a row for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repeats', type=int, default=3, help='of each, after one warm-up')
    repeats = parser.parse_args().repeats
    print('| convolution | XLA, with gradients | ours | ratio |\n|---|---|---|---|')
    for case in CASES:
        inputs = jax.random.normal(jax.random.key(0), case.inputs)
        kernel = jax.random.normal(jax.random.key(1), case.kernel)
        calls = [gradients(way) for way in (case.native, case.ours)]
        seconds = [[], []]
        for _ in range(repeats):  # in turn, as a machine is not always as fast
            for call, found in zip(calls, seconds, strict=True):
                found += timed(lambda call=call: call(inputs, kernel), 1)  # noqa: B023
        native, ours = map(statistics.median, seconds)
        print(f'| {case.name} | {native:.3g} s | {ours:.3g} s | {native / ours:.1f} |', flush=True)


def gradients(convolve: Callable[..., jax.Array]) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Of a loss, by both operands."""
    return jax.jit(jax.grad(lambda *operands: jnp.square(convolve(*operands)).sum(), (0, 1)))


if __name__ == '__main__':
    main()
