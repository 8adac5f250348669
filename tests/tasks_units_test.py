"""Data with a unit keep it from the files through training, reports and predictions."""

import datetime

import h5py
import numpy as np
import pytest
from training_helpers import TinyForecaster, tiny_config

from e3d.configuration import default_config
from e3d.prediction.forecast import forecast
from e3d.runs import trained_run
from e3d.runs.trained_run import load_run
from e3d.training import loop, parts

SLOTS = 4  # a day


def write_flows(path, largest):
    """Twelve days of counts, twice as large in the last one, which is for testing."""
    start = datetime.date(2014, 4, 1)
    days = [start + datetime.timedelta(days=day) for day in range(12)]
    dates = [f'{day:%Y%m%d}{slot:02d}'.encode() for day in days for slot in range(1, SLOTS + 1)]
    counts = np.random.default_rng(0).integers(1, largest, (len(dates), 2, 8, 8))
    counts[0, 0, 0, :2] = 0, largest
    counts[-SLOTS:] *= 2
    with h5py.File(path, 'w') as file:
        file['data'], file['date'] = counts.astype(float), np.array(dates)
    return np.moveaxis(counts, 1, -1)


def test_counts_from_end_to_end(tmp_path, monkeypatch, capsys):
    for module in (parts, trained_run):
        monkeypatch.setattr(module, 'build_model', lambda **fields: TinyForecaster())
    path = tmp_path / 'NYC_M8x8_T360_NewEnd.h5'
    counts = write_flows(path, 100)
    config = tiny_config(tmp_path)
    dataset = default_config('taxibj').dataset
    dataset.update({'path': str(path), 'input_frames': 2, 'output_frames': 2})
    dataset.update({'test_days': 1, 'validation_days': 1})
    config.dataset, config.evaluation.num_samples = dataset, 0
    report = loop.train(config, tmp_path / 'run')

    run = load_run(tmp_path / 'run')
    assert run.scale.value_range == (0, 100) and run.scale.bounds == (0, np.inf)
    # The two frames that are forecast lie in the last day.
    errors, still = [], []
    for first in range(len(counts) - SLOTS, len(counts) - 1):
        truth = counts[first : first + 2]
        prediction = forecast(run, counts[first - 2 : first])
        assert prediction.min() >= 0
        errors.append(prediction - truth)
        still.append(counts[first - 1] - truth)
    assert report['num_sequences'] == len(errors)
    for rmse, differences in ((report['rmse'], errors), (report['last_frame']['rmse'], still)):
        expected = np.sqrt(np.mean(np.square(differences, dtype=np.float64)))
        assert rmse == pytest.approx(expected, rel=1e-5)
    assert report['last_frame']['rmse'] > 30  # uncut, of counts up to 200

    write_flows(path, 50)
    capsys.readouterr()
    loop.evaluate(None, tmp_path / 'run')
    assert (
        'scaled as in the training of the run: 0 and 1 stand for 0 and 100'
        in capsys.readouterr().err
    )
