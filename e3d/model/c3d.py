"""C3D: eight convolutions of 3x3x3 and five max pools (Tran et al., ICCV 2015).

| layer | filters | shape for 16 frames of 112 x 112 |
|---|---|---|
| conv 1 | 64 | 16 x 112 x 112 x 64 |
| max pool | 1x2x2 | 16 x 56 x 56 |
| conv 2 | 128 | 16 x 56 x 56 x 128 |
| max pool | 2x2x2, as all that follow | 8 x 28 x 28 |
| conv 3a, 3b | 256, 256 | 8 x 28 x 28 x 256 |
| conv 4a, 4b | 512, 512 | 4 x 14 x 14 x 512 |
| conv 5a, 5b | 512, 512 | 2 x 7 x 7 x 512 |
| max pool | | 1 x 4 x 4 x 512 |
| fc 6, 7 | 4096 each, dropout | 4096 |
| fc 8 | classes | classes |

Every convolution has a bias and a ReLU; a pool of an odd side rounds up, as in Caffe. With 487 classes
there are 79,991,015 parameters for frames of 112 x 112: other sizes change those of the first fully
connected layer. The published weights see values of 0 to 255 less a mean cube and begin with
Gaussian ones of deviation 0.01; here values are in [-1, 1] and weights begin as He et al. have them.
"""

import functools
from typing import Any

import flax.linen as nn
import jax

from e3d.kernels.clips import convolve_clips
from e3d.model.clip_recognizer import ClipRecognizer
from e3d.model.dropping import Dropout
from e3d.model.needs import Training
from e3d.model.registry import register_recognizer

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
HIDDEN = 4096


@register_recognizer('c3d')
class C3D(ClipRecognizer):
    """The network that was trained on Sports-1M.

    Attributes:
      classes, clip_frames, features, dropout, dtype, precision: as in `ClipRecognizer`.
    """

    @nn.nowrap
    def prepare(self, frames: jax.Array) -> jax.Array:
        """From [0, 1] to [-1, 1]."""
        return 2.0 * frames - 1.0

    @nn.compact
    def score(self, clips: jax.Array, training: Training | None = None) -> jax.Array:
        """Scores of clips `[N, T, H, W, 3]` in [-1, 1], `[N, classes]`."""
        common: dict[str, Any] = {'dtype': self.dtype, 'kernel_init': nn.initializers.he_normal()}
        convolution = functools.partial(nn.Conv, conv_general_dilated=convolve_clips, **common)
        x = clips
        for stage, widths in enumerate(STAGES):
            for layer, width in enumerate(widths):
                name = f'conv_{stage}_{layer}'
                x = nn.relu(convolution(self.scaled(width), (3, 3, 3), name=name)(x))
            window = (2 if stage else 1, 2, 2)
            x = nn.max_pool(x, window, window, 'SAME')
        x = x.reshape(len(x), -1)
        for layer in range(2):
            x = nn.relu(nn.Dense(self.scaled(HIDDEN), name=f'hidden_{layer}', **common)(x))
            x = Dropout(self.dropout)(x, training)
        return nn.Dense(self.classes, dtype=self.dtype, name='scores')(x)
