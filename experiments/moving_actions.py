"""Early recognition on digits: what will one of them do? Needs no download.

    python launch.py --config=experiments/moving_actions.py
    python launch.py --config=experiments/moving_actions.py:small
    python launch.py --config=experiments/moving_actions.py:slow
    python -m benchmarks.recognition_study

Seven classes of motion that begin to show after the first quarter of 16 frames of 32 x 32
(e3d/data/sources/moving_actions.py). One who knows the rules and sees exact positions has 14.3 % right
after one frame, 28.6 % after a quarter, 71.4 % after a half, and 100 % at the end. Each clip of the
training is observed up to a quarter, a half, or its end, where the class is beyond doubt.

`:online` is Table 8: the classifier on the last 5 states, RECALL over the last 5 (`history=5`).
`:slow` is harder: the actor moves half as fast, so that what it does shows later and by less, although
exact positions tell it as early.
The sweep holds the models of Tables 5 and 6, the strategies of Table 7 and the online ones of Table
8, each with about as many parameters as E3D-LSTM with 8 channels, and the published networks whose
names stand in Table 5, made as small. One run takes about ten minutes on two CPU cores. The last
command runs what results/recognition.json does not have yet of `--sweep=get_sweep`, and writes the
tables.
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg

RUNS = 'runs/moving_actions_sweep'
SEEDS = (0, 1)

_CNN = {'model.name': 'cnn_recognizer'}
_ST_LSTM = {'model.name': 'st_lstm_recognizer'}
_ONLINE = {'model.history': 5, 'model.window': 5}
# The published networks over whole clips, narrowed from 64 to so many features.
_PUBLISHED = {'c3d': 4, 'i3d': 7, 's3d': 9, 'p3d': 5, 'r3d': 4, 'mc3': 7, 'r2plus1d': 4}

# Features are such that the numbers of parameters are alike.
ENTRIES = {
    'e3d_lstm': {},
    'classification_only': {'loss.strategy': 'classification'},
    'cnn_3d': {**_CNN, 'model.features': 18, 'loss.strategy': 'classification'},
    'without_attention': {'model.recall': 'none'},
    'gated': {'model.variant': 'gated', 'model.recall': 'in_place'},
    'pre_training': {'loss.strategy': 'prediction'},
    'pre_trained': {'loss.strategy': 'classification', 'init_from': f'{RUNS}/pre_training'},
    'fixed_ratio': {'loss.strategy': 'fixed'},
    'online': _ONLINE,
    'online_classification_only': {**_ONLINE, 'loss.strategy': 'classification'},
    'cnn_at_bottom': {**_ST_LSTM, 'model.features': 11},
    'cnn_on_top': {
        **_ST_LSTM, 'model.encoder_depth': 1, 'model.top_layers': 2, 'model.features': 11,
    },
    'without_3d_convolutions': {
        'model.depth': 1, 'model.encoder_depth': 1, 'model.kernel_size': (1, 5, 5),
        'model.features': 11,
    },
    'e2_1d_lstm': {'model.convolution': 'separable', 'model.features': 10},
    'separable_cnn': {
        **_CNN, 'model.separable': 'bottom', 'model.features': 19, 'loss.strategy': 'classification',
    },
    'cnn_2_1d': {
        **_CNN, 'model.separable': 'top', 'model.features': 19, 'loss.strategy': 'classification',
    },
    **{
        name: {
            'model.name': name, 'model.features': features, 'model.clip_frames': 16,
            'loss.strategy': 'classification',
        }
        for name, features in _PUBLISHED.items()
    },
}  # fmt: skip
# At the rate of all others these had learned little or nothing when the others had.
_FASTER = {'optimizer.learning_rate': 1e-2}
ENTRIES |= {
    f'{name}_without_dropout': {**ENTRIES[name], 'model.dropout': 0.0, **_FASTER}
    for name in ('i3d', 's3d', 'p3d')
}  # fmt: skip
ENTRIES['r2plus1d_1e-2'] = {**ENTRIES['r2plus1d'], **_FASTER}  # which has no dropout
# Classification only does not leave chance in 800 updates.
ENTRIES |= {
    f'{name}_3000_updates': {**ENTRIES[name], 'train.steps': 3000}
    for name in ('classification_only', 'e3d_lstm')
}
# What `:slow` is to tell apart.
SLOW = (
    'e3d_lstm', 'gated', 'without_attention', 'without_3d_convolutions', 'cnn_on_top', 'cnn_3d', 'r3d',
)  # fmt: skip


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for a few seconds of training, 'online' for the last 5 states, 'slow'."""
    options = _read(arg)
    config = default_config('moving_actions', 'recognition')
    config.name = '_'.join(['moving_actions', *(key for key in options if options[key])])
    config.model.update({'classes': 7, 'layers': 2, 'features': 8})
    config.model.update({'classifier_features': 32, 'classifier_hidden': 64})
    config.loss.update({'observed': (0.25, 0.5, 1.0), 'decrease': 0.04, 'least': 0.1})
    config.sampling.decrease = 1 / 150
    config.optimizer.update({'learning_rate': 1e-3, 'schedule': 'cosine'})
    config.optimizer.update({'warmup_steps': 20, 'clip_norm': 1.0})
    config.train.update({'batch_size': 16, 'steps': 800, 'evaluate_every': 200})
    config.evaluation.batch_size = 70
    config.checkpoint.update({'every': 200, 'keep': 1, 'keep_best': False})
    if options.online:
        config.model.update({'history': 5, 'window': 5})
    if options.slow:
        config.dataset.travel /= 2
    if options.small:
        config.model.update({'features': 4, 'classifier_features': 8, 'classifier_hidden': 16})
        config.dataset.update({'validation_size': 14, 'test_size': 28})
        config.optimizer.update({'schedule': 'constant', 'warmup_steps': 0})
        config.train.update({'batch_size': 8, 'steps': 4, 'evaluate_every': 2, 'log_every': 2})
    return config


def get_sweep(arg: str | None = None) -> list[dict]:
    """The models and strategies of Tables 5 to 8, or some of them where it is slow, with every seed."""
    names = SLOW if _read(arg).slow else ENTRIES
    entries = []
    for seed in SEEDS:
        for name in names:
            entry = {'name': f'{name},seed={seed}', 'seed': seed, **ENTRIES[name]}
            if 'init_from' in entry:
                entry['init_from'] += f',seed={seed}'
            entries.append(entry)
    return entries


def _read(arg: str | None) -> ConfigDict:
    return parse_arg(arg, small=False, online=False, slow=False)
