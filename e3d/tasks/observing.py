"""Which front part of a clip a recognizer observes, and how many frames of a sequence that are."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from e3d.data.sources.dataset import Source
from e3d.data.sources.registry import shown_part
from e3d.errors import InputError
from e3d.evaluation.recognition import FRACTIONS


def align(batch: Mapping[str, Any]) -> tuple[jax.Array, jax.Array | int]:
    """Frames from the first one of each clip on, and how many of them only fill up at the end.

    A clip with fewer frames than are observed comes with its first one repeated; here the
    repetitions go, and the last frame is repeated instead, after all that is observed or predicted.
    """
    frames = batch['frames']
    if 'repeated' not in batch:
        return frames, 0
    order = jnp.arange(frames.shape[1]) + batch['repeated'][:, None]
    order = jnp.minimum(order, frames.shape[1] - 1)
    return jnp.take_along_axis(frames, order[..., None, None, None], axis=1), batch['repeated']


def front(fraction: Any, frames: Any) -> Any:
    """Frames of the front part of a clip, rounded up; at least one."""
    # What is not representable, as 0.7 * 10, must not count as more.
    return jnp.maximum(jnp.ceil(fraction * frames - 1e-4).astype(jnp.int32), 1)


def shown_lengths(
    fractions: Any, batch: Mapping[str, Any], input_frames: int, of_clip: bool = True
) -> jax.Array:
    """How many frames of each aligned sequence are the front parts of its clip.

    A sequence that shows only a part of its clip says by 'clip_frames' how long the whole is.
    Where it begins after the front of the clip, only the fraction at which it ends can be asked
    for, see `fractions_shown`.

    Args:
      fractions: of the whole clip.
      batch: 'frames', and where there are 'repeated' and 'clip_frames'.
      input_frames: observed frames of a sequence, repeated ones included.
      of_clip: False takes fractions of the frames that a sequence shows, as older runs did.

    Returns:
      Int32 `[B, fractions]`, each at least 1 and at most the frames that are shown.
    """
    shown = jnp.full(len(batch['frames']), input_frames) - batch.get('repeated', 0)
    whole = batch.get('clip_frames', shown) if of_clip else shown
    return jnp.minimum(front(jnp.asarray(fractions), whole[:, None]), shown[:, None])


def fractions_shown(source: Source) -> tuple[float, ...]:
    """The fractions of the clips of a source that can be measured, ascending.

    Sequences that begin with their clips show every fraction up to where they end; others, which
    are the end of a longer front part, only that one.
    """
    largest, from_front = shown_part(source)
    smaller = [fraction for fraction in FRACTIONS if fraction < largest] if from_front else []
    return (*smaller, largest)


def is_shown(fraction: float, source: Source) -> bool:
    """Whether the sequences of a source show this fraction of their clips."""
    largest, from_front = shown_part(source)
    return fraction == largest or (from_front and fraction < largest)


def of_whole_clips(config: ConfigDict) -> bool:
    """Whether the fractions of `loss.observed` are of the whole clip, not of what is shown of it."""
    return config.dataset.get('fractions_of', 'clip') == 'clip'


def check_observed(config: ConfigDict, sources: Mapping[str, Source]) -> None:
    """Raises InputError where the sequences do not show what is to be observed of a clip."""
    if not of_whole_clips(config):
        return
    for split in ('train', 'validation'):
        if not all(is_shown(part, sources[split]) for part in config.loss.observed):
            largest, from_front = shown_part(sources[split])
            frames = config.dataset.input_frames
            last = '' if from_front else f' (its last dataset.input_frames={frames} frames)'
            smaller = ', or fractions below it' if from_front else ''
            raise InputError(
                f'loss.observed={tuple(config.loss.observed)}: of a clip the {split} split shows '
                f'the front {largest:g}{last}; must be () for that{smaller}.'
            )
