"""Metrics as other codes compute them: against a literal reading of those codes, and known values."""

import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from e3d.errors import InputError
from e3d.evaluation.presets import PRESETS, check_presets, register_metric

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.random((2, 3, 20, 17, 2)).astype(np.float32)
PREDICTION = np.clip(TRUTH + RANDOM.normal(0, 0.2, TRUTH.shape), 0, 1).astype(np.float32)


def frame_by_frame(measure):
    return np.array([list(map(measure, *pair)) for pair in zip(PREDICTION, TRUTH, strict=True)])


def wrapped(prediction, truth):
    squares = (np.uint8(prediction * 255) - np.uint8(truth * 255)) ** 2
    assert squares.dtype == np.uint8
    return 20 * np.log10(255) - 10 * np.log10(np.mean(squares))


def of_bytes(prediction, truth):
    difference = np.int32(np.uint8(prediction * 255)) - np.int32(np.uint8(truth * 255))
    return 20 * np.log10(255) - 10 * np.log10(np.mean(difference**2))


def similarity_of_bytes(prediction, truth):
    frames = (np.uint8(prediction * 255), np.uint8(truth * 255))
    return structural_similarity(*frames, channel_axis=-1, data_range=255)


def similarity_in_a_gaussian(prediction, truth):
    return structural_similarity(
        prediction.astype(np.float64),
        truth.astype(np.float64),
        channel_axis=-1,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.mark.parametrize(
    ('name', 'literal'),
    [
        ('psnr_wrapped', wrapped),
        ('psnr_uint8', of_bytes),
        ('ssim_uint8', similarity_of_bytes),
        ('ssim_gaussian', similarity_in_a_gaussian),
    ],
)
def test_equals_the_other_code(name, literal):
    found = PRESETS[name](PREDICTION, TRUTH)
    np.testing.assert_allclose(found, frame_by_frame(literal), rtol=2e-5)


def test_the_wrapped_psnr_flatters():
    prediction, truth = np.full((1, 8, 8, 1), 0.5), np.full((1, 8, 8, 1), 0.6)
    assert PRESETS['psnr_wrapped'](prediction, truth).item() == pytest.approx(25.98, abs=0.005)
    # of bytes 127 and 153, and so a little more than 20 dB
    assert PRESETS['psnr_uint8'](prediction, truth).item() == pytest.approx(19.83, abs=0.005)
    half, sixteen = np.full((1, 8, 8, 1), 0.5), np.full((1, 8, 8, 1), 0.5 + 16.2 / 255)
    assert PRESETS['psnr_wrapped'](half, sixteen).item() == pytest.approx(100)


def test_small_frames_are_said():
    check_presets(('psnr_wrapped', 'ssim_uint8'), (7, 40, 1))
    with pytest.raises(InputError, match='ssim_gaussian needs frames of at least 11 pixels'):
        check_presets(('ssim_gaussian',), (64, 10, 1))


def test_a_metric_of_ones_own_is_traced_before_it_is_needed(monkeypatch):
    monkeypatch.setattr('e3d.evaluation.presets.PRESETS', dict(PRESETS))
    metrics = {
        'good': lambda p, t: (p - t).mean(axis=(-3, -2, -1)),
        'of_numpy': lambda p, t: np.abs(p - t).mean(axis=(-3, -2, -1)),
        'branching': lambda p, t: 0.0 if (p == t).all() else jnp.abs(p - t).mean(axis=(-3, -2, -1)),
        'of_all': lambda p, t: (p - t).mean(),
        'exchanged': lambda p, t: (p - t).mean(axis=(-3, -2, -1)).T,
        'two': lambda p, t: {'low': p.min(), 'high': t.max()},
    }
    for name, metric in metrics.items():
        register_metric(name)(metric)
    check_presets(('good',), (8, 6, 2))
    for name, problem in {
        'of_numpy': 'fails with TracerArrayConversionError',
        'branching': 'fails with TracerBoolConversionError',
        'of_all': r'gives the shape \(\)',
        'exchanged': r'gives the shape \(3, 2\)',
        'two': 'gives dict',
    }.items():
        with pytest.raises(InputError, match=rf'{name} {problem}.* \(2, 3\).*jax.numpy'):
            check_presets((name,), (8, 6, 2))
