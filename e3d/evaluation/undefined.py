"""What is undefined, as the error of a frame without truth: NaN in arrays, None in reports.

What is infinite, as an error in mm/h of a model that overshoots in dBZ, is so in arrays and reports;
files of JSON, which have no infinite numbers, have null for both.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def as_json(values: np.ndarray | np.floating[Any]) -> Any:
    """A number, or lists as deep as an array, with None for NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return None if math.isnan(value) else value

    return plain(values.tolist())


def without_infinite(report: Any) -> Any:
    """A report as JSON can hold it: the same with None for what is infinite."""
    if isinstance(report, Mapping):
        return {key: without_infinite(value) for key, value in report.items()}
    if isinstance(report, list | tuple):
        return type(report)(map(without_infinite, report))
    return None if isinstance(report, float) and math.isinf(report) else report


def mean_of_defined(values: np.ndarray) -> np.floating[Any]:
    """The mean of what is defined, NaN where nothing is."""
    defined = values[~np.isnan(values)]
    return defined.mean() if defined.size else np.float64(np.nan)
