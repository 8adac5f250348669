"""E3DLSTM: the forecaster of the paper (figure 1c and section 4.1)."""

from e3d.errors import InputError
from e3d.model.forecaster import Forecaster
from e3d.model.stack import E3DLSTMStack


class E3DLSTM(Forecaster):
    """Eidetic 3D LSTM network that forecasts frames.

    A `Forecaster` whose stack is of `E3DLSTMCell`s. States have the depth of the window, two frames.

    Attributes:
      features, kernel_size, depth: as in `Forecaster`, with the paper's values; depth 1 with
        kernel_size (1, 5, 5) is the "without 3D convolutions" ablation.
      variant: 'paper' (equations 1 and 2) or 'released' (the published code's form).
      convolution: 'same', 'transposed' or 'separable', see `gates.py`.
      recall: False leaves the memory attention out.
      history: how many earlier cell states RECALL looks at; None is all of them.
      layers, patch_size, pad_frames, encoder_layers, decoder_layers, dtype, memory: as in
        `Forecaster`.
    """

    features: int = 64
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    depth: int = 2
    variant: str = 'paper'
    convolution: str = 'same'
    recall: bool = True
    history: int | None = None

    def build_stack(self) -> E3DLSTMStack:
        """The layers; raises InputError for a history that is not possible."""
        if self.history is not None and self.history < 1:
            raise InputError(
                f'history={self.history}: at least 1, or None for all; recall=False for none'
            )
        return E3DLSTMStack(
            self.layers,
            self.features,
            self.kernel_size,
            variant=self.variant,
            convolution=self.convolution,
            recall=self.recall,
            dtype=self.dtype,
        )

    def recalled_steps(self, steps: int) -> int:
        """All but the newest of the steps, or `history` of them."""
        return min(self.history or steps, max(steps - 1, 1))
