"""The layers that the published networks of video recognition are made of."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.clips import convolve_clips
from e3d.model.dropping import Dropout
from e3d.model.needs import Training

Sizes = tuple[int, int, int]


def symmetric(kernel: Sequence[int]) -> list[tuple[int, int]]:
    """The padding of PyTorch's networks: half the kernel on both sides, whatever the stride."""
    return [(size // 2, size // 2) for size in kernel]


class ConvUnit(nn.Module):
    """Convolution, batch normalization, ReLU.

    Attributes:
      features: channels of the output.
      kernel: along time, height and width, as all that follows; two of each for pictures.
      strides: of the convolution.
      padding: 'SAME', or pairs of sizes.
      scale: whether the normalization has a scale beside its offset.
      epsilon: added to the variances.
      momentum: of the running statistics.
      activate: whether the ReLU comes.
      dtype: type of the computation.
    """

    features: int
    kernel: Sequence[int]
    strides: Sequence[int] = (1, 1, 1)
    padding: Any = 'SAME'
    scale: bool = True
    epsilon: float = 1e-5
    momentum: float = 0.9
    activate: bool = True
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array, training: Training | None = None) -> jax.Array:
        """From `[B, T, H, W, C]` to `[B, T', H', W', features]`."""
        x = nn.Conv(
            self.features,
            tuple(self.kernel),
            tuple(self.strides),
            self.padding,
            use_bias=False,
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
            conv_general_dilated=convolve_clips if len(self.kernel) == 3 else None,
            name='Conv_0',
        )(x)
        x = nn.BatchNorm(
            use_running_average=training is None,
            axis_name=training and training.axis_name,
            momentum=self.momentum,
            epsilon=self.epsilon,
            use_scale=self.scale,
            dtype=self.dtype,
            name='BatchNorm_0',
        )(x)
        return nn.relu(x) if self.activate else x


class Head(nn.Module):
    """Mean over all positions, dropout, a linear layer.

    Attributes:
      classes: how many.
      dropout: share of the features that are set to zero in training.
      dtype: type of the computation.
    """

    classes: int
    dropout: float
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array, training: Training | None = None) -> jax.Array:
        """From `[B, ..., C]` to `[B, classes]`."""
        x = x.mean(axis=tuple(range(1, x.ndim - 1)))
        x = Dropout(self.dropout)(x, training)
        return nn.Dense(self.classes, dtype=self.dtype, name='scores')(x)


class SlidingHead(nn.Module):
    """Mean over two steps and the whole frame, dropout, a linear layer, mean over time.

    Attributes:
      classes, dropout, dtype: as in `Head`.
    """

    classes: int
    dropout: float
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array, training: Training | None = None) -> jax.Array:
        """From `[B, T, H, W, C]`, T >= 2, to `[B, classes]`."""
        x = nn.avg_pool(x, (2, *x.shape[2:4]))
        x = Dropout(self.dropout)(x, training)
        x = _Linear(self.classes, self.dtype, name='Conv3d_0c_1x1')(x)
        return x.mean(axis=(1, 2, 3), dtype=jnp.promote_types(x.dtype, jnp.float32))


class _Linear(nn.Module):
    """Named as in the released checkpoint of I3D."""

    features: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Conv(self.features, (1, 1, 1), dtype=self.dtype, name='Conv_0')(x)
