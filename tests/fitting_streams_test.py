"""A run takes the frames of a stream as `forecast` takes those of a clip, and gives what it gives."""

import jax
import numpy as np
import pytest
from parameter_values import make_params
from prediction_helpers import INPUT_FRAMES, recognizer_run, run_of

from e3d import InputError, RunError, load_stream, observe, save_stream, start
from e3d.data.sources.scales import PIXELS, Scale
from e3d.fitting.run import Run
from e3d.model import build_model

SHAPE = (4, 6, 1)
RAIN = Scale((0.0, 40.0), (0.0, np.inf), transform='dBZ', unit='mm/h')
WARMTH = Scale((-10.0, 30.0), (-np.inf, np.inf), unit='degC')
RANDOM = np.random.default_rng(0)


def run_with(scale, dataset):
    model = build_model('convlstm', layers=1, features=2, patch_size=2, kernel_size=(1, 3, 3))
    run = run_of(model, 1, SHAPE[:2], dataset)
    params = make_params(lambda key, frames: model.init(key, frames, 1), np.zeros((1, 1, *SHAPE)))
    params = jax.tree.map(lambda leaf: 1.5 * leaf + 0.1, params['params'])
    return Run(*run)._replace(scale=scale, params=params)


GRIDS = run_with(WARMTH, {'name': 'grids'})
PICTURES = run_with(PIXELS, {'name': 'video_folder', 'fit': 'crop'})


def begin(run, batch_size=None):
    return start(run.model, run.params, run.frame_shape, batch_size)


def stream(run, frames):
    state = begin(run)
    for frame in frames:
        state, following = run.observe(state, frame)
    return state, following


@pytest.mark.parametrize('scale', [WARMTH, RAIN])
@pytest.mark.parametrize('dtype', [np.float64, np.uint8, np.int16])
def test_a_stream_has_the_unit_of_the_data_as_a_forecast_has(scale, dtype):
    frames = (60 * RANDOM.random((INPUT_FRAMES, *SHAPE))).astype(dtype)
    run = GRIDS._replace(scale=scale)
    state, following = stream(run, frames)
    expected = run.forecast(frames, 4)
    assert expected.std() > 0.1 and following.dtype == np.float32
    np.testing.assert_allclose(following, expected[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run.forecast_from(state, 4)[0], expected, rtol=1e-4, atol=1e-4)
    scaled = scale.from_unit(frames)
    same = begin(run)
    for frame in scaled:
        same, _ = observe(run.model, run.params, same, frame)
    jax.tree.map(np.testing.assert_array_equal, state, same)


@pytest.mark.parametrize(
    'frames',
    [
        RANDOM.integers(0, 256, (INPUT_FRAMES, 9, 14, 3), np.uint8),  # resized, and made gray
        RANDOM.integers(0, 2, (INPUT_FRAMES, *SHAPE), np.uint8) * np.uint8(255),
        RANDOM.random((INPUT_FRAMES, 8, 8, 1)),
        RANDOM.random((INPUT_FRAMES, *SHAPE)) < 0.5,
    ],
)
def test_pictures_of_a_stream_are_prepared_as_those_of_a_clip(frames):
    state, following = stream(PICTURES, frames)
    expected = PICTURES.forecast(frames, 3)
    np.testing.assert_allclose(following, expected[0], atol=1e-6)
    np.testing.assert_allclose(PICTURES.forecast_from(state, 3)[0], expected, atol=1e-6)


def test_several_streams_go_on_from_a_file(tmp_path):
    frames = 30 * RANDOM.random((2, INPUT_FRAMES, *SHAPE))
    state = begin(GRIDS, 2)
    for step in range(INPUT_FRAMES):
        save_stream(state, tmp_path / 'stream.safetensors')
        arguments = GRIDS.model, GRIDS.params, GRIDS.frame_shape, 2
        state = load_stream(tmp_path / 'stream.safetensors', *arguments)
        state, following = GRIDS.observe(state, frames[:, step])
    expected = GRIDS.forecast(frames, 2)
    np.testing.assert_allclose(following, expected[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(GRIDS.forecast_from(state, 2), expected, rtol=1e-4, atol=1e-4)


def test_a_dark_frame_is_one():
    dark = np.zeros(SHAPE, np.uint8)
    dark[0, 0] = 1  # a whole clip of 0 and 1 may be a mask
    _, following = stream(PICTURES, [dark])
    _, expected = stream(PICTURES, [dark / 255])
    np.testing.assert_allclose(following, expected, atol=1e-6)


def test_a_recognizer_sees_what_the_training_showed_it():
    sizes = {'layers': 1, 'features': 2, 'classes': 3, 'window': 1, 'classifier_features': 2}
    model = build_model('e3d_recognizer', **sizes, kernel_size=(2, 3, 3), history=1)
    frames = RANDOM.integers(0, 256, (2, 8, 12, 1), np.uint8)
    params = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 1, *SHAPE), np.float32))['params']
    run = Run(*recognizer_run(model))._replace(params=params, frame_shape=SHAPE)
    _, found = stream(run, frames)
    state = begin(run)
    means = frames.reshape(2, 4, 2, 6, 2, 1).mean(axis=(2, 4))
    for frame in np.rint(means) / 255:
        state, expected = observe(model, params, state, frame)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ('run', 'frame', 'message'),
    [
        (PICTURES, np.full(SHAPE, 200.0), r'from 200 to 200; floats .* frames / 255'),
        (PICTURES, np.full(SHAPE, -0.5), 'from -0.5'),
        (PICTURES, np.zeros(SHAPE, np.int64), 'dtype int64'),
        (PICTURES, np.zeros((4, 6)), r'\(4, 6\); it must be \[H, W, C\]'),
        (PICTURES, np.zeros((2, *SHAPE)), '1 at once'),
        (PICTURES, np.zeros((4, 6, 2)), '2 channels'),
        (GRIDS, np.full(SHAPE, np.nan), 'NaN'),
        (GRIDS, np.ma.masked_less(np.arange(24.0).reshape(SHAPE), 3), '3 masked values'),
        (GRIDS, np.full(SHAPE, 1j), 'complex'),
        (GRIDS, np.zeros((8, 12, 1)), 'not resized'),
        (GRIDS._replace(scale=RAIN), np.full(SHAPE, -1.0), 'none below 0'),
        (GRIDS._replace(beside={'valid': 1}), np.zeros(SHAPE), 'sees valid beside the frames'),
    ],
)
def test_what_is_certainly_wrong_is_refused(run, frame, message):
    with pytest.raises(InputError, match=message):
        run.observe(begin(run), frame)


def test_a_forecast_needs_a_frame_and_is_finite():
    with pytest.raises(InputError, match='no frame was observed yet'):
        GRIDS.forecast_from(begin(GRIDS), 2)
    with pytest.raises(InputError, match='sees known and valid beside the frames'):
        GRIDS._replace(beside={'valid': 1, 'known': 2}).forecast_from(begin(GRIDS), 2)
    diverged = GRIDS._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, GRIDS.params))
    with pytest.raises(RunError, match='not finite from frame 1'):
        diverged.observe(begin(GRIDS), np.zeros(SHAPE))
