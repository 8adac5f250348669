"""Weights become a run that is opened, forecasts and is written again."""

import functools
import json
import re

import chex
import jax
import numpy as np
import pytest
import safetensors.numpy
from foreign_forecasts import (
    convolve,
    google_cell,
    google_weights,
    openstl_weights,
)
from foreign_forecasts import (
    forecast as plain_forecast,
)
from training_helpers import tiny_config
from weight_fixtures import write_bundle, zip_file
from weights_readers_test import damage

from e3d.configuration import default_config, model_section
from e3d.data.sources.layouts import layout_of
from e3d.errors import InputError
from e3d.import_weights import main
from e3d.model import build_model
from e3d.model.needs import initialize
from e3d.prediction.forecast import forecast
from e3d.prediction.predict import predict_file
from e3d.runs.trained_run import Run, load_run, shapes_of_variables
from e3d.training.loop import evaluate, train
from e3d.weights.importing import import_run
from e3d.weights.tensor_file import read_run, write_run
from experiments import moving_actions

CHECKPOINT = google_weights(1, 2, 4)
FRAMES = np.random.default_rng(0).random((1, 4, 8, 8, 1), np.float32)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('imported')


@pytest.fixture(scope='module')
def config(folder):
    return tiny_config(folder, **{'optimizer.ema_decay': 0.5})


@pytest.fixture(scope='module')
def run(folder, config):
    prefix = write_bundle(folder / 'model.ckpt-80000', CHECKPOINT)
    account = import_run(prefix, folder / 'google', config, patch_size=2)
    assert 'weights of google/e3d_lstm' in account and 'frames of 8 x 8 x 1' in account
    return load_run(folder / 'google')


def test_the_run_forecasts_what_the_other_code_does(run, config):
    assert run.config.model.variant == 'published' and run.frame_shape == (8, 8, 1)
    assert run.config.train.to_dict() == config.train.to_dict()
    kernel, bias = (
        CHECKPOINT[f'generator/e3d-lstm/conv3d/{name}'].astype(float) for name in ('kernel', 'bias')
    )
    expected = plain_forecast(
        functools.partial(google_cell, CHECKPOINT), 1, 2,
        lambda top: convolve(top, kernel, ((0, 0),) * 3)[:, 0] + bias, FRAMES.astype(float), 2, 2,
    )[:, -2:]  # fmt: skip
    found = forecast(run, FRAMES[:, :2], 2)
    assert np.ptp(found) > 0.1
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), rtol=0, atol=1e-5)


def test_a_run_comes_back_from_its_file(run, folder):
    write_run(run, folder / 'run.safetensors')
    account = import_run(folder / 'run.safetensors', folder / 'copy')
    assert 'e3d_lstm after 0 updates' in account
    copy = load_run(folder / 'copy')
    assert copy.config.to_dict() == run.config.to_dict() and copy.frame_shape == run.frame_shape
    assert copy.scale == run.scale and copy.step == run.step
    jax.tree.map(np.testing.assert_array_equal, copy.params, run.params)
    with pytest.raises(InputError, match='holds a run already'):
        import_run(folder / 'run.safetensors', folder / 'copy')
    with pytest.raises(
        InputError, match='config of its own: leave out --config, --ema and --patch_size'
    ):
        import_run(folder / 'run.safetensors', folder / 'other', patch_size=2)
    assert not (folder / 'other').exists()


def test_collections_of_single_numbers_come_back(run, folder):
    """Those of MCnet say which of its networks the next update is for."""
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.model = model_section('mcnet')
    config.model.features = 1
    model, lengths = build_model(**config.model), layout_of(config.dataset).lengths
    shapes = shapes_of_variables(model, run.frame_shape, {}, lengths)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    params = variables.pop('params')
    written = run._replace(model=model, params=params, config=config, collections=variables)
    write_run(written, folder / 'mcnet.safetensors')
    chex.assert_trees_all_equal(read_run(folder / 'mcnet.safetensors').variables, written.variables)


def test_damaged_files_are_refused(run, folder):
    path = folder / 'damaged.safetensors'
    write_run(run, path)
    content, generator, rejected = path.read_bytes(), np.random.default_rng(0), 0
    header = 8 + int.from_bytes(content[:8], 'little')
    described = json.loads(content[8:header])
    for _ in range(100):
        path.write_bytes(damage(content[:header], generator) + content[header:])
        try:
            assert read_run(path).frame_shape == run.frame_shape
        except InputError as error:
            assert str(path) in str(error)
            rejected += 1
    assert rejected > 30
    described['__metadata__'] = {}
    header = json.dumps(described).encode()
    path.write_bytes(len(header).to_bytes(8, 'little') + header + content[-100:])
    with pytest.raises(InputError, match='cannot be read'):
        read_run(path)


@pytest.mark.parametrize(
    'stored',
    [
        {'step': np.inf},
        {'step': -1},
        {'frame_shape': [np.inf, 8, 1]},
        {'frame_shape': [-8, 8, 1]},
        {'scale': {'value_range': [0, 9], 'bounds': [np.nan, None]}},
    ],
)
def test_numbers_that_no_run_has_are_refused(run, folder, stored):
    path, changed = folder / 'run.safetensors', folder / 'changed.safetensors'
    write_run(run, path)
    with safetensors.safe_open(path, 'numpy') as file:
        described = json.loads(file.metadata()['e3d']) | stored
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    safetensors.numpy.save_file(tensors, changed, {'e3d': json.dumps(described)})
    with pytest.raises(InputError, match=r'changed.safetensors cannot be read'):
        read_run(changed)


def test_a_file_of_openstl_sets_the_frames_of_the_data(folder, config):
    path = folder / 'weights.pth'
    hyper = {'pre_seq_length': 4, 'aft_seq_length': 6}
    path.write_bytes(
        zip_file(
            openstl_weights(1, 2, 4, (6, 3)),
            lambda weights: {'state_dict': weights, 'hyper_parameters': hyper},
        )
    )
    account = import_run(path, folder / 'openstl', config, patch_size=2, stride=1)
    assert 'for frames of 12 x 6 x 1, 4 to 6: --mode=evaluate' in account
    run = load_run(folder / 'openstl')
    assert run.frame_shape == (12, 6, 1) and run.config.dataset.canvas == (12, 6)
    lengths = [run.config.dataset[key] for key in ('input_frames', 'output_frames')]
    assert lengths == [4, 6]  # those of the weights
    for options, message in (
        ({'frame_size': (8, 8)}, 'for frames of 12 x 6 alone'),
        ({'average': True}, '--ema is for checkpoints of google'),
    ):
        with pytest.raises(InputError, match=message):
            import_run(path, folder / 'no', config, patch_size=2, stride=1, **options)
    assert not (folder / 'no').exists()
    import_run(path, folder / 'own data', patch_size=2, stride=1)
    dataset = load_run(folder / 'own data').config.dataset
    assert (dataset.name, dataset.frame_size, dataset.channels) == ('video_folder', (12, 6), 1)


def test_data_with_a_unit_keep_it(run, folder):
    prefix = folder / 'model.ckpt-80000'
    rain = 50 * np.random.default_rng(0).random((60, 8, 8), np.float32)
    rain[0] = 0  # so that 0 is 0 of a picture as well, where its forecasts end
    np.save(folder / 'rain.npy', rain)
    config = default_config('grids')
    config.name = 'rain'
    config.dataset.update({'path': str(folder / 'rain.npy'), 'unit': 'mm/h', 'input_frames': 2})
    config.dataset.output_frames = 2
    with pytest.raises(InputError, match='frame_size'):
        import_run(prefix, folder / 'rain', config, patch_size=2)
    import_run(prefix, folder / 'rain', config, patch_size=2, frame_size=(8, 8))
    rained = load_run(folder / 'rain')
    assert rained.scale.unit == 'mm/h' and rained.scale.value_range[1] > 49
    scaled = rained.scale.from_unit(rain[-2:, ..., None])
    expected = rained.scale.to_unit(forecast(run, scaled, 2))
    np.testing.assert_allclose(forecast(rained, rain[-2:], 2), expected, rtol=1e-5)
    predict_file(rained, folder / 'rain.npy', folder / 'next.npy')
    np.testing.assert_allclose(np.load(folder / 'next.npy'), expected, rtol=1e-5)
    rain[3, 4, 5] = np.nan
    np.save(folder / 'rain.npy', rain)
    with pytest.raises(InputError, match='with valid beside them'):
        import_run(prefix, folder / 'no', config, patch_size=2, frame_size=(8, 8))
    assert not (folder / 'no').exists()


def test_a_recognizer_is_said_to_recognize(folder):
    config = moving_actions.get_config('small')
    config.model.update({'layers': 1, 'features': 2, 'kernel_size': (2, 3, 3), 'window': 2})
    model = build_model(**config.model)
    variables = jax.jit(lambda: initialize(model, jax.random.key(0), (8, 8, 1)))()
    write_run(Run(model, variables['params'], config, (8, 8, 1), 0), folder / 'own.safetensors')
    account = import_run(folder / 'own.safetensors', folder / 'recognizer')
    assert '--mode=evaluate and --mode=recognize work with it' in account


def test_the_command_line(run, folder, capsys):
    source, workdir = str(folder / 'model.ckpt-80000.index'), f'--workdir={folder / "own"}'
    assert main([source, workdir, '--patch_size=2']) == 0
    assert 'for frames of 64 x 64 x 1' in capsys.readouterr().out
    assert load_run(folder / 'own').config.dataset.name == 'video_folder'
    assert main([source, workdir, '--patch_size=2']) == 2
    assert 'holds a run already' in capsys.readouterr().err
    assert main([source, f'--workdir={folder / "no"}', '--patch_size=2', '--config.train.x=1']) == 2
    assert 'there is no such key' in capsys.readouterr().err
    assert main([str(folder / 'nothing.pth'), f'--workdir={folder / "no"}']) == 2
    assert 'nothing.pth does not exist' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['--checkpoint=best'], "'--checkpoint=best' is no flag of e3d.import_weights"),
        (['--overwrite'], "'--overwrite' is no flag"),
        (['--horizon', '3'], "'--horizon' is no flag"),
        (['--config.model.layers=7'], 'model.layers: the weights 1, given 7'),
        (['--config.model.history=5'], 'model.history: the weights None, given 5'),
        (['--config.model.memory=recompute'], r"(?s)weights 'save', given 'recompute'.*Every use"),
        (['--config.model.name=convlstm'], "model.name: the weights 'e3d_lstm', given 'convlstm'"),
        (
            ['--config.dataset.frame_size=(8, 8)', '--frame_size=4,4'],
            r'dataset.frame_size: the weights \(4, 4\), given \(8, 8\)',
        ),
    ],
)
def test_what_would_change_nothing_is_refused(run, folder, capsys, given, message):
    source, workdir = str(folder / 'model.ckpt-80000'), folder / 'refused'
    assert main([source, f'--workdir={workdir}', '--patch_size=2', *given]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not workdir.exists()


def test_values_that_the_weights_do_not_tell_are_taken(run, folder):
    source, workdir = str(folder / 'model.ckpt-80000'), folder / 'values'
    given = ['--config.model.layers=1', '--config.dataset.frame_size=(8, 8)']
    given += ['--config.train.steps', '3', '--config.optimizer.clip_norm=None']
    assert main([source, f'--workdir={workdir}', '--patch_size=2', *given]) == 0
    found = load_run(workdir)
    assert found.config.train.steps == 3 and found.frame_shape[:2] == (8, 8)


def test_what_is_refused_can_be_had_as_it_is_said(run, folder, config):
    values = {'model.precision': 'fast', 'model.memory': 'recompute'}
    changed = run.config.copy_and_resolve_references()
    changed.update_from_flattened_dict(values)
    assert evaluate(changed, folder / 'google')['num_sequences'] == 5
    changed.update_from_flattened_dict({'model.history': 5, 'model.dtype': 'bfloat16'})
    changed.update_from_flattened_dict({'train.steps': 1, 'init_from': str(folder / 'google')})
    train(changed, folder / 'other model')
    assert load_run(folder / 'other model').config.model.history == 5
