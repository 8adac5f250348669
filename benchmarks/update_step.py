"""Times an update of any experiment's model on random frames: no data are needed.

    python -m benchmarks.update_step --config=feed_forward:model=tau,data=taxibj --size=32,32,2

The time goes with the speed of a matrix product in the same process, which tells how much of the
machine was to be had, and with the seconds that cores were busy, which other work hardly changes.
"""

import argparse
import statistics
import time

import jax
import numpy as np

from benchmarks.train_step import matrix_product_rate, timed
from e3d.configuration import load_config, switch_model
from e3d.data.sources.layouts import layout_of
from e3d.kernels import depthwise
from e3d.model import build_model, translators
from e3d.model.needs import needs_of
from e3d.runs.state import count_parameters
from e3d.training.update import build_update


def make_update(config, shape: tuple[int, int, int]):
    """The update, the state before it, and a batch of random frames."""
    model = build_model(**config.model)
    needs, dataset = needs_of(model), config.dataset
    update = build_update(config, model, shape)
    generator = np.random.default_rng(0)
    sizes = {'frames': (layout_of(dataset).length,)}
    sizes |= {name: (dataset.output_frames, count) for name, count in needs.inputs.items()}
    batch = {
        name: generator.random((config.train.batch_size, *size, *shape), np.float32)
        for name, size in sizes.items()
    }
    return update.step, update.create(), batch


def main():
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default='experiments/moving_mnist.py')
    parser.add_argument('--model', help='the name of another model for it')
    parser.add_argument('--size', default='64,64,1', help='height, width and channels')
    parser.add_argument('--repeats', type=int, default=3, help='timed updates, after one warm-up')
    parser.add_argument(
        '--native', action='store_true', help="with XLA's own depthwise convolutions"
    )
    arguments = parser.parse_args()
    if arguments.native:
        translators.convolve_depthwise = depthwise.convolve_natively
    config = load_config(arguments.config)
    if arguments.model:
        switch_model(config, arguments.model)
    shape = tuple(int(side) for side in arguments.size.split(','))
    step, state, batch = make_update(config, shape)
    parameters = count_parameters(state.params)
    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    compilation = time.perf_counter() - start

    def update():
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    before, busy = matrix_product_rate(), time.process_time()
    seconds = timed(update, arguments.repeats)
    busy = (time.process_time() - busy) / (1 + arguments.repeats)
    rate = statistics.mean([before, matrix_product_rate()])
    temporary = compiled.memory_analysis().temp_size_in_bytes
    print(
        f'{config.model.name}, {parameters:,} parameters, batch {config.train.batch_size}: '
        f'{statistics.median(seconds):.3g} s an update, {busy:.3g} s of busy cores, while a matrix '
        f'product ran at {rate / 1e9:.0f} GFLOP/s; {temporary / 1e9:.2g} GB of temporary memory; '
        f'compiled in {compilation:.0f} s'
    )


if __name__ == '__main__':
    main()
