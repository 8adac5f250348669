"""What is undefined, as the error of a frame without truth: NaN in arrays, None in JSON."""

import math
from typing import Any

import numpy as np


def as_json(values: np.ndarray | np.floating[Any]) -> Any:
    """A number, or lists as deep as an array, with None for NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return None if math.isnan(value) else value

    return plain(values.tolist())


def mean_of_defined(values: np.ndarray) -> np.floating[Any]:
    """The mean of what is defined, NaN where nothing is."""
    defined = values[~np.isnan(values)]
    return defined.mean() if defined.size else np.float64(np.nan)
