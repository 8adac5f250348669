"""The check of a whole config before any work: each key by its rule, then what joins several keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from e3d.configuration.comparison import describe_unknown_key, flatten
from e3d.configuration.keys import DATASET_RULES, LABELLED, TASK_RULES, choice_rules, rules_of
from e3d.configuration.values import Rule, shown_value
from e3d.errors import InputError
from e3d.model import build_model


def check_config(config: ConfigDict) -> None:
    """Checks every key and value of a config.

    Raises:
      InputError: naming the keys, the values they have and what is allowed.
    """
    values = flatten(config)
    choices = choice_rules(values.get('task'))
    _reject(list(_problems_of_task(values)))
    _reject(_problems_of_values(values, choices))
    rules = rules_of(values['task'], values['model.name'], values['dataset.name'])
    unknown = [describe_unknown_key(key, rules) for key in values if key not in rules]
    _reject(unknown + _problems_of_values(values, rules))
    _reject(list(_joint_problems(values)))
    build_model(**config.model)


def _problems_of_task(values: Mapping[str, Any]) -> Iterable[str]:
    """What makes a task impossible, and all that else would be said beside the point."""
    task, dataset = values.get('task'), values.get('dataset.name')
    if task == 'recognition' and dataset in DATASET_RULES and dataset not in LABELLED:
        labeled = ' or '.join(map(repr, LABELLED))
        yield (
            f"task='recognition' needs classes, which dataset.name={dataset!r} does not have: must be "
            f'{labeled}'
        )
    elif (
        isinstance(task, str) and task in TASK_RULES and not TASK_RULES[task].keys() & values.keys()
    ):
        yield (
            f'task={task!r} needs another section loss, with the keys '
            f'{", ".join(TASK_RULES[task])}: begin with the experiment of such a task'
        )


def _problems_of_values(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> list[str]:
    missing = [
        f'{key} is missing: must be {rules[key].allowed}' for key in rules if key not in values
    ]
    return missing + [
        f'{key}={shown_value(value)}: must be {rules[key].allowed}'
        for key, value in values.items()
        if key in rules and not rules[key].accepts(value)
    ]


def _reject(problems: Sequence[str]) -> None:
    if problems:
        raise InputError('The config cannot be used:\n' + '\n'.join(f'  {p}' for p in problems))


def _joint_problems(values: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong between keys that are each right by themselves."""
    if values['task'] == 'recognition':
        yield from _recognition_problems(values)
    elif values['task'] == 'prediction':
        yield from _prediction_problems(values)
    if values['optimizer.warmup_steps'] >= values['train.steps']:
        yield (
            f'optimizer.warmup_steps={values["optimizer.warmup_steps"]}: must be less than '
            f'train.steps={values["train.steps"]}'
        )
    if values['sampling.first_step'] >= values['sampling.last_step']:
        yield (
            f'sampling.first_step={values["sampling.first_step"]}: must be less than '
            f'sampling.last_step={values["sampling.last_step"]}'
        )
    if values['dataset.name'] == 'moving_mnist' and values['dataset.digits'] == 'array':
        if not values['dataset.path']:
            yield "dataset.digits='array' needs dataset.path: the .npy or .npz file"
    elif values['dataset.name'] == 'moving_mnist':
        yield from _patch_problems(values, 'dataset.canvas')
        yield from _digit_problems(values)
    elif 'dataset.frame_size' in values and 'model.patch_size' in values:
        yield from _patch_problems(values, 'dataset.frame_size')
    if values.get('model.convolution') == 'transposed':
        yield from _transposed_problems(values)


def _prediction_problems(values: Mapping[str, Any]) -> Iterable[str]:
    if not values['loss.l2_weight'] and not values['loss.l1_weight']:
        yield 'loss.l2_weight=0 and loss.l1_weight=0: at least one must be above 0'


def _recognition_problems(values: Mapping[str, Any]) -> Iterable[str]:
    if values['dataset.copy_test']:
        yield "dataset.copy_test is for task='prediction': must be ()"
    if values['sampling.kind'] != 'scheduled':
        yield "sampling.kind='reverse' is for task='prediction': must be 'scheduled'"


def _patch_problems(values: Mapping[str, Any], key: str) -> Iterable[str]:
    size, patch = values[key], values['model.patch_size']
    if any(side % patch for side in size) and not values['model.pad_frames']:
        yield (
            f'model.patch_size={patch} does not divide {key}={tuple(size)}: must be a divisor '
            'of both sides, or any with model.pad_frames=True'
        )


def _transposed_problems(values: Mapping[str, Any]) -> Iterable[str]:
    """The operator 'transposed' leaves nothing of states that are smaller than its kernel."""
    ready = values.get('dataset.digits') == 'array'  # frames of a size that only the file tells
    key = next((k for k in ('dataset.canvas', 'dataset.frame_size') if k in values), None)
    kernel, states = tuple(values['model.kernel_size']), [values['model.depth']]
    if key is not None and not ready:
        # Recognizers have no patches; each layer of their encoder halves the sides.
        factor = values.get('model.patch_size', 2 ** values.get('model.encoder_layers', 0))
        states += [-(-side // factor) for side in values[key]]
    if any(size > state for size, state in zip(kernel, states, strict=False)):
        of = '(depth, height, width)' if len(states) == 3 else 'depth'
        shown = tuple(states) if len(states) == 3 else states[0]
        yield (
            f"model.kernel_size={kernel}: with model.convolution='transposed' must be at most "
            f'the {of} of the states, {shown}'
        )


def _digit_problems(values: Mapping[str, Any]) -> Iterable[str]:
    canvas, digit = values['dataset.canvas'], values['dataset.digit_size']
    if digit > min(canvas):
        yield (
            f'dataset.digit_size={digit}: must be at most the smaller side of '
            f'dataset.canvas={tuple(canvas)}'
        )
    if values['dataset.digits'] == 'mnist_idx' and not values['dataset.path']:
        yield "dataset.digits='mnist_idx' needs dataset.path: the folder with the idx files"
