"""Times one training step of the forecaster, and what it needs of memory.

python -m benchmarks.train_step --features=64 --layers=4 --size=64 --patch=4 --batch=4 --frames=20
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from benchmarks.operation_counts import BACKWARD_PER_FORWARD, forward_operations
from e3d.kernels.precision import PRECISIONS
from e3d.model import E3DLSTM
from e3d.model.equations import RECALLS, VARIANTS
from tests.plain_network import reference_forecast


def make_parser(description: str) -> argparse.ArgumentParser:
    """The options that say which network is trained on what."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--features', type=int, default=32, help='channels of every state')
    parser.add_argument('--layers', type=int, default=2)
    parser.add_argument('--size', type=int, default=32, help='height and width of a frame')
    parser.add_argument('--patch', type=int, default=4, help='side of a patch')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--frames', type=int, default=20, help='half observed, half forecast')
    parser.add_argument('--variant', default='paper', choices=tuple(VARIANTS))
    parser.add_argument('--recall', default='everywhere', choices=RECALLS)
    parser.add_argument('--recall_radius', type=int, default=1, help='of --recall=nearby')
    parser.add_argument('--history', type=int, help='how many earlier steps RECALL looks at')
    parser.add_argument('--precision', default='float32', choices=tuple(PRECISIONS))
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'))
    parser.add_argument('--memory', default='save', choices=('save', 'recompute'))
    parser.add_argument('--implementation', default='core', choices=('core', 'reference'))
    return parser


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument('--repeats', type=int, default=5, help='timed steps, after one warm-up')
    parser.add_argument('--compile_only', action='store_true', help='memory and compile time only')
    parser.add_argument(
        '--profile', metavar='DIR', help='write a trace of one step for TensorBoard'
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    return parser.parse_args()


def build(arguments: argparse.Namespace):
    """The model, its training step and forward pass, and their arguments."""
    model = E3DLSTM(
        layers=arguments.layers,
        features=arguments.features,
        patch_size=arguments.patch,
        variant=arguments.variant,
        recall=arguments.recall,
        recall_radius=arguments.recall_radius,
        history=arguments.history,
        precision=arguments.precision,
        dtype=arguments.dtype,
        memory=arguments.memory,
    )
    output_frames = arguments.frames - arguments.frames // 2
    shape = (arguments.batch, arguments.frames, arguments.size, arguments.size, 1)
    frames = jax.random.uniform(jax.random.key(0), shape)
    truth_mask = jax.random.bernoulli(jax.random.key(1), 0.5, (arguments.batch, output_frames - 1))
    params = model.init(jax.random.key(2), frames[:, :1], 1)['params']
    optimizer = optax.adam(1e-3)

    def forward(params, frames):
        if arguments.implementation == 'reference':
            return reference_forecast(model, params, frames[:, :-1], output_frames, truth_mask)
        return model.apply({'params': params}, frames[:, :-1], output_frames, truth_mask)

    def loss(params, frames):
        error = forward(params, frames) - frames[:, 1:]
        return jnp.mean(error**2) + jnp.mean(jnp.abs(error))

    def train_step(params, state, frames):
        value, gradients = jax.value_and_grad(loss)(params, frames)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, value

    return model, forward, train_step, params, optimizer.init(params), frames


def matrix_product_rate() -> float:
    """Floating point operations a second of a float32 matrix product on this machine, now."""
    left = jax.random.normal(jax.random.key(0), (2048, 1600))
    right = jax.random.normal(jax.random.key(1), (1600, 448))
    multiply = jax.jit(jnp.matmul)
    seconds = timed(lambda: multiply(left, right), 20)
    return 2 * 2048 * 1600 * 448 / statistics.median(seconds)


def timed(call, repeats: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of each of `repeats` calls, after one that is not counted."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        start = clock()
        jax.block_until_ready(call())
        seconds.append(clock() - start)
    return seconds


def measure(arguments: argparse.Namespace) -> dict:
    """All figures of one setting."""
    model, forward, train_step, params, state, frames = build(arguments)
    start = time.perf_counter()
    compiled = jax.jit(train_step, donate_argnums=(0, 1)).lower(params, state, frames).compile()
    figures = {
        **vars(arguments),
        'jax': jax.__version__,
        'device': jax.devices()[0].device_kind,
        'compile_seconds': time.perf_counter() - start,
        'temporary_bytes': compiled.memory_analysis().temp_size_in_bytes,
    }
    if arguments.compile_only:
        return figures

    rate = matrix_product_rate()

    def step():
        nonlocal params, state
        params, state, value = compiled(params, state, frames)
        return value

    seconds = timed(step, arguments.repeats)
    peak_resident_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    forward = jax.jit(forward)
    forward_seconds = timed(lambda: forward(params, frames), arguments.repeats)
    rate = max(rate, matrix_product_rate())
    if arguments.profile:
        with jax.profiler.trace(arguments.profile):
            jax.block_until_ready(step())

    size = (arguments.size, arguments.size)
    operations = arguments.batch * forward_operations(model, size, 1, arguments.frames - 1)
    step_seconds = statistics.median(seconds)
    return figures | {
        'step_seconds': step_seconds,
        'step_seconds_all': seconds,
        'forward_seconds': statistics.median(forward_seconds),
        'frames_per_second': arguments.batch * arguments.frames / step_seconds,
        'peak_resident_bytes': peak_resident_bytes,
        'model_operations': operations * (1 + BACKWARD_PER_FORWARD),
        'matrix_product_rate': rate,
        'model_utilization': operations * (1 + BACKWARD_PER_FORWARD) / step_seconds / rate,
        'forward_utilization': operations / statistics.median(forward_seconds) / rate,
    }


def main():
    """Measures one setting and prints it."""
    arguments = parse_arguments()
    figures = measure(arguments)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f'{name:24} {value:.4g}' if isinstance(value, float) else f'{name:24} {value}')


if __name__ == '__main__':
    main()
