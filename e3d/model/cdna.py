"""CDNA, convolutional dynamic neural advection (Finn, Goodfellow and Levine, NeurIPS 2016).

Seven ConvLSTMs look at the newest frame, generate ten kernels for the whole picture and a mask for each
filtered picture, and put the next frame together from those, a background and a picture of their own:

    layer                                                   output, of 64 x 64
    enc0 = conv 5 x 5, stride 2, 32, LN, ReLU               32 x 32 x 32
    lstm1 32, LN; lstm2 32, LN                              32 x 32 x 32
    enc1 = conv 3 x 3, stride 2, 32, ReLU                   16 x 16 x 32
    lstm3 64, LN; lstm4 64, LN                              16 x 16 x 64
    enc2 = conv 3 x 3, stride 2, 64, ReLU                   8 x 8 x 64
    enc3 = conv 1 x 1, 64, ReLU                             8 x 8 x 64
    lstm5 128, LN = hidden5                                 8 x 8 x 128
    enc4 = transposed conv 3 x 3, stride 2, 128, ReLU       16 x 16 x 128
    lstm6 64, LN; beside it enc1                            16 x 16 x 96
    enc5 = transposed conv 3 x 3, stride 2, 96, ReLU        32 x 32 x 96
    lstm7 32, LN; beside it enc0                            32 x 32 x 64
    enc6 = transposed conv 3 x 3, stride 2, 64, LN, ReLU    64 x 64 x 64

    kernels: a linear map of all of hidden5 to k, 5 x 5 x 10; then max(k - 1e-12, 0) + 1e-12 over its sum
    picture S = sigmoid(conv 1 x 1 of enc6)                        masks m = softmax(conv 1 x 1 of enc6)
    prediction = m_0 . x + m_1 . S + sum over the ten kernels of m_{k+1} . (k applied to x)

x is the newest frame; it is zero outside, and a kernel is the same for every color. The ConvLSTMs have
one convolution of 5 x 5 (`update_lstm`). LN is over height, width and channels, with scale and bias for
each channel; what it follows has no bias, and the state of an LSTM stays as it was before it.

8,309,607 parameters at 64 x 64 in gray, 8,311,337 in color, 14,453,607 at 128 x 128: the linear map
fixes the size of the frames.

Sources: the paper, and the authors' code (tensorflow/models, video_prediction/prediction_model.py),
which differs from it: `variant='released'` has a ReLU on the logits of masks and picture, and one mask
more than kernels in place of two, so that the picture of the tenth kernel is dropped. The background is
the newest frame, as in both. There are no states and actions of a robot. LN has an epsilon of 1e-5:
TensorFlow's 1e-12 makes gradients of 1e6 where a picture is all of one value.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.kernels.layer_norm import layer_norm
from e3d.kernels.local_filters import filter_each
from e3d.kernels.modes import Operations
from e3d.model.layers import (
    LSTMState,
    convolve,
    grow,
    shrink,
    strided,
    transposed,
    update_lstm,
)
from e3d.model.registry import register_forecaster
from e3d.model.stepwise import FrameStep, StepwiseForecaster
from e3d.options.option import option
from e3d.options.rules import MOST_FEATURES, MOST_LAYERS, one_of, whole

_SIDE = 5  # of the generated kernels
_LEAST = 1e-12
_VARIANTS = ('paper', 'released')

States = tuple[LSTMState, ...]


def generate(
    weights: dict[str, Any], states: States, frame: jax.Array, operations: Operations
) -> tuple[States, jax.Array, jax.Array]:
    """The network: from the states and a frame to the new states, hidden5 and enc6."""
    lstms = iter(zip('1234567', states, strict=True))
    new_states = []

    def lstm(inputs):
        number, state = next(lstms)
        state = update_lstm(weights[f'lstm{number}'], state, inputs, operations)
        new_states.append(state)
        return _norm(weights[f'lstm{number}_norm'], state.hidden)

    def down(name, inputs, padding=0):
        return shrink(weights[name], inputs, padding, operations)

    def up(name, inputs):
        return grow(weights[name], inputs, operations)

    frame = frame.astype(states[0].hidden.dtype)
    enc0 = jax.nn.relu(_norm(weights['enc0_norm'], down('enc0', frame, 1)))
    enc1 = jax.nn.relu(down('enc1', lstm(lstm(enc0))))
    enc2 = jax.nn.relu(down('enc2', lstm(lstm(enc1))))
    enc3 = jax.nn.relu(convolve(weights['enc3'], enc2, operations))
    hidden5 = lstm(enc3)
    enc4 = jax.nn.relu(up('enc4', hidden5))
    enc5 = jax.nn.relu(up('enc5', jnp.concatenate([lstm(enc4), enc1], axis=-1)))
    enc6 = up('enc6', jnp.concatenate([lstm(enc5), enc0], axis=-1))
    return tuple(new_states), hidden5, jax.nn.relu(_norm(weights['enc6_norm'], enc6))


def _norm(group: dict[str, jax.Array], inputs: jax.Array) -> jax.Array:
    return layer_norm(inputs[:, None], group)[:, 0]


def normalized_kernels(layer: dict[str, jax.Array], hidden: jax.Array) -> jax.Array:
    """Kernels that sum to 1, `[B, 5, 5, kernels]` in the type of the parameters."""
    flat = hidden.reshape(hidden.shape[0], -1).astype(layer['kernel'].dtype)
    kernels = flat @ layer['kernel'] + layer['bias']
    kernels = jax.nn.relu(kernels.reshape(hidden.shape[0], _SIDE, _SIDE, -1) - _LEAST) + _LEAST
    return kernels / kernels.sum((1, 2), keepdims=True)


def compose(masks: jax.Array, pictures: jax.Array) -> jax.Array:
    """The sum of pictures `[N, B, H, W, C]`, each weighted by its mask, `[B, H, W, N]`.

    Pictures for which there is no mask are dropped.
    """
    masks = jnp.moveaxis(masks, -1, 0)[..., None]
    return (masks * pictures[: len(masks)]).sum(0)


def forecast_step(
    released: bool,
    weights: dict[str, Any],
    states: States,
    frame: jax.Array,
    operations: Operations,
) -> tuple[States, jax.Array]:
    """From the states and the newest frame to the new states and the prediction of the next one."""
    states, hidden5, enc6 = generate(weights, states, frame, operations)
    masks, picture = (
        convolve(weights[name], enc6, operations).astype(frame.dtype)
        for name in ('masks', 'picture')
    )
    if released:
        masks, picture = jax.nn.relu(masks), jax.nn.relu(picture)
    filtered = filter_each(frame, normalized_kernels(weights['kernels'], hidden5))
    pictures = jnp.concatenate([jnp.stack([frame, jax.nn.sigmoid(picture)]), filtered])
    return states, compose(jax.nn.softmax(masks), pictures)


@register_forecaster('cdna')
class CDNA(StepwiseForecaster):
    """Convolutional dynamic neural advection.

    Attributes:
      variant: 'paper', or 'released' as in the authors' code of 2016.
      features: channels of the first ConvLSTM; all other layers have 1 to 4 times as many.
      transformations: how many kernels are generated.
      pad_frames, dtype, memory: as in `StepwiseForecaster`. Height and width must be multiples of 8.
    """

    variant: str = option('paper', "the paper, or the authors' code", one_of(*_VARIANTS))
    features: int = option(32, 'channels of the first ConvLSTM', whole(1, MOST_FEATURES))
    transformations: int = option(10, 'kernels that are generated', whole(1, MOST_LAYERS))

    @property
    def multiple(self) -> int:
        """What three halvings ask for."""
        return 8

    @property
    def step(self) -> FrameStep:
        """See `forecast_step`."""
        return functools.partial(forecast_step, self.variant == 'released')

    @nn.compact
    def weights(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Declares the layers by their names."""
        height, width, channels = shape
        f = self.features
        weights = {}
        for number, inputs, outputs in zip(
            '1234567', (1, 1, 1, 2, 2, 4, 3), (1, 1, 2, 2, 4, 2, 1), strict=True
        ):
            name = f'lstm{number}'
            weights[name] = self.declare(name, 5, f * (inputs + outputs), 4 * f * outputs)
            weights[f'{name}_norm'] = self._declare_norm(f'{name}_norm', f * outputs)
        weights |= {
            'enc0': strided(self.declare('enc0', 5, channels, f, bias=False), 1),
            'enc0_norm': self._declare_norm('enc0_norm', f),
            'enc1': strided(self.declare('enc1', 3, f, f), 0),
            'enc2': strided(self.declare('enc2', 3, 2 * f, 2 * f), 0),
            'enc3': self.declare('enc3', 1, 2 * f, 2 * f),
            'enc4': transposed(self.declare('enc4', 3, 4 * f, 4 * f)),
            'enc5': transposed(self.declare('enc5', 3, 3 * f, 3 * f)),
            'enc6': transposed(self.declare('enc6', 3, 2 * f, 2 * f, bias=False)),
            'enc6_norm': self._declare_norm('enc6_norm', 2 * f),
            'picture': self.declare('picture', 1, 2 * f, channels),
        }
        masks = self.transformations + (1 if self.variant == 'released' else 2)
        sizes = (height // 8 * (width // 8) * 4 * f, _SIDE**2 * self.transformations)
        return weights | {
            'masks': self.declare('masks', 1, 2 * f, masks),
            'kernels': self.param('kernels', self._initial_layer, sizes),
        }

    def _declare_norm(self, name: str, channels: int) -> dict[str, jax.Array]:
        def initial(_):
            return {'norm_scale': jnp.ones(channels), 'norm_bias': jnp.zeros(channels)}

        return self.param(name, initial)

    @nn.nowrap
    def initial_state(self, weights: Any, shape: tuple[int, int, int, int]) -> States:
        """Zeros."""
        batch, height, width, _ = shape
        # The scale at which each ConvLSTM sees the frame, and its channels.
        layers = zip((2, 2, 4, 4, 8, 4, 2), (1, 1, 2, 2, 4, 2, 1), strict=True)
        sizes = [
            (batch, height // scale, width // scale, self.features * factor)
            for scale, factor in layers
        ]
        return tuple(
            LSTMState(*(jnp.zeros(size, self.dtype) for _ in LSTMState._fields)) for size in sizes
        )
