"""Gates that share an operand: the operator `*` of the equations, bias and LayerNorm.

A group of gates is a tree with the kernels of one operator, with `gates * features` outputs; and where
it has them `bias`, and `norm_scale` and `norm_bias` of a LayerNorm. The operator is a composition of
plain convolutions that keeps depth, height and width. Where it has two stages, every gate has its own
pair, with `features` channels between.

    same         one SAME convolution, kd x kh x kw
    transposed   a VALID convolution and a corresponding transposed one back (paper, section 4.1)
    separable    1 x kh x kw, then kd x 1 x 1 (the E(2+1)D-LSTM of Table 5)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from e3d.kernels.convolution import VALID, Kernel, Padding, full_padding, same_padding
from e3d.kernels.layer_norm import EPSILON
from e3d.kernels.modes import Operations

OPERATORS = ('same', 'transposed', 'separable')

Group = Mapping[str, Any]
Convolve = Callable[[jax.Array, Kernel | jax.Array, Padding], jax.Array]


def convolve_gates(
    group: Group,
    operand: jax.Array,
    features: int,
    operations: Operations,
    epsilon: float = EPSILON,
) -> list[jax.Array]:
    """The pre-activations `W * operand + b` of a group of gates, each `[B, D, H, W, features]`.

    Where the group has `norm_scale` and `norm_bias`, its gates are normalized together (LayerNorm over
    D, H, W and all channels of a sample, with this epsilon).
    """
    outputs = add_bias(apply_operator(group, operand, operations.convolve), group)
    if 'norm_scale' in group:
        outputs = operations.layer_norm(outputs, group, epsilon)
    return jnp.split(outputs, outputs.shape[-1] // features, axis=-1)


def add_bias(outputs: jax.Array, group: Group) -> jax.Array:
    """Adds the bias of a group, if it has one."""
    return outputs + group['bias'].astype(outputs.dtype) if 'bias' in group else outputs


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


def mark_kernels(group: dict[str, jax.Array]) -> dict[str, Any]:
    """The group with its kernels as what `prepare_kernels` prepares for a loop."""
    return {name: Kernel(leaf) if name.endswith('kernel') else leaf for name, leaf in group.items()}


def apply_operator(kernels: Group, inputs: jax.Array, convolve: Convolve) -> jax.Array:
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


def join_operators(groups: Sequence[Group]) -> list[Group]:
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
    parts = [slice(first, first + features) for first in range(0, outputs, features)]
    gates = [convolve(inputs[..., part], kernel[..., part], padding) for part in parts]
    return jnp.concatenate(gates, axis=-1)
