"""The kernel of NVIDIA GPUs for RECALL in place, interpreted on a CPU, against what others are given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recall_cases import VALID, bias_of, watch_branches

from e3d.kernels import in_place, nearby, recall


def example(dtype=np.float64):
    """Gate, history and cotangent."""
    generator = np.random.default_rng(0)
    gate = generator.uniform(size=(3, 2, 4, 6, 16)).astype(dtype)
    history = generator.normal(size=(3, 5, 48, 16)).astype(dtype)
    return gate, history, generator.normal(size=gate.shape).astype(dtype)


@pytest.mark.parametrize('name', VALID)
def test_the_kernel_and_its_gradients_equal_the_plain_sums(name):
    valid = VALID[name]
    bias = bias_of(valid)
    gate, history, cotangent = example()
    spoilt = np.where(valid[:, :, None, None], history, np.nan)
    with jax.enable_x64(True):
        expected = nearby.recall_forward(gate, history, bias, 0)
        gradients = nearby.recall_backward(gate, history, bias, *expected, cotangent, 0)
        found = in_place.recall_forward(gate, spoilt, bias, interpret=True)
        ours = in_place.recall_backward(gate, spoilt, bias, *found, cotangent, interpret=True)
    for one, other in zip((*found, *ours), (*expected, *gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_bfloat16_states_have_float32_sums():
    bias = np.zeros((3, 5), np.float32)
    gate, history, cotangent = (jnp.asarray(array, jnp.bfloat16) for array in example())
    found = in_place.recall_forward(gate, history, bias, interpret=True)
    ours = in_place.recall_backward(gate, history, bias, *found, cotangent, interpret=True)
    expected = nearby.recall_forward(gate, history, bias, 0)
    gradients = nearby.recall_backward(gate, history, bias, *expected, cotangent, 0)
    for one, other in zip((*found, *ours), (*expected, *gradients), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(*(a.astype(np.float32) for a in (one, other)), rtol=1e-2)


@pytest.mark.parametrize(
    ('capability', 'radius', 'fit'), [(90, 0, True), (90, 1, False), (75, 0, False)]
)
def test_a_gpu_takes_the_kernel_in_place_only(monkeypatch, capability, radius, fit):
    chosen = watch_branches(monkeypatch, capability, 'default')
    gate, history, _ = example(np.float32)
    recall.recall_forward(gate, history, VALID['all'], radius)
    assert chosen.get('cuda') is (in_place.recall_forward if fit else None)
