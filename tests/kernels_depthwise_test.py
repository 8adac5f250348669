import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.kernels import depthwise
from e3d.kernels.depthwise import convolve_depthwise


@pytest.mark.parametrize(('size', 'dilation'), [((3, 5), 1), ((7, 3), 3)])
def test_both_forms_are_a_plain_reading_with_its_gradients(size, dilation):
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        inputs, target = generator.random((2, 2, 6, 7, 3))
        kernel = generator.random((*size, 3))

        def plain(inputs, kernel):
            total, (rows, columns) = 0.0, inputs.shape[1:3]
            for row in range(rows):
                for column in range(columns):
                    value = 0.0
                    for i in range(size[0]):
                        for j in range(size[1]):
                            r = row + dilation * (i - size[0] // 2)
                            c = column + dilation * (j - size[1] // 2)
                            if 0 <= r < rows and 0 <= c < columns:
                                value = value + inputs[:, r, c] * kernel[i, j]
                    total = total + (value * target[:, row, column]).sum()
            return total

        expected = plain(inputs, kernel)
        of_kernel = np.stack(
            [plain(inputs, one.reshape(kernel.shape)) for one in np.eye(kernel.size)]
        )
        some = np.eye(inputs.size)[:: inputs.size // 7]
        of_inputs = np.stack([plain(one.reshape(inputs.shape), kernel) for one in some])
        native = functools.partial(depthwise.convolve_natively, dilation=dilation)
        for convolve in (lambda *args: convolve_depthwise(*args, dilation), native):
            value, gradients = jax.value_and_grad(
                lambda *args, convolve=convolve: (convolve(*args) * target).sum(), (0, 1)
            )(jnp.asarray(inputs), jnp.asarray(kernel))
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            np.testing.assert_allclose(np.ravel(gradients[1]), of_kernel, rtol=1e-10)
            np.testing.assert_allclose(
                np.ravel(gradients[0])[:: inputs.size // 7], of_inputs, rtol=1e-10
            )
        of_taps = depthwise._kernel_gradient_natively(inputs, kernel, target, dilation, None)
        np.testing.assert_allclose(np.ravel(of_taps), of_kernel, rtol=1e-10)


def test_narrow_numbers_are_summed_in_float32():
    inputs = jnp.full((1, 16, 16, 2), 1.0, jnp.bfloat16)
    kernel = jnp.full((5, 5, 2), 1.0078125, jnp.bfloat16)
    outputs, backward = jax.vjp(convolve_depthwise, inputs, kernel)
    assert outputs.dtype == jnp.bfloat16
    assert float(outputs[0, 8, 8, 0]) == float(jnp.bfloat16(25 * 1.0078125))
    of_inputs, of_kernel = backward(jnp.ones_like(outputs))
    assert of_inputs.dtype == of_kernel.dtype == jnp.bfloat16
    assert float(of_kernel[2, 2, 0]) == 256.0
