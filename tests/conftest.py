"""Four fake CPU devices for the whole test suite, and as little compiling as possible."""

import os
import pathlib
import sys
import tempfile

# Of two flags of one name XLA takes the last.
os.environ.setdefault('XLA_FLAGS', '')
os.environ['XLA_FLAGS'] += ' --xla_force_host_platform_device_count=4'
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault(
    'JAX_COMPILATION_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'e3d-test-compilations')
)
# Reading the smallest program takes a sixth of what compiling it takes.
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
# Tests compile much and compute little.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
# Who wants no byte code among the sources gets it elsewhere: each of the many programs that tests
# start would compile all that it imports, which takes as long as to run.
if os.environ.pop('PYTHONDONTWRITEBYTECODE', None):
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.path.join(tempfile.gettempdir(), 'e3d-test-bytecode')
    os.environ['PYTHONPYCACHEPREFIX'] = sys.pycache_prefix

# What says that a scheduler has started several processes: tests that train would wait for others.
os.environ.pop('JOB_COMPLETION_INDEX', None)
os.environ.pop('OMPI_COMM_WORLD_SIZE', None)
os.environ.pop('SLURM_STEP_NODELIST', None)
os.environ.pop('TPU_WORKER_HOSTNAMES', None)

import jax  # reads the environment
import pytest

from e3d.kernels import platforms

# Of 65,530 that Linux allows a process by default.
MOST_MAPPINGS = 25_000

assert jax.default_backend() != 'cpu' or jax.local_device_count() >= 4, (
    'with one device nothing is compared with several'
)


@pytest.fixture(autouse=True, scope='module')
def not_too_many_programs():
    """Lets go of compiled programs: each maps memory, and XLA crashes where it may map no more."""
    yield
    mappings = pathlib.Path('/proc/self/maps')
    if mappings.exists() and mappings.read_bytes().count(b'\n') > MOST_MAPPINGS:
        jax.clear_caches()


@pytest.fixture
def figures_not_rendered(monkeypatch):
    """Figures are made as ever, but their files are empty: half of the time of a tiny training."""

    def save(figure, path):
        pathlib.Path(path).touch()

    monkeypatch.setattr('matplotlib.figure.Figure.savefig', save)


@pytest.fixture
def as_on_accelerators(monkeypatch):
    """Runs on the CPU what GPUs and TPUs are given; tells how often there was a choice."""
    choices, choose = [], platforms.choose

    def counted(*arguments, **branches):
        choices.append(branches)
        return choose(*arguments, **branches)

    monkeypatch.setattr(platforms, 'choose', counted)
    with platforms.traced_for('any but cpu'):
        yield choices
