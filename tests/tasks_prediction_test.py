import jax
import numpy as np
from training_helpers import PLAIN, SHAPE, TinyForecaster, random_frames

from e3d.data.sources.layouts import Layout
from e3d.parallel import devices
from e3d.tasks.prediction import ForecastEvaluator, LayoutForecast

MODEL = TinyForecaster()
BOUNDS = (0.0, 1.0)
PARAMS = MODEL.init(jax.random.key(0), np.zeros((1, 1, *SHAPE)), 1)['params']


def test_plain_forecast_is_that_of_the_model():
    seen = random_frames(2)[:, : PLAIN.input_frames]
    expected = MODEL.apply({'params': PARAMS}, seen, PLAIN.output_frames)[:, -PLAIN.output_frames :]
    forecast = LayoutForecast(MODEL, PLAIN, BOUNDS)({'params': PARAMS}, {'frames': seen})
    np.testing.assert_allclose(forecast, np.clip(expected, 0, 1), rtol=1e-6)


def test_the_copy_test_hides_what_is_forecast_in_between():
    layout = Layout((2, 2, 1, 3))
    seen = random_frames(2, length=layout.input_frames)
    forecast = LayoutForecast(MODEL, layout, BOUNDS)({'params': PARAMS}, {'frames': seen})
    assert forecast.shape == (2, 3, *SHAPE)
    for index, matters in enumerate([False, False, False, False, True]):
        changed = seen.copy()
        changed[:, index] = 1 - changed[:, index]
        other = LayoutForecast(MODEL, layout, BOUNDS)({'params': PARAMS}, {'frames': changed})
        # The tiny model has no memory: after an observed frame nothing before it matters.
        assert (np.abs(other - forecast).max() > 1e-4) == matters, index


def test_the_own_forecast_enters_where_nothing_is_observed():
    layout = Layout((2, 2, 1, 3))
    seen = random_frames(2, length=layout.input_frames)
    between = MODEL.apply({'params': PARAMS}, seen[:, :2], 3)[:, -3:]
    chained = MODEL.apply({'params': PARAMS}, seen[:, 4:], 3)
    whole = MODEL.apply(
        {'params': PARAMS},
        np.pad(seen, [(0, 0), (0, 2), (0, 0), (0, 0), (0, 0)]),
        layout.later_frames,
        np.broadcast_to(layout.entering, (2, layout.later_frames - 1)),
    )
    np.testing.assert_allclose(whole[:, 1:4], between, rtol=1e-6)
    np.testing.assert_allclose(whole[:, -3:], chained, rtol=1e-6)


def test_the_forecast_is_cut_only_at_hard_bounds():
    seen = 3.0 * random_frames(2)[:, : PLAIN.input_frames]
    params = jax.tree.map(lambda leaf: 4.0 * leaf, PARAMS)
    expected = MODEL.apply({'params': params}, seen, PLAIN.output_frames)[:, -PLAIN.output_frames :]
    assert expected.min() < -1.1 and expected.max() > 0.1
    forecast = LayoutForecast(MODEL, PLAIN, (-np.inf, np.inf))({'params': params}, {'frames': seen})
    np.testing.assert_allclose(forecast, expected, rtol=1e-6)
    forecast = LayoutForecast(MODEL, PLAIN, (-0.05, np.inf))({'params': params}, {'frames': seen})
    np.testing.assert_allclose(forecast, np.maximum(expected, -0.05), rtol=1e-6)


def test_an_equal_forecast_is_not_compiled_again():
    seen = random_frames(4)[:, : PLAIN.input_frames]
    traced = []

    class Counted(TinyForecaster):
        def __call__(self, frames, output_frames, truth_mask=None):
            traced.append(frames.shape)
            return super().__call__(frames, output_frames, truth_mask)

    mesh, compiled = devices.local_mesh(), []
    for features in (3, 3, 5, 3):  # of models that are made again for each evaluation
        model = Counted(features)
        params = model.init(jax.random.key(0), np.zeros((1, 1, *SHAPE)), 1)['params']
        before = len(traced)
        apply = devices.parallel_apply(LayoutForecast(model, PLAIN, BOUNDS), mesh, 4)
        apply(devices.place_state({'params': params}, mesh), {'frames': seen})
        compiled.append(len(traced) > before)
    assert compiled == [True, False, True, False]


def test_an_error_that_is_undefined_is_never_the_least():
    evaluator = object.__new__(ForecastEvaluator)
    assert evaluator.error({'mse': None}) == np.inf
    assert evaluator.error({'mse': 1.0}) == 1.0
    together = {'crps': 0.5, 'crps_fair': None}
    assert evaluator.error({'mse': 1.0, 'ensemble': together}) == np.inf
