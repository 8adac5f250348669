"""What the tests of kernels for RECALL share: what is remembered, and what a GPU would be given."""

import jax
import numpy as np

from e3d.kernels import triton

VALID = {
    'all': np.ones((3, 5), bool),
    'each sequence its own, one nothing': np.arange(5)[None] < np.array([[0], [5], [3]]),
    'gaps': np.array([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0], [1, 1, 0, 0, 1]], bool),
}


def bias_of(valid):
    """A bias for each slot that is remembered, in float64; minus infinity for the others."""
    return np.where(valid, np.random.default_rng(2).normal(size=valid.shape), -np.inf)


def watch_branches(monkeypatch, capability, taken):
    """Gets the branches of each choice between platforms, once something is traced.

    Args:
      monkeypatch: of the test.
      capability: of the GPU that is compiled for.
      taken: the name of the branch that is computed.
    """
    chosen = {}

    def observe(*arrays, **branches):
        chosen.update(branches)
        return branches[taken](*arrays)

    monkeypatch.setattr(triton, '_capability', lambda: capability)
    monkeypatch.setattr(jax.lax, 'platform_dependent', observe)
    return chosen
