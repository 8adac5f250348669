"""What is installed: public names, few packages for the models, and a remedy where one is missing."""

import ast
import configparser
import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

import e3d

ROOT = pathlib.Path(__file__).parent.parent
# Names under which packages are imported, where they are not those of the distributions.
MODULES = {
    'absl-py': 'absl',
    'opencv-python-headless': 'cv2',
    'pillow': 'PIL',
    'orbax-checkpoint': 'orbax',
}
# What Flax brings, whether it is asked for or not.
OF_FLAX = {'absl', 'orbax', 'rich'}
CORE = ('errors', 'files', 'pixel_values', 'options', 'kernels', 'model')

WITHOUT_EXTRAS = """
import importlib.abc, sys

missing = sys.argv[1].split(',')

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in missing:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Missing())
import e3d
from e3d import E3DLSTM, E3DLSTMCell, Forecaster, Recognizer, build_model, observe, start
try:
    e3d.train
except e3d.InputError as error:
    print(error)
sys.argv = ['e3d', '--help']
from e3d.__main__ import start
start()
"""


def packages(extra=None):
    """The names under which the packages of setup.cfg are imported: the core ones, or of an extra."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    text = (
        config['options.extras_require'][extra] if extra else config['options']['install_requires']
    )
    lines = [line for line in text.split('\n') if line and not line.startswith('#')]
    names = [line.partition('>')[0].partition('=')[0].strip() for line in lines]
    return {MODULES.get(name, name.replace('-', '_')) for name in names}


def imported(path):
    """The packages that a file imports, of others."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        for name in names:
            package = name.partition('.')[0]
            if package not in sys.stdlib_module_names and package != 'e3d':
                yield package


def test_only_public_names_are_shown():
    assert dir(e3d) == sorted(dir(e3d)) == sorted(e3d.__all__)
    assert {'E3DLSTM', 'train', 'InputError'} <= set(dir(e3d))
    assert not [name for name in dir(e3d) if name.startswith('_')]
    with pytest.raises(AttributeError):
        _ = e3d.no_such_name


def test_the_version_is_that_of_the_package():
    assert e3d.__version__ == importlib.metadata.version('e3d')


def test_every_package_that_is_imported_is_declared():
    core, extras = packages(), packages('all') | packages('onnx')
    for path in (ROOT / 'e3d').glob('**/*.py'):
        part = path.relative_to(ROOT / 'e3d').parts[0].removesuffix('.py')
        allowed = core if part in CORE or part.startswith('__') else core | extras
        assert set(imported(path)) <= allowed, path


def test_models_need_no_extra_packages_and_the_rest_names_them():
    missing = ','.join(packages('all') - OF_FLAX)
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_EXTRAS, missing],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith('e3d.train needs the package ') and "e3d[all]'" in done.stdout
    assert 'e3d: The launcher needs the package' in done.stderr and "e3d[all]'" in done.stderr
    assert 'Traceback' not in done.stderr
