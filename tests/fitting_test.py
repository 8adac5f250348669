"""From Python with arrays alone; what `help()` shows of each public name runs as it stands."""

import doctest
import functools
import inspect
import json

import flax.linen as nn
import jax
import numpy as np
import pytest

import e3d
from e3d.data.sources.in_memory import divide_clips, lend
from e3d.data.sources.registry import open_source
from e3d.data.sources.scales import Scale
from e3d.evaluation.recognition import recognition_report
from e3d.fitting import fit as fitting
from e3d.fitting.run import describe_report
from e3d.model import FORECASTERS
from e3d.model.needs import initialize, needs_of
from e3d.signals import Interrupted
from tests.prediction_helpers import (
    INPUT_FRAMES,
    OUTPUT_FRAMES,
    FadingSum,
    Sums,
    recognizer_run,
    run_of,
)
from tests.training_helpers import TinyForecaster, tiny_config

# In the order in which one needs what another has made.
IN_ORDER = ('fit', 'train', 'load_run', 'Run', 'start', 'observe', 'forecast_from', 'save_stream')
# What brings an extension of one's own has its example in BUILD.md.
WITHOUT = {'option', 'train_step'} | {name for name in dir(e3d) if name.startswith('register_')}


def stripes(frames=30, size=16):
    time, _, column = np.indices((frames, size, size))
    return (0.5 + 0.5 * np.sin((column - time) * np.pi / 4)).astype(np.float32)


def examples_of(name):
    described = getattr(e3d, name)
    members = {name: described}
    if inspect.isclass(described):
        members |= {f'{name}.{key}': value for key, value in vars(described).items()}
    return {
        key: one
        for key, member in members.items()
        if '>>>' in (inspect.getdoc(member) or '')
        for one in [inspect.getdoc(member)]
    }


class EndsWith(doctest.OutputChecker):
    """What is printed before the value does not count."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output('...' + want, '...' + got, optionflags)


@pytest.fixture(scope='module')
def examples(tmp_path_factory):
    """Runs all examples, and gives what went wrong by name, and the names that they leave."""
    names = {'e3d': e3d, 'np': np, 'nn': nn, 'jax': jax}
    names |= {'frames': stripes(), 'clip': stripes()[:5, ..., np.newaxis]}
    names |= {'recognizer': recognizer_run(Sums())}
    public = [*IN_ORDER, *(name for name in dir(e3d) if name not in IN_ORDER)]
    problems = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp('examples'))
        for name in public:
            for key, text in examples_of(name).items():
                runner = doctest.DocTestRunner(EndsWith(), optionflags=doctest.ELLIPSIS)
                test = doctest.DocTestParser().get_doctest(text, names, key, None, 0)
                found = []
                runner.run(test, out=found.append, clear_globs=False)
                names.update(test.globs)
                problems[key] = ''.join(found)
    return problems, names


def test_every_example_runs(examples):
    problems, _ = examples
    assert not any(problems.values()), '\n'.join(filter(None, problems.values()))
    functions = [name for name in dir(e3d) if inspect.isfunction(getattr(e3d, name))]
    assert set(functions) - WITHOUT <= problems.keys()


def test_a_fitted_run_forecasts_shows_and_keeps_what_it_measured(examples):
    run = examples[1]['run']
    assert run.report['protocol'] == 'in_memory test 3 -> 2'
    assert json.dumps(run.report)
    page = run._repr_html_()
    assert 'e3d_lstm' in page and 'repeat the last frame' in page and '<script' not in page
    clip = stripes()
    np.testing.assert_array_equal(run.forecast(clip, 4), e3d.forecast(run, clip, 4))
    shown = run.show(clip)
    assert shown.gif.startswith(b'GIF89a') and 'base64' in shown._repr_html_()
    with pytest.raises(e3d.InputError, match='T > 30'):
        run.show(clip, 30)
    with pytest.raises(e3d.InputError, match=r'ends with \.gif'):
        shown.save('forecast.mp4')


@pytest.mark.slow
def test_a_fit_in_a_workdir_goes_on_and_is_opened_again(tmp_path):
    arguments = {'input_frames': 3, 'output_frames': 2, 'workdir': tmp_path / 'run', 'steps': 2}
    run = e3d.fit(stripes(), **arguments, **{'model.features': 4})
    again = e3d.fit(stripes(), **arguments, **{'model.features': 4})
    assert again.report == run.report == e3d.load_run(tmp_path / 'run').report
    with pytest.raises(e3d.InputError, match='different config'):
        e3d.fit(stripes(), **arguments, **{'model.features': 3})
    with pytest.raises(e3d.InputError, match='other data'):
        e3d.fit(stripes(29), **arguments, **{'model.features': 4})


def test_a_run_shows_the_report_of_its_own_checkpoint_alone(tmp_path):
    config = tiny_config(tmp_path, **{'model.name': 'e3d_lstm', 'train.evaluate_every': 1})
    e3d.train(config, tmp_path / 'run')
    newest = e3d.load_run(tmp_path / 'run')
    assert newest.report['step'] == newest.step == 4 and '<pre>' in newest._repr_html_()
    before = e3d.load_run(tmp_path / 'run', checkpoint=3)
    assert before.report is None and '<pre>' not in before._repr_html_()
    e3d.evaluate(None, tmp_path / 'run', 3)
    assert e3d.load_run(tmp_path / 'run', checkpoint=3).report['step'] == 3
    assert e3d.load_run(tmp_path / 'run').report is None


def test_frames_that_are_gone_are_named(examples):
    with pytest.raises(e3d.InputError, match=r'given to e3d\.fit'):
        open_source(examples[1]['run'].config.dataset, 'test')


def test_clips_are_held_out_whole_and_a_video_by_time():
    video = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1) + np.zeros((1, 4, 4, 1), np.uint8)
    dataset = dict(e3d.default_config('in_memory').dataset) | {
        'input_frames': 4,
        'output_frames': 2,
    }
    with lend(divide_clips(video, None, 6, None)) as path:
        parts = {
            s: open_source(dataset | {'path': path}, s) for s in ('train', 'validation', 'test')
        }
        seen = {
            s: {int(f) for one in range(len(p)) for f in p[one]['frames'][:, 0, 0, 0]}
            for s, p in parts.items()
        }
    assert seen['train'] == set(range(80)) and len(parts['train']) == 75
    assert seen['validation'] == set(range(80, 90)) and seen['test'] == set(range(90, 100))
    assert len(parts['test']) == 3  # each frame is forecast once
    rule = divide_clips([video[:40], video], None, 6, None).account[1]
    assert (
        rule == 'divided by time: the last 6 to 10 frames of each clip each for validation and test'
    )

    clips = [video[start : start + 10] for start in range(0, 100, 10)]
    splits = divide_clips(clips, None, 6, None).splits
    assert [len(splits[s]) for s in ('train', 'validation', 'test')] == [8, 1, 1]
    splits = divide_clips(np.stack(clips), clips[:2], 6, None).splits
    assert [len(splits[s]) for s in ('train', 'validation', 'test')] == [9, 1, 2]


def test_clips_that_are_shorter_than_a_sequence_are_said_and_not_counted():
    clips = [np.zeros((length, 8, 6), np.uint8) for length in (10, 5, 9, 2, 6, 10)]
    test = [np.zeros((length, 8, 6), np.uint8) for length in (3, 10, 11, 1)]
    account, rule, short = divide_clips(clips, test, 6, None).account
    assert account.startswith('4 clips of 35 frames together')
    assert rule == 'divided by clips: the last 1 each for validation; 2 clips given for the test'
    assert short == 'clips of fewer than 6 frames, which are not used: train 2, test 2'
    lent = divide_clips([*clips, *clips, *clips, *clips[:2]], None, 6, None)
    assert lent.account[0].startswith('13 clips') and len(lent.account) == 3
    assert lent.account[2].endswith('train 6, test 1')
    assert {split: len(some) for split, some in lent.splits.items()} == {
        'train': 10,
        'validation': 2,
        'test': 1,
    }


def test_a_clip_as_long_as_it_is_high_is_one_among_others():
    clips = [np.zeros((length, 8, 6)) for length in (8, 30)]
    assert '8 x 6 x 1' in divide_clips(clips, None, 2, None).account[0]


def test_numbers_with_a_unit_are_scaled_and_forecast_in_it():
    degrees = 10 + 30 * stripes()
    lent = divide_clips(degrees, None, 5, (0, 50))
    np.testing.assert_allclose(lent.splits['train'][0][..., 0] * 50, degrees[:20], rtol=1e-5)
    assert lent.scale.value_range == (0, 50)
    with pytest.raises(e3d.InputError, match=r'value_range=\(10, 40\)'):
        divide_clips(degrees, None, 5, None)


@pytest.mark.parametrize('name', ['frnn', 'mcnet', 'st_resnet'])
def test_a_model_that_is_bounded_is_fitted_within_its_range_alone(name):
    assert needs_of(e3d.build_model(name)).bounded
    with pytest.raises(e3d.InputError, match=rf"'{name}' .* or value_range=\(10, 40\)"):
        e3d.fit(10 + 30 * stripes(), name, input_frames=3, output_frames=2, value_range=(20, 30))


def test_no_range_is_offered_for_what_is_not_finite():
    frames = stripes()
    frames[3] = np.nan
    with pytest.raises(e3d.InputError, match='NaN') as caught:
        divide_clips(frames, None, 5, None)
    assert 'value_range' not in str(caught.value)


def test_the_end_of_a_clip_is_shown_beside_its_forecast_from_what_came_before(monkeypatch):
    shown = []
    monkeypatch.setattr('e3d.fitting.run.draw_animation', lambda *parts: shown.append(parts))
    monkeypatch.setattr('e3d.fitting.run.animate', lambda pictures: None)
    run = fitting.Run(*run_of(FadingSum()))
    clip = np.random.default_rng(0).random((7, 8, 8, 1), np.float32)
    run.show(clip)
    ((frames, future, observed, channels),) = shown
    np.testing.assert_allclose(frames, clip[-INPUT_FRAMES - OUTPUT_FRAMES :], rtol=1e-6)
    np.testing.assert_allclose(future, run.forecast(clip[:-OUTPUT_FRAMES]), rtol=1e-6)
    assert observed.tolist() == [True] * INPUT_FRAMES and channels == run.channel_names


@pytest.mark.parametrize('error', [Interrupted(15, 'Stopped.'), e3d.RunError('Diverged.')])
@pytest.mark.parametrize('kept', [False, True])
def test_what_ends_a_fit_says_that_nothing_was_kept(tmp_path, monkeypatch, error, kept):
    def train(config, workdir):
        raise type(error)(*([15] if isinstance(error, Interrupted) else []), 'Stopped.')

    monkeypatch.setattr(fitting, 'train', train)
    with pytest.raises(type(error)) as caught:
        e3d.fit(stripes(), input_frames=3, output_frames=2, workdir=tmp_path if kept else None)
    more = '' if kept else ' Nothing was kept: give workdir=FOLDER to be able to go on.'
    assert str(caught.value) == 'Stopped.' + more


def test_the_report_of_a_recognizer_is_told():
    report = recognition_report(np.zeros((2, 8, 2)), np.arange(2), ['boxing', 'waving'])
    told = describe_report(report | {'protocol': 'any', 'num_sequences': 2, 'step': 3})
    assert 'boxing' in told and 'top-1' in told


def test_a_clip_with_gaps_and_larger_than_the_crop_is_shown_as_it_is_forecast():
    dataset = {'name': 'grids', 'crop': (8, 8)}
    run = fitting.Run(*run_of(TinyForecaster(), channels=2, dataset=dataset))
    run = run._replace(beside={'valid': 1}, frame_shape=(8, 8, 1))
    run = run._replace(scale=Scale((0.0, 50.0), (-np.inf, np.inf)))
    clip = 50 * np.random.default_rng(0).random((6, 12, 12), np.float32)
    clip[1, 2, 3] = np.nan
    shown = run.show(clip)
    assert shown.gif.startswith(b'GIF89a')
    clip[:, 2, 3] = 25  # in place of hatching
    assert run.show(clip).gif != shown.gif
    with pytest.raises(e3d.InputError, match=r'horizon is 2\.5; it must be an integer'):
        run.show(clip, 2.5)


def test_a_clip_with_time_last_is_neither_shown_nor_recognized():
    clip = np.zeros((4, 6, 9), np.float32)
    shows = fitting.Run(*run_of(TinyForecaster(), size=(4, 6))).show
    for use in (shows, fitting.Run(*recognizer_run(Sums())).recognize):
        with pytest.raises(e3d.InputError, match='time seems to be the last axis'):
            use(clip)


@pytest.mark.parametrize(
    ('frames', 'problem'),
    [
        (np.zeros((3, 3)), r'shape \(3, 3\)'),
        ([], 'no clips'),
        ([np.zeros((9, 4, 4)), np.zeros((9, 5, 4))], r'\(9, 5, 4, 1\)'),
        (np.zeros((9, 4, 4)), 'needs 15'),
        (np.full((30, 4, 4), np.nan), 'NaN'),
        (np.full((30, 4, 4), 'a'), 'dtype'),
        (np.zeros((30, 3, 8, 8)), r'8 channels, 3 high and 8 wide.*np\.moveaxis\(frames, -3, -1\)'),
        (np.zeros((30, 20, 8, 8)), r'\[N, T, H, W\], add their one channel: frames\[\.\.\., np'),
        (np.zeros((8, 8, 30)), r'may be \[T, H, W\] or \[H, W, T\].*np\.moveaxis\(frames, -1, 0\)'),
    ],
)
def test_what_cannot_be_fitted_is_rejected(frames, problem):
    with pytest.raises(e3d.InputError, match=problem):
        divide_clips(frames, None, 5, None)


def test_bits_that_16_leave_unused_are_said():
    frames = np.full((30, 4, 4), 700, np.uint16)
    account = divide_clips(frames, None, 5, None).account[0]
    assert account.endswith('multiply by 64 if 1,023 is to be white') and 'above 700' in account
    assert (
        'as of'
        not in divide_clips(frames, np.full((5, 4, 4), 2**15, np.uint16), 5, None).account[0]
    )


@pytest.mark.parametrize(
    ('shape', 'remedies'),
    [
        (
            (30, 20, 6, 8),
            {
                'frames[..., np.newaxis]': '30 clips of 600 frames together, 6 x 8 x 1',
                'frames[np.newaxis]': '1 clip of 30 frames together, 20 x 6 x 8',
            },
        ),
        (
            (30, 8, 8, 20),
            {
                'np.moveaxis(frames, -1, 1)[..., np.newaxis]': '30 clips of 600 frames together, 8 x 8',
                'frames[np.newaxis]': '1 clip of 30 frames together, 8 x 8 x 20',
            },
        ),
        (
            (30, 7, 8, 8),
            {
                'np.moveaxis(frames, -3, -1)[np.newaxis]': '1 clip of 30 frames together, 8 x 8 x 7',
                'frames[..., np.newaxis]': '30 clips of 210 frames together, 8 x 8 x 1',
            },
        ),
    ],
)
def test_four_axes_without_few_channels_are_refused_until_it_is_said_what_they_are(shape, remedies):
    frames = np.zeros(shape)
    for some in ((frames, None), (np.zeros((9, 5, 6, 8, 1)), frames)):
        with pytest.raises(e3d.InputError) as caught:
            divide_clips(*some, 5, None)
        for remedy in remedies:
            assert remedy in str(caught.value)
    for remedy, account in remedies.items():
        clips = eval(remedy, {'frames': frames, 'np': np})
        assert divide_clips(clips, None, 5, None).account[0].startswith(account)
    as_list = divide_clips([np.zeros((30, 20, 6, 8))], None, 5, None)
    assert as_list.account[0].startswith('1 clip of 30 frames together, 20 x 6 x 8')


@pytest.mark.parametrize(
    ('values', 'problem'),
    [
        ({'steps': 0}, 'steps=0: must be an integer >= 1'),
        ({'model': 'i3d'}, r"model\.name='i3d': must be 'cdna'"),
        ({'model.feature': 3}, r'model\.features'),
        ({'value_range': (1, 1)}, 'two finite numbers'),
        ({'value_range': 255}, r'value_range=255: must be \(low, high\)'),
        ({'value_range': (0, 1, 2)}, r'value_range=\(0, 1, 2\): must be'),
        ({'value_range': 'ab'}, "value_range='ab': must be"),
        ({'seed': 1.5}, 'seed'),
    ],
)
def test_values_are_checked_before_any_work(values, problem):
    with pytest.raises(e3d.InputError, match=problem):
        e3d.fit(stripes(), input_frames=3, output_frames=2, **values)


@pytest.mark.parametrize('name', ['e3d_lstm', 'predrnn', 'simvp', 'dfn', 'cdna', 'st_resnet'])
def test_the_settings_fit_every_kind_of_model(name):
    config = fitting.fit_config(name, 10, (15, 16))
    config.dataset.update({'input_frames': 3, 'output_frames': 2})
    e3d.check_config(config)
    assert config.model.name == name and config.train.batch_size % jax.local_device_count() == 0
    # At the end a forecast continues itself, however few updates there are.
    assert config.sampling.start - config.sampling.decrease * config.train.steps <= 0


@pytest.mark.parametrize('name', ['predrnn', 'dfn', 'cdna', 'mcnet'])
def test_frames_are_padded_where_a_model_needs_other_sides(name):
    model = e3d.build_model(**fitting.fit_config(name, 10, (15, 16)).model)
    create = functools.partial(initialize, model, frame_shape=(15, 16, 1), lengths=(3, 2))
    assert jax.eval_shape(create, jax.random.key(0))['params']
    assert not fitting.fit_config(name, 10, (16, 16)).model.pad_frames


@pytest.mark.parametrize('name', FORECASTERS)
def test_every_model_is_small_enough_for_two_cores(name):
    model = e3d.build_model(**fitting.fit_config(name, 10, (32, 32)).model)
    create = functools.partial(initialize, model, frame_shape=(32, 32, 1), lengths=(5, 5))
    params = jax.eval_shape(create, jax.random.key(0))['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) < 2e6


@pytest.mark.parametrize(
    ('name', 'steps', 'rate'),
    [('e3d_lstm', 500, 1e-2), ('e3d_lstm', 10_000, 3e-3), ('predrnn', 500, 3e-3)],
)
def test_long_training_takes_a_lower_rate(name, steps, rate):
    assert fitting.fit_config(name, steps, (16, 16)).optimizer.learning_rate == rate


def test_numbers_of_numpy_count():
    with pytest.raises(e3d.InputError, match='needs 15'):
        e3d.fit(stripes(9), input_frames=np.int64(3), output_frames=np.int32(2))


def test_windows_are_the_newest_frames_in_order():
    frames = np.random.default_rng(0).random((2, 4, 3, 5, 1))
    deep = np.asarray(e3d.windows(frames, depth=3))
    assert deep.shape == (2, 4, 3, 3, 5, 1)
    for step in range(4):
        for slot in range(3):
            source = step - 2 + slot
            expected = frames[:, source] if source >= 0 else 0 * frames[:, 0]
            np.testing.assert_allclose(deep[:, step, slot], expected, rtol=1e-6)
    levels = np.round(255 * frames).astype(np.uint8)
    scaled = e3d.windows(levels / np.float32(255), depth=3)
    np.testing.assert_allclose(e3d.windows(levels, depth=3), scaled, rtol=1e-6)
    with pytest.raises(e3d.InputError, match='B, T, H, W, C'):
        e3d.windows(frames[0])
    for depth in ('2', 2.0, 0):
        with pytest.raises(e3d.InputError, match=f'depth={depth!r}: must be an integer >= 1'):
            e3d.windows(frames, depth)
