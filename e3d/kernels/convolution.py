"""The 3D convolution of all gates, with gradients that are fast inside a time loop.

`convolve` is a plain stride-1 3D convolution with a gradient rule of its own, for the kernel gradient
that automatic differentiation writes is by far the slowest part of a training step inside a loop on
CPU. `_forward`, `_input_gradient` and `_kernel_gradient` are the one place that chooses what is best
for a backend, from measurements (`benchmarks/README.md`): CPUs compute minimal filtering
(`winograd.py`), all others their native convolution; of two axes, with the depth among the channels
(`planes.py`), where the inputs are as deep as the kernel.

Both need a transform of the kernel that is the same at every step: `prepare_kernels` makes it before
the loop, for each kernel that was declared as a `Kernel`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from e3d.errors import InputError
from e3d.kernels import planes, platforms, winograd
from e3d.kernels.precision import chosen_precision
from e3d.kernels.winograd import Padding

_NATIVE_LAYOUT = ('NDHWC', 'DHWIO', 'NDHWC')


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of a convolution, with what each backend needs of it.

    Everywhere but in `convolve` it is the array of its taps: it can be indexed, used in arithmetic
    and given to the functions of `jnp`. A part of it, `kernel[..., :n]` among others, is a kernel
    too.

    Attributes:
      taps: `[kd, kh, kw, C, F]`.
      points: of minimal filtering along the height: for each tap in depth `[n, kw * C, F]`; ()
        before `prepare_kernels`.
      planes: of convolutions of two axes, `[kh, kw, kd, C, kd, F]`, see `planes.py`; None before
        `prepare_kernels`.
    """

    taps: jax.Array
    points: tuple[jax.Array, ...] = ()
    planes: jax.Array | None = None

    def __jax_array__(self) -> jax.Array:
        return self.taps

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        return getattr(self.taps, name)

    def __getitem__(self, index: Any) -> 'Kernel | jax.Array':
        of_outputs = isinstance(index, tuple) and len(index) == 2 and index[0] is ...
        if of_outputs and isinstance(index[1], slice):
            return jax.tree.map(lambda part: part[index], self)
        return self.taps[index]


def _of_taps(name: str):
    return lambda self, *operands: getattr(self.taps, name)(*operands)


for _operator in ('add', 'sub', 'mul', 'truediv', 'matmul', 'pow'):
    for _name in (f'__{_operator}__', f'__r{_operator}__'):
        setattr(Kernel, _name, _of_taps(_name))
Kernel.__neg__ = _of_taps('__neg__')

jax.tree_util.register_dataclass(Kernel, data_fields=['taps', 'points', 'planes'], meta_fields=[])


def prepare_kernels(weights: Any) -> Any:
    """The tree of weights with each `Kernel` prepared, once before a loop that uses it at every step.

    A kernel that was not prepared, an array too, is when it is used.
    """

    def prepare(leaf):
        return _prepared(leaf) if isinstance(leaf, Kernel) else leaf

    return jax.tree.map(prepare, weights, is_leaf=lambda leaf: isinstance(leaf, Kernel))


def _prepared(kernel: Kernel | jax.Array) -> Kernel:
    if not isinstance(kernel, Kernel):
        kernel = Kernel(kernel)
    if kernel.points or kernel.planes is not None:
        return kernel
    points, of_planes = _transforms(kernel.taps)
    return Kernel(
        kernel.taps,
        points if platforms.is_prepared(for_cpus=True) else (),
        of_planes if platforms.is_prepared(for_cpus=False) else None,
    )


@jax.custom_vjp
def _transforms(taps: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """The `points` and `planes` of a kernel."""
    return winograd.transform_kernel(taps), planes.transform_kernel(taps)


def _transforms_gradient(taps: jax.Array, cotangents) -> tuple[jax.Array]:
    """Of what the backend uses: that of the other is zero, which XLA transforms at length."""

    def of_one(transform, cotangent):
        return jax.linear_transpose(transform, taps)(cotangent)

    return platforms.choose(
        *cotangents,
        cpu=lambda of_points, _: of_one(winograd.transform_kernel, of_points),
        default=lambda _, of_planes: of_one(planes.transform_kernel, of_planes),
    )


_transforms.defvjp(lambda taps: (_transforms(taps), taps), _transforms_gradient)


def same_padding(kernel_size: tuple[int, int, int]) -> Padding:
    """SAME as XLA, TensorFlow and Flax pad it: an even kernel has its extra zero at the end."""
    return tuple(((size - 1) // 2, size // 2) for size in kernel_size)


def full_padding(kernel_size: tuple[int, int, int]) -> Padding:
    """Every output that meets at least one input: what undoes the shrinking of VALID."""
    return tuple((size - 1, size - 1) for size in kernel_size)


VALID: Padding = ((0, 0), (0, 0), (0, 0))


def _convolve_natively(
    inputs, kernel: Kernel, padding: Padding, precision: str | None
) -> jax.Array:
    if _has_planes(kernel, inputs.shape, padding):
        return planes.convolve(inputs, kernel.planes, padding, precision)
    return lax.conv_general_dilated(
        inputs,
        kernel.taps.astype(inputs.dtype),
        (1, 1, 1),
        padding,
        dimension_numbers=_NATIVE_LAYOUT,
        precision=precision,
    )


def _has_planes(kernel: Kernel, shape: tuple[int, ...], padding: Padding) -> bool:
    """Whether `planes` is the kernel for inputs of this shape."""
    size = kernel.shape[:3]
    as_deep = shape[1] == size[0] and padding[0] == same_padding(size)[0]
    return kernel.planes is not None and as_deep


class _Call(NamedTuple):
    """What is fixed of a convolution: its padding, and how products are rounded."""

    padding: Padding
    precision: str | None


def _choose(kernel: Kernel, *arguments: Any, cpu: Callable, default: Callable) -> Any:
    """What the branch of the platform makes of the arguments; a CPU needs the kernel's points."""
    if not kernel.points:
        return default(*arguments)
    return platforms.choose(*arguments, cpu=cpu, default=default)


@platforms.traced_once('call')
def _forward(inputs: jax.Array, kernel: Kernel, call: _Call) -> jax.Array:
    size = kernel.shape[:3]
    return _choose(
        kernel,
        inputs,
        kernel,
        cpu=lambda inputs, kernel: winograd.convolve(inputs, kernel.points, size, call.padding),
        default=lambda inputs, kernel: _convolve_natively(inputs, kernel, *call),
    )


@platforms.traced_once('shape', 'call')
def _input_gradient(cotangent, kernel: Kernel, shape, call: _Call) -> jax.Array:
    size = kernel.shape[:3]

    def natively(cotangent, kernel):
        if _has_planes(kernel, shape, call.padding):
            like = jax.ShapeDtypeStruct(shape, cotangent.dtype)
            return jax.linear_transpose(lambda x: _convolve_natively(x, kernel, *call), like)(
                cotangent
            )[0]
        mirrored = jnp.swapaxes(kernel.taps[::-1, ::-1, ::-1], -1, -2)
        opposite = tuple(
            (taps - 1 - low, taps - 1 - high)
            for taps, (low, high) in zip(size, call.padding, strict=True)
        )
        return _convolve_natively(cotangent, Kernel(mirrored), opposite, call.precision)

    return _choose(
        kernel,
        cotangent,
        kernel,
        cpu=lambda cotangent, kernel: winograd.input_gradient(
            cotangent, kernel.points, size, shape, call.padding
        ),
        default=natively,
    )


@platforms.traced_once('call')
def _kernel_gradient(inputs, cotangent, kernel: Kernel, call: _Call) -> Kernel:
    """The gradient of the part of the kernel that the backend uses; nothing for the other."""
    size = kernel.shape[:3]
    nothing = jax.tree.map(jnp.zeros_like, kernel)

    def by_points(inputs, cotangent):
        of_points = winograd.kernel_gradient(inputs, cotangent, size, call.padding)
        dtype = kernel.taps.dtype
        points = tuple(part.astype(dtype) for part in of_points)
        return dataclasses.replace(nothing, points=points)

    def natively(inputs, cotangent):
        used = 'planes' if _has_planes(kernel, inputs.shape, call.padding) else 'taps'
        array = getattr(kernel, used)

        def convolve_with(array):
            return _convolve_natively(inputs, dataclasses.replace(kernel, **{used: array}), *call)

        like = jax.ShapeDtypeStruct(array.shape, inputs.dtype)
        of_array = jax.linear_transpose(convolve_with, like)(cotangent)[0]
        return dataclasses.replace(nothing, **{used: of_array.astype(array.dtype)})

    return _choose(kernel, inputs, cotangent, cpu=by_points, default=natively)


def _gradients(inputs, kernel: Kernel, cotangent, call: _Call) -> tuple[jax.Array, Kernel]:
    return (
        _input_gradient(cotangent, kernel, inputs.shape, call),
        _kernel_gradient(inputs, cotangent, kernel, call),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(inputs, kernel: Kernel, call: _Call):
    return _forward(inputs, kernel, call)


_convolve.defvjp(
    lambda inputs, kernel, call: (_forward(inputs, kernel, call), (inputs, kernel)),
    lambda call, residuals, cotangent: _gradients(*residuals, cotangent, call),
)


def convolve(inputs: jax.Array, kernel: Kernel | jax.Array, padding: Padding) -> jax.Array:
    """Stride-1 3D convolution.

    Args:
      inputs: `[B, D, H, W, C]`.
      kernel: `[kd, kh, kw, C, F]` in its own (parameter) type, prepared or as it is.
      padding: zeros before and after each of depth, height and width.

    Returns:
      `[B, D', H', W', F]` with `D' = D + before + after - kd + 1` and so on, in the type of the inputs.

    Raises:
      InputError: the kernel is larger than the padded inputs, or for other channels.
    """
    size, sides = kernel.shape[:3], inputs.shape[1:4]
    if any(side + sum(pads) < taps for side, pads, taps in zip(sides, padding, size, strict=True)):
        raise InputError(
            f'a kernel of {_times(size)} is larger than the grid of {_times(sides)} (depth x height '
            "x width) that it is applied to: use a smaller kernel_size, or convolution='same'"
        )
    if kernel.shape[3] != inputs.shape[4]:
        raise InputError(
            f'a kernel for {kernel.shape[3]} channels cannot be applied to {inputs.shape[4]}'
        )
    return _convolve(inputs, _prepared(kernel), _Call(padding, chosen_precision()))


def _times(sizes) -> str:
    return ' x '.join(map(str, sizes))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_again(inputs, kernel: Kernel, call: _Call, outputs):
    return outputs


_convolve_again.defvjp(
    lambda inputs, kernel, call, outputs: (outputs, (inputs, kernel)),
    lambda call, residuals, cotangent: (*_gradients(*residuals, cotangent, call), None),
)


def convolve_again(inputs, kernel: Kernel | jax.Array, padding: Padding, outputs):
    """A convolution whose result is already known: nothing is computed but the gradient."""
    return _convolve_again(inputs, _prepared(kernel), _Call(padding, chosen_precision()), outputs)
