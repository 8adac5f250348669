import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recall_cases import bias_of

from e3d.kernels import everywhere
from e3d.kernels.recall import recall, recall_forward


def numpy_recall(gate, history, bias):
    """Softmax(R . S^T + b) . S read literally, one sequence at a time."""
    results = np.zeros(gate.shape)
    for row in range(gate.shape[0]):
        valid = bias[row] > -np.inf
        memories = history[row][valid].reshape(-1, gate.shape[-1])
        if not len(memories):
            continue
        logits = gate[row] @ memories.T + np.repeat(bias[row][valid], history.shape[2])
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        results[row] = weights / weights.sum(axis=1, keepdims=True) @ memories
    return results


def plain_recall(gate, history, valid, bias=0.0):
    """The same in JAX with every logit at once, for automatic differentiation."""
    memories = history.reshape(history.shape[0], -1, history.shape[-1])
    mask = jnp.repeat(valid, history.shape[2], axis=1)[:, None]
    bias = jnp.repeat(jnp.broadcast_to(bias, valid.shape), history.shape[2], axis=1)[:, None]
    logits = jnp.where(mask, jnp.einsum('bqc,bkc->bqk', gate, memories) + bias, -jnp.inf)
    return jax.nn.softmax(logits) @ memories


def example(dtype=np.float64, seed=0):
    generator = np.random.default_rng(seed)
    gate = generator.uniform(size=(3, 6, 4)).astype(dtype)
    history = generator.normal(size=(3, 5, 6, 4)).astype(dtype)
    return gate, history


VALID = {
    'all': np.ones((3, 5), bool),
    'a window': np.arange(5)[None].repeat(3, 0) > 2,
    'each sequence its own': np.arange(5)[None] < np.array([[1], [5], [3]]),
    'gaps': np.array([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0], [1, 1, 0, 0, 1]], bool),
}


@pytest.mark.parametrize('name', VALID)
def test_equals_numpy_and_its_gradient_equals_automatic_differentiation(name):
    gate, history = example()
    valid, bias = VALID[name], bias_of(VALID[name])
    some_bias = np.where(valid, bias, 1.0)
    with jax.enable_x64(True):
        found = recall(gate, history, valid, None, some_bias)
        np.testing.assert_allclose(found, numpy_recall(gate, history, bias), rtol=1e-12)
        np.testing.assert_allclose(
            recall(gate, history, valid),
            numpy_recall(gate, history, np.where(valid, 0, -np.inf)),
            rtol=1e-12,
        )
        weight = np.random.default_rng(1).normal(size=gate.shape)

        def gradients(function):
            def loss(gate, history, bias):
                return (function(gate, history, valid, bias=bias) * weight).sum()

            return jax.jit(jax.grad(loss, (0, 1, 2)))(gate, history, some_bias)

        for ours, plain in zip(gradients(recall), gradients(plain_recall), strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('slots', [2, 9])
@pytest.mark.parametrize('name', VALID)
def test_blocks_of_several_slots_give_the_same(name, slots):
    gate, history = example()
    valid, bias = VALID[name], bias_of(VALID[name])
    cotangent = np.random.default_rng(1).normal(size=gate.shape)
    spoilt = np.where(valid[:, :, None, None], history, np.nan)
    with jax.enable_x64(True):
        expected = everywhere.recall_forward(gate, history, bias)
        gradients = everywhere.recall_backward(gate, history, bias, *expected, cotangent)
        found = everywhere.recall_forward(gate, spoilt, bias, slots)
        of_blocks = everywhere.recall_backward(gate, spoilt, bias, *found, cotangent, slots)
    for ours, other in zip((*found, *of_blocks), (*expected, *gradients), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-14)


def test_an_empty_history_recalls_zero_and_has_zero_gradient():
    gate, history = example(np.float32)
    valid = np.zeros((3, 5), bool)
    assert not np.any(recall(gate, history, valid))
    gradient = jax.grad(lambda *arrays: recall(*arrays, valid).sum(), (0, 1))
    gradients = jax.jit(gradient)(gate, history)
    assert not any(np.any(gradient) for gradient in gradients)


def test_a_sequence_with_an_empty_history_beside_others_recalls_zero():
    gate, history = example(np.float32)
    valid = np.array([[False] * 5, [True] * 5, [False] * 5])
    recalled = np.asarray(recall(gate, history, valid))
    assert not recalled[0].any() and not recalled[2].any() and recalled[1].all()
    gradient = jax.jit(jax.grad(lambda history: recall(gate, history, valid).sum()))(history)
    assert np.isfinite(gradient).all() and not gradient[0].any() and gradient[1].any()


def test_slots_that_are_not_remembered_do_not_matter_even_if_not_finite():
    gate, history = example(np.float32)
    valid = VALID['a window']
    spoilt = np.where(valid[:, :, None, None], history, np.nan).astype(np.float32)
    np.testing.assert_array_equal(recall(gate, spoilt, valid), recall(gate, history, valid))


def test_large_logits_do_not_overflow():
    gate, history = example(np.float32)
    recalled, log_sum = recall_forward(gate, 1e4 * history, VALID['all'])
    assert np.isfinite(recalled).all() and np.isfinite(log_sum).all()


def test_statistics_of_bfloat16_are_float32():
    gate, history = example(np.float32)
    short = recall_forward(
        jnp.asarray(gate, jnp.bfloat16), jnp.asarray(history, jnp.bfloat16), VALID['all']
    )
    assert short[0].dtype == jnp.bfloat16 and short[1].dtype == jnp.float32
    np.testing.assert_allclose(
        short[0].astype(np.float32), recall(gate, history, VALID['all']), rtol=0.05, atol=0.02
    )


def test_nothing_as_large_as_all_logits_is_stored():
    batch, queries, slots, channels = 1, 64, 40, 4
    shapes = [(batch, queries, channels), (batch, slots, queries, channels)]
    gate, history = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    valid = jax.ShapeDtypeStruct((batch, slots), bool)

    def temporary_bytes(function):
        gradient = jax.grad(lambda *arrays: function(*arrays).sum(), (0, 1))
        compiled = jax.jit(gradient).lower(gate, history, valid).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    all_logits = 4 * batch * queries * slots * queries
    assert temporary_bytes(recall) < all_logits / 4 < all_logits < temporary_bytes(plain_recall)


def test_vmap_equals_a_loop():
    gate, history = example(np.float32)
    valid = VALID['each sequence its own']
    together = jax.jit(jax.vmap(recall))(gate[:, None], history[:, None], valid[:, None])[:, 0]
    np.testing.assert_allclose(together, recall(gate, history, valid), rtol=1e-5, atol=1e-6)
