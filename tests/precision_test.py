"""What reduced precision may cost."""

import json

import numpy as np
import pytest

from e3d.training.loop import train
from experiments import quickstart


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does(tmp_path):
    losses = {}
    for dtype in ('float32', 'bfloat16'):
        config = quickstart.get_config()
        config.model.dtype = dtype
        config.train.update({'steps': 200, 'evaluate_every': 200})
        config.dataset.update({'data_dir': str(tmp_path / 'data'), 'test_size': 8})
        train(config, tmp_path / dtype)
        lines = (tmp_path / dtype / 'metrics.jsonl').read_text().splitlines()
        logged = [line for line in map(json.loads, lines) if line['split'] == 'train']
        losses[dtype] = np.mean([line['loss'] for line in logged[-5:]])
    # The last five losses that are logged, as that of one batch differs more from the next.
    assert losses['bfloat16'] == pytest.approx(losses['float32'], rel=0.01)
