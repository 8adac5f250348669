"""Clips of any length as records that are read piece by piece.

Each record holds up to `CHUNK` frames, so that a sequence anywhere in a clip costs the reading of
little more than itself. Which sequences there are is decided when a set is opened; other lengths
and splits need no other records.
"""

import collections
import dataclasses
import hashlib
import itertools
import os
import pathlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.timing import Timing
from e3d.data.sources.adaptation import Preparation
from e3d.data.sources.file_facts import FileFacts
from e3d.data.sources.records import damage_explained, open_records, read_split
from e3d.errors import InputError
from e3d.pixel_values import describe_unused_bits, highest_deep, stack_frames
from e3d.progress import progress

CHUNK = 16
# The features of a record, by the depth of the values.
DEPTHS = {'frames': np.uint8, 'deep_frames': np.float32}
FORMS = 5  # of clips that are told
MAX_NAME = 40  # letters of a folder's name


class AbsentError(InputError):
    """A clip that is not among the files, as opposed to one that is damaged."""


class RawClip(NamedTuple):
    """A clip before its preparation.

    Attributes:
      name: unique in its set.
      frames: reads the frames, each [H, W, C], uint8 or float in [0, 1].
      about: whatever JSON holds, to be kept beside the records. 'gaps' are the frames, counted from
        0, before which others are missing: no sequence may cross them.
      describe: tells how fast the frames follow each other, or None, and how the file was
        understood, or ''.
      left_out: what lies in its folder and is no part of it.
      as_stored: whether frames have the numbers of its files, of which 16 bits may hold fewer; those
        of videos state how many they are.
    """

    name: str
    frames: Callable[[], Iterator[np.ndarray]]
    about: Any = None
    describe: Callable[[], tuple[Timing | None, str]] = lambda: (None, '')
    left_out: tuple[LeftOut, ...] = ()
    as_stored: bool = False


@dataclasses.dataclass(kw_only=True)
class ClipSetConfig(tfds.core.BuilderConfig):
    """What goes into a set of clips.

    Attributes:
      name: of the folder; must differ where anything below differs.
      preparation: what is done to the frames.
      list_clips: the clips; called only if they have to be prepared.
    """

    name: str
    preparation: Preparation
    list_clips: Callable[[], Sequence[RawClip]]


class ClipSetBuilder(tfds.core.GeneratorBasedBuilder):
    """Clips in records of `CHUNK` frames; the metadata tell which clip begins where.

    Frames of 8 bits are kept as bytes, others as float32: each record has one of the two.

    A clip that cannot be read is left out and named there. The name of a subclass names the
    folder.
    """

    VERSION = tfds.core.Version('2.0.0')
    BUILDER_CONFIG_CLASS = ClipSetConfig

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (None, *self.builder_config.preparation.frame_shape)
        frames = {
            name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding='bytes')
            for name, dtype in DEPTHS.items()
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description='Clips in pieces.',
            features=tfds.features.FeaturesDict(frames),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {'clips': self._generate_examples(self.builder_config.list_clips())}

    def _generate_examples(self, raw_clips: Sequence[RawClip]) -> Iterator[tuple[int, Any]]:
        preparation = self.builder_config.preparation
        clips: list[Any] = []
        left_out: list[LeftOut] = []
        record, deep, highest = 0, False, 0.0
        forms = collections.Counter[Any]()
        rates: list[float] = []
        for raw in progress('preparing', items=raw_clips, unit=' clips'):
            first, count, shape, high = record, 0, None, 0.0
            depths: set[Any] = set()
            left_out += raw.left_out
            fingerprint = hashlib.blake2b(digest_size=8)
            try:
                timing, reading = raw.describe()
                for piece in _pieces(raw.frames()):
                    shape = piece.shape[1:]
                    high = max(high, highest_deep(piece) if raw.as_stored else 0.0)
                    chunk = preparation.prepare(piece)
                    yield record, _by_depth(chunk)
                    record, count = record + 1, count + len(chunk)
                    depths.add(chunk.dtype)
                    fingerprint.update(chunk)
            # What was written of such a clip is left without a reference.
            except InputError as error:
                left_out.append(LeftOut(raw.name, str(error), not isinstance(error, AbsentError)))
                continue
            except OSError as error:
                reason = f'cannot be read: {error.strerror or error}'
                left_out.append(LeftOut(raw.name, reason, damaged=True))
                continue
            clips.append([raw.name, first, count, raw.about, fingerprint.hexdigest()])
            highest = max(highest, high)
            deep |= depths != {np.dtype(np.uint8)}
            change = preparation.describe(shape, timing)
            even = timing and timing.constant and not preparation.frame_rate
            stated = f'{timing.rate:.4g} frames/s' if even else ''
            rates.append(timing.rate if even else 0.0)
            forms['; '.join(filter(None, (reading, stated, change))) or 'frames as they are'] += 1
        account = {'deep': deep, 'highest': highest, 'forms': forms.most_common()}
        account['step'] = _step_of(rates)
        self.info.metadata.update(account_for(clips, left_out) | account)


def _step_of(rates: Sequence[float]) -> float:
    """Seconds between frames, if all clips are of one rate, such as 29.97 and 30; else 0."""
    known = bool(rates) and min(rates) > 0
    return 1 / rates[0] if known and max(rates) <= 1.01 * min(rates) else 0.0


class Clip(NamedTuple):
    """A prepared clip.

    Attributes:
      name: unique in its set.
      first_record: where its records begin.
      num_frames: its length.
      about: what was kept of it.
      fingerprint: equal for clips whose prepared frames are.
    """

    name: str
    first_record: int
    num_frames: int
    about: Any
    fingerprint: str = ''


class ClipSet(NamedTuple):
    """A prepared set of clips.

    Attributes:
      records: by random access, each with at most CHUNK frames [., H, W, C] as 'frames', uint8,
        or as 'deep_frames', float32; the other one is empty.
      clips: which there are.
      left_out: those that could not be read, and those that are not there.
      folder: where the records lie.
      deep: whether some clips have more than 8 bits; all frames are float32 then.
      account: how the files were understood and what was done to their frames, in lines.
      facts: the time between two frames, if all clips state the same; None if they do not, if frames
        were brought to a rate, or the set was prepared by an earlier version.
    """

    records: Sequence[Mapping[str, np.ndarray]]
    clips: list[Clip]
    left_out: list[LeftOut]
    folder: str
    deep: bool = False
    account: tuple[str, ...] = ()
    facts: FileFacts | None = None


def open_clip_set(builder_class: type, config: ClipSetConfig, data_dir: str) -> ClipSet:
    """Opens a set of clips, which is prepared first where it is not there yet.

    Raises:
      InputError: no clip can be read, a folder that cannot be written, damaged data.
      RunError: writing failed, as on a full disk.
    """
    builder = open_records(builder_class, config, data_dir)
    with damage_explained(builder.data_path):
        metadata = builder.info.metadata
        clips = [Clip(*clip) for clip in metadata['clips']]
        left_out = [LeftOut(*one) for one in metadata['left_out']]
        account = _account_of_forms(metadata['forms'])
        deep = bool(metadata['deep'])
        step = float(metadata.get('step', 0))
        unused = describe_unused_bits(float(metadata.get('highest', 0)))
    if deep:
        account.append('values: float32, as some clips have more than 8 bits')
    if unused:
        account.append(f'values of 16 bits: {unused}')
    records = read_split(builder, 'clips')
    facts = FileFacts(step=step) if step else None
    return ClipSet(records, clips, left_out, str(builder.data_path), deep, tuple(account), facts)


def _account_of_forms(forms: Sequence[tuple[str, int]]) -> list[str]:
    account = [f'{count:,} clip{"s" * (count > 1)}: {form}' for form, count in forms[:FORMS]]
    if len(forms) > FORMS:
        others = sum(count for _, count in forms[FORMS:])
        account.append(f'{others:,} clips of {len(forms) - FORMS} other forms')
    return account


def name_of_folder(folder: pathlib.Path, files: Iterable[pathlib.Path], inside: bool = True) -> str:
    """A name for what lies in a folder; changes with the names, sizes and times of the files.

    Args:
      folder: the user's.
      files: in it or below.
      inside: whether of a folder among them all its files count, or only which there are, as its
        own time tells.
    """
    state = 0
    for path in files:
        try:
            of_path = sorted(path.iterdir()) if inside and path.is_dir() else [path]
        except OSError:  # reading it will say so again
            of_path = [path]
        for file in filter(os.path.exists, of_path):
            status, within = file.stat(), file.relative_to(folder.expanduser())
            line = f'{within} {status.st_size} {status.st_mtime_ns}\n'
            state = zlib.crc32(line.encode(errors='surrogateescape'), state)
    name = re.sub(r'\W+', '_', folder.expanduser().resolve().name)[:MAX_NAME] or 'root'
    return f'{name}-{state:08x}'


def account_for(clips: list[Any], left_out: Sequence[LeftOut]) -> dict[str, list[Any]]:
    """The metadata of a set: its clips and what was left out.

    Args:
      clips: what to keep of each clip; a list, as JSON holds it.
      left_out: the clips that are not among them.

    Raises:
      InputError: there are no clips.
    """
    if not clips:
        # Those that are there and damaged tell more than those that are not there.
        first = min(left_out, key=lambda one: not one.damaged)
        raise InputError(
            f'None of the {len(left_out)} clips can be read. The first: {first.reason}'
        )
    return {'clips': clips, 'left_out': [list(one) for one in left_out]}


def _pieces(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    frames = iter(frames)
    while piece := list(itertools.islice(frames, CHUNK)):
        yield stack_frames(piece)


def _by_depth(chunk: np.ndarray) -> dict[str, np.ndarray]:
    """A record: the frames under the name of their depth, none under the other one."""
    return {
        name: chunk if chunk.dtype == dtype else np.zeros((0, *chunk.shape[1:]), dtype)
        for name, dtype in DEPTHS.items()
    }
