"""The order of the parts, as `e3d/__init__.py` describes it, holds in the code."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# Of the program itself, for every part below.
EVERYWHERE = {'signals', 'terminal'}
MAY_IMPORT = {
    'errors': set(),
    'signals': set(),
    'terminal': set(),
    'files': {'errors'},
    'pixel_values': {'errors'},
    'kernels': {'errors'},
    'model': {'errors', 'pixel_values', 'kernels'},
    'data': {'errors', 'files', 'pixel_values'},
    'evaluation': {'errors', 'files'},
    'configuration': {'errors', 'files', 'model'},
    'training': {'errors', 'files', 'model', 'data', 'evaluation', 'configuration'},
    'prediction': {
        'errors',
        'files',
        'pixel_values',
        'model',
        'data',
        'evaluation',
        'configuration',
        'training',
    },
    'command_line': {'errors', 'files', 'configuration', 'training'},
    'sweep': {'errors', 'files', 'evaluation', 'configuration', 'training', 'command_line'},
}


def imported_parts(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.module == 'e3d':
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith('e3d.'):
            yield node.module.split('.')[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split('.')[1] for a in node.names if a.name.startswith('e3d.'))


@pytest.mark.parametrize('part', MAY_IMPORT)
def test_parts_import_one_way(part):
    home = ROOT / 'e3d' / part
    files = list(home.glob('**/*.py')) if home.is_dir() else [home.with_suffix('.py')]
    assert files
    for path in files:
        others = set(imported_parts(path)) - {part}
        assert others <= MAY_IMPORT[part] | EVERYWHERE, path


def test_every_part_is_described():
    parts = {path.stem for path in (ROOT / 'e3d').iterdir() if not path.name.startswith('__')}
    assert parts == set(MAY_IMPORT)


@pytest.mark.parametrize('package', ['torch', 'tensorflow'])
def test_no_file_imports_another_framework(package):
    for path in [ROOT / 'launch.py', *(ROOT / 'e3d').glob('**/*.py')]:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or '']
            assert not any(name.split('.')[0] == package for name in names), path
