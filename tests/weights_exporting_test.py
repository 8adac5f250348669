"""A run as a file for others: a program that runs without this library, and parameters."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prediction_helpers import FadingSum, run_of

from e3d import export
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.kernels import triton
from e3d.model import build_model
from e3d.model.needs import initialize
from e3d.prediction.forecast import forecast
from e3d.weights import exporting
from e3d.weights.exporting import export_run

HORIZON = 3
# Run in a process that cannot import this library, nor Flax.
CALL = """
import sys
sys.modules |= {'e3d': None, 'flax': None}
import numpy, jax.export
exported = jax.export.deserialize(bytearray(open(sys.argv[1], 'rb').read()))
arrays = dict(numpy.load(sys.argv[2]))
numpy.savez(sys.argv[3], **{name: exported.call(array) for name, array in arrays.items()})
"""


@pytest.fixture(scope='module')
def run():
    options = {'layers': 2, 'features': 2, 'kernel_size': (2, 3, 3), 'patch_size': 2}
    run = run_of(build_model('e3d_lstm', **options), size=(4, 6))
    return run._replace(scale=Scale((3.0, 250.0), (-3 / 247, np.inf)))


def call_elsewhere(folder, program, **clips):
    """What a program makes of clips, in a process of its own."""
    files = [str(folder / name) for name in ('program', 'clips.npz', 'forecasts.npz')]
    pathlib.Path(files[0]).write_bytes(program.read_bytes())
    np.savez(files[1], **clips)
    subprocess.run([sys.executable, '-c', CALL, *files], check=True, cwd=folder)
    return dict(np.load(files[2]))


def test_the_program_gives_the_bytes_of_forecast_and_needs_only_jax(run, tmp_path):
    pytest.importorskip('flatbuffers', reason='jax.export writes with it')
    program = tmp_path / 'forecast.stablehlo'
    text = export_run(run, program, 'stablehlo', horizon=HORIZON, platforms=('cpu', 'tpu'))
    assert '[any, 3, 4 x 6 x 1] in, [any, 3, 4 x 6 x 1] out, in the unit of the data' in text
    clips = np.random.default_rng(0).integers(0, 300, (3, 3, 4, 6, 1)).astype(np.float32)
    found = call_elsewhere(tmp_path, program, three=clips, one=clips[:1])
    for name, expected in (
        ('three', forecast(run, clips, HORIZON)),
        ('one', forecast(run, clips[:1], HORIZON)),
    ):
        assert found[name].dtype == np.float32 and np.ptp(expected) > 1
        assert found[name].tobytes() == expected.tobytes()


def test_fewer_frames_and_a_fixed_batch(run, tmp_path):
    jax_export = pytest.importorskip('jax.export')
    pytest.importorskip('flatbuffers', reason='jax.export writes with it')
    export_run(run, tmp_path / 'x', 'stablehlo', horizon=1, frames=2, batch=2)
    exported = jax_export.deserialize(bytearray((tmp_path / 'x').read_bytes()))
    clips = np.random.default_rng(0).integers(0, 300, (2, 2, 4, 6, 1)).astype(np.float32)
    expected = forecast(run, clips, 1)
    np.testing.assert_array_equal(exported.call(clips), expected)
    with pytest.raises(ValueError, match='shape'):
        exported.call(clips[:1])


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('cdna', {'features': 2}),
        ('simvp', {'encoder_features': 2, 'features': 8, 'layers': 2}),
        ('st_resnet', {'features': 2, 'layers': 1}),
    ],
)
def test_the_number_of_clips_is_open_and_the_horizon_longer(tmp_path, name, options):
    jax_export = pytest.importorskip('jax.export')
    pytest.importorskip('flatbuffers', reason='jax.export writes with it')
    run = run_of(FadingSum())._replace(model=build_model(name, **options))
    variables = initialize(run.model, jax.random.key(0), run.frame_shape, (3, 2))
    collections = {name: tree for name, tree in variables.items() if name != 'params'}
    run = run._replace(params=variables['params'], collections=collections)
    export_run(run, tmp_path / 'x', 'stablehlo', horizon=5)
    exported = jax_export.deserialize(bytearray((tmp_path / 'x').read_bytes()))
    assert str(exported.out_avals[0].shape) == '(batch, 5, 8, 8, 1)'


@pytest.mark.parametrize('platforms', [('cuda',), ('cpu', 'cuda')])
def test_no_kernel_of_this_machine_is_in_a_program(tmp_path, monkeypatch, platforms):
    """Where an NVIDIA GPU is, a fixed batch could have kernels that no file may hold."""
    monkeypatch.setattr(triton, '_capability', lambda: 90)
    options = {'layers': 1, 'features': 16, 'kernel_size': (1, 1, 1), 'patch_size': 4, 'depth': 1}
    run = run_of(build_model('e3d_lstm', **options, recall='in_place'), size=(16, 16))
    kept = jnp.zeros((1, 16, 16)), jnp.zeros((1, 2, 16, 16))
    assert triton.fits(*kept)
    program = tmp_path / 'forecast.stablehlo'
    export_run(run, program, 'stablehlo', horizon=2, batch=1, platforms=platforms)
    assert b'triton' not in program.read_bytes()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'format': 'torch'}, "must be one of 'safetensors', 'stablehlo', 'onnx'"),
        ({'format': 'onnx', 'batch': 'any'}, "batch='any': must be an integer >= 1"),
        ({'horizon': 0}, 'horizon=0: must be an integer >= 1'),
        ({'frames': 4}, 'frames=4: must be an integer >= 1 and <= 3'),
        ({'batch': 'many'}, "batch='many': must be an integer >= 1"),
        ({'platforms': ('gpu',)}, 'must be some of cpu, cuda, rocm, tpu'),
    ],
)
def test_what_cannot_be_exported_is_refused_before_any_work(run, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        export_run(run, tmp_path / 'file', **({'format': 'stablehlo'} | options))
    assert not (tmp_path / 'file').exists()


@pytest.mark.parametrize(
    ('format', 'options', 'message'),
    [
        (
            'safetensors',
            {'horizon': 3},
            r"horizon=3 is not for .*take format='stablehlo' or 'onnx'",
        ),
        ('safetensors', {'frames': 2}, 'frames=2 is not for'),
        ('safetensors', {'batch': 'any'}, "batch='any' is not for"),
        ('safetensors', {'platforms': ('cpu',)}, r"take format='stablehlo'\."),
        ('onnx', {'platforms': ('cuda',)}, r"platforms=\('cuda',\) is not for format='onnx'"),
    ],
)
def test_options_of_other_formats_are_refused(run, tmp_path, format, options, message):
    with pytest.raises(InputError, match=message):
        export_run(run, tmp_path / 'file', format, **options)
    assert not (tmp_path / 'file').exists()


def test_what_needs_more_than_frames_is_no_program(tmp_path):
    model = build_model('st_resnet', layers=1, features=2, period=1)
    run = run_of(FadingSum())._replace(model=model)
    run.config.model.name = 'st_resnet'
    with pytest.raises(InputError, match='needs period beside the frames'):
        export_run(run, tmp_path / 'file', 'stablehlo')


@pytest.mark.parametrize(
    ('format', 'package'), [('stablehlo', 'flatbuffers'), ('onnx', 'jax2onnx')]
)
def test_a_package_that_is_missing_is_named(run, tmp_path, monkeypatch, format, package):
    monkeypatch.setattr(exporting.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=f'pip install {package}'):
        export_run(run, tmp_path / 'file', format)


def test_the_command_line(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, 'load_run', lambda workdir, checkpoint: run)
    arguments = ['--workdir=x', f'--output={tmp_path / "run.safetensors"}']
    assert export.main(arguments) == 0
    assert 'the metadata have its config' in capsys.readouterr().out
    assert export.main(arguments) == 2
    assert 'exists already' in capsys.readouterr().err
    assert export.main([*arguments, '--overwrite']) == 0
    program = [f'--output={tmp_path / "next.stablehlo"}', '--platforms=cuda,nonsense']
    assert export.main(['--workdir=x', *program]) == 2
    assert "platforms=['cuda', 'nonsense'] is not for" in capsys.readouterr().err
    assert export.main(['--workdir=x', *program, '--format=stablehlo']) == 2
    assert 'must be some of cpu' in capsys.readouterr().err
    assert not (tmp_path / 'next.stablehlo').exists()
    monkeypatch.undo()
    assert export.main(['--workdir=x', f'--output={tmp_path / "other"}']) == 2
    assert 'no trained run' in capsys.readouterr().err
