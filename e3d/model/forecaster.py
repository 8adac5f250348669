"""E3DLSTM: the forecasting network (paper, figure 1c and section 4.1)."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.model.cell import CellOptions
from e3d.model.eidetic_scan import MEMORY, eidetic_scan
from e3d.model.operations import Operations
from e3d.model.patching import from_patches, pad_to_patches, to_patches
from e3d.model.stack import E3DLSTMStack, StackState, update_stack

DTYPES = ('float32', 'bfloat16', 'float64')


class ForecastCarry(NamedTuple):
    """What one step of the forecaster hands to the next, beside the cell states.

    Attributes:
      window: the newest D patched frames that were fed, `[B, D, h, w, p*p*C]`.
      prediction: the model's prediction of the coming frame, patched, `[B, h, w, p*p*C]`.
      hiddens: H of each layer, `[B, D, h, w, features]`.
      memory: M of the top layer, `[B, D, h, w, features]`.
    """

    window: jax.Array
    prediction: jax.Array
    hiddens: tuple[jax.Array, ...]
    memory: jax.Array


class StepInputs(NamedTuple):
    """What enters at one step: a true frame `[B, h, w, p*p*C]` and whether it is used, `[B]`."""

    frame: jax.Array
    observed: jax.Array


def advance(
    options: CellOptions,
    weights: dict[str, Any],
    carry: ForecastCarry,
    cells: tuple[jax.Array, ...],
    inputs: StepInputs,
    operations: Operations,
):
    """One step: frame or own prediction -> window -> stack -> decoder -> the next frame.

    Args:
      options: the form of the cell's equations.
      weights: 'layers' (a tree for each) and 'decoder' (`kernel [D, features, p*p*C]`, `bias`).
      carry: from the step before.
      cells: C of each layer, from the step before.
      inputs: the true frame and which sequences see it.
      operations: carries out the convolutions and RECALL.

    Returns:
      The new carry, the new C of each layer, and the prediction `[B, h, w, p*p*C]` in float32.
    """
    observed = inputs.observed[:, None, None, None]
    frame = jnp.where(observed, inputs.frame, carry.prediction)
    window = jnp.concatenate([carry.window[:, 1:], frame[:, None]], axis=1)
    state = StackState(cells, carry.hiddens, carry.memory)
    state = update_stack(
        weights['layers'], options, state, window.astype(carry.memory.dtype), operations
    )
    prediction = decode(weights['decoder'], state.hiddens[-1])
    return ForecastCarry(window, prediction, state.hiddens, state.memory), state.cells, prediction


def decode(decoder: dict[str, jax.Array], hidden: jax.Array) -> jax.Array:
    """The linear (D, 1, 1) VALID convolution from H of the top layer to a patched frame."""
    kernel = decoder['kernel'].astype(hidden.dtype)
    patches = sum(hidden[:, slot] @ kernel[slot] for slot in range(hidden.shape[1]))
    return patches.astype(decoder['bias'].dtype) + decoder['bias']


class E3DLSTM(nn.Module):
    """Eidetic 3D LSTM network that forecasts frames.

    Window of the newest `depth` frames (stride 1, zeros before the first) -> space-to-depth patches ->
    stack of cells -> one 3D convolution back to a frame. Step t sees x_t and predicts x_{t+1}; after
    the observed frames its own prediction enters in place of x_t.

    Attributes:
      layers: number of E3D-LSTM layers.
      features: channels of every state.
      kernel_size: depth, height and width of the gate convolutions.
      patch_size: side p of a patch; height and width must be multiples of it.
      pad_frames: True pads frames by their last row and column to multiples of p and crops the
        predictions; False raises for such frames.
      variant: 'paper' (equations 1 and 2) or 'released' (the published code's form).
      convolution: 'same', 'transposed' or 'separable', see `operators.py`.
      recall: False leaves the memory attention out.
      history: how many earlier cell states RECALL looks at; None is all of them.
      depth: frames in the window and slots of a state; 1 with kernel_size (1, 5, 5) is the "without
        3D convolutions" ablation.
      dtype: 'float32', 'bfloat16' or 'float64' (needs `jax_enable_x64`), type of the states and
        convolutions. Parameters, predictions and the sums of LayerNorm and softmax stay float32
        under bfloat16.
      memory: 'save' or 'recompute', what training keeps of each step (see `eidetic_scan.py`).
    """

    layers: int = 4
    features: int = 64
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    patch_size: int = 4
    pad_frames: bool = False
    variant: str = 'paper'
    convolution: str = 'same'
    recall: bool = True
    history: int | None = None
    depth: int = 2
    dtype: str = 'float32'
    memory: str = 'save'

    def setup(self):
        """Checks the fields; the parameters come with the first frames."""
        self._check()
        self.stack = E3DLSTMStack(
            self.layers,
            self.features,
            self.kernel_size,
            variant=self.variant,
            convolution=self.convolution,
            recall=self.recall,
        )

    def _check(self):
        if self.memory not in MEMORY:
            raise InputError(f'memory={self.memory!r}: allowed are {MEMORY}')
        if self.dtype not in DTYPES:
            raise InputError(f'dtype={self.dtype!r}: allowed are {DTYPES}')
        for name in ('layers', 'patch_size', 'depth'):
            if getattr(self, name) < 1:
                raise InputError(f'{name}={getattr(self, name)}: at least 1 is needed')
        if self.history is not None and self.history < 1:
            raise InputError(
                f'history={self.history}: at least 1, or None for all; recall=False for none'
            )

    @nn.compact
    def _decoder(self, channels: int) -> dict[str, jax.Array]:
        kernel = nn.initializers.glorot_uniform()
        shape = (self.depth, self.features, channels)
        return {
            'kernel': self.param('decoder_kernel', kernel, shape),
            'bias': self.param('decoder_bias', nn.initializers.zeros_init(), (channels,)),
        }

    def __call__(
        self, frames: jax.Array, output_frames: int, truth_mask: jax.Array | None = None
    ) -> jax.Array:
        """Predicts every next frame, and `output_frames` frames beyond the observed ones.

        Args:
          frames: `[B, T_in, H, W, C]` in [0, 1], all observed; with `truth_mask`
            `[B, T_in + output_frames - 1, H, W, C]`, all but the last target.
          output_frames: T_out >= 1.
          truth_mask: bool `[B, output_frames - 1]`; where True the true frame x_{T_in + j} enters at
            step T_in + j, elsewhere the model's own prediction of it (scheduled sampling).

        Returns:
          `[B, T_in + T_out - 1, H, W, C]`: predictions of x_1 .. x_{T_in + T_out - 1}, not clipped; the
          last T_out are the forecast.

        Raises:
          InputError: a length below 1, a patch size that does not divide, arrays that do not fit.
        """
        inputs = step_inputs(frames, output_frames, truth_mask)
        height, width = frames.shape[2:4]
        frames = inputs.frame
        if self.pad_frames:
            frames = pad_to_patches(frames, self.patch_size)
        patches = to_patches(frames, self.patch_size)
        weights = {
            'layers': self.stack.weights(patches.shape[-1]),
            'decoder': self._decoder(patches.shape[-1]),
        }
        patches = patches.astype(weights['decoder']['bias'].dtype)
        carry, cells = self._initial_state(patches[0])
        steps = patches.shape[0]
        _, _, predictions = eidetic_scan(
            functools.partial(advance, self.stack.options),
            min(self.history or steps, max(steps - 1, 1)),
            self.memory,
            weights,
            carry,
            cells,
            StepInputs(patches, inputs.observed),
        )
        predictions = from_patches(predictions, self.patch_size)[..., :height, :width, :]
        return jnp.moveaxis(predictions, 0, 1)

    def _initial_state(self, patches: jax.Array):
        """Zero frames in the window, zero states."""
        batch, rows, columns, _ = patches.shape
        state = jnp.zeros((batch, self.depth, rows, columns, self.features), self.dtype)
        window = jnp.zeros((batch, self.depth, *patches.shape[1:]), patches.dtype)
        states = (state,) * self.layers
        return ForecastCarry(window, jnp.zeros_like(patches), states, state), states


def step_inputs(frames: jax.Array, output_frames: int, truth_mask: jax.Array | None) -> StepInputs:
    """Frames and mask of all steps, time first: `[N, B, H, W, C]` and `[N, B]`.

    Raises:
      InputError: the arrays do not fit together.
    """
    if frames.ndim != 5:
        raise InputError(f'frames of shape {frames.shape}: [B, T, H, W, C] is needed')
    if output_frames < 1:
        raise InputError(f'output_frames={output_frames}: at least 1 is needed')
    batch, length = frames.shape[:2]
    if truth_mask is None:
        padding = [(0, 0)] * 5
        padding[1] = (0, output_frames - 1)
        frames = jnp.pad(frames, padding)
        truth_mask = jnp.zeros((batch, output_frames - 1), bool)
    elif truth_mask.shape != (batch, output_frames - 1):
        raise InputError(
            f'truth_mask of shape {truth_mask.shape}: [B, output_frames - 1] = '
            f'{(batch, output_frames - 1)} is needed'
        )
    input_frames = frames.shape[1] - (output_frames - 1)
    if input_frames < 1:
        raise InputError(
            f'{length} frames for {output_frames} output frames: at least one must be observed'
        )
    observed = jnp.concatenate(
        [jnp.ones((batch, input_frames), bool), truth_mask.astype(bool)], axis=1
    )
    return StepInputs(jnp.moveaxis(frames, 1, 0), observed.T)
