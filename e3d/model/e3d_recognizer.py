"""E3DRecognizer: the recognizer of the paper (section 4.4)."""

import flax.linen as nn

from e3d.model.e3d_lstm import E3DLSTM, E3DLSTMStack, e3d_lstm_layers
from e3d.model.recognizer import Recognizer
from e3d.model.registry import register_recognizer
from e3d.options.option import same_option


@register_recognizer('e3d_recognizer')
class E3DRecognizer(Recognizer):
    """The recognizer of the paper: E3D-LSTM between encoder and classifier (figure 1c).

    Attributes:
      variant, convolution, recall, recall_radius, history: as in `E3DLSTM`.
        `convolution='separable'` is the E(2+1)D-LSTM of Table 5; online recognition has
        `history=5` and `window=5`. Depth 1, encoder_depth 1 and kernel_size (1, 5, 5) is
        Table 6's "without 3D convolutions".
      others: as in `Recognizer`.
    """

    variant: str = same_option(E3DLSTM, 'variant')
    convolution: str = same_option(E3DLSTM, 'convolution')
    recall: str | bool = same_option(E3DLSTM, 'recall')
    recall_radius: int = same_option(E3DLSTM, 'recall_radius')
    history: int | None = same_option(E3DLSTM, 'history')

    @nn.nowrap
    def build_stack(self) -> E3DLSTMStack:
        """Equal layers."""
        return e3d_lstm_layers(self)
