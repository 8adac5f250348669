import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

import e3d

README = (pathlib.Path(__file__).parent.parent / 'README.md').read_text(encoding='utf-8')


def test_the_start_section_has_exactly_two_shell_blocks():
    start = README.split('## Start')[1].split('\n## ')[0]
    assert re.findall(r'^```(\w+)\n', start, re.MULTILINE) == ['sh', 'sh']


def test_the_cell_in_another_model_runs_as_shown():
    blocks = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    example = next(block for block in blocks if 'class Classifier' in block)
    assert len(example.strip().splitlines()) <= 10
    names = {}
    exec(compile(example, 'README.md', 'exec'), names)
    clips = jnp.ones((2, 3, 2, 4, 6, 1))
    model = names['Classifier']()
    scores, _ = jax.jit(model.init_with_output)(jax.random.key(0), clips)
    assert scores.shape == (2, 10) and np.isfinite(scores).all()


def test_everything_public_is_importable_and_described():
    for name in e3d.__all__:
        assert getattr(e3d, name).__doc__, name
