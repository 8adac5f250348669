"""Times an update of any forecaster, at the size that an experiment has it.

python -m benchmarks.forecasters --config=experiments/moving_mnist.py dfn cdna

Beside the seconds that pass it gives those that the cores were busy with it, which other work on the
machine hardly changes: divided by the number of cores they are the least that an update can take.
"""

import argparse
import time

import jax
import numpy as np

from e3d.configuration import make_config
from e3d.data.sources.layouts import layout_of
from e3d.model import build_model
from e3d.model.needs import needs_of
from e3d.tasks.registry import TASKS
from e3d.training.optimizer import build_optimizer, create_state
from e3d.training.step import train_step


def measure(experiment: str, name: str, batch: int, repeats: int) -> str:
    """A row of a table: parameters, seconds and busy seconds of the quickest update."""
    config = make_config(experiment, model=name)
    model, layout = build_model(**config.model), layout_of(config.dataset)
    optimizer, rate = build_optimizer(
        config.optimizer, config.train.steps, needs_of(model).networks
    )
    frames = np.random.default_rng(0).random(
        (batch, layout.length, *config.dataset.canvas, 1), np.float32
    )
    lengths = (layout.input_frames, layout.output_frames)
    state = create_state(model, optimizer, frames.shape[2:], 0, lengths=lengths)
    loss = TASKS[config.task].build_loss(config, model)

    @jax.jit
    def update(state, frames):
        batch = {'frames': frames}
        return train_step(state, batch, loss=loss, optimizer=optimizer, learning_rate=rate)[0]

    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    jax.block_until_ready(update(state, frames))
    times = []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        jax.block_until_ready(update(state, frames))
        times.append((time.perf_counter() - start, time.process_time() - busy))
    seconds, busy = (min(column) for column in zip(*times, strict=True))
    return f'| `{name}` | {parameters:,} | {batch} | {seconds:.1f} s | {busy:.1f} s |'


def main() -> None:
    """Measures each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('models', nargs='+')
    parser.add_argument('--config', default='experiments/moving_mnist.py', help='of generated data')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--repeats', type=int, default=3)
    arguments = parser.parse_args()
    print('| model | parameters | sequences | an update | of busy cores |\n|---|---|---|---|---|')
    for name in arguments.models:
        print(measure(arguments.config, name, arguments.batch, arguments.repeats), flush=True)


if __name__ == '__main__':
    main()
