"""Grids with gaps, a unit and more than frames, from their files through training to forecasts."""

import itertools
import json
import re

import h5py
import numpy as np
import pytest
from grid_fixtures import HEIGHT, WIDTH, dates, labeled, moving_rain, outside, placed, with_unit
from PIL import Image
from training_helpers import TinyForecaster, tiny_config

from e3d.configuration import default_config
from e3d.data.sources.file_facts import FileFacts
from e3d.errors import InputError
from e3d.fitting.run import describe_report, stored_report
from e3d.model.needs import Needs
from e3d.pages.writing import renew_page, write_comparison
from e3d.prediction.forecast import forecast
from e3d.prediction.inputs import read_input, seen_frame
from e3d.prediction.predict import predict_file
from e3d.runs import trained_run
from e3d.runs.trained_run import load_run
from e3d.sweep.entries import Entry
from e3d.sweep.results import read_result
from e3d.training import loop, parts
from e3d.training.evaluation import evaluate


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch):
    for module in (parts, trained_run):
        monkeypatch.setattr(module, 'build_model', lambda **fields: TinyForecaster())


def config_of(tmp_path, path, **values):
    config = tiny_config(tmp_path)
    config.dataset = default_config('grids').dataset
    config.dataset.update({'path': str(path), 'input_frames': 2, 'output_frames': 2})
    config.dataset.update(values)
    config.train.steps, config.model.pad_frames = 2, True
    return config


def test_a_masked_cell_changes_nothing_anywhere(tmp_path):
    rain, reports, predictions = moving_rain(40), [], []
    np.save(tmp_path / 'mask.npy', ~outside())
    for hidden in (0.0, 1e30):
        folder = tmp_path / f'{hidden:g}'
        folder.mkdir()
        np.save(folder / 'rain.npy', np.where(outside(), np.float32(hidden), rain))
        values = {'mask': str(tmp_path / 'mask.npy'), 'unit': 'mm/h', 'transform': 'dBZ'}
        config = config_of(tmp_path, folder / 'rain.npy', **values)
        report = loop.train(config, folder / 'run')
        report.pop('data')  # says where they lie
        reports.append(report)
        predict_file(folder / 'run', folder / 'rain.npy', folder / 'next.npy', horizon=3)
        predict_file(folder / 'run', folder / 'rain.npy', folder / 'next')
        predictions.append(np.load(folder / 'next.npy'))
        run = load_run(folder / 'run')
    assert reports[0] == reports[1] and reports[0]['unit'] == 'mm/h'
    np.testing.assert_array_equal(*predictions)
    assert predictions[0].shape == (3, HEIGHT, WIDTH, 1)
    np.testing.assert_array_equal(np.isnan(predictions[0][0, ..., 0]), outside())
    folders = (tmp_path / name / 'next' for name in ('0', '1e+30'))
    pictures = [np.asarray(Image.open(folder / 'frame_00001.png')) for folder in folders]
    np.testing.assert_array_equal(*pictures)
    assert set(pictures[0][outside()]) == {150, 190}  # hatched

    # An array in the unit, NaN for gaps, gives what the file gives.
    np.testing.assert_array_equal(forecast(run, rain, 3), predictions[0])
    errors = []
    for first in range(36, 39):
        truth = rain[first : first + 2, ..., None]
        errors.append(forecast(run, rain[first - 2 : first]) - truth)
    known = np.concatenate(errors)[:, ~outside()]
    assert reports[0]['num_sequences'] == len(errors)
    assert reports[0]['rmse'] == pytest.approx(np.sqrt(np.mean(known.astype(float) ** 2)), rel=1e-5)
    assert reports[0]['mae_in_unit'] == pytest.approx(np.abs(known).mean(), rel=1e-5)
    with pytest.raises(InputError, match='the data of the run have none below 0'):
        forecast(run, rain - 30)

    # Of several series the last one is continued, and it is said.
    np.save(tmp_path / 'series.npy', np.stack([rain, rain, rain[::-1]])[..., None])
    said = predict_file(run, tmp_path / 'series.npy', tmp_path / 'next.npy', horizon=3)
    assert 'Read the last 2 of 40 frames of the last of 3 series of ' in said
    np.testing.assert_array_equal(np.load(tmp_path / 'next.npy'), forecast(run, rain[::-1], 3))
    np.save(tmp_path / 'short.npy', rain[:1])
    said = predict_file(run, tmp_path / 'short.npy', tmp_path / 'short_next.npy')
    assert 'Read the last 1 of 1 frames (there are no more; the model was trained on 2)' in said


@pytest.mark.parametrize('kind', ['npy', 'h5'])
def test_an_array_is_prepared_as_the_file_that_holds_it(tmp_path, kind):
    stored = np.nan_to_num(moving_rain(40)).astype(np.int16) * 10
    stored[:, outside()] = 30_000
    stored[36:, 4, 5] = stored[39, 5, 5] = stored[::3, 2, 5] = -999
    path, mask = tmp_path / f'rain.{kind}', tmp_path / 'mask.npy'
    np.save(mask, ~outside())
    if kind == 'npy':
        np.save(path, stored)
    else:  # the mask is a field of it
        with h5py.File(path, 'w') as file:
            file['rain'], file['land'] = stored, ~outside()
    values = {'missing': -999.0, 'mask': str(mask) if kind == 'npy' else 'land', 'unit': '0.1 mm/h'}
    loop.train(config_of(tmp_path, path, **values), tmp_path / 'run')
    run = load_run(tmp_path / 'run')
    predict_file(run, path, tmp_path / 'next.npy')
    expected, factor = np.load(tmp_path / 'next.npy'), np.float32(0.1)
    hidden = outside().copy()
    hidden[4, 5] = True
    np.testing.assert_array_equal(np.isnan(expected[0, ..., 0]), hidden)
    for frames in (stored * 0.1, stored.astype(np.float32) * factor, (stored * 0.1)[..., None]):
        np.testing.assert_array_equal(forecast(run, frames), expected)
    twice = forecast(run, np.stack([stored * 0.1] * 2)[..., None])
    np.testing.assert_allclose(twice, [expected] * 2, rtol=1e-5)
    with pytest.raises(InputError, match=r'The frames are 8 x 10 with 1 channels, but the data'):
        forecast(run, np.abs(stored[:, :8]) * 0.1)

    (mask if kind == 'npy' else path).rename(tmp_path / 'elsewhere')
    pattern = {'npy': "dataset.mask is '.*mask.npy', which is neither a file nor one of the fields"}
    with pytest.raises(
        InputError, match=pattern.get(kind, "dataset.mask is 'land', .* as .*rain.h5 is gone")
    ):
        forecast(run, stored * 0.1)


def test_a_stream_has_no_number_that_stands_for_no_value(tmp_path):
    rain = np.nan_to_num(moving_rain(40))
    np.save(tmp_path / 'rain.npy', rain)
    loop.train(config_of(tmp_path, tmp_path / 'rain.npy', missing=999.0), tmp_path / 'run')
    run = load_run(tmp_path / 'run')
    seen_frame(rain[0, ..., None], run)
    with pytest.raises(InputError, match=r'The frame holds numbers that are NaN'):
        seen_frame(np.full((HEIGHT, WIDTH, 1), 999.0), run)


def test_what_is_infinite_in_the_unit_is_reported_and_read_again(tmp_path, capsys, monkeypatch):
    class Overshooting(TinyForecaster):
        def __call__(self, *arguments, **options):
            return 40 + super().__call__(*arguments, **options)

    for module in (parts, trained_run):
        monkeypatch.setattr(module, 'build_model', lambda **fields: Overshooting())
    np.save(tmp_path / 'rain.npy', np.nan_to_num(moving_rain(40)))
    values = {'unit': 'mm/h', 'transform': 'dBZ'}
    for seed in (0, 1):
        config = config_of(tmp_path, tmp_path / 'rain.npy', **values)
        config.seed = seed
        report = loop.train(config, tmp_path / f'run{seed}')
    assert report['rmse'] == report['mae_in_unit'] == np.inf and np.isfinite(report['mse'])
    said = capsys.readouterr().out
    assert re.search(r'model .* inf ', said) and 'Inf: more than float32 can hold' in said

    def refuse(constant):
        raise AssertionError(f'{constant} is no JSON that other programs read')

    lines = (tmp_path / 'run1/metrics.jsonl').read_text().splitlines()
    for text in (*lines, (tmp_path / 'run1/evaluation.json').read_text()):
        stored = json.loads(text, parse_constant=refuse)
    assert stored['rmse'] is None and stored['rmse_per_frame'] == [None, None]
    assert stored['mse'] == report['mse'] and stored['last_frame']['rmse'] > 0
    assert 'repeat the last frame' in describe_report(stored_report(tmp_path / 'run1'))
    renew_page(tmp_path / 'run1')
    both = [tmp_path / 'run0', tmp_path / 'run1']
    for page in (both[1] / 'report.html', write_comparison(both, tmp_path / 'both.html')):
        assert 'RMSE ↓' in page.read_text(encoding='utf-8')
    assert read_result(Entry('run1', (), config), both[1]).test['mse'] == report['mse']


def test_each_variable_has_its_own_least_value(tmp_path):
    random = np.random.default_rng(0)
    rain, heat = random.uniform(0, 10, (40, 8, 8)), random.uniform(50, 100, (40, 8, 8))
    np.savez(tmp_path / 'both.npz', rain=rain, heat=heat, wind=rain - 5)
    config = config_of(tmp_path, tmp_path / 'both.npz', scale='0,100')
    loop.train(config, tmp_path / 'run')
    run = load_run(tmp_path / 'run')
    assert run.scale.bounds == ((0, 0, -np.inf), np.inf)
    frames = np.stack([rain, heat, rain - 5], axis=-1)
    forecast(run, frames - np.float32([0, 50, 90]))
    with pytest.raises(InputError, match='values from -1; the data of the run have none below 0'):
        forecast(run, np.where(frames < 0, frames, -1))
    with pytest.raises(InputError, match='shape'):
        forecast(run, frames[..., 0])
    far = run._replace(scale=run.scale._replace(bounds=((2.0, 5.0, -np.inf), np.inf)))
    cut = forecast(far, frames + 500)
    assert (cut[..., :2].min(axis=(0, 1, 2)) >= [200, 500]).all() and cut[..., 2].min() < 200


def test_what_is_known_ahead_is_read_from_the_file(tmp_path):
    content = labeled()
    content.to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    values = {'known': ('wind',), 'static': ('orography',), 'calendar': ('hour',)}
    config = config_of(tmp_path, tmp_path / 'rain.nc', **values)
    loop.train(config, tmp_path / 'run')
    run = load_run(tmp_path / 'run')
    assert run.beside == {'valid': 1, 'known': 5} and run.scale.unit == 'mm/h'

    def predicted(content, name):
        content.to_netcdf(tmp_path / f'{name}.nc', engine='h5netcdf')
        said = predict_file(run, tmp_path / f'{name}.nc', tmp_path / f'{name}.npy')
        assert 'Read the last 2 of 38 frames' in said and 'in mm/h' in said
        return np.load(tmp_path / f'{name}.npy')

    expected = predicted(content, 'same')
    without = content.copy(deep=True)
    without['rain'][38:] = np.nan  # which are to be forecast
    np.testing.assert_array_equal(predicted(without, 'without'), expected)
    without['wind'][39] += 1  # the wind of the second time ahead moves that alone
    changed = predicted(without, 'windy')
    np.testing.assert_array_equal(changed[0], expected[0])
    assert np.nanmax(np.abs(changed[1] - expected[1])) > 0

    with pytest.raises(InputError, match=r'sees known beside the frames \(dataset.static'):
        forecast(run, content['rain'].values)
    with pytest.raises(
        InputError, match=r"no variable 'wind' with a time axis; it has rain\. The run"
    ):
        content.drop_vars('wind').to_netcdf(tmp_path / 'calm.nc', engine='h5netcdf')
        predict_file(run, tmp_path / 'calm.nc', tmp_path / 'calm.npy')


def test_dates_ahead_of_one_frame_follow_in_the_step_of_the_training(tmp_path):
    content = labeled()[['rain']]
    content.to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    config = config_of(tmp_path, tmp_path / 'rain.nc', calendar=('hour', 'weekday'))
    loop.train(config, tmp_path / 'run')
    run = load_run(tmp_path / 'run')
    content.isel(time=slice(39, 40)).to_netcdf(tmp_path / 'one.nc', engine='h5netcdf')
    many, one = (read_input(tmp_path / name, run, 3) for name in ('rain.nc', 'one.nc'))
    np.testing.assert_array_equal(one.beside['known'], many.beside['known'][1:])
    predict_file(run, tmp_path / 'one.nc', tmp_path / 'next.npy')
    for facts in (None, run.facts._replace(step=0.0)):  # of an earlier version, of unequal steps
        with pytest.raises(InputError, match=r'one.nc has too few frames to tell .* with more of'):
            read_input(tmp_path / 'one.nc', run._replace(facts=facts), 3)


def test_frames_larger_than_those_that_were_trained_on_are_forecast_in_tiles(tmp_path):
    rain = moving_rain(40)
    np.save(tmp_path / 'rain.npy', rain)
    whole, tiled = (
        loop.train(config_of(tmp_path, tmp_path / 'rain.npy', crop=crop), tmp_path / str(len(crop)))
        for crop in ((), (6, 8))
    )
    assert tiled['num_sequences'] == whole['num_sequences'] and 'mean_image' not in tiled
    assert tiled['last_frame'] == whole['last_frame']
    run = load_run(tmp_path / '2')
    assert run.frame_shape == (6, 8, 1)
    predict_file(run, tmp_path / 'rain.npy', tmp_path / 'next.npy')
    predicted = np.load(tmp_path / 'next.npy')
    np.testing.assert_array_equal(predicted, forecast(run, rain))
    # The tiny model sees one cell at a time, so tiles change nothing but by their rounding.
    single = np.stack([forecast(run, rain[:, top : top + 6, 1:9]) for top in (0, 3)])
    np.testing.assert_allclose(predicted[:, 0:6, 1:9], single[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(predicted[:, 3:9, 1:9], single[1], rtol=1e-4, atol=1e-4)


def test_a_file_to_predict_from_states_what_those_of_the_training_stated(tmp_path):
    content = placed(labeled())
    path = tmp_path / 'both.nc'
    content.to_netcdf(path, engine='h5netcdf')
    loop.train(config_of(tmp_path, path), tmp_path / 'run')
    run, number = load_run(tmp_path / 'run'), itertools.count()
    assert run.facts == FileFacts(
        {'rain': 'mm/h', 'wind': 'm/s'}, {'latitude': (60, 52), 'longitude': (0, 9)}, 1800
    )

    def predicted(content):
        path = tmp_path / f'input_{next(number)}.nc'
        content.to_netcdf(path, engine='h5netcdf')
        said = predict_file(run, path, path.with_suffix('.npy'))
        return np.load(path.with_suffix('.npy')), said

    assert run.channel_names == ('rain', 'wind')
    expected, said = predicted(content)
    assert 'until 2020-03-02T17:30:00 in steps of 30 min, with values from ' in said
    for other in (content[['wind', 'rain']], content.assign(more=content['rain'])):
        np.testing.assert_array_equal(predicted(other)[0], expected)
    moved, said = predicted(content.assign_coords(latitude=content.latitude + 5))
    assert "lies elsewhere than the data of the training: 'latitude' goes from 65 to 57" in said
    np.testing.assert_array_equal(moved, expected)
    slower = content.assign_coords(time=dates(40, minutes=60).astype('datetime64[ns]'))
    for changed, message in (
        (content[['rain']], "has no variable 'wind' with a time axis; it has rain"),
        (slower, r'has a frame every 1 h, but .* training have one every 30 min\. Give'),
        (
            content.isel(latitude=slice(None, None, -1)),
            "'latitude' goes from 52 to 60 in .*, but from",
        ),
        (
            with_unit(content, 'm/s'),
            "'rain' is in 'm/s' in .*.nc, but in 'mm/h' in the data of",
        ),
    ):
        with pytest.raises(InputError, match=message):
            predicted(changed)
    older = run._replace(facts=None)  # of an earlier version
    predict_file(older, tmp_path / 'input_6.nc', tmp_path / 'older.npy')


def test_the_one_variable_of_a_run_may_be_called_otherwise(tmp_path):
    content = labeled()[['rain']]
    content.to_netcdf(tmp_path / 'rain.nc', engine='h5netcdf')
    loop.train(config_of(tmp_path, tmp_path / 'rain.nc'), tmp_path / 'run')
    run = load_run(tmp_path / 'run')
    np.save(tmp_path / 'rain.npy', content['rain'])
    content.rename(rain='precip').to_netcdf(tmp_path / 'other.nc', engine='h5netcdf')
    told = {'rain.nc': '', 'rain.npy': '', 'other.nc': "'precip' of {} stands for 'rain' of the"}
    for name, line in told.items():
        said = predict_file(run, tmp_path / name, tmp_path / f'{name}.next.npy')
        assert line.format(tmp_path / name) in said and ('stands for' in said) == bool(line)
    forecasts = [np.load(tmp_path / f'{name}.next.npy') for name in told]
    np.testing.assert_array_equal(forecasts[1:], forecasts[:1] * 2)
    with_unit(content.rename(rain='precip'), 'm/s', 'precip').to_netcdf(tmp_path / 'fast.nc')
    loop.train(config_of(tmp_path, tmp_path / 'rain.npy', unit='mm/h'), tmp_path / 'unnamed')
    for one in (run, load_run(tmp_path / 'unnamed')):
        predict_file(one, tmp_path / 'rain.nc', tmp_path / f'{one.facts.step}.npy')
        with pytest.raises(
            InputError, match=r"' is in 'm/s' in .*, but in 'mm/h' in the data of the"
        ):
            predict_file(one, tmp_path / 'fast.nc', tmp_path / 'next.npy')


def test_an_evaluation_says_what_other_files_state(tmp_path, capsys):
    content = labeled()
    content.to_netcdf(tmp_path / 'both.nc', engine='h5netcdf')
    config = config_of(tmp_path, tmp_path / 'both.nc')
    loop.train(config, tmp_path / 'run')
    config.dataset.path = str(tmp_path / 'other.nc')
    slower = content.assign_coords(time=dates(40, minutes=60).astype('datetime64[ns]'))
    slower.to_netcdf(config.dataset.path, engine='h5netcdf')
    capsys.readouterr()
    evaluate(config, tmp_path / 'run')
    assert 'other.nc has a frame every 1 h, but the data of the training' in capsys.readouterr().err
    config.dataset.path = str(tmp_path / 'turned.nc')
    content[['wind', 'rain']].to_netcdf(config.dataset.path, engine='h5netcdf')
    with pytest.raises(InputError, match=r'variables="\(\'rain\', \'wind\'\)"'):
        evaluate(config, tmp_path / 'run')


@pytest.mark.parametrize('offset', [0, 5])  # the scale of the file is that of the run, or another
def test_a_run_of_data_with_gaps_is_evaluated_on_a_file_without(tmp_path, offset):
    rain = np.nan_to_num(moving_rain(40))
    gaps = rain.copy()
    gaps[5, 4, 4] = np.nan
    np.save(tmp_path / 'gaps.npy', gaps)
    np.save(tmp_path / 'whole.npy', rain + np.float32(offset))
    config = config_of(tmp_path, tmp_path / 'gaps.npy')
    own = loop.train(config, tmp_path / 'run')
    config.dataset.path = str(tmp_path / 'whole.npy')
    report = evaluate(config, tmp_path / 'run')
    assert np.isfinite(report['mse']) and report['num_sequences'] == own['num_sequences']
    assert (report['mse'] == own['mse']) == (offset == 0)  # the test part has no gap


BOUNDED = {'needs': Needs(bounded=True)}  # as of a model that ends in a tanh
PROBABILITIES = {'loss.cross_entropy_weight': 0.5}


@pytest.mark.parametrize(
    ('scale', 'seen'),
    [('meanstd', r'from -\S+ to \S+'), ('5,10', r'stand for 5 and 10 \S+, .* from -\S+ to \S+')],
)
@pytest.mark.parametrize(
    ('fields', 'values', 'problem', 'remedy'),
    [
        (BOUNDED, {}, r"model\.name='e3d_lstm' forecasts nothing outside", 'another model'),
        ({}, PROBABILITIES, r'entropy_weight=0\.5 is for values from', r'.*entropy_weight=0'),
        (BOUNDED, PROBABILITIES, r'to 1 and loss\.cross_', r'another model and loss\..*=0'),
    ],
)
def test_values_that_cannot_be_forecast_are_not_trained_on(
    tmp_path, monkeypatch, scale, seen, fields, values, problem, remedy
):
    for name, value in fields.items():
        monkeypatch.setattr(TinyForecaster, name, value, raising=False)
    np.save(tmp_path / 'rain.npy', moving_rain(40))
    config = config_of(tmp_path, tmp_path / 'rain.npy', scale=scale, unit='mm/h')
    config.update_from_flattened_dict(values)
    message = rf"{problem}.*, but .*{seen}\. Take {remedy}, or dataset\.scale='minmax'\."
    with pytest.raises(InputError, match=message):
        parts.prepare(config, tmp_path / 'run')
    for transform in ('', 'log1p', 'dBZ'):
        config.dataset.update({'scale': 'minmax', 'transform': transform})
        parts.prepare(config, tmp_path / f'run_{transform}')


def test_a_run_that_could_not_be_trained_today_is_measured(tmp_path, monkeypatch):
    np.save(tmp_path / 'rain.npy', moving_rain(40))
    config = config_of(tmp_path, tmp_path / 'rain.npy', scale='5,10')
    report = loop.train(config, tmp_path / 'run')
    monkeypatch.setattr(TinyForecaster, 'needs', Needs(bounded=True), raising=False)
    assert evaluate(config, tmp_path / 'run')['mse'] == report['mse']


def test_errors_of_variables_are_in_their_own_units(tmp_path):
    labeled().to_netcdf(tmp_path / 'both.nc', engine='h5netcdf')
    report = loop.train(config_of(tmp_path, tmp_path / 'both.nc'), tmp_path / 'run')
    assert [(v['name'], v['unit']) for v in report['variables']] == [
        ('rain', 'mm/h'),
        ('wind', 'm/s'),
    ]
    assert 'rmse' not in report
    one = config_of(tmp_path, tmp_path / 'both.nc', targets=('wind',))
    alone = loop.train(one, tmp_path / 'wind')
    of_last = report['last_frame']['variables'][1]
    assert of_last['rmse'] == pytest.approx(alone['last_frame']['rmse'], rel=1e-5)
    assert of_last['rmse'] > 0


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('evaluation.thresholds', (0.5,)),
        ('loss.balance_thresholds', (0.5,)),
        ('evaluation.presets', ('hko7',)),
    ],
)
def test_thresholds_are_of_one_unit(tmp_path, key, value):
    labeled().to_netcdf(tmp_path / 'both.nc', engine='h5netcdf')
    config = config_of(tmp_path, tmp_path / 'both.nc')
    config.loss.balance_weights = (2.0,) * (key == 'loss.balance_thresholds')
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=rf'{key}=\(.*\): .* has 2: mm/h, m/s\. Leave'):
        parts.prepare(config, tmp_path / 'run')
    config.dataset.targets = ('rain',)
    parts.prepare(config, tmp_path / 'one')


@pytest.mark.parametrize(('unit', 'bounded'), [('mm/h', True), ('degC', False)])
def test_below_zero_is_refused_where_the_training_knew_nothing_of_it(tmp_path, unit, bounded):
    content = with_unit(labeled()[['rain']], unit)
    content.to_netcdf(tmp_path / 'warm.nc', engine='h5netcdf')
    loop.train(config_of(tmp_path, tmp_path / 'warm.nc'), tmp_path / 'run')
    colder = content - 8
    with_unit(colder, unit).to_netcdf(tmp_path / 'cold.nc', engine='h5netcdf')
    arguments = tmp_path / 'run', tmp_path / 'cold.nc', tmp_path / 'next.npy'
    if bounded:
        with pytest.raises(
            InputError, match=r'cold\.nc has values from .* the run have none below 0'
        ):
            predict_file(*arguments)
    else:
        assert 'with values from -7.' in predict_file(*arguments)
        assert load_run(tmp_path / 'run').scale.bounds == (-np.inf, np.inf)


def test_channels_without_names_are_taken_for_those_of_the_training(tmp_path, capsys):
    content = labeled()
    content.to_netcdf(tmp_path / 'both.nc', engine='h5netcdf')
    np.save(tmp_path / 'both.npy', np.stack([content.rain, content.wind], axis=-1))
    config = config_of(tmp_path, tmp_path / 'both.nc')
    loop.train(config, tmp_path / 'run')
    errors = []
    for name in ('both.nc', 'both.npy'):
        config.dataset.path = str(tmp_path / name)
        capsys.readouterr()
        errors.append(evaluate(config, tmp_path / 'run')['mse'])
        said = predict_file(tmp_path / 'run', tmp_path / name, tmp_path / f'{name}.next.npy')
        for text in (capsys.readouterr().err, said):
            line = f'of {tmp_path / name} have no names: they are taken for rain, wind, in this'
            assert (line in text) == (name == 'both.npy')
    assert errors[0] == errors[1]
    forecasts = [np.load(tmp_path / f'{name}.next.npy') for name in ('both.nc', 'both.npy')]
    np.testing.assert_array_equal(*forecasts)
