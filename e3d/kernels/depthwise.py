"""Depthwise 2D convolutions: each channel by a kernel of its own.

What XLA makes of them on CPUs is far from what their few operations take, its gradients above all
(`benchmarks/README.md` has the measurements). There the output is a sum of shifted products, the
gradient of the input the same with the kernel turned round, and the gradient of each tap a product
of a row of ones with the products of all positions. Elsewhere all three are native.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from e3d.kernels import platforms
from e3d.kernels.precision import chosen_precision


def convolve_depthwise(inputs: jax.Array, kernel: jax.Array, dilation: int = 1) -> jax.Array:
    """Convolves each channel with its kernel, padded with zeros to the same size.

    Args:
      inputs: `[B, H, W, C]`.
      kernel: `[kh, kw, C]`, both sides odd, of the type of the inputs.
      dilation: pixels from tap to tap.

    Returns:
      `[B, H, W, C]`: `sum_ij kernel[i, j] * inputs[h + dilation (i - kh // 2), ...]`.
    """
    return _convolve(inputs, kernel, dilation, chosen_precision())


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(
    inputs: jax.Array, kernel: jax.Array, dilation: int, precision: str | None
) -> jax.Array:
    return platforms.choose(
        inputs,
        kernel,
        cpu=functools.partial(_by_taps, dilation=dilation),
        default=functools.partial(convolve_natively, dilation=dilation, precision=precision),
    )


def _forward(inputs, kernel, dilation, precision):
    return _convolve(inputs, kernel, dilation, precision), (inputs, kernel)


def _backward(dilation, precision, kept, cotangent):
    of_inputs = _convolve(cotangent, kept[1][::-1, ::-1], dilation, precision)
    of_kernel = platforms.choose(
        *kept,
        cotangent,
        cpu=functools.partial(_kernel_gradient_by_taps, dilation=dilation),
        default=functools.partial(
            _kernel_gradient_natively, dilation=dilation, precision=precision
        ),
    )
    return of_inputs, of_kernel


_convolve.defvjp(_forward, _backward)


def _padding(kernel: jax.Array, dilation: int) -> list[tuple[int, int]]:
    return [2 * (dilation * (size // 2),) for size in kernel.shape[:2]]


def _by_taps(inputs: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    rows, columns = inputs.shape[1:3]
    padded = jnp.pad(inputs, [(0, 0), *_padding(kernel, dilation), (0, 0)])
    total = 0.0
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            top, left = i * dilation, j * dilation
            product = padded[:, top : top + rows, left : left + columns] * kernel[i, j]
            total = total + product.astype(jnp.promote_types(product.dtype, jnp.float32))
    return total.astype(inputs.dtype)


def _kernel_gradient_by_taps(
    inputs: jax.Array, kernel: jax.Array, cotangent: jax.Array, dilation: int
) -> jax.Array:
    padded = jnp.pad(inputs, [(0, 0), *_padding(kernel, dilation), (0, 0)])
    channels = inputs.shape[-1]
    ones = jnp.ones((1, cotangent.size // channels), cotangent.dtype)

    def gradient_of_tap(tap):
        start = (0, tap // kernel.shape[1] * dilation, tap % kernel.shape[1] * dilation, 0)
        products = lax.dynamic_slice(padded, start, inputs.shape) * cotangent
        # A sum over positions, as a product, which is much faster.
        wide = jnp.promote_types(products.dtype, jnp.float32)
        return jnp.matmul(ones, products.reshape(-1, channels), preferred_element_type=wide)[0]

    taps = lax.map(gradient_of_tap, jnp.arange(kernel.shape[0] * kernel.shape[1]))
    return taps.reshape(kernel.shape).astype(kernel.dtype)


def convolve_natively(
    inputs: jax.Array, kernel: jax.Array, dilation: int = 1, precision: str | None = None
) -> jax.Array:
    """The same by XLA's own convolution, with its gradients, rounded as JAX's `precision` says."""
    return lax.conv_general_dilated(
        inputs,
        kernel[:, :, None, :],
        (1, 1),
        _padding(kernel, dilation),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=inputs.shape[-1],
        precision=precision,
    )


def _kernel_gradient_natively(
    inputs: jax.Array,
    kernel: jax.Array,
    cotangent: jax.Array,
    dilation: int,
    precision: str | None,
) -> jax.Array:
    convolve = functools.partial(convolve_natively, inputs, dilation=dilation, precision=precision)
    return jax.vjp(convolve, kernel)[1](cotangent)[0]
