"""R3D, MC3 and R(2+1)D: residual networks over clips (Tran et al., CVPR 2018), as torchvision has them.

| layer | filters | shape for 16 frames of 112 x 112 (R3D, R(2+1)D) |
|---|---|---|
| stem | 3x7x7, stride (1, 2, 2), 64 | 16 x 56 x 56 x 64 |
| stage 1 | 2 blocks (3 of 34 layers) of 64 | 16 x 56 x 56 x 64 |
| stage 2 | 2 (4) blocks of 128, the first of stride 2 | 8 x 28 x 28 x 128 |
| stage 3 | 2 (6) blocks of 256, the first of stride 2 | 4 x 14 x 14 x 256 |
| stage 4 | 2 (3) blocks of 512, the first of stride 2 | 2 x 7 x 7 x 512 |
| scores | mean over all positions, linear | classes |

A block is convolution, normalization, ReLU, convolution, normalization, then the sum with its input
(with a 1x1x1 convolution of it where the shape changes) and a ReLU. Convolutions are

    R3D       3x3x3
    MC3       3x3x3 in the stem and stage 1, then 1x3x3 whose stride is in space only
    R(2+1)D   1x3x3 to M channels, normalization, ReLU, 3x1x1, with
              M = floor(27 n_in n_out / (9 n_in + 3 n_out)), as many parameters as 3x3x3;
              the stem is 1x7x7 to 45 channels, normalization, ReLU, 3x1x1 to 64

`middle='torchvision'` takes for both convolutions of a block the M of its first one, `'paper'` for each
its own. Parameters with 400 classes: 33,371,472 (R3D-18), 11,695,440 (MC3-18), 31,505,325 and
33,370,839 (R(2+1)D-18, torchvision's and the paper's).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax

from e3d.model.clip_layers import ConvUnit, Head, Sizes, symmetric
from e3d.model.clip_recognizer import ClipRecognizer
from e3d.model.needs import Training
from e3d.model.registry import register_recognizer
from e3d.options.option import option
from e3d.options.rules import one_of

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)
STEM_MIDDLE = 45
MIDDLES = ('torchvision', 'paper')


def middle_features(inputs: int, outputs: int) -> int:
    """Channels between the two parts of a 3x3x3 convolution, for as many parameters as it has."""
    return 27 * inputs * outputs // (9 * inputs + 3 * outputs)


class Factored(nn.Module):
    """1 x d x d to `middle` channels, normalization, ReLU, then t x 1 x 1 and normalization.

    Attributes:
      features, middle: channels of the output, and between.
      kernel, strides: of the convolution that is factored.
      activate: whether a ReLU comes at the end.
      dtype: type of the computation.
    """

    features: int
    middle: int
    kernel: Sizes = (3, 3, 3)
    strides: Sizes = (1, 1, 1)
    activate: bool = True
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array, training: Training | None = None) -> jax.Array:
        """From `[B, T, H, W, C]` to `[B, T', H', W', features]`."""
        for name, features, axes, activate in (
            ('space', self.middle, (1, 2), True),
            ('time', self.features, (0,), self.activate),
        ):
            kernel, strides = (
                tuple(size if axis in axes else 1 for axis, size in enumerate(sizes))
                for sizes in (self.kernel, self.strides)
            )
            unit = ConvUnit(
                features,
                kernel,
                strides,
                symmetric(kernel),
                activate=activate,
                dtype=self.dtype,
                name=name,
            )
            x = unit(x, training)
        return x


class VideoResNet(ClipRecognizer):
    """The base of the three; a subclass says what its convolutions are.

    Attributes:
      residual_layers, classes, clip_frames, features, dropout, dtype, precision: as in `ClipRecognizer`.
    """

    residual_layers: int = option(18, 'layers of the network', one_of(*BLOCKS))
    dropout: float = 0.0

    # Whether a stage, 0 being the stem, has kernels and strides along time.
    temporal: ClassVar[tuple[bool, ...]] = (True,) * 5

    @nn.nowrap
    def convolution(self, features: int, middle: int, name: str, **options: Any) -> nn.Module:
        """A convolution with its normalization; only a factored one has something between."""
        del middle
        return ConvUnit(
            features, padding=symmetric(options['kernel']), dtype=self.dtype, name=name, **options
        )

    @nn.nowrap
    def middles(self, inputs: int, outputs: int) -> tuple[int, int]:
        """What a factored convolution has between, of the two of a block."""
        return middle_features(inputs, outputs), middle_features(inputs, outputs)

    @nn.compact
    def score(self, clips: jax.Array, training: Training | None = None) -> jax.Array:
        """Scores of prepared clips `[N, T, H, W, 3]`, `[N, classes]`."""
        stem = {'kernel': (3, 7, 7), 'strides': (1, 2, 2)}
        x = self.convolution(self.scaled(64), self.scaled(STEM_MIDDLE), 'stem', **stem)(
            clips, training
        )
        stages = zip(BLOCKS[self.residual_layers], WIDTHS, strict=True)
        for stage, (count, width) in enumerate(stages, 1):
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                x = self.block(
                    x, stage, self.scaled(width), stride, f'block_{stage}_{block}', training
                )
        return Head(self.classes, self.dropout, self.dtype, name='head')(x, training)

    @nn.nowrap
    def block(
        self,
        x: jax.Array,
        stage: int,
        features: int,
        stride: int,
        name: str,
        training: Training | None,
    ) -> jax.Array:
        """A residual block, whose modules are named after it."""
        temporal = self.temporal[stage]
        kernel = (3 if temporal else 1, 3, 3)
        strides = (stride if temporal else 1, stride, stride)
        first, second = self.middles(x.shape[-1], features)
        shortcut = x
        if x.shape[-1] != features or stride > 1:
            unit = ConvUnit(
                features,
                (1, 1, 1),
                strides,
                activate=False,
                dtype=self.dtype,
                name=f'{name}_shortcut',
            )
            shortcut = unit(x, training)
        shape = {'kernel': kernel, 'strides': strides}
        x = self.convolution(features, first, f'{name}_first', **shape)(x, training)
        unit = self.convolution(features, second, f'{name}_second', kernel=kernel, activate=False)
        x = unit(x, training)
        return nn.relu(x + shortcut)


@register_recognizer('r3d')
class R3D(VideoResNet):
    """All convolutions are 3x3x3.

    Attributes:
      residual_layers, classes, clip_frames, features, dropout, dtype, precision: as in `VideoResNet`.
    """


@register_recognizer('mc3')
class MC3(VideoResNet):
    """Mixed convolutions: 3D in the stem and the first stage, 2D behind.

    Attributes:
      residual_layers, classes, clip_frames, features, dropout, dtype, precision: as in `VideoResNet`.
    """

    temporal: ClassVar[tuple[bool, ...]] = (True, True, False, False, False)


@register_recognizer('r2plus1d')
class R2Plus1D(VideoResNet):
    """Every convolution is factored into space and time.

    Attributes:
      middle: see its option.
      residual_layers, classes, clip_frames, features, dropout, dtype, precision: as in
        `VideoResNet`.
    """

    middle: str = option(
        'torchvision', 'which number of channels is between space and time', one_of(*MIDDLES)
    )

    @nn.nowrap
    def convolution(self, features: int, middle: int, name: str, **options: Any) -> nn.Module:
        """A factored convolution."""
        return Factored(features, middle, dtype=self.dtype, name=name, **options)

    @nn.nowrap
    def middles(self, inputs: int, outputs: int) -> tuple[int, int]:
        """See the head of this file."""
        first = middle_features(inputs, outputs)
        return first, first if self.middle == 'torchvision' else middle_features(outputs, outputs)
