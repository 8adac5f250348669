"""Recognizer: frames in, the class of what happens and the next frames out (section 4.4).

Window of raw frames -> 3D convolutions of stride 2 -> stack of cells -> two layers back to the next
frame; and a classifier over the states of the newest steps. A recognizer is a subclass that builds
its stack.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError
from e3d.kernels.convolution import VALID, Kernel, same_padding
from e3d.kernels.history import History
from e3d.kernels.modes import Operations
from e3d.model.classifier import LEAST_LAYERS, Classifier, newest
from e3d.model.fields import check_at_least, check_frames_shape, parameters_for
from e3d.model.forecaster import Forecaster
from e3d.model.frames import scale_types
from e3d.model.network import (
    Network,
    NetworkCarry,
    StepInputs,
    feed,
    in_own_precision,
    run_stack,
)
from e3d.model.stack import Arrays, StackStep
from e3d.model.strided import convolve_strided, double, halve_kernel
from e3d.options.option import option, same_option
from e3d.options.rules import MOST_FEATURES, MOST_FRAMES, MOST_LAYERS, one_of, sizes, whole


class Recognition(NamedTuple):
    """What a recognizer makes of a clip.

    Attributes:
      predictions: of the frame after each step, `[B, N, H, W, C]`, not clipped.
      scores: logits `[B, classes]`, or `[B, L, classes]` for several lengths.
    """

    predictions: jax.Array
    scores: jax.Array


def check_clips(
    frames: jax.Array, output_frames: int, lengths: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """The frames of clips as numbers, and how many of them are observed, see `Recognizer`.

    Raises:
      InputError: arrays that do not fit.
    """
    check_frames_shape(frames.shape)
    check_at_least({'output_frames': (output_frames, 1)})
    frames = scale_types(frames)
    batch, steps = frames.shape[:2]
    if output_frames > steps:
        raise InputError(f'output_frames={output_frames}: must be 1 to T = {steps}')
    lengths = jnp.full(batch, steps - output_frames + 1) if lengths is None else lengths
    lengths = jnp.asarray(lengths)
    if lengths.shape[:1] != (batch,) or lengths.ndim > 2:
        raise InputError(f'lengths of shape {lengths.shape}: must be [B] or [B, L], B={batch}')
    if not isinstance(lengths, jax.core.Tracer):
        outside = [int(one) for one in np.ravel(lengths) if not 1 <= one <= steps]
        if outside:
            raise InputError(f'lengths of {outside[0]}: must be 1 to T = {steps}')
    return frames, lengths


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


def recognition_step(
    stack_step: StackStep,
    sizes: tuple[tuple[int, int], ...],
    dtype: Any,
    weights: dict[str, Any],
    carry: NetworkCarry,
    remembered: Arrays,
    histories: tuple[History, ...],
    inputs: StepInputs,
    operations: Operations,
) -> tuple[NetworkCarry, Arrays, tuple[jax.Array, jax.Array]]:
    """Frame or own prediction -> window -> encoder -> stack -> decoder -> next frame.

    Args:
      stack_step: the step of the stack.
      sizes: see `decode`.
      dtype: type of the computation.
      weights: 'encoder', 'stack', 'decoder'.
      carry: from the step before.
      remembered: the states that RECALL remembers, from the step before.
      histories: the same of earlier steps, for each layer that recalls.
      inputs: the true frame `[B, H, W, C]` and which sequences see it.
      operations: carries out the convolutions and RECALL.

    Returns:
      The new carry, the new remembered states, and (prediction, outputs of the stack `[B, D, h, w,
      features]`).
    """
    frames = feed(carry, inputs)
    encoded = encode(weights['encoder'], frames.astype(dtype), operations)
    state, remembered, outputs = run_stack(
        stack_step, weights['stack'], carry.state, remembered, histories, encoded, operations
    )
    prediction = decode(weights['decoder'], outputs, sizes, operations)
    return NetworkCarry(frames, prediction, state), remembered, (prediction, outputs)


class Recognizer(Network):
    """A network that recognizes early and predicts the next frames; the base of all recognizers.

    Step t sees the newest `depth + encoder_layers * (encoder_depth - 1)` frames (zeros before the
    first) and predicts x_{t+1}. The classifier sees the states of the last `window` steps; before
    the first step they are zero.

    Attributes:
      encoder_layers: convolutions before the stack, each of stride 2; the decoder has as many.
      top_layers, separable: convolutions between the stack and the classifier, see `Classifier`.
      window: how many steps the classifier sees; 16 in the paper, 5 online.
      others: as their options say.
    """

    classes: int = option(41, 'number of classes', whole(2, 1_000_000))
    layers: int = option(4, 'recurrent layers', whole(1, MOST_LAYERS))
    features: int = option(64, 'channels of the encoder and every state', whole(1, MOST_FEATURES))
    kernel_size: tuple[int, int, int] = option(
        (2, 5, 5), 'depth, height and width of the gate convolutions', sizes((2, 5, 5), 255)
    )
    depth: int = option(2, 'slots of a state; 1 for 2D states', whole(1, MOST_LAYERS))
    encoder_layers: int = option(
        2, 'convolutions of stride 2 before the layers', whole(1, MOST_LAYERS)
    )
    encoder_depth: int = option(
        2, 'depth of their kernels; 1 for 2D convolutions', whole(1, MOST_LAYERS)
    )
    top_layers: int = option(
        0, 'convolutions between the layers and the classifier', whole(0, MOST_LAYERS)
    )
    separable: str = option(
        'none', 'half of the convolutions that are 1 x 5 x 5, then 2 x 1 x 1', one_of(*LEAST_LAYERS)
    )
    window: int = option(16, 'newest steps that the classifier sees', whole(1, MOST_FRAMES))
    classifier_features: int = option(128, 'channels of the classifier', whole(1, MOST_FEATURES))
    classifier_hidden: int = option(512, 'width of its hidden layer', whole(1, MOST_FEATURES))
    dtype: str = same_option(Forecaster, 'dtype')
    precision: str = same_option(Forecaster, 'precision')
    memory: str = same_option(Forecaster, 'memory')

    def setup(self):
        """Checks the fields; the parameters come with the first frames."""
        self.check_fields()
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

    @property
    def top_kernel(self) -> tuple[int, int, int]:
        """Kernel of the convolutions between the stack and the classifier: 3D, like the encoder's."""
        return (2, *self.kernel_size[1:])

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
        encoder = [group | {'kernel': Kernel(halve_kernel(group['kernel']))} for group in encoder]
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
        decoder = [group | {'kernel': Kernel(group['kernel'])} for group in decoder]
        return {'encoder': encoder, 'stack': self.stack.weights(encoded), 'decoder': decoder}

    @nn.nowrap
    def initial_state(self, shape: tuple[int, ...], dtype):
        """Carry and remembered states before the first frame of shape `[B, H, W, C]`: zeros."""
        batch, *size, channels = shape
        encoded = (batch, self.depth, *self.sizes(size)[-1], self.features)
        state, remembered = self.build_stack().initial_state(encoded)
        frames = jnp.zeros((batch, self.window_frames, *size, channels), dtype)
        return NetworkCarry(frames, jnp.zeros(shape, dtype), state), remembered

    @nn.nowrap
    def step_function(self, size: tuple[int, int]):
        """The pure function of a step, see `recognition_step`."""
        sizes = tuple(self.sizes(size)[-2::-1])
        return functools.partial(recognition_step, self.build_stack().step, sizes, self.dtype)

    @in_own_precision
    def __call__(
        self,
        frames: jax.Array,
        output_frames: int = 1,
        truth_mask: jax.Array | None = None,
        lengths: jax.Array | None = None,
    ) -> Recognition:
        """Recognizes clips and predicts every next frame.

        Args:
          frames: `[B, T, H, W, C]` in [0, 1] (uint8 is divided by 255).
          output_frames: with 1 or more, `output_frames - 1` of the T frames come after the longest
            front part.
          truth_mask: bool `[B, T]`: which frames enter as they are, the model's own prediction in
            place of the others. None: all that are observed.
          lengths: how many frames are observed, int `[B]`, 1 to T, which is not checked under
            `jax.jit`; or `[B, L]`: L lengths of each clip are classified. None: T - output_frames +
            1. No later frame has an influence on the scores.

        Returns:
          A `Recognition`; its predictions are of x_1 .. x_T.

        Raises:
          InputError: arrays that do not fit.
        """
        frames, lengths = check_clips(frames, output_frames, lengths)
        batch, steps = frames.shape[:2]
        truth_mask = None if truth_mask is None else jnp.asarray(truth_mask)
        if truth_mask is None:
            seen = lengths.reshape(batch, -1).max(axis=1)
            truth_mask = jnp.arange(steps) < seen[:, None]
        if truth_mask.shape != (batch, steps):
            raise InputError(f'truth_mask of shape {truth_mask.shape}: must be {(batch, steps)}')
        inputs = jnp.moveaxis(frames, 1, 0)
        with parameters_for(inputs.shape[1:]):
            weights = self.weights(inputs.shape[1:])
        inputs = inputs.astype(weights['encoder'][0]['bias'].dtype)
        _, (predictions, outputs) = self.scan(
            self.step_function(frames.shape[2:4]),
            self.stack,
            weights,
            self.initial_state(inputs.shape[1:], inputs.dtype),
            StepInputs(inputs, truth_mask.T),
        )
        every = lengths.reshape(batch, -1).T  # [L, B]
        scores = jnp.stack(
            [self.classifier(newest(outputs, one, self.window)) for one in every], axis=1
        )
        scores = scores[:, 0] if lengths.ndim == 1 else scores
        return Recognition(jnp.moveaxis(predictions, 0, 1), scores)

    @in_own_precision
    def classify(self, slots: jax.Array) -> jax.Array:
        """Scores of the slots of the newest steps, see `Classifier`."""
        return self.classifier(slots)
