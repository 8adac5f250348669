import jax
import jax.numpy as jnp
import numpy as np
import pytest

from e3d.kernels.layer_norm import layer_norm, layer_norm_again, statistics


def plain(inputs, group):
    centered = inputs - inputs.mean((-4, -3, -2, -1), keepdims=True)
    deviation = jnp.sqrt((centered**2).mean((-4, -3, -2, -1), keepdims=True) + 1e-5)
    return centered / deviation * group['norm_scale'] + group['norm_bias']


def arrays():
    generator = np.random.default_rng(0)
    inputs, cotangent = generator.normal(size=(2, 3, 2, 4, 5, 6)) + 1
    group = dict(zip(('norm_scale', 'norm_bias'), generator.normal(size=(2, 6)), strict=True))
    return inputs, group, cotangent


@pytest.fixture(params=['cpu', 'accelerators'])
def platform(request):
    if request.param == 'accelerators':
        request.getfixturevalue('as_on_accelerators')


@pytest.mark.usefixtures('platform')
@pytest.mark.parametrize('known', [False, True])
def test_values_and_gradients_equal_a_plain_reading_in_float64(known):
    with jax.enable_x64(True):
        inputs, group, cotangent = arrays()
        function, moments = layer_norm, statistics(inputs)
        if known:
            function = lambda *arguments: layer_norm_again(*arguments, moments)  # noqa: E731
        found, gradients = jax.vjp(function, inputs, group)
        expected, plain_gradients = jax.vjp(plain, inputs, group)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        for ours, other in zip(
            jax.tree.leaves(gradients(cotangent)),
            jax.tree.leaves(plain_gradients(cotangent)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures('platform')
def test_no_digits_are_lost_where_the_mean_is_far_from_0():
    inputs = np.random.default_rng(0).normal(size=(3, 2, 16, 16, 8)).astype(np.float32) + 1000
    exact = inputs.astype(np.float64)
    found = statistics(inputs, epsilon=0)
    np.testing.assert_allclose(np.ravel(found.mean), exact.mean((1, 2, 3, 4)), rtol=1e-6)
    # As exact as the inputs are, beside a deviation of 1; from a mean of squares it would be 5e-2.
    step = np.spacing(np.float32(1000))
    np.testing.assert_allclose(np.ravel(found.factor), 1 / exact.std((1, 2, 3, 4)), rtol=step)


@pytest.mark.usefixtures('platform')
def test_samples_do_not_influence_each_other():
    inputs, group, _ = arrays()
    alone = jax.vmap(layer_norm, in_axes=(0, None))(inputs, group)
    np.testing.assert_allclose(layer_norm(inputs, group), alone, rtol=1e-5, atol=1e-6)


def test_bfloat16_keeps_its_type_and_float32_gradients_of_the_parameters():
    inputs, group, cotangent = arrays()
    group = {name: value.astype(np.float32) for name, value in group.items()}
    outputs, pull_back = jax.vjp(layer_norm, jnp.asarray(inputs, jnp.bfloat16), group)
    of_inputs, of_group = pull_back(jnp.asarray(cotangent, jnp.bfloat16))
    assert outputs.dtype == of_inputs.dtype == jnp.bfloat16
    assert {value.dtype for value in of_group.values()} == {jnp.dtype('float32')}
