"""What evaluates parameters on the splits of a data set; each task has its own."""

import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

from ml_collections import ConfigDict

from e3d.data.batches import frame_shape
from e3d.data.sources.dataset import Source
from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import (
    open_source,
    scale_of,
    shared_clips,
    training_extent,
    with_gaps,
    with_scale,
)
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.evaluation.shown import Shown
from e3d.model.needs import Needs
from e3d.parallel import processes
from e3d.terminal import show, tell

# How far a least or largest value may seem to lie beyond the end that it is, by rounding.
_ROUNDED = 1e-4
REPORT_NAME = 'evaluation'  # of the run's own data and lengths
SAMPLES_FOLDER = 'samples'


class Evaluator(Protocol):
    """Measures parameters on splits.

    Where several processes train together, all of them measure, each the whole split or its share
    (see `e3d.parallel.processes.gather`), come to the same report, and only the first one draws.

    Attributes:
      sources: by split; 'train' is among them where it is at hand.
      name: of the files that it writes, without suffix.
      shown: sequences of the test split beside what the model made of them, once that is measured.
    """

    sources: dict[str, Source]
    name: str
    shown: list[Shown]

    def evaluate(
        self, variables: Any, step: int, split: str, max_sequences: int | None = None
    ) -> dict[str, Any]:
        """Measures a model on a split and draws some sequences of it.

        Args:
          variables: of the model, placed by `devices.place_state`.
          step: at which they are.
          split: one of those that were opened.
          max_sequences: only so many of the first; None takes the whole split.

        Returns:
          The report, which can be written as JSON: 'step', 'protocol', 'num_sequences' and metrics.
        """

    def error(self, report: dict[str, Any]) -> float:
        """The number in a report by which the best checkpoint is chosen; lower is better."""

    def present(self, report: dict[str, Any]) -> None:
        """Writes a report and its pictures into the workdir, prints its table and where all lies."""


def open_splits(
    config: ConfigDict, splits: Sequence[str], scale: Scale | None = None, gaps: bool = False
) -> dict[str, Source]:
    """The sources of 'train' and of `splits`; raises InputError where one cannot be opened.

    Where only the test is wanted, as in an evaluation, 'train' may be missing, which is said.

    Args:
      config: of the run.
      splits: beside 'train'.
      scale: of the run that is evaluated, by which its values are scaled where they have a unit; None
        in a training.
      gaps: whether the data of that run had some.
    """
    sources, missing, rescaled = {}, None, False
    for split in ('train', *splits):
        try:
            own = open_source(config.dataset, split, config.seed)
            scaled = with_scale(own, scale)
            rescaled |= scaled is not own
            sources[split] = with_gaps(scaled) if gaps else scaled
        except InputError as error:
            if split != 'train' or tuple(splits) != ('test',):
                raise
            missing = error
    if missing and processes.is_first():
        tell(f'The mean training image is left out, as there are no training data: {missing}')
    if scale and rescaled and processes.is_first():
        tell(f'Values are scaled as in the training of the run: {scale.describe()}.')
    return sources


def check_sources(config: ConfigDict, sources: dict[str, Source], channels: int) -> None:
    """Makes sure that a model can learn from, and be measured by, all splits.

    Raises:
      InputError: a split has sequences of another length, size or number of channels than the
        others or the model.
    """
    length = layout_of(config.dataset).length
    first = next(iter(sources))  # 'train', where that is at hand
    height, width, _ = frame_shape(sources[first])
    expected = {
        'frames a sequence': length,
        'rows': height,
        'columns': width,
        'channels': channels,
    }
    for split, source in sources.items():
        example = source[0]
        for (name, wanted), found in zip(expected.items(), example['frames'].shape, strict=True):
            # Larger frames than those that are cut out for training are forecast in tiles.
            tiled = name in ('rows', 'columns') and config.dataset.get('crop')
            if found != wanted and not tiled:
                others = f'those of the {first} split have'
                of_whom = 'the model is for' if name == 'channels' else others
                raise InputError(
                    f'The {split} split has frames with {found} {name}; {of_whom} {wanted}. '
                    f'Give data with {wanted} {name} for it.'
                )


def check_training_values(config: ConfigDict, needs: Needs, source: Source) -> None:
    """Raises InputError where values lie outside of [0, 1] that must not.

    Args:
      config: of the run.
      needs: of the model.
      source: of the training.
    """
    weight = config.loss.get('cross_entropy_weight')  # a task of one's own has another section
    problems, remedies = [], []
    if needs.bounded:
        problems.append(f'model.name={config.model.name!r} forecasts nothing outside of 0 to 1')
        remedies.append('another model')
    if weight:
        problems.append(f'loss.cross_entropy_weight={weight} is for values from 0 to 1')
        remedies.append('loss.cross_entropy_weight=0')
    extent = training_extent(source) if problems else None
    if extent is None or (extent[0] >= -_ROUNDED and extent[1] <= 1 + _ROUNDED):
        return
    wider = "dataset.scale='minmax'"
    if 'scale' not in config.dataset:  # what a program gives
        low, high = scale_of(source).to_unit(extent)
        wider = f'value_range=({low:g}, {high:g})'
    raise InputError(
        f'{" and ".join(problems)}, but {scale_of(source).describe()}, so that the training data are '
        f'from {extent[0]:.4g} to {extent[1]:.4g}. Take {" and ".join(remedies)}, or {wider}.'
    )


def picture_paths(path: pathlib.Path, figures: str) -> list[pathlib.Path]:
    """The PNG at a path, and where `evaluation.figures` names another format one of that."""
    return [path.with_suffix(f'.{kind}') for kind in dict.fromkeys(('png', figures))]


def samples_folder(workdir: pathlib.Path, name: str) -> pathlib.Path:
    """Where the pictures of sequences go, by the name of the evaluation."""
    return workdir / (SAMPLES_FOLDER + name.removeprefix(REPORT_NAME))


def tell_of_trained_clips(
    trained: ConfigDict, config: ConfigDict, sources: dict[str, Source]
) -> None:
    """Says how many clips of the test a run was trained on, as other splits of the data may have them.

    Args:
      trained: config of the run.
      config: of the evaluation.
      sources: of the evaluation.
    """
    if trained.dataset == config.dataset or config.dataset.get('split') == 'ranges':
        return
    try:
        source = open_source(trained.dataset, 'train', trained.seed)
    except InputError:  # the data of the training were not found
        return
    count = shared_clips(source, sources['test'])
    if count:
        tell(
            f'{count} clips of this test were trained on: the values of dataset that differ from '
            'those of the run divide the clips in another way. So this is not a test error.'
        )


def say_where(workdir: pathlib.Path, name: str, report: dict[str, Any]) -> None:
    """Prints which checkpoint was measured, and where the results lie."""
    if 'checkpoint' in report:
        show(f'{"checkpoint":<12} {report["checkpoint"]}, step {report["step"]}')
    places = {
        'report': f'report{name.removeprefix(REPORT_NAME)}.html',
        'numbers': f'{name}.json',
        'curves': f'{name}.png',
        'pictures': f'{samples_folder(workdir, name).name}/',
        'checkpoints': 'checkpoints/',
    }
    for kind, place in places.items():
        show(f'{kind:<12} {workdir}/{place}')
