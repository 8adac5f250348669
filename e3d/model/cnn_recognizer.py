"""CNNRecognizer: the feed-forward baselines of early recognition (Table 5)."""

import flax.linen as nn

from e3d.model.recognizer import Recognizer
from e3d.model.registry import register_recognizer
from e3d.model.stack import RecurrentStack


@register_recognizer('cnn_recognizer')
class CNNRecognizer(Recognizer):
    """Feed-forward 3D convolutions: `top_layers` over the encoded frames of the window.

    Baselines of Table 5: 3D-CNN as it is; Separable-CNN with `separable='bottom'`, (2+1)D-CNN with
    `separable='top'`: in that half of the layers 1 x 5 x 5 and then 2 x 1 x 1 in place of 2 x 5 x 5.

    Attributes:
      top_layers, depth: as in `Recognizer`, with other defaults; `layers` has no part.
    """

    depth: int = 1
    top_layers: int = 4

    @nn.nowrap
    def build_stack(self) -> RecurrentStack:
        """No layers: what is encoded is classified."""
        return RecurrentStack((), parent=None)
