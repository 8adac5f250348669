import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from e3d.model.convolution import VALID, convolve, convolve_again, full_padding, same_padding
from e3d.model.operators import OPERATORS, apply_operator, kernel_shapes

CASES = {
    'same': ((2, 5, 5), 2, same_padding((2, 5, 5)), 3, 4),
    'depth 3': ((2, 5, 5), 3, same_padding((2, 5, 5)), 2, 2),
    'depth 1': ((1, 5, 5), 1, same_padding((1, 5, 5)), 3, 4),
    'kernel deeper than the input': ((3, 3, 3), 2, same_padding((3, 3, 3)), 3, 2),
    'even kernel': ((2, 4, 2), 2, same_padding((2, 4, 2)), 2, 5),
    'valid': ((2, 5, 5), 3, VALID, 3, 2),
    'full': ((2, 5, 3), 1, full_padding((2, 5, 3)), 2, 3),
    'more channels than features': ((2, 5, 5), 2, same_padding((2, 5, 5)), 6, 2),
}


def plain(inputs, kernel, padding):
    return lax.conv_general_dilated(
        inputs, kernel, (1, 1, 1), padding, dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )


@pytest.mark.parametrize('name', CASES)
def test_equals_a_plain_convolution_and_its_gradients(name):
    size, depth, padding, channels, features = CASES[name]
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(2, depth, 7, 6, channels))
    kernel = generator.normal(size=(*size, channels, features))
    with jax.enable_x64(True):
        expected, plain_gradients = jax.vjp(lambda x, w: plain(x, w, padding), inputs, kernel)
        ours, our_gradients = jax.vjp(lambda x, w: convolve(x, w, padding), inputs, kernel)
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11)
        cotangent = generator.normal(size=expected.shape)
        again = jax.vjp(lambda x, w: convolve_again(x, w, padding, expected), inputs, kernel)[1]
        for ours, known, other in zip(
            our_gradients(cotangent), again(cotangent), plain_gradients(cotangent), strict=True
        ):
            np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-11)
            np.testing.assert_array_equal(known, ours)


def test_same_padding_is_that_of_xla():
    inputs = np.random.default_rng(0).normal(size=(1, 2, 6, 6, 2)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=(2, 5, 4, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(
        convolve(inputs, kernel, same_padding((2, 5, 4))),
        plain(inputs, kernel, 'SAME'),
        rtol=1e-4,
        atol=1e-5,
    )


def test_no_tap_that_meets_only_padding_is_multiplied():
    """Depth 2 and a kernel of depth 2 have three pairs of tap and slot, not four."""
    inputs = jax.ShapeDtypeStruct((1, 2, 8, 8, 16), jnp.float32)
    kernel = jax.ShapeDtypeStruct((2, 5, 5, 16, 16), jnp.float32)
    padding = ((0, 1), (0, 0), (0, 0))
    lowered = jax.jit(convolve, static_argnums=2).lower(inputs, kernel, padding)
    three_of_four = 2 * 3 * 4 * 4 * 25 * 16 * 16
    assert three_of_four <= lowered.compile().cost_analysis()['flops'] < 1.1 * three_of_four


def test_bfloat16_inputs_keep_a_float32_kernel_gradient():
    inputs = jnp.ones((1, 2, 6, 6, 2), jnp.bfloat16)
    kernel = jnp.ones((2, 5, 5, 2, 2), jnp.float32)
    padding = same_padding((2, 5, 5))
    outputs, pull_back = jax.vjp(lambda x, w: convolve(x, w, padding), inputs, kernel)
    of_inputs, of_kernel = pull_back(outputs)
    assert outputs.dtype == of_inputs.dtype == jnp.bfloat16
    assert of_kernel.dtype == jnp.float32


@pytest.mark.parametrize('operator', OPERATORS)
def test_operators_keep_the_shape_and_do_not_mix_gates(operator):
    shapes = kernel_shapes(operator, (2, 3, 3), channels=2, features=3, gates=2)
    generator = np.random.default_rng(0)
    kernels = {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
    }
    inputs = generator.normal(size=(1, 2, 5, 6, 2)).astype(np.float32)
    outputs = apply_operator(kernels, inputs, convolve)
    assert outputs.shape == (1, 2, 5, 6, 6)
    changed = {name: kernel.copy() for name, kernel in kernels.items()}
    for kernel in changed.values():
        kernel[..., 3:] += 1
    others = apply_operator(changed, inputs, convolve)
    np.testing.assert_allclose(others[..., :3], outputs[..., :3], rtol=1e-4, atol=1e-4)
    assert np.abs(others[..., 3:] - outputs[..., 3:]).max() > 0.1
