"""Scores of several futures of each sequence: CRPS, spread beside error, rank histogram.

X_1 .. X_m are the members, x the truth, of one pixel; all are means over pixels, frames and sequences.
With gaps each frame counts by the mean over its known pixels.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from e3d.evaluation.undefined import as_json, mean_of_defined

_TIES = 0  # seed of the ranks among equal values, as dry pixels have


def ensemble_metrics(
    members: Array, truth: Array, sequences: Array, valid: Array | None = None
) -> dict[str, Array]:
    """Measures an ensemble frame by frame. Can be jitted.

    Args:
      members: `[M, B, T, H, W, C]`.
      truth: `[B, T, H, W, C]`.
      sequences: int `[B]`, their numbers, which settle ties.
      valid: bool as the truth, which values are known; None: all.

    Returns:
      Means over the known values of frames, `[B, T]` by name, NaN where there are none:
        crps: sum_i |X_i - x| / m - sum_ij |X_i - X_j| / (2 m^2); of one member the absolute error.
        crps_fair: the same with 2 m (m - 1) (Ferro 2014), which does not depend on m in the mean;
          left out for one member.
        variance: of the members, times (m + 1) / m. In a reliable ensemble it equals
        squared_error: of their mean.
      'ranks', int32 `[B, T, M + 1]`: how often so many members are below the truth; among equal ones
      its place is drawn.
    """
    count = len(members)
    members, truth = members.astype(jnp.float32), truth.astype(jnp.float32)
    known = jnp.broadcast_to(True if valid is None else valid, truth.shape)
    truth = jnp.where(known, truth, 0.0)
    error = jnp.abs(members - truth).mean(axis=0)
    # sum_ij |X_i - X_j| = 2 sum_i (2 i - m - 1) X_(i), sorted; less their mean, for the digits.
    mean = members.mean(axis=0)
    order = 2.0 * jnp.arange(1, count + 1) - count - 1.0
    ordered = jnp.sort(members - mean, axis=0)
    apart = 2.0 * jnp.einsum('m,m...->...', order, ordered, precision='highest')
    terms = {'crps': error - apart / (2.0 * count**2), 'squared_error': jnp.square(mean - truth)}
    if count > 1:
        terms['crps_fair'] = error - apart / (2.0 * count * (count - 1))
        terms['variance'] = members.var(axis=0, ddof=1) * (count + 1) / count
    # Beyond float32, where a difference of two infinite numbers would be NaN, all errors are infinite.
    terms = {name: jnp.where(jnp.isfinite(mean), term, jnp.inf) for name, term in terms.items()}
    frame = (-3, -2, -1)
    pixels = known.sum(axis=frame)
    metrics = {
        name: jnp.where(known, term, 0.0).sum(axis=frame) / pixels for name, term in terms.items()
    }
    rank = _ranks(members, truth, sequences)
    each = jnp.arange(count + 1).reshape(-1, *[1] * rank.ndim)
    ranks = ((rank == each) & known).sum(axis=frame, dtype=jnp.int32)
    return metrics | {'ranks': jnp.moveaxis(ranks, 0, -1)}


def _ranks(members: Array, truth: Array, sequences: Array) -> Array:
    """How many members are below the truth, int32 as the truth; its place among equal ones is drawn."""
    keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(_TIES), number))(sequences)
    chance = jax.vmap(lambda key: jax.random.uniform(key, truth.shape[1:]))(keys)
    below, equal = (members < truth).sum(axis=0), (members == truth).sum(axis=0)
    return below + jnp.minimum(jnp.floor(chance * (equal + 1)).astype(jnp.int32), equal)


def ensemble_report(
    sums: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The part 'ensemble' of a report.

    Args:
      sums: over sequences of what `ensemble_metrics` gives, `[T]` or `[T, M + 1]`.
      counts: of how many sequences those are, alike.

    Returns:
      'members'; 'crps' and 'crps_fair'; 'spread', the root of the mean variance, and 'rmse', that of
      the mean squared error of the members' mean; each with '_per_frame'; None where nothing is
      known. 'rank_histogram', shares of the ranks 0 .. M. All in the unit of what was measured.
    """
    with np.errstate(invalid='ignore', divide='ignore'):
        frames = {name: sums[name] / counts[name] for name in sums if name != 'ranks'}
    ranks = sums['ranks'].sum(axis=0)
    report: dict[str, Any] = {'members': len(ranks) - 1}
    roots = {'variance': 'spread', 'squared_error': 'rmse'}
    for metric in ('crps', 'crps_fair', 'variance', 'squared_error'):
        if metric not in frames:
            continue
        per_frame, name = frames[metric], roots.get(metric, metric)
        values = np.append(per_frame, mean_of_defined(per_frame))
        *each, mean = as_json(np.sqrt(values) if metric in roots else values)
        report |= {name: mean, f'{name}_per_frame': each}
    report['rank_histogram'] = (ranks / max(ranks.sum(), 1)).tolist()
    return report
