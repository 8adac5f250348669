import functools
import json
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from something_something_fixtures import write_data_set, write_labels

from e3d import InputError, evaluate, forecast, load_run, recognize, train
from e3d.configuration import check_config, default_config, switch_model
from e3d.data.sources.dataset import DATASETS
from e3d.data.sources.registry import open_source
from e3d.evaluation.recognition import (
    FRACTIONS,
    format_recognition,
    format_recognized,
    parts_of,
    recognition_report,
    wilson_interval,
)
from e3d.evaluation.recognition_pictures import draw_confidences, write_recognition
from e3d.model import build_model
from e3d.model.needs import Needs
from e3d.model.recognizer import Recognition
from e3d.parallel import devices
from e3d.runs import transfer
from e3d.runs.state import TrainState
from e3d.tasks import recognition
from e3d.tasks.observing import align, front, shown_lengths
from e3d.tasks.recognition import RecognitionEvaluator
from e3d.tasks.recognition_loss import RecognitionObjective, build_loss, prediction_weight
from e3d.training.optimizer import build_optimizer, create_state
from e3d.training.step import train_step
from experiments import moving_actions


def tiny_config(**overrides):
    """Clips of 8 frames of 8 x 8."""
    config = moving_actions.get_config('small')
    config.model.update({'layers': 1, 'features': 2, 'kernel_size': (2, 3, 3), 'window': 2})
    config.dataset.update({'canvas': (8, 8), 'digit_size': 4, 'travel': 3.0})
    config.dataset.update({'input_frames': 8, 'output_frames': 2})
    config.dataset.update({'validation_size': 3, 'test_size': 5})
    config.train.update({'batch_size': 4, 'steps': 2, 'log_every': 1, 'evaluate_every': 2})
    config.evaluation.update({'batch_size': 4, 'num_samples': 1})
    config.update_from_flattened_dict(overrides)
    return config


def weight(strategy, step):
    objective = RecognitionObjective(strategy, 10.0, 2e-5, 0.1, 3.0, (1.0,))
    return float(prediction_weight(objective, jnp.int32(step)))


def test_the_weight_of_the_prediction_falls_linearly_to_its_least():
    assert weight('scheduled', 0) == 10.0
    assert weight('scheduled', 100_000) == pytest.approx(8.0)
    # In float32, of 10 less 9.9.
    assert weight('scheduled', 495_000) == pytest.approx(0.1, abs=1e-6)
    assert weight('scheduled', 10**6) == pytest.approx(0.1)
    assert [weight(s, 7) for s in ('fixed', 'classification', 'prediction')] == [3.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ('step', 'expected'), [(0, 4.0), (6, 2.5), (10, 1.5), (11, 1.5), (99, 1.5)]
)
def test_the_weight_of_the_prediction_falls_as_the_config_says(step, expected):
    config = tiny_config(**{'loss.start': 4.0, 'loss.decrease': 0.25, 'loss.least': 1.5})
    assert float(prediction_weight(RecognitionObjective(**config.loss), step)) == expected


def test_repeated_first_frames_go_and_the_last_one_comes_in_their_place():
    frames = np.arange(5)[None, :, None, None, None].repeat(2, axis=0)
    aligned, repeated = align({'frames': frames, 'repeated': np.array([2, 0])})
    np.testing.assert_array_equal(aligned[..., 0, 0, 0], [[2, 3, 4, 4, 4], [0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(repeated, [2, 0])


def test_front_parts_are_rounded_up():
    np.testing.assert_array_equal(front(jnp.array([0.25, 0.7, 0.01]), 10), [3, 7, 1])
    assert int(front(0.25, 16)) == 4


def random_batch(config, size=4):
    generator = np.random.default_rng(0)
    length = config.dataset.input_frames + config.dataset.output_frames
    return {
        'frames': generator.random((size, length, 8, 8, 1), np.float32),
        'label': np.arange(size, dtype=np.int32) % 7,
        'repeated': np.resize(np.array([0, 3, 1, 6], np.int32), size),
    }


@pytest.fixture(scope='module')
def prepared():
    config = tiny_config()
    model = build_model(**config.model)
    optimizer, rate = build_optimizer(config.optimizer, config.train.steps)
    state = jax.device_get(jax.jit(lambda: create_state(model, optimizer, (8, 8, 1), 0))())
    return config, model, optimizer, rate, lambda: jax.tree.map(np.copy, state)


def test_the_update_does_not_depend_on_the_number_of_devices(prepared):
    config, model, optimizer, rate, create = prepared
    results = []
    for count in (1, 4):
        mesh = devices.local_mesh(count)
        step = functools.partial(
            train_step,
            loss=build_loss(config, model),
            optimizer=optimizer,
            learning_rate=rate,
            axis_name=devices.AXIS,
        )
        state = devices.place_state(create(), mesh)
        batch = devices.place_batch(random_batch(config), mesh)
        state, metrics = devices.parallel_step(step, mesh)(state, batch)
        results.append(jax.device_get((state.params, metrics)))
    for other in results[1:]:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), results[0], other
        )


@pytest.mark.usefixtures('figures_not_rendered')
def test_the_evaluation_does_not_depend_on_the_number_of_devices(prepared, tmp_path):
    """Five clips in batches of four: the last batch is not full, and four do not divide five."""
    config, model, _, _, create = prepared
    reports = []
    for count in (1, 4):
        mesh = devices.local_mesh(count)
        evaluator = RecognitionEvaluator(config, model, tmp_path, mesh, ('test',))
        variables = devices.place_state(create().forecast_variables, mesh)
        reports.append(evaluator.evaluate(variables, 0, 'test'))
    for other in reports[1:]:
        assert other.pop('cross_entropy') == pytest.approx(reports[0]['cross_entropy'], rel=1e-5)
        assert other == {k: v for k, v in reports[0].items() if k != 'cross_entropy'}


def test_the_loss_is_that_of_a_plain_reading(prepared):
    config, model, _, _, create = prepared
    config = tiny_config(**{'loss.observed': (0.5,), 'sampling.start': 0.0})
    params, batch = create().params, random_batch(config, size=2)
    value, (parts, _) = jax.jit(build_loss(config, model), static_argnums=3)(
        {'params': params}, batch, jnp.int32(5), None
    )
    cross_entropy, l2 = [], []
    for frames, label, repeated in zip(*batch.values(), strict=True):
        clip = frames[repeated:]
        observed = max(1, -(-(8 - repeated) // 2))
        padded = np.concatenate([clip, np.zeros((8, 8, 8, 1), np.float32)])[None, : observed + 1]
        predictions, _ = model.apply(
            {'params': params}, padded, 1, jnp.arange(observed + 1)[None] < observed
        )
        _, scores = model.apply({'params': params}, clip[None, :observed])
        cross_entropy.append(-jax.nn.log_softmax(scores)[0, label])
        l2.append(np.mean((predictions[0] - clip[1 : observed + 2]) ** 2))
    assert float(parts['cross_entropy']) == pytest.approx(np.mean(cross_entropy), rel=1e-4)
    assert float(parts['l2']) == pytest.approx(np.mean(l2), rel=1e-4)
    expected = np.mean(cross_entropy) + (10.0 - 0.04 * 5) * np.mean(l2)
    assert float(value) == pytest.approx(expected, rel=1e-4)


class Guessing(nn.Module):
    """Scores that are random numbers, or the length of what is observed."""

    by_length: bool

    @property
    def needs(self):
        return Needs(scores_only=True, training=True)

    @nn.compact
    def __call__(self, frames, output_frames, truth_mask, lengths, training=None):
        scores = jax.random.normal(self.make_rng('dropout'), (len(frames), 7))
        known = jnp.zeros_like(scores).at[:, 0].set(lengths)
        return Recognition(None, known if self.by_length else scores)


@pytest.mark.parametrize('by_length', [False, True])
def test_every_update_and_every_seed_draws_anew(by_length):
    batch, values = random_batch(tiny_config(), size=32), []
    for seed, step in ((0, 5), (0, 5), (0, 6), (1, 5)):
        changes = {'loss.strategy': 'classification', 'loss.observed': (0.25, 0.5, 1.0)}
        config = tiny_config(seed=seed, **changes)
        values.append(float(build_loss(config, Guessing(by_length))({}, batch, step, None)[0]))
    assert values[0] == values[1] and len(set(values)) == 3


@pytest.mark.parametrize(
    ('fractions_of', 'observed', 'shown'),
    [
        ('clip', (0.25,), 0.5),
        ('clip', (), 1.0),
        ('clip', (0.5,), 1.0),
        ('window', (0.25,), 0.25),  # of older runs
    ],
)
def test_the_loss_observes_fractions_of_what_the_config_says(
    prepared, fractions_of, observed, shown
):
    """Of clips of 16 frames whose first 8 are shown."""
    _, model, _, _, create = prepared
    params, batch = create().params, random_batch(tiny_config()) | {'repeated': np.zeros(4, int)}

    def loss(batch, observed):
        config = tiny_config(**{'loss.observed': observed, 'sampling.start': 0.0})
        config.dataset.fractions_of = fractions_of
        value, (parts, _) = jax.jit(build_loss(config, model), static_argnums=3)(
            {'params': params}, batch, jnp.int32(5), None
        )
        return float(value), float(parts['cross_entropy']), float(parts['l2'])

    whole = batch | {'clip_frames': np.full(4, 16, np.int32)}
    assert loss(whole, observed) == pytest.approx(loss(batch, (shown,)), rel=1e-5)


def test_the_weight_is_of_a_mean_where_the_paper_has_a_sum(prepared):
    _, model, _, _, create = prepared
    config = tiny_config(**{'loss.observed': (1.0,), 'sampling.start': 0.0})
    batch = random_batch(config) | {'repeated': np.zeros(4, int)}
    _, (parts, _) = jax.jit(build_loss(config, model), static_argnums=3)(
        create().forecast_variables, batch, jnp.int32(0), None
    )
    frames, truth = batch['frames'], np.arange(9)[None].repeat(4, axis=0) < 8
    apply = jax.jit(model.apply, static_argnums=2)
    predictions = apply({'params': create().params}, frames[:, :-1], 1, truth).predictions
    total = np.square(predictions - frames[:, 1:]).sum() / 4  # of a clip, as equation 4 has it
    assert float(parts['l2']) * (9 * 8 * 8 * 1) == pytest.approx(total, rel=1e-4)


def test_the_report_counts_what_is_right():
    generator = np.random.default_rng(0)
    logs = generator.normal(size=(40, len(FRACTIONS), 7))
    labels = generator.integers(0, 6, 40)  # no clip of the last class
    report = recognition_report(logs, labels, [f'class {i}' for i in range(7)])
    for part in (25, 50, 100):
        scores = logs[:, FRACTIONS.index(part / 100)]
        order = np.argsort(-scores, axis=1)
        assert report[f'accuracy_{part}'] == pytest.approx(np.mean(order[:, 0] == labels))
        among = [label in row[:5] for label, row in zip(labels, order, strict=True)]
        assert report[f'top5_{part}'] == pytest.approx(np.mean(among))
        table = np.array(report['confusion'][str(part)])
        assert table.sum() == 40 and np.trace(table) == round(40 * report[f'accuracy_{part}'])
        assert report['per_class'][str(part)][6] is None
    assert report['curve'][1] == report['accuracy_25']
    of_label = logs[np.arange(40), :, labels]
    assert report['cross_entropy'] == pytest.approx(-of_label.mean())
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize('chosen', [0, 3, 6])
def test_a_model_that_cannot_tell_classes_apart_is_right_as_often_as_one_of_them_is(chosen):
    labels = np.arange(70) % 7
    logs = np.full((70, len(FRACTIONS), 7), -np.log(7.0))
    logs[..., :chosen] -= 1.0  # the first of those that are alike is `chosen`
    report = recognition_report(logs, labels, [f'class {i}' for i in range(7)])
    for part in ('25', '50', '100'):
        assert report[f'accuracy_{part}'] == 10 / 70
        assert report[f'top5_{part}'] == 50 / 70
        assert np.array(report['confusion'][part])[:, chosen].tolist() == [10] * 7
        assert report['per_class'][part] == [float(label == chosen) for label in range(7)]
    assert report['curve'] == [10 / 70] * len(FRACTIONS)


def test_some_equal_scores_count_as_in_the_confusion_matrix():
    logs = np.random.default_rng(0).integers(0, 3, (200, len(FRACTIONS), 7)).astype(float)
    labels = np.random.default_rng(1).integers(0, 7, 200)
    report = recognition_report(logs, labels, [str(i) for i in range(7)])
    for part in ('25', '50', '100'):
        table = np.array(report['confusion'][part])
        assert np.trace(table) / 200 == report[f'accuracy_{part}']
        order = np.argsort(-logs[:, FRACTIONS.index(int(part) / 100)], axis=1, kind='stable')
        assert report[f'top5_{part}'] == np.mean((order[:, :5] == labels[:, None]).any(axis=1))


@pytest.mark.parametrize(
    ('fractions', 'parts'),
    [
        (FRACTIONS, {'25': 1, '50': 3, '100': 7}),
        ((0.25,), {'25': 0}),
        ((0.125, 0.25, 0.375, 0.4), {'25': 1, '40': 3}),
        ((0.125,), {'12.5': 0}),
    ],
)
def test_only_fractions_that_are_shown_are_reported(tmp_path, fractions, parts):
    assert parts_of(fractions) == parts
    logs = np.random.default_rng(0).normal(size=(9, len(fractions), 7))
    labels = np.arange(9) % 7
    names = [f'class {i}' for i in range(7)]
    report = recognition_report(logs, labels, names, fractions)
    assert {key for key in report if key.startswith('accuracy_')} == {
        f'accuracy_{part}' for part in parts
    }
    assert list(report['confusion']) == list(parts) and report['fractions'] == list(fractions)
    report |= {'protocol': 'any', 'num_sequences': 9, 'step': 3}
    table = format_recognition(report)
    assert [f'{part} % of the clip' in table for part in ('25', '50', '100')] == [
        part in parts for part in ('25', '50', '100')
    ]
    write_recognition(report, [tmp_path / 'curves.png'])
    frames = np.zeros((6, 8, 8, 1), np.float32)
    lengths = np.arange(1, len(fractions) + 1).clip(max=6)
    draw_confidences([tmp_path / 'one.png'], frames, np.exp(logs[0]), lengths, 2, names, fractions)
    assert (tmp_path / 'curves.png').exists() and (tmp_path / 'one.png').exists()


def test_tables_have_the_names_of_classes_as_they_are():
    names = ['Pushing [something] left', 'ends in [/]', '[mm/h]', ':smile: and [b]']
    logs = np.log(np.full((4, 1, 4), 0.25))
    report = recognition_report(logs, np.arange(4), names, [1.0])
    report |= {'protocol': '[own] clips', 'num_sequences': 4, 'step': 3}
    assert all(name in format_recognition(report) for name in (*names, '[own] clips'))
    recognized = format_recognized(names, np.exp(logs[0]), [1.0])
    assert all(name in recognized for name in names)


class FrontQuarters:
    """Clips of 40 frames, of whose front quarter the last 8 or 10 frames are shown."""

    class_names = tuple(f'class {i}' for i in range(7))

    def __init__(self, from_front):
        self.shown_part = (0.25, from_front)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        frames = np.random.default_rng(index).integers(0, 256, (10, 8, 8, 1)).astype(np.uint8)
        return {'frames': frames, 'label': np.int32(index), 'clip_frames': np.int32(40)}


@pytest.mark.usefixtures('figures_not_rendered')
def test_fractions_are_of_the_whole_clip(prepared, tmp_path, monkeypatch):
    """Of 40 frames an eighth is 5; the 8 frames that are shown are no 100 %."""
    config, model, _, _, create = prepared
    batch = {'frames': np.zeros((3, 10, 8, 8, 1)), 'clip_frames': np.array([40, 30, 9], np.int32)}
    lengths = shown_lengths((0.1, 0.125, 0.25), batch, 8)
    np.testing.assert_array_equal(lengths, [[4, 5, 8], [3, 4, 8], [1, 2, 3]])
    lengths = shown_lengths((0.1, 0.5, 1.0), batch, 8, of_clip=False)
    np.testing.assert_array_equal(lengths, [[1, 4, 8]] * 3)

    def evaluate(from_front):
        sources = dict.fromkeys(('train', 'test'), FrontQuarters(from_front))
        monkeypatch.setattr(recognition, 'open_splits', lambda *arguments: sources)
        evaluator = RecognitionEvaluator(config, model, tmp_path, devices.local_mesh(1), ('test',))
        return evaluator.evaluate(create().forecast_variables, 0, 'test')

    front, end = evaluate(True), evaluate(False)
    assert front['fractions'] == [0.125, 0.25] and end['fractions'] == [0.25]
    assert {'accuracy_25', 'top5_25'} <= front.keys()
    assert not {'accuracy_50', 'accuracy_100'} & (front.keys() | end.keys())
    assert front['curve'][1:] == end['curve'] == [end['accuracy_25']]


def test_what_is_not_shown_cannot_be_observed_in_training(prepared, tmp_path, monkeypatch):
    _, model, _, _, _ = prepared

    def refusal(observed, from_front):
        sources = dict.fromkeys(('train', 'validation'), FrontQuarters(from_front))
        monkeypatch.setattr(recognition, 'open_splits', lambda *arguments: sources)
        config = tiny_config(**{'loss.observed': observed})
        mesh = devices.local_mesh(1)
        with pytest.raises(InputError) as caught:
            RecognitionEvaluator(config, model, tmp_path, mesh, ('validation',))
        return str(caught.value)

    assert 'shows the front 0.25; must be () for that, or fractions below it' in refusal(
        (0.25, 0.5), True
    )
    assert '0.25 (its last dataset.input_frames=8 frames); must be () for that.' in refusal(
        (0.125,), False
    )


@pytest.mark.parametrize('observed', [(0.25,), (0.125, 0.25), ()])
def test_the_best_is_chosen_on_the_fractions_that_are_trained(
    prepared, tmp_path, monkeypatch, observed
):
    model = prepared[1]
    changes = {'evaluation.batch_size': 5, 'evaluation.num_samples': 0}
    config = tiny_config(**{'loss.observed': observed, **changes})
    sources = dict.fromkeys(('train', 'validation'), FrontQuarters(True))
    monkeypatch.setattr(recognition, 'open_splits', lambda *arguments: sources)
    mesh = devices.local_mesh(1)
    evaluator = RecognitionEvaluator(config, model, tmp_path, mesh, ('validation',))

    def recognize(variables, inputs):
        """Right where 5 frames were seen, wrong where 8 were."""
        scores = np.zeros((len(inputs['frames']), inputs['lengths'].shape[1], 7))
        for clip in range(len(scores)):
            for place, length in enumerate(np.asarray(inputs['lengths'][clip])):
                scores[clip, place, clip if length == 5 else 6] = 1.0
        return jax.nn.log_softmax(scores)

    evaluator._recognize = recognize
    report = evaluator.evaluate(None, 0, 'validation')
    assert report['curve'] == [1.0, 0.0]
    expected = {(0.25,): 1.0, (0.125, 0.25): 0.5, (): 1.0}[observed]
    assert evaluator.error(report) == pytest.approx(expected)


def test_wilson_interval():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_parameters_that_fit_are_taken_from_another_run(prepared, monkeypatch, capsys):
    state = prepared[4]()
    state = state.replace(
        ema_params=jax.tree.map(np.zeros_like, state.params),
        collections={'statistics': {'mean': np.float32([0, 0]), 'own': np.float32([0, 0])}},
        ema_collections={'statistics': {'mean': np.float32([1, 1]), 'own': np.float32([1, 1])}},
    )
    stored = jax.tree.map(lambda leaf: np.full(leaf.shape, 7.0, np.float32), state.params)
    stored['classifier']['scores']['bias'] = np.zeros(3, np.float32)
    run = types.SimpleNamespace(
        params=stored,
        collections={'statistics': {'mean': np.float32([5, 5])}},
        class_names=(),
    )
    monkeypatch.setattr(transfer, 'load_run', lambda _: run)
    begun = transfer.begin_from(state, 'runs/other')
    classifier = begun.params['classifier']
    np.testing.assert_array_equal(classifier['scores']['kernel'], 7.0)
    np.testing.assert_array_equal(
        classifier['scores']['bias'], state.params['classifier']['scores']['bias']
    )
    said = capsys.readouterr()
    assert 'newly initialized are classifier/scores/bias' in said.out + said.err
    assert int(begun.step) == 0
    statistics = begun.collections['statistics']
    np.testing.assert_array_equal([statistics['mean'], statistics['own']], [[5, 5], [0, 0]])
    # The moving average begins there as well.
    for average, value in (
        (begun.ema_params, begun.params), (begun.ema_collections, begun.collections),
    ):  # fmt: skip
        jax.tree.map(np.testing.assert_array_equal, average, value)

    stranger = types.SimpleNamespace(
        params={'other': np.zeros(2)}, collections=None, class_names=()
    )
    monkeypatch.setattr(transfer, 'load_run', lambda _: stranger)
    with pytest.raises(InputError, match="init_from='runs/other'"):
        transfer.begin_from(state, 'runs/other')


def test_a_run_from_start_to_end_and_one_that_begins_with_it(tmp_path):
    first = tmp_path / 'first'
    report = train(tiny_config(**{'loss.strategy': 'prediction'}), first)
    assert report['num_sequences'] == 5 and len(report['curve']) == 8
    for name in ('evaluation.json', 'evaluation.png', 'samples/step_00000002_sample_0.png'):
        assert (first / name).stat().st_size > 100
    lines = [json.loads(line) for line in (first / 'metrics.jsonl').read_text().splitlines()]
    assert {'cross_entropy', 'l2', 'prediction_weight'} <= lines[0].keys()
    assert any('accuracy_25' in line for line in lines if line['split'] == 'test')
    with pytest.raises(InputError, match='classifies clips and does not forecast'):
        forecast(first, np.zeros((3, 8, 8, 1), np.float32))

    source = open_source(tiny_config().dataset, 'test')
    clips = [source[index] for index in range(len(source))]
    found = [recognize(first, clip['frames'][:8]) for clip in clips]
    classes = [one.probabilities.argmax(axis=1) for one in found]
    right = np.stack(classes) == np.array([[clip['label']] for clip in clips])
    np.testing.assert_allclose(np.mean(right, axis=0), report['curve'])
    assert found[0].class_names == tuple(report['classes'])
    with pytest.raises(InputError, match='There is no trained run'):
        train(tiny_config(init_from=str(tmp_path / 'nothing')), tmp_path / 'second')


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('loss.strategy', 'both', "loss.strategy='both': must be 'scheduled'"),
        ('loss.observed', (0.0, 0.5), r'loss.observed=\(0.0, 0.5\): must be \(\) or numbers'),
        ('sampling.kind', 'reverse', "sampling.kind='reverse' is for task='prediction'"),
        ('dataset.copy_test', (2, 2), "copy_test is for task='prediction'"),
    ],
)
def test_impossible_configs_are_rejected(key, value, message):
    with pytest.raises(InputError, match=message):
        check_config(tiny_config(**{key: value}))


def test_another_number_of_classes_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r'model\.classes=6: moving_actions has 7 classes'):
        train(tiny_config(**{'model.classes': 6}), tmp_path)


class OwnClips:
    """Clips of 10 frames of a data set of the user's."""

    def __init__(self, class_names, labels):
        self.class_names, self._labels = class_names, labels

    def __len__(self):
        return len(self._labels)

    def __getitem__(self, index):
        frames = np.random.default_rng(index).random((10, 8, 8, 1), np.float32)
        return {'frames': frames, 'label': self._labels[index]}


@pytest.fixture
def own_clips(monkeypatch):
    """Lets a test say what names and labels the splits of the data have; [0, 1, 2] where it does not."""

    def give(names=None, **labels):
        def open_split(dataset, split, seed):
            known = (names or {}).get(split, ('run', 'sit', 'walk'))
            return OwnClips(known, labels.get(split, np.arange(3)))

        monkeypatch.setattr(DATASETS['moving_actions'], 'open', staticmethod(open_split))

    return give


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ({'test': ('run', 'walk')}, "Class 1 is 'sit' in the train split and 'walk' in the test"),
        ({'validation': ('run', 'sit')}, "Class 2 is 'walk' in .* and missing in the validation"),
        ({'train': ('run', 'sit')}, "Class 2 is missing in the train split and 'walk' in the val"),
    ],
)
def test_splits_that_number_other_classes_are_rejected(own_clips, tmp_path, names, message):
    own_clips(names)
    with pytest.raises(InputError, match=message):
        train(tiny_config(**{'model.classes': 3}), tmp_path)


@pytest.mark.usefixtures('figures_not_rendered')
def test_a_label_of_no_class_is_rejected_wherever_it_is_read(own_clips, tmp_path):
    config = tiny_config(**{'model.classes': 3, 'train.steps': 4})
    own_clips(train=np.array([0, -1] + [2] * 14))  # 4 batches; the second clip only in one of them
    with pytest.raises(
        InputError,
        match=r'train split has the label -1 at index 1; model\.classes=3 needs labels from 0 to 2',
    ):
        train(config, tmp_path)
    model, mesh = build_model(**config.model), devices.local_mesh(1)
    for wrong in (-1, 3, 1.0, None):
        own_clips(test=[np.int32(0), wrong, np.int32(2)])
        evaluator = RecognitionEvaluator(config, model, tmp_path, mesh, ('test',))
        with pytest.raises(InputError, match=f'test split has the label {wrong} at index 1'):
            evaluator.evaluate(None, 0, 'test')


@pytest.mark.usefixtures('figures_not_rendered')
def test_a_network_over_whole_clips_is_trained_from_start_to_end(tmp_path):
    config = tiny_config()
    switch_model(config, 'c3d')
    config.model.update({'classes': 7, 'features': 2, 'clip_frames': 4})
    with pytest.raises(InputError, match=r'c3d predicts no frames; take .*=classification'):
        train(config, tmp_path)
    config.loss.strategy = 'classification'
    config.evaluation.figures = 'pdf'
    report = train(config, tmp_path)
    assert report['num_sequences'] == 5 and len(report['curve']) == 8
    assert {path.suffix for path in tmp_path.glob('evaluation.*')} == {'.json', '.png', '.pdf'}
    assert {path.suffix for path in tmp_path.glob('samples/*')} == {'.png', '.pdf'}
    with pytest.raises(InputError, match=r'classifies clips and does not forecast.*recognize'):
        forecast(tmp_path, np.zeros((3, 8, 8, 1), np.float32))
    assert train(config, tmp_path) == report  # finished, and evaluated again


@pytest.mark.usefixtures('figures_not_rendered')
def test_no_run_goes_on_with_other_numbers_of_the_classes(tmp_path, capsys):
    write_data_set(tmp_path)
    names = write_labels(tmp_path)
    config = default_config('something_something', 'recognition', 'c3d')
    config.name = 'renumbered'
    config.dataset.update({'path': str(tmp_path / 'raw'), 'data_dir': str(tmp_path / 'data')})
    config.dataset.update({'input_frames': 4, 'output_frames': 2, 'frame_size': (8, 8)})
    config.dataset.update({'num_classes': 174, 'validation_fraction': 0.0})
    config.model.update({'classes': 174, 'features': 2, 'clip_frames': 4})
    config.loss.update({'strategy': 'classification', 'observed': ()})
    config.train.update({'batch_size': 4, 'steps': 1, 'log_every': 1})
    config.evaluation.update({'batch_size': 1, 'num_samples': 0})
    run = tmp_path / 'run'
    report = train(config, run)
    assert evaluate(None, run)['accuracy_25'] == report['accuracy_25']
    trained = load_run(run)
    assert trained.class_names == tuple(names)
    fresh = TrainState(
        step=np.zeros((), np.int32),
        params=jax.tree.map(np.zeros_like, trained.params),
        ema_params=None,
        opt_state=(),
    )
    capsys.readouterr()
    begun = transfer.begin_from(fresh, run, class_names=names)
    jax.tree.map(np.testing.assert_array_equal, begun.params, trained.params)
    assert 'newly initialized' not in capsys.readouterr().err

    others = write_labels(tmp_path, reverse=True)
    said = (
        f"class 0 is '{names[0]}' in the run and '{others[0]}' in the data, and 173 more are others"
    )
    for use in (lambda: train(config, run), lambda: evaluate(None, run)):
        with pytest.raises(
            InputError, match=f'trained with other classes.*{said}. Give the labels'
        ):
            use()
    # Who begins with its weights learns the classes anew.
    begun = transfer.begin_from(fresh, run, class_names=others)
    assert not any(leaf.any() for leaf in jax.tree.leaves(begun.params.pop('scores')))
    kept = {name: tree for name, tree in trained.params.items() if name != 'scores'}
    jax.tree.map(np.testing.assert_array_equal, begun.params, kept)
    text = capsys.readouterr().err
    assert f'newly initialized are scores/bias, scores/kernel, as {said}.' in text
    config.init_from, config.init_optimizer = str(run), True
    with pytest.raises(InputError, match=f'{said}. Set init_optimizer=False'):
        train(config, tmp_path / 'next')
