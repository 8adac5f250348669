"""In the copy test a sequence is seen whole, then an unrelated one, then itself again."""

import numpy as np
import pytest

from e3d.configuration import default_config
from e3d.data.sources.copy_test import CopySequences
from e3d.data.sources.layouts import Layout, layout_of
from e3d.data.sources.registry import open_source
from e3d.errors import InputError


def test_the_sequence_comes_before_and_after_an_unrelated_one():
    numbered = [
        {'frames': 10 * number + np.arange(5).reshape(5, 1, 1, 1), 'label': number}
        for number in range(4)
    ]
    source = CopySequences(numbered, 3, 5)
    assert len(source) == 4
    example = source[1]
    assert example['label'] == 1
    sequence, unrelated = [10, 11, 12, 13, 14], [30, 31, 32]
    assert example['frames'].ravel().tolist() == sequence + unrelated + sequence


def test_one_sequence_is_too_few():
    with pytest.raises(InputError, match='two sequences'):
        CopySequences([{'frames': np.zeros((5, 2, 2, 1))}], 3, 5)


def test_layouts():
    plain = layout_of({'input_frames': 2, 'output_frames': 3})
    assert plain == Layout((2, 3))
    assert (plain.length, plain.input_frames, plain.output_frames, plain.later_frames) == (
        5,
        2,
        3,
        3,
    )
    assert plain.observed.tolist() == [True, True, False, False, False]
    assert plain.entering.tolist() == [False, False]

    copied = layout_of({'input_frames': 2, 'output_frames': 3, 'copy_test': (1, 2)})
    assert copied == Layout((6, 2, 2, 3))  # context and Seq 1; its forecast; Seq 2; its forecast
    assert (copied.length, copied.input_frames, copied.output_frames) == (13, 10, 3)
    assert copied.entering.tolist() == [False, False, True, True, False, False]


def test_a_data_set_opened_for_the_copy_test_fits_its_layout():
    config = default_config('moving_mnist')
    config.dataset.update({'input_frames': 2, 'output_frames': 2, 'copy_test': (1, 2)})
    frames = open_source(config.dataset, 'train', 0)[3]['frames']
    assert len(frames) == layout_of(config.dataset).length
    np.testing.assert_array_equal(frames[:4], frames[-4:])
    assert (frames[4] != frames[0]).any()


def test_the_unrelated_sequence_may_be_longer_than_the_one_that_comes_again():
    config = default_config('moving_mnist')
    config.dataset.update({'input_frames': 1, 'output_frames': 2, 'copy_test': (4, 3)})
    frames = open_source(config.dataset, 'train', 0)[3]['frames']
    layout = layout_of(config.dataset)
    assert layout == Layout((7, 3, 1, 2)) and len(frames) == layout.length
    np.testing.assert_array_equal(frames[:3], frames[-3:])
    with config.unlocked():
        config.dataset.update({'output_frames': 6, 'copy_test': ()})
    plain = open_source(config.dataset, 'train', 0)
    np.testing.assert_array_equal(frames[3:10], plain[3 + len(plain) // 2]['frames'])
    np.testing.assert_array_equal(frames[:3], plain[3]['frames'][:3])
