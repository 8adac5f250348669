import jax
import numpy as np
import pytest
from training_helpers import TinyForecaster, random_frames

from e3d.errors import InputError
from e3d.parallel import devices


def test_batch_that_the_devices_do_not_divide():
    mesh = devices.local_mesh()
    assert mesh.size == 4
    devices.check_batch_size(8, mesh)
    with pytest.raises(InputError, match=r'train\.batch_size=6.*4 devices.*such as 4 or 8'):
        devices.check_batch_size(6, mesh)
    with pytest.raises(InputError, match=r'such as 4,'):
        devices.check_batch_size(2, mesh)


def test_every_device_gets_its_rows_in_order():
    frames = random_frames(8)
    placed = devices.place_batch({'frames': frames}, devices.local_mesh())['frames']
    assert placed.shape == (4, 2, *frames.shape[1:])
    for index, shard in enumerate(placed.addressable_shards):
        assert shard.device == jax.local_devices()[index]
        np.testing.assert_array_equal(shard.data[0], frames[2 * index : 2 * index + 2])


def test_step_rejects_what_was_not_placed():
    mesh = devices.local_mesh()
    step = devices.parallel_step(lambda state, batch: (state, batch.sum()), mesh)
    with pytest.raises(Exception, match=r'[Dd]isallowed'):
        step(devices.place_state(np.zeros(()), mesh), np.zeros((4, 2)))


def test_step_takes_over_the_memory_of_the_state():
    mesh = devices.local_mesh()

    def add(state, batch):
        return state + jax.lax.pmean(batch.sum(), devices.AXIS), None

    old = devices.place_state(np.zeros(3, np.float32), mesh)
    new, _ = devices.parallel_step(add, mesh)(old, devices.place_batch(np.ones(4), mesh))
    np.testing.assert_array_equal(new, np.ones(3))
    assert old.is_deleted()


@pytest.mark.parametrize('num_devices', [1, 4])
def test_forecast_of_any_number_of_sequences_compiles_once(num_devices):
    mesh = devices.local_mesh(num_devices)
    model = TinyForecaster()
    params = model.init(jax.random.key(0), random_frames(1), 2)['params']

    traces = []

    def forecast(params, frames):
        traces.append(frames)
        return model.apply({'params': params}, frames, 2)[:, -2:]

    parallel = devices.parallel_apply(forecast, mesh, batch_size=6)
    placed = devices.place_state(params, mesh)
    for count in (6, 1, 3, 8, 19):
        frames = random_frames(count, seed=count)
        expected = model.apply({'params': params}, frames, 2)[:, -2:]
        found = parallel(placed, frames)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(traces) == 1
