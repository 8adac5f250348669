"""FVD: the Frechet video distance (Unterthiner et al., 2018).

The Frechet distance of the logits that I3D, trained on Kinetics-400, gives to true and to forecast
clips. As in the authors' program, frames of any size are resized to 224 x 224 by bilinear
interpolation whose corners are not aligned and whose pixels have their value at their upper left
corner, as TensorFlow 1 had it; then [0, 1] becomes [-1, 1].

The number falls with the number of clips, about as 1/N, and depends on their length and size:
compare it only with numbers of the same. Fewer than 401 clips leave a covariance of 400 logits
without full rank; the formula holds all the same.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from e3d.evaluation.perceptual.packaged import I3D_KINETICS_400, load_weights
from e3d.model.i3d import I3D

SIDE = 224  # of the frames that I3D was trained on
LOGITS = 400


@functools.cache
def load_i3d() -> dict[str, Any]:
    """The variables of `I3D(400)`: 'params' and 'batch_stats'.

    Raises:
      InputError: see `load_weights`.
    """
    flat = flatten_dict(load_weights(I3D_KINETICS_400), sep='/')  # 'Branch_0/...' is one key there
    weights = unflatten_dict(flat, sep='/')
    statistics = jax.tree.map(np.ravel, weights['batch_stats'])
    return {'params': weights['params'], 'batch_stats': statistics}


def clip_logits(variables: dict[str, Any], clips: Array) -> Array:
    """The logits of Kinetics-400. Can be jitted.

    Args:
      variables: of `load_i3d`.
      clips: `[B, T, H, W, C]` in [0, 1], T >= 9, C = 1 or 3.

    Returns:
      Float32 `[B, 400]`.
    """
    clips = resize(clips.astype(jnp.float32), SIDE)
    clips = jnp.broadcast_to(clips, (*clips.shape[:-1], 3))
    with jax.default_matmul_precision('float32'):
        return jnp.asarray(I3D(LOGITS).apply(variables, 2.0 * clips - 1.0, method='score'))


def resize(frames: Array, side: int) -> Array:
    """`[..., H, W, C]` to `[..., side, side, C]`, as the head of this file says."""
    rows, columns = (_interpolation(size, side) for size in frames.shape[-3:-1])
    with jax.default_matmul_precision('float32'):
        return jnp.einsum('ih,jw,...hwc->...ijc', rows, columns, frames)


def _interpolation(size: int, side: int) -> np.ndarray:
    """The weights `[side, size]` of the pixels of a line in each of the new ones."""
    places = np.arange(side) * (size / side)
    before = places.astype(int)
    behind = np.minimum(before + 1, size - 1)
    share = places - before
    weights = np.zeros((side, size), np.float32)
    np.add.at(weights, (np.arange(side), before), 1.0 - share)
    np.add.at(weights, (np.arange(side), behind), share)
    return weights
