"""Training on 1, 2, 4, ... devices: steps a second, the sum of the gradients, the data; an estimate.

python -m benchmarks.scaling --config=experiments/moving_mnist.py --devices=1,2,4
XLA_FLAGS=--xla_force_host_platform_device_count=4 \
    python -m benchmarks.scaling --config=experiments/quickstart.py:small --devices=1,2,4

The second command's devices are fake: they share the same cores, so it only shows that all of it
runs. Every device has the whole batch of the experiment, so that its work stays the same. The
estimate for more devices is arithmetic: a ring all-reduce moves 2 (N - 1) / N of the gradient over
every link, and nothing of it is hidden behind the backward pass.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from benchmarks.input_pipeline import measure as measure_pipeline
from e3d.configuration import load_config
from e3d.data.batches import frame_shape
from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import open_source
from e3d.model import build_model
from e3d.model.needs import initialize
from e3d.parallel import devices
from e3d.training.update import build_update

# Bytes a second over the slowest link of a ring, in one direction, as the makers state them.
BANDWIDTHS = {
    '100 Gbit/s Ethernet': 12.5e9,
    '400 Gbit/s InfiniBand': 50e9,
    'NVLink 4': 450e9,
}
SIZES = (8, 64, 512)
EFFICIENCY = 0.9


def time_calls(call: Callable[[], object], repeats: int) -> float:
    """The median of the seconds of some calls, after one that is not counted."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure(config, shape: tuple[int, int, int], count: int, repeats: int) -> tuple[float, float]:
    """Seconds of an update on `count` devices, and of the mean of its gradient alone."""
    mesh = devices.local_mesh(count)
    model = build_model(**config.model)
    built = build_update(config, model, shape, devices.AXIS)
    state = built.create()
    sizes = (config.train.batch_size * count, layout_of(config.dataset).length, *shape)
    frames = np.random.default_rng(0).random(sizes, np.float32)
    batch = devices.place_batch({'frames': frames}, mesh)
    gradient = devices.place_batch(
        jax.tree.map(lambda leaf: np.zeros((count, *leaf.shape), np.float32), state.params), mesh
    )
    state = devices.place_state(state, mesh)
    compiled = devices.parallel_step(built.step, mesh)
    average = jax.pmap(
        lambda tree: jax.lax.pmean(tree, devices.AXIS),
        axis_name=devices.AXIS,
        devices=mesh.devices.tolist(),
    )

    def update():
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    return time_calls(update, repeats), time_calls(lambda: average(gradient), repeats)


def all_reduce_seconds(size: int, count: int, bandwidth: float) -> float:
    """Seconds that the mean of so many bytes takes over a ring of `count` devices."""
    return 2 * (count - 1) / count * size / bandwidth


def main():
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default='experiments/moving_mnist.py')
    parser.add_argument('--path', default='', help="dataset.path: the user's own files")
    parser.add_argument('--devices', default='1', help='numbers of devices, with commas')
    parser.add_argument('--repeats', type=int, default=5, help='timed steps, after one warm-up')
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    config.dataset.path = arguments.path
    shape = frame_shape(open_source(config.dataset, 'train', config.seed))
    batch = config.train.batch_size
    counts = [int(count) for count in arguments.devices.split(',')]
    kind = jax.local_devices()[0].device_kind
    fake = ' (fake devices on the same cores: no measure of scaling)' if max(counts) > 1 else ''
    where = kind + fake * (kind == 'cpu')
    print(f'{arguments.config}, {batch} sequences a step on each device, on {where}')
    first = None
    for count in counts:
        seconds, collective = measure(config, shape, count, arguments.repeats)
        first = first or (count, seconds)
        print(
            f'{count:4} devices: {1 / seconds:.3g} steps/s, {count * batch / seconds:.4g} '
            f'sequences/s, mean of the gradient {1e3 * collective:.3g} ms'
        )
    pipeline = measure_pipeline(arguments.config, arguments.path, seconds=3)
    consumed = batch / first[1]
    print(
        f'One thread makes {pipeline:.4g} sequences/s: the data of {pipeline / consumed:.3g} '
        'such devices'
    )
    model = build_model(**config.model)
    lengths = config.dataset.input_frames, config.dataset.output_frames
    create = functools.partial(initialize, model, jax.random.key(0), shape, lengths)
    params = jax.eval_shape(create)['params']
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    print(f'Estimate: the gradient of an update has {size:,} bytes; its mean over a ring takes')
    for name, bandwidth in BANDWIDTHS.items():
        times = [all_reduce_seconds(size, count, bandwidth) for count in SIZES]
        listed = ', '.join(
            f'{1e3 * seconds:.3g} ms ({count})' for count, seconds in zip(SIZES, times, strict=True)
        )
        shortest = times[-1] * EFFICIENCY / (1 - EFFICIENCY)
        print(
            f'  {name:22} {bandwidth / 1e9:g} GB/s: {listed} devices; steps from '
            f'{1e3 * shortest:.3g} ms keep {EFFICIENCY:.0%} of the speed'
        )


if __name__ == '__main__':
    main()
