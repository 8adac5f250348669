"""LPIPS v0.1: how different two pictures look (Zhang et al., CVPR 2018).

Both pictures go through a network that was trained to classify. Behind five of its layers the
features of every position are brought to length one; LPIPS is the sum over the layers of

    mean over positions of sum_c w_c (f_c / |f| - g_c / |g|)^2,    w_c >= 0,

with weights w that were fitted to the judgment of people. The authors' program, at its default
(AlexNet, pictures in [-1, 1]), gives the same numbers; codes that feed [0, 1] print lower ones.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from e3d.evaluation.perceptual.packaged import ALEXNET, VGG16, load_weights

LEAST_SIDE = 31  # of AlexNet, whose second pool would have nothing left

# Of the classifier's training set, for pictures in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

Network = Literal['alex', 'vgg']

# Convolutions as (stride, padding), in order; 'pool' is a max pool, 'tap' is compared.
_ALEXNET = (
    (4, 2), 'tap', 'pool', (1, 2), 'tap', 'pool', (1, 1), 'tap', (1, 1), 'tap', (1, 1), 'tap',
)  # fmt: skip
_PAIR, _TRIPLE = ((1, 1),) * 2, ((1, 1),) * 3
_VGG16 = (
    *_PAIR, 'tap', 'pool', *_PAIR, 'tap', 'pool', *_TRIPLE, 'tap', 'pool', *_TRIPLE, 'tap', 'pool',
    *_TRIPLE, 'tap',
)  # fmt: skip
# Weights, their name for the trunk, layers, side of the pools' window.
_NETWORKS = {'alex': (ALEXNET, 'AlexNet_0', _ALEXNET, 3), 'vgg': (VGG16, 'VGG16_0', _VGG16, 2)}


@functools.cache
def load_lpips(network: Network = 'alex') -> dict[str, Any]:
    """The weights of a network and its heads, float32.

    Raises:
      InputError: see `load_weights`.
    """
    return load_weights(_NETWORKS[network][0])


def lpips(weights: dict[str, Any], x: Array, y: Array, network: Network = 'alex') -> Array:
    """The distance of pictures. Can be jitted with `network` static.

    Args:
      weights: of `load_lpips`.
      x: `[..., H, W, C]` in [0, 1], C = 1 (gray) or 3 (red, green, blue), each side of at least
        `LEAST_SIDE` pixels.
      y: of the same shape.
      network: 'alex' is what papers report; 'vgg' is the one for use as a loss.

    Returns:
      Float32 `[...]`, 0 where the pictures are equal.
    """
    features = [extract(weights, picture, network) for picture in (x, y)]
    return compare(weights, *features).reshape(x.shape[:-3])


def extract(weights: dict[str, Any], pictures: Array, network: Network = 'alex') -> list[Array]:
    """What is compared of pictures `[..., H, W, C]`: features `[N, h, w, c]` of each layer."""
    # Strict float32: the faster products of accelerators change the second digit.
    with jax.default_matmul_precision('float32'):
        return _features(weights, _prepare(pictures), network)


def compare(weights: dict[str, Any], x: list[Array], y: list[Array]) -> Array:
    """The distances `[N]` of pictures whose features `extract` gave."""
    total = jnp.zeros(())
    with jax.default_matmul_precision('float32'):
        for index, (f, g) in enumerate(zip(x, y, strict=True)):
            head = jnp.asarray(weights[f'NetLinLayer_{index}']['Conv_0']['kernel'])[0, 0, :, 0]
            squares = jnp.square(_unit_length(f) - _unit_length(g))
            total += (squares @ head).mean(axis=(1, 2))
    return total


def _prepare(picture: Array) -> Array:
    """`[..., H, W, C]` in [0, 1] as `[N, H, W, 3]`, as the classifier knows them."""
    picture = jnp.broadcast_to(picture, (*picture.shape[:-1], 3)).astype(jnp.float32)
    picture = picture.reshape(-1, *picture.shape[-3:])
    return (2.0 * picture - 1.0 - np.array(SHIFT, np.float32)) / np.array(SCALE, np.float32)


def _features(weights: dict[str, Any], x: Array, network: Network) -> list[Array]:
    _, trunk, layers, window = _NETWORKS[network]
    taps, count = [], 0
    for layer in layers:
        if layer == 'tap':
            taps.append(x)
        elif layer == 'pool':
            x = jax.lax.reduce_window(
                x, -jnp.inf, jax.lax.max, (1, window, window, 1), (1, 2, 2, 1), 'VALID'
            )
        else:
            stride, padding = map(int, layer)
            parameters = weights[trunk][f'Conv_{count}']
            x = jax.lax.conv_general_dilated(
                x,
                jnp.asarray(parameters['kernel']),
                (stride, stride),
                ((padding, padding),) * 2,
                dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            )
            x = jax.nn.relu(x + parameters['bias'])
            count += 1
    return taps


def _unit_length(features: Array) -> Array:
    return features / (jnp.linalg.norm(features, axis=-1, keepdims=True) + 1e-10)
