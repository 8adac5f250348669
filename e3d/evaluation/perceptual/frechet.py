"""The Frechet distance of two sets of features, each taken for a Gaussian.

    d = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))

with means m and covariances S (over N - 1). The sums that these come from are all that is kept, so
that a set may be of any size and may be spread over several processes.
"""

import base64
from typing import Any

import numpy as np


class Moments:
    """Number, sum and products of the features of a set, in float64."""

    def __init__(self, size: int):
        """Of an empty set.

        Args:
          size: of a vector of features.
        """
        self.count = 0
        self._sum = np.zeros(size)
        self._products = np.zeros((size, size))

    def add(self, features: np.ndarray) -> None:
        """Puts vectors `[N, size]` into the set."""
        features = np.asarray(features, np.float64)
        self.count += len(features)
        self._sum += features.sum(axis=0)
        self._products += features.T @ features

    def merge(self, other: 'Moments') -> None:
        """Puts all of another set into this one."""
        self.count += other.count
        self._sum += other._sum
        self._products += other._products

    @property
    def mean(self) -> np.ndarray:
        """`[size]`."""
        return self._sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """`[size, size]`; of a set with at least two vectors."""
        centered = self._products - np.outer(self._sum, self.mean)
        return (centered + centered.T) / (2 * (self.count - 1))

    def to_json(self) -> list[Any]:
        """A value that JSON can hold, small enough to be sent to other processes."""
        rows, columns = np.triu_indices(len(self._sum))
        numbers = np.concatenate([self._sum, self._products[rows, columns]]).astype('<f8')
        return [self.count, len(self._sum), base64.b64encode(numbers.tobytes()).decode('ascii')]

    @classmethod
    def from_json(cls, value: list[Any]) -> 'Moments':
        """The set whose `to_json` it is."""
        count, size, text = value
        numbers = np.frombuffer(base64.b64decode(text), '<f8')
        moments = cls(size)
        moments.count = count
        moments._sum = numbers[:size].copy()
        rows, columns = np.triu_indices(size)
        moments._products[rows, columns] = moments._products[columns, rows] = numbers[size:]
        return moments


def frechet_distance(one: Moments, other: Moments) -> float:
    """The distance of two sets of at least two vectors each."""
    # tr (S1 S2)^(1/2) = tr (A' S2 A)^(1/2) for S1 = A A', which is symmetric.
    values, vectors = np.linalg.eigh(one.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    inner = np.linalg.eigvalsh(root.T @ other.covariance @ root)
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    cross = np.sqrt(np.maximum(inner, 0.0)).sum()
    return float(np.square(one.mean - other.mean).sum() + traces - 2.0 * cross)
