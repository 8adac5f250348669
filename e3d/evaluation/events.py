"""Scores of events, such as rain above a threshold: what was hit, missed and warned of in vain.

They are made of counts, which add up over batches, frames and processes; the ratio comes last. A
ratio of nothing, as the hits of a rain that never fell, is undefined: not 0 and not 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from e3d.evaluation.undefined import as_json, mean_of_defined

# Sides of the squares, in pixels, whose maximum is compared, and of the windows of FSS.
POOLS = (1, 4, 16)
ROUNDING = 4 * float(np.finfo(np.float32).eps)  # a value that is the threshold counts
ORDER = (
    'counts of all sequences and frames first, then the ratio; mean_of_frames: the ratio of each '
    'frame first, then the mean of those that are defined; mean: over thresholds that the truth '
    'reaches'
)


class Events(NamedTuple):
    """Which values are an event.

    Attributes:
      thresholds: in the unit of the data, ascending.
      levels: the same as the model sees them, `[K]`, or `[K, C]` where channels differ.
      balance: the levels and weights of B-MSE and B-MAE, see `balanced_weights`; None for neither.
    """

    thresholds: tuple[float, ...]
    levels: np.ndarray
    balance: tuple[np.ndarray, tuple[float, ...]] | None = None


def count_events(
    prediction: Array, truth: Array, levels: Array, valid: Array | None = None
) -> dict[str, Array]:
    """Counts hits, misses, false alarms and correct negatives of frames. Can be jitted.

    An event is a value that reaches the level. Pooled, the largest values of squares of 4 x 4 and
    16 x 16 pixels are compared (CSI-pool); pixels beyond the last whole square do not count.

    Args:
      prediction: `[..., H, W, C]`.
      truth: of the same shape.
      levels: K of them, `[K]` or `[K, C]`.
      valid: bool, as `truth` or broadcast to it: cells whose truth is known; others count nowhere.

    Returns:
      For each pool that fits into the frames 'events_POOL', int32 `[..., K, 4]` in the order above,
      and 'fractions_POOL', float32 `[..., K, 2]`: the numerator and the denominator of what
      the FSS in windows of that side is less than 1 (Roberts and Lean 2008, equations 5 to 7).
    """
    valid = jnp.broadcast_to(True if valid is None else valid, truth.shape)
    sides = [side for side in POOLS if side <= min(truth.shape[-3:-1])]
    pooled = {side: _pool(prediction, truth, valid, side) for side in sides}

    def count(level: Array) -> dict[str, Array]:
        level = level - ROUNDING * jnp.abs(level)
        counts = {}
        for side, (forecast, observed, known) in pooled.items():
            warned, happened = forecast >= level, observed >= level
            kinds = (warned & happened, ~warned & happened, warned & ~happened, ~warned & ~happened)
            counts[f'events_{side}'] = jnp.stack([_sum(kind & known) for kind in kinds], axis=-1)
        events = [(frames >= level) & valid for frames in (prediction, truth)]
        for side in sides:
            warned, happened = (_fraction(event, side) for event in events)
            parts = (jnp.square(warned - happened), jnp.square(warned) + jnp.square(happened))
            counts[f'fractions_{side}'] = jnp.stack([_sum(part) for part in parts], axis=-1)
        return counts

    counts = lax.map(count, jnp.asarray(levels, jnp.float32))
    return jax.tree.map(lambda values: jnp.moveaxis(values, 0, -2), counts)


def _sum(values: Array) -> Array:
    return values.sum(axis=(-3, -2, -1), dtype=jnp.int32 if values.dtype == bool else None)


def _window(ndim: int, rows: int, columns: int) -> tuple[int, ...]:
    return (*[1] * (ndim - 3), rows, columns, 1)


def _pool(prediction: Array, truth: Array, valid: Array, side: int) -> tuple[Array, Array, Array]:
    """The largest known values of squares, and whether there are any."""
    window = _window(truth.ndim, side, side)
    forecast, observed = (
        lax.reduce_window(
            jnp.where(valid, x.astype(jnp.float32), -jnp.inf),
            -jnp.inf,
            lax.max,
            window,
            window,
            'VALID',
        )
        for x in (prediction, truth)
    )
    return forecast, observed, observed > -jnp.inf


def _fraction(events: Array, side: int) -> Array:
    """The share of events in the window around each pixel; there are none outside of the frame."""
    counts = events.astype(jnp.float32)
    for window in (_window(events.ndim, side, 1), _window(events.ndim, 1, side)):
        padding = [(size // 2, size - 1 - size // 2) for size in window]
        strides = (1,) * events.ndim
        counts = lax.reduce_window(counts, 0.0, lax.add, window, strides, padding)
    return counts / side**2


def event_ratios(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of counts `[..., 4]` (hits, misses, false alarms, correct negatives), NaN if undefined.

    Returns:
      `[...]` by name: 'csi', critical success index h / (h + m + f); 'pod', probability of detection
      h / (h + m); 'far', false alarm ratio f / (h + f); 'bias' (h + f) / (h + m); 'hss' and 'gss',
      the skill scores of Heidke and of Gilbert (equitable threat score), HSS = 2 GSS / (1 + GSS).
    """
    h, m, f, c = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    by_chance = _ratio((h + m) * (h + f), h + m + f + c)
    return {
        'csi': _ratio(h, h + m + f),
        'pod': _ratio(h, h + m),
        'far': _ratio(f, h + f),
        'bias': _ratio(h + f, h + m),
        'hss': _ratio(2 * (h * c - m * f), (h + m) * (m + c) + (h + f) * (f + c)),
        'gss': _ratio(h - by_chance, h + m + f - by_chance),
    }


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    defined = below != 0
    return np.where(defined, above / np.where(defined, below, 1.0), np.nan)


def event_report(sums: Mapping[str, np.ndarray], thresholds: Sequence[float]) -> dict[str, Any]:
    """The part 'events' of a report, of the sums over sequences of what `count_events` gives.

    Args:
      sums: `[T, K, ...]` by name.
      thresholds: in the unit of the data.

    Returns:
      'thresholds', 'order', and for each pool 'pool_SIDE': 'support', how many pixels (squares) of
      the truth are an event, and 'share' of all; the scores of `event_ratios` and 'fss', lists by
      threshold, None where undefined; 'csi_per_frame' `[T][K]`; 'csi_mean', 'csi_mean_per_frame' and
      'csi_mean_of_frames', see `ORDER`, left out where the truth reaches no threshold.
    """
    report: dict[str, Any] = {'thresholds': list(thresholds), 'order': ORDER}
    for side in POOLS:
        if f'events_{side}' not in sums:
            continue
        counts, fractions = sums[f'events_{side}'], sums[f'fractions_{side}']
        total, different = counts.sum(axis=0), fractions.sum(axis=0)
        support = total[:, 0] + total[:, 1]
        scores = event_ratios(total)
        scores['fss'] = 1.0 - _ratio(different[:, 0], different[:, 1])
        of_frames = event_ratios(counts)['csi']
        pool = {
            'support': support.astype(int).tolist(),
            'share': as_json(_ratio(support, total.sum(axis=-1))),
            **{name: as_json(values) for name, values in scores.items()},
            'csi_per_frame': as_json(of_frames),
        }
        reached = support > 0
        if reached.any():
            of_thresholds = [np.nanmean(values) for values in of_frames.T[reached]]
            per_frame = np.array([mean_of_defined(values) for values in of_frames[:, reached]])
            pool['csi_mean'] = float(scores['csi'][reached].mean())
            pool['csi_mean_per_frame'] = as_json(per_frame)
            pool['csi_mean_of_frames'] = float(np.mean(of_thresholds))
        report[f'pool_{side}'] = pool
    return report
