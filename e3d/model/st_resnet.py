"""ST-ResNet: residual networks on the newest frames, and on those of the same time before.

    B_c = branch(x_{t-1}, x_{t-2}, ...)     the newest frames, newest first
    B_p = branch(the same slot of the days before)
    B_q = branch(the same slot of the weeks before)
    x_t = tanh(W_c . B_c + W_p . B_p + W_q . B_q)

    branch(x) = conv * ReLU(unit(... unit(conv * x)))     unit(h) = h + conv * ReLU(conv * ReLU(h))

All convolutions are 3 x 3 with a bias, `features` channels wide but for the last, which has those of
a frame. Each W has a weight for each element of a frame, and begins uniformly in [0, 1); with the
newest frames alone there is none of them, and x_t = tanh(B_c). Frames in [0, 1] are mapped to [-1, 1]
and back, so none below 0 or above 1 is forecast.
Source: Zhang, Zheng and Qi, AAAI 2017, and the authors' code.

As many frames as are wanted follow one by one: each forecast becomes the newest frame, while the frames
of days and weeks before stay true ones. So does the authors' code (DeepST, evalMultiStepAhead). Their
network trains on the first step alone, this one on all that are forecast; with output_frames=1 both
are the same. Left out are the weather and the holidays, which the data of the comparison do not have,
and the option of batch normalization, which the published results do without.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.kernels.convolution import Kernel, prepare_kernels
from e3d.kernels.modes import Operations
from e3d.kernels.scan import scan_with_history
from e3d.model.fields import (
    check_at_least,
    check_frames_shape,
    check_options,
    parameters_for,
)
from e3d.model.forecaster import Forecaster
from e3d.model.frames import scale_types
from e3d.model.layers import convolve
from e3d.model.needs import Needs
from e3d.model.network import in_own_precision
from e3d.model.registry import register_forecaster
from e3d.options.option import option, same_option
from e3d.options.rules import MOST_FEATURES, MOST_FRAMES, MOST_LAYERS, optional, whole

_SIZE = 3  # of all kernels


class Branch(nn.Module):
    """Declares the parameters of a branch.

    Attributes:
      layers: number of residual units.
      features: channels within.
      outputs: channels of a frame.
    """

    layers: int
    features: int
    outputs: int

    @nn.compact
    def __call__(self, inputs: int) -> dict[str, Any]:
        """The layers for so many channels: 'first', 'units' and 'last'."""

        def declare(name: str, channels: int, features: int) -> dict[str, Any]:
            return self.param(name, _initial_layer, channels, features)

        wide = self.features
        units = [
            [declare(f'unit_{unit}_{place}', wide, wide) for place in (0, 1)]
            for unit in range(self.layers)
        ]
        layers = {
            'first': declare('first', inputs, wide),
            'units': units,
            'last': declare('last', wide, self.outputs),
        }
        is_layer = lambda part: isinstance(part, dict) and 'kernel' in part  # noqa: E731
        mark = lambda layer: {**layer, 'kernel': Kernel(layer['kernel'][None])}  # noqa: E731
        return jax.tree.map(mark, layers, is_leaf=is_layer)


def _initial_layer(key: jax.Array, channels: int, features: int) -> dict[str, jax.Array]:
    shape = (_SIZE, _SIZE, channels, features)
    return {'kernel': nn.initializers.glorot_uniform()(key, shape), 'bias': jnp.zeros(features)}


def run_branch(branch: dict[str, Any], frames: jax.Array, operations: Operations) -> jax.Array:
    """From frames side by side in the channels, `[B, H, W, n C]`, to one, `[B, H, W, C]`."""
    hidden = convolve(branch['first'], frames, operations)
    for first, second in branch['units']:
        inner = convolve(first, jax.nn.relu(hidden), operations)
        hidden = hidden + convolve(second, jax.nn.relu(inner), operations)
    return convolve(branch['last'], jax.nn.relu(hidden), operations)


def side_by_side(frames: jax.Array) -> jax.Array:
    """`[B, n, H, W, C]` to `[B, H, W, n C]`."""
    batch, count, height, width, channels = frames.shape
    return jnp.moveaxis(frames, 1, 3).reshape(batch, height, width, count * channels)


@register_forecaster('st_resnet')
class STResNet(nn.Module):
    """ST-ResNet; forecasts what follows its input.

    The days and weeks before come from the data set, which only flows with a calendar give.

    Attributes:
      closeness: how many of the newest frames it sees; None: all of its input.
      period: how many days before; 0: it has no such branch.
      trend: how many weeks before.
      layers: residual units of each branch.
      features, dtype, precision, memory, noise_channels: see their options.
    """

    closeness: int | None = option(
        None, 'newest frames that are seen; None: the whole input', optional(whole(1, MOST_FRAMES))
    )
    period: int = option(0, 'days before of which the same slot is seen', whole(0, MOST_FRAMES))
    trend: int = option(0, 'weeks before of which the same slot is seen', whole(0, MOST_FRAMES))
    layers: int = option(2, 'residual units of each branch', whole(0, MOST_LAYERS))
    features: int = option(64, 'channels of the branches', whole(1, MOST_FEATURES))
    dtype: str = same_option(Forecaster, 'dtype')
    precision: str = same_option(Forecaster, 'precision')
    memory: str = same_option(Forecaster, 'memory')
    noise_channels: int = same_option(Forecaster, 'noise_channels')

    @property
    def needs(self) -> Needs:
        """The future only; frames of days and weeks before."""
        counts = {'period': self.period, 'trend': self.trend}
        return Needs(
            future_only=True,
            feeds_back='frame',
            bounded=True,
            inputs={name: count for name, count in counts.items() if count},
        )

    @in_own_precision
    @nn.compact
    def __call__(
        self,
        frames: jax.Array,
        output_frames: int,
        inputs: dict[str, jax.Array] | None = None,
    ) -> jax.Array:
        """Forecasts the frames that follow.

        Args:
          frames: `[B, T, H, W, C]` in [0, 1] or uint8.
          output_frames: T_out >= 1.
          inputs: 'period' and 'trend', as far as there are such branches, `[B, T_out, count, H, W, C]`:
            of each frame that is forecast the days and weeks before, the newest first; as `frames`.

        Returns:
          `[B, T_out, H, W, C]` in (0, 1).

        Raises:
          InputError: frames that do not fit the parameters or are too few, or missing inputs.
        """
        self._check(frames.shape, output_frames)
        seen, size = self.closeness or frames.shape[1], frames.shape[2:]
        newest = _to_signed(scale_types(frames)[:, ::-1][:, :seen])
        before = {
            name: _to_signed(scale_types(jnp.asarray(value), name))
            for name, value in (inputs or {}).items()
        }
        missing = [name for name in self.needs.inputs if name not in before]
        if missing:
            raise InputError(f'{" and ".join(missing)}: must be among the inputs of this ST-ResNet')
        with parameters_for(frames.shape[1:]):
            weights = self._weights(seen, size)

        def advance(weights, window, remembered, histories, others, operations):
            outputs = run_branch(weights['closeness'], side_by_side(window), operations)
            outputs = outputs.astype(others.dtype)
            frame = jnp.tanh(weights['fusion'].get('closeness', 1.0) * outputs + others)
            window = jnp.concatenate([frame[:, None].astype(window.dtype), window[:, :-1]], axis=1)
            return window, remembered, frame

        weights = prepare_kernels(weights)
        others = self._of_calendar(weights, before, (output_frames, frames.shape[0], *size))
        window = newest.astype(self.dtype)
        _, _, outputs = scan_with_history(advance, 1, self.memory, weights, window, (), others)
        return (jnp.moveaxis(outputs, 0, 1) + 1) / 2

    def _weights(self, seen: int, size: tuple[int, int, int]) -> dict[str, Any]:
        counts = {'closeness': seen, **self.needs.inputs}
        branches = {
            name: Branch(self.layers, self.features, size[-1], name=name)(count * size[-1])
            for name, count in counts.items()
        }
        fused = counts if len(counts) > 1 else ()
        uniform = nn.initializers.uniform(1.0)
        return branches | {'fusion': {n: self.param(f'fusion_{n}', uniform, size) for n in fused}}

    def _of_calendar(
        self, weights: dict[str, Any], before: dict[str, jax.Array], shape: tuple[int, ...]
    ) -> jax.Array:
        """W_p . B_p + W_q . B_q of all frames at once, `[T_out, B, H, W, C]`."""
        total = jnp.zeros(shape, jnp.promote_types(self.dtype, jnp.float32))
        for name in self.needs.inputs:
            frames = jnp.swapaxes(before[name], 0, 1)  # [T_out, B, count, H, W, C]
            joined = side_by_side(frames.reshape(-1, *frames.shape[2:])).astype(self.dtype)
            outputs = run_branch(weights[name], joined, Operations()).astype(total.dtype)
            total = total + weights['fusion'][name] * outputs.reshape(shape)
        return total

    def _check(self, shape: tuple[int, ...], output_frames: int) -> None:
        check_frames_shape(shape)
        check_options(self)
        check_at_least({'output_frames': (output_frames, 1)})
        if shape[1] < (self.closeness or 1):
            raise InputError(
                f'{shape[1]} frames to see: must be at least {self.closeness or 1}, as closeness says. '
                'Let it see more of them (dataset.input_frames), or set a smaller closeness.'
            )


def _to_signed(frames: jax.Array) -> jax.Array:
    """From [0, 1] to [-1, 1], where tanh goes."""
    return 2 * frames.astype(jnp.promote_types(frames.dtype, jnp.float32)) - 1
