import jax
import jax.numpy as jnp
import numpy as np
import optax

from e3d.kernels import planes, winograd
from e3d.model import build_model
from e3d.training.footprint import Footprint, measure_footprint
from e3d.training.optimizer import create_state


def loss_of(model):
    def loss(variables, batch, step, axis_name):
        predictions = model.apply(variables, batch['frames'][:, :-1], 1)
        return jnp.mean(jnp.square(predictions - batch['frames'][:, 1:])), {}

    return loss


def footprint_of(length=6, batch_size=2, platform=None, **options):
    fields = {'layers': 1, 'features': 8, 'kernel_size': (2, 3, 3), **options}
    model = build_model(name='e3d_lstm', **fields)
    state = jax.eval_shape(lambda: create_state(model, optax.adam(1e-3), (16, 16, 1), 0, True))
    example = {'frames': np.zeros((length, 16, 16, 1), np.uint8)}
    return state, measure_footprint(loss_of(model), state, example, batch_size, platform)


def test_state_is_counted_whole():
    state, footprint = footprint_of()
    assert footprint.parameters == sum(leaf.size for leaf in jax.tree.leaves(state.params))
    # Parameters, their moving average and the two moments of Adam, and two counters.
    assert footprint.state_bytes == 4 * (4 * footprint.parameters + 2)


def test_what_is_kept_grows_with_frames_and_batch_and_shrinks_with_recomputation():
    base, longer, longest = (footprint_of(length=n)[1].kept_bytes for n in (6, 12, 18))
    assert longest - longer == longer - base > 0  # linear in the number of frames
    assert footprint_of(length=18, batch_size=4)[1].kept_bytes > 1.5 * longest
    assert footprint_of(memory='recompute')[1].kept_bytes < 0.8 * base


def test_of_each_kernel_what_the_platform_uses_is_kept():
    def bytes_of(transform):
        return 4 * sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(transform, kernels)))

    fields = {'kernel_size': (2, 5, 5)}
    state, on_cpus = footprint_of(platform='cpu', **fields)
    kernels = [leaf for leaf in jax.tree.leaves(state.params) if leaf.ndim == 5]
    of_cpus = bytes_of(lambda kernels: [winograd.transform_kernel(taps) for taps in kernels])
    of_gpus = bytes_of(lambda kernels: [planes.transform_kernel(taps) for taps in kernels])
    on_gpus = footprint_of(platform='gpu', **fields)[1]
    assert len(kernels) == 5 and of_cpus != of_gpus
    assert on_cpus.kept_bytes - of_cpus == on_gpus.kept_bytes - of_gpus
    assert footprint_of(**fields)[1] == on_cpus


def test_is_said_in_words():
    footprint = Footprint(12_345, 2**29, 3 * 2**30)  # half a GiB of state, and what is kept
    assert str(footprint) == ('12,345 parameters; training needs at least 3.5 GiB on each device')
    fused = footprint._replace(is_least=False)
    assert str(fused) == '12,345 parameters; training needs about 3.5 GiB on each device'
