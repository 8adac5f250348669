"""A run that commit 9b34739 trained, the oldest that must stay readable, is used today.

`older_runs/run.zip` is what it left of 4 updates on moving digits of 8 x 8, but for its pictures.
"""

import json
import pathlib
import shutil

import numpy as np
import pytest

from e3d import evaluate, forecast, load_run, open_source, train

ARCHIVE = pathlib.Path(__file__).parent / 'older_runs' / 'run.zip'


def read_metrics(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def losses(metrics):
    return [(line['step'], line['loss']) for line in metrics if line['split'] == 'train']


@pytest.mark.usefixtures('figures_not_rendered')
def test_a_run_of_the_first_ones_is_read_evaluated_and_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its data_dir is a relative one
    workdir = tmp_path / 'run'
    shutil.unpack_archive(ARCHIVE, workdir)
    stored, metrics = json.loads((workdir / 'evaluation.json').read_text()), read_metrics(workdir)

    run = load_run(workdir)
    assert run.step == 4
    source = open_source(run.config.dataset, 'test')
    seen, truth = np.split(np.stack([source[i]['frames'] for i in range(len(source))]), 2, axis=1)
    squares = np.square(forecast(run, seen) - truth / np.float32(255)).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(squares.mean(axis=0), stored['mse_per_frame'], rtol=1e-4)

    def check(report):
        assert (report['step'], report['num_sequences']) == (4, 5)
        others = [(report[name], stored[name]) for name in ('last_frame', 'mean_image')]
        for now, then in [(report, stored), *others]:
            for key in ('mse_per_frame', 'mae', 'psnr', 'ssim'):
                np.testing.assert_allclose(now[key], then[key], rtol=1e-4, err_msg=key)

    check(evaluate(None, workdir))

    # As if it had been killed before its last checkpoint was whole. The loss of the last update
    # depends on the state of the optimizer, and the report on the moving average.
    shutil.rmtree(workdir / 'checkpoints' / '4')
    check(train(run.config, workdir))
    resumed = read_metrics(workdir)
    begun = [line for line in metrics if line['step'] <= 2]
    assert resumed[: len(begun)] == begun  # times and all
    assert [step for step, _ in losses(resumed)] == [1, 2, 3, 4]
    np.testing.assert_allclose(losses(resumed), losses(metrics), rtol=1e-4)
