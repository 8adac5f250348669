import json

import pytest

from benchmarks import study
from e3d.configuration import flatten


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
    monkeypatch.setattr(study, 'TABLES', tmp_path / 'RESULTS.md')
    return tmp_path


def test_the_tables_have_mean_and_deviation_and_leave_the_other_text(places):
    (places / 'RESULTS.md').write_text('before\n' + ''.join(study.MARKS) + 'after\n')
    numbers = study.read_numbers()
    entries = numbers['forecast']['entries']
    entries['predrnn,seed=0'], entries['predrnn,seed=1'] = numbers_of(10.0), numbers_of(12.0)
    entries['e3d_lstm,seed=0'] = numbers_of(9.0)
    for _ in range(2):
        study.write(numbers)
    text = (places / 'RESULTS.md').read_text()
    assert text.startswith('before\n') and text.endswith('after\n')
    assert '| predrnn | 1,234 | 2 | 11.00 ± 1.41 | 0.500 ± 0.000 |' in text
    assert text.index('| e3d_lstm | 1,234 | 1 | 9.00 |') < text.index('| predrnn |')
    assert text.count('Not run yet.') == 1
    assert (places / 'results' / 'study_forecast.png').exists()
    assert study.read_numbers() == json.loads(json.dumps(numbers))


def test_what_is_known_is_not_run_again_unless_its_setting_changed(places, monkeypatch):
    numbers = study.read_numbers()
    (_, entry), *_ = study.planned()
    known = numbers['forecast']['entries']
    known[entry.name] = numbers_of(9.0)
    assert not study.is_known(numbers['forecast'], entry)
    known[entry.name]['arguments'] = list(entry.arguments)
    study.write(numbers)
    assert study.is_known(study.read_numbers()['forecast'], entry)
    setting = flatten(study.load_config(study.STUDIES['forecast'][0]))
    monkeypatch.setattr(study, 'flatten', lambda config: setting | {'model.new_key': 1})
    assert study.is_known(study.read_numbers()['forecast'], entry)
    monkeypatch.setattr(study, 'flatten', lambda config: setting | {'train.steps': 1})
    assert not study.is_known(study.read_numbers()['forecast'], entry)


def test_the_first_seed_of_everything_comes_first():
    seeds = [entry.config.seed for _, entry in study.planned()]
    assert seeds == sorted(seeds) and seeds.count(0) == 13
