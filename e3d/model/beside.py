"""What enters a model beside the frames that it forecasts, as further channels of them.

A batch may have, beside 'frames' `[B, T, H, W, C]`,

* 'valid', bool `[B, T, H, W, C]`: which values are known. The others enter as 0, and for each channel
  there is one that says so. Own forecasts are valid but in cells of which no observed frame knows a
  value, where 0 enters again: so what a cell without truth holds has no part anywhere.
* 'known', `[B, T, H, W, K]`: what is known of all times, as heights of the ground, the hour of the day,
  the weather forecast. It enters at every step, also while the model forecasts: that of the time of
  which the step forecasts the frame.
* 'others', `[B, T, H, W, K']`: what is known of observed times alone; 0 enters while it forecasts.
* 'noise', `[B, T, H, W, K'']`: random numbers for a model with `noise_channels`, at every step.

So a model sees `[targets, valid, known, others, noise]` and forecasts as many channels, of which only
the targets count and are fed back. One that sees its input at once gets 'known' of the frames ahead
beside that of its input.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.model.needs import Needs

NAMES = ('valid', 'known', 'others', 'noise')


def beside_frames(batch: Mapping[str, Any]) -> dict[str, Any]:
    """What a batch or a sequence has beside its frames that a model sees; {} for most data."""
    return {name: batch[name] for name in NAMES if name in batch}


def widths_beside(sequence: Mapping[str, Any]) -> dict[str, int]:
    """How many channels a sequence of the data has beside those of its frames, by name."""
    return {name: int(array.shape[-1]) for name, array in beside_frames(sequence).items()}


def channels_beside(widths: Mapping[str, int], needs: Needs) -> int:
    """How many channels enter a model beside those of the frames.

    Args:
      widths: of the data, see `widths_beside`.
      needs: of the model.
    """
    ahead = widths.get('known', 0) if needs.future_only else 0
    return sum(widths.values()) + ahead + needs.noise


def read_widths(stored: Mapping[str, Any]) -> dict[str, int]:
    """What a file says of `widths_beside`.

    Raises:
      ValueError, TypeError, AttributeError: it is something else.
    """
    widths = {str(name): int(width) for name, width in stored.items()}
    if not widths.keys() <= set(NAMES) or any(width < 0 for width in widths.values()):
        raise ValueError(f'{widths} is not what there can be beside frames')
    return widths


def check_losses(name: str, needs: Needs, beside: Mapping[str, Any]) -> None:
    """Raises InputError for a model whose own losses compare whole frames, where there is more."""
    if needs.losses and beside:
        raise InputError(
            f'model.name={name!r} has losses of its own on whole frames; these data have '
            f'{" and ".join(beside)} beside them (gaps, or what dataset.known, dataset.static, '
            'dataset.calendar or dataset.targets name). Take another model.'
        )


class Entering(NamedTuple):
    """What a model is called with.

    Attributes:
      frames: `[B, N, H, W, C + K]`.
      truth_mask: bool `[B, T_out - 1]`, or `[B, T_out - 1, H, W, C + K]` of each value.
    """

    frames: jax.Array
    truth_mask: jax.Array


def enter_in_steps(
    frames: jax.Array,
    truth_mask: jax.Array,
    input_frames: int | jax.Array,
    beside: Mapping[str, jax.Array],
) -> Entering:
    """What enters a recurrent model.

    Args:
      frames: `[B, N, H, W, C]`, those that could enter: all but the last.
      truth_mask: bool `[B, M]`: which of the last M of them do.
      input_frames: those that are observed when the model is used.
      beside: of the same frames, and maybe of later ones, as 'known' must be of one; see the head of
        this file.
    """
    if not beside:
        return Entering(frames, truth_mask)
    steps, ahead = frames.shape[1], truth_mask.shape[1]
    known = beside.get('known')
    beside = {name: jnp.asarray(array)[:, :steps] for name, array in beside.items()}
    seen = jnp.pad(truth_mask, ((0, 0), (steps - ahead, 0)), constant_values=True)
    seen = seen[:, :, None, None, None]
    given, own = [], jnp.broadcast_to(seen, frames.shape)
    valid = beside.pop('valid', None)
    if valid is None:
        given.append(frames)
    else:
        observed = (jnp.arange(steps) < input_frames)[:, None, None, None]
        ever = (valid & observed).any(axis=1, keepdims=True)
        given += [jnp.where(valid & seen, frames, 0), jnp.where(seen, valid, ever)]
        own = seen | ~ever
    if known is not None:
        given.append(known[:, 1 : steps + 1])
    if 'others' in beside:
        given.append(jnp.where(seen, beside['others'], 0))
    if 'noise' in beside:
        given.append(beside['noise'])
    joined = jnp.concatenate([part.astype(frames.dtype) for part in given], axis=-1)
    extra = (*joined.shape[:-1], joined.shape[-1] - frames.shape[-1])
    enters = jnp.concatenate([own, jnp.ones(extra, bool)], axis=-1)
    return Entering(joined, enters[:, steps - ahead :])


def enter_at_once(
    frames: jax.Array, output_frames: int, beside: Mapping[str, jax.Array]
) -> jax.Array:
    """What enters a model that sees all of its input and then forecasts, `[B, T_in, H, W, C + K]`.

    Args:
      frames: `[B, T_in, H, W, C]`.
      output_frames: at most T_in where there is 'known'.
      beside: of all frames; see the head of this file.

    Raises:
      InputError: more is to be forecast than the frames have room for what is known ahead.
    """
    if not beside:
        return frames
    length, given = frames.shape[1], []
    if 'valid' in beside:
        valid = beside['valid'][:, :length]
        given += [jnp.where(valid, frames, 0), valid]
    else:
        given.append(frames)
    if 'known' in beside:
        if output_frames > length:
            raise InputError(
                f'{output_frames} frames to forecast from {length}: a model that sees its input at '
                'once must forecast at most as many as it sees where something is known ahead '
                '(dataset.static, dataset.calendar, dataset.known)'
            )
        ahead = beside['known'][:, length : length + output_frames]
        spare = length - ahead.shape[1]
        ahead = jnp.pad(ahead, ((0, 0), (0, spare), (0, 0), (0, 0), (0, 0)), mode='edge')
        given += [beside['known'][:, :length], ahead]
    if 'others' in beside:
        given.append(beside['others'][:, :length])
    if 'noise' in beside:
        given.append(beside['noise'][:, :length])
    return jnp.concatenate([part.astype(frames.dtype) for part in given], axis=-1)


def draw_noise(
    key: jax.Array, numbers: jax.Array, steps: int, frame_shape: tuple[int, ...], channels: int
) -> jax.Array:
    """Normal random numbers for each sequence by its own number, however they are put into batches.

    Args:
      key: of all of them.
      numbers: int `[B, ...]`, which tell a draw from others, as (sequence, member).
      steps: N.
      frame_shape: (H, W, C).
      channels: K.

    Returns:
      Float32 `[B, N, H, W, K]`.
    """
    shape = (steps, *frame_shape[:2], channels)

    def draw(number: jax.Array) -> jax.Array:
        own = key
        for part in jnp.atleast_1d(number):
            own = jax.random.fold_in(own, part)
        return jax.random.normal(own, shape)

    return jax.vmap(draw)(numbers)
