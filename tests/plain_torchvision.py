"""torchvision's video networks read plainly: its names, its layout [B, C, T, H, W], its padding.

Widths are in proportion to `features`, 64 being those that are published.
"""

import jax
import jax.numpy as jnp
import numpy as np


class Weights(dict):
    """Tensors by name, drawn when they are first asked for."""

    def __init__(self):
        super().__init__()
        self._random = np.random.default_rng(0)

    def take(self, name, shape, low=-1.0, high=1.0):
        if name not in self:
            scale = np.sqrt(3 / np.prod(shape[1:])) if len(shape) > 1 else 1.0
            self[name] = (scale * self._random.uniform(low, high, shape)).astype(np.float32)
        return jnp.asarray(self[name])


def convolve(weights, name, x, features, kernel, strides=(1, 1, 1)):
    kernel_values = weights.take(f'{name}.weight', (features, x.shape[1], *kernel))
    padding = [(size // 2, size // 2) for size in kernel]
    layout = ('NCDHW', 'OIDHW', 'NCDHW')
    return jax.lax.conv_general_dilated(
        x, kernel_values, strides, padding, dimension_numbers=layout
    )


def normalize(weights, name, x, epsilon):
    size = (x.shape[1],)
    scale, var = (weights.take(f'{name}.{n}', size, 0.5, 1.5) for n in ('weight', 'running_var'))
    bias, mean = (weights.take(f'{name}.{n}', size) for n in ('bias', 'running_mean'))
    weights[f'{name}.num_batches_tracked'] = np.int64(7)
    scale, var, bias, mean = (v[:, None, None, None] for v in (scale, var, bias, mean))
    return (x - mean) / jnp.sqrt(var + epsilon) * scale + bias


def resnet(weights, x, kind, classes, features):
    """`kind`: 'r3d', 'mc3' or 'r2plus1d', with 18 layers."""

    def conv(name, norm, x, out, middle, stride, temporal):
        if kind == 'r2plus1d':
            space = (1, stride, stride)
            x = convolve(weights, f'{name}.0', x, middle, (1, 3, 3), space)
            x = jax.nn.relu(normalize(weights, f'{name}.1', x, 1e-5))
            x = convolve(weights, f'{name}.3', x, out, (3, 1, 1), (stride, 1, 1))
        else:
            depth, step = (3, stride) if temporal else (1, 1)
            x = convolve(weights, name, x, out, (depth, 3, 3), (step, stride, stride))
        return normalize(weights, norm, x, 1e-5)

    if kind == 'r2plus1d':
        x = convolve(weights, 'stem.0', x, 45 * features // 64, (1, 7, 7), (1, 2, 2))
        x = jax.nn.relu(normalize(weights, 'stem.1', x, 1e-5))
        x = convolve(weights, 'stem.3', x, features, (3, 1, 1))
        x = jax.nn.relu(normalize(weights, 'stem.4', x, 1e-5))
    else:
        x = convolve(weights, 'stem.0', x, features, (3, 7, 7), (1, 2, 2))
        x = jax.nn.relu(normalize(weights, 'stem.1', x, 1e-5))
    for stage in range(1, 5):
        out, temporal = features * 2 ** (stage - 1), kind != 'mc3' or stage == 1
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            name, given = f'layer{stage}.{block}', x.shape[1]
            middle = 27 * given * out // (9 * given + 3 * out)
            y = conv(f'{name}.conv1.0', f'{name}.conv1.1', x, out, middle, stride, temporal)
            y = jax.nn.relu(y)
            y = conv(f'{name}.conv2.0', f'{name}.conv2.1', y, out, middle, 1, temporal)
            if stride > 1:
                strides = (stride if temporal else 1, stride, stride)
                x = convolve(weights, f'{name}.downsample.0', x, out, (1, 1, 1), strides)
                x = normalize(weights, f'{name}.downsample.1', x, 1e-5)
            x = jax.nn.relu(x + y)
    x = x.mean(axis=(2, 3, 4))
    return x @ weights.take('fc.weight', (classes, x.shape[1])).T + weights.take(
        'fc.bias', (classes,)
    )


MIXED = [
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), 'pool',
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), 'pool',
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
]  # fmt: skip


def s3d(weights, x, kind, classes, features):
    def width(published):
        return max(1, published * features // 64)

    def unit(name, x, out, kernel=(1, 1, 1), strides=(1, 1, 1)):
        x = convolve(weights, f'{name}.0', x, out, kernel, strides)
        return jax.nn.relu(normalize(weights, f'{name}.1', x, 1e-3))

    def separable(name, x, out, side, stride=1):
        x = unit(f'{name}.0', x, out, (1, side, side), (1, stride, stride))
        return unit(f'{name}.1', x, out, (side, 1, 1), (stride, 1, 1))

    def pool(x, window, strides, padding):
        padding = [(0, 0), (0, 0), *((size, size) for size in padding)]
        window, strides = (1, 1, *window), (1, 1, *strides)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)

    x = separable('features.0', x, width(64), 7, 2)
    x = pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = unit('features.2', x, width(64))
    x = separable('features.3', x, width(192), 3)
    x = pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for index, sizes in enumerate(MIXED, 5):
        name = f'features.{index}'
        if sizes == 'pool':
            side = 3 if index == 7 else 2
            x = pool(x, (side,) * 3, (2, 2, 2), (side // 2 if side == 3 else 0,) * 3)
            continue
        a, b, c, d, e, f = map(width, sizes)
        second = unit(f'{name}.branch1.0', x, b)
        third = unit(f'{name}.branch2.0', x, d)
        pooled = pool(x, (3, 3, 3), (1, 1, 1), (1, 1, 1))
        branches = [
            unit(f'{name}.branch0', x, a),
            separable(f'{name}.branch1.1', second, c, 3),
            separable(f'{name}.branch2.1', third, e, 3),
            unit(f'{name}.branch3.1', pooled, f),
        ]
        x = jnp.concatenate(branches, axis=1)
    x = (x[:, :, :-1] + x[:, :, 1:]).mean(axis=(3, 4)) / 2  # mean over 2 x the whole frame
    kernel = weights.take('classifier.1.weight', (classes, x.shape[1], 1, 1, 1))[..., 0, 0, 0]
    scores = (
        jnp.einsum('bct,kc->bkt', x, kernel)
        + weights.take('classifier.1.bias', (classes,))[:, None]
    )
    return scores.mean(axis=-1)


NETWORKS = {'r3d': resnet, 'mc3': resnet, 'r2plus1d': resnet, 's3d': s3d}
