"""STLSTMRecognizer: the 2D recurrent baseline of early recognition (Table 6)."""

import flax.linen as nn

from e3d.model.predrnn import STLSTMCell
from e3d.model.recognizer import Recognizer
from e3d.model.registry import register_recognizer
from e3d.model.stack import RecurrentStack


@register_recognizer('st_lstm_recognizer')
class STLSTMRecognizer(Recognizer):
    """Stacked 2D spatiotemporal LSTMs between encoder and classifier.

    Baselines of Table 6: as it is, "3D-CNN at bottom"; with `encoder_depth=1` and `top_layers=2`,
    "3D-CNN on top".

    Attributes:
      depth, kernel_size: as in `Recognizer`, with other defaults.
    """

    kernel_size: tuple[int, int, int] = (1, 5, 5)
    depth: int = 1

    @nn.nowrap
    def build_stack(self) -> RecurrentStack:
        """Equal layers."""
        cells = (
            STLSTMCell(self.features, self.kernel_size, dtype=self.dtype, parent=None)
            for _ in range(self.layers)
        )
        return RecurrentStack(tuple(cells), parent=None)
