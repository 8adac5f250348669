"""What an evaluation says of what it measured, where it goes, and by what the best is selected."""

import json
import pathlib

import numpy as np
import pytest
from training_helpers import TinyForecaster, tiny_config

from e3d.configuration import default_config
from e3d.data.sources.in_memory import divide_clips, lend
from e3d.data.sources.registry import open_source
from e3d.errors import InputError
from e3d.runs import trained_run
from e3d.runs.fingerprint import DATA_FILE, Fingerprint, read_fingerprint, training_moments
from e3d.runs.trained_run import load_run
from e3d.tasks.provenance import report_name
from e3d.training import parts
from e3d.training.loop import evaluate, train

NO_VALIDATION = {'dataset.split_fractions': (0.5, 0.0, 0.5)}


@pytest.fixture(autouse=True)
def tiny(monkeypatch, figures_not_rendered):
    """Trains the tiny model in place of the one that the config names."""
    for module in (parts, trained_run):
        monkeypatch.setattr(module, 'build_model', lambda **model: TinyForecaster())


def folder_config(tmp_path, clips, **overrides):
    """Clips of a user, by name [T, 8, 8] in [0, 1]."""
    folder = tmp_path / 'clips'
    for name, frames in clips.items():
        path = folder / f'{name}.npy'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, frames)
    config = tiny_config(tmp_path)
    dataset = config.dataset
    common = {key: dataset[key] for key in ('input_frames', 'output_frames', 'data_dir')}
    config.dataset = default_config('video_folder').dataset
    config.dataset.update(common)
    config.dataset.update({'path': str(folder), 'frame_size': (8, 8), 'test_stride': 1})
    config.dataset.data_dir = str(tmp_path / 'prepared')
    config.update_from_flattened_dict(overrides)
    return config


def clips(seed=0, splits=('train', 'test'), frames=6):
    generator = np.random.default_rng(seed)
    return {
        f'{split}/{number}': generator.random((frames, 8, 8), np.float32)
        for split in splits
        for number in range(3)
    }


def reports_in(workdir):
    return {path.name: json.loads(path.read_text()) for path in workdir.glob('evaluation*.json')}


def splits_in(workdir):
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    return {json.loads(line)['split'] for line in lines}


def test_a_validation_on_the_test_is_called_so_and_selects_nothing(tmp_path, capsys):
    workdir = tmp_path / 'run'
    config = folder_config(tmp_path, clips(), **NO_VALIDATION)
    config.checkpoint.keep = 1
    report = train(config, workdir)
    said = capsys.readouterr().err
    assert 'No checkpoint is kept as the best' in said
    assert 'a folder named validation beside train and test' in said
    assert splits_in(workdir) == {'train', 'validation_on_test', 'test'}
    assert not (workdir / 'checkpoints' / 'errors.json').exists()
    assert report['checkpoint'] == 'newest'
    kept = [path.name for path in (workdir / 'checkpoints').iterdir() if path.name.isdigit()]
    assert kept == ['4']
    with pytest.raises(InputError, match=r"checkpoint='best'.*no validation split(?s:.*)step 4\)"):
        load_run(workdir, best=True)


def test_a_validation_of_its_own_selects_the_best(tmp_path, capsys):
    workdir = tmp_path / 'run'
    config = folder_config(tmp_path, clips(splits=('train', 'validation', 'test')))
    train(config, workdir)
    assert 'kept as the best' not in capsys.readouterr().err
    assert splits_in(workdir) == {'train', 'validation', 'test'}
    errors = json.loads((workdir / 'checkpoints' / 'errors.json').read_text())
    best = min(errors, key=errors.get)
    report = evaluate(None, workdir, 'best')
    assert (report['checkpoint'], report['step']) == ('best on validation', int(best))
    report = evaluate(None, workdir, best)
    assert (report['checkpoint'], report['step']) == (int(best), int(best))
    assert 'checkpoint   4' not in capsys.readouterr().out or best == '4'


def test_the_best_of_an_older_run_that_validated_on_the_test_is_called_so(tmp_path):
    workdir = tmp_path / 'run'
    train(folder_config(tmp_path, clips(), **NO_VALIDATION), workdir)
    (workdir / 'checkpoints' / DATA_FILE).unlink()
    (workdir / 'checkpoints' / 'errors.json').write_text('{"4": 1.0}')
    assert evaluate(None, workdir, 'best')['checkpoint'] == 'best on test'


def test_a_report_says_what_was_measured(tmp_path):
    workdir = tmp_path / 'run'
    config = folder_config(tmp_path, clips())
    report = train(config, workdir)
    assert report['data'] == {
        'name': 'video_folder',
        'path': config.dataset.path,
        'input_frames': 2,
        'output_frames': 2,
        'copy_test': [],
        'split': 'test',
    }
    assert report['differences'] == [] and report['num_sequences'] == 9
    assert reports_in(workdir) == {'evaluation.json': report}


def test_an_evaluation_of_other_lengths_has_a_file_of_its_own(tmp_path, capsys):
    workdir = tmp_path / 'run'
    config = folder_config(tmp_path, clips())
    first = train(config, workdir)
    pictures = {path: path.read_bytes() for path in (workdir / 'samples').iterdir()}
    config.dataset.output_frames = 4
    longer = evaluate(config, workdir)
    name = 'evaluation_output_frames_4'
    assert reports_in(workdir) == {'evaluation.json': first, f'{name}.json': longer}
    assert longer['differences'] == ['dataset.output_frames: stored 2, given 4']
    said = capsys.readouterr()
    assert f'{name}.json' in said.err and f'{workdir}/{name}.json' in said.out
    assert (workdir / f'{name}.png').is_file()
    assert {path: path.read_bytes() for path in (workdir / 'samples').iterdir()} == pictures
    assert list((workdir / 'samples_output_frames_4').iterdir())


def test_data_that_moved_are_the_data_of_the_run(tmp_path, capsys):
    workdir = tmp_path / 'run'
    config = folder_config(tmp_path, clips())
    first = train(config, workdir)
    moved = tmp_path / 'elsewhere'
    pathlib.Path(config.dataset.path).rename(moved)
    config.dataset.path = str(moved)
    report = evaluate(config, workdir)
    assert reports_in(workdir) == {'evaluation.json': report}
    assert report['data']['path'] == str(moved)
    assert [report[key] for key in ('mse', 'ssim')] == [first[key] for key in ('mse', 'ssim')]
    capsys.readouterr()
    config.train.steps = 5
    train(config, workdir)
    said = capsys.readouterr().err
    assert 'from step 4' in said and 'The data have changed' not in said


@pytest.mark.parametrize(
    ('others', 'difference'),
    [
        (clips(seed=1), None),
        (clips(frames=7), '12 sequences in the test split, not 9'),
        ({k: v / 2 for k, v in clips().items()}, 'other frames in the test split'),
    ],
)
def test_other_data_at_another_path_are_told_and_take_no_reports_place(
    tmp_path, capsys, others, difference
):
    workdir = tmp_path / 'run'
    first = train(folder_config(tmp_path, clips()), workdir)
    (tmp_path / 'other').mkdir()
    config = folder_config(tmp_path / 'other', others)
    capsys.readouterr()
    report = evaluate(config, workdir)
    found = reports_in(workdir)
    assert found.pop('evaluation.json') == first
    assert list(found.values()) == [report] and 'path_clips' in next(iter(found))
    assert (difference or 'The data are not those') in capsys.readouterr().err
    config.train.steps = 5
    with pytest.raises(InputError, match='holds other data than') as caught:
        train(config, workdir)
    assert (difference or 'other frames') in str(caught.value)


def sparse_clips(seed):
    """Black but for some cells, such as rain: no mean is above the tolerance of bright frames."""
    generator = np.random.default_rng(seed)
    shape, names = (6, 8, 8), clips()
    wet = {name: generator.random(shape) < 0.02 for name in names}
    return {name: (wet[name] * generator.random(shape) / 16).astype(np.float32) for name in names}


def test_other_data_are_told_where_frames_are_dark(tmp_path, capsys):
    workdir = tmp_path / 'run'
    first = train(folder_config(tmp_path, sparse_clips(0)), workdir)
    (tmp_path / 'other').mkdir()
    config = folder_config(tmp_path / 'other', sparse_clips(1), **{'train.steps': 5})
    with pytest.raises(InputError, match=r'holds other data than.*other frames in the test split'):
        train(config, workdir)
    evaluate(config, workdir)
    assert len(reports_in(workdir)) == 2 and reports_in(workdir)['evaluation.json'] == first
    # A run of an earlier version tells the means alone, which are near.
    stored = json.loads((workdir / 'checkpoints' / DATA_FILE).read_text())
    assert max(stored['means']) < 2e-3 and len(stored['deviations']) == len(stored['means'])
    older = {key: value for key, value in stored.items() if 'deviations' not in key}
    (workdir / 'checkpoints' / DATA_FILE).write_text(json.dumps(older))
    capsys.readouterr()
    train(config, workdir)
    said = capsys.readouterr().err
    assert 'from step 4' in said and 'have changed' not in said


def test_data_that_changed_where_they_are_are_told(tmp_path, capsys):
    workdir = tmp_path / 'run'
    train(folder_config(tmp_path, clips()), workdir)
    more = folder_config(tmp_path, clips(frames=7), **{'train.steps': 5})
    more.dataset.data_dir += '_again'
    train(more, workdir)
    said = capsys.readouterr().err
    assert 'The data have changed' in said and '12 sequences in the test split, not 9' in said


def with_other_training(found):
    return {k: v**3 if k.startswith('train') else v for k, v in found.items()}


def test_other_training_sequences_elsewhere_are_refused_but_measured_as_the_same(tmp_path, capsys):
    workdir = tmp_path / 'run'
    train(folder_config(tmp_path, clips()), workdir)
    (tmp_path / 'other').mkdir()
    config = folder_config(tmp_path / 'other', with_other_training(clips()), **{'train.steps': 5})
    before = (workdir / 'config.json').read_bytes()
    with pytest.raises(InputError, match=r'holds other data than.*other frames in the train split'):
        train(config, workdir)
    assert (workdir / 'config.json').read_bytes() == before
    evaluate(config, workdir)
    assert list(reports_in(workdir)) == ['evaluation.json']
    # A run of an earlier version does not tell of its training sequences.
    stored = json.loads((workdir / 'checkpoints' / DATA_FILE).read_text())
    older = {key: stored[key] for key in ('frames', 'sequences', 'means', 'no_best', 'path')}
    (workdir / 'checkpoints' / DATA_FILE).write_text(json.dumps(older))
    capsys.readouterr()
    train(config, workdir)
    said = capsys.readouterr().err
    assert 'from step 4' in said and 'have changed' not in said


def test_training_sequences_that_changed_where_they_are_are_told(tmp_path, capsys):
    workdir = tmp_path / 'run'
    train(folder_config(tmp_path, clips()), workdir)
    config = folder_config(tmp_path, with_other_training(clips()), **{'train.steps': 5})
    config.dataset.data_dir += '_again'
    train(config, workdir)
    said = capsys.readouterr().err
    assert 'The data have changed' in said and 'other frames in the train split' in said


def test_a_run_on_arrays_goes_on_with_the_same_ones_alone(tmp_path, capsys):
    frames = np.random.default_rng(0).random((60, 8, 8), np.float32)
    other = frames.copy()
    other[7, 3, 3] = 1 - other[7, 3, 3]  # which no mean tells

    def fit(frames, steps):
        config = tiny_config(tmp_path)
        common = {key: config.dataset[key] for key in ('input_frames', 'output_frames')}
        config.dataset = default_config('in_memory').dataset
        config.dataset.update(common)
        config.train.steps = steps
        with lend(divide_clips(frames, None, 4, None)) as config.dataset.path:
            train(config, tmp_path / 'run')

    fit(frames, 4)
    for steps in (4, 5):
        with pytest.raises(InputError, match=r'other frames\. Give the same arrays'):
            fit(other, steps)
    fit(frames.copy(), 5)
    assert 'have changed' not in capsys.readouterr().err


class Drawn:
    """Noise that is another one at every reading."""

    def __init__(self, seed, size=9):
        self.random, self.size = np.random.default_rng(seed), size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {'frames': self.random.random((4, 2, 2, 1), np.float32)}


def test_sequences_that_are_drawn_are_not_told(tmp_path):
    dataset = tiny_config(tmp_path).dataset
    test, endless = open_source(dataset, 'test'), open_source(dataset, 'train')
    for source in (endless, Drawn(0), Drawn(1)):
        assert training_moments(source) == ((), ())
    means, deviations = training_moments(test)
    assert len(means) == len(deviations) == len(test) == 5
    frames = [test[index]['frames'] / 255 for index in range(5)]
    np.testing.assert_allclose(deviations, [np.std(one) for one in frames], atol=1e-6)


def test_reports_of_different_data_have_different_names(tmp_path):
    run = folder_config(tmp_path, {})
    names = set()
    changes = [
        {'dataset.output_frames': 4},
        {'dataset.output_frames': 5},
        {'dataset.copy_test': (2, 2)},
        {'dataset.split_fractions': (0.5, 0.0, 0.5)},
        {'dataset.path': '/a/clips'},
        {'dataset.path': '/b/clips'},
        {'dataset.path': '../..'},
        {'dataset.path': 'ünï/' + 'x' * 400},
    ]
    for change in changes:
        config = run.copy_and_resolve_references()
        config.update_from_flattened_dict(change)
        names.add(report_name(run, config, other_data='dataset.path' in change))
    assert len(names) == len(changes)
    assert all(len(name) < 120 and '/' not in name and '..' not in name for name in names)
    unmeasured = run.copy_and_resolve_references()
    unmeasured.update_from_flattened_dict({'dataset.workers': 2, 'train.steps': 9})
    assert report_name(run, unmeasured) == 'evaluation'


@pytest.mark.parametrize(
    'text', ['', '[]', '{}', '{"frames": 3}', '[' * 10**5, '{"frames": ["a"]}', 'Infinity']
)
def test_a_damaged_fingerprint_is_as_good_as_none(tmp_path, text):
    (tmp_path / DATA_FILE).write_text(text)
    assert read_fingerprint(tmp_path) is None


def test_fingerprints_that_are_nearly_the_same_are_the_same():
    stored = Fingerprint((4, 8, 8, 1), {'test': 3, 'train': 9}, (0.5, 0.25))
    assert stored.find_differences(stored._replace(means=(0.5005, 0.2495))) == []
    assert stored.find_differences(stored._replace(means=(0.51, 0.25)))
    assert stored.find_differences(stored._replace(sequences={'test': 3, 'validation': 2})) == []
    # What does not tell what it was trained on is not certainly the same as anything.
    told = stored._replace(training=(0.3,))
    assert told.is_same(told) and not stored.is_same(stored) and not told.is_same(stored)
    assert not told.is_same(told._replace(training=(0.31,)))


@pytest.mark.parametrize(
    ('known', 'found', 'same'),
    [
        ((0.5, 0.2), (0.5015, 0.1985), True),
        ((0.5, 0.2), (0.503, 0.2), False),
        ((0.5, 0.2), (0.5, 0.203), False),
        # Dark video, as another decoder gives it, and other video or rain.
        ((0.001, 0.01), (0.0011, 0.0099), True),
        ((0.001, 0.01), (0.0015, 0.01), False),
        ((0.001, 0.01), (0.001, 0.0105), False),
        ((0.001, 0.01), (0.0, 0.0), False),
        ((0.0, 0.0), (0.0, 0.0), True),
        # Less their mean, divided by their standard deviation.
        ((-0.001, 1.0), (0.0005, 1.0), True),
        ((-0.001, 1.0), (0.0015, 1.0), False),
        ((0.5, 0.2), (float('nan'), 0.2), False),
        ((0.5, 0.2), (0.5, float('nan')), False),
    ],
)
def test_moments_are_near_by_the_size_of_what_a_sequence_holds(known, found, same):
    one, other = (
        Fingerprint(
            (4, 8, 8, 1), {'test': 1}, (mean,), '', '', (mean,), '', (deviation,), (deviation,)
        )
        for mean, deviation in (known, found)
    )
    for first, second in ((one, other), (other, one)):
        assert first.is_same(second) == same
        assert (not first.find_differences(second)) == same
        assert (not first.find_other_training(second)) == same


def test_fingerprints_of_earlier_versions_tell_by_the_means_alone():
    dark = Fingerprint((4, 8, 8, 1), {'test': 1}, (0.001,), deviations=(0.01,))
    black = dark._replace(means=(0.0,), deviations=(0.0,))
    older = dark._replace(deviations=())
    assert dark.find_differences(black)
    assert older.find_differences(black) == black.find_differences(older) == []
    assert older.find_differences(black._replace(means=(0.004,)))
    damaged = dark._replace(deviations=(0.01, 0.01))
    assert damaged.find_differences(dark) and dark.find_differences(damaged)
