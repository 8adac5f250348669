"""Means over a whole split, beside the trivial forecasts, however it is cut into batches."""

import json
import re

import numpy as np
import pytest

from e3d.data.sources.scales import Scale
from e3d.errors import InputError, RunError
from e3d.evaluation.baselines import mean_image
from e3d.evaluation.conventions import choose_events
from e3d.evaluation.evaluate import evaluate
from e3d.evaluation.events import Events
from e3d.evaluation.report import format_number, format_table, write_report

INPUT_FRAMES, OUTPUT_FRAMES = 2, 3
FRAMES = np.random.default_rng(0).random((7, INPUT_FRAMES + OUTPUT_FRAMES, 8, 9, 1), np.float32)
MEAN = FRAMES.mean(axis=(0, 1))
EVENTS = Events((0.3, 0.6), np.array([0.3, 0.6], np.float32))


def mean_of_seen(seen):
    """A forecaster: the mean of what it has seen, ever darker."""
    fading = 0.9 ** np.arange(OUTPUT_FRAMES)[:, None, None, None]
    return seen.mean(axis=1, keepdims=True) * fading


def batches(batch_size):
    """All sequences in order; what fills the last batch is masked."""
    for start in range(0, len(FRAMES), batch_size):
        frames = FRAMES[start : start + batch_size]
        filling = np.full((batch_size - len(frames), *FRAMES.shape[1:]), 0.7, np.float32)
        mask = np.arange(batch_size) < len(frames)
        index = np.minimum(start + np.arange(batch_size), len(FRAMES) - 1)
        yield {'frames': np.concatenate([frames, filling]), 'mask': mask, 'index': index}


def report_of(batch_size, forecast=mean_of_seen):
    return evaluate(
        forecast, batches(batch_size), INPUT_FRAMES, MEAN, 'noise 2 -> 3', 5, events=EVENTS
    )


@pytest.fixture(scope='module')
def report():
    return report_of(7)


def numbers(report):
    for name, value in report.items():
        if isinstance(value, dict):
            yield from ((f'{name}/{key}', number) for key, number in numbers(value))
        elif not isinstance(value, str):
            yield name, np.array(value, float)  # None, an undefined score, becomes NaN


@pytest.mark.parametrize('batch_size', [1, 2, 4, 10])
def test_does_not_depend_on_the_batch_size(report, batch_size):
    other = dict(numbers(report_of(batch_size)))
    assert other['num_sequences'] == 7
    for name, value in numbers(report):
        np.testing.assert_allclose(other[name], value, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize('count', [2, 5])  # the last of five has nothing to do
def test_parts_of_several_processes_make_the_same_report(report, count):
    gathered = []

    def run(index, gather):
        share = list(batches(2))[index::count]
        arguments = (mean_of_seen, share, INPUT_FRAMES, MEAN, 'noise 2 -> 3', 5)
        return evaluate(*arguments, gather=gather, events=EVENTS)

    def keep(value):
        gathered.append(json.loads(json.dumps(value)))
        return gathered[:1]

    for index in range(count):
        run(index, keep)
    whole = run(0, lambda value: gathered)
    assert whole['num_sequences'] == 7
    for name, value in numbers(report):
        np.testing.assert_allclose(dict(numbers(whole))[name], value, rtol=1e-6, atol=1e-7)


def test_means_are_those_of_numpy(report):
    truth = FRAMES[:, INPUT_FRAMES:].astype(np.float64)
    forecasts = {
        'model': mean_of_seen(FRAMES[:, :INPUT_FRAMES]),
        'last_frame': FRAMES[:, INPUT_FRAMES - 1 : INPUT_FRAMES],
        'mean_image': MEAN,
    }
    for name, forecast in forecasts.items():
        metrics = report if name == 'model' else report[name]
        squares = np.sum((forecast - truth) ** 2, axis=(2, 3, 4))
        np.testing.assert_allclose(metrics['mse_per_frame'], squares.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(metrics['mse'], squares.mean(), rtol=1e-5)
        psnr = -10 * np.log10(squares / truth[0, 0].size)  # of every frame, before any mean
        np.testing.assert_allclose(metrics['psnr'], psnr.mean(), rtol=1e-5)


def test_numbers_of_single_sequences(report):
    truth = FRAMES[:, INPUT_FRAMES:].astype(np.float64)
    predictions = mean_of_seen(FRAMES[:, :INPUT_FRAMES].astype(np.float64))
    squares = np.sum((predictions - truth) ** 2, axis=(2, 3, 4)).mean(axis=1)
    np.testing.assert_allclose(report['mse_per_sequence'], squares, rtol=1e-5)
    low, high = report['mse_interval']
    assert low < report['mse'] < high
    assert low >= squares.min() and high <= squares.max()
    skill = 1 - report['mse'] / report['last_frame']['mse']
    assert report['skill'] == pytest.approx(skill)


def test_skill_of_enough_sequences_has_an_interval():
    frames = np.random.default_rng(6).random((14, *FRAMES.shape[1:]), np.float32)
    halves = [
        {'frames': frames[part], 'mask': np.ones(7, bool), 'index': np.arange(14)[part]}
        for part in (slice(7), slice(7, 14))
    ]
    found = evaluate(mean_of_seen, halves, INPUT_FRAMES, MEAN, 'noise', 0, events=EVENTS)
    low, high = found['skill_interval']
    assert 0 < low < found['skill'] < high < 1
    words = ' '.join(format_table(found).split())
    assert f'skill against the last frame {found["skill"]:.3f} ({low:.3f} to {high:.3f})' in words


def test_sharpness_is_the_ratio_of_the_gradients(report):
    def gradient(frames):
        down, across = (np.abs(np.diff(frames, axis=axis)) for axis in (2, 3))
        return (down.sum(axis=(2, 3, 4)) + across.sum(axis=(2, 3, 4))).mean(axis=0)

    seen, truth = np.split(FRAMES.astype(np.float64), [INPUT_FRAMES], axis=1)
    ratios = gradient(mean_of_seen(seen)) / gradient(truth)
    np.testing.assert_allclose(report['sharpness_per_frame'], ratios, rtol=1e-5)
    last = gradient(seen[:, -1:]) / gradient(truth)
    np.testing.assert_allclose(report['last_frame']['sharpness_per_frame'], last, rtol=1e-5)


def test_presets_are_added_on_demand():
    asked = evaluate(
        mean_of_seen, batches(4), INPUT_FRAMES, MEAN, 'noise', 0, presets=('psnr_wrapped',)
    )
    assert asked['psnr_wrapped'] > 24 and len(asked['psnr_wrapped_per_frame']) == OUTPUT_FRAMES
    assert 'psnr_wrapped' in format_table(asked) and 'psnr_uint8' not in asked


def test_without_a_mean_image_the_rest_of_the_report_is_the_same(report):
    without = evaluate(
        mean_of_seen, batches(2), INPUT_FRAMES, None, 'noise 2 -> 3', 5, events=EVENTS
    )
    assert set(report) - set(without) == {'mean_image'}
    assert without['last_frame'] == report['last_frame']
    assert 'mean training image' not in format_table(without)


def test_report_has_the_promised_keys(report):
    metrics = {'mse', 'mae', 'psnr', 'ssim', 'mse_mean', 'mae_mean', 'ssim_data_range_2'}
    metrics |= {'sharpness', 'csi_mean'}
    metrics |= {f'{name}_per_frame' for name in metrics} | {'events'}
    head = {'step', 'protocol', 'num_sequences', 'last_frame', 'mean_image'}
    single = {'mse_per_sequence', 'mse_interval', 'psnr_interval', 'ssim_interval'}
    assert set(report) - {'skill_interval'} == metrics | head | single | {'skill'}
    assert set(report['last_frame']) == set(report['mean_image']) == metrics
    assert len(report['ssim_per_frame']) == OUTPUT_FRAMES


def test_simple_forecasts_of_the_data_are_measured_as_well():
    truth = FRAMES[:, INPUT_FRAMES:]
    offered = {'noise': np.random.default_rng(1).random(truth.shape, np.float32), 'oracle': truth}
    scale = Scale((5.0, 25.0))
    reports = [
        evaluate(mean_of_seen, batches(size), INPUT_FRAMES, MEAN, 'noise', 0, None, offered, scale)
        for size in (7, 3)
    ]
    squares = (offered['noise'] - truth).astype(np.float64) ** 2
    for report in reports:  # the last batch of the second is filled up
        assert report['oracle']['mse'] == 0
        np.testing.assert_allclose(report['noise']['rmse'], 20 * np.sqrt(squares.mean()), rtol=1e-5)
        np.testing.assert_allclose(
            report['noise']['rmse_per_frame'],
            20 * np.sqrt(squares.mean(axis=(0, 2, 3, 4))),
            rtol=1e-5,
        )
    text = format_table(reports[0])
    assert 'RMSE ↓' in text and f'{reports[0]["noise"]["rmse"]:.2f}' in text
    assert 'oracle' in text and 'in the unit of the data' in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_forecast_that_is_not_finite_ends_the_run():
    with pytest.raises(RunError, match='not finite'):
        report_of(4, lambda seen: mean_of_seen(seen) * np.nan)


def test_an_empty_split_is_rejected():
    with pytest.raises(InputError, match='no sequences'):
        evaluate(mean_of_seen, [], INPUT_FRAMES, MEAN, '', 0)


def test_report_is_written_as_json(report, tmp_path):
    write_report(report, tmp_path / 'evaluation.json')
    assert json.loads((tmp_path / 'evaluation.json').read_text()) == report


def test_a_report_with_an_infinite_error_can_be_written_and_told(tmp_path):
    batch = {'frames': FRAMES, 'mask': np.ones(7, bool), 'index': np.arange(7)}
    # Their squares are too large.
    far = np.full((7, OUTPUT_FRAMES, *FRAMES.shape[2:]), 1e30, np.float32)
    bounds = Scale(bounds=(-np.inf, np.inf))
    report = evaluate(lambda seen: far, [batch], INPUT_FRAMES, MEAN, 'far', 0, scale=bounds)
    assert report['mse'] == np.inf and 'mse_interval' not in report
    assert 'Inf: more than float32' in format_table(report)
    write_report(report, tmp_path / 'evaluation.json')
    stored = json.loads((tmp_path / 'evaluation.json').read_text())
    assert stored['mse'] is None and stored['last_frame'] == report['last_frame']
    assert 'The MSE is undefined, or infinite' in format_table(stored)


def test_mean_image_of_bytes_and_of_floats():
    source = [{'frames': np.full((2, 4, 5, 1), level, np.uint8)} for level in (0, 51, 255)]
    np.testing.assert_allclose(mean_image(source), np.full((4, 5, 1), 0.4), rtol=1e-6)
    np.testing.assert_allclose(mean_image([{'frames': f} for f in FRAMES]), MEAN, rtol=1e-5)


def test_mean_image_takes_sequences_from_all_over_a_long_source():
    source = [{'frames': np.full((1, 2, 2, 1), i, np.float32)} for i in range(101)]
    np.testing.assert_allclose(mean_image(source, max_sequences=3), 50)


def test_mean_image_of_nothing_is_rejected():
    with pytest.raises(InputError, match='empty'):
        mean_image([])


def test_table_shows_model_beside_trivial_forecasts(report):
    text = format_table(report)
    lines = text.splitlines()
    row = next(line for line in lines if line.strip().startswith('model'))
    assert row.split()[1:3] == [f'{report["mse"]:.2f}', f'{report["mae"]:.2f}']
    assert f'{report["ssim"]:.4f}' in row
    assert any(f'{report["last_frame"]["mse"]:.2f}' in line for line in lines if 'repeat' in line)
    assert any(line.split()[:2] == ['3', f'{report["mse_per_frame"][2]:.2f}'] for line in lines)
    row = next(line for line in lines if '>= 0.3 ' in line)
    events = report['events']['pool_1']
    assert row.split()[3:6] == [f'{100 * events["share"][0]:.2f}', '%', f'{events["csi"][0]:.3f}']
    best = min(report['last_frame']['mse'], report['mean_image']['mse'])
    assert f'{report["mse"] / best:.2f} times that of' in text
    assert max(map(len, lines)) <= 100


def test_table_of_frames_too_small_for_similarity():
    frames = np.full((1, 3, 4, 4, 1), 0.5, np.float32)
    still = [{'frames': frames, 'mask': np.array([True]), 'index': np.array([0])}]
    report = evaluate(lambda seen: seen[:, -1:], still, 2, np.zeros((4, 4, 1)), 'still', 0)
    text = format_table(report)
    assert 'SSIM ↑' not in text
    assert 'nothing moves' in text


def test_rmse_is_in_the_unit_of_data_that_go_beyond_the_training():
    counts = 300 * np.random.default_rng(3).random((4, 5, 8, 9, 2))  # the training ended at 200
    frames = (counts / 200).astype(np.float32)
    batch = {'frames': frames, 'mask': np.ones(4, bool), 'index': np.arange(4)}
    report = evaluate(
        lambda seen: np.repeat(seen[:, :1], 3, axis=1), [batch], 2, frames.mean(axis=(0, 1)),
        'counts', 0, scale=Scale((0.0, 200.0), (0.0, np.inf)),
    )  # fmt: skip
    error = counts[:, :1] - counts[:, 2:]
    np.testing.assert_allclose(report['rmse'], np.sqrt(np.mean(error**2)), rtol=1e-5)
    error = counts[:, 1:2] - counts[:, 2:]
    expected = np.sqrt(np.mean(error**2))
    np.testing.assert_allclose(report['last_frame']['rmse'], expected, rtol=1e-5)


def test_variables_of_different_units_have_errors_of_their_own():
    """Neither a mean over K and Pa, nor a choice by the larger of the two numbers."""
    scale = Scale(
        (250.0, 310.0), (-np.inf, np.inf), ((250.0, 310.0), (95e3, 105e3)), unit='K and Pa'
    )
    variables = (('t', 'K'), ('p', 'Pa'))
    frames = np.random.default_rng(3).random((4, 5, 8, 9, 2), np.float32)
    batch = {'frames': frames, 'mask': np.ones(4, bool), 'index': np.arange(4)}

    def report_of(error, members=1):
        def forecast(seen):
            wrong = frames[:, 2:] + np.divide(error, [60, 10e3]).astype(np.float32)
            return np.stack([wrong] * members) if members > 1 else wrong

        return evaluate(forecast, [batch], 2, None, 'weather', 0, scale=scale, variables=variables)

    report = report_of([6.0, 100.0])
    assert 'rmse' not in report and 'rmse' not in report['last_frame']
    assert [(one['name'], one['unit']) for one in report['variables']] == list(variables)
    for one, error in zip(report['variables'], (6.0, 100.0), strict=True):
        assert one['rmse'] == pytest.approx(error, rel=1e-3)
        np.testing.assert_allclose(one['mae_in_unit_per_frame'], [error] * 3, rtol=1e-3)
    still = 60 * (frames[:, 1:2, ..., 0] - frames[:, 2:, ..., 0])
    expected = np.sqrt(np.square(still).mean())
    assert report['last_frame']['variables'][0]['rmse'] == pytest.approx(expected, rel=1e-5)
    text = format_table(report)
    assert 'K and Pa' not in text and 'RMSE and MAE, unit' not in text
    assert re.search(r't +K +6\.00 ', text) and re.search(r'p +Pa +100\.00 ', text)

    half_a_range, one_percent = report_of([30.0, 0.0], 2), report_of([0.0, 100.0], 2)
    assert half_a_range['crps'] > 10 * one_percent['crps']
    assert 'Per pixel, as the model sees the values.' in format_table(one_percent)


def test_weighted_errors_count_no_frame_without_truth():
    scale = Scale((0.0, 100.0), (0.0, np.inf), unit='mm/h')
    events = choose_events((), ('hko7',), scale.from_unit, False)
    frames = np.full((4, 5, 8, 9, 1), 0.2, np.float32)
    valid = np.ones(frames.shape, bool)
    valid[2:, 2:] = False
    batch = {'frames': frames, 'valid': valid, 'mask': np.ones(4, bool), 'index': np.arange(4)}
    measured = {name: values[:2] for name, values in batch.items()}
    whole, part = (
        evaluate(lambda seen: seen[:, :1].repeat(3, 1) + 0.05, [one], 2, None, '', 0, scale=scale,
                 events=events)
        for one in (batch, measured)
    )  # fmt: skip
    for metric in ('b_mse', 'b_mae', 'b_mse_per_frame'):
        assert whole[metric] == part[metric]
    assert part['b_mae'] == pytest.approx(72 * 10 * 0.05, rel=1e-4)  # 20 mm/h weigh 10


def test_gaps_count_in_no_number_of_a_report():
    frames = np.random.default_rng(4).random((3, 5, 8, 9, 2), np.float32)
    valid = np.random.default_rng(5).random(frames.shape) < 0.7
    valid[1, 3] = False  # a frame without truth
    scale = Scale((0.0, 9.0), (0.0, np.inf), ((0.0, 9.0), (0.0, 50.0)), 'log1p', 'mm/h')

    def report_of(hidden):
        batch = {'frames': np.where(valid, frames, hidden), 'valid': valid}
        batch |= {'mask': np.ones(3, bool), 'index': np.arange(3)}
        image = mean_image([{key: batch[key][i] for key in ('frames', 'valid')} for i in range(3)])

        def two_futures(seen, valid):
            seen = np.where(valid[:, :2], seen, 0).repeat(2, axis=1)[:, :3]
            return np.stack([seen, 0.9 * seen])

        return evaluate(
            two_futures, [batch], 2, image, 'gaps', 0, scale=scale, inputs=('valid',),
            events=EVENTS, optical_flow=True,
        )  # fmt: skip

    report = report_of(0.0)
    assert report_of(1e30) == report
    assert {'optical_flow', 'events', 'ensemble'} <= report.keys()
    still = np.where(valid[:, 1], frames[:, 1], np.where(valid[:, 0], frames[:, 0], 0))[:, None]
    ends = np.log1p([9.0, 50.0])
    error = np.expm1(still * ends) - np.expm1(frames[:, 2:] * ends)
    known = valid[:, 2:].astype(float)
    of_frames = (np.square(error) * known).sum((2, 3, 4)) / np.maximum(known.sum((2, 3, 4)), 1)
    counts = known.any(axis=(2, 3, 4)).sum(axis=0)
    expected = np.sqrt((of_frames.sum(axis=0) / counts).mean())
    assert report['last_frame']['rmse'] == pytest.approx(expected, rel=1e-5)
    assert report['unit'] == 'mm/h' and 'mm/h' in format_table(report)
    assert None not in report['mse_per_frame'] and json.dumps(report, allow_nan=False)

    valid[:, 4] = False
    report = report_of(0.0)
    assert report['mse_per_frame'][2] is None and report['mse'] is not None
    assert '-' in format_table(report)


@pytest.mark.parametrize(
    ('metric', 'value', 'text'),
    [
        ('rmse', 3.14159e-5, '3.14e-05'),
        ('mae_in_unit', 0.0123, '0.0123'),
        ('mse', 0.0, '0.0000'),
        ('mse', 12.345, '12.35'),
        ('ssim', 0.001, '0.0010'),
        ('psnr', 20.0, '20.00'),
        ('rmse', None, '-'),
    ],
)
def test_small_errors_keep_their_digits(metric, value, text):
    assert format_number(metric, value) == text
