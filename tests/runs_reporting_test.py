import json
import struct

import jax.numpy as jnp
import pytest
from tensorboardX.proto.event_pb2 import Event

from e3d.runs import reporting
from e3d.runs.reporting import Reporter, StepMetrics, drop_lines_after, scalars


def read_lines(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def numbers(loss, norm=1.0):
    return {
        'loss': jnp.asarray(loss),
        'gradient_norm': jnp.asarray(norm),
        'module_norms': {'stack/cells_0': jnp.asarray(norm), 'decoder': jnp.asarray(0.25)},
    }


def make_metrics(reporter, **options):
    return StepMetrics(reporter, 10, 100, sequences_of=lambda step: [step, 10 * step], **options)


def test_every_line_is_an_object_and_there_at_once(tmp_path):
    with Reporter(tmp_path, 0, 10) as reporter:
        reporter.write(1, 'train', {'loss': 0.5})
        assert read_lines(tmp_path) == [{'step': 1, 'split': 'train', 'loss': 0.5}]
        reporter.write(2, 'validation', {'mse': 3.0})
    assert len(read_lines(tmp_path)) == 2
    assert list((tmp_path / 'tensorboard').glob('events.out.tfevents*'))


def test_resuming_drops_what_was_lost(tmp_path):
    with Reporter(tmp_path, 0, 10) as reporter:
        for step in (1, 2, 3):
            reporter.write(step, 'train', {'loss': float(step)})
    with (tmp_path / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 4, "spl')
    with Reporter(tmp_path, 2, 10) as reporter:
        reporter.write(3, 'train', {'loss': 9.0})
    assert [line['loss'] for line in read_lines(tmp_path)] == [1.0, 2.0, 9.0]
    # From these steps on TensorBoard leaves out what was there before.
    assert [event.step for event in all_events(tmp_path) if event.HasField('session_log')] == [1, 3]


def test_a_step_has_one_line_for_each_split(tmp_path):
    with Reporter(tmp_path, 0, 10) as reporter:
        for loss in (1.0, 2.0):
            reporter.write(1, 'train', {'loss': loss})
        reporter.write(1, 'validation', {'mse': 3.0})
    assert [line.get('loss') for line in read_lines(tmp_path)] == [1.0, None]
    # As earlier versions could leave it.
    path = tmp_path / 'metrics.jsonl'
    path.write_text(path.read_text() * 2)
    with Reporter(tmp_path, 1, 10) as reporter:
        assert reporter.kept == {(1, 'train'), (1, 'validation')}
        reporter.write(1, 'train', {'loss': 9.0})
    assert [line['split'] for line in read_lines(tmp_path)] == ['train', 'validation']
    assert [(step, tag) for step, tag in events(tmp_path)] == [
        (1, 'train/loss'),
        (1, 'validation/mse'),
    ]


def all_events(workdir):
    """All that is for TensorBoard, run by run."""
    for path in sorted((workdir / 'tensorboard').iterdir(), key=lambda path: path.suffix):
        data = path.read_bytes()
        while data:  # records of the format: length, checksum, content, checksum
            (length,) = struct.unpack('<Q', data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def events(workdir):
    """(step, tag) of all values for TensorBoard."""
    return [(event.step, v.tag) for event in all_events(workdir) for v in event.summary.value]


@pytest.mark.parametrize(
    'line', ['[' * 100_000, '{"step": 1, "split": [1]}', '{"step": "x"}', '9' * 9999]
)
def test_lines_of_others_are_passed_over(tmp_path, line):
    (tmp_path / 'metrics.jsonl').write_text(line + '\n')
    with Reporter(tmp_path, 2, 10) as reporter:
        reporter.write(3, 'train', {'loss': 1.0})
    assert read_lines(tmp_path)[-1] == {'step': 3, 'split': 'train', 'loss': 1.0}


def test_dropping_from_a_file_that_is_not_there(tmp_path):
    drop_lines_after(tmp_path / 'metrics.jsonl', 3)
    assert not list(tmp_path.iterdir())


def test_progress_line(tmp_path, capsys):
    with Reporter(tmp_path, 0, 10) as reporter:
        reporter.show(5, 0.1234, 321.0, 65.0)
    line = capsys.readouterr().err
    for part in ('50%', '5/10', 'loss 0.1234', '321 frames/s', '01:05 left'):
        assert part in line


def test_step_metrics_are_means_and_leave_the_newest(tmp_path, monkeypatch):
    clock = iter([0.0, 4.0, 4.0, 10.0, 10.0])
    monkeypatch.setattr(reporting.time, 'perf_counter', lambda: next(clock))
    shown = []
    monkeypatch.setattr(Reporter, 'show', lambda reporter, *numbers: shown.append(numbers))
    with Reporter(tmp_path, 0, 10) as reporter:
        metrics = make_metrics(reporter)
        for step, loss in [(1, 1.0), (2, 3.0), (3, 9.0)]:
            metrics.add(step, numbers(loss), waited=0.1 * step)
        metrics.write(but=1)
        metrics.write()
        metrics.write()
    first, last = read_lines(tmp_path)
    assert (first['step'], first['loss'], first['seconds_per_step']) == (2, 2.0, 2.0)
    assert first['frames_per_second'] == 50.0
    assert first['data_wait_seconds'] == pytest.approx(0.15)
    assert (last['step'], last['loss'], last['seconds_per_step']) == (3, 9.0, 6.0)
    assert last['data_wait_seconds'] == pytest.approx(0.3)
    # Step, loss, frames a second, and the seconds that are left.
    assert shown == [(2, 2.0, 50.0, 8 * 2.0), (3, 9.0, pytest.approx(100 / 6), 7 * 6.0)]


@pytest.mark.parametrize('bad', [numbers(float('nan')), numbers(1.0, float('inf'))])
def test_every_step_is_looked_at(tmp_path, bad):
    with Reporter(tmp_path, 0, 10) as reporter:
        metrics = make_metrics(reporter)
        metrics.add(1, numbers(1.0), 0.0)
        metrics.add(2, bad, 0.0)
        metrics.add(3, numbers(1.0), 0.0)
        with pytest.raises(FloatingPointError, match='step 2') as caught:
            metrics.write()
    message = str(caught.value)
    norm = f'{float(bad["gradient_norm"]):.3g}'
    assert f'(decoder 0.25, stack/cells_0 {norm})' in message
    assert 'on the training sequences [2, 20]' in message
    assert read_lines(tmp_path) == []


def test_a_model_that_no_longer_learns_is_told_of_once(tmp_path, capsys):
    with Reporter(tmp_path, 0, 10) as reporter:
        metrics, told = make_metrics(reporter), []
        for step, norm in enumerate((1.0, 0.0, 0.0, 0.0, 0.5, 0.0), 1):
            metrics.add(step, numbers(2.0, norm), 0.0)
            if step % 2 == 0:
                metrics.write()
                told.append('exactly 0 in all of the last 2 updates' in capsys.readouterr().err)
    assert told == [False, True, False]


def test_skipped_updates_are_counted_and_enter_no_mean(tmp_path, capsys):
    with Reporter(tmp_path, 0, 10) as reporter:
        metrics = make_metrics(reporter, skip_nonfinite=True)
        for step, loss in [(1, 1.0), (2, float('nan')), (3, 3.0), (4, float('inf')), (5, 5.0)]:
            metrics.add(step, numbers(loss), 0.0)
            if step != 2:
                metrics.write()
    lines = read_lines(tmp_path)
    assert [line['step'] for line in lines] == [1, 3, 4, 5]
    assert [line['skipped_updates'] for line in lines] == [0, 1, 1, 0]
    assert [line.get('loss') for line in lines] == [1.0, 3.0, None, 5.0]
    told = capsys.readouterr().err
    assert 'Skipped the update of step 2: loss nan' in told and '[4, 40]' in told


def test_skipping_ends_where_nothing_is_learnt_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, 'MAX_SKIPPED_IN_A_ROW', 2)
    bad = numbers(float('nan'))
    with Reporter(tmp_path, 0, 10) as reporter:
        metrics = make_metrics(reporter, skip_nonfinite=True)
        for step, entry in enumerate([bad, bad, numbers(1.0), bad, bad, bad], start=1):
            metrics.add(step, entry, 0.0)
        with pytest.raises(FloatingPointError, match=r'step 6, after 2 updates .* in a row'):
            metrics.write()


def test_scalars_of_a_report():
    report = {'step': 3, 'protocol': 'x', 'num_sequences': 2, 'mse': 1.5, 'mse_per_frame': [1.5]}
    report |= {'crps': None, 'rmse': float('inf')}  # undefined; more than the unit can hold
    assert scalars(report | {'last_frame': {'mse': 2.0}}) == {'num_sequences': 2, 'mse': 1.5}
