import itertools

import numpy as np
import pytest

from e3d.data import batches
from e3d.data.sources.moving_digits import MovingDigits
from e3d.data.sources.moving_mnist import EndlessDigits


class NumberedSequences:
    """Sequence i has the value i / 100 everywhere."""

    def __init__(self, count, dtype=np.float32):
        self._count, self._dtype = count, dtype

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        value = index if self._dtype == np.uint8 else index / 100
        return {'frames': np.full((2, 4, 5, 3), value, self._dtype)}


def draw_numbers(count, *arguments, **options):
    """Returns the numbers of the sequences in the first `count` training batches."""
    iterator = batches.training_batches(*arguments, **options)
    drawn = [next(iterator)['frames'] for _ in range(count)]
    iterator.close()
    return [np.rint(frames[:, 0, 0, 0, 0] * 100).astype(int).tolist() for frames in drawn]


def test_training_batches_are_floats_in_the_unit_interval():
    batch = next(batches.training_batches(NumberedSequences(255, np.uint8), 7, seed=0))
    frames = batch['frames']
    assert (frames.shape, frames.dtype) == ((7, 2, 4, 5, 3), np.float32)
    np.testing.assert_allclose(frames * 255, np.rint(frames * 255), atol=1e-4)
    assert 0 <= frames.min() < frames.max() <= 1


def test_bytes_are_scaled_exactly():
    (batch,) = batches.evaluation_batches(NumberedSequences(256, np.uint8), 256)
    expected = np.arange(256, dtype=np.float32) / np.float32(255)
    np.testing.assert_array_equal(batch['frames'][:, 0, 0, 0, 0], expected)


def test_every_epoch_goes_through_all_sequences_in_an_order_of_its_own():
    numbers = np.concatenate(draw_numbers(15, NumberedSequences(20), 4, seed=0)).tolist()
    epochs = [numbers[start : start + 20] for start in (0, 20, 40)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, range(20)]}) == 4


def test_a_batch_larger_than_the_source_spans_epochs():
    (numbers,) = draw_numbers(1, NumberedSequences(3), 8, seed=0)
    assert sorted(numbers[:3]) == sorted(numbers[3:6]) == [0, 1, 2]


def test_order_depends_on_the_seed_alone():
    source = NumberedSequences(50)
    assert draw_numbers(5, source, 4, seed=1) == draw_numbers(5, source, 4, seed=1)
    assert draw_numbers(5, source, 4, seed=1) != draw_numbers(5, source, 4, seed=2)


def test_the_order_names_the_sequences_of_each_batch():
    order = batches.training_order(10, 4, seed=5)
    drawn = draw_numbers(6, NumberedSequences(10), 4, seed=5)
    assert [order[step].tolist() for step in range(6)] == drawn
    assert order[10**9].shape == (4,)


@pytest.mark.parametrize('start_step', [1, 3, 17])
def test_a_later_start_continues_the_same_batches(start_step):
    source = NumberedSequences(10)
    whole = draw_numbers(start_step + 4, source, 4, seed=5)
    assert draw_numbers(4, source, 4, seed=5, start_step=start_step) == whole[start_step:]


@pytest.mark.parametrize('count', [1, 2, 4])
def test_the_shares_of_processes_are_the_batches(count):
    source = NumberedSequences(10)
    whole = draw_numbers(6, source, 4, seed=5, start_step=2)
    shares = [
        draw_numbers(6, source, 4, seed=5, start_step=2, share=(index, count))
        for index in range(count)
    ]
    assert [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize('count', [1, 2, 3, 7])
def test_the_shares_of_an_evaluation_are_all_sequences(count):
    source, seen = NumberedSequences(10), []
    for index in range(count):
        for batch in batches.evaluation_batches(source, 4, None, share=(index, count)):
            numbers = np.rint(batch['frames'][:, 0, 0, 0, 0] * 100).astype(int)
            np.testing.assert_array_equal(numbers, batch['index'])
            seen += numbers[batch['mask']].tolist()
    assert sorted(seen) == list(range(10))


def test_a_later_start_reads_nothing_that_came_before():
    class Counted(NumberedSequences):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    source = Counted(10)
    draw_numbers(1, source, 4, seed=0, start_step=10**9)
    assert source.reads < 100


def test_endless_sequences_are_shuffled_without_repeats():
    source = EndlessDigits(MovingDigits(canvas=(8, 8), digit_size=6, length=2), seed=0)
    iterator = batches.training_batches(source, 8, seed=0, start_step=10**6)
    drawn = [next(iterator)['frames'] for _ in range(4)]
    assert len({sequence.tobytes() for frames in drawn for sequence in frames}) == 32


def test_worker_processes_give_the_same_batches():
    source = EndlessDigits(MovingDigits(canvas=(8, 8), digit_size=6, length=2), seed=0)
    alone = batches.training_batches(source, 3, seed=1, start_step=2)
    together = batches.training_batches(source, 3, seed=1, start_step=2, workers=2)
    for first, second in itertools.islice(zip(alone, together, strict=True), 5):
        assert second['frames'].dtype == np.float32
        np.testing.assert_array_equal(first['frames'], second['frames'])
    together.close()


@pytest.mark.parametrize(
    ('count', 'batch_size', 'max_sequences', 'expected'),
    [
        (10, 4, None, 10),
        (8, 4, None, 8),
        (3, 4, None, 3),
        (10, 4, 6, 6),
        (10, 4, 100, 10),
        (10, 1, 1, 1),
    ],
)
def test_evaluation_sees_every_sequence_once_and_in_order(
    count, batch_size, max_sequences, expected
):
    source = NumberedSequences(count)
    read = list(batches.evaluation_batches(source, batch_size, max_sequences))
    size = min(batch_size, expected)
    assert all(batch['frames'].shape == (size, 2, 4, 5, 3) for batch in read)
    assert all(batch['mask'].dtype == bool for batch in read)
    masks = np.concatenate([batch['mask'] for batch in read])
    numbers = np.concatenate([batch['frames'][:, 0, 0, 0, 0] for batch in read]) * 100
    np.testing.assert_allclose(numbers[masks], np.arange(expected), atol=1e-4)
    np.testing.assert_allclose(numbers[~masks], expected - 1, atol=1e-4)
    assert len(masks) - expected < batch_size


def test_frame_shape_is_height_width_and_channels():
    assert batches.frame_shape(NumberedSequences(1)) == (4, 5, 3)
