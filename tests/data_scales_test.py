"""Values go from the unit of the data to those of the model and back."""

import json
import math

import numpy as np
import pytest

from e3d.data.sources.scales import Scale
from e3d.evaluation.metrics import frame_metrics

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


def test_bounds_may_be_those_of_each_channel():
    scale = Scale((0.0, 10.0), ((0.0, -1.0), math.inf), ((0.0, 10.0), (50.0, 100.0)))
    cut = scale.clip(np.float32([[-0.9, -0.9], [7, -3]]))
    np.testing.assert_array_equal(cut, np.float32([[0, -0.9], [7, -1]]))
    assert cut.dtype == np.float32
    metrics = frame_metrics(np.full((1, 1, 8, 8, 2), -2.0), np.zeros((1, 1, 8, 8, 2)), scale.bounds)
    assert metrics['mae_mean'].tolist() == [[0.5]]


@pytest.mark.parametrize('transform', ['log1p', 'dBZ'])
def test_transforms_go_there_and_back(transform):
    scale = Scale((0.0, 80.0), (0.0, math.inf), transform=transform, unit='mm/h')
    rain = np.float32([0, 0.05, 1, 20, 80, 120])
    scaled = scale.from_unit(rain)
    forward = {'log1p': np.log1p, 'dBZ': lambda r: 10 * np.log10(1 + 200 * r**1.6)}[transform]
    wide = rain.astype(np.float64)
    np.testing.assert_allclose(scaled, forward(wide) / forward(80.0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(scale.to_unit(scaled), rain, rtol=1e-4, atol=1e-6)
    assert scale.describe() == f'0 and 1 stand by {transform} for 0 and 80 mm/h'


def test_channels_may_have_ranges_of_their_own():
    scale = Scale((0.0, 10.0), ranges=((0.0, 10.0), (250.0, 300.0)))
    values = np.float32([[5, 275], [10, 250]])
    np.testing.assert_allclose(scale.from_unit(values), [[0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(scale.to_unit(scale.from_unit(values)), values)
    assert not scale.is_linear and COUNTS.is_linear


@pytest.mark.parametrize(
    'scale',
    [
        Scale(),
        COUNTS,
        Scale(None, (-math.inf, math.inf)),
        Scale((0.0, 9.0), (0.0, math.inf), ((0.0, 9.0), (1.0, 2.0)), 'log1p', 'mm/h'),
        Scale((0.0, 9.0), ((0.0, -math.inf), math.inf), ((0.0, 9.0), (-1.0, 2.0))),
    ],
)
def test_json_keeps_it(scale):
    stored = json.loads(json.dumps(scale.to_json(), allow_nan=False))
    assert Scale.from_json(stored) == scale


def test_a_scale_of_a_run_from_before_bounds_had_channels_means_the_same():
    stored = {'value_range': [0, 10], 'bounds': [-1.0, None], 'ranges': [[0, 10], [50, 100]]}
    scale = Scale.from_json(stored)
    assert scale.bounds == (-1, math.inf)
    np.testing.assert_array_equal(scale.clip(np.float32([[-3, -3]])), [[-1, -1]])
