"""The rivals of the paper's tables as their own authors train them.

    python launch.py --config=experiments/rivals.py:dfn
    python launch.py --config=experiments/rivals.py:frnn,small

The name of a model, and `small` for minutes on two CPU cores: few channels, frames of 32 x 32, a short
training. To compare models under one rule, that of the paper's table 1, name them in another experiment:
--config=experiments/moving_mnist.py --config.model.name=dfn.

    dfn           Moving MNIST 10 -> 10; mean cross-entropy of the forecast; Adam at 1e-3, halved after
                  each fifth of 20,000 updates of 16
    cdna          Moving MNIST 10 -> 10, where the authors have pictures of a robot; squared error of the
                  forecast; Adam at 1e-3, 100,000 updates of 32; scheduled sampling, of which the authors
                  have the inverse sigmoid
    frnn          Moving MNIST 10 -> 10; absolute error of frames in [-1, 1], twice that in [0, 1];
                  RMSProp at 1e-4, 500,000 updates of 12
    vpn_baseline  Moving MNIST 10 -> 10; squared and absolute error of the forecast, for its head is
                  linear, where the authors have a cross-entropy; RMSProp at 3e-4
    mcnet         KTH 10 -> 10 at 128 x 128, sequences by its own rule; squared error of frames in
                  [-1, 1], four times that in [0, 1], gradient difference and adversary; Adam at 1e-4
                  with b1 = 0.5, 100,000 updates of 8

At full size these are for a GPU.
"""

from typing import Any

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg

_FUTURE = {'l2_weight': 1.0, 'l1_weight': 0.0, 'frames': 'future'}
_TENSORFLOW_RMSPROP = {'kind': 'rmsprop', 'b2': 0.9, 'eps': 1e-10}

# By model: its data set, and by section what differs from the setting of the E3D-LSTM paper.
RECIPES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    'dfn': ('moving_mnist', {
        'loss': _FUTURE | {'l2_weight': 0.0, 'cross_entropy_weight': 1.0},
        'sampling': {'start': 0.0},
        'optimizer': {'schedule': 'halving'},
        'train': {'batch_size': 16, 'steps': 20_000},
    }),
    'cdna': ('moving_mnist', {
        'loss': _FUTURE,
        'sampling': {'decrease': 1e-4},
        'train': {'batch_size': 32, 'steps': 100_000},
    }),
    'frnn': ('moving_mnist', {
        'loss': _FUTURE | {'l2_weight': 0.0, 'l1_weight': 2.0},
        'optimizer': _TENSORFLOW_RMSPROP | {'learning_rate': 1e-4},
        'train': {'batch_size': 12, 'steps': 500_000},
    }),
    'vpn_baseline': ('moving_mnist', {
        'loss': _FUTURE | {'l1_weight': 1.0},
        'sampling': {'start': 0.0},
        'optimizer': _TENSORFLOW_RMSPROP | {'learning_rate': 3e-4},
    }),
    'mcnet': ('kth', {
        'dataset': {'windows': 'mcnet'},
        'loss': _FUTURE | {'l2_weight': 4.0},
        'optimizer': {'learning_rate': 1e-4, 'b1': 0.5},
        'train': {'batch_size': 8, 'steps': 100_000},
    }),
}  # fmt: skip

# By model: few channels.
_SMALL: dict[str, dict[str, Any]] = {
    'dfn': {'features': 16},
    'cdna': {'features': 4},
    'frnn': {'width': 0.1},
    'vpn_baseline': {'features': 8, 'patch_size': 4, 'encoder_blocks': 2, 'decoder_blocks': 3},
    'mcnet': {'features': 8},
}


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: the name of a model, dfn if there is none, and 'small' for minutes on a CPU."""
    options = parse_arg(arg, small=False, **dict.fromkeys(RECIPES, False))
    named = [model for model in RECIPES if options[model]]
    if len(named) > 1:
        raise ValueError(f"':{arg}': one model is needed, not {' and '.join(named)}")
    name = named[0] if named else 'dfn'
    data, sections = RECIPES[name]
    config = default_config(data, model=name)
    config.name = '_'.join(['rivals', *([name] if named else []), *(['small'] * options.small)])
    for section, values in sections.items():
        config[section].update(values)
    if options.small:
        config.model.update(_SMALL[name])
        if data == 'moving_mnist':
            config.dataset.update({'canvas': (32, 32), 'num_digits': 1, 'digit_size': 14})
            config.dataset.update({'speed': 1.8, 'validation_size': 100, 'test_size': 200})
        else:
            config.dataset.frame_size = (32, 32)
        config.train.update({'batch_size': 8, 'steps': 300, 'evaluate_every': 150})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
    return config
