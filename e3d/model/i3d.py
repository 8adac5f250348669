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

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.model.clip_layers import ConvUnit, SlidingHead
from e3d.model.clip_recognizer import ClipRecognizer
from e3d.model.needs import Training
from e3d.model.registry import register_recognizer

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
# Of the running statistics. The released code has 0.999, for 110,000 updates: after 1,000 a third of
# them would still be what they began with, and a short training be evaluated with wrong ones.
MOMENTUM = 0.99
# Window and strides of the max pools, by the layer that they stand behind.
POOLS = {
    '1a': ((1, 3, 3), (1, 2, 2)),
    '2c': ((1, 3, 3), (1, 2, 2)),
    '3c': ((3, 3, 3), (2, 2, 2)),
    '4f': ((2, 2, 2), (2, 2, 2)),
}


class Branch(nn.Module):
    """Units after each other, behind a max pool where it is asked for.

    Attributes:
      units: name, features and side of the cubic filter of each.
      pool: whether a max pool of 3x3x3, stride 1, goes before.
      dtype: type of the computation.
    """

    units: tuple[tuple[str, int, int], ...]
    pool: bool = False
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array, training: Training | None = None) -> jax.Array:
        """From `[B, T, H, W, C]` to the same with the features of the last unit."""
        if self.pool:
            x = nn.max_pool(x, (3, 3, 3), padding='SAME')
        for name, features, side in self.units:
            x = unit(name, features, side, dtype=self.dtype)(x, training)
        return x


class Mixed(nn.Module):
    """An Inception block: four branches side by side.

    Attributes:
      filters: a value of `MIXED`.
      dtype: type of the computation.
    """

    filters: tuple
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array, training: Training | None = None) -> jax.Array:
        """From `[B, T, H, W, C]` to the channels of all branches, in their order."""
        first, second, third, fourth = self.filters
        units = (
            (('Conv3d_0a_1x1', first, 1),),
            (('Conv3d_0a_1x1', second[0], 1), ('Conv3d_0b_3x3', second[1], 3)),
            (('Conv3d_0a_1x1', third[0], 1), ('Conv3d_0b_3x3', third[1], 3)),
            (('Conv3d_0b_1x1', fourth, 1),),
        )
        branches = [
            Branch(own, pool=index == 3, dtype=self.dtype, name=f'Branch_{index}')
            for index, own in enumerate(units)
        ]
        return jnp.concatenate([branch(x, training) for branch in branches], axis=-1)


@register_recognizer('i3d')
class I3D(ClipRecognizer):
    """The network of frames alone, of the two of the paper; published for 64 frames of 224 x 224.

    Attributes:
      classes, clip_frames, features, dropout, dtype, precision: as in `ClipRecognizer`.
    """

    clip_frames: int = 64

    @property
    def least_frames(self) -> int:
        """See `LEAST_FRAMES`."""
        return LEAST_FRAMES

    @nn.nowrap
    def prepare(self, frames: jax.Array) -> jax.Array:
        """From [0, 1] to [-1, 1]."""
        return 2.0 * frames - 1.0

    @nn.compact
    def score(self, clips: jax.Array, training: Training | None = None) -> jax.Array:
        """Scores of clips `[N, T, H, W, 3]` in [-1, 1], `[N, classes]`."""
        x = unit('Conv3d_1a_7x7', self.scaled(64), 7, (2, 2, 2), self.dtype)(clips, training)
        x = nn.max_pool(x, *POOLS['1a'], 'SAME')
        x = unit('Conv3d_2b_1x1', self.scaled(64), 1, dtype=self.dtype)(x, training)
        x = unit('Conv3d_2c_3x3', self.scaled(192), 3, dtype=self.dtype)(x, training)
        x = nn.max_pool(x, *POOLS['2c'], 'SAME')
        for name, filters in MIXED.items():
            filters = scaled_filters(self, filters)
            x = Mixed(filters, self.dtype, name=f'Mixed_{name}')(x, training)
            if name in POOLS:
                x = nn.max_pool(x, *POOLS[name], 'SAME')
        return SlidingHead(self.classes, self.dropout, self.dtype, name='Logits')(x, training)


def unit(
    name: str,
    features: int,
    side: int,
    strides: tuple[int, int, int] = (1, 1, 1),
    dtype: str = 'float32',
) -> ConvUnit:
    """A convolution as all of this network are."""
    return ConvUnit(
        features,
        (side,) * 3,
        strides,
        scale=False,
        epsilon=1e-3,
        momentum=MOMENTUM,
        dtype=dtype,
        name=name,
    )


def scaled_filters(model: ClipRecognizer, filters: tuple) -> tuple:
    """The filters of a block in proportion to the `features` of a model."""
    return jax.tree.map(model.scaled, filters)
