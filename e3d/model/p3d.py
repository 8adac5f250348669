"""P3D: pseudo-3D residual networks (Qiu et al., ICCV 2017).

A bottleneck of ResNet-50 or -152 is 1x1x1 to w channels, S = 1x3x3 and T = 3x1x1 in one of three ways,
1x1x1 to 4 w channels, and the sum with its input. Blocks follow each other as A, B, C, A, ...

    A   T(S(x))
    B   S(x) + T(x)
    C   S(x) + T(S(x))

| layer | blocks of 63 (199) layers, w | shape for 16 frames of 160 x 160 |
|---|---|---|
| first | 1x7x7, stride (1, 2, 2), 64 | 16 x 80 x 80 x 64 |
| max pool | 2x3x3, stride 2 | 8 x 40 x 40 x 64 |
| res2, max pool 2x1x1 | 3 (3), 64 | 4 x 40 x 40 x 256 |
| res3, max pool 2x1x1 | 4 (8), 128, the first of stride (1, 2, 2) | 2 x 20 x 20 x 512 |
| res4, max pool 2x1x1 | 6 (36), 256, the first of stride (1, 2, 2) | 1 x 10 x 10 x 1024 |
| res5, 2D: 1x1, 3x3, 1x1 | 3 (3), 512, the first of stride 2 | 5 x 5 x 2048 |
| scores | mean, dropout, linear | classes |

No convolution has a bias; each is followed by batch normalization, and by a ReLU but for the last of a
block. With 63 layers and 400 classes there are 25,745,232 parameters. A clip of more than 16 frames has
several steps left before res5; it sees each of them, and the mean is over them too.
"""

from typing import Any

import flax.linen as nn
import jax

from e3d.model.clip_layers import ConvUnit, Head, symmetric
from e3d.model.clip_recognizer import ClipRecognizer
from e3d.model.needs import Training
from e3d.model.registry import register_recognizer
from e3d.options.option import option
from e3d.options.rules import one_of

BLOCKS = {63: (3, 4, 6, 3), 199: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4


@register_recognizer('p3d')
class P3D(ClipRecognizer):
    """P3D ResNet with blocks A, B and C in turn.

    Attributes:
      residual_layers, classes, clip_frames, features, dropout, dtype, precision: as in `ClipRecognizer`.
    """

    residual_layers: int = option(63, 'layers of the network', one_of(*BLOCKS))

    @property
    def least_frames(self) -> int:
        """One of 16 is left for res5."""
        return 16

    @nn.compact
    def score(self, clips: jax.Array, training: Training | None = None) -> jax.Array:
        """Scores of prepared clips `[N, T, H, W, 3]`, `[N, classes]`."""
        x = self.unit(self.scaled(64), (1, 7, 7), 'first', strides=(1, 2, 2))(clips, training)
        x = nn.max_pool(x, (2, 3, 3), (2, 2, 2), [(0, x.shape[1] % 2), (1, 1), (1, 1)])
        number = 0
        for stage, (count, width) in enumerate(
            zip(BLOCKS[self.residual_layers], WIDTHS, strict=True)
        ):
            flat = stage == len(WIDTHS) - 1
            for block in range(count):
                stride = 2 if stage and block == 0 else 1
                kind = '2D' if flat else 'ABC'[number % 3]
                name = f'res{stage + 2}_{block}'
                x = self.block(x, self.scaled(width), stride, kind, name, training)
                number += 1
            if not flat:
                x = nn.max_pool(x, (2, 1, 1), (2, 1, 1), 'SAME')
        return Head(self.classes, self.dropout, self.dtype, name='head')(x, training)

    @nn.nowrap
    def unit(self, features: int, kernel: tuple[int, ...], name: str, **options: Any) -> ConvUnit:
        """A convolution with its normalization."""
        padding = symmetric(kernel)
        return ConvUnit(features, kernel, padding=padding, dtype=self.dtype, name=name, **options)

    @nn.nowrap
    def block(
        self,
        x: jax.Array,
        width: int,
        stride: int,
        kind: str,
        name: str,
        training: Training | None,
    ) -> jax.Array:
        """A bottleneck of one of the three kinds, or of a 2D network."""
        strides, outputs = (1, stride, stride), EXPANSION * width
        shortcut = x
        if x.shape[-1] != outputs or stride > 1:
            options = {'strides': strides, 'activate': False}
            shortcut = self.unit(outputs, (1, 1, 1), f'{name}_shortcut', **options)(x, training)
        x = self.unit(width, (1, 1, 1), f'{name}_narrow', strides=strides)(x, training)
        space = self.unit(width, (1, 3, 3), f'{name}_space')(x, training)
        if kind != '2D':
            time = self.unit(width, (3, 1, 1), f'{name}_time')
            followed = time(x if kind == 'B' else space, training)
            x = followed if kind == 'A' else space + followed
        else:
            x = space
        x = self.unit(outputs, (1, 1, 1), f'{name}_wide', activate=False)(x, training)
        return nn.relu(x + shortcut)
