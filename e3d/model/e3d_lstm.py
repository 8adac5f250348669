"""E3DLSTM: the forecaster of the paper (figure 1c and section 4.1), and its stack of cells."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from e3d.model.cell import E3DLSTMCarry, E3DLSTMCell
from e3d.model.equations import MOST_RADIUS, RECALLS, VARIANTS
from e3d.model.fields import check_at_least
from e3d.model.forecaster import Forecaster
from e3d.model.gates import OPERATORS
from e3d.model.registry import register_forecaster
from e3d.model.stack import StackBase
from e3d.options.option import option
from e3d.options.rules import MOST_FRAMES, MOST_PIXELS, one_of, optional, whole

# What `E3DLSTMStack` carries from step to step: the carry of each layer, from the bottom to the top.
E3DLSTMStackCarry = tuple[E3DLSTMCarry, ...]


class E3DLSTMStack(StackBase):
    """Several Eidetic 3D LSTM cells as one cell, for `nn.RNN`, your own loop, or a `Forecaster`.

    Attributes:
      layers: number of cells; all have the same width, since M passes through them.
      features, kernel_size, history, variant, convolution, recall, recall_radius, stride, dtype,
        param_dtype, kernel_init, carry_init: as in `E3DLSTMCell`.
    """

    layers: int
    features: int
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    history: int | None = None
    variant: str = 'paper'
    convolution: str = 'same'
    recall: str | bool = 'everywhere'
    recall_radius: int = 1
    stride: int = 1
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    carry_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    def setup(self):
        """One cell for each layer."""
        self.cells = self.build_cells()

    @nn.nowrap
    def build_cells(self) -> Sequence[E3DLSTMCell]:
        """Equal cells.

        Raises:
          InputError: fewer than one.
        """
        check_at_least({'layers': (self.layers, 1)})
        shared = [
            f.name for f in dataclasses.fields(E3DLSTMCell) if f.name not in ('parent', 'name')
        ]
        options = {name: getattr(self, name) for name in shared}
        return [E3DLSTMCell(**options, parent=None) for _ in range(self.layers)]


@register_forecaster('e3d_lstm')
class E3DLSTM(Forecaster):
    """Eidetic 3D LSTM network that forecasts frames.

    A `Forecaster` whose stack is of `E3DLSTMCell`s. States have the depth of the window, two frames.

    Attributes:
      features, kernel_size, depth: as in `Forecaster`, with the paper's values; depth 1 with
        kernel_size (1, 5, 5) is the "without 3D convolutions" ablation.
      variant: 'paper' (equations 1 and 2), 'refined' (a gate in place of the LayerNorm of C, see
        `update_e3d_lstm`), 'gated' (and one between C' and what is recalled), 'timed' (and a learned
        bias of RECALL by how long ago a step was), 'released' (the published code's form, its update
        of M mended), or for weights trained with other codes 'published' (google/e3d_lstm as it is)
        and 'openstl' (see `openstl.py`).
      convolution: 'same', 'transposed' or 'separable', see `gates.py`.
      recall: what RECALL attends to: every position of the remembered steps ('everywhere', equation 1
        as printed), the same position ('in_place'), those around it ('nearby'), or 'none' without
        memory attention; equations in `update_e3d_lstm`. True is 'everywhere', False 'none'.
      recall_radius: how far 'nearby' looks in height and width, 0 to 16; the others do not use it.
      stride: of the convolutions of 'openstl' in height and width; 1 for the others.
      history: how many earlier cell states RECALL looks at; None is all of them.
      layers, patch_size, pad_frames, encoder_layers, decoder_layers, dtype, precision,
        memory, noise_channels: as in `Forecaster`.

    Example:
      >>> model = e3d.E3DLSTM(layers=1, features=4, kernel_size=(2, 3, 3))
      >>> frames = np.zeros((2, 3, 8, 8, 1), np.float32)  # [B, T, H, W, C]
      >>> predictions, variables = model.init_with_output(jax.random.key(0), frames, 2)
      >>> predictions.shape  # of frames 2, 3, and of the 2 that follow
      (2, 4, 8, 8, 1)
    """

    features: int = 64
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    depth: int = 2
    variant: str = option('paper', 'form of the equations', one_of(*VARIANTS))
    convolution: str = option('same', 'the operator * of the equations', one_of(*OPERATORS))
    recall: str | bool = option('everywhere', 'what RECALL attends to', one_of(*RECALLS))
    recall_radius: int = option(
        1, "how far recall='nearby' looks, positions", whole(0, MOST_RADIUS), older=1
    )
    stride: int = option(
        1,
        "of the convolutions of variant='openstl' in height and width",
        whole(1, MOST_PIXELS),
        older=1,
    )
    history: int | None = option(
        None,
        'number of earlier cell states that RECALL looks at; None: all',
        optional(whole(1, MOST_FRAMES)),
    )

    @nn.nowrap
    def build_stack(self) -> E3DLSTMStack:
        """Equal layers."""
        return e3d_lstm_layers(self, self.stride)


def e3d_lstm_layers(model: Any, stride: int = 1) -> E3DLSTMStack:
    """The stack of a model that has the fields of `E3DLSTM`, but for `stride`.

    Raises:
      InputError: a field has a value that is not allowed.
    """
    stack = E3DLSTMStack(
        model.layers,
        model.features,
        model.kernel_size,
        model.history,
        model.variant,
        model.convolution,
        model.recall,
        model.recall_radius,
        stride,
        model.dtype,
        parent=None,
    )
    _ = [cell.options for cell in stack.build_cells()]
    return stack
