"""The notebooks of the documents: they run from top to bottom, here at a tiny size."""

import builtins
import json
import pathlib

import pytest

from e3d.evaluation.report import as_text

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))
TINY = {'STEPS = 600': 'STEPS = 2', 'range(400)': 'range(12)'}


def code_of(path):
    """The cells of code, each one text."""
    notebook = json.loads(path.read_text(encoding='utf-8'))
    cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    assert not any(cell['outputs'] for cell in cells), 'save it without outputs'
    return [''.join(cell['source']) for cell in cells]


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_can_be_made_tiny(path):
    text = '\n'.join(code_of(path))
    compile(text, path.name, 'exec')
    assert all(large in text for large in TINY)


def test_tables_are_text_in_a_notebook_too(monkeypatch):
    """There rich shows what is printed at once, whatever it is to be written to."""

    class ZMQInteractiveShell:
        """Of this name is what answers in the kernel of a notebook."""

    monkeypatch.setattr(builtins, 'get_ipython', ZMQInteractiveShell, raising=False)
    assert as_text('MSE', 'MAE', width=20) == 'MSE\nMAE'


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('MPLBACKEND', 'agg')
    names = {'__name__': '__main__'}
    for cell in code_of(path):
        for large, small in TINY.items():
            cell = cell.replace(large, small)
        exec(compile(cell, path.name, 'exec'), names)
    assert names['run'].report['mse'] > 0
