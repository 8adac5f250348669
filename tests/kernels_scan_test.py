"""The time loop against a loop in Python and automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from e3d.kernels.convolution import Kernel, prepare_kernels, same_padding
from e3d.kernels.scan import scan_with_history

PADDING = same_padding((1, 3, 3))
STEPS = 5


def step(weights, carry, remembered, histories, x, operations):
    """Takes its kernel apart, and has a loop of its own around a convolution."""
    kernel = weights['kernel']
    gate = jnp.tanh(operations.convolve(x + carry, kernel[..., :2], PADDING))

    def inner(state, _):
        return jnp.tanh(operations.convolve(state, kernel[..., 2:], PADDING)), None

    state, _ = lax.scan(inner, gate, None, length=2)
    state = jnp.tanh(remembered[0] + state + operations.recall(gate, histories[0]))
    mixed = gate + (kernel * 2)[0, 1, 1, 0, 0] * state
    return mixed, (state,), operations.convolve(mixed, kernel[0:1, 1:2, 1:2], ((0, 0),) * 3)


def plain_loop(kernel, state, inputs, limit):
    def convolve(x, kernel):
        layout = ('NDHWC', 'DHWIO', 'NDHWC')
        return lax.conv_general_dilated(x, kernel, (1, 1, 1), 'SAME', dimension_numbers=layout)

    carry, states, outputs = jnp.zeros_like(state), [], []
    for x in inputs:
        gate = jnp.tanh(convolve(x + carry, kernel[..., :2]))
        inner = jnp.tanh(convolve(gate, kernel[..., 2:]))
        inner = jnp.tanh(convolve(inner, kernel[..., 2:]))
        recalled = 0
        if states:
            memory = jnp.concatenate([s.reshape(2, -1, 2) for s in states[-limit:]], axis=1)
            weights = jax.nn.softmax(gate.reshape(2, -1, 2) @ memory.swapaxes(1, 2))
            recalled = (weights @ memory).reshape(gate.shape)
        state = jnp.tanh(state + inner + recalled)
        states.append(state)
        carry = gate + 2 * kernel[0, 1, 1, 0, 0] * state
        outputs.append(convolve(carry, kernel[:, 1:2, 1:2]))
    return jnp.stack(outputs), state


@pytest.mark.parametrize(('policy', 'limit'), [('save', 4), ('save', 2), ('recompute', 2)])
def test_values_and_gradients_equal_a_plain_loop(policy, limit):
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        kernel = generator.normal(size=(1, 3, 3, 2, 4))
        state = generator.normal(size=(2, 1, 3, 4, 2))
        inputs = generator.normal(size=(STEPS, 2, 1, 3, 4, 2))

        def ours(kernel, state, inputs):
            weights = prepare_kernels({'kernel': Kernel(kernel)})
            arguments = (jnp.zeros_like(state), (state,), inputs)
            _, (last,), outputs = scan_with_history(step, limit, policy, weights, *arguments)
            return outputs, last

        def loss(function):
            def value(*arrays):
                outputs, last = function(*arrays)
                return jnp.square(outputs).sum() + last.sum(), outputs

            return jax.jit(jax.value_and_grad(value, (0, 1, 2), has_aux=True))

        found = loss(ours)(kernel, state, inputs)
        expected = loss(lambda *arrays: plain_loop(*arrays, limit))(kernel, state, inputs)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
        # Without a gradient the loop has another body, and a history of fewer slots.
        for one, other in zip(jax.jit(ours)(kernel, state, inputs), (found[0][1],), strict=False):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(('limit', 'slots'), [(2, 2), (9, STEPS - 1)])
def test_a_forecast_has_as_many_slots_as_recall_looks_back(limit, slots):
    state = jnp.zeros((2, 1, 3, 4, 2))
    seen = []

    def observe(weights, carry, remembered, histories, x, operations):
        seen.append(histories[0].states.shape)
        return carry, remembered, x

    scan_with_history(observe, limit, 'save', (), (), (state,), jnp.zeros((STEPS, 1)))
    assert set(seen) == {(2, slots, 12, 2)}
