"""Where the data have a unit, forecasts are asked for and given in that unit."""

import math

import numpy as np
import pytest
from prediction_helpers import FadingSum, run_of

from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.prediction.forecast import forecast
from e3d.prediction.predict import predict_file
from e3d.prediction.presentation import Presentation

LOW, HIGH = 20.0, 220.0
SCALE = Scale((LOW, HIGH), (-LOW / (HIGH - LOW), math.inf))
COUNTS = np.random.default_rng(0).integers(0, 400, (5, 8, 8, 2))


@pytest.fixture(scope='module')
def run():
    run = run_of(FadingSum(), channels=2)
    run.config.dataset.name = 'taxibj'
    run.config.dataset.slots_per_day = None
    return run._replace(scale=SCALE, params={'rate': 1.5})


def expected_counts():
    """What `FadingSum` makes of the last three frames, computed in counts."""
    total = 1.5 * ((COUNTS[-3:] - LOW) / (HIGH - LOW)).sum(axis=0)
    return np.maximum(np.stack([total / 3, total / 4]) * (HIGH - LOW) + LOW, 0)


@pytest.mark.parametrize('dtype', [np.uint16, np.int64, np.float32, np.float64])
def test_counts_in_counts_out_without_an_upper_bound(run, dtype):
    result = forecast(run, COUNTS.astype(dtype))
    np.testing.assert_allclose(result, expected_counts(), rtol=1e-4, atol=1e-3)
    assert result.max() > HIGH and result.dtype == np.float32
    np.testing.assert_allclose(
        forecast(run, np.stack([COUNTS, COUNTS])), np.stack([result] * 2), rtol=1e-5
    )


def test_uint8_are_counts_as_well(run):
    counts = (COUNTS % 256).astype(np.uint8)
    np.testing.assert_array_equal(forecast(run, counts), forecast(run, counts.astype(np.float64)))


def test_no_count_is_forecast_below_zero(run):
    assert forecast(run._replace(params={'rate': -9.0}), COUNTS).min() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        (COUNTS - 300, 'none below 0'),
        (np.full(COUNTS.shape, np.nan), 'NaN'),
        (COUNTS.astype(complex), 'integers or floats'),
        (np.ma.masked_less(COUNTS, 50), 'masked'),
        (COUNTS.repeat(2, axis=1), 'not resized'),
        (COUNTS[..., :1], 'not resized'),
    ],
)
def test_what_is_no_count_is_rejected(run, frames, message):
    with pytest.raises(InputError, match=message):
        forecast(run, frames)


def test_files_of_counts(run, tmp_path):
    np.save(tmp_path / 'in.npy', COUNTS.astype(np.uint16))
    text = predict_file(run, tmp_path / 'in.npy', tmp_path / 'out.npy')
    np.testing.assert_array_equal(np.load(tmp_path / 'out.npy'), forecast(run, COUNTS))
    low, high = COUNTS[-3:].min(), COUNTS[-3:].max()
    assert f'go from {low} to {high}, read in the unit of the data' in text
    assert 'those of the training went from 20 to 220' in text
    assert 'Its values are in the unit of the data.' in text


@pytest.mark.parametrize(('rate', 'brighter'), [(1.5, 'forecast'), (0.1, 'input')])
def test_pictures_say_what_their_colors_stand_for(run, tmp_path, rate, brighter):
    run = run._replace(params={'rate': rate})
    np.save(tmp_path / 'in.npy', COUNTS)
    future = forecast(run, COUNTS)
    maxima = {'forecast': future.max(), 'input': COUNTS[-3:].max()}
    least = min(future.min(), COUNTS[-3:].min())
    assert least < 20  # what 0 stands for
    assert max(maxima, key=maxima.__getitem__) == brighter
    text = predict_file(
        run, tmp_path / 'in.npy', tmp_path / 'out.gif', presentation=Presentation(with_input=True)
    )
    assert f'darkest color is {least:g}, the brightest {maxima[brighter]:g}' in text


def test_pictures_hold_no_counts(run, tmp_path):
    (tmp_path / 'in.gif').write_bytes(b'')
    with pytest.raises(InputError, match='not an array'):
        predict_file(run, tmp_path / 'in.gif', tmp_path / 'out.npy')


def test_a_file_of_flows_is_continued_where_it_has_no_hole(run, tmp_path):
    h5py = pytest.importorskip('h5py')
    dates = [f'201401{day:02d}{slot:02d}'.encode() for day in (1, 2) for slot in (1, 2, 3)]
    counts = np.random.default_rng(1).integers(0, 100, (6, 2, 8, 8)).astype(float)
    with h5py.File(tmp_path / 'flows.h5', 'w') as file:
        file['data'], file['date'] = counts, np.array(dates)
    predict_file(run, tmp_path / 'flows.h5', tmp_path / 'out.npy')
    expected = forecast(run, np.moveaxis(counts, 1, -1))
    np.testing.assert_array_equal(np.load(tmp_path / 'out.npy'), expected)
    for name, missing in (('early', 1), ('late', 4)):
        with h5py.File(tmp_path / f'{name}.h5', 'w') as file:
            file['data'] = np.delete(counts, missing, axis=0)
            file['date'] = np.delete(dates, missing)
    predict_file(run, tmp_path / 'early.h5', tmp_path / 'early.npy')
    np.testing.assert_array_equal(np.load(tmp_path / 'early.npy'), expected)
    with pytest.raises(InputError, match='has a hole within its last 3 slots'):
        predict_file(run, tmp_path / 'late.h5', tmp_path / 'late.npy')


def test_scaled_data_of_an_unknown_unit_may_go_beyond_1(run):
    unknown = run._replace(scale=Scale(None, (0.0, math.inf)))
    frames = (COUNTS / 200).astype(np.float32)
    total = 1.5 * frames[-3:].sum(axis=0)
    result = forecast(unknown, frames)
    np.testing.assert_allclose(result, np.stack([total / 3, total / 4]), rtol=1e-5)
    assert result.max() > 1
    with pytest.raises(InputError, match=r'none below 0\. .*\(x \+ 1\) / 2'):
        forecast(unknown, frames - 1)


def test_a_run_of_an_earlier_version_says_that_it_has_no_unit(run, tmp_path):
    older = run._replace(scale=Scale())
    np.save(tmp_path / 'in.npy', (COUNTS / 400).astype(np.float32))
    text = predict_file(older, tmp_path / 'in.npy', tmp_path / 'out.npy')
    assert 'earlier version, which did not keep the range of its data' in text
    assert np.load(tmp_path / 'out.npy').max() <= 1
