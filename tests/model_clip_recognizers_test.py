"""The published networks over whole clips: their sizes, what they see, how they are trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.errors import InputError
from e3d.model import C3D, I3D, MC3, P3D, R3D, S3D, R2Plus1D, build_model, start
from e3d.model.clip_layers import Head, SlidingHead
from e3d.model.clip_recognizer import ClipRecognizer, resample_fronts
from e3d.model.dropping import Dropout
from e3d.model.needs import Training
from e3d.model.s3d import Gate, identity_in_time
from e3d.model.video_resnet import middle_features

RANDOM = np.random.default_rng(0)
TINY = {'classes': 5, 'features': 4, 'clip_frames': 16}
SIZES = [
    (C3D(), 112, 78_163_753),
    (C3D(487), 112, 79_991_015),
    (I3D(), 224, 12_322_009),
    (I3D(400), 224, 12_689_984),
    (S3D(), 224, 7_952_073),
    (S3D(400), 224, 8_320_048),
    (S3D(400, form='slim'), 224, 8_299_520),
    (S3D(400, form='slim', stem=7), 224, 8_337_152),
    (S3D(400, form='slim', gates=True), 224, 9_518_848),
    (P3D(), 160, 25_009_641),
    (P3D(400), 160, 25_745_232),
    (R2Plus1D(), 112, 31_321_158),
    (R2Plus1D(400), 112, 31_505_325),
    (R2Plus1D(400, middle='paper'), 112, 33_370_839),
    (R3D(), 112, 33_187_305),
    (R3D(400), 112, 33_371_472),
    (R3D(400, residual_layers=34), 112, 63_681_104),
    (MC3(), 112, 11_511_273),
    (MC3(400), 112, 11_695_440),
]


def variables_of(model, frames):
    return jax.jit(model.init)(jax.random.key(0), frames)


@pytest.mark.parametrize(
    ('model', 'side', 'expected'), SIZES, ids=lambda value: str(value).split('(')[0]
)
def test_number_of_parameters(model, side, expected):
    frames = jax.ShapeDtypeStruct((1, 2, side, side, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), frames)['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_channels_between_space_and_time():
    pairs = [(64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    assert [middle_features(*pair) for pair in pairs] == [144, 230, 288, 460, 576, 921, 1152]


def test_front_parts_are_resampled_evenly():
    frames = np.arange(10.0)[None, :, None, None, None]
    parts = resample_fronts(frames, jnp.array([[2, 4, 8, 10]]), 4)[:, :, 0, 0, 0]
    np.testing.assert_array_equal(parts, [[0, 0, 1, 1], [0, 1, 2, 3], [0, 2, 4, 6], [0, 2, 5, 7]])


class Means(ClipRecognizer):
    """Scores that tell which frames were seen."""

    def prepare(self, frames):
        return frames

    def score(self, clips, training=None):
        return jnp.stack([clips.mean(axis=(1, 2, 3, 4)), clips[:, -1].mean(axis=(1, 2, 3))], -1)


def test_no_later_frame_reaches_the_scores():
    model, frames = Means(2, clip_frames=4), RANDOM.random((2, 8, 5, 6, 1), np.float32)
    lengths = jnp.array([[2, 4], [3, 8]])
    scores = model.apply({}, frames, lengths=lengths).scores
    assert scores.shape == (2, 2, 2)
    cut = frames.copy()
    cut[0, 4:] = cut[1, 8:] = 1
    np.testing.assert_array_equal(model.apply({}, cut, lengths=lengths).scores, scores)
    cut[0, 3] = 1
    changed = np.asarray(model.apply({}, cut, lengths=lengths).scores != scores)
    assert changed[0, 1].all() and not changed[0, 0].any() and not changed[1].any()
    for index in range(2):
        one = model.apply({}, frames, lengths=lengths[:, index]).scores
        np.testing.assert_array_equal(one, scores[:, index])
    np.testing.assert_array_equal(
        model.apply({}, frames, 3).scores, model.apply({}, frames, lengths=jnp.array([6, 6])).scores
    )


def test_gray_frames_are_equal_colors():
    gray = RANDOM.random((1, 4, 5, 6, 1), np.float32)
    model = Means(2, clip_frames=4)
    colored = model.apply({}, gray.repeat(3, axis=-1)).scores
    np.testing.assert_allclose(model.apply({}, gray).scores, colored, rtol=1e-6)


@pytest.mark.parametrize(
    ('model', 'shape', 'message'),
    [
        (R3D(), (1, 4, 8, 8, 2), '2 channels: R3D takes 1'),
        (S3D(), (1, 4, 16, 40, 3), 'at least 17 pixels a side'),
        (I3D(clip_frames=8), (1, 4, 32, 32, 3), 'clip_frames=8: must be an integer >= 9'),
        (P3D(clip_frames=8), (1, 4, 32, 32, 3), 'clip_frames=8: must be an integer >= 16'),
        (S3D(form='tiny'), (1, 4, 32, 32, 3), "form='tiny': must be 'torchvision' or 'slim'"),
        (R3D(residual_layers=50), (1, 4, 32, 32, 3), 'residual_layers=50: must be 18 or 34'),
        (R2Plus1D(middle='mine'), (1, 4, 32, 32, 3), "middle='mine': must be 'torchvision'"),
        (MC3(dtype='int8'), (1, 4, 32, 32, 3), "dtype='int8'"),
    ],
)
def test_what_cannot_be_is_rejected(model, shape, message):
    with pytest.raises(InputError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))


@pytest.mark.parametrize('count', [0, 5, '1'])
def test_a_front_part_has_a_frame(count):
    with pytest.raises(InputError, match='output_frames='):
        Means(2, clip_frames=4).apply({}, np.zeros((1, 4, 5, 6, 1)), count)


def test_there_is_a_length_for_every_clip():
    with pytest.raises(
        InputError, match=r'lengths of shape \(3,\): must be \[B\] or \[B, L\], B=2'
    ):
        Means(2, clip_frames=4).apply({}, np.zeros((2, 4, 5, 6, 1)), lengths=jnp.ones(3, int))


@pytest.mark.parametrize('lengths', [[0, 4], [5, 1], [-3, 4]])
def test_a_length_is_within_the_clip(lengths):
    with pytest.raises(InputError, match=r'lengths of (0|5|-3): must be 1 to T = 4'):
        Means(2, clip_frames=4).apply({}, np.zeros((2, 4, 5, 6, 1)), lengths=jnp.array(lengths))


@pytest.mark.parametrize('head', [Head(3, 0.5), SlidingHead(3, 0.5)])
def test_what_is_dropped_does_not_depend_on_the_number_of_devices(head):
    x = RANDOM.random((4, 2, 2, 2, 8), np.float32)
    variables = head.init(jax.random.key(0), x)

    def score(x):
        return head.apply(variables, x, Training('batch'), rngs={'dropout': jax.random.key(1)})

    scores = [
        jax.pmap(score, 'batch', devices=jax.devices()[:count])(x.reshape(count, -1, *x.shape[1:]))
        for count in (1, 2, 4)
    ]
    for found in scores[1:]:
        np.testing.assert_allclose(found.reshape(4, 3), scores[0][0], rtol=1e-5)
    whole = head.apply(variables, x, Training(), rngs={'dropout': jax.random.key(1)})
    np.testing.assert_allclose(whole, scores[0][0], rtol=1e-5)
    same = head.apply(
        variables, x[:1].repeat(2, 0), Training(), rngs={'dropout': jax.random.key(1)}
    )
    assert np.abs(same[0] - same[1]).max() > 1e-3  # each sequence has its own


def test_a_share_of_the_features_is_dropped_and_the_mean_is_kept():
    x = np.ones((100, 50), np.float32)
    y = Dropout(0.2).apply({}, x, Training(), rngs={'dropout': jax.random.key(0)})
    assert set(np.unique(y)) == {np.float32(0), np.float32(1.25)}
    assert abs(float((y == 0).mean()) - 0.2) < 0.02
    np.testing.assert_array_equal(Dropout(0.2).apply({}, x), x)


def test_there_is_no_state_between_frames():
    with pytest.raises(InputError, match='C3D sees whole clips'):
        start(C3D(), {}, (16, 16, 3))


def test_a_separated_convolution_begins_as_the_identity():
    kernel = identity_in_time(jax.random.key(0), (3, 1, 1, 4, 4))
    x = RANDOM.random((1, 5, 2, 2, 4), np.float32)
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1, 1), 'SAME', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )
    np.testing.assert_allclose(y, x, rtol=1e-6)


def test_a_gate_weighs_channels_by_the_whole_clip():
    x = RANDOM.random((2, 3, 4, 5, 6), np.float32)
    kernel = np.zeros((6, 6), np.float32)
    half = Gate().apply({'params': {'weigh': {'kernel': kernel}}}, x)
    np.testing.assert_allclose(half, x / 2, rtol=1e-6)
    kernel[2, 4] = 3
    weighed = Gate().apply({'params': {'weigh': {'kernel': kernel}}}, x)
    weights = 1 / (1 + np.exp(-3 * x[..., 2].mean(axis=(1, 2, 3))))
    np.testing.assert_allclose(weighed[..., 4].T, x[..., 4].T * weights, rtol=1e-5)


SMALL = ['c3d']
LARGE = ['r2plus1d', 'mc3', 'r3d', 'i3d', 's3d', 'p3d']


@pytest.mark.parametrize(
    'name', [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_every_parameter_is_trained_and_statistics_follow_the_batch(name):
    """A clip of two classes is learned; the running statistics move; without training they stay."""
    model = build_model(name, **TINY)
    frames = RANDOM.random((4, 6, 32, 32, 1), np.float32)
    labels, lengths = jnp.array([0, 1, 2, 3]), jnp.array([6, 3, 6, 1])
    variables = variables_of(model, frames)
    params, statistics = variables['params'], variables.get('batch_stats', {})

    @jax.jit
    def update(params, statistics, key):
        def loss(params):
            recognition, changed = model.apply(
                {'params': params, 'batch_stats': statistics},
                frames,
                lengths=lengths,
                training=Training(),
                rngs={'dropout': key},
                mutable=['batch_stats'],
            )
            assert recognition.predictions is None
            logs = jax.nn.log_softmax(recognition.scores)
            return -jnp.take_along_axis(logs, labels[:, None], 1).mean(), changed

        (value, changed), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        params = jax.tree.map(lambda p, g: p - 0.01 * jnp.sign(g), params, gradients)
        return params, changed.get('batch_stats', {}), value, gradients

    values, reached = [], jax.tree.map(lambda _: False, params)
    for step in range(12):
        params, moved, value, gradients = update(params, statistics, jax.random.key(step))
        values.append(float(value))
        reached = jax.tree.map(lambda was, g: was or bool(jnp.any(g)), reached, gradients)
        for before, after in zip(*map(jax.tree.leaves, (statistics, moved)), strict=True):
            assert step or not np.array_equal(before, after)
        statistics = moved
    assert all(jax.tree.leaves(reached)), reached
    assert np.isfinite(values).all()
    assert min(values[6:]) < values[0]
