"""Values go from the unit of the data to those of the model and back."""

import json
import math

import numpy as np
import pytest

from e3d.data.sources.scales import Scale

COUNTS = Scale((3.0, 267.0), (-3 / 264, math.inf))


def test_the_range_becomes_0_to_1_and_back():
    values = np.array([3, 135, 267, 300], np.int32)
    scaled = COUNTS.from_unit(values)
    np.testing.assert_allclose(scaled, [0, 0.5, 1, 297 / 264], rtol=1e-6)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(COUNTS.to_unit(scaled), values, rtol=1e-6)
    np.testing.assert_array_equal(Scale().to_unit(Scale().from_unit([0.25, 0.5])), [0.25, 0.5])


def test_bounds_cut_only_where_there_are_some():
    values = np.float32([-1.0, 0.5, 7.0])
    np.testing.assert_allclose(COUNTS.clip(values), [-3 / 264, 0.5, 7.0], rtol=1e-6)
    np.testing.assert_array_equal(Scale().clip(values), [0, 0.5, 1])
    assert Scale().of_pixels and not COUNTS.of_pixels and not Scale(None, (0, math.inf)).of_pixels


@pytest.mark.parametrize('scale', [Scale(), COUNTS, Scale(None, (-math.inf, math.inf))])
def test_json_keeps_it(scale):
    stored = json.loads(json.dumps(scale.to_json(), allow_nan=False))
    assert Scale.from_json(stored) == scale
