"""The kernel of NVIDIA GPUs, interpreted on a CPU, against the loop over remembered steps."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recall_cases

from e3d.kernels import everywhere, fused, recall

VALID = recall_cases.VALID | {'a window': np.arange(5)[None].repeat(3, 0) > 2}


def example(valid, dtype=np.float64):
    """Gate, history and cotangent; what is not remembered is no number."""
    generator = np.random.default_rng(0)
    gate = generator.uniform(size=(3, 48, 16)).astype(dtype)
    history = generator.normal(size=(3, 5, 48, 16)).astype(dtype)
    spoilt = np.where(valid[:, :, None, None], history, np.nan).astype(dtype)
    return gate, history, spoilt, generator.normal(size=gate.shape).astype(dtype)


@pytest.mark.parametrize('name', VALID)
def test_the_kernel_and_its_gradients_equal_the_loop(name):
    valid = VALID[name]
    gate, history, spoilt, cotangent = example(valid)
    bias = recall_cases.bias_of(valid)
    with jax.enable_x64(True):
        expected = everywhere.recall_forward(gate, history, bias)
        gradients = everywhere.recall_backward(gate, history, bias, *expected, cotangent)
        found = fused.recall_forward(gate, spoilt, bias, interpret=True)
        ours = fused.recall_backward(gate, spoilt, bias, *found, cotangent, interpret=True)
    for one, other in zip((*found, *ours), (*expected, *gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_bfloat16_states_have_float32_sums():
    gate, history, _, cotangent = (jnp.asarray(a, jnp.bfloat16) for a in example(VALID['all']))
    bias = np.zeros((3, 5), np.float32)
    recalled, log_sum = fused.recall_forward(gate, history, bias, interpret=True)
    *of_states, of_bias = fused.recall_backward(
        gate, history, bias, recalled, log_sum, cotangent, interpret=True
    )
    assert log_sum.dtype == of_bias.dtype == jnp.float32
    assert {array.dtype for array in (recalled, *of_states)} == {jnp.dtype(jnp.bfloat16)}
    expected = everywhere.recall_forward(gate, history, bias)
    np.testing.assert_allclose(log_sum, expected[1], rtol=1e-5)


@pytest.mark.parametrize(
    ('precision', 'dtype', 'rounded'),
    [
        ('highest', jnp.float32, 'TF32_TF32_F32_X3'),
        ('default', jnp.float32, '(Precision.DEFAULT, Precision.DEFAULT)'),
        ('highest', jnp.bfloat16, '(Precision.HIGHEST, Precision.HIGHEST)'),
    ],
)
def test_exact_products_of_float32_use_the_units_for_matrices(precision, dtype, rounded):
    shapes = [jax.ShapeDtypeStruct(array.shape, dtype) for array in example(VALID['all'])[:2]]
    traced = jax.make_jaxpr(fused.recall_forward, static_argnums=3)(
        *shapes, np.zeros((3, 5), np.float32), precision
    )
    assert set(re.findall(r'precision=(.*)', str(traced))) == {rounded}


@pytest.mark.parametrize(
    ('capability', 'shape', 'dtype', 'fit'),
    [
        (90, (3, 48, 16), np.float32, True),
        (90, (3, 48, 16), np.float64, False),
        (90, (3, 50, 16), np.float32, False),
        (90, (3, 48, 48), np.float32, False),
        (75, (3, 48, 16), np.float32, False),
    ],
)
def test_a_gpu_takes_the_kernel_where_it_fits_and_blocks_elsewhere(
    monkeypatch, capability, shape, dtype, fit
):
    chosen = recall_cases.watch_branches(monkeypatch, capability, 'cpu')
    gate = np.zeros(shape, dtype)
    with jax.enable_x64(True):
        recall.recall_forward(gate, np.zeros((3, 2, *shape[1:]), dtype), np.ones((3, 2), bool))
    assert chosen['cpu'].func is everywhere.recall_forward
    assert chosen['default'].keywords['slots'] >= 1
    assert ('cuda' in chosen) == fit
