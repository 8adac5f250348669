import functools
import json

import pytest

from benchmarks import finished_runs, recognition_study, study
from e3d.options.flat import flatten

EXPERIMENTS = {name: flag for name, (flag, *_) in study.STUDIES.items()}
RECOGNITION = {recognition_study.STUDY: 'experiments/moving_actions.py'}


@functools.cache
def plan_of(study):
    flag = (EXPERIMENTS | RECOGNITION)[study]
    return finished_runs.plan({study: flag})


def numbers_of(mse, ssim=0.5):
    quality = {'mse': mse, 'ssim': ssim, 'psnr': 20.0}
    return {
        'arguments': [],
        'parameters': 1234,
        'seconds_per_step': 0.5,
        'test': quality,
        'mse_per_frame': [mse, mse],
        'curve': [[1, mse], [2, mse]],
        'last_frame': quality,
        'mean_image': quality,
    }


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(study, 'ROOT', tmp_path)
    monkeypatch.setattr(study, 'NUMBERS', tmp_path / 'results' / 'study.json')
    monkeypatch.setattr(recognition_study, 'ROOT', tmp_path)
    monkeypatch.setattr(recognition_study, 'NUMBERS', tmp_path / 'results' / 'recognition.json')
    monkeypatch.setattr(finished_runs, 'TABLES', tmp_path / 'RESULTS.md')
    return tmp_path


def read_numbers():
    return finished_runs.read_numbers(study.NUMBERS, EXPERIMENTS)


def write(numbers):
    finished_runs.keep(study.NUMBERS, numbers)
    study.write(numbers)


def test_the_tables_have_mean_and_deviation_and_leave_the_other_text(places):
    (places / 'RESULTS.md').write_text(
        'before\n<!-- study: begin -->\n<!-- study: end -->\nafter\n'
    )
    numbers = read_numbers()
    entries = numbers['forecast']['entries']
    entries['predrnn,seed=0'], entries['predrnn,seed=1'] = numbers_of(10.0), numbers_of(12.0)
    entries['e3d_lstm,seed=0'] = numbers_of(9.0)
    for _ in range(2):
        write(numbers)
    text = (places / 'RESULTS.md').read_text()
    assert text.startswith('before\n') and text.endswith('after\n')
    assert '| PredRNN | 1,234 | 2 | 11.00 ± 1.41 | 0.500 ± 0.000 |' in text
    assert text.index('| E3D-LSTM | 1,234 | 1 | 9.00 |') < text.index('| PredRNN |')
    assert text.count('Not run yet.') == len(EXPERIMENTS) - 1
    assert (places / 'results' / 'study_forecast.png').exists()
    assert read_numbers() == json.loads(json.dumps(numbers))


def test_what_is_known_is_not_run_again_unless_its_setting_changed(places, monkeypatch):
    numbers = read_numbers()
    (_, entry), *_ = plan_of('forecast')
    known = numbers['forecast']['entries']
    known[entry.name] = numbers_of(9.0)
    assert not finished_runs.is_known(numbers['forecast'], entry)
    known[entry.name]['arguments'] = list(entry.arguments)
    write(numbers)
    assert finished_runs.is_known(read_numbers()['forecast'], entry)
    setting = flatten(finished_runs.load_config(study.STUDIES['forecast'][0]))
    monkeypatch.setattr(finished_runs, 'flatten', lambda config: setting | {'model.new_key': 1})
    assert finished_runs.is_known(read_numbers()['forecast'], entry)
    monkeypatch.setattr(finished_runs, 'flatten', lambda config: setting | {'train.steps': 1})
    assert not finished_runs.is_known(read_numbers()['forecast'], entry)


def test_the_numbers_that_were_published_belong_to_the_experiments_as_they_are():
    for file, experiments in (
        (study.NUMBERS, EXPERIMENTS),
        (recognition_study.NUMBERS, RECOGNITION),
    ):
        stored = json.loads(file.read_text('utf-8'))
        numbers = finished_runs.read_numbers(file, experiments)
        known = [
            entry.name
            for study in experiments
            for _, entry in plan_of(study)
            if finished_runs.is_known(numbers[study], entry)
        ]
        assert sorted(known) == sorted(name for part in stored.values() for name in part['entries'])
        assert known


def test_the_first_seed_of_everything_comes_first():
    runs = {study: plan_of(study) for study in ('forecast', 'copy')}
    names = [entry.name for _, entry in runs['forecast']]
    assert names[:2] == ['e3d_lstm,seed=0', 'e3d_lstm_released,seed=0'] and len(names) == 27
    both = finished_runs.plan({study: EXPERIMENTS[study] for study in runs})
    seeds = [entry.config.seed for _, entry in both]
    assert seeds == sorted(seeds) and len(both) == sum(map(len, runs.values()))


def test_the_tables_of_recognition_have_intervals_and_say_what_has_not_been_run(places):
    run = {'parameters': 1234, 'seconds_per_step': 0.5, 'clips': 700}
    entries = {
        'cnn_3d,seed=0': {**run, 'curve': [0.5] * 8},
        'cnn_3d,seed=1': {**run, 'curve': [0.6] * 8},
        'online,seed=0': {**run, 'curve': [0.0] * 7 + [1.0]},
    }
    recognition_study.write({recognition_study.STUDY: {'setting': {}, 'entries': entries}})
    text = (places / 'RESULTS.md').read_text()
    cell = '55.0 ± 7.1 (51.3 to 58.6)'
    assert f'| 3D-CNN | 1,234 | 2 | 0.50 | {cell} | {cell} | {cell} | 55.0 ± 7.1 |' in text
    assert '| 0.0 (0.0 to 0.5) | 0.0 (0.0 to 0.5) | 100.0 (99.5 to 100.0) | 12.5 |' in text
    assert '| E3D-LSTM |  |  |  | not run yet |' in text
    assert '| best possible |  |  |  | 28.6 | 71.4 | 100.0 |' in text
    assert (places / 'results' / 'recognition.png').stat().st_size > 1000
