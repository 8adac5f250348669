"""The order of the parts, as `e3d/__init__.py` describes it, holds in the code."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# Of the program itself, for every part below.
EVERYWHERE = {'signals', 'terminal', 'progress'}
BASE = {'errors', 'files', 'pixel_values'}
DATA = {'data', 'data.readers', 'data.sources'}
MEASURED = BASE | DATA | {'options', 'model', 'evaluation', 'parallel'}
CONFIGURED = MEASURED | {'tasks', 'configuration'}
MAY_IMPORT = {
    'errors': set(),
    'signals': set(),
    'terminal': set(),
    'progress': set(),
    'files': {'errors'},
    'pixel_values': {'errors'},
    'options': {'errors', 'files'},
    'kernels': {'errors'},
    'model': {'errors', 'pixel_values', 'options', 'kernels'},
    'weights.readers': {'errors', 'files'},
    'data.readers': BASE,
    'data.sources': BASE | {'options', 'data.readers'},
    'data': BASE | {'data.readers', 'data.sources'},
    'evaluation': BASE | {'options', 'model', 'data.sources'},
    'parallel': {'errors', 'files'},
    'tasks': MEASURED,
    'configuration': {'errors', 'options', 'model', 'data.sources', 'evaluation', 'tasks'},
    'runs': CONFIGURED | {'weights.readers'},
    'pages': CONFIGURED | {'runs'},
    'training': CONFIGURED | {'kernels', 'runs', 'pages'},
    'prediction': CONFIGURED | {'runs'},
    'fitting': CONFIGURED | {'runs', 'training', 'prediction'},
    'weights': CONFIGURED | {'kernels', 'weights.readers', 'runs', 'training', 'prediction'},
    'command_line': {'errors', 'options', 'configuration', 'runs'},
    'export': {'errors', 'runs', 'weights'},
    'import_weights': {'errors', 'command_line', 'weights'},
    'sweep': {'errors', 'files', 'evaluation', 'configuration', 'runs', 'command_line'},
}
MAY_IMPORT['launcher'] = set(MAY_IMPORT)


def part_of(module):
    """The part that a module `e3d.x.y` belongs to; readers and sources are parts of their own."""
    names = module.split('.')[1:3]
    return '.'.join(names) if '.'.join(names) in MAY_IMPORT else names[0]


def imported_parts(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'e3d':
            yield from (part_of(f'{node.module}.{alias.name}') for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (part_of(a.name) for a in node.names if a.name.startswith('e3d.'))


def files_of(part):
    home = ROOT / 'e3d' / part.replace('.', '/')
    files = home.glob('**/*.py') if home.is_dir() else [home.with_suffix('.py')]
    modules = {path: '.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in files}
    return [path for path, module in modules.items() if part_of(module) == part]


@pytest.mark.parametrize('part', MAY_IMPORT)
def test_parts_import_one_way(part):
    files = files_of(part)
    assert files
    for path in files:
        others = set(imported_parts(path)) - {part}
        assert others <= MAY_IMPORT[part] | EVERYWHERE, path


def test_every_part_is_described():
    files = [path for path in (ROOT / 'e3d').iterdir() if not path.name.startswith('__')]
    parts = {path.stem for path in files if path.name != 'py.typed'}
    assert parts == {part for part in MAY_IMPORT if '.' not in part}
    description = (ROOT / 'e3d' / '__init__.py').read_text(encoding='utf-8').split('"""')[1]
    for part in parts:
        assert f'\n    {part} ' in description, part


@pytest.mark.parametrize('package', ['torch', 'tensorflow'])
def test_no_file_imports_another_framework(package):
    for path in [ROOT / 'launch.py', *(ROOT / 'e3d').glob('**/*.py')]:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or '']
            assert not any(name.split('.')[0] == package for name in names), path
