"""Which way of computing a program has, where that is chosen while it is traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.kernels.platforms import choose, traced_for, traced_once
from e3d.model import build_model


def double(value):
    return 2 * value


@pytest.mark.parametrize(('platform', 'expected'), [('cpu', 7.0), ('tpu', 6.0)])
def test_a_program_has_the_branch_of_the_platform_that_it_is_traced_for(platform, expected):
    def compute(value):
        return choose(value, cpu=lambda value: value + 4, default=double)

    with traced_for(platform):
        traced = jax.make_jaxpr(lambda value: compute(value))(3.0)
    assert len(traced.eqns) == 1
    assert jax.core.eval_jaxpr(traced.jaxpr, traced.consts, 3.0) == [expected]
    assert jax.jit(compute)(3.0) == 7.0  # of a CPU again


def test_a_function_is_traced_once_for_each_form_and_platform():
    traced = []

    @traced_once('power')
    def compute(value, power):
        traced.append((value.shape, power))
        return choose(value**power, cpu=lambda value: value + 4, default=double)

    def run(value, power):
        return jax.jit(lambda value: compute(value, power))(value)

    for _ in range(2):
        assert run(jnp.float32(3.0), 2) == 13.0
        assert run(jnp.float32(3.0), 3) == 31.0
        assert list(run(jnp.ones(2), 2)) == [5.0, 5.0]
    assert traced == [((), 2), ((), 3), ((2,), 2)]
    with traced_for('tpu'):
        assert run(jnp.float32(3.0), 2) == 18.0
    assert run(jnp.float32(3.0), 2) == 13.0


@pytest.mark.parametrize('model', ['predrnn', 'e3d_lstm'])
def test_no_part_of_a_model_is_left_to_the_compiler(model):
    network = build_model(model, layers=1, features=2, patch_size=2, kernel_size=(1, 3, 3))
    frames = np.random.default_rng(0).random((1, 2, 4, 4, 1), np.float32)
    variables = jax.eval_shape(lambda key: network.init(key, frames, 1), jax.random.key(0))
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), variables)

    def compute(frames):
        return network.apply(variables, frames, 1)

    assert 'platform_index' in str(jax.make_jaxpr(lambda frames: compute(frames))(frames))
    with traced_for('cpu'):
        traced = jax.make_jaxpr(compute)(frames)
    assert 'platform_index' not in str(traced)
