"""What reduced precision may cost."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

LAUNCH = pathlib.Path(__file__).parents[1] / 'launch.py'


def train_quickstart(folder, dtype):
    """The mean of the last five logged losses: one batch differs from the next by more than 1 %."""
    # As a user does: with all optimizations and one device, unlike the other tests.
    environment = {key: os.environ[key] for key in os.environ if key.partition('_')[0] not in
                   ('JAX', 'XLA')}  # fmt: skip
    options = [
        f'--workdir={folder / dtype}', f'--config.model.dtype={dtype}', '--config.train.steps=200',
        f'--config.dataset.data_dir={folder / "data"}', '--config.dataset.test_size=8',
    ]  # fmt: skip
    subprocess.run(
        [sys.executable, str(LAUNCH), '--config=experiments/quickstart.py', *options],
        env=environment, check=True, capture_output=True, timeout=1200,
    )  # fmt: skip
    lines = (folder / dtype / 'metrics.jsonl').read_text().splitlines()
    logged = [line for line in map(json.loads, lines) if line['split'] == 'train']
    return np.mean([line['loss'] for line in logged[-5:]])


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does(tmp_path):
    expected = train_quickstart(tmp_path, 'float32')
    assert train_quickstart(tmp_path, 'bfloat16') == pytest.approx(expected, rel=0.01)
