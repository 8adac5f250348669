"""Forecaster: patches, encoder, recurrent layers and decoder around the prediction of the next frame."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.convolution import Kernel, same_padding
from e3d.kernels.history import History
from e3d.kernels.modes import Operations
from e3d.kernels.precision import PRECISIONS
from e3d.kernels.scan import POLICIES
from e3d.model.fields import check_at_least, check_frames_shape, parameters_for
from e3d.model.frames import scale_types
from e3d.model.network import (
    Network,
    NetworkCarry,
    StepInputs,
    feed,
    in_own_precision,
    run_stack,
)
from e3d.model.patching import from_patches, pad_to_patches, to_patches
from e3d.model.stack import Arrays, StackStep
from e3d.options.option import option
from e3d.options.rules import MOST_FEATURES, MOST_LAYERS, MOST_PIXELS, SWITCH, one_of, sizes, whole

# Frames that a convolution of the encoder or decoder joins to one.
_JOINED = 2


def advance(
    stack_step: StackStep,
    weights: dict[str, Any],
    carry: NetworkCarry,
    remembered: Arrays,
    histories: tuple[History, ...],
    inputs: StepInputs,
    operations: Operations,
) -> tuple[NetworkCarry, Arrays, jax.Array]:
    """One step: frame or own prediction -> window -> encoder -> stack -> decoder -> next frame.

    Args:
      stack_step: the step of the stack.
      weights: 'encoder' and 'decoder' (a group for each 3D convolution), 'stack', and 'head'
        (`kernel [D, features, p*p*C]`, `bias`).
      carry: from the step before; its frames are patched.
      remembered: the states that RECALL remembers, from the step before.
      histories: the same of earlier steps, for each layer that recalls.
      inputs: the true frame, patched, and which sequences see it.
      operations: carries out the convolutions and RECALL.

    Returns:
      The new carry, the new remembered states, and the prediction `[B, h, w, p*p*C]` in float32.
    """
    frames = feed(carry, inputs)
    encoded = join_slots(weights['encoder'], frames.astype(carry.outputs.dtype), operations)
    state, remembered, outputs = run_stack(
        stack_step, weights['stack'], carry.state, remembered, histories, encoded, operations
    )
    outputs = jnp.concatenate([carry.outputs, outputs], axis=1)
    decoded = join_slots(weights['decoder'], outputs, operations)
    prediction = to_frame(weights['head'], decoded)
    newest = outputs[:, outputs.shape[1] - carry.outputs.shape[1] :]
    return NetworkCarry(frames, prediction, state, newest), remembered, prediction


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


class Forecaster(Network):
    """A recurrent network that forecasts frames; the base of every model.

    Window of the newest `depth` frames (stride 1, zeros before the first) -> space-to-depth patches ->
    stack of cells -> one linear 3D convolution back to a frame. Step t sees x_t and predicts x_{t+1};
    after the observed frames its own prediction enters in place of x_t. 3D convolutions before the
    stack (figure 1a) and after it (figure 1b) are optional.

    Attributes:
      layers, features, kernel_size: as their options say.
      patch_size: side p of a patch; height and width must be multiples of it.
      pad_frames: True pads frames by their last row and column to multiples of p and crops the
        predictions; False raises for such frames.
      depth: frames in the window and slots of a state; 1 for 2D states.
      encoder_layers: 3D convolutions (2 x kh x kw, `features` channels, ReLU) between window and
        stack. Each joins two frames to one, so the window has so many more.
      decoder_layers: the same between the outputs of the stack at the newest steps and the frame.
      dtype: 'float32', 'bfloat16' or 'float64' (needs `jax_enable_x64`), type of the states and
        convolutions, or the type itself, such as `jnp.bfloat16`. Parameters, predictions and the sums
        of LayerNorm and softmax stay float32 under bfloat16.
      precision: how GPUs and TPUs multiply float32: 'float32' as it is, with results that CPUs give
        too, to 1e-5; 'fast' in TF32 or in one pass of bfloat16. See `e3d.kernels.precision`.
      memory: 'save' or 'recompute', what training keeps of each step (see `e3d.kernels.scan`).
      noise_channels: how many channels of the frames are random numbers, see `e3d.model.beside`; the
        model takes what it is given.
    """

    layers: int = option(4, 'recurrent layers', whole(1, MOST_LAYERS))
    features: int = option(128, 'channels of every state', whole(1, MOST_FEATURES))
    kernel_size: tuple[int, int, int] = option(
        (1, 5, 5), 'depth, height and width of the gate convolutions', sizes((2, 5, 5), 255)
    )
    patch_size: int = option(4, 'side of a space-to-depth patch, pixels', whole(1, MOST_PIXELS))
    pad_frames: bool = option(
        False, 'pad frames to multiples of the patch size and crop the forecasts', SWITCH
    )
    depth: int = option(1, 'frames in the window; 1 for 2D states', whole(1, MOST_LAYERS))
    encoder_layers: int = option(0, '3D convolutions before the layers', whole(0, MOST_LAYERS))
    decoder_layers: int = option(0, '3D convolutions after the layers', whole(0, MOST_LAYERS))
    dtype: str = option(
        'float32', 'dtype of states and convolutions', one_of('float32', 'bfloat16')
    )
    precision: str = option(
        'float32',
        'how GPUs and TPUs multiply float32: as it is, or in TF32 or bfloat16',
        one_of(*PRECISIONS),
        changeable=True,
        older='fast',
    )
    memory: str = option(
        'save', 'what training keeps of each step', one_of(*POLICIES), changeable=True
    )
    noise_channels: int = option(
        0,
        'channels of random numbers that enter at every step: each draw makes another forecast; needs '
        'loss.crps_weight',
        whole(0, MOST_FEATURES),
        older=0,
    )

    def setup(self):
        """Checks the fields; the parameters come with the first frames."""
        self.check_fields()
        self.stack = self.build_stack()

    def stack_weights(self, shape: tuple[int, ...]) -> Any:
        """Declares the parameters of the stack for inputs of this shape."""
        return self.stack.weights(shape)

    def penalties(self, state: Any, steps: int) -> dict[str, jax.Array]:
        """What the model adds to the loss, by name, given the state of the stack at the end."""
        return {}

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares all parameters for a window of this shape."""
        glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros_init()
        *leading, channels = shape

        def declare(name: str, channels: int):
            size = (_JOINED, *self.kernel_size[1:], channels, self.features)
            return {
                'kernel': Kernel(self.param(f'{name}_kernel', glorot, size)),
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

    @in_own_precision
    def __call__(
        self, frames: jax.Array, output_frames: int, truth_mask: jax.Array | None = None
    ) -> jax.Array:
        """Predicts every next frame, and `output_frames` frames beyond the observed ones.

        Args:
          frames: `[B, T_in, H, W, C]` in [0, 1] or uint8, all observed; with `truth_mask`
            `[B, T_in + output_frames - 1, H, W, C]`, all but the last target.
          output_frames: T_out >= 1.
          truth_mask: bool `[B, output_frames - 1]`; where True the true frame x_{T_in + j} enters at
            step T_in + j, elsewhere the model's own prediction of it (scheduled sampling). Or
            `[B, output_frames - 1, H, W, C]`, the same of each value.

        Returns:
          `[B, T_in + T_out - 1, H, W, C]`: predictions of x_1 .. x_{T_in + T_out - 1}, not clipped; the
          last T_out are the forecast.

        Raises:
          InputError: a length below 1, a patch size that does not divide, arrays that do not fit.
        """
        inputs = step_inputs(frames, output_frames, truth_mask)
        height, width = frames.shape[2:4]
        frames = inputs.frame
        patches = self.patched(frames)
        _, batch, *patch_shape = patches.shape
        with parameters_for(frames.shape[1:]):
            weights = self.weights((batch, self.depth, *patch_shape))
        patches = patches.astype(weights['head']['bias'].dtype)
        observed = inputs.observed
        observed = self.patched(observed) if observed.ndim > 2 else observed
        carry, predictions = self.scan(
            self.step_function(),
            self.stack,
            weights,
            self.initial_state(patches.shape[1:], patches.dtype),
            StepInputs(patches, observed),
        )
        for name, penalty in self.penalties(carry.state, len(patches)).items():
            self.sow('losses', name, penalty)
        predictions = from_patches(predictions, self.patch_size)[..., :height, :width, :]
        return jnp.moveaxis(predictions, 0, 1)

    @property
    def multiple(self) -> int:
        """What height and width of the frames must be a multiple of."""
        return self.patch_size

    @nn.nowrap
    def patched(self, frames: jax.Array) -> jax.Array:
        """Frames `[..., H, W, C]` as patches, padded where the model does that."""
        if self.pad_frames:
            frames = pad_to_patches(frames, self.patch_size)
        return to_patches(frames, self.patch_size)

    @nn.nowrap
    def step_function(self) -> Callable:
        """The pure function of a step, see `advance`."""
        return functools.partial(advance, self.build_stack().step)

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...], dtype: Any) -> tuple[NetworkCarry, Arrays]:
        """Zero frames in the window, zero states, for patches `[B, h, w, p*p*C]` of this shape."""
        batch, rows, columns, channels = shape

        def zeros(slots: int, channels: int, dtype):
            return jnp.zeros((batch, slots, rows, columns, channels), dtype)

        frames = zeros(self.depth + self.encoder_layers, channels, dtype)
        outputs = zeros(self.decoder_layers, self.features, self.dtype)
        inputs = (
            batch,
            self.depth,
            rows,
            columns,
            self.features if self.encoder_layers else channels,
        )
        state, remembered = self.build_stack().initial_state(inputs)
        return NetworkCarry(frames, jnp.zeros(shape, dtype), state, outputs), remembered


def step_inputs(frames: jax.Array, output_frames: int, truth_mask: jax.Array | None) -> StepInputs:
    """Frames and mask of all steps, time first: `[N, B, H, W, C]` and `[N, B]`, or as the frames.

    Raises:
      InputError: the arrays do not fit together.
    """
    check_frames_shape(frames.shape)
    check_at_least({'output_frames': (output_frames, 1)})
    truth_mask = None if truth_mask is None else jnp.asarray(truth_mask)
    frames = scale_types(frames)
    batch, length = frames.shape[:2]
    if truth_mask is None:
        padding = [(0, 0)] * 5
        padding[1] = (0, output_frames - 1)
        frames = jnp.pad(frames, padding)
        truth_mask = jnp.zeros((batch, output_frames - 1), bool)
    elif truth_mask.shape not in (
        (batch, output_frames - 1),
        (batch, output_frames - 1, *frames.shape[2:]),
    ):
        raise InputError(
            f'truth_mask of shape {truth_mask.shape}: must be [B, output_frames - 1] = '
            f'{(batch, output_frames - 1)}, or that and the shape of a frame'
        )
    input_frames = frames.shape[1] - (output_frames - 1)
    if input_frames < 1:
        raise InputError(
            f'{length} frames for {output_frames} output frames: at least one must be observed'
        )
    seen = jnp.ones((batch, input_frames, *truth_mask.shape[2:]), bool)
    observed = jnp.concatenate([seen, truth_mask.astype(bool)], axis=1)
    return StepInputs(*(jnp.moveaxis(part, 1, 0) for part in (frames, observed)))
