"""Batches of frames from a source of sequences.

The order of training is a function of (seed, step), computed by index arithmetic, so that a run
resumes anywhere without an iterator's state and without reading what came before.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Protocol

import grain
import numpy as np
from absl import flags

from e3d.data.sources.dataset import Source
from e3d.pixel_values import as_floats

Batch = dict[str, np.ndarray]


class Batches(Iterator[Batch], Protocol):
    """An iterator that may have processes of its own, which `close` ends."""

    def close(self) -> None:
        """Ends them."""


def training_batches(
    source: Source,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Batches:
    """Returns an endless iterator of batches, read ahead of their use.

    Every epoch goes through the whole source in an order of its own; a batch may end one epoch and
    begin the next.

    Args:
      source: sequences by random access.
      batch_size: number of sequences in a batch, B.
      seed: of the order, from 0 to 2**32 - 1.
      start_step: number of batches that were drawn before; the first one returned here is what
        an iterator from step 0 returns after so many.
      workers: processes that make batches. With 0 a thread of this process does. Processes
        import the main script again, so this must do its work under
        `if __name__ == '__main__'`.
      share: (index, count): only that of `count` equal parts of each batch, in their order, which
        must divide B. Nothing of the others is read.

    Returns:
      Iterator of {'frames': float32 [B, T, H, W, C] in [0, 1]}, or so many rows as the share has;
      `close()` ends its workers.

    Example:
      >>> source = e3d.open_source(e3d.make_config('quickstart').dataset, 'train')
      >>> next(e3d.training_batches(source, batch_size=4, seed=0))['frames'].shape
      (4, 10, 32, 32, 1)
    """
    index, count = share
    batches = (
        grain.MapDataset.source(source)
        .shuffle(seed=seed)
        .repeat()
        .batch(batch_size // count, drop_remainder=True)
        .slice(slice(start_step * count + index, None, count))
        .to_iter_dataset(_read_ahead())
    )
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain reads its flags, which only absl.app.run parses
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(batches.map(_scale))  # here, as bytes pass between processes faster than floats


def training_order(num_sequences: int, batch_size: int, seed: int) -> Sequence[np.ndarray]:
    """The indices of the sequences in the batches of training, `[B]` for each batch from step 0."""
    return (
        grain.MapDataset.range(num_sequences)
        .shuffle(seed=seed)
        .repeat()
        .batch(batch_size, drop_remainder=True)
    )


def evaluation_batches(
    source: Source,
    batch_size: int,
    max_sequences: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Returns an iterator over all sequences once, in order, read ahead of their use.

    Args:
      source: sequences by random access.
      batch_size: number of sequences in a batch, B.
      max_sequences: if given, only the first so many.
      share: (index, count): of the batches only those whose number leaves the remainder `index`
        when it is divided by `count`.

    Returns:
      Iterator of {'frames': float32 [B, T, H, W, C] in [0, 1], 'mask': bool [B], 'index': int [B],
      the places of the sequences in the source}, and what else a sequence has. The last
      batch is filled up with repeats of the last sequence, whose mask is False.

    Example:
      >>> source = e3d.open_source(e3d.make_config('quickstart').dataset, 'train')
      >>> [int(batch['mask'].sum()) for batch in e3d.evaluation_batches(source, 4, max_sequences=6)]
      [4, 2]
    """
    count = len(source) if max_sequences is None else min(max_sequences, len(source))
    batch_size = max(1, min(batch_size, count))
    num_batches = -(-count // batch_size)
    read = functools.partial(_read_masked, source, count, batch_size)
    batches = grain.MapDataset.range(num_batches).slice(slice(share[0], None, share[1]))
    return iter(batches.map(read).to_iter_dataset(_read_ahead()))


def frame_shape(source: Source) -> tuple[int, int, int]:
    """Returns height, width and channels of the frames of a source."""
    return source[0]['frames'].shape[1:]


def _read_ahead() -> grain.ReadOptions:
    # One thread: making a sequence holds the interpreter's lock, so more would only compete.
    return grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


def _read_masked(source: Source, count: int, batch_size: int, place: int) -> Batch:
    numbers = np.arange(place * batch_size, (place + 1) * batch_size)
    indices = np.minimum(numbers, count - 1)
    sequences = [source[index] for index in indices.tolist()]
    batch = {key: np.stack([one[key] for one in sequences]) for key in sequences[0]}
    return _scale(batch) | {'mask': numbers < count, 'index': indices}


def _scale(batch: Batch) -> Batch:
    return {**batch, 'frames': as_floats(batch['frames'])}
