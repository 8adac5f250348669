"""How products are rounded, and what reduced precision may cost."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from e3d.kernels import winograd
from e3d.model import E3DLSTM, FORECASTERS, build_model
from e3d.model.needs import Training, call_in_training, initialize, needs_of

LAUNCH = pathlib.Path(__file__).parents[1] / 'launch.py'


def train_quickstart(folder, dtype):
    """The mean of the last five logged losses: one batch differs from the next by more than 1 %."""
    # As a user does: with all optimizations and one device, unlike the other tests.
    environment = {key: os.environ[key] for key in os.environ if key.partition('_')[0] not in
                   ('JAX', 'XLA')}  # fmt: skip
    options = [
        f'--workdir={folder / dtype}', f'--config.model.dtype={dtype}', '--config.train.steps=200',
        f'--config.dataset.data_dir={folder / "data"}', '--config.dataset.test_size=8',
    ]  # fmt: skip
    subprocess.run(
        [sys.executable, str(LAUNCH), '--config=experiments/quickstart.py', *options],
        env=environment, check=True, capture_output=True, timeout=1200,
    )  # fmt: skip
    lines = (folder / dtype / 'metrics.jsonl').read_text().splitlines()
    logged = [line for line in map(json.loads, lines) if line['split'] == 'train']
    return np.mean([line['loss'] for line in logged[-5:]])


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does(tmp_path):
    expected = train_quickstart(tmp_path, 'float32')
    assert train_quickstart(tmp_path, 'bfloat16') == pytest.approx(expected, rel=0.01)


def products_of(jaxpr):
    """The precision of every product of floats in a program and in all of its parts."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ('dot_general', 'conv_general_dilated'):
            yield equation.params['precision']
        for inner in jaxprs_in_params(equation.params):
            yield from products_of(inner)


@pytest.mark.parametrize(
    ('chosen', 'expected'),
    [('float32', jax.lax.Precision.HIGHEST), ('fast', jax.lax.Precision.DEFAULT)],
)
@pytest.mark.parametrize('memory', ['save', 'recompute'])
def test_all_products_of_an_update_are_rounded_as_the_model_says(
    as_on_accelerators, monkeypatch, chosen, expected, memory
):
    # What CPUs convolve with, always in float32, and what accelerators do not compute.
    monkeypatch.setattr(winograd, 'transform_kernel', lambda kernel: ())
    fields = {'layers': 1, 'features': 2, 'kernel_size': (2, 3, 3), 'patch_size': 4}
    model = E3DLSTM(**fields, precision=chosen, memory=memory, encoder_layers=1)
    frames = jax.ShapeDtypeStruct((1, 3, 8, 8, 1), jnp.float32)
    params = jax.eval_shape(lambda frames: model.init(jax.random.key(0), frames, 1), frames)

    def loss(params, frames):
        return model.apply(params, frames, 2).sum()

    program = jax.make_jaxpr(jax.grad(jax.jit(loss)))(params, frames)
    found = list(products_of(program.jaxpr))
    assert len(found) > 10
    assert set(found) == {(expected, expected)}


@pytest.mark.parametrize(
    ('name', 'fields'),
    [
        *(
            ('simvp', {'features': 16, 'layers': 2, 'encoder_layers': 2, 'translator': name})
            for name in ('gsta', 'tau', 'convmixer', 'incepu')
        ),
        ('st_resnet', {'features': 4, 'layers': 1}),
        ('c3d', {'features': 4, 'classes': 3}),
    ],
)
def test_updates_of_models_without_a_cell_are_rounded_as_they_say(
    as_on_accelerators, monkeypatch, name, fields
):
    monkeypatch.setattr(winograd, 'transform_kernel', lambda kernel: ())
    frames = jax.ShapeDtypeStruct((1, 3, 16, 16, 1), jnp.float32)
    for chosen, expected in (('float32', 'HIGHEST'), ('fast', 'DEFAULT')):
        model = build_model(name, **fields, precision=chosen)
        create = functools.partial(model.init, jax.random.key(0), output_frames=1)
        variables = jax.eval_shape(create, frames)

        def loss(variables, frames, model=model):
            return sum(map(jnp.sum, jax.tree.leaves(model.apply(variables, frames, 1))))

        found = set(products_of(jax.make_jaxpr(jax.grad(loss))(variables, frames).jaxpr))
        assert found == {(jax.lax.Precision[expected],) * 2}


# Of every model that can have losses of its own, the fields with which it has them.
WITH_LOSSES = {
    'mcnet': {'features': 2},
    'simvp': {'features': 16, 'layers': 2, 'encoder_layers': 2, 'divergence': 0.1},
}


def test_every_model_with_losses_of_its_own_is_among_those_that_are_tried():
    assert WITH_LOSSES.keys() == {n for n, m in FORECASTERS.items() if hasattr(m, 'extra_losses')}


@pytest.mark.parametrize('name', WITH_LOSSES)
def test_losses_of_a_model_are_rounded_as_it_says(as_on_accelerators, monkeypatch, name):
    monkeypatch.setattr(winograd, 'transform_kernel', lambda kernel: ())
    frames = jax.ShapeDtypeStruct((1, 4, 16, 16, 1), jnp.float32)
    for chosen, expected in (('float32', 'HIGHEST'), ('fast', 'DEFAULT')):
        model = build_model(name, **WITH_LOSSES[name], precision=chosen)
        assert needs_of(model).losses
        create = functools.partial(initialize, model, frame_shape=(16, 16, 1), lengths=(2, 2))
        variables = jax.eval_shape(create, jax.random.key(0))

        def update(variables, frames, model=model):
            arguments = frames[:, :2], 2
            key = jax.random.key(0)
            return call_in_training(model, variables, arguments, {}, frames, key, Training())

        found = set(products_of(jax.make_jaxpr(update)(variables, frames).jaxpr))
        assert found == {(jax.lax.Precision[expected],) * 2}
