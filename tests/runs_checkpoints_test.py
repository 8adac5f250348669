import contextlib
import functools
import hashlib
import itertools
import json
import logging
import re
import resource
import shutil
import threading
import time

import chex
import jax
import numpy as np
import optax
import pytest
from absl import logging as absl_logging
from training_helpers import SHAPE, TinyForecaster, tiny_config

from e3d.data.sources.scales import PIXELS, Scale
from e3d.errors import InputError, RunError
from e3d.parallel import devices
from e3d.runs import trained_run
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.checksums import CheckedState
from e3d.runs.stored_run import StoredRun
from e3d.runs.trained_run import load_run
from e3d.training.optimizer import create_state

OPTIMIZER = optax.adam(1e-3)


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


@pytest.fixture
def tiny(monkeypatch):
    """Runs with the tiny model in place of the one that the config names."""
    monkeypatch.setattr(trained_run, 'build_model', lambda **model: TinyForecaster())


@functools.cache
def initial_state(seed, features, keep_ema):
    """On the host; making one anew is most of what a test here would take."""
    model = TinyForecaster(features)
    create = jax.jit(lambda: create_state(model, OPTIMIZER, SHAPE, seed, keep_ema=keep_ema))
    return jax.device_get(create())


def make_state(step=0, seed=0, features=3, keep_ema=True):
    state = jax.tree.map(np.copy, initial_state(seed, features, keep_ema))
    state = state.replace(step=np.asarray(step, np.int32))
    return devices.place_state(state, devices.local_mesh())


def template(**kwargs):
    return devices.abstract_state(make_state(**kwargs), devices.local_mesh())


def save_all(workdir, config, errors, keep=2, keep_best=True):
    """Saves a state for each of {step: error or None}; returns the steps that are kept."""
    with Checkpoints(workdir, keep=keep, keep_best=keep_best) as checkpoints:
        for step, error in errors.items():
            if error is not None:
                checkpoints.record_error(step, error)
            checkpoints.save(make_state(step, seed=step), StoredRun(config, SHAPE))
        checkpoints.wait()
    return steps_in(checkpoints.folder)


def steps_in(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


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
        found, shape, scale, *_ = checkpoints.read_run(7)
    chex.assert_trees_all_equal(restored, state)
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert ours.sharding == theirs.sharding and ours.dtype == theirs.dtype
    assert found.to_dict() == config.to_dict()
    assert shape == SHAPE and scale == Scale()


def test_state_may_be_given_away_while_it_is_written(tmp_path, config):
    state = make_state(1)
    kernel = np.asarray(state.params['first']['kernel'])
    double = devices.parallel_step(
        lambda state, batch: (jax.tree.map(lambda leaf: leaf * 2, state), batch.sum()),
        devices.local_mesh(),
    )
    batch = devices.place_batch(np.zeros(4), devices.local_mesh())
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, StoredRun(config, SHAPE))
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


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 4
    path.write_bytes(data)


DAMAGES = {
    'cut off': lambda path: path.write_bytes(path.read_bytes()[:-1]),
    'empty': lambda path: path.write_bytes(b''),
    'missing': lambda path: path.unlink(),
    'flipped at the start': lambda path: flip(path, 0),
    'flipped within': lambda path: flip(path, len(path.read_bytes()) // 2),
}


@pytest.mark.parametrize('kind', DAMAGES)
def test_any_damage_is_found_and_the_one_before_is_taken(tmp_path, config, tiny, kind, capsys):
    save_all(tmp_path / 'whole', config, {1: 2.0, 2: 1.0}, keep_best=False)
    newest = tmp_path / 'whole' / 'checkpoints' / '2'
    names = [path.relative_to(newest) for path in newest.glob('*/**/*') if path.is_file()]
    checked = [name for name in names if name.name != 'commit_success.txt']
    assert {'state/_METADATA', 'run/metadata', 'state/checksums.json', 'run/checksums.json'} <= {
        name.as_posix() for name in checked
    }
    for index, name in enumerate(checked):
        workdir = shutil.copytree(tmp_path / 'whole', tmp_path / str(index))
        damaged = workdir / 'checkpoints' / '2'
        DAMAGES[kind](damaged / name)
        assert load_run(workdir).step == load_run(workdir, best=True).step == 1  # changes nothing
        contents = {path.relative_to(damaged): path.read_bytes() for path in files(damaged)}
        capsys.readouterr()
        with Checkpoints(workdir) as checkpoints:
            assert checkpoints.newest() == 1
            assert re.search(r'2 is damaged: .*\. Taking that of step 1', capsys.readouterr().err)
            checkpoints.save(make_state(2, seed=5), StoredRun(config, SHAPE))
            checkpoints.wait()
            assert checkpoints.newest() == 2
        aside = workdir / 'checkpoints' / 'damaged_2'
        assert {path.relative_to(aside): path.read_bytes() for path in files(aside)} == contents


def files(folder):
    return [path for path in folder.rglob('*') if path.is_file()]


def test_damage_twice_at_one_step(tmp_path, config):
    save_all(tmp_path, config, {1: None, 2: None})
    folder = tmp_path / 'checkpoints'
    for seed in range(2):
        (folder / '2' / 'run' / 'metadata').unlink()
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            assert checkpoints.newest() == 1
            checkpoints.save(make_state(2, seed=seed), StoredRun(config, SHAPE))
    assert {'damaged_2', 'damaged_2_', '1', '2'} <= {path.name for path in folder.iterdir()}


def test_all_damaged(tmp_path, config, tiny):
    save_all(tmp_path, config, {1: 1.0, 2: 1.0})
    for path in (tmp_path / 'checkpoints').glob('*/state/manifest.ocdbt'):
        flip(path, 9)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(InputError, match=r'(?s)are damaged:\n  2: state/.*\n  1: state/'):
            checkpoints.newest()
        assert checkpoints.best() is None
    with pytest.raises(InputError, match='are damaged'):
        load_run(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before


def test_checkpoint_without_the_files_of_the_library(tmp_path, config):
    """What is not covered by the checksums is not needed."""
    save_all(tmp_path, config, {1: None})
    state = make_state(1, seed=1)
    for name in ('_CHECKPOINT_METADATA', 'commit_success.txt', 'state/commit_success.txt'):
        path = tmp_path / 'checkpoints' / '1' / name
        if path.exists():
            flip(path, 3)
    with Checkpoints(tmp_path) as checkpoints:
        chex.assert_trees_all_equal(checkpoints.restore(template(), checkpoints.newest()), state)


@pytest.mark.parametrize('text', ['', '[1]', '{"1": "x"}', '{"x": 1}', '{"1": null}'])
def test_damaged_errors_only_cost_the_best(tmp_path, config, text, capsys):
    save_all(tmp_path, config, {1: 1.0})
    (tmp_path / 'checkpoints' / 'errors.json').write_text(text)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() == 1 and checkpoints.best() is None
    assert 'errors.json cannot be read' in capsys.readouterr().err


@contextlib.contextmanager
def full_disk(limit):
    """No file can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('limit', [0, 200, 600])
def test_full_disk_is_a_run_error_and_leaves_what_is_whole(tmp_path, config, limit):
    save_all(tmp_path, config, {1: None}, keep=1)
    with (
        pytest.raises(RunError, match=r'(?s)could not be written.*earlier ones are intact'),
        full_disk(limit),
        Checkpoints(tmp_path, keep=1) as checkpoints,
    ):
        checkpoints.save(make_state(2), StoredRun(config, SHAPE))
        checkpoints.wait()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() == 1
        restored = checkpoints.restore(template(), 1)
    chex.assert_trees_all_equal(restored, make_state(1, seed=1))
    assert save_all(tmp_path, config, {2: None}, keep=1) == [2]


@pytest.mark.parametrize(('best', 'step'), [(False, 3), (True, 2)])
def test_load_run(tmp_path, config, tiny, best, step):
    save_all(tmp_path, config, {1: 5.0, 2: 1.0, 3: 4.0})
    run = load_run(tmp_path, best=best)
    assert run.step == step and run.frame_shape == SHAPE
    assert run.config.to_dict() == config.to_dict()
    chex.assert_trees_all_equal(run.params, jax.device_get(make_state(seed=step).ema_params))
    assert run.model == TinyForecaster()


@pytest.mark.parametrize(
    ('checkpoint', 'step'), [('newest', 3), ('best', 2), (1, 1), ('1', 1), (np.int32(2), 2)]
)
def test_any_checkpoint_can_be_chosen(tmp_path, config, tiny, checkpoint, step):
    save_all(tmp_path, config, {1: 5.0, 2: 1.0, 3: 4.0}, keep=3)
    run = load_run(tmp_path, checkpoint=checkpoint)
    assert run.step == step
    chex.assert_trees_all_equal(run.params, jax.device_get(make_state(seed=step).ema_params))


@pytest.mark.parametrize(
    ('errors', 'kept', 'message'),
    [
        ({2: 0.1, 4: 0.5, 6: 0.4}, [4, 6], 'that of step 2 had the least error .* steps 4, 6'),
        ({2: 0.1, 4: None, 6: None}, [4, 6], 'that of step 2 had the least error'),
        ({2: 0.4, 4: 0.4, 6: 0.5}, [4, 6], None),
    ],
)
def test_the_best_is_not_one_of_those_that_happen_to_be_left(
    tmp_path, config, tiny, errors, kept, message
):
    assert save_all(tmp_path, config, errors, keep_best=False) == kept
    if message is None:
        assert load_run(tmp_path, best=True).step == 4
        return
    with pytest.raises(InputError, match=message):
        load_run(tmp_path, best=True)
    assert load_run(tmp_path, checkpoint=6).step == 6


def test_a_better_one_that_is_being_written_is_not_missed(tmp_path, config, tiny):
    save_all(tmp_path, config, {1: 2.0, 2: 1.0})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.record_error(3, 0.5)
        assert load_run(tmp_path, best=True).step == 2


@pytest.mark.parametrize('checkpoint', [7, '7', '', 'last', '-1', True, 1.0, '1' * 5000])
def test_a_checkpoint_that_is_not_there(tmp_path, config, tiny, checkpoint):
    save_all(tmp_path, config, {1: 5.0, 2: 1.0, 3: 4.0}, keep=3)
    with pytest.raises(InputError, match=r"'newest', 'best' or a step .*steps 1, 2, 3\)"):
        load_run(tmp_path, checkpoint=checkpoint)


def test_a_chosen_checkpoint_that_is_damaged_is_not_replaced_by_another(tmp_path, config, tiny):
    save_all(tmp_path, config, {1: None, 2: None})
    next((tmp_path / 'checkpoints' / '1' / 'state').glob('d/*')).write_bytes(b'')
    with pytest.raises(InputError, match=r'checkpoints/1 is damaged: .*Choose another'):
        load_run(tmp_path, checkpoint=1)


def test_two_choices_of_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match='give one of them'):
        load_run(tmp_path, best=True, checkpoint=3)


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
    monkeypatch.setattr(trained_run, 'build_model', lambda **model: TinyForecaster(5))
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


def test_what_cannot_be_read_back_does_not_count_as_saved(tmp_path, config, monkeypatch):
    save_all(tmp_path, config, {1: None}, keep=1)

    def lose_a_bit(handler, directory, args):
        restored = read(handler, directory, args=args)
        restored['params']['first']['kernel'][0, 0] += 1
        return restored

    read = CheckedState.restore
    monkeypatch.setattr(CheckedState, 'restore', lose_a_bit)
    with pytest.raises(RunError, match='reads back differently'), Checkpoints(tmp_path) as left:
        left.save(make_state(2), StoredRun(config, SHAPE))
        left.wait()
    monkeypatch.undo()
    with Checkpoints(tmp_path) as checkpoints:  # the older one has not gone
        assert checkpoints.newest() == 1
        chex.assert_trees_all_equal(checkpoints.restore(template(), 1), make_state(1, seed=1))


def test_not_a_number_reads_back_as_it_was(tmp_path, config):
    state = make_state(1)
    state.params['first']['bias'] = state.params['first']['bias'] * float('nan')
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, StoredRun(config, SHAPE))
        checkpoints.wait()
        assert checkpoints.newest() == 1


@pytest.mark.parametrize('seconds', [400 * 86400, -400 * 86400, 60 * 365 * 86400])
def test_a_clock_that_is_set_while_a_checkpoint_is_written(tmp_path, config, monkeypatch, seconds):
    began, clock, serialize = threading.Event(), time.time, CheckedState.finalize
    # Every other look at the clock finds it set back.
    looks = itertools.count()
    monkeypatch.setattr(time, 'time', lambda: clock() + seconds * (next(looks) % 2))

    def finalize(handler, directory):
        began.set()
        serialize(handler, directory)

    monkeypatch.setattr(CheckedState, 'finalize', finalize)
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(1, 4):
            checkpoints.save(make_state(step), StoredRun(config, SHAPE))
        checkpoints.wait()
        assert began.is_set() and checkpoints.newest() == 3


@pytest.mark.parametrize('name', ['lr[1e-3]', '[a', 'a*', 'a?', 'a\\b', 'caf\udce9'])
@pytest.mark.parametrize('inside', ['', 'run'])
def test_paths_that_the_storage_cannot_find_again(tmp_path, config, name, inside):
    workdir = tmp_path / name / inside
    for use in (lambda: Checkpoints(workdir), lambda: load_run(workdir)):
        with pytest.raises(InputError, match=r'in its path, .*symbolic link'):
            use()
    assert not list(tmp_path.iterdir())
    # What the message advises.
    workdir.mkdir(parents=True)
    (tmp_path / 'link').symlink_to(workdir)
    save_all(tmp_path / 'link', config, {1: None})
    with Checkpoints(tmp_path / 'link') as checkpoints:
        restored = checkpoints.restore(template(), checkpoints.newest())
        chex.assert_trees_all_equal(restored, make_state(1, seed=1))


@pytest.mark.parametrize(
    'name', ['a]', 'a{b}', 'a b', 'a%20b', 'a#b', '日本', 'a:b', '$X', "'", '\n']
)
def test_other_paths_are_as_good_as_any(tmp_path, config, name):
    save_all(tmp_path / name, config, {1: None})
    with Checkpoints(tmp_path / name) as checkpoints:
        restored = checkpoints.restore(template(), checkpoints.newest())
        chex.assert_trees_all_equal(restored, make_state(1, seed=1))


def test_the_range_of_the_data_is_kept(tmp_path, config, tiny):
    scale = Scale((2.0, 267.0), (-2.0 / 265.0, float('inf')))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(1), StoredRun(config, SHAPE, scale))
        checkpoints.wait()
    assert load_run(tmp_path).scale == scale


@pytest.mark.parametrize(
    'stored',
    [
        {},
        None,
        {'value_range': None, 'bounds': [0]},
        {'value_range': [1, 1], 'bounds': [0, 1]},
        {'value_range': ['a', 'b'], 'bounds': [0, 1]},
    ],
)
def test_a_scale_of_another_form_is_a_damaged_checkpoint(tmp_path, config, monkeypatch, stored):
    save_all(tmp_path, config, {1: None})
    monkeypatch.setattr(
        Checkpoints,
        '_read',
        lambda *_, **__: {'run': {'config': {}, 'frame_shape': SHAPE, 'scale': stored}},
    )
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match='cannot be read'):
        checkpoints.read_run(1)


def test_a_run_of_an_earlier_version_has_the_scale_of_pictures(tmp_path, config, monkeypatch):
    save_all(tmp_path, config, {1: None})
    run = {'config': config.to_dict(), 'frame_shape': SHAPE}
    monkeypatch.setattr(Checkpoints, '_read', lambda *_, **__: {'run': run})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.read_run(1)[2:] == (Scale(), {}, (), (), None)


def test_a_run_is_shown_in_a_line(tmp_path, config, tiny):
    save_all(tmp_path, config, {3: None})
    text = repr(load_run(tmp_path))
    assert text == 'Run(TinyForecaster, step 3, frames of 4 x 4 x 1, 10 parameters)'


def test_opening_a_run_says_nothing(tmp_path, config, tiny, capfd):
    save_all(tmp_path, config, {3: None})
    capfd.readouterr()
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    loggers = [logging.getLogger(name) for name in (None, 'absl')]
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.WARNING)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        load_run(tmp_path)
        assert absl_logging.get_verbosity() == absl_logging.WARNING
    finally:
        absl_logging.set_verbosity(before)
        for logger in loggers:
            logger.removeHandler(handler)
    assert not [record.getMessage() for record in records]
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize(
    'run',
    [
        {}, [], 5, {'config': 5, 'frame_shape': [4, 4, 1]}, {'config': {}, 'frame_shape': [4, 4, 1]},
        {'config': {'model': {'name': 'e3d_lstm', 'x': 1}}, 'frame_shape': [4, 4, 1]},
        {'config': None, 'frame_shape': 'abc'}, {'frame_shape': [1]},
    ],
)  # fmt: skip
def test_what_others_stored_beside_a_state(tmp_path, config, run):
    """Whole, with its checksums, and of no use."""
    save_all(tmp_path, config, {1: None})
    folder = tmp_path / 'checkpoints' / '1' / 'run'
    (folder / 'metadata').write_text(json.dumps(run))
    sums = json.loads((folder / 'checksums.json').read_text())
    sums['metadata'] = hashlib.sha256((folder / 'metadata').read_bytes()).hexdigest()
    (folder / 'checksums.json').write_text(json.dumps(sums))
    with pytest.raises(InputError, match=r'The checkpoint .*/1 cannot be read'):
        load_run(tmp_path)


def test_the_channels_of_data_of_earlier_runs_are_numbered(config):
    scale = Scale((0.0, 5.0))
    stored = json.loads(json.dumps(StoredRun(config, (8, 8, 3), scale).to_json()))
    assert 'channel_names' not in stored
    assert StoredRun.from_json(stored).channel_names == ('channel 1', 'channel 2', 'channel 3')
    for changed in ({'scale': PIXELS.to_json()}, {'frame_shape': [8, 8, 1]}):
        assert StoredRun.from_json(stored | changed).channel_names == ()
    named = StoredRun(config, (8, 8, 3), scale, channel_names=('rain', 'east', 'north'))
    assert StoredRun.from_json(named.to_json()).channel_names == named.channel_names
