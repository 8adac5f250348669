"""CDNA: kernels, masks and composition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.kernels.modes import Operations
from e3d.model import build_model
from e3d.model.cdna import compose, generate, normalized_kernels

FRAME = jnp.ones((2, 16, 8, 1))


def make(variant='paper'):
    model = build_model('cdna', features=2, variant=variant)
    initialize = functools.partial(model.init, method='weights')
    return model, jax.jit(initialize, static_argnums=1)(jax.random.key(0), FRAME.shape[1:])


def test_every_generated_kernel_sums_to_one():
    model, variables = make()

    @jax.jit
    def run(variables):
        weights = model.apply(variables, FRAME.shape[1:], method='weights')
        states = model.initial_state(weights, FRAME.shape)
        _, hidden5, enc6 = generate(weights, states, FRAME, Operations())
        return hidden5, enc6, normalized_kernels(weights['kernels'], hidden5)

    hidden5, enc6, kernels = run(variables)
    assert hidden5.shape == (2, 2, 1, 8) and enc6.shape == (2, 16, 8, 4)
    assert kernels.shape == (2, 5, 5, 10) and kernels.min() >= 0
    np.testing.assert_allclose(kernels.sum((1, 2)), 1.0, rtol=1e-5)


# Without weights every kernel is a box and every mask has the same share. The released code drops the
# picture of one kernel.
@pytest.mark.parametrize(('variant', 'boxes', 'share'), [('paper', 10, 12), ('released', 9, 11)])
def test_without_weights_the_forecast_is_a_mean_of_the_pictures(variant, boxes, share):
    model, variables = make(variant)
    nothing = jax.tree.map(jnp.zeros_like, variables)
    prediction = jax.jit(model.apply, static_argnums=2)(nothing, FRAME[:, None], 1)[:, 0]
    for place, box in (((0, 0), 9 / 25), ((0, 4), 15 / 25), ((8, 4), 1.0)):
        expected = (1 + 0.5 + boxes * box) / share
        np.testing.assert_allclose(prediction[:, *place, 0], expected, rtol=1e-5)


def test_masks_weigh_the_pictures_pixel_by_pixel():
    pictures = jnp.arange(3.0)[:, None, None, None, None] * jnp.ones((3, 2, 4, 5, 1))
    masks = jnp.zeros((2, 4, 5, 2)).at[..., 0].set(0.25).at[..., 1].set(0.75)
    np.testing.assert_allclose(compose(masks, pictures), 0.75)
    np.testing.assert_allclose(compose(masks.at[0, 1, 2, 1].set(0.5), pictures)[0, 1, 2], 0.5)
