"""The 3D convolution of all gates, with gradients that are fast inside a time loop.

`convolve` is a plain stride-1 3D convolution. It has a gradient rule of its own for two reasons,
both measured on CPU (`benchmarks/README.md`): the filter gradient that automatic differentiation
writes runs 50 to 100 times slower inside a loop than it need be, and a depth of 2 with a kernel of 2
multiplies one tap in four by padding. Here the depth axis is unrolled into 2D convolutions over the
taps that meet a real slot, the input gradient is a forward-style convolution with the mirrored
kernel, and the kernel gradient is a matrix product over unfolded patches. Other backends take their
native convolution; `_forward` and `_gradients` are the one place that chooses.

On top of it stand the three operators `*` that the cell can be built from: the SAME convolution, the
paper's convolution with a corresponding transposed one (section 4.1), and the separable one.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

_NATIVE_LAYOUT = ('NDHWC', 'DHWIO', 'NDHWC')


def same_padding(kernel_size: tuple[int, int, int]) -> Padding:
    """SAME as XLA, TensorFlow and Flax pad it: an even kernel has its extra zero at the end."""
    return tuple(((size - 1) // 2, size // 2) for size in kernel_size)


def full_padding(kernel_size: tuple[int, int, int]) -> Padding:
    """Every output that meets at least one input: what undoes the shrinking of VALID."""
    return tuple((size - 1, size - 1) for size in kernel_size)


VALID: Padding = ((0, 0), (0, 0), (0, 0))


def _mirrored(kernel: jax.Array) -> jax.Array:
    """The kernel of the transposed convolution: flipped in depth and space, channels swapped."""
    return jnp.swapaxes(kernel[::-1, ::-1, ::-1], -1, -2)


def _mirrored_padding(kernel_size, padding: Padding) -> Padding:
    return tuple(
        (size - 1 - low, size - 1 - high)
        for size, (low, high) in zip(kernel_size, padding, strict=True)
    )


def _taps(depth: int, kernel_depth: int, padding: tuple[int, int]) -> list[tuple[int, int, int]]:
    """For each output slot the first input slot, the first tap and the number of taps that meet."""
    low, high = padding
    taps = []
    for output in range(depth + low + high - kernel_depth + 1):
        first = max(0, output - low)
        last = min(depth, output - low + kernel_depth)
        taps.append((first, first - output + low, last - first))
    return taps


def _merge_depth(inputs: jax.Array) -> jax.Array:
    """`[B, D, H, W, C]` to `[B, H, W, D*C]`."""
    return jnp.concatenate([inputs[:, slot] for slot in range(inputs.shape[1])], axis=-1)


def _convolve_by_taps(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """One 2D convolution for each output slot, over the input slots that it meets."""
    kernel_depth, height, width, channels, features = kernel.shape
    planes = []
    for first, tap, count in _taps(inputs.shape[1], kernel_depth, padding[0]):
        flat_kernel = jnp.moveaxis(kernel[tap : tap + count], 0, 2).reshape(
            height, width, count * channels, features
        )
        planes.append(
            lax.conv_general_dilated(
                _merge_depth(inputs[:, first : first + count]),
                flat_kernel,
                (1, 1),
                padding[1:],
                dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            )
        )
    return jnp.stack(planes, axis=1)


def _unfold(inputs: jax.Array, kernel_size: tuple[int, int], padding) -> jax.Array:
    """Patches of a plane: `[B, H, W, C]` to `[B, H', W', kh*kw*C]`."""
    inputs = jnp.pad(inputs, ((0, 0), *padding, (0, 0)))
    height = inputs.shape[1] - kernel_size[0] + 1
    width = inputs.shape[2] - kernel_size[1] + 1
    return jnp.concatenate(
        [
            inputs[:, row : row + height, column : column + width]
            for row in range(kernel_size[0])
            for column in range(kernel_size[1])
        ],
        axis=-1,
    )


def _kernel_gradient_by_products(inputs, cotangent, kernel_shape, padding: Padding) -> jax.Array:
    """Sum over positions of input times cotangent, as products of patches and planes.

    Whichever has fewer channels is unfolded. Unfolding the cotangent is the same sum seen from the
    other side: the kernel mirrored in height and width.
    """
    if kernel_shape[-2] <= kernel_shape[-1]:
        return _patch_products(inputs, cotangent, kernel_shape, padding)
    _, height, width, channels, features = kernel_shape
    mirrored = _patch_products(
        cotangent,
        inputs,
        (*kernel_shape[:3], features, channels),
        _mirrored_padding(kernel_shape[:3], padding),
    )
    return _mirrored(mirrored)


def _patch_products(inputs, planes, kernel_shape, padding: Padding) -> jax.Array:
    """Kernel gradient with `inputs` unfolded; one product for all planes that meet an input slot."""
    kernel_depth, height, width, channels, features = kernel_shape
    dtype = jnp.promote_types(inputs.dtype, jnp.float32)
    gradients = [jnp.zeros((height * width * channels, features), dtype)] * kernel_depth
    taps = _taps(inputs.shape[1], kernel_depth, padding[0])
    for slot in range(inputs.shape[1]):
        meeting = [
            (output, tap + slot - first)
            for output, (first, tap, count) in enumerate(taps)
            if first <= slot < first + count
        ]
        patches = _unfold(inputs[:, slot], (height, width), padding[1:])
        products = jnp.matmul(
            patches.reshape(-1, height * width * channels).T,
            jnp.concatenate([planes[:, output] for output, _ in meeting], axis=-1).reshape(
                -1, len(meeting) * features
            ),
            preferred_element_type=dtype,
        )
        for (_, tap), product in zip(meeting, jnp.split(products, len(meeting), 1), strict=True):
            gradients[tap] += product
    return jnp.stack(gradients).reshape(kernel_shape)


def _convolve_natively(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    return lax.conv_general_dilated(
        inputs, kernel, (1, 1, 1), padding, dimension_numbers=_NATIVE_LAYOUT
    )


def _kernel_gradient_natively(inputs, cotangent, kernel_shape, padding: Padding) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(kernel_shape, inputs.dtype)
    transposed = jax.linear_transpose(
        lambda kernel: _convolve_natively(inputs, kernel, padding), kernel
    )
    return transposed(cotangent)[0]


def _forward(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    return lax.platform_dependent(
        inputs,
        kernel.astype(inputs.dtype),
        cpu=functools.partial(_convolve_by_taps, padding=padding),
        default=functools.partial(_convolve_natively, padding=padding),
    )


def _gradients(inputs, kernel, cotangent, padding: Padding) -> tuple[jax.Array, jax.Array]:
    of_inputs = _forward(
        cotangent, _mirrored(kernel), _mirrored_padding(kernel.shape[:3], padding)
    )
    of_kernel = lax.platform_dependent(
        inputs,
        cotangent,
        cpu=functools.partial(
            _kernel_gradient_by_products, kernel_shape=kernel.shape, padding=padding
        ),
        default=functools.partial(
            _kernel_gradient_natively, kernel_shape=kernel.shape, padding=padding
        ),
    )
    return of_inputs, of_kernel.astype(kernel.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Stride-1 3D convolution, computed in the type of the inputs.

    Args:
      inputs: `[B, D, H, W, C]`.
      kernel: `[kd, kh, kw, C, F]`, kept in its own (parameter) type until it is used.
      padding: zeros before and after each of depth, height and width.

    Returns:
      `[B, D', H', W', F]` with `D' = D + before + after - kd + 1` and so on.
    """
    return _forward(inputs, kernel, padding)


convolve.defvjp(
    lambda inputs, kernel, padding: (_forward(inputs, kernel, padding), (inputs, kernel)),
    lambda padding, residuals, cotangent: _gradients(*residuals, cotangent, padding),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve_again(inputs, kernel, padding: Padding, outputs):
    """A convolution whose result is already known: nothing is computed but the gradient."""
    return outputs


convolve_again.defvjp(
    lambda inputs, kernel, padding, outputs: (outputs, (inputs, kernel)),
    lambda padding, residuals, cotangent: (*_gradients(*residuals, cotangent, padding), None),
)
