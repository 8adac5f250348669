"""A run as an ONNX file, run by ONNX Runtime; `.ci/onnx` installs what that takes."""

import numpy as np
import pytest
from prediction_helpers import run_of

from e3d.data.sources.scales import Scale
from e3d.errors import RunError
from e3d.model import build_model
from e3d.prediction.forecast import forecast
from e3d.weights.exporting import export_run

pytest.importorskip('jax2onnx')
onnxruntime = pytest.importorskip('onnxruntime')
SMALL = {'layers': 2, 'features': 2, 'patch_size': 2}


@pytest.mark.parametrize(
    ('model', 'options'),
    [
        ('convlstm', {}),
        ('predrnn', {}),
        ('e3d_lstm', {'kernel_size': (2, 3, 3), 'depth': 2}),
        ('e3d_lstm', {'variant': 'refined', 'recall': 'in_place'}),
    ],
)
def test_onnx_runtime_gives_what_forecast_gives(tmp_path, model, options):
    run = run_of(build_model(model, **SMALL | options), size=(4, 6))
    run = run._replace(scale=Scale((3.0, 250.0), (-3 / 247, np.inf)))
    file = tmp_path / 'next.onnx'
    text = export_run(run, file, 'onnx', horizon=3, frames=2, batch=2)
    assert '[2, 2, 4 x 6 x 1] in, [2, 3, 4 x 6 x 1] out, in the unit of the data' in text
    clips = np.random.default_rng(0).integers(0, 300, (2, 2, 4, 6, 1)).astype(np.float32)
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    (found,) = session.run(['forecast'], {'frames': clips})
    expected = forecast(run, clips, 3)
    assert found.dtype == np.float32 and np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * 247)


def test_what_onnx_cannot_say_is_an_error_that_names_it(tmp_path, monkeypatch):
    import jax2onnx

    def fails(*arguments, **options):
        raise NotImplementedError("No plugins registered for primitive 'fft'")

    monkeypatch.setattr(jax2onnx, 'to_onnx', fails)
    run = run_of(build_model('convlstm', **SMALL), size=(4, 6))
    with pytest.raises(RunError, match=r"cannot express Run.*primitive 'fft'"):
        export_run(run, tmp_path / 'next.onnx', 'onnx')
    assert not (tmp_path / 'next.onnx').exists()
