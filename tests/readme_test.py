import os
import pathlib
import re
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import e3d
from e3d.model import MODELS

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')
PAGES = [*ROOT.glob('*.md'), ROOT / 'benchmarks' / 'README.md', *(ROOT / 'docs').glob('*.md')]
PYTHON = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/../calls"
"""


def test_the_start_section_has_exactly_two_shell_blocks_of_one_line():
    start = README.split('## Start')[1].split('\n## ')[0]
    assert re.findall(r'^```(\w+)\n(.*?)```', start, re.MULTILINE | re.DOTALL) == [
        ('sh', './dev quickstart\n'),
        ('sh', './dev test\n'),
    ]


def test_an_environment_that_is_there_is_used_and_kept(tmp_path):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'mine').write_text('kept')
    python = tmp_path / 'bin' / 'python'
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = os.environ | {'E3D_VENV': str(tmp_path)}
    for command in (['test', '-k', 'x'], ['quickstart', '--help'], ['true']):
        subprocess.run([ROOT / 'dev', *command], cwd='/', env=environment, check=True)
    calls = (tmp_path / 'calls').read_text().splitlines()
    assert len(calls) == 3 and calls[0].startswith('-m pip install')
    assert calls[1] == '-m pytest --numprocesses=2 -k x'
    assert calls[2] == 'launch.py --config=experiments/quickstart.py --help'
    assert (tmp_path / 'mine').read_text() == 'kept'


def test_a_python_that_cannot_do_is_named(tmp_path):
    environment = os.environ | {'E3D_VENV': str(tmp_path / 'none'), 'PYTHON': 'false'}
    done = subprocess.run(
        [ROOT / 'dev', 'test'], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and 'Python 3.11, 3.12 or 3.13' in done.stderr
    assert not (tmp_path / 'none').exists()


def test_all_models_are_in_the_table():
    for name in MODELS:
        assert f'`{name}`' in README, name


def headings(page):
    """The anchors of a page: its headings as GitHub and the site write them."""
    text = re.sub(r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    found = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in found}


def test_files_and_headings_that_pages_link_to_are_there():
    for page in PAGES:
        links = re.findall(r'\]\(([^)#\s]*)(?:#([^)\s]+))?\)', page.read_text(encoding='utf-8'))
        for target, heading in links:
            if not re.match('[a-z]+:', target):
                path = page.parent / target if target else page
                assert path.exists(), f'{page.name}: {target}'
                assert not heading or heading in headings(path), f'{page.name}: {target}#{heading}'


def test_the_python_of_the_pages_can_be_read():
    for page in PAGES:
        for block in re.findall(r'^```python\n(.*?)^```', page.read_text('utf-8'), re.M | re.S):
            compile(block, page.name, 'exec')


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


@pytest.mark.slow
def test_from_python_runs_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    example = next(block for block in blocks if 'e3d.fit' in block)
    names = {}
    assert 'steps=500' in example and 'range(400)' in example
    example = example.replace('steps=500', 'steps=1').replace('range(400)', 'range(40)')
    exec(compile(example, 'README.md', 'exec'), names)
    assert names['future'].shape == (20, 32, 32, 1)
    assert (tmp_path / 'forecast.gif').read_bytes().startswith(b'GIF89a')
