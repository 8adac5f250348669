"""Depthwise convolutions as in the blocks of SimVP at TaxiBJ: by taps, and XLA's own, in turn.

python -m benchmarks.depthwise
"""

import argparse
import statistics

import jax
import jax.numpy as jnp

from benchmarks.train_step import timed
from e3d.kernels.depthwise import convolve_depthwise, convolve_natively

# Side of the kernel, dilation, channels.
CASES = ((5, 1, 256), (7, 3, 256), (3, 1, 2048))


def main():
    """Prints a row for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repeats', type=int, default=3, help='of each, after one warm-up')
    repeats = parser.parse_args().repeats
    print('| kernel | channels | XLA, with gradients | by taps | ratio |\n|---|---|---|---|---|')
    for size, dilation, channels in CASES:
        inputs = jax.random.normal(jax.random.key(0), (16, 16, 16, channels))
        kernel = jax.random.normal(jax.random.key(1), (size, size, channels))

        def gradients(convolve, dilation=dilation):
            return jax.jit(
                jax.grad(lambda *args: jnp.square(convolve(*args, dilation)).sum(), (0, 1))
            )

        calls = [gradients(convolve) for convolve in (convolve_natively, convolve_depthwise)]
        seconds = [[], []]
        for _ in range(repeats):  # in turn, as a machine is not always as fast
            for call, found in zip(calls, seconds, strict=True):
                found += timed(lambda call=call: call(inputs, kernel), 1)  # noqa: B023
        native, by_taps = map(statistics.median, seconds)
        spread = f', dilation {dilation}' if dilation > 1 else ''
        print(
            f'| {size} x {size}{spread} | {channels} | {native:.3g} s | {by_taps:.3g} s | '
            f'{native / by_taps:.1f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
