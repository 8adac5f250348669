"""The operator `*` of the equations: from one group of gates' kernels to its pre-activations.

Each is a composition of plain convolutions that keeps depth, height and width. A group of `gates`
gates that share an operand is one operator with `gates * features` outputs; where an operator has two
stages, every gate has its own pair, with `features` channels between.

    same         one SAME convolution, kd x kh x kw
    transposed   a VALID convolution and a corresponding transposed one back (paper, section 4.1)
    separable    1 x kh x kw, then kd x 1 x 1 (the E(2+1)D-LSTM of Table 5)
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from e3d.kernels.convolution import VALID, Kernel, full_padding, same_padding
from e3d.kernels.winograd import Padding

OPERATORS = ('same', 'transposed', 'separable')

Convolve = Callable[[jax.Array, Kernel | jax.Array, Padding], jax.Array]


def kernel_shapes(
    operator: str, kernel_size: tuple[int, int, int], channels: int, features: int, gates: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the kernels of one operator, from `channels` to `gates * features`."""
    depth, height, width = kernel_size
    outputs = gates * features
    if operator == 'same':
        return {'kernel': (depth, height, width, channels, outputs)}
    if operator == 'transposed':
        return {
            'kernel': (depth, height, width, channels, outputs),
            'transposed_kernel': (depth, height, width, features, outputs),
        }
    return {
        'kernel': (1, height, width, channels, outputs),
        'depth_kernel': (depth, 1, 1, features, outputs),
    }


def apply_operator(
    kernels: Mapping[str, Kernel | jax.Array], inputs: jax.Array, convolve: Convolve
) -> jax.Array:
    """`W * inputs` for all gates of a group: `[B, D, H, W, C]` to `[B, D, H, W, gates*features]`.

    The names of the kernels tell which operator it is; `convolve` carries out each convolution.
    """
    kernel = kernels['kernel']
    if 'transposed_kernel' in kernels:
        middle = convolve(inputs, kernel, VALID)
        return _for_each_gate(kernels['transposed_kernel'], middle, full_padding, convolve)
    middle = convolve(inputs, kernel, same_padding(kernel.shape[:3]))
    if 'depth_kernel' in kernels:
        return _for_each_gate(kernels['depth_kernel'], middle, same_padding, convolve)
    return middle


def join_operators(groups: Sequence[Mapping[str, jax.Array]]) -> list[Mapping[str, jax.Array]]:
    """The groups of `W1 * A + W2 * B + b`, to be applied to `[A, B]` along the channels.

    With the SAME operator they become one, for one convolution is faster than two; others stay apart,
    and each is applied to its part of the channels.
    """
    if any(group.keys() - {'kernel', 'bias'} for group in groups):
        return list(groups)
    joined = {'kernel': jnp.concatenate([group['kernel'] for group in groups], axis=-2)}
    biases = [group['bias'] for group in groups if 'bias' in group]
    return [joined | ({'bias': sum(biases)} if biases else {})]


def _for_each_gate(kernel, inputs, padding_of, convolve: Convolve) -> jax.Array:
    """A second stage whose gates do not mix: gate g sees only its own channels."""
    features, outputs = kernel.shape[-2:]
    padding = padding_of(kernel.shape[:3])

    def gate(first: int) -> jax.Array:
        def of_gate(array: jax.Array) -> jax.Array:
            return array[..., first : first + features]

        return convolve(of_gate(inputs), jax.tree.map(of_gate, kernel), padding)

    return jnp.concatenate([gate(first) for first in range(0, outputs, features)], axis=-1)
