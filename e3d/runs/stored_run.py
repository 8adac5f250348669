"""What is stored with each state of its run, so that it can be used without the data."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from e3d.configuration import restore_config
from e3d.data.sources.file_facts import FileFacts
from e3d.data.sources.scales import PIXELS, Scale, numbered
from e3d.model.beside import read_widths


class StoredRun(NamedTuple):
    """What a checkpoint tells of its run.

    Attributes:
      config: of the run.
      frame_shape: (H, W, C).
      scale: what the values of the frames stand for.
      beside: channels that the data have beside those of the frames, see `e3d.model.beside`.
      class_names: of the labels; () for data without, and in runs of earlier versions.
      channel_names: of the channels of its frames; () where they have none, as gray and colors.
      facts: what the files of the data state; None for other data, and in runs of earlier versions.
    """

    config: ConfigDict
    frame_shape: tuple[int, int, int]
    scale: Scale = PIXELS
    beside: Mapping[str, int] = {}
    class_names: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    facts: FileFacts | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        names = {'class_names': self.class_names, 'channel_names': self.channel_names}
        return {
            'config': self.config.to_dict(),
            'frame_shape': list(self.frame_shape),
            'scale': self.scale.to_json(),
            'beside': dict(self.beside),
            **{name: list(given) for name, given in names.items() if given},
            **({'facts': self.facts.to_json()} if self.facts else {}),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> 'StoredRun':
        """The inverse of `to_json`. Runs of earlier versions have no scale; they get that of pictures.

        Raises:
          KeyError, TypeError, ValueError, OverflowError: it has another form.
          InputError: so has its config.
        """
        rows, columns, channels = map(int, stored['frame_shape'])
        if min(rows, columns, channels) < 1:
            raise ValueError(f'its frames have the shape {(rows, columns, channels)}')
        scale = Scale.from_json(stored['scale']) if 'scale' in stored else PIXELS
        # Those of earlier versions do not tell what their variables are called.
        unnamed = () if channels == 1 or scale.of_pixels else numbered(channels)
        return cls(
            config=restore_config(stored['config']),
            frame_shape=(rows, columns, channels),
            scale=scale,
            beside=read_widths(stored.get('beside', {})),
            class_names=tuple(map(str, stored.get('class_names', ()))),
            channel_names=tuple(map(str, stored.get('channel_names', unnamed))),
            facts=FileFacts.from_json(stored['facts']) if 'facts' in stored else None,
        )


def describe_other_classes(trained: Sequence[str], found: Sequence[str]) -> str:
    """Says which class of a run is another one in data; '' if none is, or either has no names."""
    pairs = zip(trained, found, strict=False)
    others = [(n, *names) for n, names in enumerate(pairs) if names[0] != names[1]]
    if not others:
        return ''
    number, old, new = others[0]
    more = f', and {len(others) - 1:,} more are others' if others[1:] else ''
    return f"class {number} is '{old}' in the run and '{new}' in the data{more}"
