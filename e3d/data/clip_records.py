"""Clips of any length as records that are read piece by piece.

Each record holds up to `CHUNK` frames, so that a sequence anywhere in a clip costs the reading of
little more than itself. Which sequences there are is decided when a set is opened; other lengths
and splits need no other records.
"""

import dataclasses
import itertools
import pathlib
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from e3d.data.adaptation import adapt_frames, crop_to_aspect
from e3d.data.records import open_records, read_split
from e3d.errors import InputError

CHUNK = 16
NAMED = 10  # of the clips that were left out, so many are named on the screen


class RawClip(NamedTuple):
    """A clip before its preparation.

    Attributes:
      name: Unique in its set.
      frames: Reads the frames, each [H, W, C], uint8 or float in [0, 1].
      about: Whatever JSON holds, to be kept beside the records.
    """

    name: str
    frames: Callable[[], Iterator[np.ndarray]]
    about: Any = None


@dataclasses.dataclass(kw_only=True)
class ClipSetConfig(tfds.core.BuilderConfig):
    """What goes into a set of clips.

    Attributes:
      name: Of the folder; must differ where anything below differs.
      frame_shape: (H, W, C) of the records.
      fit: 'stretch' takes the whole frame, whatever its aspect; 'crop' cuts out its middle.
      list_clips: The clips; called only if they have to be prepared.
    """

    name: str
    frame_shape: tuple[int, int, int]
    fit: str = 'stretch'
    list_clips: Callable[[], Sequence[RawClip]]


class ClipSetBuilder(tfds.core.GeneratorBasedBuilder):
    """Clips in records of `CHUNK` frames; the metadata tell which clip begins where.

    A clip that cannot be read is left out and named there. The name of a subclass names the
    folder.
    """

    VERSION = tfds.core.Version('1.0.0')
    BUILDER_CONFIG_CLASS = ClipSetConfig

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (None, *self.builder_config.frame_shape)
        frames = tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding='bytes')
        return tfds.core.DatasetInfo(
            builder=self,
            description='Clips in pieces.',
            features=tfds.features.FeaturesDict({'frames': frames}),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {'clips': self._generate_examples(self.builder_config.list_clips())}

    def _generate_examples(self, raw_clips: Sequence[RawClip]):
        config, clips, skipped, record = self.builder_config, [], [], 0
        progress = tqdm.tqdm(raw_clips, 'Preparing', leave=False, unit='clip', disable=None)
        for raw in progress:
            first, count = record, 0
            try:
                for chunk in _chunks(raw.frames(), config.frame_shape, config.fit):
                    yield record, {'frames': chunk}
                    record, count = record + 1, count + len(chunk)
                clips.append([raw.name, first, count, raw.about])
            except InputError as error:  # what was written of it is left without a reference
                skipped.append([raw.name, str(error)])
        self.info.metadata.update(account_for(clips, skipped))


class Clip(NamedTuple):
    """A prepared clip: its name, where its records begin, its length, and what was kept of it."""

    name: str
    first_record: int
    num_frames: int
    about: Any


class ClipSet(NamedTuple):
    """A prepared set of clips.

    Attributes:
      records: By random access, each {'frames': uint8 [at most CHUNK, H, W, C]}.
      clips: Which there are.
      skipped: (name, reason) of those that could not be read.
      folder: Where the records lie.
    """

    records: Sequence[Mapping[str, np.ndarray]]
    clips: list[Clip]
    skipped: list[tuple[str, str]]
    folder: str


def open_clip_set(builder_class: type, config: ClipSetConfig, data_dir: str) -> ClipSet:
    """Opens a set of clips, which is prepared first where it is not there yet.

    Clips that cannot be read are named on stderr when that happens.

    Raises:
      InputError: no clip can be read, a folder that cannot be written, damaged data.
      RunError: writing failed, as on a full disk.
    """
    builder = open_records(builder_class, config, data_dir)
    metadata = builder.info.metadata
    skipped = [(name, reason) for name, reason in metadata['skipped']]
    clips = [Clip(*clip) for clip in metadata['clips']]
    return ClipSet(read_split(builder, 'clips'), clips, skipped, str(builder.data_path))


def name_of_folder(folder: pathlib.Path, files: Iterable[pathlib.Path]) -> str:
    """A name for what lies in a folder; changes with the names, sizes and times of the files.

    Args:
      folder: The user's.
      files: In it or below; of a folder among them, all its files count.
    """
    state = 0
    for path in files:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in filter(pathlib.Path.is_file, inside):
            status, name = file.stat(), file.relative_to(folder.expanduser())
            line = f'{name} {status.st_size} {status.st_mtime_ns}\n'
            state = zlib.crc32(line.encode(errors='surrogateescape'), state)
    name = re.sub(r'\W+', '_', folder.expanduser().resolve().name) or 'root'
    return f'{name}-{state:08x}'


def account_for(clips: list, skipped: list[tuple[str, str]]) -> dict[str, list]:
    """The metadata of a set: its clips and what was left out, which is also said on stderr.

    Args:
      clips: what to keep of each clip; a list, as JSON holds it.
      skipped: name and reason of each that cannot be read.

    Raises:
      InputError: there are no clips.
    """
    if not clips:
        raise InputError(
            f'None of the {len(skipped)} clips can be read. The first: {skipped[0][1]}'
        )
    if skipped:
        print(describe_skipped(skipped), file=sys.stderr)
    return {'clips': clips, 'skipped': skipped}


def describe_skipped(skipped: Sequence[tuple[str, str]]) -> str:
    """Says which clips were left out and why."""
    lines = [f'Clips left out: {len(skipped)}']
    lines += [f'  {name}: {reason}' for name, reason in skipped[:NAMED]]
    if len(skipped) > NAMED:
        lines.append(f'  and {len(skipped) - NAMED} more')
    return '\n'.join(lines)


@dataclasses.dataclass(frozen=True)
class Sequences:
    """Sequences of frames out of clips: `source[index] -> {'frames': uint8 [T, H, W, C]}`.

    Attributes:
      records: Of the clips.
      starts: int [N, 2], first record of the clip and first frame in it.
      length: Number of frames, T.
      folder: Where the records lie.
    """

    records: Sequence[Mapping[str, np.ndarray]]
    starts: np.ndarray
    length: int
    folder: str = ''

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {'frames': read_frames(self.records, *self.starts[index].tolist(), self.length)}


def read_frames(records: Sequence, first_record: int, start: int, length: int) -> np.ndarray:
    """Frames `start .. start + length - 1` of the clip that begins at `first_record`."""
    chunks = range(first_record + start // CHUNK, first_record + (start + length - 1) // CHUNK + 1)
    frames = np.concatenate([records[chunk]['frames'] for chunk in chunks])
    return frames[start % CHUNK :][:length]


def resample(frames: Iterable[Any], rate: float | None, wanted: float | None) -> Iterator[Any]:
    """Repeats or leaves out frames, so that they come at another rate; no frame is made up.

    Args:
      frames: In order.
      rate: Frames per second that there are; None leaves them as they are.
      wanted: Frames per second to come; None leaves them as they are.
    """
    if rate is None or wanted is None:
        yield from frames
        return
    step, shown = rate / wanted, 0
    for index, frame in enumerate(frames):
        while int(shown * step + 1e-6) == index:
            yield frame
            shown += 1


def _chunks(
    frames: Iterable[np.ndarray], frame_shape: tuple[int, int, int], fit: str
) -> Iterator[np.ndarray]:
    frames = iter(frames)
    while piece := list(itertools.islice(frames, CHUNK)):
        stacked = np.stack(piece)
        if fit == 'crop':
            stacked = crop_to_aspect(stacked, *frame_shape[:2])
        if stacked.dtype == np.uint8 and stacked.shape[1:] == frame_shape:
            yield stacked
        else:
            yield np.rint(adapt_frames(stacked, frame_shape) * 255).astype(np.uint8)
