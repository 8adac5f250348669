import itertools

import numpy as np
import pytest

from e3d.configuration import default_config
from e3d.data.batches import evaluation_batches, training_batches
from e3d.data.sources.moving_actions import CLASSES, MovingActions, draw
from e3d.data.sources.registry import class_names, open_source
from e3d.errors import InputError

ACTIONS = MovingActions(length=16)
LEFT, RIGHT, STOPS, REVERSES = map(
    CLASSES.index, ('turns left', 'turns right', 'stops', 'reverses')
)
BEGIN = (0.7, 10.0, np.array([16.0, 15.0]))


def paths(name, onset=4):
    return ACTIONS.paths(CLASSES.index(name), onset, *BEGIN)


def test_until_the_onset_all_classes_are_alike():
    first = ACTIONS.paths(0, 6, *BEGIN)
    for label, onset in itertools.product(range(len(CLASSES)), ACTIONS.onsets):
        path = ACTIONS.paths(label, onset, *BEGIN)
        np.testing.assert_allclose(path[:onset], first[:onset])
        if CLASSES[label] not in ('straight', 'bounces'):
            assert np.abs(path[onset] - first[onset]).max() > 1e-3


def test_what_the_classes_do():
    actor = {name: paths(name)[:, 0] for name in CLASSES}
    straight = np.diff(actor['straight'], axis=0)
    np.testing.assert_allclose(straight, np.broadcast_to(straight[0], straight.shape))
    speed = np.linalg.norm(straight[0])

    def cross(name):
        (down, right), (later_down, later_right) = np.diff(actor[name], axis=0)[[0, -1]]
        return right * later_down - down * later_right

    # Down is positive: a turn to the left, as one sees it, is negative here.
    assert cross('turns left') < 0 < cross('turns right')
    np.testing.assert_allclose(actor['stops'][-2:], actor['stops'][-1:].repeat(2, axis=0))
    fast = np.linalg.norm(np.diff(actor['speeds up'], axis=0)[-1])
    assert fast == pytest.approx(2.2 * speed)
    for name in ('reverses', 'bounces'):
        np.testing.assert_allclose(np.diff(actor[name], axis=0)[-1], -straight[0])
    other = paths('bounces')[:, 1]
    np.testing.assert_allclose(other[10], other[0])
    np.testing.assert_allclose(other[12] - other[11], straight[0])


def test_the_oracle_guesses_before_the_onset_and_knows_at_the_end():
    share = 1 / len(CLASSES)
    assert ACTIONS.oracle_accuracy(1) == pytest.approx(share)
    # One onset of four shows: three classes are known then, of two one is guessed; of all the rest
    # one class.
    assert ACTIONS.oracle_accuracy(4) == pytest.approx((3 / 4 + 1 / 4 + 1) / 7)
    assert ACTIONS.oracle_accuracy(8) == pytest.approx((3 + 1 + 1) / 7)
    assert ACTIONS.oracle_accuracy(16) == pytest.approx(1.0)


@pytest.mark.parametrize('observed', [2, 6, 10, 14])
def test_the_oracle_sees_as_early_at_half_the_speed(observed):
    slow = MovingActions(length=16, travel=ACTIONS.travel / 2)
    assert slow.oracle_accuracy(observed) == pytest.approx(ACTIONS.oracle_accuracy(observed))


def test_drawing_between_pixels():
    image = np.full((1, 2, 2), 100, np.uint8)
    whole, half, outside = draw(image, np.array([[[3, 3]], [[3, 3.5]], [[-50, 90]]]), (6, 7))
    expected = np.zeros((6, 7))
    expected[2:4, 2:4] = 100
    np.testing.assert_array_equal(whole, expected)
    expected[2:4, 2:5] = [50, 100, 50]
    np.testing.assert_array_equal(half, expected)
    assert not outside.any()


def dataset(**changes):
    section = default_config('moving_actions').dataset
    section.update({'validation_size': 7, 'test_size': 9, **changes})
    return section


def test_source_and_batches():
    source = open_source(dataset(), 'test', seed=3)
    assert len(source) == 9 and class_names(source) == CLASSES
    assert source[8]['frames'].shape == (20, 32, 32, 1)
    np.testing.assert_array_equal(source[2]['frames'], open_source(dataset(), 'test')[2]['frames'])
    train = [open_source(dataset(), 'train', seed) for seed in (0, 1)]
    assert (train[0][5]['frames'] != train[1][5]['frames']).any()
    last = list(evaluation_batches(source, 4))[-1]
    np.testing.assert_array_equal(last['label'], [1, 1, 1, 1])
    batch = next(training_batches(train[0], 4, seed=0))
    assert batch['label'].shape == (4,) and batch['label'].dtype == np.int32
    assert batch['frames'].dtype == np.float32


def test_the_actors_go_in_as_many_directions_as_the_config_says():
    """Before the onset, of all that is seen the actor alone moves."""
    section = dataset(directions=4, canvas=(64, 64), test_size=24)
    found = []
    for clip in map(open_source(section, 'test').__getitem__, range(24)):
        frames = clip['frames'][[0, 2], ..., 0].astype(float)
        down, right = ((frames * axis).sum(axis=(1, 2)) for axis in np.indices((64, 64)))
        turns = np.arctan2(np.diff(down / down[0]), np.diff(right / right[0])) / (2 * np.pi)
        found.append(turns.item() % 1 * 4)
    np.testing.assert_allclose(found, np.rint(found), atol=0.1)
    assert set(np.rint(found) % 4) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [({'input_frames': 4}, 'input_frames is 4'), ({'canvas': (8, 32)}, 'digit_size 9')],
)
def test_impossible_clips_are_rejected(changes, message):
    with pytest.raises(InputError, match=message):
        open_source(dataset(**changes), 'test')
