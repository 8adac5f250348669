"""A run continues arrays and files of any length, size and color."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prediction_helpers import INPUT_FRAMES, OUTPUT_FRAMES, FadingSum, run_of

from e3d.data.readers.clips import read_clip
from e3d.data.sources.scales import Scale
from e3d.errors import InputError, RunError
from e3d.model import build_model
from e3d.model.needs import Needs, initialize
from e3d.parallel import host_memory
from e3d.prediction import forecast as forecast_module
from e3d.prediction import opening
from e3d.prediction.forecast import forecast
from e3d.prediction.media import write_clip
from e3d.prediction.predict import predict_file
from e3d.prediction.presentation import Presentation
from e3d.weights.exporting import export_run


@pytest.fixture(scope='module')
def run():
    return run_of(FadingSum())


@pytest.fixture(scope='module')
def clip():
    return np.random.default_rng(0).random((5, 8, 8, 1), np.float32)


def test_the_last_frames_are_used(run, clip):
    total = 0.3 * clip[-INPUT_FRAMES:].sum(axis=0)
    result = forecast(run, clip)
    assert result.dtype == np.float32
    assert result.shape == (OUTPUT_FRAMES, 8, 8, 1)
    np.testing.assert_allclose(result, np.stack([total / 3, total / 4]), rtol=1e-5)


@pytest.mark.parametrize('length', [1, 2])
def test_fewer_frames_are_enough(run, clip, length):
    total = 0.3 * clip[:length].sum(axis=0)
    np.testing.assert_allclose(forecast(run, clip[:length])[0], total / length, rtol=1e-5)


@pytest.mark.parametrize('horizon', [1, 7, np.int64(4)])
def test_any_horizon(run, clip, horizon):
    assert forecast(run, clip, horizon).shape == (horizon, 8, 8, 1)


def test_a_batch_is_many_clips(run, clip):
    clips = np.stack([clip, clip[::-1]])
    expected = np.stack([forecast(run, clip), forecast(run, clip[::-1])])
    np.testing.assert_allclose(forecast(run, clips), expected, rtol=1e-6)


def test_bytes_missing_channels_and_other_sizes(run, clip):
    levels = np.round(clip * 255).astype(np.uint8)
    np.testing.assert_array_equal(forecast(run, levels), forecast(run, levels / np.float32(255)))
    np.testing.assert_array_equal(forecast(run, clip[..., 0]), forecast(run, clip))
    half = jnp.asarray(clip, jnp.bfloat16)
    np.testing.assert_array_equal(forecast(run, half), forecast(run, half.astype(jnp.float32)))
    large = clip.repeat(2, axis=1).repeat(3, axis=2).repeat(3, axis=3)
    np.testing.assert_allclose(forecast(run, large), forecast(run, clip), rtol=1e-5)


def test_values_are_clipped(clip):
    run = run_of(FadingSum())
    result = forecast(run._replace(params={'rate': -5.0}), clip)
    np.testing.assert_array_equal(result, 0)
    result = forecast(run._replace(params={'rate': 500.0}), clip)
    np.testing.assert_array_equal(result, 1)


def test_is_compiled_once_for_a_shape(run, clip):
    chex.clear_trace_counter()
    counted = jax.jit(
        chex.assert_max_traces(forecast_module.continue_clips.__wrapped__, n=1),
        static_argnames=('model', 'horizon'),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast_module, 'continue_clips', counted)
        for shift in range(3):
            forecast(run, np.roll(clip, shift, axis=0))
        with pytest.raises(AssertionError):
            forecast(run, clip, horizon=5)  # another program, so the count is real


@pytest.mark.parametrize('name', ['e3d_lstm', 'convlstm'])
def test_fewer_frames_are_the_same_program_and_exact(name):
    run = run_of(build_model(name, layers=1, features=3, patch_size=2), size=(4, 6))
    run = run._replace(params=jax.tree.map(lambda leaf: 1.5 * leaf + 0.1, run.params))
    frames = np.random.default_rng(0).random((2, 3, 4, 6, 1), np.float32)
    apply = jax.jit(run.model.apply, static_argnums=2)
    before = forecast_module.continue_clips._cache_size()
    for length in (1, 2, 3):
        expected = apply({'params': run.params}, frames[:, :length], 4)[:, -4:]
        found = forecast(run, frames[:, :length], 4)
        assert np.ptp(found) > 1e-3
        np.testing.assert_allclose(found, np.clip(expected, 0, 1), rtol=1e-6, atol=1e-6)
    assert forecast_module.continue_clips._cache_size() == before + 1


def test_the_real_model_forecasts_beyond_its_training():
    run = run_of(build_model(name='e3d_lstm', layers=1, features=1, patch_size=2), size=(4, 6))
    frames = np.random.default_rng(0).random((1, 4, 6, 1), np.float32)
    assert forecast(run, frames, 3).shape == (3, 4, 6, 1)


@pytest.mark.parametrize(
    ('frames', 'horizon', 'message'),
    [
        (np.zeros((8, 8)), None, r'\[B, T, H, W, C\]'),
        (np.zeros((0, 8, 8, 1)), None, 'no frames'),
        (np.full((3, 8, 8), np.nan), None, 'NaN'),
        (np.full((3, 8, 8), 255.0), None, 'floats must lie in'),
        (np.zeros((3, 8, 8, 2)), None, '2 channels'),
        (np.zeros((3, 1, 8, 8)), None, r'8 channels.*np\.moveaxis\(frames, -3, -1\)'),
        (
            np.zeros((8, 8, 3)),
            None,
            r'time seems to be the last axis.*np\.moveaxis\(frames, -1, 0\)',
        ),
        (np.zeros((3, 8, 8)), 0, 'at least 1'),
        (np.zeros((3, 8, 8)), -3, 'at least 1'),
        (np.zeros((3, 8, 8)), 2.5, 'integer'),
        (np.zeros((3, 8, 8)), 10**9, r'1,000,000,003 frames .* GiB of memory are available'),
    ],
)
def test_bad_arrays_and_horizons_are_rejected(run, frames, horizon, message):
    with pytest.raises(InputError, match=message):
        forecast(run, frames, horizon)


def test_a_file_with_time_last_is_rejected_as_an_array_is(tmp_path):
    wide = run_of(FadingSum(), size=(8, 9))
    np.save(tmp_path / 'in.npy', np.zeros((8, 9, 5), np.uint8))
    with pytest.raises(InputError, match=r'in.npy has shape .* time seems to be the last axis'):
        predict_file(wide, tmp_path / 'in.npy', tmp_path / 'out.npy')
    np.save(tmp_path / 'in.npy', np.zeros((8, 9, 5, 1), np.uint8))  # 8 frames of 9 x 5
    predict_file(wide, tmp_path / 'in.npy', tmp_path / 'out.npy')


class AllAtOnce(nn.Module):
    """Its parameters depend on how many frames it sees and forecasts."""

    needs = Needs(future_only=True)

    @nn.compact
    def __call__(self, frames, output_frames):
        seen = jnp.moveaxis(frames[..., 0], 1, -1)
        return jnp.moveaxis(nn.Dense(output_frames)(seen), -1, 1)[..., None]


def test_a_horizon_that_the_parameters_are_not_for_is_named(tmp_path):
    run = run_of(FadingSum())._replace(model=AllAtOnce())
    variables = initialize(run.model, jax.random.key(0), (8, 8, 1), (3, 2))
    run = run._replace(params=variables['params'])
    frames = np.random.default_rng(0).random((5, 8, 8), np.float32)
    assert forecast(run, frames).shape == (2, 8, 8, 1)
    message = r'3 frames to see and 4 to forecast: .* for 3 and 2 alone'
    with pytest.raises(InputError, match=message):
        forecast(run, frames, 4)
    with pytest.raises(InputError, match=message):
        export_run(run, tmp_path / 'program', 'stablehlo', horizon=4)


def test_what_only_training_needs_may_be_for_other_lengths():
    run = run_of(FadingSum())._replace(model=build_model('mcnet', features=1))
    params = initialize(run.model, jax.random.key(0), (8, 8, 1), (3, 2))['params']
    assert 'discriminator' in params
    frames = np.random.default_rng(0).random((3, 8, 8), np.float32)
    assert forecast(run._replace(params=params), frames, 4).shape == (4, 8, 8, 1)


@pytest.mark.parametrize(
    ('name', 'fields', 'most'),
    [
        ('simvp', {'translator': 'incepu', 'layers': 2, 'features': 8, 'encoder_layers': 1}, 3),
        ('st_resnet', {'layers': 1, 'features': 4}, 1),
    ],
)
def test_no_forecast_goes_on_from_what_no_loss_has_asked_for(name, fields, most):
    dataset = {'output_frames': 1}
    model = build_model(name, noise_channels=1, **fields)
    run = run_of(FadingSum(), dataset=dataset)._replace(model=model)
    params = initialize(model, jax.random.key(0), (8, 8, 2), (3, 1))['params']
    frames = np.random.default_rng(0).random((3, 8, 8), np.float32)
    run = run._replace(params=params)
    assert forecast(run, frames, most).shape == (most, 8, 8, 1)
    with pytest.raises(InputError, match=rf'{most + 1} frames .* at most {most}, or train'):
        forecast(run, frames, most + 1)
    # Alone, the frames of the second pass are those of the first, which the loss was of.
    alone = build_model(name, **fields)
    params = initialize(alone, jax.random.key(0), (8, 8, 1), (3, 1))['params']
    run = run._replace(model=alone, params=params)
    assert forecast(run, frames, most + 1).shape == (most + 1, 8, 8, 1)


class Entered(nn.Module):
    """Sees its input at once; its forecast is one channel of what enters."""

    needs = Needs(future_only=True)
    channel: int

    def __call__(self, frames, output_frames):
        return frames[:, :output_frames, ..., self.channel : self.channel + 1]


def test_before_a_short_clip_its_first_frame_is_repeated_and_what_is_known_goes_with_it():
    frames = np.float32([1, 2, 0]).reshape(1, 3, 1, 1, 1)  # the last one only fills up
    known = np.float32([10, 20, 30, 40, 0]).reshape(1, 5, 1, 1, 1)
    continued = forecast_module.continue_clips.__wrapped__
    found = [
        continued(Entered(channel), {}, frames, 2, 2, beside={'known': known}).ravel().tolist()
        for channel in range(3)
    ]
    assert found == [[1, 1], [10, 10], [30, 40]]
    seen = continued(Entered(0), {}, frames, 2, 3)
    assert seen.ravel().tolist() == [1, 1, 2]


def test_a_forecast_that_is_not_finite_is_no_forecast(run, clip):
    with pytest.raises(RunError, match='not finite from frame 1'):
        forecast(run._replace(params={'rate': np.nan}), clip)


def test_a_folder_without_a_run_is_rejected(tmp_path, clip):
    with pytest.raises(InputError, match='no trained run'):
        forecast(tmp_path, clip)


@pytest.mark.parametrize('output', ['out.mp4', 'out.gif', 'out.npy', 'out'])
def test_files_are_continued(run, clip, tmp_path, output):
    write_clip(tmp_path / 'in.mp4', clip.repeat(2, 1).repeat(3, 2).repeat(3, 3), 25)
    text = predict_file(run, tmp_path / 'in.mp4', tmp_path / output, horizon=4)
    assert read_clip(tmp_path / output).shape[1:3] == (8, 8)
    assert 'the last 3 frames' in text
    assert 'RGB made gray; 16 x 24 pixels resized to 8 x 8, aspect ratio changed' in text
    assert f'Wrote the next 4 frames, 8 x 8 gray, to {tmp_path / output}' in text
    assert ('25 frames/s' in text) == (output in ('out.mp4', 'out.gif'))


def test_continuation_of_a_file_is_that_of_its_array(run, clip, tmp_path):
    np.save(tmp_path / 'in.npy', clip[:2])
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'out.npy')
    np.testing.assert_array_equal(np.load(tmp_path / 'out.npy'), forecast(run, clip[:2]))
    assert 'there are no more; the model was trained on 3' in text


def test_nothing_is_written_when_something_is_wrong(run, clip, tmp_path):
    np.save(tmp_path / 'in.npy', clip)
    (tmp_path / 'broken.mp4').write_text('no video')
    for source, target, horizon, message in (
        ('missing.mp4', 'out.npy', None, 'does not exist'),
        ('broken.mp4', 'out.npy', None, 'not a whole video'),
        ('in.npy', 'out.avi', None, 'cannot be written'),
        ('in.npy', 'in.npy', None, 'the input itself'),
        ('in.npy', 'out.npy', 0, 'at least 1'),
    ):
        with pytest.raises(InputError, match=message):
            predict_file(run, tmp_path / source, tmp_path / target, horizon)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['broken.mp4', 'in.npy']
    np.testing.assert_array_equal(np.load(tmp_path / 'in.npy'), clip)


def test_a_workdir_is_read_once_and_again_for_another_checkpoint(run, clip, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(opening, 'load_run', lambda workdir: read.append(workdir) or run)
    for step in (1, 2):
        (tmp_path / 'checkpoints' / str(step)).mkdir(parents=True)
        for _ in range(3):
            np.testing.assert_array_equal(forecast(tmp_path, clip), forecast(run, clip))
        assert read == [tmp_path] * step


def test_a_run_that_is_read_again_is_not_compiled_again(clip):
    def fresh():
        return run_of(build_model('e3d_lstm', layers=1, features=1, kernel_size=[2, 3, 3]))

    forecast(fresh(), clip)
    before = forecast_module.continue_clips._cache_size()
    forecast(fresh(), clip)
    assert forecast_module.continue_clips._cache_size() == before
    forecast(fresh(), clip, 7)  # another program, so the count is real
    assert forecast_module.continue_clips._cache_size() == before + 1


@pytest.mark.parametrize('name', ['input', 'output'])
@pytest.mark.parametrize('path', ['', 's3://bucket/clip.npy', 'http://host/clip.npy'])
def test_paths_that_are_none_are_rejected(run, tmp_path, monkeypatch, name, path):
    monkeypatch.chdir(tmp_path)
    np.save('in.npy', np.zeros((3, 8, 8), np.float32))
    paths = {'input': 'in.npy', 'output': 'out.npy', name: path}
    with pytest.raises(InputError, match=f'The {name} .*path'):
        predict_file(run, **paths)
    assert [file.name for file in tmp_path.iterdir()] == ['in.npy']


def test_the_home_directory_is_known(run, clip, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    np.save(tmp_path / 'in.npy', clip)
    predict_file(run, '~/in.npy', '~/out.npy')
    assert (tmp_path / 'out.npy').is_file()


def test_an_output_that_exists_is_kept_unless_it_is_to_be_replaced(run, clip, tmp_path):
    np.save(tmp_path / 'in.npy', clip)
    predict_file(run, tmp_path / 'in.npy', tmp_path / 'out.npy', 1)
    with pytest.raises(InputError, match='exists already'):
        predict_file(run, tmp_path / 'in.npy', tmp_path / 'out.npy', 2)
    assert len(np.load(tmp_path / 'out.npy')) == 1
    predict_file(run, tmp_path / 'in.npy', tmp_path / 'out.npy', 2, overwrite=True)
    assert len(np.load(tmp_path / 'out.npy')) == 2
    with pytest.raises(InputError, match='the input itself'):
        predict_file(run, tmp_path / 'in.npy', tmp_path / 'in.npy', overwrite=True)


def test_pictures_that_cannot_fit_are_rejected(run, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(host_memory, 'free_bytes', lambda: 10**6)
    np.save(tmp_path / 'in.npy', clip)
    predict_file(run, tmp_path / 'in.npy', tmp_path / 'small', 9)
    with pytest.raises(InputError, match='memory are available'):
        predict_file(
            run, tmp_path / 'in.npy', tmp_path / 'large', 9, presentation=Presentation(scale=64)
        )
    with pytest.raises(InputError, match='2,003 frames of 8 x 8 x 1 '):
        forecast(run, clip, 2000)


def test_what_a_model_keeps_counts_as_well(monkeypatch):
    run = run_of(build_model('e3d_lstm', layers=1, features=32, kernel_size=(2, 3, 3)))
    clip = np.zeros((3, 8, 8), np.float32)
    monkeypatch.setattr(host_memory, 'free_bytes', lambda: 10**7)
    # A state of 2 x 2 x 2 x 32 floats is 1 KiB, the copies of a frame as much: they alone fit.
    assert forecast(run, clip, 100).shape == (100, 8, 8, 1)
    with pytest.raises(InputError, match='6,003 frames of 8 x 8 x 1 take at least'):
        forecast(run, clip, 6000)


def test_tiles_are_kept_within_bounds_before_they_are_blended(monkeypatch):
    """As an evaluation does, which measures the same forecast."""
    run = run_of(FadingSum(), dataset={'name': 'grids', 'crop': (8, 8)})
    run = run._replace(scale=Scale((0.0, 1.0), (0.0, np.inf)))
    tiles = iter([-1.0, 1.0])
    monkeypatch.setattr(
        forecast_module, 'continue_clips', lambda *_: np.full((1, 1, 8, 8, 1), next(tiles))
    )
    found = forecast(run, np.zeros((INPUT_FRAMES, 8, 14, 1), np.float32), horizon=1)
    np.testing.assert_allclose(found[0, 0, :, 0], [0] * 6 + [1 / 3, 2 / 3] + [1] * 6, rtol=1e-6)
