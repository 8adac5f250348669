import pytest
from training_helpers import tiny_config

from benchmarks.scaling import all_reduce_seconds, measure


def test_an_update_is_timed_on_several_devices(tmp_path):
    config = tiny_config(tmp_path)
    seconds, collective = measure(config, (8, 8, 1), count=2, repeats=1)
    assert 0 < collective < seconds


def test_a_ring_moves_nearly_twice_the_gradient():
    assert all_reduce_seconds(100, 1, 10.0) == 0
    assert all_reduce_seconds(100, 2, 10.0) == 10.0
    assert all_reduce_seconds(100, 4, 10.0) == 15.0
    assert all_reduce_seconds(10**9, 10**6, 1e9) == pytest.approx(2, rel=1e-5)
