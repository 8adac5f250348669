import json

import jax.numpy as jnp
import pytest

from e3d.training import reporting
from e3d.training.reporting import Reporter, StepMetrics, drop_lines_after, scalars


def read_lines(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def numbers(loss, norm=1.0):
    return {'loss': jnp.asarray(loss), 'gradient_norm': jnp.asarray(norm)}


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
    with Reporter(tmp_path, 0, 10) as reporter:
        metrics = StepMetrics(reporter, 10, frames_per_step=100)
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


@pytest.mark.parametrize('bad', [numbers(float('nan')), numbers(1.0, float('inf'))])
def test_every_step_is_looked_at(tmp_path, bad):
    with Reporter(tmp_path, 0, 10) as reporter:
        metrics = StepMetrics(reporter, 10, frames_per_step=100)
        metrics.add(1, numbers(1.0), 0.0)
        metrics.add(2, bad, 0.0)
        metrics.add(3, numbers(1.0), 0.0)
        with pytest.raises(FloatingPointError, match='step 2'):
            metrics.write()
    assert read_lines(tmp_path) == []


def test_scalars_of_a_report():
    report = {'step': 3, 'protocol': 'x', 'num_sequences': 2, 'mse': 1.5, 'mse_per_frame': [1.5]}
    assert scalars(report | {'last_frame': {'mse': 2.0}}) == {'num_sequences': 2, 'mse': 1.5}
