"""Trees of arrays as few arrays."""

import jax
import jax.numpy as jnp
import numpy as np

from e3d.kernels.bundles import bundle

TREE = {
    'a': jnp.arange(12.0).reshape(2, 3, 2),
    'b': [jnp.arange(6.0).reshape(2, 3), -jnp.arange(24.0).reshape(2, 3, 4), None],
    'c': (jnp.int32(3), jnp.arange(12).reshape(2, 3, 2), jnp.float32(2), jnp.arange(3.0)),
    'd': 1 + jnp.arange(12.0).reshape(2, 3, 2),
    'e': jnp.ones((2, 3, 1), jnp.bfloat16),
}


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_arrays_that_differ_in_the_last_axis_are_one_on_accelerators(as_on_accelerators):
    del as_on_accelerators
    found = bundle(TREE)
    same(found.tree(), TREE)
    shapes = [array.shape for array in found.arrays]
    assert sorted(shapes) == sorted([(2, 3, 8), (2, 3), (), (2, 3, 2), (), (3,), (2, 3, 1)])


def test_a_cpu_has_each_array_as_it_is():
    found = bundle(TREE)
    same(found.tree(), TREE)
    assert len(found.arrays) == len(jax.tree.leaves(TREE))


def test_a_loop_stacks_bundles_and_takes_them_apart(as_on_accelerators):
    del as_on_accelerators

    def write(number, _):
        return number + 1, bundle(jax.tree.map(lambda leaf: leaf * number.astype(leaf.dtype), TREE))

    def read(_, one):
        return None, one.tree()

    _, stacked = jax.lax.scan(write, jnp.int32(0), length=3)
    _, trees = jax.lax.scan(read, None, stacked)
    same(jax.tree.map(lambda leaf: leaf[2], trees), jax.tree.map(lambda leaf: 2 * leaf, TREE))
