"""What enters models beside the frames that they forecast."""

import jax
import numpy as np
import pytest
from training_helpers import INPUT, LENGTH, SHAPE, random_frames

from e3d.data.sources.layouts import Layout
from e3d.errors import InputError
from e3d.model import E3DLSTM, build_model
from e3d.model.beside import (
    channels_beside,
    check_losses,
    enter_at_once,
    enter_in_steps,
    widths_beside,
)
from e3d.model.needs import Needs, initialize, needs_of
from e3d.tasks.layout_forecast import LayoutForecast

AHEAD = LENGTH - INPUT


def beside_of(frames, seed=0):
    random = np.random.default_rng(seed)
    valid = random.random(frames.shape) < 0.6
    valid[:, :INPUT, 0, 0] = False  # a cell that nothing observed knows of
    wide = (*frames.shape[:-1], 2)
    return {
        'valid': valid,
        'known': random.random(wide, np.float32),
        'others': random.random((*frames.shape[:-1], 1), np.float32),
    }


def test_nothing_beside_changes_nothing():
    frames, mask = random_frames(2)[:, :-1], np.zeros((2, AHEAD - 1), bool)
    entering = enter_in_steps(frames, mask, INPUT, {})
    assert entering.frames is frames and entering.truth_mask is mask
    assert enter_at_once(frames, 1, {}) is frames


def test_what_enters_while_it_forecasts():
    frames = random_frames(2)
    beside = beside_of(frames)
    mask = np.array([[True, False], [False, False]])
    given, enters = map(np.asarray, enter_in_steps(frames[:, :-1], mask, INPUT, beside))
    seen = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)[:, :, None, None, None]
    valid, ever = beside['valid'][:, :-1], beside['valid'][:, :INPUT].any(1, keepdims=True)
    np.testing.assert_array_equal(given[..., :1], np.where(valid & seen, frames[:, :-1], 0))
    np.testing.assert_array_equal(given[..., 1:2], np.where(seen, valid, ever))
    np.testing.assert_array_equal(given[..., 2:4], beside['known'][:, 1:])
    np.testing.assert_array_equal(given[..., 4:], np.where(seen, beside['others'][:, :-1], 0))
    assert enters[..., 1:].all()
    np.testing.assert_array_equal(enters[..., :1], (seen | ~ever)[:, INPUT:])


def test_a_model_that_sees_all_at_once_is_told_what_is_known_ahead():
    frames = random_frames(2, length=7)
    beside = beside_of(frames)
    given = np.asarray(enter_at_once(frames[:, :4], 3, beside))
    assert given.shape[-1] == 1 + channels_beside(widths_beside(beside), Needs(future_only=True))
    np.testing.assert_array_equal(given[:, :, ..., 2:4], beside['known'][:, :4])
    np.testing.assert_array_equal(given[:, :3, ..., 4:6], beside['known'][:, 4:])
    np.testing.assert_array_equal(given[:, 3, ..., 4:6], beside['known'][:, -1])
    with pytest.raises(InputError, match='at most as many as it sees'):
        enter_at_once(frames[:, :3], 4, beside)


SMALL = {
    'e3d_lstm': {'layers': 1, 'features': 2, 'patch_size': 2, 'kernel_size': (2, 1, 1)},
    'cdna': {'features': 4, 'pad_frames': True},  # writes its step out
    'st_resnet': {'layers': 0, 'features': 2},  # sees its input at once
}


@pytest.mark.parametrize('name', SMALL)
def test_a_forecast_depends_on_what_is_known_ahead_and_on_no_hidden_value(name):
    model, layout = build_model(name, **SMALL[name]), Layout((3, 2))
    frames = random_frames(1, length=layout.length)
    beside = beside_of(frames)
    shape = (*SHAPE[:2], SHAPE[2] + channels_beside(widths_beside(beside), needs_of(model)))
    create = jax.jit(initialize, static_argnums=(0, 2, 3))
    variables = create(model, jax.random.key(0), shape, (3, 2))
    seen = slice(None, layout.input_frames)
    forecast = jax.jit(LayoutForecast(model, layout, (-np.inf, np.inf)))
    plain = forecast(variables, {'frames': frames[:, seen], **beside})
    assert plain.shape == (1, 2, *SHAPE)

    hidden = np.where(beside['valid'], frames, 1e30)  # and nothing of the frames ahead is seen
    beside['valid'][:, layout.input_frames :] ^= True
    beside['others'][:, layout.input_frames :] = np.nan
    again = forecast(variables, {'frames': hidden[:, seen], **beside})
    np.testing.assert_array_equal(again, plain)

    beside['known'][:, layout.input_frames] += 1
    assert np.abs(forecast(variables, {'frames': frames[:, seen], **beside}) - plain).max() > 1e-6


def test_the_mask_of_each_value_is_that_of_frames_where_it_is_the_same():
    model = E3DLSTM(**SMALL['e3d_lstm'])
    frames = random_frames(2)[:, :-1]
    variables = jax.jit(initialize, static_argnums=(0, 2))(model, jax.random.key(0), SHAPE)
    mask = np.array([[True, False], [False, True]])
    each = np.broadcast_to(mask[:, :, None, None, None], (2, AHEAD - 1, *SHAPE))
    expected, found = (
        model.apply(variables, frames, AHEAD, truth_mask) for truth_mask in (mask, each)
    )
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match='shape of a frame'):
        model.apply(variables, frames, AHEAD, each[..., :1, :])


def test_a_model_with_losses_on_whole_frames_is_told_from_the_others():
    check_losses('mcnet', Needs(losses=True), {})
    with pytest.raises(InputError, match=r"model.name='mcnet' has losses of its own .* have valid"):
        check_losses('mcnet', Needs(losses=True), {'valid': None})
