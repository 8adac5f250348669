import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_helpers import SHAPE, TinyForecaster, tiny_config

from e3d.errors import InputError, RunError
from e3d.training import checkpoints as checkpoints_module
from e3d.training import devices
from e3d.training.checkpoints import Checkpoints, load_run
from e3d.training.state import create_state

OPTIMIZER = optax.adam(1e-3)


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


@pytest.fixture
def tiny(monkeypatch):
    """Runs with the tiny model in place of the one that the config names."""
    monkeypatch.setattr(checkpoints_module, 'build_model', lambda **model: TinyForecaster())


def make_state(step=0, seed=0, features=3, keep_ema=True):
    state = create_state(TinyForecaster(features), OPTIMIZER, SHAPE, seed, keep_ema=keep_ema)
    state = state.replace(step=jnp.asarray(step, jnp.int32))
    return devices.place_state(state, devices.local_mesh())


def template(**kwargs):
    return devices.abstract_state(make_state(**kwargs), devices.local_mesh())


def save_all(workdir, config, errors, keep=2, keep_best=True):
    """Saves a state for each of {step: error or None}; returns the steps that are kept."""
    with Checkpoints(workdir, keep=keep, keep_best=keep_best) as checkpoints:
        for step, error in errors.items():
            checkpoints.save(make_state(step, seed=step), config, SHAPE, error)
        checkpoints.wait()
    return sorted(int(path.name) for path in checkpoints.folder.iterdir())


@pytest.mark.parametrize(
    ('errors', 'keep', 'keep_best', 'kept'),
    [
        ({1: None, 2: None, 3: None, 4: None}, 2, True, [3, 4]),
        ({1: 5.0, 2: 1.0, 3: 4.0, 4: None, 5: 3.0}, 2, True, [2, 4, 5]),
        ({1: 5.0, 2: 1.0, 3: 4.0, 4: None, 5: 3.0}, 2, False, [4, 5]),
        ({1: 2.0, 2: 1.0}, 1, True, [2]),
    ],
)
def test_keeps_the_last_and_the_best(tmp_path, config, errors, keep, keep_best, kept):
    assert save_all(tmp_path, config, errors, keep, keep_best) == kept


def test_restores_every_bit_into_its_place(tmp_path, config):
    state = make_state(7, seed=7)
    save_all(tmp_path, config, {3: None, 7: None})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() == 7
        restored = checkpoints.restore(template(), 7)
        found, shape = checkpoints.read_run(7)
    chex.assert_trees_all_equal(restored, state)
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert ours.sharding == theirs.sharding and ours.dtype == theirs.dtype
    assert found.to_dict() == config.to_dict()
    assert shape == SHAPE


def test_state_may_be_given_away_while_it_is_written(tmp_path, config):
    state = make_state(1)
    kernel = np.asarray(state.params['first']['kernel'])
    double = devices.parallel_step(
        lambda state, batch: (jax.tree.map(lambda leaf: leaf * 2, state), batch.sum()),
        devices.local_mesh(),
    )
    batch = devices.place_batch(np.zeros(4), devices.local_mesh())
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, config, SHAPE)
        double(state, batch)
        checkpoints.wait()
        restored = checkpoints.restore(template(), 1)
    np.testing.assert_array_equal(restored.params['first']['kernel'], kernel)


def test_checkpoint_of_another_model(tmp_path, config):
    save_all(tmp_path, config, {1: None})
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(InputError) as caught:
            checkpoints.restore(template(features=5), 1)
        with pytest.raises(InputError, match=r'ema_params/first/bias: stored .*, needed nothing'):
            checkpoints.restore(template(keep_ema=False), 1)
    message = str(caught.value)
    assert 'params/first/kernel: stored float32[1, 3], needed float32[1, 5]' in message
    assert 'more' in message and '--workdir' in message


def test_damaged_checkpoint(tmp_path, config):
    save_all(tmp_path, config, {1: None})
    for path in (tmp_path / 'checkpoints' / '1' / 'state').rglob('*'):
        if path.is_file() and path.parent.name == 'd':
            path.write_bytes(path.read_bytes()[:10])
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match='cannot be read'):
        checkpoints.restore(template(), 1)


def test_full_disk_is_a_run_error(tmp_path, config, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:

        def refuse(*args, **kwargs):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(checkpoints._manager, 'save', refuse)
        with pytest.raises(RunError, match=r'No space left.*\n.*earlier ones are whole'):
            checkpoints.save(make_state(), config, SHAPE)


@pytest.mark.parametrize(('best', 'step'), [(False, 3), (True, 2)])
def test_load_run(tmp_path, config, tiny, best, step):
    save_all(tmp_path, config, {1: 5.0, 2: 1.0, 3: 4.0})
    run = load_run(tmp_path, best=best)
    assert run.step == step and run.frame_shape == SHAPE
    assert run.config.to_dict() == config.to_dict()
    chex.assert_trees_all_equal(run.params, jax.device_get(make_state(seed=step).ema_params))
    assert run.model == TinyForecaster()


def test_load_run_where_there_is_none(tmp_path, config, tiny):
    with pytest.raises(InputError, match='no trained run'):
        load_run(tmp_path / 'missing')
    with Checkpoints(tmp_path):
        pass
    with pytest.raises(InputError, match='holds no checkpoint yet'):
        load_run(tmp_path)
    save_all(tmp_path, config, {1: None})
    with pytest.raises(InputError, match='holds no evaluated checkpoint yet'):
        load_run(tmp_path, best=True)


def test_load_run_of_another_model(tmp_path, config, monkeypatch):
    save_all(tmp_path, config, {1: None})
    monkeypatch.setattr(checkpoints_module, 'build_model', lambda **model: TinyForecaster(5))
    with pytest.raises(InputError, match=r'first/kernel: stored float32\[1, 3\], needed'):
        load_run(tmp_path)


def test_reading_changes_nothing(tmp_path, config, tiny):
    save_all(tmp_path, config, {1: 1.0})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    load_run(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before


def test_config_is_stored_as_json(tmp_path, config):
    save_all(tmp_path, config, {1: None})
    stored = json.loads((tmp_path / 'checkpoints' / '1' / 'run' / 'metadata').read_text())
    assert stored['frame_shape'] == list(SHAPE)
    assert stored['config']['model']['kernel_size'] == [2, 3, 3]
