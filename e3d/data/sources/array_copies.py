"""Sequences of stored arrays that are in two splits, wholly or in part."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from e3d.pixel_values import as_floats, as_pixels

MAX_COMPARED = 200_000  # sequences


def find_copies(
    clips: Any, indices: Sequence[int], others: Any, elsewhere: Sequence[int], length: int
) -> set[int]:
    """Those of the indices whose sequences have the same frames as some elsewhere.

    Only the first and the last frame of all are read, and the others where these are equal.

    Args:
      clips: by index, each [T, H, W, C] with T of at least `length`.
      indices: of the sequences in question.
      others: like `clips`, those that `elsewhere` counts; of another dtype they are compared as the
        model sees them.
      elsewhere: of those in other splits.
      length: frames of each that count, the first ones.
    """
    alike_stored = clips.dtype == others.dtype

    def seen(frames: np.ndarray) -> np.ndarray:
        return frames if alike_stored else as_floats(as_pixels(frames))

    def ends(clip: np.ndarray) -> bytes:
        digest = hashlib.blake2b(seen(clip[0]).tobytes(), digest_size=16)
        digest.update(seen(clip[length - 1]).tobytes())
        return digest.digest()

    def are_equal(clip: np.ndarray, other: np.ndarray) -> bool:
        return np.array_equal(seen(clip[:length]), seen(other[:length]))

    places: dict[bytes, list[int]] = {}
    for index in elsewhere:
        places.setdefault(ends(others[index]), []).append(index)
    copies = set()
    for index in indices if places else ():
        clip = clips[index]
        if any(are_equal(clip, others[place]) for place in places.get(ends(clip), ())):
            copies.add(index)
    return copies


def find_overlapping(
    starts: np.ndarray, indices: Sequence[int], elsewhere: Sequence[int], length: int
) -> set[int]:
    """Those of the indices whose sequences have frames of some elsewhere in them.

    Args:
      starts: int [N], where each sequence begins in the array of all frames.
      indices: of the sequences in question.
      elsewhere: of those in other splits.
      length: frames of each that count, the first ones.
    """
    others = np.sort(starts[np.asarray(elsewhere, int)])
    own = np.asarray(indices, int)
    # The first that begins less than a length before: with it or after it, until the own end.
    first = np.searchsorted(others, starts[own] - length, side='right')
    last = np.searchsorted(others, starts[own] + length, side='left')
    return set(own[first < last].tolist())
