"""Whatever is given: a documented error or a right answer, in little time, memory and one folder.

The inputs are drawn by hypothesis, the same ones every time; `NUMBERS` says how many of each kind.
"""

import contextlib
import functools
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import string

import chex
import jax
import numpy as np
import pytest
from clip_fixtures import moving_square, write_video
from data_taxibj_test import NAME as FLOWS
from data_taxibj_test import dates_of, make_dataset, write_flows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from launch_test import QUICKSTART
from picture_fixtures import deep_png
from PIL import Image
from prediction_helpers import FadingSum, run_of
from runs_checkpoints_test import make_state
from training_helpers import SHAPE, TinyForecaster, tiny_config

from e3d.command_line.parsing import parse
from e3d.configuration import all_options, check_config, restore_config
from e3d.data.readers.clips import describe_clip, frame_rate, read_clip
from e3d.data.sources.arrays import open_array
from e3d.data.sources.scales import Scale
from e3d.data.sources.taxibj import open_taxibj
from e3d.errors import InputError, RunError
from e3d.options.flat import flatten
from e3d.prediction.forecast import forecast
from e3d.runs import trained_run
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.reporting import drop_lines_after, read_lines
from e3d.runs.stored_run import StoredRun
from e3d.runs.trained_run import load_run
from e3d.runs.workdir import check_same_experiment
from e3d.sweep.entries import make_entries
from experiments import quickstart

NUMBERS = {
    'configs': 300, 'command lines': 150, 'stored configs': 100, 'sweeps': 100, 'arrays': 150,
    'counts': 150, 'array files': 250, 'flow files': 200, 'videos': 200, 'pictures': 250,
    'checkpoints': 60, 'metrics': 100,
}  # fmt: skip
SECONDS = 20  # for one input, on a slow machine
MORE_MEMORY = 2 * 2**20  # KiB that all inputs together may take


def inputs(kind, *strategies, **named):
    """Runs a test with as many inputs of a kind as `NUMBERS` says."""

    def decorate(test):
        @functools.wraps(test)
        def limited(*args, **kwargs):
            with time_limit():
                test(*args, **kwargs)

        options = settings(
            max_examples=NUMBERS[kind],
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        return options(given(*strategies, **named)(limited))

    return decorate


class Hang(BaseException):
    """No error that anything may take for one of its own."""


@contextlib.contextmanager
def time_limit():
    def stop(*_):
        raise Hang(f'more than {SECONDS} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def documented_errors():
    """Lets a block end with an error whose message says something."""
    try:
        yield
    except (InputError, RunError) as error:
        assert len(str(error)) > 20


@pytest.fixture(scope='module', autouse=True)
def bounded_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_MEMORY


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where a test may leave files; beside it nothing may appear."""
    outside = tmp_path_factory.mktemp('outside')
    inside = outside / 'inside'
    inside.mkdir()
    yield inside
    assert [path.name for path in outside.iterdir()] == ['inside']


def test_there_are_a_thousand_inputs():
    assert sum(NUMBERS.values()) >= 1000


# Values that anyone may put anywhere.
NUMBER = st.one_of(
    st.integers(), st.integers(-3, 20), st.floats(), st.sampled_from([2**31, 10**30, 1e308])
)
SCALAR = st.one_of(st.none(), st.booleans(), NUMBER, st.text(max_size=8))
NAME = st.text(max_size=4).filter(lambda name: '.' not in name)  # as ConfigDict has them
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAME, inner, max_size=3)),
    max_leaves=6,
)
FLAT = flatten(quickstart.get_config('small'))
KEYS = st.sampled_from(sorted(FLAT))


def nested(flat):
    tree = {}
    for key, value in flat.items():
        *sections, name = key.split('.')
        section = functools.reduce(lambda t, s: t.setdefault(s, {}), sections, tree)
        section[name] = value
    return tree


@inputs(
    'configs',
    changes=st.dictionaries(KEYS, VALUE, min_size=1, max_size=3),
    # Those of today's keys that older runs lack have a meaning without being there.
    drop=st.sets(KEYS.filter(lambda key: not all_options()[key].is_new), max_size=1),
)
def test_configs(changes, drop):
    values = {key: value for key, value in (FLAT | changes).items() if key not in drop}
    with documented_errors():
        check_config(restore_config(nested(values)))
        assert not drop


@inputs(
    'command lines',
    key=st.one_of(KEYS, st.text(string.ascii_letters + '._', max_size=12)),
    value=st.one_of(SCALAR.map(str), VALUE.map(repr), st.text(max_size=20)),
    apart=st.booleans(),
)
def test_command_lines(key, value, apart):
    own = [f'--config.{key}', value] if apart else [f'--config.{key}={value}']
    with documented_errors():
        check_config(parse(['launch.py', QUICKSTART, *own])[1])


@inputs(
    'stored configs',
    content=st.one_of(
        VALUE.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(KEYS, VALUE, max_size=3).map(
            lambda changes: json.dumps(nested(FLAT | changes)).encode()
        ),
        st.binary(max_size=200),
    ),
)
def test_stored_configs(folder, content):
    (folder / 'config.json').write_bytes(content)
    with documented_errors():
        check_same_experiment(folder, quickstart.get_config('small'))


@inputs(
    'sweeps',
    sweep=st.one_of(
        st.text(max_size=30),
        st.lists(st.tuples(KEYS, st.lists(st.text(max_size=6), max_size=2)), max_size=2).map(
            lambda axes: ';'.join(f'{key}={",".join(values)}' for key, values in axes)
        ),
        st.text(max_size=30).map(lambda name: f'name=../{name}'),
    ),
)
def test_sweeps(sweep):
    arguments, runs = ['launch.py', QUICKSTART], pathlib.Path('runs').resolve()
    with documented_errors():
        for entry in make_entries(sweep, QUICKSTART.removeprefix('--config='), arguments):
            assert (runs / entry.name).resolve().parent == runs


RUN = run_of(FadingSum())
SIDES = st.sampled_from([1, 3, 8])
SHAPES = st.one_of(
    arrays_of.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=3),
    st.tuples(st.integers(1, 4), SIDES, SIDES, st.sampled_from([1, 2, 3])),
)


@inputs(
    'arrays',
    frames=st.one_of(
        arrays_of.arrays(arrays_of.scalar_dtypes(), SHAPES),
        arrays_of.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
        arrays_of.arrays(np.uint8, SHAPES),
        VALUE,
    ),
    horizon=st.one_of(
        st.just(2), st.integers(-2, 3), SCALAR.filter(lambda v: not isinstance(v, int))
    ),
)
def test_arrays(frames, horizon):
    with documented_errors():
        result = forecast(RUN, frames, horizon)
        assert result.shape[-4:] == (2 if horizon is None else horizon, 8, 8, 1)
        assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


COUNTS = RUN._replace(scale=Scale((3.0, 250.0), (-3 / 247, np.inf)))


@inputs(
    'counts',
    frames=st.one_of(
        arrays_of.arrays(arrays_of.scalar_dtypes(), SHAPES),
        arrays_of.arrays(np.int32, SHAPES, elements=st.integers(0, 500)),
        VALUE,
    ),
)
def test_arrays_with_a_unit(frames):
    with documented_errors():
        result = forecast(COUNTS, frames)
        assert result.shape[-4:] == (2, 8, 8, 1)
        assert np.isfinite(result).all() and result.min() >= -1e-4


def as_bytes(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


CLIP = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), np.uint8)
CLIPS = np.random.default_rng(0).random((4, 3, 6, 8), np.float32)
ARRAY_FILES = {
    'clip.npy': as_bytes(lambda file: np.save(file, CLIP)),
    'clips.npy': as_bytes(lambda file: np.save(file, CLIPS)),
    'clip.npz': as_bytes(lambda file: np.savez(file, CLIP)),
    'packed.npz': as_bytes(lambda file: np.savez_compressed(file, frames=CLIP, other=CLIPS)),
    'released.npz': as_bytes(
        lambda file: np.savez(
            file,
            clips=np.array([[[0, 2]], [[2, 2]]]),
            dims=np.array([[3, 6, 8]]),
            input_raw_data=np.moveaxis(CLIPS.repeat(2, 0)[:4], 1, 1),
        )
    ),
}


@st.composite
def damaged(draw, files):
    """The name of one of some files and its content with something wrong."""
    name = draw(st.sampled_from(sorted(files)))
    data = bytearray(files[name])
    place = st.one_of(st.integers(0, min(200, len(data) - 1)), st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(1, 4))):
        at = min(draw(place), max(len(data) - 1, 0))
        match draw(st.sampled_from(['flip', 'cut', 'insert', 'remove', 'zero'])):
            case 'flip' if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 'cut':
                del data[at:]
            case 'insert':
                data[at:at] = draw(st.binary(max_size=20))
            case 'remove':
                del data[at : at + draw(st.integers(1, 20))]
            case 'zero':
                data[at : at + 8] = bytes(len(data[at : at + 8]))
    return name, bytes(data)


def check_clip(path):
    with documented_errors():
        clip = read_clip(path, last=3)
        assert clip.ndim == 4 and 1 <= len(clip) <= 3 and clip.dtype in (np.uint8, np.float32)
        frame_rate(path)


@inputs('array files', file=damaged(ARRAY_FILES))
def test_array_files(folder, file):
    path = folder / file[0]
    path.write_bytes(file[1])
    check_clip(path)
    with documented_errors():
        source = open_array(str(path), 'test', 2, (0, 0, 1))
        assert source[len(source) - 1]['frames'].shape[0] == 2


@pytest.fixture(scope='module')
def flows(folder):
    file = write_flows(folder / FLOWS, dates_of(8))
    values = np.linspace(-1, 1, 96, dtype=np.float32).reshape(4, 2, 2, 3, 2)
    archive = {key: values for key in ('X_train', 'Y_train', 'X_test', 'Y_test')}
    return {
        file.name: file.read_bytes(),
        'dataset.npz': as_bytes(lambda file: np.savez_compressed(file, **archive)),
    }


@inputs('flow files', data=st.data())
def test_flow_files(folder, flows, data):
    name, content = data.draw(damaged(flows))
    path = folder / name
    path.write_bytes(content)
    with documented_errors():
        source = open_taxibj(make_dataset(path), 'train')
        frames = source[len(source) - 1]['frames']
        assert frames.shape[0] == 4 and np.isfinite(frames).all()


VIDEOS = {
    'a.mp4': 'mpeg4',
    'b.avi': 'mpeg4',
    'c.webm': 'libvpx-vp9',
    'e.mkv': 'libx264',
    'f.flv': 'flv1',
    'g.wmv': 'wmv2',
}


def make_videos(folder):
    frames = moving_square(6, 16, 24)
    files = {
        name: write_video(folder / name, frames, codec, 10).read_bytes()
        for name, codec in VIDEOS.items()
    }
    return files


def make_pictures():
    pictures = [Image.fromarray(frame) for frame in moving_square(6, 16, 24)]
    save = functools.partial(pictures[0].save, save_all=True, append_images=pictures[1:])
    words = np.arange(16 * 24 * 3, dtype=np.uint16).reshape(16, 24, 3) * 50
    files = {
        f'{format}.{suffix}': as_bytes(functools.partial(save, format=format))
        for format, suffix in (('GIF', 'gif'), ('PNG', 'png'), ('WEBP', 'webp'), ('TIFF', 'tif'))
    }
    return files | {
        'a.jpg': as_bytes(functools.partial(pictures[0].save, format='JPEG')),
        'b.bmp': as_bytes(functools.partial(pictures[0].save, format='BMP')),
        'c.png': deep_png(words),
        'd.ppm': b'P6\n24 16\n65535\n' + words.astype('>u2').tobytes(),
        'e.tif': as_bytes(functools.partial(Image.fromarray(words[..., 0]).save, format='TIFF')),
    }


@pytest.fixture(scope='module')
def videos(folder):
    return make_videos(folder)


@inputs('videos', data=st.data())
def test_videos(folder, videos, data):
    other = st.tuples(st.sampled_from(['x.mp4', 'x.gif', 'x.webm']), st.binary(max_size=300))
    name, content = data.draw(st.one_of(damaged(videos), damaged(videos), other))
    path = folder / name
    path.write_bytes(content)
    check_clip(path)


PICTURES = make_pictures()


@inputs('pictures', file=damaged(PICTURES))
@pytest.mark.filterwarnings('ignore')
def test_pictures(folder, file):
    path = folder / file[0]
    path.write_bytes(file[1])
    check_clip(path)
    with documented_errors():
        describe_clip(path)


@pytest.fixture(scope='module')
def whole(folder):
    """A workdir with the checkpoints of the steps 1 and 2."""
    with Checkpoints(folder / 'whole', keep=2) as checkpoints:
        run = StoredRun(tiny_config(folder), SHAPE)
        for step in (1, 2):
            checkpoints.save(make_state(step, seed=step), run)
    return folder / 'whole'


@inputs('checkpoints', data=st.data())
def test_checkpoints(folder, whole, data):
    workdir = folder / 'copy'
    shutil.rmtree(workdir, ignore_errors=True)
    shutil.copytree(whole, workdir)
    for _ in range(data.draw(st.integers(1, 3))):
        files = sorted(path for path in workdir.rglob('*') if path.is_file())
        if not files:
            break
        path = data.draw(st.sampled_from(files))
        match data.draw(st.sampled_from(['damage', 'remove', 'folder', 'add'])):
            case 'damage' if path.stat().st_size:
                path.write_bytes(data.draw(damaged({path.name: path.read_bytes()}))[1])
            case 'remove':
                path.unlink()
            case 'folder':
                shutil.rmtree(path.parent)
            case 'add':
                (path.parent / data.draw(st.sampled_from(['1', '2', '3', 'x']))).mkdir(
                    exist_ok=True
                )
    with pytest.MonkeyPatch.context() as patch, documented_errors():
        patch.setattr(trained_run, 'build_model', lambda **model: TinyForecaster())
        run = load_run(workdir)
        assert run.step in (1, 2) and run.frame_shape == SHAPE
        expected = jax.device_get(make_state(run.step, seed=run.step).ema_params)
        chex.assert_trees_all_equal(run.params, expected)


@inputs(
    'metrics',
    lines=st.lists(
        st.one_of(
            VALUE.map(json.dumps).map(str.encode),
            st.fixed_dictionaries({'step': VALUE, 'split': VALUE}).map(json.dumps).map(str.encode),
            st.binary(max_size=30),
        ),
        max_size=4,
    ),
)
def test_metrics(folder, lines):
    good = {'step': 2, 'split': 'train', 'loss': 0.5}
    path = folder / 'metrics.jsonl'
    path.write_bytes(b'\n'.join([*lines, json.dumps(good).encode(), b'{"step": 9}']))
    drop_lines_after(path, 2)
    found = read_lines(path)
    assert good in found and all(line['step'] <= 2 for line in found)
    assert os.path.getsize(path) < 10_000
