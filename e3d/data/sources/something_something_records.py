"""The videos of Something-Something v2 as records, encoded as they are."""

import dataclasses
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.picture_folders import order_folder, picture_frames
from e3d.data.readers.timing import even_moments
from e3d.data.readers.videos import VideoTimes, measure_video
from e3d.data.sources.clip_records import account_for
from e3d.data.sources.something_something_files import Video
from e3d.errors import InputError
from e3d.files import read_bytes
from e3d.progress import progress

RATE = 12.0  # frames per second of the videos, should one not tell
MAX_VIDEO_BYTES = 2**26


@dataclasses.dataclass(kw_only=True)
class SomethingSomethingConfig(tfds.core.BuilderConfig):
    """The videos that go into the records; the name must differ where they do."""

    name: str
    videos: Sequence[Video]


class SomethingSomething(tfds.core.GeneratorBasedBuilder):
    """The videos of a list, encoded; the metadata tell their labels, lengths and rates.

    Where the rate of a video varies, they tell the times of its frames too. Of a folder of pictures
    the record is empty: they are read where they lie.
    """

    VERSION = tfds.core.Version('2.1.0')
    BUILDER_CONFIG_CLASS = SomethingSomethingConfig

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description='Videos in WebM.',
            features=tfds.features.FeaturesDict({'webm': tfds.features.Scalar(np.object_)}),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {'clips': self._generate_examples(self.builder_config.videos)}

    def _generate_examples(self, videos: Sequence[Video]) -> Iterator[tuple[int, Any]]:
        clips: list[Any] = []
        left_out: list[LeftOut] = []
        for video in progress('preparing', items=videos, unit=' clips'):
            content = b''
            try:
                if video.path is None:
                    left_out.append(LeftOut(video.id, 'named in a list but not there'))
                    continue
                if video.path.is_dir():
                    timing: tuple[int, float, Any] = _count_pictures(video.path), RATE, None
                else:
                    content = read_bytes(video.path, MAX_VIDEO_BYTES)
                    timing = _timing(measure_video(video.path, io.BytesIO(content)))
            except InputError as error:
                left_out.append(LeftOut(video.id, str(error), damaged=True))
                continue
            yield len(clips), {'webm': content}
            clips.append([video.id, video.split, video.label, *timing])
        self.info.metadata.update(account_for(clips, left_out))


def moments_of(num_frames: int, rate: float, moments: Sequence[float] | None) -> Sequence[float]:
    """What `frame_numbers` takes, of a video of constant rate or of any."""
    return moments or even_moments(num_frames, rate)


def _timing(times: VideoTimes) -> tuple[int, float, list[float | None] | None]:
    """What is kept of the times of a video: number and rate of its frames, moments if uneven."""
    num_frames = len(times.starts)
    rate, constant = times.timing or (RATE, True)
    even = times.end is None or (constant and abs(times.end - num_frames / rate) < 1e-3)
    return num_frames, rate, None if even else [*times.starts, times.end]


def _count_pictures(folder: pathlib.Path) -> int:
    """How many pictures a clip has; raises InputError where some are missing or damaged."""
    order = order_folder(folder)
    if order.gaps:
        after, before = (order.files[order.gaps[0] - 1 + n].name for n in (0, 1))
        raise InputError(f'Between {after} and {before} in {folder} pictures are missing.')
    for _ in picture_frames([order.files[0], order.files[-1]]):
        pass  # the others are read in training; these tell a clip that is damaged as a whole
    return len(order.files)
