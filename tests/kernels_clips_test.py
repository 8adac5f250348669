"""Convolutions of clips by 2D convolutions against XLA's 3D ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from e3d.kernels.clips import as_pictures, convolve_clips, natively

RANDOM = np.random.default_rng(0)
CASES = {
    'same': ((3, 3, 3), (1, 1, 1), 'SAME'),
    'even kernel': ((2, 3, 3), (2, 2, 2), 'SAME'),
    'stem': ((5, 7, 7), (2, 2, 2), 'SAME'),
    'valid': ((2, 1, 3), (1, 2, 1), 'VALID'),
    'frames left over': ((2, 1, 1), (3, 1, 1), ((0, 0), (1, 0), (0, 2))),
    'time alone': ((3, 1, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 0))),
    'space alone': ((1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1))),
}


@pytest.mark.parametrize(('size', 'strides', 'padding'), CASES.values(), ids=CASES)
def test_values_and_gradients_equal_those_of_a_3d_convolution(size, strides, padding):
    with jax.enable_x64(True):
        clips = jnp.asarray(RANDOM.normal(size=(2, 6, 7, 8, 3)))
        kernel = jnp.asarray(RANDOM.normal(size=(*size, 3, 4)))
        expected = lax.conv_general_dilated(
            clips, kernel, strides, padding, dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
        )
        weights = jnp.asarray(RANDOM.normal(size=expected.shape))
        pads = padding
        if isinstance(padding, str):
            pads = lax.padtype_to_pads((6, 7, 8), size, strides, padding)

        def loss(convolve, pads):
            return lambda *operands: (weights * convolve(*operands, strides, pads)).sum()

        by_hand = [
            jax.value_and_grad(loss(convolve, choice), (0, 1))(clips, kernel)
            for convolve, choice in (
                (natively, pads),
                (as_pictures, pads),
                (convolve_clips, padding),
            )
        ]
        for values in by_hand:
            np.testing.assert_allclose(values[0], (weights * expected).sum(), rtol=1e-11)
            jax.tree.map(
                lambda actual, wanted: np.testing.assert_allclose(actual, wanted, atol=1e-11),
                values[1],
                by_hand[0][1],
            )


def test_accelerators_convolve_natively(as_on_accelerators):
    clips, kernel = jnp.ones((1, 2, 4, 4, 1)), jnp.ones((2, 3, 3, 1, 2))
    program = jax.make_jaxpr(lambda *operands: convolve_clips(*operands, (1, 1, 1), 'SAME'))
    equations = program(clips, kernel).jaxpr.eqns
    convolutions = [e for e in equations if e.primitive.name == 'conv_general_dilated']
    assert [e.invars[0].aval.ndim for e in convolutions] == [5]
    assert len(as_on_accelerators) == 1
