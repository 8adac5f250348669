"""Files of torchvision's video networks as the beginning of a training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from e3d.errors import InputError
from e3d.model import build_model
from e3d.runs.state import TrainState
from e3d.runs.transfer import begin_from, check_beginning
from e3d.weights.readers.pytorch_files import read_state_dict
from e3d.weights.readers.torchvision import read_torchvision
from tests.plain_torchvision import NETWORKS, Weights
from tests.weight_fixtures import zip_file

CLASSES, FEATURES = 5, 4
MEAN, DEVIATION = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
CLIPS = np.random.default_rng(1).random((2, 16, 32, 32, 3), np.float32)


def model_of(name, classes=CLASSES, features=FEATURES, **fields):
    fields = {'classes': classes, 'features': features, 'clip_frames': 16} | fields
    return build_model(name, **fields)


def shapes_of(model):
    frames = jax.ShapeDtypeStruct((1, 2, 32, 32, 3), jnp.float32)
    return dict(jax.eval_shape(model.init, jax.random.key(0), frames))


def file_of(name, path, weights=None, features=FEATURES):
    if weights is None:
        weights = Weights()
        clips = jax.ShapeDtypeStruct((1, 3, 16, 32, 32), jnp.float32)
        jax.eval_shape(lambda x: NETWORKS[name](weights, x, name, CLASSES, features), clips)
    path.write_bytes(zip_file({key: np.asarray(value) for key, value in weights.items()}))
    return path


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.slow
def test_the_scores_are_those_of_a_plain_reading(name, tmp_path):
    weights = Weights()
    clips = CLIPS if name == 's3d' else CLIPS[:, :4, :12, :16]
    normal = (clips - np.float32(MEAN)) / np.float32(DEVIATION)
    expected = NETWORKS[name](weights, normal.transpose(0, 4, 1, 2, 3), name, CLASSES, FEATURES)
    model = model_of(name, clip_frames=clips.shape[1])
    variables = read_torchvision(file_of(name, tmp_path / 'w.pth', weights), shapes_of(model))
    scores = jax.jit(model.apply)(variables, clips).scores
    assert np.std(scores) > 0.05
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize('name', NETWORKS)
def test_every_tensor_has_its_place(name, tmp_path):
    variables = shapes_of(model_of(name))
    path = file_of(name, tmp_path / 'w.pth')
    found = read_torchvision(path, variables)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, variables)
    if name == 'r3d':
        tensors = read_state_dict(path).tensors
        kernel = found['params']['block_3_0_first']['Conv_0']['kernel']
        assert kernel[0, 1, 2, 3, 5] == tensors['layer3.0.conv1.0.weight'][5, 3, 0, 1, 2]
        assert found['params']['head']['scores']['kernel'][6, 2] == tensors['fc.weight'][2, 6]


def test_a_training_begins_with_them_but_for_a_head_of_other_classes(tmp_path, capsys):
    path = file_of('mc3', tmp_path / 'mc3.pth')
    variables = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes_of(model_of('mc3', 7))
    )
    params, collections = variables.pop('params'), variables
    state = TrainState(
        step=np.zeros((), np.int32),
        params=params,
        ema_params=None,
        opt_state=optax.sgd(0.1).init(params),
        collections=collections,
    )
    check_beginning(tmp_path, str(path))
    begun = begin_from(state, str(path))
    said = capsys.readouterr().err
    assert 'newly initialized are head/scores/bias, head/scores/kernel' in said
    found = read_torchvision(path, shapes_of(model_of('mc3')))
    assert np.all(np.asarray(begun.params.pop('head')['scores']['kernel']) == 0.5)
    found['params'].pop('head')
    jax.tree.map(np.testing.assert_array_equal, begun.params, found['params'])
    jax.tree.map(
        np.testing.assert_array_equal,
        dict(begun.collections),
        {'batch_stats': found['batch_stats']},
    )
    with pytest.raises(InputError, match='come without the optimizer'):
        begin_from(state, str(path), keep_optimizer=True)


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (model_of('c3d'), 'fit the models r3d, mc3, r2plus1d and s3d; this one has'),
        (model_of('mc3', features=8), r'running_mean is \[4\], not \[8\]'),
        (model_of('r3d', residual_layers=34), r'layer1.2.conv1.1.running_mean \[4\] is missing'),
        (
            model_of('r2plus1d'),
            r'layer1.0.conv1.0.1.running_mean \[9\] is missing\n(.*\n)*Take the model',
        ),
    ],
)
def test_weights_of_another_network_are_listed(model, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_torchvision(file_of('mc3', tmp_path / 'mc3.pth'), shapes_of(model))


def test_what_is_no_file_of_weights_is_said_before_anything_is_trained(tmp_path):
    with pytest.raises(InputError, match=r'nothing.pth does not exist'):
        check_beginning(tmp_path, str(tmp_path / 'nothing.pth'))
    (tmp_path / 'text.pth').write_text('weights')
    with pytest.raises(InputError, match=r'text.pth cannot be read'):
        check_beginning(tmp_path, str(tmp_path / 'text.pth'))
