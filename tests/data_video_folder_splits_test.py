"""Which clips are for training, validation and testing, and that none is for two of them."""

from itertools import chain

import hypothesis
import hypothesis.strategies as st
import pytest

from e3d.data.sources.splits import SPLITS
from e3d.data.sources.video_folder_splits import COPY, LEAK, OUTSIDE, divide_clips, shared_names
from e3d.errors import InputError

NO_VALIDATION = (0.8, 0.0, 0.2)
FRACTIONS = (0.6, 0.2, 0.2)


def groups_of(names, fractions=NO_VALIDATION, **options):
    groups = divide_clips(names, fractions, **options).clips
    return [sorted(groups[split]) for split in SPLITS]


@pytest.mark.parametrize(
    ('train', 'validation', 'test'),
    [
        ('train', 'validation', 'test'),
        ('Train', 'Val', 'Test'),
        ('TRAIN', 'VALID', 'TEST'),
        ('training', 'dev', 'testing'),
        ('train_set', 'val-set', 'Test Set'),
        ('training_videos', 'validation_videos', 'test_videos'),
        ('train', 'eval', 'test'),
        ('train', 'val', 'eval'),
    ],
)
@pytest.mark.parametrize('above', ['', 'data/', 'a/b/'])
def test_folders_are_splits_whatever_their_spelling_and_depth(above, train, validation, test):
    names = [f'{above}{folder}/x/0.mp4' for folder in (train, validation, test)]
    assert groups_of(names) == [[name] for name in names]


def test_folders_of_splits_may_lie_in_those_of_classes():
    names = [f'{c}/{split}/0.mp4' for c in ('run', 'walk') for split in ('train', 'test')]
    assert groups_of(names) == [
        ['run/train/0.mp4', 'walk/train/0.mp4'],
        [],
        ['run/test/0.mp4', 'walk/test/0.mp4'],
    ]


def test_a_folder_of_pictures_may_itself_be_a_split():
    assert groups_of(['train', 'test']) == [['train'], [], ['test']]


@pytest.mark.parametrize('form', ['{}_{}.avi', '{}{}.avi', '{}-{}.npy', '{} {}.mp4'])
def test_the_beginnings_of_names_may_tell(form):
    names = {split: [form.format(split, n) for n in range(3)] for split in ('train', 'val', 'test')}
    assert groups_of(chain(*names.values())) == list(names.values())


def test_one_name_without_a_split_leaves_the_division_to_fractions():
    rule = divide_clips(['train_1.avi', 'test_1.avi', 'x.avi'], FRACTIONS).rule
    assert rule.startswith('by dataset.split_fractions=(0.6, 0.2, 0.2)')


def test_validation_serves_as_the_test_where_there_is_none():
    names = [f'train/{n}.npy' for n in range(4)] + ['val/0.npy']
    train, validation, test = groups_of(names, FRACTIONS)
    assert test == ['val/0.npy']
    assert len(validation) == 1 and sorted(train + validation) == names[:4]
    division = divide_clips(names, FRACTIONS)
    assert 'val (test)' in division.rule
    assert '25% of the training clips (dataset.split_fractions)' in division.rule


def test_what_lies_outside_is_left_out_and_said():
    names = ['train/0.npy', 'test/1.npy', 'other/2.npy', 'logo']
    division = divide_clips(names, NO_VALIDATION)
    assert {name for group in division.clips.values() for name in group} == set(names[:2])
    assert division.left_out == [('logo', OUTSIDE, False), ('other/2.npy', OUTSIDE, False)]


def test_a_few_folders_deep_below_are_no_splits_of_all():
    names = [f'{n}.npy' for n in range(8)] + ['x/train/0.npy', 'x/test/0.npy']
    assert sorted(chain(*groups_of(names))) == sorted(names)


def test_a_copy_is_never_in_two_splits():
    prints = {'train/a': 'A', 'train/b': 'B', 'train/b2': 'B', 'val/c': 'C', 'test/x': 'A'}
    prints |= {'train/c': 'C', 'test/y': 'C'}
    division = divide_clips(prints, NO_VALIDATION, prints)
    assert division.clips == {
        'train': ['train/b'],
        'validation': [],
        'test': ['test/x', 'test/y'],
    }
    assert sorted(division.left_out) == [
        ('train/a', LEAK, False),
        ('train/b2', COPY, False),
        ('train/c', LEAK, False),
        ('val/c', LEAK, False),
    ]


def test_names_in_several_splits_are_told():
    groups = {
        'train': ['train/sunset.mp4', 'train/0001.mp4', 'train/clip_7.avi', 'train/a/rgb', 'b/rgb'],
        'validation': [],
        'test': ['test/Sunset.avi', 'test/0001.mp4', 'test/clip_7.avi', 'test/a/rgb'],
    }
    assert shared_names(groups) == [['train/sunset.mp4', 'test/Sunset.avi']]


def test_copies_count_once_before_fractions_divide():
    prints = {f'{n}{form}': str(n) for n in range(10) for form in ('.avi', ' copy.avi')}
    division = divide_clips(prints, FRACTIONS, prints)
    assert [len(division.clips[split]) for split in SPLITS] == [6, 2, 2]
    groups = [{prints[name] for name in division.clips[split]} for split in SPLITS]
    assert set.union(*groups) == {str(n) for n in range(10)}
    assert [one.reason for one in division.left_out] == [COPY] * 10


def test_a_split_of_short_clips_takes_a_longer_one():
    names = [f'{n}.npy' for n in range(10)]
    before = divide_clips(names, FRACTIONS)
    usable = {*before.clips['train']}
    division = divide_clips(names, FRACTIONS, usable=usable)
    assert [len(usable & {*division.clips[split]}) for split in SPLITS] == [4, 1, 1]
    assert 'for test, as its own cannot be used' in division.rule
    assert sorted(chain(*division.clips.values())) == names


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['train/0.npy', 'train/1.npy'], r"for testing \(test, val, eval, ...\) beside 'train'"),
        (['Test/0.npy', 'x/1.npy'], "no clip in a folder 'train' beside 'Test'"),
        (['0.npy', '1.npy'], '2 different clips cannot be divided into 3 splits'),
    ],
)
def test_what_cannot_be_divided_is_rejected(names, message):
    with pytest.raises(InputError, match=message):
        divide_clips(names, FRACTIONS)


def test_the_message_tells_of_copies():
    with pytest.raises(InputError, match=r'1 different clip \(others: 2, copies of these\)'):
        divide_clips('abc', FRACTIONS, dict.fromkeys('abc', 'same'))


WORDS = st.sampled_from(['train', 'Test', 'val', 'dev', 'eval', 'a', 'b', '1', 'frames'])
NAMES = st.lists(WORDS, min_size=1, max_size=4).map(lambda parts: f'{"/".join(parts)}.mp4')


@hypothesis.settings(deadline=None, derandomize=True, database=None)
@hypothesis.given(
    st.dictionaries(NAMES, st.integers(0, 5), min_size=1, max_size=12),
    st.sampled_from([FRACTIONS, NO_VALIDATION]),
    st.data(),
)
def test_every_clip_is_in_one_split_or_told(prints, fractions, data):
    """Whatever the folders are called, and no two splits have equal frames."""
    prints = {name: str(number) for name, number in prints.items()}
    usable = data.draw(st.sets(st.sampled_from(sorted(prints))))
    try:
        division = divide_clips(prints, fractions, prints, usable)
    except InputError:
        return
    placed = list(chain(*division.clips.values()))
    assert sorted([*placed, *(one.name for one in division.left_out)]) == sorted(prints)
    seen = [prints[name] for name in placed]
    assert len(set(seen)) == len(seen)
    assert division.clips['train'] or division.left_out
