"""The 3D convolution of all gates, with gradients that are fast inside a time loop.

`convolve` is a plain stride-1 3D convolution. It has a gradient rule of its own for two reasons,
both measured on CPU (`benchmarks/README.md`): the filter gradient that automatic differentiation
writes is by far the slowest part of a training step inside a loop, and a depth of 2 with a kernel of 2
multiplies one tap in four by padding. Here only taps that meet a real slot are multiplied. Where a
convolution widens, as those of the gates do, it and its gradients are matrix products over patches
of the narrow side; elsewhere they are 2D convolutions, the input gradient one with the mirrored
kernel. Backends other than CPU take their native convolution; `_forward`, `_input_gradient` and
`_kernel_gradient` are the one place that chooses.

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


def _meetings(depth: int, kernel_depth: int, padding: tuple[int, int]) -> list[list[tuple]]:
    """For each output slot the pairs (input slot, tap) in which a tap meets a real slot."""
    low, high = padding
    return [
        [
            (output - low + tap, tap)
            for tap in range(kernel_depth)
            if 0 <= output - low + tap < depth
        ]
        for output in range(depth + low + high - kernel_depth + 1)
    ]


def _convolve_by_taps(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """One 2D convolution for each output slot, over the input slots and taps that meet."""
    planes = []
    for pairs in _meetings(inputs.shape[1], kernel.shape[0], padding[0]):
        slots = [inputs[:, slot] for slot, _ in pairs]
        taps = [kernel[tap] for _, tap in pairs]
        planes.append(
            lax.conv_general_dilated(
                jnp.concatenate(slots, axis=-1),
                jnp.concatenate(taps, axis=-2),
                (1, 1),
                padding[1:],
                dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            )
        )
    return jnp.stack(planes, axis=1)


def _unfold(plane: jax.Array, kernel_size: tuple[int, int], padding) -> jax.Array:
    """Patches of a plane: `[B, H, W, C]` to `[B, H', W', kh*kw*C]`."""
    plane = jnp.pad(plane, ((0, 0), *padding, (0, 0)))
    height = plane.shape[1] - kernel_size[0] + 1
    width = plane.shape[2] - kernel_size[1] + 1
    return jnp.concatenate(
        [
            plane[:, row : row + height, column : column + width]
            for row in range(kernel_size[0])
            for column in range(kernel_size[1])
        ],
        axis=-1,
    )


def _unfold_slots(inputs: jax.Array, kernel_size: tuple[int, int], padding: Padding):
    return [_unfold(inputs[:, slot], kernel_size, padding[1:]) for slot in range(inputs.shape[1])]


def _convolve_by_products(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Patches times kernel, one matrix product for each pair of slot and tap."""
    patches = _unfold_slots(inputs, kernel.shape[1:3], padding)
    taps = kernel.reshape(kernel.shape[0], -1, kernel.shape[-1])
    return jnp.stack(
        [
            sum(patches[slot] @ taps[tap] for slot, tap in pairs)
            for pairs in _meetings(inputs.shape[1], kernel.shape[0], padding[0])
        ],
        axis=1,
    )


def _input_gradient_by_products(cotangent, kernel, shape, padding: Padding) -> jax.Array:
    """Cotangent times kernel gives a patch for each position; patches that overlap are added."""
    taps = kernel.reshape(kernel.shape[0], -1, kernel.shape[-1])
    patches = [0] * shape[1]
    for output, pairs in enumerate(_meetings(shape[1], kernel.shape[0], padding[0])):
        for slot, tap in pairs:
            patches[slot] += cotangent[:, output] @ taps[tap].T
    fold = jax.linear_transpose(
        functools.partial(_unfold, kernel_size=kernel.shape[1:3], padding=padding[1:]),
        jax.ShapeDtypeStruct((shape[0], *shape[2:]), cotangent.dtype),
    )
    return jnp.stack([fold(patch)[0] for patch in patches], axis=1)


def _kernel_gradient_by_products(inputs, cotangent, kernel_shape, padding: Padding) -> jax.Array:
    """Sum over positions of input times cotangent, one product for each pair of slot and tap.

    Whichever has fewer channels is unfolded. Unfolding the cotangent is the same sum seen from the
    other side: the kernel mirrored.
    """
    kernel_depth, height, width, channels, features = kernel_shape
    if channels > features:
        mirrored = _kernel_gradient_by_products(
            cotangent,
            inputs,
            (kernel_depth, height, width, features, channels),
            _mirrored_padding(kernel_shape[:3], padding),
        )
        return _mirrored(mirrored)
    dtype = jnp.promote_types(inputs.dtype, jnp.float32)
    patches = [
        patch.reshape(-1, height * width * channels)
        for patch in _unfold_slots(inputs, (height, width), padding)
    ]
    gradients = [jnp.zeros((height * width * channels, features), dtype)] * kernel_depth
    for output, pairs in enumerate(_meetings(inputs.shape[1], kernel_depth, padding[0])):
        plane = cotangent[:, output].reshape(-1, features)
        for slot, tap in pairs:
            gradients[tap] += jnp.matmul(patches[slot].T, plane, preferred_element_type=dtype)
    return jnp.stack(gradients).reshape(kernel_shape)


def _convolve_natively(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    return lax.conv_general_dilated(
        inputs, kernel, (1, 1, 1), padding, dimension_numbers=_NATIVE_LAYOUT
    )


def _kernel_gradient_natively(inputs, cotangent, kernel_shape, padding: Padding) -> jax.Array:
    transposed = jax.linear_transpose(
        functools.partial(_convolve_natively, inputs, padding=padding),
        jax.ShapeDtypeStruct(kernel_shape, inputs.dtype),
    )
    return transposed(cotangent)[0].astype(jnp.promote_types(inputs.dtype, jnp.float32))


def _widens(kernel: jax.Array) -> bool:
    """Whether patches of the inputs are so much smaller than the outputs that products pay."""
    return kernel.shape[-1] >= 2 * kernel.shape[-2]


def _forward(inputs: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    on_cpu = _convolve_by_products if _widens(kernel) else _convolve_by_taps
    return lax.platform_dependent(
        inputs,
        kernel.astype(inputs.dtype),
        cpu=functools.partial(on_cpu, padding=padding),
        default=functools.partial(_convolve_natively, padding=padding),
    )


def _input_gradient(cotangent, kernel, shape, padding: Padding) -> jax.Array:
    def by_mirrored(convolve, cotangent, kernel):
        mirrored_padding = _mirrored_padding(kernel.shape[:3], padding)
        return convolve(cotangent, _mirrored(kernel), mirrored_padding)

    on_cpu = functools.partial(by_mirrored, _convolve_by_taps)
    if _widens(kernel):
        on_cpu = functools.partial(_input_gradient_by_products, shape=shape, padding=padding)
    return lax.platform_dependent(
        cotangent,
        kernel.astype(cotangent.dtype),
        cpu=on_cpu,
        default=functools.partial(by_mirrored, _convolve_natively),
    )


def _kernel_gradient(inputs, cotangent, kernel, padding: Padding) -> jax.Array:
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
    return of_kernel.astype(kernel.dtype)


def _gradients(inputs, kernel, cotangent, padding: Padding) -> tuple[jax.Array, jax.Array]:
    return (
        _input_gradient(cotangent, kernel, inputs.shape, padding),
        _kernel_gradient(inputs, cotangent, kernel, padding),
    )


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
