"""Parameters for tests of what a network computes, without compiling how they are initialized."""

import zlib

import jax
import numpy as np


def make_params(init, *arguments, dtype=np.float32, spread=0.1):
    """The tree that `init(key, *arguments)` would give, with values that differ from its own.

    They are about as large as those that training begins with: kernels by the size of their fan-in,
    scales 1, biases 0. A parameter that two networks have in one name and shape has the same values
    in both.

    Args:
      init: a module's, with its static arguments bound.
      *arguments: arrays, or their shapes and types.
      dtype: of the values.
      spread: standard deviation of what is added, so that none is at a special value like 0 or 1.
    """

    def fill(path, leaf):
        name = jax.tree_util.keystr(path)
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        values = spread * generator.normal(size=leaf.shape)
        if 'scale' in name:
            values = values + 1
        elif 'bias' not in name:
            values = values + generator.normal(size=leaf.shape) / np.prod(leaf.shape[:-1]) ** 0.5
        return values.astype(dtype)

    shapes = jax.eval_shape(init, jax.random.key(0), *arguments)
    return jax.tree_util.tree_map_with_path(fill, shapes)
