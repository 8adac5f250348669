"""Scores of events: against plain NumPy and SciPy, known identities, and a forecast read by hand."""

import numpy as np
import pytest
from scipy import ndimage

from e3d.data.sources.scales import Scale
from e3d.evaluation.balanced import balanced_errors
from e3d.evaluation.conventions import CONVENTIONS, choose_events, event_problems, rain_to_pixel
from e3d.evaluation.events import count_events, event_ratios, event_report

RANDOM = np.random.default_rng(0)
TRUTH = ndimage.gaussian_filter(RANDOM.random((2, 3, 21, 18, 2)), (0, 0, 2, 2, 0)).astype(
    np.float32
)
PREDICTION = TRUTH + RANDOM.normal(0, 0.05, TRUTH.shape).astype(np.float32)
LEVELS = np.array([0.45, 0.5, 0.55], np.float32)
VALID = RANDOM.random((*TRUTH.shape[2:4], 1)) < 0.8


def largest(frames, side):
    """The largest value of each whole square of `[B, T, H, W, C]`."""
    rows, columns = (size // side for size in frames.shape[2:4])
    frames = frames[:, :, : rows * side, : columns * side]
    squares = frames.reshape(*frames.shape[:2], rows, side, columns, side, frames.shape[-1])
    return squares.max(axis=(3, 5))


@pytest.mark.parametrize('valid', [None, VALID])
def test_counts_equal_numpy_and_scipy(valid):
    counts = count_events(PREDICTION, TRUTH, LEVELS, valid)
    known = np.broadcast_to(True if valid is None else valid, TRUTH.shape)
    for side in (1, 4, 16):
        y, x = (largest(np.where(known, one, -np.inf), side) for one in (PREDICTION, TRUTH))
        there = largest(known, side)
        for place, level in enumerate(LEVELS):
            kinds = (
                (y >= level) & (x >= level),
                (y < level) & (x >= level),
                (y >= level) & (x < level),
                (y < level) & (x < level),
            )
            expected = np.stack([(kind & there).sum(axis=(2, 3, 4)) for kind in kinds], axis=-1)
            np.testing.assert_array_equal(counts[f'events_{side}'][:, :, place], expected)
            size = (1, 1, side, side, 1)
            p_y, p_x = (
                ndimage.uniform_filter(
                    ((one >= level) & known).astype(float), size, mode='constant'
                )
                for one in (PREDICTION, TRUTH)
            )
            parts = ((p_y - p_x) ** 2, p_y**2 + p_x**2)
            expected = np.stack([part.sum(axis=(2, 3, 4)) for part in parts], axis=-1)
            np.testing.assert_allclose(
                counts[f'fractions_{side}'][:, :, place], expected, rtol=1e-5, atol=1e-5
            )


def test_what_stands_in_a_cell_without_truth_changes_nothing():
    wild = [np.where(VALID, one, value) for one, value in ((PREDICTION, 1e30), (TRUTH, np.nan))]
    for name, values in count_events(PREDICTION, TRUTH, LEVELS, VALID).items():
        np.testing.assert_array_equal(count_events(*wild, LEVELS, VALID)[name], values)


def test_channels_may_have_levels_of_their_own():
    levels = np.stack([LEVELS, LEVELS + 0.1], axis=-1)
    counts = count_events(PREDICTION, TRUTH, levels)['events_4']
    parts = [
        count_events(PREDICTION[..., [c]], TRUTH[..., [c]], levels[:, c])['events_4']
        for c in (0, 1)
    ]
    np.testing.assert_array_equal(counts, parts[0] + parts[1])


def test_a_value_that_is_the_threshold_is_an_event():
    frames = (np.arange(256, dtype=np.uint8) / np.float32(255)).reshape(1, 1, 16, 16, 1)
    events = choose_events((), ('sevir',), float, True)
    total = np.asarray(count_events(frames, frames, events.levels)['events_1'])[0, 0]
    np.testing.assert_array_equal(total[:, 0], 256 - np.array([16, 74, 133, 160, 181, 219]))
    rounded = np.full((1, 1, 4, 4, 1), np.nextafter(np.float32(3000.7), np.float32(0)))
    total = np.asarray(count_events(rounded, rounded, [3000.7, 3001.0])['events_1'])[0, 0]
    np.testing.assert_array_equal(total[:, 0], [16, 0])


@pytest.mark.parametrize(
    ('ends', 'transform'),
    [((0, 2e6), ''), ((0, 2e6), 'log1p'), ((0, 100), 'dBZ'), ((95e3, 105e3), ''), ((-40, 60), '')],
)
def test_what_is_below_a_threshold_is_none_whatever_the_range(ends, transform):
    scale = Scale(ends, (-np.inf, np.inf), transform=transform)
    start = max(ends[0], 0)
    values = start + np.array([0, 0.9, 1, 1.1, 99, 100, 101, 999, 1000, 1001] + [0] * 6, np.float32)
    frames = scale.from_unit(values).reshape(1, 1, 4, 4, 1)
    thresholds = [start + one for one in (1, 100, 1000)]
    events = choose_events(thresholds, (), scale.from_unit, False)
    total = np.asarray(count_events(frames, frames, events.levels)['events_1'])[0, 0]
    np.testing.assert_array_equal(total[:, 0], [8, 5, 2])


def test_identities_of_the_scores():
    sums = {
        name: np.asarray(v).sum(0) for name, v in count_events(PREDICTION, TRUTH, LEVELS).items()
    }
    scores = event_ratios(sums['events_1'])
    np.testing.assert_allclose(scores['hss'], 2 * scores['gss'] / (1 + scores['gss']), rtol=1e-12)
    report = event_report(sums, LEVELS.tolist())['pool_1']
    csi = np.array(report['csi'])
    np.testing.assert_allclose(report['fss'], 2 * csi / (1 + csi), rtol=1e-6)
    by_hand = event_ratios(np.array([30, 10, 20, 40]))
    expected = {'csi': 0.5, 'pod': 0.75, 'far': 0.4, 'bias': 1.25, 'hss': 2 * 1000 / (2000 + 3000)}
    expected['gss'] = (30 - 20) / (60 - 20)
    assert by_hand == pytest.approx(expected)


def test_what_never_happened_is_undefined_and_has_no_support():
    still = np.zeros((1, 2, 4, 4, 1), np.float32)
    warned = still.copy()
    warned[0, 0, 0, 0] = 1
    sums = {n: np.asarray(v).sum(0) for n, v in count_events(warned, still, [0.5, 2.0]).items()}
    report = event_report(sums, (0.5, 2.0))['pool_1']
    assert report['support'] == [0, 0] and report['share'] == [0.0, 0.0]
    assert report['csi'] == [0.0, None] and report['far'] == [1.0, None]
    assert report['pod'] == report['bias'] == [None, None] and report['fss'] == [0.0, None]
    assert report['csi_per_frame'] == [[0.0, None], [None, None]]
    assert 'csi_mean' not in report


def test_the_order_of_pooling_counts_decides_the_number():
    truth = np.ones((1, 2, 4, 4, 1), np.float32)
    truth[0, 1, :, 1:] = 0
    prediction = np.ones_like(truth)  # CSI 1 in the first frame, 4 / 16 in the second
    prediction[0, 0, 0, 0] = 4  # a false alarm of what never happened, whose CSI is 0
    sums = {n: np.asarray(v).sum(0) for n, v in count_events(prediction, truth, [0.5, 3.0]).items()}
    report = event_report(sums, (0.5, 3.0))['pool_1']
    assert report['csi_mean'] == pytest.approx(20 / 32)
    assert report['csi_mean_of_frames'] == pytest.approx((1 + 1 / 4) / 2)
    assert report['csi_mean_per_frame'] == pytest.approx([1, 1 / 4])


def test_balanced_errors_equal_those_of_the_paper():
    rain = np.array([0.1, 0.5, 2.0, 5.0, 9.9, 10.0, 30.0, 80.0])
    truth = np.array([max(rain_to_pixel(rate), 0) for rate in rain], np.float32)[:, None, None]
    events = choose_events((), ('hko7',), float, True)
    errors = balanced_errors(np.zeros_like(truth), truth, *events.balance)
    weights = np.array([1, 1, 2, 5, 5, 10, 30, 30])
    np.testing.assert_allclose(errors['b_mse'], (weights * truth.ravel() ** 2).sum(), rtol=1e-6)
    np.testing.assert_allclose(errors['b_mae'], (weights * truth.ravel()).sum(), rtol=1e-6)


def test_conventions_know_pixels_and_units():
    pixels = choose_events((), ('psnr_uint8', 'hko7'), float, True).levels
    np.testing.assert_allclose(pixels[[0, 4]], [0.3283, 0.7245], atol=5e-5)
    in_unit = choose_events((), ('hko7',), lambda rate: rate / 100, False)
    np.testing.assert_allclose(in_unit.levels, np.array([0.5, 2, 5, 10, 30]) / 100, rtol=1e-6)
    assert in_unit.thresholds == CONVENTIONS['hko7'].thresholds
    own = choose_events((0.2, 0.4), (), float, True)
    assert own.thresholds == (0.2, 0.4) and own.balance is None
    assert choose_events((), ('psnr_uint8',), float, True) is None


@pytest.mark.parametrize(
    ('presets', 'thresholds', 'message'),
    [(('sevir', 'hko7'), (), 'name one of them'), (('sevir',), (1.0,), 'must be')],
)
def test_one_set_of_thresholds_at_a_time(presets, thresholds, message):
    values = {'evaluation.presets': presets, 'evaluation.thresholds': thresholds}
    assert message in next(iter(event_problems(values)))
