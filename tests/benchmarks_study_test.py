import functools
import json
import pathlib
import shutil
import sys

import jax
import pytest
from matplotlib.figure import Figure

from benchmarks import (
    bikenyc_study,
    claims,
    finished_runs,
    recognition_study,
    report,
    study,
    study_costs,
    study_pictures,
    study_tables,
)
from benchmarks.differences import difference
from benchmarks.error_bars import bars_aside, draw_with_bars
from benchmarks.finished_runs import ROOT
from benchmarks.operation_counts import forward_operations
from e3d.command_line.parsing import parse
from e3d.evaluation.styles import styles_of
from e3d.model import E3DLSTM
from e3d.options.flat import flatten
from e3d.runs.reporting import METRICS_FILE
from e3d.runs.workdir import write_config
from experiments.study import CHOSEN_RATES, CONVERGED_RATES, FINAL_RATES, RATES

FASTER = '1e-2'
SECTIONS = {
    'forecasting.md': [
        *(name for name, of in study.STUDIES.items() if of.page == 'forecasting'),
        'time',
    ],
    'memory.md': [name for name, of in study.STUDIES.items() if of.page == 'memory'],
}
MODULES = (study, recognition_study, bikenyc_study)
EXPERIMENTS = {name: flag for module in MODULES for name, flag in module.EXPERIMENTS.items()}


@functools.cache
def plan_of(name):
    return finished_runs.plan({name: EXPERIMENTS[name]})


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
    monkeypatch.setattr(report, 'SUMMARY', tmp_path / 'RESULTS.md')
    monkeypatch.setattr(study, 'NUMBERS', tmp_path / 'results' / 'study.json')
    monkeypatch.setattr(study, 'COSTS', tmp_path / 'results' / 'costs.json')
    monkeypatch.setattr(recognition_study, 'NUMBERS', tmp_path / 'results' / 'recognition.json')
    (tmp_path / 'results').mkdir()
    return tmp_path


def read_numbers():
    return finished_runs.read_numbers(study.NUMBERS, study.EXPERIMENTS)


def write(numbers):
    finished_runs.keep(study.NUMBERS, numbers)
    study.write(numbers)


def test_the_tables_have_mean_and_deviation_and_leave_the_other_text(places):
    for page, names in SECTIONS.items():
        marks = [f'<!-- {name}: begin -->\n<!-- {name}: end -->\n' for name in names]
        (places / 'results' / page).write_text('before\n' + 'kept\n'.join(marks) + 'after\n')
    numbers = read_numbers()
    entries = numbers['forecast']['entries']
    entries['predrnn,seed=0'], entries['predrnn,seed=1'] = numbers_of(10.0), numbers_of(12.0)
    entries['e3d_lstm,seed=0'] = numbers_of(9.0)
    for _ in range(2):
        write(numbers)
    texts = {page: (places / 'results' / page).read_text('utf-8') for page in SECTIONS}
    for page, names in SECTIONS.items():
        assert texts[page].startswith('before\n') and texts[page].endswith('after\n')
        assert texts[page].count('kept\n') == len(names) - 1
    text = texts['forecasting.md']
    assert '| PredRNN | 1,234 | 2 | 11.00 ± 1.41 | +1.00 | 0.500 ± 0.000 |' in text
    assert text.index('| E3D-LSTM | 1,234 | 1 | 9.00 |') < text.index('| PredRNN |')
    not_run = [*SECTIONS['forecasting.md'], *SECTIONS['memory.md']]
    assert ''.join(texts.values()).count('Not run yet.') == len(not_run) - 1
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
    for module in MODULES:
        stored = json.loads(module.NUMBERS.read_text('utf-8'))
        numbers = finished_runs.read_numbers(module.NUMBERS, module.EXPERIMENTS)
        known = [
            entry.name
            for name in numbers
            for _, entry in plan_of(name)
            if finished_runs.is_known(numbers[name], entry)
        ]
        assert sorted(known) == sorted(name for part in stored.values() for name in part['entries'])
        assert known


PRE_TRAINING, PRE_TRAINED = 'pre_training,seed=1', 'pre_trained,seed=1'


@pytest.fixture
def run_study(tmp_path, monkeypatch):
    """The command of a study, which returns the runs that it starts and the numbers that it keeps."""
    name, path, started = recognition_study.STUDY, tmp_path / 'numbers.json', []
    planned = plan_of(name)

    def run_process(command):
        """Stands for launch.py: writes what a finished run leaves."""
        config = parse(['launch.py', *command[2:-1]])[1]
        if config.init_from and not pathlib.Path(config.init_from).exists():
            return 2
        workdir = pathlib.Path(command[-1].removeprefix('--workdir='))
        workdir.mkdir()
        write_config(workdir, config)
        line = {'step': config.train.steps, 'split': 'test', 'seconds_per_step': 0.5}
        (workdir / METRICS_FILE).write_text(json.dumps(line) + '\n')
        started.append(workdir.name)
        return 0

    def run(*arguments, known=()):
        if known:
            stored = {
                entry.name: {'arguments': list(entry.arguments)}
                for _, entry in planned
                if entry.name in known
            }
            numbers = finished_runs.read_numbers(path, {name: EXPERIMENTS[name]})
            finished_runs.keep(path, {name: numbers[name] | {'entries': stored}})
        started.clear()
        monkeypatch.setattr(sys, 'argv', ['study', '--runs', str(tmp_path / 'runs'), *arguments])
        finished_runs.complete(
            'a study',
            path,
            {name: EXPERIMENTS[name]},
            pathlib.Path('runs'),
            lambda entry, workdir: {'measured': workdir.name},
            lambda numbers: None,
        )
        return list(started), json.loads(path.read_text('utf-8'))[name]

    monkeypatch.setattr(finished_runs, 'run_process', run_process)
    monkeypatch.setattr(finished_runs, 'plan', lambda experiments: planned)
    monkeypatch.setattr(finished_runs, '_output', lambda command: '')
    return run


def test_what_a_run_begins_from_is_made_where_only_its_numbers_are_there(run_study):
    started, kept = run_study('--only', f'*/{PRE_TRAINED}', known=[PRE_TRAINING])
    assert started == [PRE_TRAINING, PRE_TRAINED]  # both in --runs, which is not that of the sweep
    assert kept['entries'][PRE_TRAINED]['measured'] == PRE_TRAINED
    assert 'measured' not in kept['entries'][PRE_TRAINING]
    entries = {entry.name: entry for _, entry in plan_of(recognition_study.STUDY)}
    assert finished_runs.is_known(kept, entries[PRE_TRAINED])  # whatever the folder was
    assert run_study('--only', f'*/{PRE_TRAINED}', known=[PRE_TRAINING])[0] == []  # is finished


def test_what_is_known_is_run_again_where_that_is_asked_for(run_study):
    both = ['--only', f'*/{PRE_TRAINED}', f'*/{PRE_TRAINING}']
    started, kept = run_study(*both, known=[PRE_TRAINING, PRE_TRAINED])
    assert not started and not any('measured' in run for run in kept['entries'].values())
    started, kept = run_study(*both, '--again')
    assert started == [PRE_TRAINING, PRE_TRAINED]
    assert [run['measured'] for run in kept['entries'].values()] == started
    assert run_study(*both, '--again')[0] == []  # an interrupted command goes on


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
    of_none = {'setting': {}, 'entries': {}}
    of_all = {recognition_study.STUDY: {'setting': {}, 'entries': entries}}
    recognition_study.write({recognition_study.SLOWER: of_none, **of_all})
    text = (places / 'results' / 'recognition.md').read_text('utf-8')
    cell = '55.0 ± 7.1 (51.3 to 58.6)'
    assert f'| 3D-CNN | 1,234 | 2 | 0.50 | {cell} | {cell} | {cell} | 55.0 ± 7.1 |' in text
    assert '| 0.0 (0.0 to 0.5) | 0.0 (0.0 to 0.5) | 100.0 (99.5 to 100.0) | 12.5 |' in text
    assert '| E3D-LSTM |  |  |  | not run yet |' in text
    assert '| best possible |  |  |  | 28.6 | 71.4 | 100.0 |' in text
    assert (places / 'results' / 'recognition.png').stat().st_size > 1000


def test_the_results_are_those_of_the_kept_numbers(places, monkeypatch):
    """`python -m benchmarks.report` changes nothing."""
    pages = [ROOT / 'RESULTS.md', *sorted((ROOT / 'results').glob('*.md'))]
    for path in [*pages, *(ROOT / 'results').glob('*.json')]:
        shutil.copy(path, places / path.relative_to(ROOT))
    monkeypatch.setattr(bikenyc_study, 'NUMBERS', places / 'results' / 'bikenyc.json')
    drawn = []
    for name in ('draw_models', 'draw_times', 'draw_lengths', 'draw_hours'):
        monkeypatch.setattr(study_pictures, name, lambda *arguments: drawn.append(arguments[-1]))
    monkeypatch.setattr(recognition_study, 'draw', lambda *arguments: drawn.append(arguments[-1]))
    report.write()
    committed = {page: page.read_text('utf-8') for page in pages}
    for page, text in committed.items():
        assert (places / page.relative_to(ROOT)).read_text('utf-8') == text, page
    assert drawn
    for path in drawn:
        assert (ROOT / 'results' / path.name).exists(), path.name
        assert any(f'({path.name})' in text for text in committed.values()), path.name


def test_the_table_of_bikes_has_means_over_seeds_and_what_needs_no_training():
    metrics = {'rmse': 6.0, 'mse': 0.2, 'mae': 3.0, 'psnr': 30.0, 'ssim': 0.9}
    report = metrics | {'rmse_per_frame': [5.0, 7.0]}
    run = {'parameters': 1234, 'curve': [[10, 0.3]], **dict.fromkeys(bikenyc_study.SIMPLE, report)}
    errors = [0.1, 0.3]
    entries = {
        f'{name},seed={seed}': run
        | {'test': report | {'rmse': rmse}, 'mse_per_sequence': errors, 'arguments': []}
        for name, seed, rmse in [('e3d_lstm', 0, 6.0), ('gsta', 0, 5.0), ('gsta', 1, 7.0)]
    }
    table = bikenyc_study.table({'entries': entries})
    assert '| SimVP, gSTA | 1,234 | 10 | 2 | 6.00 ± 1.41 | 0.200 ± 0.000 | +0.000 (' in table
    assert '| E3D-LSTM | 1,234 | 10 | 1 | 6.00 | 0.200 |  | 3.00 |' in table
    assert (
        '| hour average |  |  |  | 6.00 | 0.200 |  | 3.00 | 30.00 | 0.900 | 5.00, 7.00 |' in table
    )


def test_it_is_said_what_was_not_trained_on_a_cpu():
    on_gpu = {'device': 'NVIDIA H100'}
    runs = {'predrnn': {0: {}, 1: on_gpu}, 'convlstm': {0: {}}, 'gated': {0: on_gpu}}
    said = finished_runs.of_devices(runs)
    assert said == ['Trained on an NVIDIA H100: PredRNN (seed 1); E3D-LSTM, gated form.\n']
    assert not finished_runs.of_devices({'convlstm': {0: {}}})


def with_errors(*errors):
    return {'test': {'mse': sum(errors) / len(errors)}, 'mse_per_sequence': list(errors)}


def test_differences_are_paired_by_seed_and_by_sequence():
    first = {seed: with_errors(3.0 + seed, 5.0 + seed) for seed in range(4)}
    second = {seed: with_errors(2.0 + seed, 4.0 + seed) for seed in range(1, 5)}
    found = difference(first, second)
    assert (found.mean, found.seeds) == (1.0, 3)
    assert found.over_seeds == pytest.approx((1.0, 1.0))  # seeds differ alike in both
    assert found.over_sequences == pytest.approx((1.0, 1.0))
    del second[2]['mse_per_sequence']
    found = difference(first, second)
    assert found.mean == 1.0
    assert found.over_sequences is None  # of two seeds of the three of the mean
    assert found.text() == '+1.00 (+1.00 to +1.00 over 3 seeds)'
    del second[3]
    assert difference(first, second).seeds == 1  # of which the errors were kept
    del second[2], second[4]
    second[1]['test']['mse'] = 2.0
    found = difference(first, second)
    assert (found.mean, found.seeds, found.over_seeds) == (3.0, 1, None)
    assert found.of_both == (5.0, 2.0)  # of the seed that both have, as the mean
    assert found.interval == found.over_sequences
    assert difference(first, {7: with_errors(1.0)}) is None


def test_students_interval_is_that_of_three_seeds():
    first = {seed: {'test': {'mse': value}} for seed, value in enumerate([1.0, 2.0, 3.0])}
    low, high = difference(first, {seed: {'test': {'mse': 0.0}} for seed in range(3)}).over_seeds
    margin = 4.302653 / 3**0.5  # of two degrees of freedom; the deviation is 1
    assert (low, high) == pytest.approx((2 - margin, 2 + margin), abs=1e-5)


@pytest.mark.parametrize(
    ('interval', 'over_seeds', 'expected'),
    [
        ((0.1, 0.2), True, 'holds'),
        ((-0.2, -0.1), True, 'the opposite holds'),
        ((-0.2, 0.1), True, 'open'),
        ((0.1, 0.2), False, 'holds, for these seeds'),
        (None, False, 'open'),
    ],
)
def test_verdicts(interval, over_seeds, expected):
    assert claims.verdict(interval, over_seeds) == expected


def test_a_verdict_of_recognition_counts_how_far_two_seeds_are_apart():
    def line(*shares, others=(0.6,)):
        both = {'e3d_lstm': shares, 'cnn_3d': others}
        entries = {
            f'{name},seed={seed}': {'clips': 700, 'curve': [share] * 8}
            for name, of_seeds in both.items()
            for seed, share in enumerate(of_seeds)
        }
        of_none = {name: {'entries': {}} for name in EXPERIMENTS}
        of_paper, _ = claims.tables(of_none | {recognition_study.STUDY: {'entries': entries}})
        return next(line for line in of_paper.splitlines() if 'earlier than a 3D-CNN' in line)

    assert line(0.7).endswith('| +10.0% (+5.0% to +15.0% over clips) | holds, for these seeds |')
    assert line(0.7, 0.7).endswith('over clips and seeds) | holds, for these seeds |')
    # Two seeds far apart leave as good as one degree of freedom, whose quantile is 12.7 and not 1.96.
    assert line(0.697, 0.701, others=(0.577, 0.454)).endswith('over clips and seeds) | open |')
    expected = '| +30.0% (+22.3% to +37.7% over clips and seeds) | holds, for these seeds |'
    assert line(0.88, 0.92).endswith(expected)  # 1.96 would leave 5.8 of the 7.7


def test_the_chosen_rates_are_those_of_the_kept_numbers():
    kept = json.loads(study.NUMBERS.read_text('utf-8'))
    found = study_tables.chosen_rates(kept['rates'], RATES)
    ordered = {name: sorted(errors, key=errors.get) for name, errors in found.items()}
    assert {name: rates[0] for name, rates in ordered.items()} == CHOSEN_RATES
    assert {name: set(rates[:2]) for name, rates in ordered.items()} == {
        name: set(rates) for name, rates in FINAL_RATES.items()
    }


def test_the_rate_for_long_training_is_the_best_of_those_tried():
    known = json.loads(study.NUMBERS.read_text('utf-8'))['converged']['entries']
    compared = [
        (known[f'{name},seed=0']['curve'][-1][1], known[f'{name}_{rate},seed=0']['curve'][-1][1])
        for name in CONVERGED_RATES
        for rate in RATES
        if f'{name},seed=0' in known and f'{name}_{rate},seed=0' in known
    ]
    assert compared
    assert all(own < other for own, other in compared)


def test_no_copy_test_is_won_by_a_rate_that_the_other_model_was_not_given():
    numbers = json.loads((ROOT / 'results/study.json').read_text())
    compared = [claim for claim in claims.FORECASTS if claim.study in ('brief', 'lengths')]
    for claim in compared:
        runs, suffix = numbers[claim.study]['entries'], f'_{FASTER}'
        better, worse = (name.partition(study_tables.AFTER) for name in (claim.better, claim.worse))
        if better[0].endswith(suffix) and not worse[0].endswith(suffix):
            assert f'{worse[0]}{suffix}{"".join(worse[1:])},seed=0' in runs, claim
    assert len(compared) > 20


def test_the_rate_with_the_least_error_is_marked():
    runs = [('predrnn_1e-3', 9), ('predrnn_3e-3', 8), ('convlstm_3e-3', 7), ('convlstm_1e-2', 6)]
    entries = {f'{name},seed=0': numbers_of(mse) for name, mse in runs}
    table = study_tables.rates_table({'entries': entries}, RATES)
    assert '| model | 1e-3 | 3e-3 | 1e-2 |' in table
    assert '| PredRNN | 9.00 | **8.00** |  |' in table
    assert '| ConvLSTM |  | 7.00 | **6.00** |' in table


def test_at_equal_time_errors_are_those_of_fewer_updates():
    slow = {0: numbers_of(9) | {'curve': [[10, 20.0], [20, 10.0]]}}
    runs = {'e3d_lstm': slow, 'predrnn': {0: numbers_of(9) | {'curve': [[10, 9.0], [20, 8.0]]}}}
    table = study_tables.equal_time_table(
        runs, {'e3d_lstm': {'seconds': 2}, 'predrnn': {'seconds': 1.5}}
    )
    assert '| model | updates in 30 s |' in table
    assert '| PredRNN | 20 | 8.00 |' in table and '| E3D-LSTM | 15 | 15.00 |' in table


def test_curves_are_drawn_where_their_points_are_and_bars_beside():
    axes = Figure().subplots()
    runs = {
        'predrnn': ([3.0, 2.0], [5.0, 4.0]),
        'e3d_lstm': ([2.0, 1.0],),
        'convlstm': ([9.0, 8.0],) * 2,
    }
    styles = styles_of(runs)
    for (name, curves), aside in zip(runs.items(), bars_aside(3), strict=True):
        spread = [1.0, 2.0] if len(curves) > 1 else None
        line = draw_with_bars(axes, [250, 500], curves[0], spread, styles[name], aside * 250)
        assert line.get_xdata().tolist() == [250, 500]
    bars = [bar.get_segments() for bar in axes.collections]
    assert [segments[0][0][0] for segments in bars] == [220, 280]
    assert bars[0][1][:, 1].tolist() == [0.0, 4.0]
    assert bars_aside(1) == [0]


def test_lengths_are_read_from_the_names_of_runs():
    longer = {'entries': {'predrnn_after_24,seed=0': numbers_of(3.0)}}
    runs = study_tables.by_length(longer, {'entries': {'predrnn,seed=0': numbers_of(2.0)}}, 6)
    assert '| PredRNN | 2.00 | 3.00 |' in study_tables.lengths_table(runs)


def test_counted_operations_are_those_of_the_formula():
    """Of 2D states, where the padding of a convolution in depth plays no part."""
    model = E3DLSTM(layers=2, features=3, depth=1, kernel_size=(1, 5, 5), recall='none')
    shape = (1, 2, 8, 8, 1)
    frames = jax.ShapeDtypeStruct(shape, 'float32')
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, 1), frames)
    assert study_costs.of_step(model, variables, shape) == forward_operations(model, (8, 8), 1, 1)
