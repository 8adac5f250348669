"""RECALL at and around the same place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_network import are_near
from plain_network import recall as plain_recall
from recall_cases import bias_of

from e3d.kernels.recall import recall, recall_again, recall_forward

SHAPE = (3, 2, 4, 5, 3)  # B, D, H, W, C
SLOTS = 4
VALID = {
    'all': np.ones(SLOTS, bool),
    'a window': np.array([0, 0, 1, 1], bool),
    'gaps': np.array([1, 0, 0, 1], bool),
}
EACH = np.arange(SLOTS) < np.array([[1], [4], [2]])


def example(dtype=np.float64, shape=SHAPE):
    generator = np.random.default_rng(0)
    gate = generator.uniform(size=shape).astype(dtype)
    positions = int(np.prod(shape[1:4]))
    history = generator.normal(size=(shape[0], SLOTS, positions, shape[-1])).astype(dtype)
    return gate, history


def for_all(valid):
    return jnp.broadcast_to(valid, (SHAPE[0], SLOTS))


def literally(gate, history, valid, radius, bias):
    """The equation, one position at a time."""
    states = history.reshape(*history.shape[:2], *gate.shape[1:])
    recalled = np.zeros_like(gate)
    for b, d, y, x in np.ndindex(gate.shape[:-1]):
        rows = slice(max(y - radius, 0), y + radius + 1)
        columns = slice(max(x - radius, 0), x + radius + 1)
        keys = states[b, valid[b], d, rows, columns]
        if len(keys):
            near = keys.shape[1] * keys.shape[2]
            keys = keys.reshape(-1, gate.shape[-1])
            weights = np.exp(keys @ gate[b, d, y, x] + np.repeat(bias[b, valid[b]], near))
            recalled[b, d, y, x] = weights / weights.sum() @ keys
    return recalled


@pytest.mark.parametrize('radius', [0, 1, 2, 6])
def test_equals_the_equation_where_each_sequence_remembers_its_own(radius):
    gate, history = example()
    with jax.enable_x64(True):
        for bias in (None, np.where(EACH, bias_of(EACH), 1.0)):
            found = jax.jit(recall, static_argnums=3)(gate, history, EACH, radius, bias)
            added = np.zeros(EACH.shape) if bias is None else bias
            expected = literally(gate, history, EACH, radius, added)
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize('radius', [0, 1, 2])
@pytest.mark.parametrize('name', VALID)
def test_gradients_equal_automatic_differentiation(name, radius):
    gate, history = example()
    valid = VALID[name]
    with jax.enable_x64(True):
        weight = np.random.default_rng(1).normal(size=gate.shape)
        near = are_near(gate.shape[1:4], radius)
        bias = np.random.default_rng(2).normal(size=SLOTS)
        kept = recall_forward(gate, history, for_all(valid), radius, for_all(bias))

        def plain(gate, history, bias):
            states = history.reshape(3, SLOTS, *gate.shape[1:])
            return plain_recall(gate, states, valid, near, bias)

        def gradients(function):
            return jax.jit(jax.grad(lambda *arrays: (function(*arrays) * weight).sum(), (0, 1, 2)))(
                gate, history, bias
            )

        expected = gradients(plain)
        for function in (
            lambda gate, history, bias: recall(
                gate, history, for_all(valid), radius, for_all(bias)
            ),
            lambda gate, history, bias: recall_again(
                gate, history, for_all(valid), *kept, radius, for_all(bias)
            ),
        ):
            for ours, other in zip(gradients(function), expected, strict=True):
                np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-12)


def test_a_radius_over_the_whole_frame_is_everywhere_at_depth_1():
    gate, history = example(shape=(3, 1, 4, 5, 3))
    with jax.enable_x64(True):
        compiled = jax.jit(recall, static_argnums=3)
        found, everywhere = (compiled(gate, history, EACH, radius) for radius in (4, None))
        np.testing.assert_allclose(found, everywhere, rtol=1e-12)


@pytest.mark.parametrize('radius', [0, 1, 2])
def test_nothing_outside_the_radius_is_seen(radius):
    gate, history = example(np.float32)

    def at_one_position(history):
        return recall(gate, history, for_all(VALID['all']), radius)[0, 1, 1, 3].sum()

    gradient = np.asarray(jax.jit(jax.grad(at_one_position))(history))
    gradient = gradient.reshape(3, SLOTS, *SHAPE[1:])
    seen = np.abs(gradient).max(axis=(1, 5)) > 0
    expected = np.zeros(seen.shape, bool)
    expected[0, 1, max(1 - radius, 0) : 2 + radius, max(3 - radius, 0) : 4 + radius] = True
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize('radius', [0, 1])
def test_what_is_not_remembered_does_not_matter(radius):
    gate, history = example(np.float32)
    valid = for_all(VALID['gaps']) & np.array([[True], [False], [True]])
    spoilt = np.where(valid[:, :, None, None], history, np.float32(1e4))

    def value(gate, history):
        return jnp.square(recall(gate, history, valid, radius)).sum()

    compute = jax.jit(jax.value_and_grad(value, (0, 1)))
    found = compute(gate, spoilt)
    expected = compute(gate, np.where(spoilt == 1e4, np.float32(0), spoilt))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert not np.any(recall(gate, spoilt, valid, radius)[1])
    assert not np.any(found[1][0][1]) and np.all(np.any(found[1][0][0], axis=-1))


def test_large_logits_do_not_overflow_and_sums_of_bfloat16_are_float32():
    gate, history = example(np.float32)
    valid = for_all(VALID['all'])
    assert all(np.isfinite(x).all() for x in recall_forward(gate, 1e4 * history, valid, 1))
    short = [jnp.asarray(array, jnp.bfloat16) for array in (gate, history)]
    recalled, log_sum = recall_forward(*short, valid, 1)
    assert recalled.dtype == jnp.bfloat16 and log_sum.dtype == jnp.float32
    exact = recall(*(array.astype(jnp.float32) for array in short), valid, 1)
    np.testing.assert_array_equal(recalled, exact.astype(jnp.bfloat16))
    gradient = jax.grad(lambda *arrays: recall(*arrays, valid, 1).sum(), (0, 1))
    gradients = jax.eval_shape(gradient, *short)
    assert {gradient.dtype for gradient in gradients} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize('radius', [0, 3])
def test_temporaries_are_of_the_size_of_the_history(radius):
    shapes = [(1, 1, 16, 16, 8), (1, 20, 256, 8)]
    gate, history = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    valid = jax.ShapeDtypeStruct((1, 20), bool)

    def loss(gate, history, valid):
        return recall(gate, history, valid, radius).sum()

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(gate, history, valid).compile()
    states, shifts = 4 * 20 * 256 * 8, (2 * radius + 1) ** 2
    logits = 4 * 20 * 256 * (shifts if radius else 256)
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * states < 0.7 * logits


def test_no_loop_depends_on_the_data():
    gate, history = example(np.float32)
    for radius in (0, 2):
        gradient = jax.grad(lambda *arrays: recall(*arrays, radius).sum(), (0, 1))  # noqa: B023
        assert 'while[' not in str(jax.make_jaxpr(gradient)(gate, history, EACH))


def test_vmap_equals_a_loop():
    gate, history = example(np.float32)
    mapped = jax.jit(jax.vmap(lambda *arrays: recall(*arrays, 1)))
    together = mapped(gate[:, None], history[:, None], EACH[:, None])[:, 0]
    np.testing.assert_allclose(together, recall(gate, history, EACH, 1), rtol=1e-5, atol=1e-6)
