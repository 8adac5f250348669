"""Forecaster: what all recurrent models share around their stack of cells.

Window, patches, encoder, decoder, the feedback of predictions, and the loop over time. A model is a
subclass that builds its stack: an object with

    weights(shape)          declares its parameters for inputs `[B, D, h, w, channels]`: a tree
    initial_state(shape)    (state, cells) before the first step; `cells` are the states that RECALL
                            remembers, () in a model without RECALL
    step                    pure function (weights, state, cells, inputs, operations) ->
                            (state, cells, outputs `[B, D, h, w, features]`)

The step asks its `operations` for every convolution and RECALL (`e3d.kernels.modes`), and so gets their
fast gradients and the choice of what training keeps.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.convolution import prepare_kernels, same_padding
from e3d.kernels.modes import Operations
from e3d.kernels.scan import MEMORY, eidetic_scan
from e3d.model.cell import check_sizes
from e3d.model.frames import scale_types
from e3d.model.patching import from_patches, pad_to_patches, to_patches

DTYPES = ('float32', 'bfloat16', 'float64')

# Frames that a convolution of the encoder or decoder joins to one.
_JOINED = 2


class ForecastCarry(NamedTuple):
    """What one step of the forecaster hands to the next, beside the cell states.

    Attributes:
      window: the newest patched frames that were fed, `[B, depth + encoder_layers, h, w, p*p*C]`.
      prediction: the model's prediction of the coming frame, patched, `[B, h, w, p*p*C]`.
      state: of the stack.
      outputs: the newest slot of what the stack returned at each of the last `decoder_layers`
        steps, `[B, decoder_layers, h, w, features]`.
    """

    window: jax.Array
    prediction: jax.Array
    state: Any
    outputs: jax.Array


class StepInputs(NamedTuple):
    """What enters at one step: a true frame `[B, h, w, p*p*C]` and whether it is used, `[B]`."""

    frame: jax.Array
    observed: jax.Array


def advance(
    stack_step: Callable,
    weights: dict[str, Any],
    carry: ForecastCarry,
    cells: tuple[jax.Array, ...],
    inputs: StepInputs,
    operations: Operations,
):
    """One step: frame or own prediction -> window -> encoder -> stack -> decoder -> next frame.

    Args:
      stack_step: the step of the stack.
      weights: 'encoder' and 'decoder' (a group for each 3D convolution), 'stack', and 'head'
        (`kernel [D, features, p*p*C]`, `bias`).
      carry: from the step before.
      cells: the states that RECALL remembers, from the step before.
      inputs: the true frame and which sequences see it.
      operations: carries out the convolutions and RECALL.

    Returns:
      The new carry, the new cells, and the prediction `[B, h, w, p*p*C]` in float32.
    """
    observed = inputs.observed[:, None, None, None]
    frame = jnp.where(observed, inputs.frame, carry.prediction)
    window = jnp.concatenate([carry.window[:, 1:], frame[:, None]], axis=1)
    encoded = join_slots(weights['encoder'], window.astype(carry.outputs.dtype), operations)
    state, cells, outputs = stack_step(weights['stack'], carry.state, cells, encoded, operations)
    outputs = jnp.concatenate([carry.outputs, outputs], axis=1)
    decoded = join_slots(weights['decoder'], outputs, operations)
    prediction = to_frame(weights['head'], decoded)
    newest = outputs[:, outputs.shape[1] - carry.outputs.shape[1] :]
    return ForecastCarry(window, prediction, state, newest), cells, prediction


def join_slots(
    groups: Sequence[dict[str, jax.Array]], slots: jax.Array, operations: Operations
) -> jax.Array:
    """3D convolutions and ReLUs, VALID in depth: each makes one slot less of `[B, D, h, w, C]`."""
    for group in groups:
        kernel = group['kernel']
        padding = ((0, 0), *same_padding(kernel.shape[:3])[1:])
        slots = operations.convolve(slots, kernel, padding)
        slots = jax.nn.relu(slots + group['bias'].astype(slots.dtype))
    return slots


def to_frame(head: dict[str, jax.Array], outputs: jax.Array) -> jax.Array:
    """The linear (D, 1, 1) VALID convolution from `[B, D, h, w, features]` to a patched frame."""
    kernel = head['kernel'].astype(outputs.dtype)
    patches = sum(outputs[:, slot] @ kernel[slot] for slot in range(outputs.shape[1]))
    return patches.astype(head['bias'].dtype) + head['bias']


class Forecaster(nn.Module):
    """A recurrent network that forecasts frames; the base of every model.

    Window of the newest `depth` frames (stride 1, zeros before the first) -> space-to-depth patches ->
    stack of cells -> one linear 3D convolution back to a frame. Step t sees x_t and predicts x_{t+1};
    after the observed frames its own prediction enters in place of x_t. 3D convolutions before the
    stack (figure 1a) and after it (figure 1b) are optional.

    Attributes:
      layers: number of recurrent layers.
      features: channels of every state.
      kernel_size: depth, height and width of the gate convolutions.
      patch_size: side p of a patch; height and width must be multiples of it.
      pad_frames: True pads frames by their last row and column to multiples of p and crops the
        predictions; False raises for such frames.
      depth: frames in the window and slots of a state; 1 for 2D states.
      encoder_layers: 3D convolutions (2 x kh x kw, `features` channels, ReLU) between window and
        stack. Each joins two frames to one, so the window has so many more.
      decoder_layers: the same between the outputs of the stack at the newest steps and the frame.
      dtype: 'float32', 'bfloat16' or 'float64' (needs `jax_enable_x64`), type of the states and
        convolutions. Parameters, predictions and the sums of LayerNorm and softmax stay float32
        under bfloat16.
      memory: 'save' or 'recompute', what training keeps of each step (see `e3d.kernels.scan`).
    """

    layers: int = 4
    features: int = 128
    kernel_size: tuple[int, int, int] = (1, 5, 5)
    patch_size: int = 4
    pad_frames: bool = False
    depth: int = 1
    encoder_layers: int = 0
    decoder_layers: int = 0
    dtype: str = 'float32'
    memory: str = 'save'

    def setup(self):
        """Checks the fields; the parameters come with the first frames."""
        if self.memory not in MEMORY:
            raise InputError(f'memory={self.memory!r}: allowed are {MEMORY}')
        if self.dtype not in DTYPES:
            raise InputError(f'dtype={self.dtype!r}: allowed are {DTYPES}')
        for name in ('layers', 'patch_size', 'depth'):
            if getattr(self, name) < 1:
                raise InputError(f'{name}={getattr(self, name)}: at least 1 is needed')
        check_sizes(self.features, self.kernel_size)
        self.stack = self.build_stack()

    def build_stack(self):
        """The stack of cells, see the module's docstring; what a model has to give."""
        raise NotImplementedError

    def stack_weights(self, shape: tuple[int, ...]) -> Any:
        """Declares the parameters of the stack for inputs of this shape."""
        return self.stack.weights(shape)

    def recalled_steps(self, steps: int) -> int:
        """How many of the newest cell states RECALL looks at in a sequence of `steps` steps."""
        return 1

    def penalties(self, state: Any, steps: int) -> dict[str, jax.Array]:
        """What the model adds to the loss, by name, given the state of the stack at the end."""
        return {}

    @nn.compact
    def _weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares all parameters for a window of this shape."""
        glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros_init()
        *leading, channels = shape

        def declare(name: str, channels: int):
            size = (_JOINED, *self.kernel_size[1:], channels, self.features)
            return {
                'kernel': self.param(f'{name}_kernel', glorot, size),
                'bias': self.param(f'{name}_bias', zeros, (self.features,)),
            }

        encoder = [
            declare(f'encoder_{layer}', self.features if layer else channels)
            for layer in range(self.encoder_layers)
        ]
        decoder = [
            declare(f'decoder_{layer}', self.features) for layer in range(self.decoder_layers)
        ]
        head = (self.depth, self.features, channels)
        return {
            'encoder': encoder,
            'stack': self.stack_weights((*leading, self.features if encoder else channels)),
            'decoder': decoder,
            'head': {
                'kernel': self.param('decoder_kernel', glorot, head),
                'bias': self.param('decoder_bias', zeros, (channels,)),
            },
        }

    def __call__(
        self, frames: jax.Array, output_frames: int, truth_mask: jax.Array | None = None
    ) -> jax.Array:
        """Predicts every next frame, and `output_frames` frames beyond the observed ones.

        Args:
          frames: `[B, T_in, H, W, C]` in [0, 1] or uint8, all observed; with `truth_mask`
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
        steps, batch, *patch_shape = patches.shape
        weights = self._weights((batch, self.depth, *patch_shape))
        patches = patches.astype(weights['head']['bias'].dtype)
        carry, cells = self._initial_state(patches[0])
        carry, _, predictions = eidetic_scan(
            functools.partial(advance, self.stack.step),
            self.recalled_steps(steps),
            self.memory,
            prepare_kernels(weights),
            carry,
            cells,
            StepInputs(patches, inputs.observed),
        )
        for name, penalty in self.penalties(carry.state, steps).items():
            self.sow('losses', name, penalty)
        predictions = from_patches(predictions, self.patch_size)[..., :height, :width, :]
        return jnp.moveaxis(predictions, 0, 1)

    def _initial_state(self, patches: jax.Array):
        """Zero frames in the window, zero states."""
        batch, rows, columns, channels = patches.shape

        def zeros(slots: int, channels: int, dtype):
            return jnp.zeros((batch, slots, rows, columns, channels), dtype)

        window = zeros(self.depth + self.encoder_layers, channels, patches.dtype)
        outputs = zeros(self.decoder_layers, self.features, self.dtype)
        state, cells = self.stack.initial_state((batch, self.depth, rows, columns, channels))
        return ForecastCarry(window, jnp.zeros_like(patches), state, outputs), cells


def step_inputs(frames: jax.Array, output_frames: int, truth_mask: jax.Array | None) -> StepInputs:
    """Frames and mask of all steps, time first: `[N, B, H, W, C]` and `[N, B]`.

    Raises:
      InputError: the arrays do not fit together.
    """
    if frames.ndim != 5:
        raise InputError(f'frames of shape {frames.shape}: [B, T, H, W, C] is needed')
    if output_frames < 1:
        raise InputError(f'output_frames={output_frames}: at least 1 is needed')
    frames = scale_types(frames)
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
