"""Sequences of a stored array that are in two splits, wholly or in part."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_COMPARED = 200_000  # sequences


def find_copies(
    clips: Any, indices: Sequence[int], elsewhere: Sequence[int], length: int
) -> set[int]:
    """Those of the indices whose sequences have the same frames as some elsewhere.

    Only the first and the last frame of all are read, and the others where these are equal.

    Args:
      clips: by index, each [T, H, W, C] with T of at least `length`.
      indices: of the sequences in question.
      elsewhere: of those in other splits.
      length: frames of each that count, the first ones.
    """

    def ends(index: int) -> bytes:
        clip = clips[index]
        digest = hashlib.blake2b(clip[0].tobytes(), digest_size=16)
        digest.update(clip[length - 1].tobytes())
        return digest.digest()

    places: dict[bytes, list[int]] = {}
    for index in elsewhere:
        places.setdefault(ends(index), []).append(index)
    copies = set()
    for index in indices if places else ():
        alike = places.get(ends(index), ())
        if any(np.array_equal(clips[index][:length], clips[i][:length]) for i in alike):
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
