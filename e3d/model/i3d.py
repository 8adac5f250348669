"""I3D: Inception-v1 whose filters and pools are inflated to 3D (Carreira and Zisserman, CVPR 2017).

| layer | filters | shape for 64 frames of 224 x 224 |
|---|---|---|
| Conv3d_1a_7x7 | 7x7x7, stride 2, 64 | 32 x 112 x 112 x 64 |
| max pool | 1x3x3, stride (1, 2, 2) | 32 x 56 x 56 x 64 |
| Conv3d_2b_1x1, Conv3d_2c_3x3 | 1x1x1, 64; 3x3x3, 192 | 32 x 56 x 56 x 192 |
| max pool | 1x3x3, stride (1, 2, 2) | 32 x 28 x 28 x 192 |
| Mixed_3b, 3c | see `MIXED` | 32 x 28 x 28 x 480 |
| max pool | 3x3x3, stride 2 | 16 x 14 x 14 x 480 |
| Mixed_4b to 4f | | 16 x 14 x 14 x 832 |
| max pool | 2x2x2, stride 2 | 8 x 7 x 7 x 832 |
| Mixed_5b, 5c | | 8 x 7 x 7 x 1024 |
| Logits | mean over 2 x 7 x 7, stride 1; 1x1x1 with bias; mean over time | classes |

Every convolution but the last has no bias and is followed by batch normalization with an offset and
no scale, then ReLU. Modules are named as in the released checkpoint, so that its weights fit as they
are; padding is TensorFlow's SAME, which for a stride of 2 and an even side is one more behind than
before. With 400 classes there are 12,689,984 parameters and 14,560 running statistics.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

LEAST_FRAMES = 9  # of which two are left for the last pool

# Filters of a block: 1x1x1 | 1x1x1 before 3x3x3 | 1x1x1 before 3x3x3 | 1x1x1 behind a max pool.
MIXED = {
    '3b': (64, (96, 128), (16, 32), 32),
    '3c': (128, (128, 192), (32, 96), 64),
    '4b': (192, (96, 208), (16, 48), 64),
    '4c': (160, (112, 224), (24, 64), 64),
    '4d': (128, (128, 256), (24, 64), 64),
    '4e': (112, (144, 288), (32, 64), 64),
    '4f': (256, (160, 320), (32, 128), 128),
    '5b': (256, (160, 320), (32, 128), 128),
    '5c': (384, (192, 384), (48, 128), 128),
}
# Window and strides of the max pools, by the layer that they stand behind.
POOLS = {
    '1a': ((1, 3, 3), (1, 2, 2)),
    '2c': ((1, 3, 3), (1, 2, 2)),
    '3c': ((3, 3, 3), (2, 2, 2)),
    '4f': ((2, 2, 2), (2, 2, 2)),
}


class Unit(nn.Module):
    """Convolution, batch normalization without scale, ReLU.

    Attributes:
      features: of the output.
      kernel: side of the cubic filter.
      stride: along time, height and width.
    """

    features: int
    kernel: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """From `[B, T, H, W, C]` to `[B, T / stride, H / stride, W / stride, features]`."""
        kernel, strides = (self.kernel,) * 3, (self.stride,) * 3
        x = nn.Conv(self.features, kernel, strides, 'SAME', use_bias=False, name='Conv_0')(x)
        normalize = nn.BatchNorm(
            not train, momentum=0.999, epsilon=1e-3, use_scale=False, name='BatchNorm_0'
        )
        return nn.relu(normalize(x))


class Branch(nn.Module):
    """Units after each other, behind a max pool where it is asked for.

    Attributes:
      units: name, features and side of the filter of each.
      pool: whether a max pool of 3x3x3, stride 1, goes before.
    """

    units: tuple[tuple[str, int, int], ...]
    pool: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """From `[B, T, H, W, C]` to the same with the features of the last unit."""
        if self.pool:
            x = nn.max_pool(x, (3, 3, 3), padding='SAME')
        for name, features, kernel in self.units:
            x = Unit(features, kernel, name=name)(x, train)
        return x


class Mixed(nn.Module):
    """An Inception block: four branches side by side.

    Attributes:
      block: a key of `MIXED`.
    """

    block: str

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """From `[B, T, H, W, C]` to the channels of all branches, in their order."""
        first, second, third, fourth = MIXED[self.block]
        branches = (
            Branch((('Conv3d_0a_1x1', first, 1),), name='Branch_0'),
            _bottleneck(second, 'Branch_1'),
            _bottleneck(third, 'Branch_2'),
            Branch((('Conv3d_0b_1x1', fourth, 1),), pool=True, name='Branch_3'),
        )
        return jnp.concatenate([branch(x, train) for branch in branches], axis=-1)


class Logits(nn.Module):
    """Mean over two steps and the whole frame, dropout, a linear layer, mean over time.

    Attributes:
      classes: how many.
      dropout: share of the features that are set to zero in training.
    """

    classes: int
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """From `[B, T, H, W, C]`, T >= 2, to `[B, classes]`."""
        x = nn.avg_pool(x, (2, *x.shape[2:4]))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return _Linear(self.classes, name='Conv3d_0c_1x1')(x).mean(axis=(1, 2, 3))


class I3D(nn.Module):
    """The network of frames alone, of the two of the paper.

    Attributes:
      classes: how many.
      dropout: before the last layer.
    """

    classes: int = 400
    dropout: float = 0.5

    @nn.compact
    def __call__(self, frames: Array, train: bool = False) -> Array:
        """Scores the classes of clips.

        Args:
          frames: `[B, T, H, W, 3]` in [-1, 1], T >= `LEAST_FRAMES`; published for 224 x 224.
          train: normalizes by the batch and drops features.

        Returns:
          `[B, classes]`, before the softmax.
        """
        x = _pool(Unit(64, 7, 2, name='Conv3d_1a_7x7')(frames, train), '1a')
        x = Unit(64, name='Conv3d_2b_1x1')(x, train)
        x = _pool(Unit(192, 3, name='Conv3d_2c_3x3')(x, train), '2c')
        for block in MIXED:
            x = _pool(Mixed(block, name=f'Mixed_{block}')(x, train), block)
        return Logits(self.classes, self.dropout, name='Logits')(x, train)


class _Linear(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.Conv(self.classes, (1, 1, 1), name='Conv_0')(x)


def _bottleneck(features: tuple[int, int], name: str) -> Branch:
    narrow, wide = features
    return Branch((('Conv3d_0a_1x1', narrow, 1), ('Conv3d_0b_3x3', wide, 3)), name=name)


def _pool(x: Array, behind: str) -> Array:
    if behind not in POOLS:
        return x
    window, strides = POOLS[behind]
    return nn.max_pool(x, window, strides, 'SAME')
