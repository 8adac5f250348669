"""The translators of SimVP: from the encoded frames of the input to those of the forecast.

All are pictures `[B, h, w, T * encoder_features]` in and out, the frames side by side in the
channels. gSTA, TAU and ConvMixer are stacks of blocks of one form, with another inner block; IncepU,
of the first SimVP, is a U-net of convolutions with several kernels.

Sources: SimVP (Gao et al., CVPR 2022), SimVPv2 (Tan et al., 2022), TAU (Tan et al., CVPR 2023), and
their code in OpenSTL. As there, convolutions of the inner blocks begin with a standard deviation of
sqrt(2 / fan_out), all others uniformly within 1 / sqrt(fan_in); biases begin at zero.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.depthwise import convolve_depthwise
from e3d.model.dropping import draw_for_share
from e3d.model.needs import RANDOM, Training

EPSILON = 1e-5  # of batch and group normalization
MOMENTUM = 0.9  # of the running statistics
LAYER_SCALE = 1e-2
EXPANSION = 8  # of the channels in the feed-forward part of a block

BY_FAN_OUT = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
BY_FAN_IN = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
_GELU = functools.partial(nn.gelu, approximate=False)


class Depthwise(nn.Module):
    """A depthwise convolution with a bias.

    Attributes:
      size: side of the kernel, odd.
      dilation: pixels from tap to tap.
      dtype: of the computation.
    """

    size: int
    dilation: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[B, h, w, C]` to the same size."""
        channels = inputs.shape[-1]
        # A channel has one input: fan_out is size ** 2.
        spread = nn.initializers.normal(2**0.5 / self.size)
        kernel = self.param('kernel', spread, (self.size, self.size, channels))
        bias = self.param('bias', nn.initializers.zeros_init(), (channels,))
        inputs, kernel, bias = nn.dtypes.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        return convolve_depthwise(inputs, kernel, self.dilation) + bias


class InnerBlock(nn.Module):
    """What the inner blocks have in common.

    Attributes:
      drop_path: how often each of the two branches is left out for a sequence, in training.
      training: what the model was told; None where it is used.
      dtype: of the computation.
    """

    drop_path: float = 0.0
    training: Training | None = None
    dtype: Any = None

    def normalize(self, inputs: jax.Array, name: str) -> jax.Array:
        """Batch normalization: over the batch of all devices in training, or by running means."""
        norm = nn.BatchNorm(
            use_running_average=self.training is None,
            momentum=MOMENTUM,
            epsilon=EPSILON,
            dtype=self.dtype,
            axis_name=None if self.training is None else self.training.axis_name,
            name=name,
        )
        return norm(inputs)

    def point(self, features: int, name: str) -> nn.Dense:
        """A 1 x 1 convolution with a bias."""
        return nn.Dense(features, dtype=self.dtype, kernel_init=BY_FAN_OUT, name=name)

    def drop(self, branch: jax.Array) -> jax.Array:
        """Leaves a branch out for some sequences (stochastic depth), as the others are scaled up."""
        if self.training is None or not self.drop_path:
            return branch
        keep, count = 1.0 - self.drop_path, len(branch)
        kept = draw_for_share(self.make_rng(RANDOM), keep, (count,), self.training)
        return jnp.where(kept[:, None, None, None], branch / keep, 0.0).astype(branch.dtype)


class AttentionBlock(InnerBlock):
    """The inner block of gSTA and TAU: large kernels as attention, then a feed-forward part.

        x = x + l1 . A(BN(x))      A(u) = u + W2 * G(GELU(W1 * u))
        x = x + l2 . F(BN(x))      F(u) = V2 * GELU(dw3x3 * (V1 * u)),   8 times the channels

    G is what the two differ in; its large kernel of 21 x 21 is decomposed into a depthwise 5 x 5 and
    a depthwise 7 x 7 of dilation 3.

        gSTA   G(u) = sigmoid(g) . f,             [f, g] = 1x1 * dw7x7 * dw5x5 * u
        TAU    G(u) = SE(u) . (1x1 * dw7x7 * dw5x5 * u) . u
               SE(u) = sigmoid(S2 ReLU(S1 mean(u))),   from d to d // max(d // 16, 4) channels and back

    Attributes:
      dynamic: True for TAU, False for gSTA.
      drop_path, training, dtype: as in `InnerBlock`.
    """

    dynamic: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[B, h, w, d]` to the same size."""
        channels = inputs.shape[-1]
        scale = nn.initializers.constant(LAYER_SCALE)
        scales = [self.param(f'scale_{i}', scale, (channels,)) for i in (1, 2)]
        scales = [value.astype(inputs.dtype) for value in scales]

        shortcut = self.normalize(inputs, 'norm_1')
        attended = _GELU(self.point(channels, 'before')(shortcut))
        attended = self.point(channels, 'after')(self._attend(attended)) + shortcut
        inputs = inputs + self.drop(scales[0] * attended)

        hidden = self.point(EXPANSION * channels, 'expand')(self.normalize(inputs, 'norm_2'))
        hidden = _GELU(Depthwise(3, dtype=self.dtype, name='mix')(hidden))
        return inputs + self.drop(scales[1] * self.point(channels, 'contract')(hidden))

    def _attend(self, inputs: jax.Array) -> jax.Array:
        """G of the class."""
        channels = inputs.shape[-1]
        large = Depthwise(5, dtype=self.dtype, name='near')(inputs)
        large = Depthwise(7, dilation=3, dtype=self.dtype, name='far')(large)
        if not self.dynamic:
            filtered, gate = jnp.split(self.point(2 * channels, 'gate')(large), 2, axis=-1)
            return jax.nn.sigmoid(gate) * filtered
        dense = functools.partial(
            nn.Dense,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.truncated_normal(0.02),
        )
        narrow = max(1, channels // max(channels // 16, 4))
        excited = nn.relu(dense(narrow, name='squeeze')(inputs.mean(axis=(1, 2))))
        excited = jax.nn.sigmoid(dense(channels, name='excite')(excited))
        return excited[:, None, None] * self.point(channels, 'gate')(large) * inputs


class MixerBlock(InnerBlock):
    """The inner block of ConvMixer (Trockman and Kolter, 2022).

        x = x + BN(GELU(dw11x11 * x))
        x = BN(GELU(1x1 * x))

    Attributes:
      drop_path: has no part.
      training, dtype: as in `InnerBlock`.
    """

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[B, h, w, d]` to the same size."""
        mixed = _GELU(Depthwise(11, dtype=self.dtype, name='mix')(inputs))
        inputs = inputs + self.normalize(mixed, 'norm_1')
        return self.normalize(_GELU(self.point(inputs.shape[-1], 'point')(inputs)), 'norm_2')


class Blocks(nn.Module):
    """A stack of inner blocks; 1 x 1 convolutions lead to its width and back.

    The first block works at the width of the input and is followed by the first 1 x 1 convolution;
    the last one is followed by the second.

    Attributes:
      kind: the class of the inner blocks, with its options.
      layers: number of blocks, at least 2.
      features: width of all but the first block.
      drop_path: of the last block; from block to block it rises evenly, from 0.01.
      training: as in `InnerBlock`.
      dtype: of the computation.
    """

    kind: Any
    layers: int
    features: int
    drop_path: float = 0.0
    training: Training | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[B, h, w, channels]` to the same size."""
        channels, values = inputs.shape[-1], inputs
        for layer in range(self.layers):
            rate = 0.01 + (self.drop_path - 0.01) * layer / (self.layers - 1)
            rate = rate if self.drop_path else 0.0
            block = self.kind(
                drop_path=rate, training=self.training, dtype=self.dtype, name=f'blocks_{layer}'
            )
            values = block(values)
            width = channels if layer == self.layers - 1 else self.features
            if values.shape[-1] != width:
                point = nn.Dense(width, dtype=self.dtype, kernel_init=BY_FAN_IN)
                point = point.copy(name=f'point_{layer}')
                values = point(values)
        return values


class Inception(nn.Module):
    """A 1 x 1 convolution, and the sum of convolutions of several sizes after it.

    Each of these is in 8 groups, where both widths are multiples of 8, and followed by group
    normalization and a leaky ReLU (0.2).

    Attributes:
      hidden: channels after the first.
      features: channels after the others.
      dtype: of the computation.
    """

    hidden: int
    features: int
    dtype: Any = None

    SIZES = (3, 5, 7, 11)
    GROUPS = 8

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[B, h, w, channels]` to `[B, h, w, features]`."""
        common = {'dtype': self.dtype, 'kernel_init': BY_FAN_IN}
        inputs = nn.Dense(self.hidden, name='point', **common)(inputs)
        both = self.hidden % self.GROUPS == 0 and self.features % self.GROUPS == 0
        groups = self.GROUPS if both else 1
        total = 0.0
        for size in self.SIZES:
            convolution = nn.Conv(
                self.features,
                (size, size),
                feature_group_count=groups,
                name=f'conv_{size}',
                **common,
            )
            norm = nn.GroupNorm(groups, epsilon=EPSILON, dtype=self.dtype, name=f'norm_{size}')
            total = total + nn.leaky_relu(norm(convolution(inputs)), 0.2)
        return total


class InceptionUNet(nn.Module):
    """The translator of the first SimVP: as many inceptions down as up, with connections across.

    Attributes:
      layers: number of inceptions in each half, at least 2.
      features: of all but the last, whose width is that of the input.
      dtype: of the computation.
    """

    layers: int
    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[B, h, w, channels]` to the same size."""

        def inception(features: int, name: str) -> Inception:
            return Inception(max(1, self.features // 2), features, self.dtype, name=name)

        values, across = inputs, []
        for layer in range(self.layers):
            values = inception(self.features, f'down_{layer}')(values)
            across.append(values)
        for layer in range(self.layers):
            last = layer == self.layers - 1
            if layer:
                values = jnp.concatenate([values, across[-1 - layer]], axis=-1)
            width = inputs.shape[-1] if last else self.features
            values = inception(width, f'up_{layer}')(values)
        return values
