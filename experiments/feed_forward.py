"""SimVP, TAU and ST-ResNet as their authors train them: all of the input is seen at once.

    python launch.py --config=experiments/feed_forward.py:model=tau
    python launch.py --config=experiments/feed_forward.py:data=taxibj --config.dataset.path=FOLDER
    python launch.py --config=experiments/feed_forward.py:model=st_resnet --config.dataset.path=FOLDER
    python launch.py --config=experiments/feed_forward.py:small

FOLDER is that of `experiments/taxibj.py`, or of `experiments/bikenyc.py` with `data=bikenyc`.

`model` is `gsta` (SimVPv2), `tau`, `convmixer`, `incepu` (the first SimVP) or `st_resnet`. `data` is
`moving_mnist`, `kth` or `taxibj` in the settings of OpenSTL: squared error of the forecast, Adam,
batches of 16; for Moving MNIST 200 epochs of 10,000 fixed sequences with a peak of the rate at 1e-3,
for KTH 10 -> 20 at 128 x 128 100 epochs of 5,200, for TaxiBJ 50 epochs of 20,461 that begin with 5 of
rising rate. There the momentum of Adam goes down and up as the rate does the opposite; here it stays.

`st_resnet` is for `taxibj`, L12 with 3 frames before, the day and the week before, and `bikenyc`, L4
with 3, 4 and 4: squared error of one step, Adam at 2e-4, batches of 32. Its authors stop when two
epochs bring nothing; here the best checkpoint is that of the days held out for validation.
--mode=evaluate --config.dataset.output_frames=4 measures the four steps of the E3D-LSTM paper.

At full size SimVP is for a GPU. `:small` is a small gSTA on one digit, for minutes on two CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg

ST_RESNET = 'st_resnet'
TRANSLATORS = ('gsta', 'tau', 'convmixer', 'incepu')

# By data: sizes of the model, its rate and its length.
SIMVP: dict[str, dict[str, dict[str, Any]]] = {
    'moving_mnist': {
        'dataset': {'endless': False, 'train_size': 10_000},
        'optimizer': {'schedule': 'onecycle'},
        'train': {'steps': 125_000},
    },
    'kth': {
        'model': {
            'features': 256,
            'layers': 6,
            'encoder_layers': 2,
            'encoder_features': 64,
            'drop_path': 0.1,
        },
        'dataset': {'output_frames': 20},
        'optimizer': {'schedule': 'onecycle'},
        'train': {'steps': 32_500},
    },
    'taxibj': {
        'model': {'features': 256, 'encoder_layers': 2, 'drop_path': 0.1},
        'optimizer': {'learning_rate': 5e-4, 'schedule': 'cosine', 'warmup_steps': 6_395},
        'train': {'steps': 63_950},
    },
}
RESIDUAL: dict[str, dict[str, dict[str, Any]]] = {
    'taxibj': {
        'model': {'closeness': 3, 'period': 1, 'trend': 1, 'layers': 12},
        'dataset': {'output_frames': 1, 'validation_days': 28},
    },
    'bikenyc': {
        'model': {'closeness': 3, 'period': 4, 'trend': 4, 'layers': 4},
        'dataset': {'output_frames': 1, 'test_days': 10, 'validation_days': 10},
    },
}


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'model=NAME,data=NAME'; 'small' for minutes on a CPU."""
    options = parse_arg(arg, small=False, model='', data='')
    model, residual = options.model or 'gsta', options.model == ST_RESNET
    recipes = RESIDUAL if residual else SIMVP
    data = options.data or next(iter(recipes))
    if model not in (*TRANSLATORS, ST_RESNET):
        raise ValueError(f"':{arg}': model must be one of {', '.join((*TRANSLATORS, ST_RESNET))}")
    if data not in recipes:
        raise ValueError(f"':{arg}': data of {model} must be one of {', '.join(recipes)}")
    config = default_config(
        'taxibj' if data == 'bikenyc' else data, model=ST_RESNET if residual else 'simvp'
    )
    named = [text for text in (options.model, options.data) if text]
    config.name = '_'.join(['feed_forward', *named, *(['small'] * options.small)])
    config.loss.update({'l1_weight': 0.0, 'frames': 'future'})
    config.train.batch_size = 32 if residual else 16
    if residual:
        config.optimizer.learning_rate = 2e-4
    else:
        config.model.translator = model
    for section, values in recipes[data].items():
        config[section].update(values)
    if model == 'gsta' and data == 'kth':
        config.model.drop_path = 0.2
    if options.small:
        _shrink(config)
    return config


def _shrink(config: ConfigDict) -> None:
    config.model.update({'layers': 2, 'features': 16})
    if config.dataset.name == 'moving_mnist':
        config.dataset.update({'canvas': (32, 32), 'num_digits': 1, 'digit_size': 14, 'speed': 1.8})
        config.dataset.update({'endless': True, 'validation_size': 100, 'test_size': 200})
    elif config.dataset.name == 'kth':
        config.model.encoder_features = 8
        config.dataset.frame_size = (32, 32)
    config.train.update({'batch_size': 8, 'steps': 300, 'evaluate_every': 150})
    config.optimizer.warmup_steps = 0
    config.evaluation.max_sequences = 64
    config.checkpoint.every = 100
