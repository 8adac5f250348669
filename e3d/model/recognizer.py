"""Recognizer: frames in, the class of what happens and the next frames out (section 4.4).

Window of raw frames -> 3D convolutions of stride 2 -> stack of cells -> two layers back to the next
frame; and a classifier over the states of the newest steps. A recogniser is a subclass that builds
its stack, an object as `forecaster.py` describes it. A strided convolution is carried out as one of
stride 1 over patches of 2 x 2 pixels, and its counterpart in the decoder likewise, so that both
have the gradients that are fast in a loop.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.convolution import VALID, Kernel, prepare_kernels, same_padding
from e3d.kernels.modes import Operations
from e3d.kernels.scan import MEMORY, eidetic_scan
from e3d.model.cell import check_sizes
from e3d.model.classifier import Classifier, newest
from e3d.model.forecaster import DTYPES, StepInputs
from e3d.model.frames import scale_types
from e3d.model.predrnn import STLSTMCell
from e3d.model.recurrent import RecurrentStack
from e3d.model.stack import E3DLSTMStack

SEPARABLE = ('none', 'bottom', 'top')


class Recognition(NamedTuple):
    """What a recogniser makes of a clip.

    Attributes:
      predictions: of the frame after each step, `[B, N, H, W, C]`, not clipped.
      scores: logits `[B, classes]`, or `[B, L, classes]` for several lengths.
    """

    predictions: jax.Array
    scores: jax.Array


class RecognitionCarry(NamedTuple):
    """What one step hands to the next, beside the cell states.

    Attributes:
      window: the newest frames, `[B, frames, H, W, C]`.
      prediction: of the coming frame, `[B, H, W, C]`.
      state: of the stack.
    """

    window: jax.Array
    prediction: jax.Array
    state: Any


def halve(slots: jax.Array) -> jax.Array:
    """Patches of 2 x 2 in the channels; odd sides get a row or column of zeros at the end."""
    batch, depth, height, width, channels = slots.shape
    slots = jnp.pad(slots, ((0, 0), (0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    rows, columns = slots.shape[2] // 2, slots.shape[3] // 2
    slots = slots.reshape(batch, depth, rows, 2, columns, 2, channels)
    return slots.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, depth, rows, columns, -1)


def double(slots: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The inverse of `halve`, for frames of `size`."""
    batch, depth, rows, columns, _ = slots.shape
    slots = slots.reshape(batch, depth, rows, columns, 2, 2, -1).transpose(0, 1, 2, 4, 3, 5, 6)
    return slots.reshape(batch, depth, 2 * rows, 2 * columns, -1)[:, :, : size[0], : size[1]]


def halve_kernel(kernel: jax.Array) -> jax.Array:
    """The kernel for `halve`d slots that does what `kernel` does with a stride of 2.

    `[kd, kh, kw, C, F]` to `[kd, ceil, ceil, 4 C, F]`, padded by (k - 1) // 2 before.
    """
    depth, *space, channels, features = kernel.shape
    before = [((size - 1) // 2) % 2 for size in space]
    after = [(low + size) % 2 for low, size in zip(before, space, strict=True)]
    kernel = jnp.pad(kernel, [(0, 0), *zip(before, after, strict=True), (0, 0), (0, 0)])
    rows, columns = kernel.shape[1] // 2, kernel.shape[2] // 2
    kernel = kernel.reshape(depth, rows, 2, columns, 2, channels, features)
    return kernel.transpose(0, 1, 3, 2, 4, 5, 6).reshape(depth, rows, columns, -1, features)


def convolve_strided(
    slots: jax.Array, halved: Kernel | jax.Array, operations: Operations
) -> jax.Array:
    """3D convolution of stride (1, 2, 2), VALID in depth and padded by (k - 1) // 2 in space.

    Args:
      slots: `[B, D, H, W, C]`.
      halved: the kernel, from `halve_kernel`.
      operations: carries out the convolution.

    Returns:
      `[B, D - kd + 1, ceil(H / 2), ceil(W / 2), F]`.
    """
    space = [(size // 2, size - 1 - size // 2) for size in halved.shape[1:3]]
    return operations.convolve(halve(slots), halved, (VALID[0], *space))


def encode(groups, window: jax.Array, operations: Operations) -> jax.Array:
    """The encoder: strided 3D convolutions with a ReLU each."""
    for group in groups:
        window = convolve_strided(window, group['kernel'], operations)
        window = jax.nn.relu(window + group['bias'].astype(window.dtype))
    return window


def decode(groups, outputs: jax.Array, sizes, operations: Operations) -> jax.Array:
    """The decoder: the first layer joins the slots, each doubles height and width.

    Args:
      groups: of each layer, the last one linear.
      outputs: of the stack, `[B, D, h, w, features]`.
      sizes: (height, width) after each layer.
      operations: carries out the convolutions.

    Returns:
      A frame `[B, H, W, C]` in float32.
    """
    for layer, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        kernel = group['kernel']
        padding = (VALID[0], *same_padding(kernel.shape[:3])[1:])
        outputs = operations.convolve(outputs, kernel, padding)
        outputs = outputs + group['bias'].astype(outputs.dtype)
        if layer < len(groups) - 1:
            outputs = jax.nn.relu(outputs)
        outputs = double(outputs, size)
    return outputs[:, 0].astype(groups[0]['bias'].dtype)


def recognition_step(stack_step, sizes, weights, carry, cells, inputs, operations: Operations):
    """Frame or own prediction -> window -> encoder -> stack -> decoder -> next frame.

    Args:
      stack_step: the step of the stack.
      sizes: see `decode`.
      weights: 'encoder', 'stack', 'decoder'.
      carry: from the step before.
      cells: the states that RECALL remembers, from the step before.
      inputs: the true frame `[B, H, W, C]` and which sequences see it.
      operations: carries out the convolutions and RECALL.

    Returns:
      The new carry, the new cells, and (prediction, outputs of the stack `[B, D, h, w, features]`).
    """
    observed = inputs.observed[:, None, None, None]
    frame = jnp.where(observed, inputs.frame, carry.prediction)
    window = jnp.concatenate([carry.window[:, 1:], frame[:, None]], axis=1)
    dtype = window.dtype if stack_step is None else jax.tree.leaves(carry.state)[0].dtype
    outputs = encode(weights['encoder'], window.astype(dtype), operations)
    state = carry.state
    if stack_step is not None:
        state, cells, outputs = stack_step(weights['stack'], state, cells, outputs, operations)
    prediction = decode(weights['decoder'], outputs, sizes, operations)
    return RecognitionCarry(window, prediction, state), cells, (prediction, outputs)


class Recognizer(nn.Module):
    """A network that recognises early and predicts the next frames; the base of all recognisers.

    Step t sees the newest `depth + encoder_layers * (encoder_depth - 1)` frames (zeros before the
    first) and predicts x_{t+1}. The classifier sees the states of the last `window` steps; before
    the first step they are zero.

    Attributes:
      classes: how many there are.
      layers: number of recurrent layers.
      features: channels of the encoder and of every state.
      kernel_size: depth, height and width of the gate convolutions.
      depth: slots of a state; 1 for 2D states.
      encoder_layers: convolutions before the stack, each of stride 2; the decoder has as many.
      encoder_depth: depth of their kernels; 1 for 2D convolutions.
      top_layers, separable: convolutions between the stack and the classifier, see `Classifier`.
      window: how many steps the classifier sees; 16 in the paper, 5 online.
      classifier_features, classifier_hidden: widths of the classifier.
      dtype, memory: as in `Forecaster`.
    """

    classes: int = 41
    layers: int = 4
    features: int = 64
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    depth: int = 2
    encoder_layers: int = 2
    encoder_depth: int = 2
    top_layers: int = 0
    separable: str = 'none'
    window: int = 16
    classifier_features: int = 128
    classifier_hidden: int = 512
    dtype: str = 'float32'
    memory: str = 'save'

    def setup(self):
        """Checks the fields; the parameters come with the first frames."""
        for name, allowed in (('memory', MEMORY), ('dtype', DTYPES), ('separable', SEPARABLE)):
            if getattr(self, name) not in allowed:
                raise InputError(f'{name}={getattr(self, name)!r}: allowed are {allowed}')
        least = {'classes': 2} | dict.fromkeys(
            ('layers', 'depth', 'encoder_layers', 'encoder_depth', 'window'), 1
        )
        for name, number in least.items():
            if getattr(self, name) < number:
                raise InputError(f'{name}={getattr(self, name)}: at least {number} is needed')
        check_sizes(self.features, self.kernel_size)
        self.stack = self.build_stack()
        self.classifier = Classifier(
            self.classes,
            self.classifier_features,
            self.classifier_hidden,
            self.top_layers,
            self.top_kernel,
            self.separable,
            self.dtype,
        )

    def build_stack(self):
        """The stack of cells; None for a recogniser without recurrence."""
        raise NotImplementedError

    @property
    def top_kernel(self) -> tuple[int, int, int]:
        """Of the convolutions between the stack and the classifier: 3D, as the encoder's."""
        return (2, *self.kernel_size[1:])

    def recalled_steps(self, steps: int) -> int:
        """How many of the newest cell states RECALL looks at in a sequence of `steps` steps."""
        return 1

    @property
    def window_frames(self) -> int:
        """Frames that enter the encoder at a step."""
        return self.depth + self.encoder_layers * (self.encoder_depth - 1)

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width of the frame and after each layer of the encoder."""
        sizes = [tuple(size)]
        for _ in range(self.encoder_layers):
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        return sizes

    @nn.compact
    def weights(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Declares the parameters of the loop for frames `[B, H, W, C]`."""
        # For ReLUs: by the width of what comes in alone, as frames have few channels.
        normal, zeros = nn.initializers.he_normal(), nn.initializers.zeros_init()
        batch, *size, channels = shape
        spatial = tuple(self.kernel_size[1:])

        def declare(name: str, *sizes: int):
            return {
                'kernel': self.param(f'{name}_kernel', normal, sizes),
                'bias': self.param(f'{name}_bias', zeros, (sizes[-1],)),
            }

        encoder = [
            declare(
                f'encoder_{layer}',
                self.encoder_depth,
                *spatial,
                self.features if layer else channels,
                self.features,
            )
            for layer in range(self.encoder_layers)
        ]
        encoder = [group | {'kernel': halve_kernel(group['kernel'])} for group in encoder]
        last = self.encoder_layers - 1
        decoder = [
            declare(
                f'decoder_{layer}',
                1 if layer else self.depth,
                *spatial,
                self.features,
                4 * (channels if layer == last else self.features),
            )
            for layer in range(self.encoder_layers)
        ]
        encoded = (batch, self.depth, *self.sizes(size)[-1], self.features)
        stack = () if self.stack is None else self.stack.weights(encoded)
        return {'encoder': encoder, 'stack': stack, 'decoder': decoder}

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...], dtype):
        """Carry and cells before the first frame of shape `[B, H, W, C]`: zeros."""
        batch, *size, channels = shape
        encoded = (batch, self.depth, *self.sizes(size)[-1], self.features)
        stack = self.build_stack()
        state, cells = ((), ()) if stack is None else stack.initial_state(encoded)
        window = jnp.zeros((batch, self.window_frames, *size, channels), dtype)
        return RecognitionCarry(window, jnp.zeros(shape, dtype), state), cells

    @nn.nowrap
    def step_function(self, size: tuple[int, int]):
        """The pure function of a step, see `recognition_step`."""
        stack = self.build_stack()
        sizes = tuple(self.sizes(size)[-2::-1])
        return functools.partial(recognition_step, stack and stack.step, sizes)

    def __call__(
        self,
        frames: jax.Array,
        output_frames: int = 1,
        truth_mask: jax.Array | None = None,
        lengths: jax.Array | None = None,
    ) -> Recognition:
        """Recognises clips and predicts every next frame.

        Args:
          frames: `[B, T, H, W, C]` in [0, 1] (uint8 is divided by 255).
          output_frames: with 1 or more, `output_frames - 1` of the T frames come after the longest
            front part.
          truth_mask: bool `[B, T]`: which frames enter as they are, the model's own prediction in
            place of the others. None: all that are observed.
          lengths: how many frames are observed, int `[B]`, at most T; or `[B, L]`: L lengths of
            each clip are classified. None: T - output_frames + 1. No later frame has an influence
            on the scores.

        Returns:
          A `Recognition`; its predictions are of x_1 .. x_T.

        Raises:
          InputError: arrays that do not fit.
        """
        if frames.ndim != 5:
            raise InputError(f'frames of shape {frames.shape}: [B, T, H, W, C] is needed')
        frames = scale_types(frames)
        batch, steps = frames.shape[:2]
        if not 1 <= output_frames <= steps:
            raise InputError(f'output_frames={output_frames}: allowed is 1 to T = {steps}')
        if lengths is None:
            lengths = jnp.full(batch, steps - output_frames + 1)
        if lengths.shape[:1] != (batch,) or lengths.ndim > 2:
            raise InputError(
                f'lengths of shape {lengths.shape}: [B] or [B, L] is needed, B={batch}'
            )
        if truth_mask is None:
            seen = lengths.reshape(batch, -1).max(axis=1)
            truth_mask = jnp.arange(steps) < seen[:, None]
        if truth_mask.shape != (batch, steps):
            raise InputError(f'truth_mask of shape {truth_mask.shape}: {(batch, steps)} is needed')
        inputs = jnp.moveaxis(frames, 1, 0)
        weights = self.weights(inputs.shape[1:])
        inputs = inputs.astype(weights['encoder'][0]['bias'].dtype)
        carry, cells = self.initial_state(inputs.shape[1:], inputs.dtype)
        _, _, (predictions, outputs) = eidetic_scan(
            self.step_function(frames.shape[2:4]),
            self.recalled_steps(steps),
            self.memory,
            prepare_kernels(weights),
            carry,
            cells,
            StepInputs(inputs, truth_mask.T),
        )
        every = lengths.reshape(batch, -1).T  # [L, B]
        scores = jnp.stack(
            [self.classifier(newest(outputs, one, self.window)) for one in every], axis=1
        )
        scores = scores[:, 0] if lengths.ndim == 1 else scores
        return Recognition(jnp.moveaxis(predictions, 0, 1), scores)

    def classify(self, slots: jax.Array) -> jax.Array:
        """Scores of the slots of the newest steps, see `Classifier`."""
        return self.classifier(slots)


class E3DRecognizer(Recognizer):
    """The recogniser of the paper: E3D-LSTM between encoder and classifier (figure 1c).

    Attributes:
      variant, convolution, recall, history: as in `E3DLSTM`. `convolution='separable'` is the
        E(2+1)D-LSTM of Table 5; online recognition has `history=5` and `window=5`. Depth 1,
        encoder_depth 1 and kernel_size (1, 5, 5) is Table 6's "without 3D convolutions".
      others: as in `Recognizer`.
    """

    variant: str = 'paper'
    convolution: str = 'same'
    recall: bool = True
    history: int | None = None

    @nn.nowrap
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
            parent=None,
        )

    def recalled_steps(self, steps: int) -> int:
        """All but the newest of the steps, or `history` of them."""
        return min(self.history or steps, max(steps - 1, 1))


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
    def build_stack(self) -> None:
        """There is none."""
        return None
