import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from e3d.kernels.convolution import (
    VALID,
    Kernel,
    convolve,
    convolve_again,
    full_padding,
    prepare_kernels,
    same_padding,
)
from e3d.model.gates import OPERATORS, apply_operator, kernel_shapes

CASES = {
    'same': ((2, 5, 5), 2, same_padding((2, 5, 5)), 3, 4),
    'depth 3': ((2, 5, 5), 3, same_padding((2, 5, 5)), 2, 2),
    'depth 1': ((1, 5, 5), 1, same_padding((1, 5, 5)), 3, 4),
    'kernel deeper than the input': ((3, 3, 3), 2, same_padding((3, 3, 3)), 3, 2),
    'even kernel': ((2, 4, 2), 2, same_padding((2, 4, 2)), 2, 5),
    'even kernel with its extra zero in front': ((2, 3, 3), 2, ((1, 0), (1, 1), (1, 1)), 2, 3),
    'valid': ((2, 5, 5), 3, VALID, 3, 2),
    'full': ((2, 5, 3), 1, full_padding((2, 5, 3)), 2, 3),
    'more channels than features': ((2, 5, 5), 2, same_padding((2, 5, 5)), 6, 2),
    'height 1': ((2, 1, 3), 2, same_padding((2, 1, 3)), 2, 3),
    'height 2': ((1, 2, 2), 2, VALID, 2, 3),
    'height 7': ((1, 7, 3), 2, same_padding((1, 7, 3)), 2, 3),
    'height 9': ((1, 9, 1), 1, same_padding((1, 9, 1)), 3, 2),
}


def plain(inputs, kernel, padding):
    return lax.conv_general_dilated(
        inputs, kernel, (1, 1, 1), padding, dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )


@pytest.mark.parametrize('backend', ['cpu', 'accelerators'])
@pytest.mark.parametrize('name', CASES)
def test_equals_a_plain_convolution_and_its_gradients(name, backend, request):
    if backend == 'accelerators':
        choices = request.getfixturevalue('as_on_accelerators')
    size, depth, padding, channels, features = CASES[name]
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(2, depth, 7, 6, channels))
    kernel = generator.normal(size=(*size, channels, features))
    with jax.enable_x64(True):
        expected = plain(inputs, kernel, padding)
        cotangent = generator.normal(size=expected.shape)

        @functools.partial(jax.jit, static_argnums=0)
        def results(function):
            outputs, pull_back = jax.vjp(function, inputs, kernel)
            return outputs, pull_back(cotangent)

        _, plain_gradients = results(lambda x, w: plain(x, w, padding))
        ours, our_gradients = results(lambda x, w: convolve(x, w, padding))
        _, again = results(lambda x, w: convolve_again(x, w, padding, expected))
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11)
        for ours, known, other in zip(our_gradients, again, plain_gradients, strict=True):
            np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-11)
            np.testing.assert_array_equal(known, ours)
    if backend == 'accelerators':
        # Forward once; the gradients of inputs, of the kernel and of its points, twice.
        assert len(choices) == 7


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

    def multiplications(depth, padding):
        inputs = jax.ShapeDtypeStruct((1, depth, 8, 8, 16), jnp.float32)
        kernel = jax.ShapeDtypeStruct((2, 5, 5, 16, 16), jnp.float32)
        lowered = jax.jit(convolve, static_argnums=2).lower(inputs, kernel, padding)
        text = lowered.as_text()
        products = re.findall(r'dot_general.*tensor<8x(\d+)x1x4x80xf32>', text)
        return sum(map(int, products))

    assert multiplications(3, VALID) == 4
    assert multiplications(2, ((0, 1), (0, 0), (0, 0))) == 3


def test_prepared_kernels_give_the_same():
    inputs = np.random.default_rng(0).normal(size=(1, 2, 6, 6, 2)).astype(np.float32)
    weights = {
        'kernel': Kernel(np.random.default_rng(1).normal(size=(2, 5, 5, 2, 2)).astype(np.float32)),
        'peepholes': np.ones((3, 2, 6, 6, 2), np.float32),
    }
    assert prepare_kernels(weights)['peepholes'] is weights['peepholes']

    def loss(weights, prepare):
        kernel = prepare(weights)['kernel']
        return (convolve(inputs, kernel, same_padding(kernel.shape[:3])) ** 2).sum()

    for ours, other in zip(
        jax.tree.leaves(jax.value_and_grad(loss)(weights, prepare_kernels)),
        jax.tree.leaves(jax.value_and_grad(loss)(weights, lambda weights: weights)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, other, rtol=1e-6)


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
