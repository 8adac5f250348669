"""S3D and S3D-G: I3D whose 3D convolutions are separated into space and time (Xie et al., ECCV 2018).

The layers are those of I3D (see `e3d.model.i3d`); one of k x k x k is 1 x k x k and then
k x 1 x 1, both with as many channels as the output. Two forms are in use:

| | `form='torchvision'` | `form='slim'`, the authors' |
|---|---|---|
| first layer | separated | one 3D convolution, `stem` x 7 x 7 with `stem` 3 or 7 |
| after k x 1 x 1 | batch normalization, ReLU | bias, ReLU; it begins as the identity |
| batch normalization | scale and offset | offset |
| padding | half the kernel on both sides | TensorFlow's SAME |

S3D-G (`gates=True`) weighs channels after the layer 2c and every branch by what the whole clip holds:
`y = x * sigmoid(W mean(x))`, W without bias. Parameters with 400 classes: 8,320,048
(torchvision), 8,299,520 (slim, stem 3), 9,518,848 (slim, stem 3, gates).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.clips import convolve_clips
from e3d.model.clip_layers import ConvUnit, SlidingHead, symmetric
from e3d.model.clip_recognizer import ClipRecognizer
from e3d.model.i3d import LEAST_FRAMES, MIXED, MOMENTUM, POOLS, scaled_filters
from e3d.model.needs import Training
from e3d.model.registry import register_recognizer
from e3d.options.option import option
from e3d.options.rules import SWITCH, one_of

FORMS = ('torchvision', 'slim')
STEMS = (3, 7)


def identity_in_time(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """A kernel `[k, 1, 1, C, C]` that hands on what it gets."""
    del key
    kernel = jnp.zeros(shape, dtype)
    return kernel.at[shape[0] // 2, 0, 0].set(jnp.eye(shape[-2], shape[-1], dtype=dtype))


class Gate(nn.Module):
    """Weighs every channel by what the whole clip holds, see the head of this file.

    Attributes:
      dtype: type of the computation.
    """

    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """From `[B, T, H, W, C]` to the same."""
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        weigh = nn.Dense(x.shape[-1], use_bias=False, dtype=self.dtype, name='weigh')
        return x * nn.sigmoid(weigh(mean))


@register_recognizer('s3d')
class S3D(ClipRecognizer):
    """S3D, or with `gates` S3D-G.

    Attributes:
      form, stem, gates: see their options.
      classes, clip_frames, features, dropout, dtype, precision: as in `ClipRecognizer`.
    """

    form: str = option('torchvision', 'which of the two forms', one_of(*FORMS))
    stem: int = option(3, 'frames of the first filter in the slim form', one_of(*STEMS))
    gates: bool = option(False, 'whether channels are weighed (S3D-G)', SWITCH)
    clip_frames: int = 64
    dropout: float = 0.2

    @property
    def least_frames(self) -> int:
        """Two are left behind the last pool."""
        return LEAST_FRAMES if self.form == 'slim' else 13

    @property
    def least_side(self) -> int:
        """One is left behind the last pool, which in torchvision's form is not padded."""
        return 1 if self.form == 'slim' else 17

    @nn.compact
    def score(self, clips: jax.Array, training: Training | None = None) -> jax.Array:
        """Scores of prepared clips `[N, T, H, W, 3]`, `[N, classes]`."""
        if self.form == 'slim':
            kernel = (self.stem, 7, 7)
            x = self.unit(self.scaled(64), kernel, 'layer_1a', strides=(2, 2, 2))(clips, training)
        else:
            x = self.separated(clips, self.scaled(64), 7, 'layer_1a', training, stride=2)
        x = self.pool(x, '1a')
        x = self.unit(self.scaled(64), (1, 1, 1), 'layer_2b')(x, training)
        x = self.gated(self.separated(x, self.scaled(192), 3, 'layer_2c', training), 'layer_2c')
        x = self.pool(x, '2c')
        for name, filters in MIXED.items():
            x = self.pool(self.mixed(x, scaled_filters(self, filters), name, training), name)
        return SlidingHead(self.classes, self.dropout, self.dtype, name='head')(x, training)

    @nn.nowrap
    def mixed(
        self, x: jax.Array, filters: tuple, name: str, training: Training | None
    ) -> jax.Array:
        """An Inception block, see `MIXED`."""
        first, second, third, fourth = filters
        name = f'mixed_{name}'
        branches = [self.unit(first, (1, 1, 1), f'{name}_0')(x, training)]
        for index, (narrow, wide) in ((1, second), (2, third)):
            branch = self.unit(narrow, (1, 1, 1), f'{name}_{index}_narrow')(x, training)
            branches.append(self.separated(branch, wide, 3, f'{name}_{index}', training))
        pooled = nn.max_pool(x, (3, 3, 3), padding='SAME')
        branches.append(self.unit(fourth, (1, 1, 1), f'{name}_3')(pooled, training))
        branches = [self.gated(branch, f'{name}_{i}') for i, branch in enumerate(branches)]
        return jnp.concatenate(branches, axis=-1)

    @nn.nowrap
    def unit(self, features: int, kernel: tuple[int, ...], name: str, **options: Any) -> ConvUnit:
        """A convolution with its normalization and ReLU."""
        slim = self.form == 'slim'
        return ConvUnit(
            features,
            kernel,
            padding='SAME' if slim else symmetric(kernel),
            scale=not slim,
            epsilon=1e-3,
            momentum=MOMENTUM,
            dtype=self.dtype,
            name=name,
            **options,
        )

    @nn.nowrap
    def separated(
        self,
        x: jax.Array,
        features: int,
        side: int,
        name: str,
        training: Training | None,
        stride: int = 1,
    ) -> jax.Array:
        """1 x side x side, then side x 1 x 1."""
        space = self.unit(features, (1, side, side), f'{name}_space', strides=(1, stride, stride))
        x, kernel = space(x, training), (side, 1, 1)
        if self.form == 'torchvision':
            return self.unit(features, kernel, f'{name}_time', strides=(stride, 1, 1))(x, training)
        convolution = nn.Conv(
            features,
            kernel,
            kernel_init=identity_in_time,
            dtype=self.dtype,
            conv_general_dilated=convolve_clips,
            name=f'{name}_time',
        )
        return nn.relu(convolution(x))

    @nn.nowrap
    def gated(self, x: jax.Array, name: str) -> jax.Array:
        """Weighed channels, with `gates`."""
        return Gate(self.dtype, name=f'{name}_gate')(x) if self.gates else x

    @nn.nowrap
    def pool(self, x: jax.Array, behind: str) -> jax.Array:
        """The max pool behind a layer, if there is one."""
        if behind not in POOLS:
            return x
        window, strides = POOLS[behind]
        if self.form == 'slim':
            return nn.max_pool(x, window, strides, 'SAME')
        padding = [(size // 2, size // 2) if size == 3 else (0, 0) for size in window]
        return nn.max_pool(x, window, strides, padding)
