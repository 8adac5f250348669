import jax
import numpy as np
import pytest
from selection import ON_LINUX
from training_helpers import tiny_config

from e3d.configuration import make_config
from e3d.data.batches import evaluation_batches
from e3d.errors import InputError, RunError
from e3d.parallel import devices, host_memory
from e3d.training import memory
from e3d.training.failures import explained
from e3d.training.footprint import Footprint
from e3d.training.loop import train


@ON_LINUX
def test_devices_that_are_cpus_share_the_memory_of_the_machine():
    assert memory.device_bytes(devices.local_mesh(2)) == host_memory.total_bytes() // 2


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'train.batch_size': 2**20, 'model.features': 4096}, r'train\.batch_size=1048576, on each'),
        ({'model.features': 2**16}, r'An update of the [\d,]+ parameters .* needs at least'),
        (
            {'dataset.canvas': (8192, 8192), 'dataset.input_frames': 5_000},
            r'5002 frames of dataset\.canvas=\(8192, 8192\) needs at least [\d,]+ GiB; there are',
        ),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_rejected_with_the_figures(tmp_path, monkeypatch, overrides, message):
    monkeypatch.setattr(host_memory, 'total_bytes', lambda: 2**34)
    with pytest.raises(InputError, match=message):
        train(tiny_config(tmp_path, **overrides), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_what_just_fits_is_not_rejected(monkeypatch):
    config, mesh = make_config('quickstart'), devices.local_mesh(1)
    monkeypatch.setattr(host_memory, 'total_bytes', lambda: 1000)
    memory.check_training(Footprint(1, 400, 600), config, mesh)
    with pytest.raises(InputError):
        memory.check_training(Footprint(1, 400, 601), config, mesh)
    memory.check_training(Footprint(1, 400, 601, is_least=False), config, mesh)
    with pytest.raises(InputError):
        memory.check_training(Footprint(1, 1001, 0, is_least=False), config, mesh)
    monkeypatch.setattr(host_memory, 'total_bytes', lambda: None)
    memory.check_training(Footprint(1, 2**60, 0), config, mesh)


@pytest.mark.parametrize(
    ('overrides', 'recomputes'),
    [
        ({}, True),
        ({'model.memory': 'recompute'}, False),
        ({'model': 'simvp'}, False),
        ({'model': 'predrnn'}, True),
    ],
)
def test_no_remedy_is_a_key_that_the_model_lacks_or_has_set(monkeypatch, overrides, recomputes):
    config, mesh = make_config('quickstart', **overrides), devices.local_mesh(1)
    monkeypatch.setattr(host_memory, 'total_bytes', lambda: 1)
    with pytest.raises(InputError) as error:
        memory.check_training(Footprint(1, 400, 600), config, mesh)
    assert ('model.memory=recompute' in str(error.value)) is recomputes

    def run_out():
        raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

    with pytest.raises(RunError) as failure, explained(config, None):
        run_out()
    assert ('model.memory=recompute' in str(failure.value)) is recomputes
    assert 'a smaller train.batch_size' in str(failure.value)


def test_a_batch_of_an_evaluation_counts_no_more_sequences_than_there_are(monkeypatch):
    example = {'frames': np.zeros((5, 4, 4, 1), np.uint8)}  # 320 bytes as float32
    monkeypatch.setattr(host_memory, 'total_bytes', lambda: 3200)
    memory.check_evaluation(example, 10, 2**20)
    memory.check_evaluation(example, 2**20, 10)
    with pytest.raises(InputError, match=r'evaluation\.batch_size=11 needs at least'):
        memory.check_evaluation(example, 2**20, 11)


def test_a_batch_has_no_more_sequences_than_there_are():
    source = [{'frames': np.full((2, 4, 4, 1), n, np.uint8)} for n in range(3)]
    (batch,) = evaluation_batches(source, 2**20)
    assert batch['frames'].shape == (3, 2, 4, 4, 1) and batch['mask'].all()
    mesh, seen = devices.local_mesh(2), []

    def apply(params, batch):
        seen.append(batch['frames'].shape)
        return batch['frames'] * params

    found = devices.parallel_apply(apply, mesh, 2**20)(devices.place_state(2.0, mesh), batch)
    np.testing.assert_allclose(found, 2 * batch['frames'])
    assert seen == [(2, 2, 4, 4, 1)]  # of each of the two devices
    assert jax.device_count() >= 2
