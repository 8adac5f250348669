"""MCnet: its loss, its adversary, and what is forecast without weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.model import build_model
from e3d.model.adversary import Discriminator, updated_next
from e3d.model.mcnet import gradient_difference, to_gray, unpool
from e3d.model.needs import Training, call_in_training, call_in_use, initialize

FRAMES = np.random.default_rng(0).random((2, 4, 8, 16, 1), np.float32)


@pytest.mark.parametrize(
    ('size', 'fields', 'generator', 'discriminator'),
    [
        ((128, 128, 1), {}, 14_093_953, 4_368_321),
        ((64, 64, 1), {}, 14_093_953, 4_343_745),
        ((64, 64, 3), {'adversarial_weight': 0.0}, 14_096_259, 0),
    ],
)
def test_the_published_numbers_of_parameters(size, fields, generator, discriminator):
    create = functools.partial(initialize, build_model('mcnet', **fields), frame_shape=size)
    variables = jax.eval_shape(functools.partial(create, lengths=(10, 10)), jax.random.key(0))

    def count(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    own = count(variables['params'].get('discriminator', {}))
    assert (count(variables['params']) - own, own) == (generator, discriminator)


def test_unpool_puts_values_at_the_top_left():
    found = unpool(jnp.array([[1.0, 2.0]])[None, ..., None])[0, ..., 0]
    np.testing.assert_array_equal(found, [[1, 0, 2, 0], [0, 0, 0, 0]])


def test_gray_is_the_luma_of_colors():
    np.testing.assert_allclose(to_gray(jnp.array([[1.0, 0.0, 0.0]])), [[0.299]])
    np.testing.assert_allclose(to_gray(jnp.array([[1.0, 0.0]])), [[0.5]])


def test_gradient_difference_of_known_frames():
    one, nothing = jnp.ones((2, 3, 4, 4, 1)), jnp.zeros((2, 3, 4, 4, 1))
    np.testing.assert_allclose(gradient_difference(one, nothing), 0.5)
    np.testing.assert_allclose(gradient_difference(0.25 * one, 0.75 * one), 0.25)
    np.testing.assert_allclose(gradient_difference(FRAMES, FRAMES), 0.0)
    # Only the size of a step counts: rising and falling edges are alike but for the border.
    ramp = jnp.arange(4.0).reshape(1, 1, 1, 4, 1) * jnp.ones((1, 1, 4, 4, 1))
    falling = 3 - ramp
    np.testing.assert_allclose(
        gradient_difference(ramp, falling), 3 / 4 + np.abs(2 * np.arange(4) - 3).mean() / 4
    )


@pytest.mark.parametrize('weight', [0.0, 1.0, 2.5])
def test_the_gradient_difference_counts_as_much_as_its_weight(weight):
    model = build_model('mcnet', adversarial_weight=0.0, gradient_difference=weight)
    assert model.needs.losses == (weight > 0)
    forecast = np.random.default_rng(1).random((2, 2, 8, 16, 1), np.float32)
    terms = model.apply({}, forecast, FRAMES, Training(), method='extra_losses')
    expected = 0.0
    for axis in (2, 3):
        # Beyond the last row and the last column all is zero.
        sizes = [
            np.abs(np.diff(frames, axis=axis, append=0)) for frames in (forecast, FRAMES[:, 2:])
        ]
        expected += np.abs(sizes[0] - sizes[1]).mean()
    assert terms.keys() == {'gradient_difference'} and expected > 0.1
    assert float(terms['gradient_difference']) == pytest.approx(weight * expected, rel=1e-5)


@pytest.mark.parametrize(
    ('updates', 'errors', 'expected'),
    [
        ((True, True), (0.5, 0.5), (True, True)),
        ((True, True), (0.2, 0.5), (True, False)),
        ((True, True), (0.5, 0.8), (False, True)),
        ((True, True), (0.2, 0.8), (True, True)),  # both would rest
        ((True, False), (0.5, 0.5), (True, False)),  # nothing is switched on by itself
        ((True, False), (0.5, 0.8), (True, True)),
        ((False, True), (0.2, 0.5), (True, True)),
    ],
)
def test_the_margin_rule(updates, errors, expected):
    found = updated_next(tuple(map(jnp.array, updates)), tuple(map(jnp.array, errors)))
    assert tuple(map(bool, found)) == expected


def test_without_weights_the_forecast_is_gray():
    model = build_model('mcnet', features=2, adversarial_weight=0.0)
    shapes = jax.eval_shape(lambda: initialize(model, jax.random.key(0), FRAMES.shape[2:], (2, 2)))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    forecast = jax.jit(model.apply, static_argnums=2)(nothing, FRAMES[:, :3], 2)
    np.testing.assert_array_equal(forecast, np.full((2, 2, 8, 16, 1), 0.5))


@pytest.mark.parametrize('noise_channels', [0, 2])
def test_motion_is_that_of_frames_and_not_of_what_is_beside_them(noise_channels):
    """Of a model without a content encoder, which sees all channels."""
    fields = {'features': 2, 'adversarial_weight': 0.0, 'gradient_difference': 0.0}
    models = [build_model('mcnet', **fields, noise_channels=n) for n in (0, noise_channels)]
    beside = np.random.default_rng(1).normal(size=(2, *FRAMES.shape[:-1], 2)).astype(np.float32)
    entering = [FRAMES, *(np.concatenate([FRAMES, part], axis=-1) for part in beside)]
    create = jax.jit(initialize, static_argnums=(0, 2, 3))
    wide = create(models[1], jax.random.key(0), entering[1].shape[2:], (4, 3))['params']
    wide = {
        name: jax.tree.map(jnp.zeros_like, layer) if 'content' in name else layer
        for name, layer in wide.items()
    }
    alone = create(models[0], jax.random.key(0), FRAMES.shape[2:], (4, 3))['params']
    alone = wide | {
        'content_0_0': jax.tree.map(jnp.zeros_like, alone['content_0_0']),
        'decoder_0_1': jax.tree.map(lambda leaf: leaf[..., :1], wide['decoder_0_1']),
    }

    def forecast(model, params, frames):
        used = jax.jit(lambda v, f: call_in_use(model, v, (f, 3), {}, 1)[..., :1])
        found = used({'params': params}, frames)
        trained, *_ = jax.jit(
            lambda v, f: call_in_training(model, v, (f, 3), {}, FRAMES, None, Training())
        )({'params': params}, frames)
        np.testing.assert_array_equal(trained[..., :1], found)
        return found

    expected = forecast(models[0], alone, entering[0])
    assert np.std(expected[:, 1:] - expected[:, :-1]) > 1e-4
    for frames in entering[1:]:
        np.testing.assert_allclose(forecast(models[1], wide, frames), expected, atol=1e-6)


def test_the_discriminator_normalizes_by_the_batch_of_all_devices():
    discriminator = Discriminator(2)
    frames = np.random.default_rng(1).random((4, 3, 16, 16, 1), np.float32)
    variables = jax.jit(discriminator.init)(jax.random.key(0), frames)
    together = jax.jit(discriminator.apply)(variables, frames)
    apart = jax.pmap(
        lambda frames: discriminator.apply(variables, frames, 'devices'), axis_name='devices'
    )(frames.reshape(2, 2, *frames.shape[1:]))
    np.testing.assert_allclose(apart.reshape(4), together, rtol=1e-4, atol=1e-5)


def test_each_network_gets_the_gradient_of_its_own_loss():
    model = build_model('mcnet', features=2)
    create = functools.partial(initialize, model, frame_shape=FRAMES.shape[2:], lengths=(3, 1))
    variables = jax.jit(create)(jax.random.key(0))
    params, networks = variables['params'], {'networks': variables['networks']}
    assert all(flag.dtype == bool for flag in variables['networks'].values())
    names = ('squared', 'gradient_difference', 'adversarial', 'discriminator')

    def loss(params, weights):
        forecast, terms, changed = call_in_training(
            model, {'params': params, **networks}, (FRAMES[:, :3], 1), {}, FRAMES, None, Training()
        )
        terms['squared'] = jnp.square(forecast - FRAMES[:, 3:]).mean()
        assert terms.keys() == set(names)
        assert changed['networks'].keys() == {'update_main', 'update_discriminator'}
        return sum(weights[row] * terms[name] for row, name in enumerate(names))

    gradient = jax.jit(jax.grad(loss))
    for row, name in enumerate(names):
        tree = gradient(params, jnp.zeros(4).at[row].set(1.0))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))
        for part, leaves in tree.items():
            has_any = any(np.any(leaf) for leaf in jax.tree.leaves(leaves))
            assert has_any == ((part == 'discriminator') == (name == 'discriminator')), (name, part)
