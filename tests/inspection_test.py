"""What RECALL reads and how far gates are open, as `e3d.inspect_run` and --mode=inspect tell it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prediction_helpers import Sums, recognizer_run, run_of

from e3d import inspect_run
from e3d.errors import InputError
from e3d.kernels.history import History
from e3d.kernels.recall import recall
from e3d.model import E3DLSTM, ConvLSTM
from e3d.model.inspection import attention, inspect_model
from e3d.prediction.inspection import brightest_place, inspect_to_files
from e3d.runs.trained_run import Run

GENERATOR = np.random.default_rng(0)
FRAMES = GENERATOR.random((4, 8, 8, 1), np.float32)
PLACES = [(0, 1), (1, 0)]
OBSERVED = [True, False, True, False]  # as in the copy test


@pytest.mark.parametrize('radius', [None, 0, 1])
def test_the_weights_are_those_of_recall(radius):
    """At depth 1, where they tell of each key, RECALL is their sum over the states."""
    gate = jnp.asarray(3 * GENERATOR.normal(size=(1, 1, 4, 3, 2)))
    states = jnp.asarray(GENERATOR.normal(size=(1, 3, 12, 2)))
    history = History(states, jnp.array([[3, 0, 1]]))
    places = np.array([[0, 0], [2, 1], [3, 2]])
    bias = jnp.asarray(GENERATOR.normal(size=(1, 3)))
    weights = attention(gate, history, radius, jnp.asarray(places), bias)
    assert weights.shape == (3, 3, 4, 3) and not weights[1].any()
    recalled = jnp.einsum('kphw,khwc->pc', weights, states[0].reshape(3, 4, 3, 2))
    expected = recall(gate, states, history.valid, radius, bias)[0, 0][places[:, 0], places[:, 1]]
    np.testing.assert_allclose(recalled, expected, atol=1e-6)
    nothing = attention(gate, history._replace(ages=jnp.zeros((1, 3), jnp.int32)), radius, places)
    assert not nothing.any()


@pytest.fixture(scope='module')
def run():
    return run_of(E3DLSTM(layers=2, features=2, history=2))


@pytest.fixture(scope='module')
def found(run):
    return inspect_model(run.model, run.params, FRAMES, OBSERVED, PLACES)


def test_it_is_the_forecast_that_is_looked_into(run, found):
    mask = jnp.array([OBSERVED[1:]])
    apply = jax.jit(run.model.apply, static_argnums=2)
    predictions = apply({'params': run.params}, jnp.asarray(FRAMES)[None], 4, mask)[0]
    expected = np.where(
        np.array(OBSERVED)[:, None, None, None], FRAMES, np.r_[FRAMES[:1], predictions[:-1]]
    )
    np.testing.assert_allclose(found.frames, expected, atol=1e-6)
    assert found.observed.tolist() == OBSERVED


def test_weights_are_of_the_steps_before_as_far_as_the_history_goes(found):
    assert found.weights.shape == (2, 4, 2, 4, 2, 2)
    assert found.by_step.shape == (2, 4, 2, 4)
    read = (found.by_step > 0).all(axis=(0, 2))
    np.testing.assert_array_equal(read, np.tri(4, 4, -1, bool) & ~np.tri(4, 4, -3, bool))
    np.testing.assert_allclose(found.by_step[:, 1:].sum(axis=-1), 1.0, atol=1e-6)


def test_shares_of_gates_tell_which_are_shut():
    run = run_of(ConvLSTM(layers=2, features=2))
    gates = inspect_model(run.model, run.params, FRAMES, OBSERVED, PLACES)
    assert gates.weights is None and gates.by_step is None and set(gates.gates) == {'I', 'F', 'O'}
    for shares in gates.gates.values():
        assert shares.shape == (2, 4, 10)
        np.testing.assert_allclose(shares.sum(axis=-1), 1.0, atol=1e-6)
    # Without weights a gate is the sigmoid of its bias: one half of I and O, sigmoid(1) = 0.73 of F.
    empty = jax.tree.map(lambda leaf: leaf if leaf.ndim == 1 else 0 * leaf, run.params)
    gates = inspect_model(run.model, empty, FRAMES, OBSERVED, PLACES).gates
    for name, tenth in {'I': 5, 'F': 7, 'O': 5}.items():
        np.testing.assert_array_equal(gates[name], np.broadcast_to(np.eye(10)[tenth], (2, 4, 10)))


def test_files_of_a_run(tmp_path, run):
    np.save(tmp_path / 'clip.npy', FRAMES)
    account = inspect_to_files(run, tmp_path, tmp_path / 'clip.npy', '1,5;4,0', '3,4')
    assert 'layer 2, step t=4, pixel 4,0 reads most: t=' in account and "gate F'  below" in account
    assert 'Looked into the checkpoint of step 7.' in account
    folder = tmp_path / 'inspection'
    names = ['attention_by_step.png', 'attention_layer_1.png', 'attention_layer_2.png', 'gates.png']
    assert sorted(path.name for path in folder.iterdir()) == [*names, 'inspection.npz']
    with np.load(folder / 'inspection.npz') as stored:
        same = inspect_run(run, FRAMES, [(1, 5), (4, 0)])
        assert stored['places'].tolist() == [[0, 1], [1, 0]] and stored['step'] == 7
        assert stored['observed'].tolist() == [True, True, True, False]
        np.testing.assert_array_equal(stored['weights'], same.weights)
        np.testing.assert_array_equal(stored["gate_F'"], same.gates["F'"])


def test_files_go_where_a_home_directory_says(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    np.save('clip.npy', FRAMES)
    inspect_to_files(run_of(ConvLSTM(layers=1, features=2)), '~', '~/clip.npy')
    assert (tmp_path / 'inspection' / 'gates.png').exists() and not (tmp_path / '~').exists()


def test_of_several_channels_the_first_is_drawn_and_named(tmp_path):
    run = run_of(E3DLSTM(layers=1, features=2, patch_size=4), channels=3)
    np.save(tmp_path / 'clip.npy', FRAMES.repeat(3, axis=-1))
    assert 'is drawn' not in inspect_to_files(run, tmp_path, tmp_path / 'clip.npy')
    named = run._replace(channel_names=('rain', 'east', 'north'))
    account = inspect_to_files(named, tmp_path, tmp_path / 'clip.npy')
    assert 'Of the 3 channels the first, rain, is drawn.' in account


def test_the_brightest_place_is_looked_at_unless_another_is_named():
    frame = np.zeros((9, 14, 2))
    frame[6, 9, 1], frame[8, 13] = 1, 5  # the latter outside of whole patches
    assert brightest_place(frame, 4) == (1, 2)
    assert brightest_place(frame[6:], 4) == (0, 2)  # lower than a patch


@pytest.mark.parametrize(
    ('pixels', 'steps', 'message'),
    [
        ('8,0', None, 'the pixel 8,0: must be within frames of 8 x 8'),
        ('1', None, "--pixels='1': must be ROW,COLUMN"),
        (None, '0', "--steps='0': must be between 1 and 4"),
        (None, 'x', "--steps='x': must be times"),
        (';'.join(['0,0'] * 17), None, 'at most 16 pixels'),
    ],
)
def test_what_is_not_there_is_rejected(tmp_path, run, pixels, steps, message):
    np.save(tmp_path / 'clip.npy', FRAMES)
    with pytest.raises(InputError, match=message):
        inspect_to_files(run, tmp_path, tmp_path / 'clip.npy', pixels, steps)
    assert not (tmp_path / 'inspection').exists()


def test_recognizers_are_told_what_shows_theirs(tmp_path):
    run = recognizer_run(Sums(), name='e3d_recognizer')
    with pytest.raises(InputError, match='classifies clips and does not forecast: use --mode=rec'):
        inspect_to_files(run, tmp_path)


def test_models_without_recurrent_layers_are_rejected(run):
    other = Run(object(), run.params, run.config, run.frame_shape, 7)
    with pytest.raises(InputError, match='object has no stack of cells'):
        inspect_run(other, FRAMES)


def test_models_that_see_more_than_frames_are_rejected(run):
    with pytest.raises(InputError, match='sees valid beside the frames: only models that see'):
        inspect_run(run._replace(beside={'valid': 1}), FRAMES)
