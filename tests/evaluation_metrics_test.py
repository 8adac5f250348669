"""The metrics are those of scikit-image and NumPy, on ordinary and on extreme frames."""

import math

import jax
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.evaluation.metrics import PSNR_CAP, errors_in_unit, frame_metrics

jitted = jax.jit(frame_metrics)


def reference(prediction, truth):
    """All metrics in float64, frame by frame."""
    prediction = np.clip(prediction.astype(np.float64), 0, 1)
    truth = truth.astype(np.float64)
    error = prediction - truth
    with np.errstate(divide='ignore'):
        psnr = -10 * np.log10(np.mean(error**2, axis=(2, 3, 4)))
    result = {
        'mse': np.sum(error**2, axis=(2, 3, 4)),
        'mse_mean': np.mean(error**2, axis=(2, 3, 4)),
        'mae': np.sum(np.abs(error), axis=(2, 3, 4)),
        'mae_mean': np.mean(np.abs(error), axis=(2, 3, 4)),
        'psnr': np.minimum(psnr, 100),
    }
    for name, data_range in (('ssim', 1), ('ssim_data_range_2', 2)):
        result[name] = np.array(
            [
                [
                    structural_similarity(x, y, data_range=data_range, channel_axis=-1)
                    for x, y in zip(*frames, strict=True)
                ]
                for frames in zip(prediction, truth, strict=True)
            ]
        )
    return result


def random_frames(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def pairs():
    """Cases by name: (prediction, truth)."""
    frames = random_frames((2, 3, 20, 16, 1))
    noise = np.random.default_rng(1).normal(0, 1, frames.shape).astype(np.float32)
    shape = (1, 1, 12, 12, 1)
    yield 'random', random_frames(frames.shape, 2), frames
    yield 'color', random_frames((2, 2, 9, 14, 3), 3), random_frames((2, 2, 9, 14, 3), 4)
    yield 'smallest', random_frames((1, 2, 7, 7, 2), 5), random_frames((1, 2, 7, 7, 2), 6)
    yield 'out of range', frames + noise, frames
    yield 'nearly right', frames + 1e-3 * noise, frames
    yield 'identical', frames, frames
    yield 'constant', np.full(shape, 0.3, np.float32), np.full(shape, 0.9, np.float32)
    yield 'nearly constant', 0.9 + 1e-3 * frames, 0.9 + 1e-3 * frames[::-1]
    yield 'black and white', np.zeros(shape, np.float32), np.ones(shape, np.float32)
    yield 'black', np.zeros(shape, np.float32), np.zeros(shape, np.float32)


@pytest.mark.parametrize(('prediction', 'truth'), [pytest.param(*p, id=n) for n, *p in pairs()])
def test_equal_to_scikit_image_and_numpy(prediction, truth):
    expected = reference(prediction, truth)
    actual = jitted(prediction, truth)
    assert set(actual) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_frame_without_error_has_capped_psnr_and_full_similarity():
    frames = random_frames((1, 2, 8, 8, 1))
    metrics = jitted(frames, frames)
    np.testing.assert_array_equal(metrics['psnr'], PSNR_CAP)
    np.testing.assert_array_equal(metrics['mse'], 0)
    np.testing.assert_allclose(metrics['ssim'], 1, rtol=1e-6)


def test_sums_of_large_frames_keep_their_digits():
    prediction, truth = random_frames((1, 1, 224, 224, 3)), random_frames((1, 1, 224, 224, 3), 1)
    expected = np.sum((prediction.astype(np.float64) - truth) ** 2)
    np.testing.assert_allclose(jitted(prediction, truth)['mse'], expected, rtol=1e-5)


def test_frames_are_judged_one_by_one():
    frames, truth = random_frames((3, 4, 8, 8, 1)), random_frames((3, 4, 8, 8, 1), 1)
    together = jitted(frames, truth)
    alone = jitted(frames[1:2, 2:3], truth[1:2, 2:3])
    for name, values in together.items():
        assert values.shape == (3, 4)
        np.testing.assert_allclose(values[1, 2], alone[name][0, 0], rtol=1e-6, atol=1e-7)


def test_frames_smaller_than_the_window_have_no_similarity():
    frames = random_frames((1, 2, 6, 8, 1))
    assert set(jitted(frames, frames)) == {'mse', 'mse_mean', 'mae', 'mae_mean', 'psnr'}


def test_shapes_that_differ_are_rejected():
    with pytest.raises(InputError, match='shape'):
        frame_metrics(np.zeros((1, 2, 8, 8, 1)), np.zeros((1, 3, 8, 8, 1)))


@pytest.mark.parametrize('measure', [frame_metrics, jitted])
def test_pixels_are_scaled_by_their_type(measure):
    truth, prediction = random_frames((1, 2, 8, 8, 1)), random_frames((1, 2, 8, 8, 1), 1)
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535), (bool, 1)):
        levels = [np.rint(frames * white).astype(dtype) for frames in (prediction, truth)]
        floats = [frames.astype(np.float32) / np.float32(white) for frames in levels]
        expected = frame_metrics(*floats)
        for pair in (levels, [floats[0], levels[1]]):
            for name, values in measure(*pair).items():
                np.testing.assert_allclose(values, expected[name], rtol=1e-5, err_msg=name)
    with pytest.raises(InputError, match='truth: the dtype is int32; it must be uint8'):
        measure(prediction, np.rint(truth * 255).astype(np.int32))


@pytest.mark.parametrize('measure', [frame_metrics, jitted])
def test_frames_without_all_axes_are_rejected(measure):
    frames = random_frames((3, 8, 8))
    for lacking in (frames, frames[None], frames[..., None], [[1.0]]):
        with pytest.raises(InputError, match=r'prediction has shape .*\[B, T, H, W, C\]'):
            measure(lacking, lacking)
    assert measure(frames[None, ..., None], frames[None, ..., None])['mse'].shape == (1, 3)


def test_data_in_a_unit_need_bounds():
    truth = 30 * random_frames((1, 2, 8, 8, 1))
    with pytest.raises(
        InputError, match=r'truth has values from .* bounds=\(-math.inf, math.inf\)'
    ):
        frame_metrics(truth + 1, truth)
    found = frame_metrics(truth + 1, truth, (-math.inf, math.inf))
    np.testing.assert_allclose(found['mse_mean'], 1, rtol=1e-5)
    np.testing.assert_allclose(found['mae'], 64, rtol=1e-5)
    counts = np.rint(truth).astype(np.int32)  # numbers of any type are what they are
    np.testing.assert_allclose(frame_metrics(counts + 1, counts, (0, math.inf))['mse_mean'], 1)
    # In [0, 1] to rounding, what is not known aside; of a forecast any value may come.
    known = np.clip(truth, -1e-5, 1 + 1e-5)
    assert (frame_metrics(truth, known)['mse'] >= 0).all()
    valid = truth < 15
    half = np.where(valid, 0.5, -9.0)
    np.testing.assert_array_equal(frame_metrics(half, half, valid=valid)['mse'], 0)
    # Under tracing values are unknown: with bounds that are given so, too.
    traced = jax.jit(frame_metrics)(truth + 1, truth, (0.0, 40.0))
    np.testing.assert_allclose(traced['mse_mean'], 1, rtol=1e-5)


def test_values_beyond_1_count_where_the_data_have_no_bound():
    truth = 1.5 * random_frames((2, 3, 8, 8, 1))
    prediction = 1.5 * random_frames((2, 3, 8, 8, 1), 1) - 0.2
    found = jax.jit(frame_metrics, static_argnums=2)(prediction, truth, (0.0, np.inf))
    error = np.maximum(prediction, 0).astype(np.float64) - truth
    np.testing.assert_allclose(found['mse_mean'], np.mean(error**2, axis=(2, 3, 4)), rtol=1e-5)


def test_errors_in_the_unit_are_those_of_a_forecast_within_the_bounds():
    scale = Scale((0.0, 9.0), (0.0, np.inf), transform='log1p')
    truth = scale.from_unit(np.full((1, 2, 4, 4, 1), 3.0))
    found = errors_in_unit(np.full_like(truth, -0.5), truth, None, scale)
    np.testing.assert_allclose(found['squared_in_unit'], [[9.0, 9.0]], rtol=1e-5)
    np.testing.assert_allclose(found['mae_in_unit'], [[3.0, 3.0]], rtol=1e-5)


def test_what_has_no_truth_counts_nowhere():
    prediction, truth = random_frames((2, 3, 20, 16, 1), 2), random_frames((2, 3, 20, 16, 1))
    valid = np.ones(truth.shape, bool)
    valid[:, :, 13:, :3] = False
    valid[1, 2] = False  # a frame without any truth
    hidden = np.where(valid, prediction, 1e30), np.where(valid, truth, np.nan)
    masked = jitted(*hidden, valid=valid)
    squares = np.ma.masked_array(np.square(prediction - truth, dtype=np.float64), ~valid)
    np.testing.assert_allclose(masked['mse_mean'][0], squares.mean(axis=(2, 3, 4))[0], rtol=1e-6)
    np.testing.assert_allclose(masked['mse'][0], squares.sum(axis=(2, 3, 4))[0], rtol=1e-6)
    for name, values in masked.items():
        assert np.isnan(values[1, 2]) and np.isfinite(values).sum() == 5, name
    # Of windows only those count in which all is known.
    _, similarity = structural_similarity(
        prediction[0, 0, ..., 0], truth[0, 0, ..., 0], data_range=1, full=True
    )
    whole = np.lib.stride_tricks.sliding_window_view(valid[0, 0, ..., 0], (7, 7)).all(axis=(2, 3))
    expected = similarity[3:-3, 3:-3][whole].mean()
    np.testing.assert_allclose(masked['ssim'][0, 0], expected, rtol=1e-5)
