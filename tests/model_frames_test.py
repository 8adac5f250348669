"""Frames that a user gives to a model are scaled by their type, or rejected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d import E3DLSTM, E3DRecognizer, InputError, observe, start
from e3d.model.frames import scale_frames

LEVELS = np.random.default_rng(0).integers(0, 256, (4, 5, 1), np.uint8)


@pytest.mark.parametrize(
    ('frames', 'expected'),
    [
        (LEVELS, LEVELS / np.float32(255)),
        (jnp.asarray(LEVELS), LEVELS / np.float32(255)),
        (LEVELS > 99, (LEVELS > 99).astype(np.float32)),
        (LEVELS / 255.0, LEVELS / np.float32(255)),
        (np.float16([0.25, 1]), [0.25, 1]),
        (jnp.asarray([0.25, 1], jnp.bfloat16), [0.25, 1]),
        ([0.25, 1.00001, -0.00001], [0.25, 1, 0]),
        (np.uint16([0, 13107, 65535]), np.float32([0, 0.2, 1])),
        (np.uint8([0, 1]), np.float32([0, 1 / 255])),  # a dark frame of a stream
        (np.ma.masked_array(np.float32([0.5, 0.25]), mask=[0, 0]), [0.5, 0.25]),
    ],
)
def test_types_tell_the_scale(frames, expected):
    found = scale_frames(frames)
    assert jnp.issubdtype(found.dtype, jnp.floating)
    np.testing.assert_array_equal(found, np.asarray(expected, np.float32))


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        (LEVELS.astype(np.float32), r'values from 15 to 248; floats must lie in \[0, 1\]'),
        (np.float32([-0.5, 0.5]), 'from -0.5 to 0.5'),
        (np.float32([0.5, np.nan, np.inf]), 'NaN or infinite, 2 of them'),
        (LEVELS.astype(np.int64), 'dtype int64'),
        (LEVELS.astype(np.complex64), 'dtype complex64'),
        (['a', 'b'], 'has dtype'),
        ([[1.0], [1.0, 2.0]], 'cannot be made an array'),
        (np.ma.masked_array(np.float32([0.5, 0.25]), mask=[0, 1]), '1 masked values'),
    ],
)
def test_what_has_no_meaning_is_rejected(frames, message):
    with pytest.raises(InputError, match=f'frame .*{message}'):
        scale_frames(frames, 'frame')


def test_under_tracing_the_type_is_checked():
    np.testing.assert_allclose(jax.jit(scale_frames)(LEVELS), LEVELS / 255, rtol=1e-6)
    with pytest.raises(InputError, match='int32'):
        jax.jit(scale_frames)(LEVELS.astype(np.int32))


@pytest.fixture(scope='module')
def recognizer():
    model = E3DRecognizer(
        classes=3, features=2, layers=1, kernel_size=(2, 3, 3), window=2, history=2,
        classifier_features=4, classifier_hidden=4,
    )  # fmt: skip
    shape = (1, 1, *LEVELS.shape)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.zeros(shape))['params']


def test_observe_takes_bytes_and_floats_alike(recognizer):
    model, params = recognizer
    state = start(model, params, LEVELS.shape)
    expected = observe(model, params, state, (LEVELS / 255).astype(np.float32))[1]
    for frame in (LEVELS, jnp.asarray(LEVELS), LEVELS / 255.0):
        np.testing.assert_array_equal(observe(model, params, state, frame)[1], expected)
    compiled = jax.jit(lambda state, frame: observe(model, params, state, frame))
    np.testing.assert_allclose(compiled(state, LEVELS)[1], expected, atol=1e-6)


@pytest.mark.parametrize(
    'frame', [LEVELS * 1.0, np.full(LEVELS.shape, np.nan), LEVELS.astype(np.int16)]
)
def test_observe_rejects_the_rest(recognizer, frame):
    model, params = recognizer
    with pytest.raises(InputError, match='frame '):
        observe(model, params, start(model, params, LEVELS.shape), frame)


def test_a_growing_memory_under_jit_is_explained(recognizer):
    model, params = recognizer
    model = model.clone(history=None)
    state = start(model, params, LEVELS.shape)
    with pytest.raises(InputError, match='history=None'):
        jax.jit(lambda state: observe(model, params, state, LEVELS))(state)


def test_models_take_bytes_as_what_they_stand_for(recognizer):
    model = E3DLSTM(layers=1, features=2, kernel_size=(2, 3, 3), patch_size=1)
    clip = LEVELS[None, None]
    params = jax.jit(model.init, static_argnums=2)(jax.random.key(0), clip / 255, 1)
    apply = jax.jit(model.apply, static_argnums=2)
    expected = apply(params, (clip / 255).astype(np.float32), 2)
    np.testing.assert_allclose(apply(params, clip, 2), expected, atol=1e-6)
    with pytest.raises(InputError, match=r'int64|int32'):
        model.apply(params, clip.astype(np.int64), 2)
    model, params = recognizer
    apply = jax.jit(model.apply)
    expected = apply({'params': params}, (clip / 255).astype(np.float32)).scores
    np.testing.assert_allclose(apply({'params': params}, clip).scores, expected, atol=1e-6)
