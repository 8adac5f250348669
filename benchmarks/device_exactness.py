"""Compares the forecaster on this machine's device with the plain reading in float64 on its CPU.

    python -m benchmarks.device_exactness

The loss and all gradients of a network of two layers, for the variants, for all that RECALL may attend
to, for both precisions and for bfloat16. An error is the norm of the difference, of all gradients as
one vector, by the norm of what is right. The last column tells how many kernels in Triton's language
the device's program has, which only GPUs have; the same on a CPU shows what float32 can do.
"""

import argparse
import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from e3d.model import E3DLSTM
from tests.plain_network import reference_forecast

# What differs from `paper` with RECALL everywhere in float32.
CASES = (
    {},
    {'recall': 'in_place'},
    {'recall': 'nearby'},
    {'recall': 'none'},
    {'history': 2},
    {'variant': 'refined', 'recall': 'in_place'},
    {'variant': 'gated', 'recall': 'in_place'},
    {'variant': 'timed', 'recall': 'in_place'},
    {'variant': 'timed'},
    {'variant': 'released'},
    {'memory': 'recompute'},
    {'features': 24},
    {'precision': 'fast'},
    {'precision': 'fast', 'variant': 'gated', 'recall': 'in_place'},
    {'dtype': 'bfloat16'},
    {'dtype': 'bfloat16', 'variant': 'gated', 'recall': 'in_place'},
)
OUTPUT_FRAMES = 3
_TRITON = 'xla.gpu.triton'


def make_batch(size: int, generator: np.random.Generator):
    """Frames with something in each place, and which of the forecast are true ones."""
    frames = generator.random((2, 2 * OUTPUT_FRAMES, size, size, 1))
    return frames, generator.random((2, OUTPUT_FRAMES - 1)) < 0.5


def make_params(model: E3DLSTM, frames: np.ndarray, generator: np.random.Generator):
    """Parameters of which none is 0 or 1, as float64."""
    observed = jnp.asarray(frames[:, :1])
    shapes = jax.eval_shape(lambda key: model.init(key, observed, 1)['params'], jax.random.key(0))

    def draw(path, leaf):
        name = path[-1].key
        scale = 0.1 if name.endswith(('bias', 'scale')) else np.prod(leaf.shape[:-1]) ** -0.5
        return (name == 'norm_scale') + scale * generator.normal(size=leaf.shape)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def relative_error(values, right) -> float:
    """Of trees of arrays, as one vector each."""
    values, right = (
        np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])
        for tree in (values, right)
    )
    return float(np.linalg.norm(values - right) / np.linalg.norm(right))


def compare(case: dict, size: int, device: jax.Device) -> dict:
    """The figures of one case."""
    generator = np.random.default_rng(0)
    model = E3DLSTM(**{'layers': 2, 'features': 32, 'patch_size': 4, **case})
    frames, mask = make_batch(size, generator)
    params = make_params(model, frames, generator)

    def loss(forecast, frames):
        error = forecast - frames[:, 1:]
        return jnp.mean(error**2) + jnp.mean(jnp.abs(error))

    def plain(params, frames):
        return loss(
            reference_forecast(model, params, frames[:, :-1], OUTPUT_FRAMES, jnp.asarray(mask)),
            frames,
        )

    def ours(params, frames):
        return loss(
            model.apply({'params': params}, frames[:, :-1], OUTPUT_FRAMES, jnp.asarray(mask)),
            frames,
        )

    with jax.default_device(jax.devices('cpu')[0]):
        right = jax.jit(jax.value_and_grad(plain))(params, frames)
    as_float32 = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), (params, frames))
    with jax.default_device(device):
        compiled = jax.jit(jax.value_and_grad(ours)).lower(*as_float32).compile()
        value, gradients = compiled(*as_float32)
    return {
        **case,
        'error_of_loss': relative_error(value, right[0]),
        'error_of_gradients': relative_error(gradients, right[1]),
        'triton_kernels': compiled.as_text().count(_TRITON),
    }


def main():
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--size', type=int, default=16, help='height and width of a frame')
    parser.add_argument('--cpu', action='store_true', help='on the CPU of this machine')
    parser.add_argument('--json', action='store_true', help='print one JSON object a line')
    arguments = parser.parse_args()
    jax.config.update('jax_enable_x64', True)
    device = jax.devices(*['cpu'] * arguments.cpu)[0]
    if not arguments.json:
        print(f'jax {jax.__version__} on {device.device_kind}')
        print(f'{"case":50} {"loss":>9} {"gradients":>9} {"kernels":>8}')
    compared = functools.partial(compare, size=arguments.size, device=device)
    # What takes time is compiling.
    all_figures = ThreadPoolExecutor(os.cpu_count()).map(compared, CASES)
    for case, figures in zip(CASES, all_figures, strict=True):
        if arguments.json:
            print(json.dumps({'device': device.device_kind, **figures}), flush=True)
            continue
        name = ', '.join(f'{key}={value}' for key, value in case.items()) or 'paper'
        errors = f'{figures["error_of_loss"]:9.1e} {figures["error_of_gradients"]:9.1e}'
        print(f'{name:50} {errors} {figures["triton_kernels"]:8}', flush=True)


if __name__ == '__main__':
    main()
