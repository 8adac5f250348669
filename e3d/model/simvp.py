"""SimVP: frames encoded one by one, translated all at once, decoded one by one.

One skeleton for the family (Gao et al., CVPR 2022; TAU: Tan et al., CVPR 2023), as in OpenSTL:

| part | layers | out |
|---|---|---|
| encoder, of each frame | 3 x 3 convolution, GroupNorm, SiLU; strides 1, 2, 1, 2, ... | h x w x E |
| translator, see `translators.py` | frames side by side in the channels | h x w x (T * E) |
| decoder, of each frame | the encoder's in reverse, stride 2 by shuffling pixels | H x W x E |
| readout, of each frame | 1 x 1 convolution | H x W x C |

Encoder and decoder have `encoder_layers` of E = `encoder_features` channels and GroupNorms of two
groups; the decoder's last layer gets what the encoder's first made of the same frame added.
As many frames come out as went in. Where fewer are wanted the rest is cut off, where more, the
output is the next input, as often as needed.

`translator='tau'` adds to the loss the divergence of the differences from frame to frame,

    0.1 mean( p log(p / (q + 1e-12) + 1e-12) ),   p, q = softmax(D / 0.1) of each step

with D the difference between a frame and the one before, forecast (p) and true (q), flattened.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.model.fields import (
    check_at_least,
    check_frames_shape,
    check_options,
    parameters_for,
)
from e3d.model.forecaster import Forecaster
from e3d.model.frames import scale_types
from e3d.model.needs import RANDOM, Needs, Training
from e3d.model.network import in_own_precision
from e3d.model.registry import register_forecaster
from e3d.model.translators import (
    BY_FAN_IN,
    EPSILON,
    AttentionBlock,
    Blocks,
    InceptionUNet,
    MixerBlock,
)
from e3d.options.option import option, same_option
from e3d.options.rules import MOST_FEATURES, MOST_LAYERS, number, one_of, optional, whole

BLOCKS = {
    'gsta': AttentionBlock,
    'tau': functools.partial(AttentionBlock, dynamic=True),
    'convmixer': MixerBlock,
}
TRANSLATORS = (*BLOCKS, 'incepu')
TAU_DIVERGENCE = 0.1
TEMPERATURE = 0.1


class ConvNorm(nn.Module):
    """A 3 x 3 convolution, GroupNorm of two groups, SiLU.

    Attributes:
      features: channels.
      stride: 1 or 2.
      up: whether the picture grows to twice the size, four channels becoming 2 x 2 pixels.
      dtype: of the computation.
    """

    features: int
    stride: int = 1
    up: bool = False
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[B, h, w, C]` to `[B, h', w', features]`."""
        convolution = nn.Conv(
            4 * self.features if self.up else self.features,
            (3, 3),
            strides=self.stride,
            padding=1,
            dtype=self.dtype,
            kernel_init=nn.initializers.truncated_normal(0.02),
            name='conv',
        )
        outputs = convolution(inputs)
        if self.up:
            outputs = shuffle_pixels(outputs)
        norm = nn.GroupNorm(2, epsilon=EPSILON, dtype=self.dtype, name='norm')
        return nn.silu(norm(outputs))


def shuffle_pixels(values: jax.Array) -> jax.Array:
    """`[B, h, w, 4 C]` to `[B, 2 h, 2 w, C]`; channels in the order (C, row, column)."""
    batch, rows, columns, channels = values.shape
    values = values.reshape(batch, rows, columns, channels // 4, 2, 2)
    values = values.transpose(0, 1, 4, 2, 5, 3)
    return values.reshape(batch, 2 * rows, 2 * columns, channels // 4)


class Pass(nn.Module):
    """One pass of the network: T frames in, the next T frames out.

    Attributes:
      model: whose fields it follows.
      training: what the model was told.
    """

    model: 'SimVP'
    training: Training | None = None

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """`[B, T, H, W, C]` to the same shape."""
        model, (batch, length, *size) = self.model, frames.shape
        values, skip = frames.reshape(batch * length, *size).astype(model.dtype), None
        strides = [1 + layer % 2 for layer in range(model.encoder_layers)]
        for layer, stride in enumerate(strides):
            layer_of = functools.partial(ConvNorm, model.encoder_width, dtype=model.dtype)
            values = layer_of(stride, name=f'encoder_{layer}')(values)
            skip = values if skip is None else skip

        _, rows, columns, channels = values.shape
        values = values.reshape(batch, length, rows, columns, channels).transpose(0, 2, 3, 1, 4)
        values = self._translator()(values.reshape(batch, rows, columns, length * channels))
        values = values.reshape(batch, rows, columns, length, channels).transpose(0, 3, 1, 2, 4)
        values = values.reshape(batch * length, rows, columns, channels)

        for layer, stride in enumerate(reversed(strides)):
            if layer == len(strides) - 1:
                values = values + skip
            values = layer_of(up=stride == 2, name=f'decoder_{layer}')(values)
        readout = nn.Dense(size[-1], dtype=model.dtype, kernel_init=BY_FAN_IN, name='readout')
        return readout(values).astype(frames.dtype).reshape(frames.shape)

    def _translator(self) -> nn.Module:
        model = self.model
        common = {'layers': model.layers, 'features': model.features, 'dtype': model.dtype}
        if model.translator == 'incepu':
            return InceptionUNet(**common, name='translator')
        return Blocks(
            BLOCKS[model.translator],
            drop_path=model.drop_path,
            training=self.training,
            **common,
            name='translator',
        )


@register_forecaster('simvp')
class SimVP(nn.Module):
    """SimVP with one of four translators; forecasts what follows its input.

    Defaults are those of Moving MNIST in OpenSTL. The number of parameters depends on the number of
    input frames.

    Attributes:
      translator: 'gsta' (SimVPv2), 'tau', 'convmixer' or 'incepu' (the first SimVP).
      layers: of the translator, N_T; at least 2, and 'incepu' has so many down and up.
      features: of the translator, hid_T.
      encoder_layers: of the encoder, and as many of the decoder, N_S; every second one halves the
        frames, whose sides must be multiples of it.
      encoder_features: of both, hid_S; even. None: features / 8, at least 8.
      drop_path: how often the last block of 'gsta' and 'tau' is left out for a sequence in training,
        earlier ones less often.
      divergence: weight of the divergence of differences in the loss; None: 0.1 with 'tau', else 0.
      dtype, precision, noise_channels: as in `Forecaster`.
    """

    translator: str = option('gsta', 'from encoded input to forecast', one_of(*TRANSLATORS))
    layers: int = option(8, 'layers of the translator', whole(2, MOST_LAYERS))
    features: int = option(512, 'channels of the translator', whole(1, MOST_FEATURES))
    encoder_layers: int = option(
        4, 'layers of encoder and decoder, every second halves the frames', whole(1, MOST_LAYERS)
    )
    encoder_features: int | None = option(
        None,
        'channels of these, an even number; None: an eighth of features, at least 8',
        optional(whole(2, MOST_FEATURES)),
    )
    drop_path: float = option(
        0.0, "how often the last block of 'gsta' or 'tau' is left out", number(0, 0.99)
    )
    divergence: float | None = option(
        None, "weight of TAU's loss; None: 0.1 with 'tau', else 0", optional(number(0))
    )
    dtype: str = option('float32', 'dtype of the convolutions', one_of('float32', 'bfloat16'))
    precision: str = same_option(Forecaster, 'precision')
    noise_channels: int = same_option(Forecaster, 'noise_channels')

    @property
    def needs(self) -> Needs:
        """The future only, statistics of batches, and the loss of TAU."""
        return Needs(
            future_only=True,
            feeds_back='pass',
            training=self.translator != 'incepu',
            losses=self._divergence_weight > 0.0,
        )

    @property
    def encoder_width(self) -> int:
        """The channels of encoder and decoder."""
        if self.encoder_features is None:
            return max(8, 2 * (self.features // 16))
        return self.encoder_features

    @property
    def _divergence_weight(self) -> float:
        if self.divergence is None:
            return TAU_DIVERGENCE if self.translator == 'tau' else 0.0
        return self.divergence

    @in_own_precision
    @nn.compact
    def __call__(
        self, frames: jax.Array, output_frames: int, training: Training | None = None
    ) -> jax.Array:
        """Forecasts the frames that follow.

        Args:
          frames: `[B, T, H, W, C]` in [0, 1] or uint8; T as in training.
          output_frames: T_out >= 1.
          training: see `Needs`.

        Returns:
          `[B, T_out, H, W, C]`, not clipped.

        Raises:
          InputError: frames whose sides the encoder cannot halve, or that do not fit the parameters.
        """
        self._check(frames.shape, output_frames)
        frames = scale_types(frames)
        frames = frames.astype(jnp.promote_types(frames.dtype, jnp.float32))
        passes = -(-output_frames // frames.shape[1])
        with parameters_for(frames.shape[1:]):
            network = Pass(self, training, name='network')
            if passes == 1 or self.is_initializing():  # one pass declares all variables
                outputs = jnp.tile(network(frames), (1, passes, 1, 1, 1))
                return outputs[:, :output_frames]
            learning = self.is_mutable_collection('batch_stats')
            step = nn.scan(
                lambda network, frames, _: 2 * (network(frames),),
                variable_broadcast='params' if learning else ['params', 'batch_stats'],
                variable_carry='batch_stats' if learning else False,
                split_rngs={'params': False, RANDOM: True},
                length=passes,
            )
            _, outputs = step(network, frames, None)
        outputs = jnp.moveaxis(outputs, 0, 1)  # [B, passes, T, H, W, C]
        return outputs.reshape(frames.shape[0], -1, *frames.shape[2:])[:, :output_frames]

    def extra_losses(
        self, predictions: jax.Array, frames: jax.Array, training: Training
    ) -> dict[str, jax.Array]:
        """The divergence of differences, weighted; nothing for a single forecast frame."""
        del training
        truth = frames[:, -predictions.shape[1] :]
        weight = self._divergence_weight
        return {'divergence': weight * divergence_of_differences(predictions, truth)}

    def _check(self, shape: tuple[int, ...], output_frames: int) -> None:
        check_frames_shape(shape)
        check_options(self)
        if self.encoder_width % 2:
            raise InputError(f'encoder_features={self.encoder_features}: must be even')
        check_at_least({'output_frames': (output_frames, 1)})
        if shape[1] < 1:
            raise InputError(f'frames of shape {tuple(shape)}: at least one must be observed')
        factor = 2 ** (self.encoder_layers // 2)
        if any(side % factor for side in shape[2:4]):
            raise InputError(
                f'frames of {shape[2]} x {shape[3]} cannot be halved {self.encoder_layers // 2} '
                f'times: choose fewer encoder_layers, or frames whose sides are multiples of {factor}'
            )


def divergence_of_differences(predictions: jax.Array, truth: jax.Array) -> jax.Array:
    """TAU's loss: how far the changes from frame to frame are distributed otherwise.

    Args:
      predictions: `[B, T, H, W, C]`.
      truth: of the same shape.

    Returns:
      The mean over all entries, see the head of the file; 0 for a single frame.
    """
    if predictions.shape[1] < 2:
        return jnp.zeros((), predictions.dtype)

    def shares(frames):
        differences = jnp.diff(frames, axis=1)
        flat = differences.reshape(*differences.shape[:2], -1)
        return jax.nn.softmax(flat / TEMPERATURE, axis=-1)

    p, q = shares(predictions), shares(truth)
    return jnp.mean(p * jnp.log(p / (q + 1e-12) + 1e-12))
