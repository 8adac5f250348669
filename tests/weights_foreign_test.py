"""Weights of other codes give here what those codes compute with them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_forecasts import (
    convolve,
    forecast,
    google_cell,
    google_weights,
    openstl_cell,
    openstl_weights,
)
from weight_fixtures import write_bundle, zip_file

from e3d.errors import InputError
from e3d.model import build_model
from e3d.weights.google import read_google
from e3d.weights.openstl import read_openstl

LAYERS, FEATURES, PATCH, OBSERVED = 3, 2, 2, 2
FRAMES = np.random.default_rng(5).random((2, 4, 6, 10, 3))  # states of 3 x 5: odd, no square


def computed(foreign):
    """All predictions of the model that was made of weights, in float64."""
    with jax.enable_x64(True):
        model = build_model('e3d_lstm', **foreign.fields, dtype='float64')
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), foreign.params)
        frames = jnp.asarray(FRAMES[:, :OBSERVED])
        apply = jax.jit(model.apply, static_argnums=2)
        return apply({'params': params}, frames, FRAMES.shape[1] - OBSERVED)


def test_a_checkpoint_of_google_computes_what_that_code_does(tmp_path):
    weights = google_weights(LAYERS, FEATURES, PATCH**2 * 3)
    kernel, bias = (
        weights[f'generator/e3d-lstm/conv3d/{n}'].astype(float) for n in ('kernel', 'bias')
    )
    expected = forecast(
        functools.partial(google_cell, weights), LAYERS, FEATURES,
        lambda top: convolve(top, kernel, ((0, 0),) * 3)[:, 0] + bias, FRAMES, OBSERVED, PATCH,
    )  # fmt: skip
    averages = {f'{name}/ExponentialMovingAverage': 0 * value for name, value in weights.items()}
    others = {'Variable': np.zeros((), '<f4'), 'global_step': np.zeros((), '<i8')}
    prefix = write_bundle(tmp_path / 'model.ckpt-3', weights | averages | others)
    foreign = read_google(prefix, PATCH, average=False)
    assert foreign.channels == 3 and foreign.fields['variant'] == 'published'
    np.testing.assert_allclose(computed(foreign), expected, rtol=0, atol=1e-12)
    averaged = read_google(prefix, PATCH, average=True)
    assert not any(leaf.any() for leaf in jax.tree.leaves(averaged.params))


@pytest.mark.parametrize('stride', [1, 2])
def test_a_file_of_openstl_computes_what_that_code_does(tmp_path, stride):
    weights = openstl_weights(LAYERS, FEATURES, PATCH**2 * 3, (3, 5))
    kernel = weights['conv_last.weight'].astype(float).transpose(2, 3, 4, 1, 0)
    expected = forecast(
        functools.partial(openstl_cell, weights, stride=stride), LAYERS, FEATURES,
        lambda top: convolve(top, kernel, ((0, 0),) * 3)[:, 0], FRAMES, OBSERVED, PATCH,
    )  # fmt: skip
    path = tmp_path / 'weights.pth'
    path.write_bytes(zip_file({f'module.{name}': value for name, value in weights.items()}))
    foreign = read_openstl(path, PATCH, stride)
    assert foreign.channels == 3 and foreign.frame_size == (6, 10)
    np.testing.assert_allclose(computed(foreign), expected, rtol=0, atol=1e-12)


@pytest.fixture
def openstl_file(tmp_path):
    def write(change=lambda weights: weights, wrap=lambda weights: weights):
        path = tmp_path / 'weights.ckpt'
        path.write_bytes(zip_file(change(openstl_weights(1, 2, 4, (3, 3))), wrap))
        return path

    return write


def test_what_a_file_of_lightning_tells_is_not_asked_for(openstl_file):
    hyper = {'stride': 2, 'patch_size': 2, 'pre_seq_length': 4, 'aft_seq_length': 6}
    path = openstl_file(
        lambda weights: {f'model.{name}': value for name, value in weights.items()},
        lambda weights: {'state_dict': weights, 'hyper_parameters': hyper},
    )
    foreign = read_openstl(path, None, None)
    assert (foreign.fields['stride'], foreign.fields['patch_size']) == (2, 2)
    assert foreign.lengths == (4, 6) and foreign.frame_size == (6, 6)
    with pytest.raises(InputError, match='trained with stride=2, not 1'):
        read_openstl(path, None, 1)


def test_what_a_file_cannot_tell_is_asked_for_by_name(openstl_file, tmp_path):
    with pytest.raises(InputError, match=r'1 \(4 channels\), 2 \(1 channel\): give --patch_size'):
        read_openstl(openstl_file(), None, 1)
    with pytest.raises(InputError, match='cannot have patch_size=3'):
        read_openstl(openstl_file(), 3, 1)
    with pytest.raises(InputError, match='Give --stride'):
        read_openstl(openstl_file(), 2, None)
    prefix = write_bundle(tmp_path / 'model.ckpt', google_weights(1, 2, 4))
    with pytest.raises(InputError, match='give --patch_size'):
        read_google(prefix, None, average=False)
    with pytest.raises(InputError, match='no moving averages of weights of google/e3d_lstm'):
        read_google(prefix, 2, average=True)


def test_tensors_that_do_not_fit_are_listed(openstl_file):
    def change(weights):
        del weights['cell_list.0.conv_h.0.conv3d.weight'.replace('conv_h', 'conv_gm')]
        weights['cell_list.0.conv_x.1.weight'] = np.zeros(3, '<f4')
        weights['cell_list.0.conv_new_cell.0.conv3d.weight'] = np.zeros((2, 2, 2, 3, 5), '<f4')
        return weights

    with pytest.raises(InputError) as error:
        read_openstl(openstl_file(change), 2, 1)
    assert 'conv_gm.0.conv3d.weight [8, 2, 2, 3, 3] is missing' in str(error.value)
    assert 'conv_x.1.weight [3] is too many' in str(error.value)
    assert 'is [2, 2, 2, 3, 5], not [2, 2, 2, 3, 3]' in str(error.value)


def test_weights_that_are_not_finite_are_refused(openstl_file):
    def change(weights):
        return weights | {'conv_last.weight': np.full((4, 2, 2, 1, 1), np.nan, '<f4')}

    with pytest.raises(InputError, match=r'conv_last\.weight holds numbers that are not finite'):
        read_openstl(openstl_file(change), 2, 1)
