"""The check of a whole config before any work: each key by its rule, then what joins several keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from e3d.configuration.comparison import describe_unknown_key
from e3d.configuration.sections import choices, options_for
from e3d.data.sources.dataset import DATASETS
from e3d.errors import InputError
from e3d.model import build_model
from e3d.model.needs import Needs, needs_of
from e3d.options.flat import flatten
from e3d.options.option import Option, options_of
from e3d.options.rules import shown_value
from e3d.tasks.registry import TASKS


def check_config(config: ConfigDict) -> None:
    """Checks every key and value of a config.

    Raises:
      InputError: naming the keys, the values they have and what is allowed.

    Example:
      >>> config = e3d.make_config('quickstart')
      >>> config.train.steps = 0
      >>> e3d.check_config(config)
      Traceback (most recent call last):
      e3d.errors.InputError: The config cannot be used:
        train.steps=0: must be an integer >= 1 and <= 2147483647
    """
    values = flatten(config)
    _reject(list(_problems_of_task(values)))
    _reject(_problems_of_values(values, choices(values.get('task'))))
    options = options_for(values) or {}
    unknown = [describe_unknown_key(key, options) for key in values if key not in options]
    _reject(unknown + _problems_of_values(values, options))
    _reject(list(_joint_problems(config, values)))
    _reject(list(_problems_of_needs(config, needs_of(build_model(**config.model)))))


def _problems_of_task(values: Mapping[str, Any]) -> Iterable[str]:
    """What makes a task impossible; said first, as it causes many of the other problems."""
    name, dataset = values.get('task'), values.get('dataset.name')
    task = TASKS.get(name) if isinstance(name, str) else None
    if task is None:
        return
    known = DATASETS.get(dataset) if isinstance(dataset, str) else None
    keys = [f'loss.{key}' for key in options_of(task.objective)]
    if task.labeled and known is not None and not known.labeled:
        labeled = ' or '.join(repr(other) for other in DATASETS if DATASETS[other].labeled)
        yield (
            f'task={name!r} needs classes, which dataset.name={dataset!r} does not have: must be '
            f'{labeled}'
        )
    elif not set(keys) & values.keys():
        yield (
            f'task={name!r} needs another section loss, with the keys {", ".join(keys)}: begin with '
            'the experiment of such a task'
        )


def _problems_of_values(values: Mapping[str, Any], options: Mapping[str, Option]) -> list[str]:
    missing = [
        f'{key} is missing: must be {options[key].rule.allowed}'
        for key in options
        if key not in values
    ]
    return missing + [
        f'{key}={shown_value(value)}: must be {options[key].rule.allowed}'
        for key, value in values.items()
        if key in options and not options[key].rule.accepts(value)
    ]


def _reject(problems: Sequence[str]) -> None:
    if problems:
        raise InputError('The config cannot be used:\n' + '\n'.join(f'  {p}' for p in problems))


def _joint_problems(config: ConfigDict, values: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong between keys that are each right by themselves."""
    yield from TASKS[config.task].problems(values)
    if config.init_optimizer and not config.init_from:
        yield (
            'init_optimizer=True: must be False without init_from, the run whose optimizer it takes'
        )
    if config.optimizer.warmup_steps >= config.train.steps:
        yield (
            f'optimizer.warmup_steps={config.optimizer.warmup_steps}: must be less than '
            f'train.steps={config.train.steps}'
        )
    if config.optimizer.schedule == 'onecycle' and config.optimizer.warmup_steps:
        yield (
            f'optimizer.warmup_steps={config.optimizer.warmup_steps}: must be 0 with '
            "optimizer.schedule='onecycle', which rises by itself"
        )
    if config.sampling.first_step >= config.sampling.last_step:
        yield (
            f'sampling.first_step={config.sampling.first_step}: must be less than '
            f'sampling.last_step={config.sampling.last_step}'
        )
    known = DATASETS[config.dataset.name]
    key, size = known.size_of_frames(config.dataset) or ('', ())
    if 'patch_size' in config.model:
        yield from _patch_problems(config.model, key, size)
    yield from known.problems(config.dataset)
    if config.model.get('convolution') == 'transposed':
        yield from _transposed_problems(config.model, size)


def _problems_of_needs(config: ConfigDict, needs: Needs) -> Iterable[str]:
    """What a model cannot do that sees all of its input at once."""
    if not needs.future_only:
        return
    name = config.model.name
    if config.sampling.kind != 'scheduled':
        yield (
            f"sampling.kind={config.sampling.kind!r}: must be 'scheduled' with model.name={name!r}, "
            'which feeds no forecast among the observed frames'
        )


def _patch_problems(
    model: Mapping[str, Any], key: str, size: tuple[int, int] | tuple[()]
) -> Iterable[str]:
    patch = model['patch_size']
    if any(side % patch for side in size) and not model['pad_frames']:
        yield (
            f'model.patch_size={patch} does not divide dataset.{key}={tuple(size)}: must be a '
            'divisor of both sides, or any with model.pad_frames=True'
        )


def _transposed_problems(
    model: Mapping[str, Any], size: tuple[int, int] | tuple[()]
) -> Iterable[str]:
    """The operator 'transposed' leaves nothing of states that are smaller than its kernel."""
    # Recognizers have no patches; each layer of their encoder halves the sides.
    factor = model.get('patch_size', 2 ** model['encoder_layers'])
    kernel, states = tuple(model['kernel_size']), (model['depth'], *(-(-s // factor) for s in size))
    if any(side > state for side, state in zip(kernel, states, strict=False)):
        of = '(depth, height, width)' if size else 'depth'
        shown = states if size else states[0]
        yield (
            f"model.kernel_size={kernel}: with model.convolution='transposed' must be at most "
            f'the {of} of the states, {shown}'
        )
