"""What a data set is: the section `dataset` of its configs, and how a split of it is opened."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from e3d.options.option import option
from e3d.options.rules import COPY_TEST, FOLDER, MOST_FRAMES, PATH, whole
from e3d.options.tables import enter

# As many sequences as an endless source has; the largest length that grain shuffles is 2**32.
ENDLESS = 2**31


class Source(Protocol):
    """Sequences by random access; can be pickled, so that worker processes can read it.

    It may have more, each with a default where it is missing; `registry.py` reads it:

        class_names, channel_names  what labels and channels are called
        scale, or value_range and bounds  what the values stand for
        split               whose sequences it has: 'test' where nothing is for validation
        shown_part          which part of its clips it shows, for recognition
        simple_forecasts()  forecasts that need no learning
        with_inputs(counts)  the same with frames of other times beside each sequence
        facts               what the user's files state of their variables
        account, left_out   how the user's files were understood, and what of them is not used
        checksum            of all values of the data set
        folder, starts      the records that it reads, and the first record of each sequence
        crop                not None where the sequences are cut out at random
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...


class Origin(NamedTuple):
    """Where a data set comes from.

    Attributes:
      obtained: 'made' by this program from a package, 'fetched' by it from the network, 'by hand'
        by the user, or 'own', files that the user has.
      size: of what is fetched, in words.
      terms: under which it may be used.
      instructions: what to fetch by hand, from whom, and where it goes.
    """

    obtained: str = 'own'
    size: str = ''
    terms: str = ''
    instructions: str = 'Name them with --config.dataset.path=PATH.'


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The keys that every data set has; each adds its own, and says what else it is.

    Attributes:
      labeled: whether its sequences have a class, as recognition needs.
      resizable: whether frames of another size can be made to fit; not where a pixel is a place.
      assumed_rate: frames per second of folders of pictures, which state no times; None where they
        are taken for frames of the rate that is wanted.
      hold_out: how to hold out a part of the training data for validation, for a message.
      origin: where it comes from.
    """

    path: str = option('', 'where your own files are', PATH, changeable=True)
    data_dir: str = option('data', 'folder of prepared data', FOLDER, changeable=True)
    input_frames: int = option(10, 'frames that are observed', whole(1, MOST_FRAMES))
    output_frames: int = option(10, 'frames that are predicted after them', whole(1, MOST_FRAMES))
    copy_test: tuple[int, ...] = option(
        (),
        'copy test (section 4.1): frames of an unrelated sequence that are observed and forecast in '
        'between, after a context that is the whole sequence; (): none',
        COPY_TEST,
    )
    workers: int = option(
        0, 'processes that make batches; 0: a thread', whole(0, 1024), changeable=True
    )

    labeled: ClassVar[bool] = False
    resizable: ClassVar[bool] = True
    assumed_rate: ClassVar[float | None] = None
    hold_out: ClassVar[str] = ''
    origin: ClassVar[Origin] = Origin()

    @staticmethod
    def open(dataset: Mapping[str, Any], split: str, seed: int) -> Source:
        """Opens a split, see `open_source`.

        Args:
          dataset: the section of a config.
          split: 'train', 'validation' or 'test'.
          seed: of training sequences that are drawn.

        Raises:
          InputError: what is wrong with the user's files.
        """
        raise NotImplementedError

    @staticmethod
    def size_of_frames(dataset: Mapping[str, Any]) -> tuple[str, tuple[int, int]] | None:
        """The key that says height and width of the frames, and its value; None where none does."""
        return ('frame_size', dataset['frame_size']) if 'frame_size' in dataset else None

    @staticmethod
    def problems(dataset: Mapping[str, Any]) -> Iterable[str]:
        """What is wrong between keys that are each right by themselves."""
        return ()

    @staticmethod
    def details(dataset: Mapping[str, Any]) -> Sequence[str]:
        """Further lines for the account of `--mode=prepare`."""
        return ()


DATASETS: dict[str, type[Dataset]] = {}


def register_dataset(name: str) -> Callable[[type[Dataset]], type[Dataset]]:
    """A decorator that enters a data set, with the options that its fields are.

    Args:
      name: that `dataset.name` has in a config.

    Raises:
      InputError: another data set has the name.
    """
    return enter(DATASETS, name, 'data set')
