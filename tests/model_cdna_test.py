"""CDNA: kernels, masks and composition."""

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
    variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), FRAME[:, None], 1)
    states = model.apply(variables, None, FRAME.shape, method='initial_state')
    return model, variables, states


def weights(model, variables):
    return model.apply(variables, FRAME.shape[1:], method='weights')


def test_every_generated_kernel_sums_to_one():
    model, variables, states = make()
    layers = weights(model, variables)
    _, hidden5, enc6 = generate(layers, states, FRAME, Operations())
    assert hidden5.shape == (2, 2, 1, 8) and enc6.shape == (2, 16, 8, 4)
    kernels = normalized_kernels(layers['kernels'], hidden5)
    assert kernels.shape == (2, 5, 5, 10) and kernels.min() >= 0
    np.testing.assert_allclose(kernels.sum((1, 2)), 1.0, rtol=1e-5)


# Without weights every kernel is a box and every mask has the same share. The released code drops the
# picture of one kernel.
@pytest.mark.parametrize(('variant', 'boxes', 'share'), [('paper', 10, 12), ('released', 9, 11)])
def test_without_weights_the_forecast_is_a_mean_of_the_pictures(variant, boxes, share):
    model, variables, states = make(variant)
    nothing = weights(model, jax.tree.map(jnp.zeros_like, variables))
    _, prediction = model.step(nothing, states, FRAME, Operations())
    for place, box in (((0, 0), 9 / 25), ((0, 4), 15 / 25), ((8, 4), 1.0)):
        expected = (1 + 0.5 + boxes * box) / share
        np.testing.assert_allclose(prediction[:, *place, 0], expected, rtol=1e-5)


def test_masks_weigh_the_pictures_pixel_by_pixel():
    pictures = jnp.arange(3.0)[:, None, None, None, None] * jnp.ones((3, 2, 4, 5, 1))
    masks = jnp.zeros((2, 4, 5, 2)).at[..., 0].set(0.25).at[..., 1].set(0.75)
    np.testing.assert_allclose(compose(masks, pictures), 0.75)
    np.testing.assert_allclose(compose(masks.at[0, 1, 2, 1].set(0.5), pictures)[0, 1, 2], 0.5)
