"""BikeNYC, bikes in New York, the next 4 hours from the last 4.

    python launch.py --config=experiments/bikenyc.py --config.dataset.path=FILE
    python launch.py --config=experiments/bikenyc.py:small --config.dataset.path=FILE
    python -m benchmarks.bikenyc_study --path=FILE

FILE is NYC14_M16x8_T60_NewEnd.h5 (up to 9 MB), which the authors of ST-ResNet give out by the link in
https://github.com/lucktroy/DeepST/tree/master/data/BikeNYC: in- and outflow on a grid of 16 x 8, a
frame each hour, 4,392 of them. The last 10 days are for testing, the 4 before for validation.
The frames are so small that the model of the paper (12.4 million parameters, at least 0.3 GiB)
takes hours on a CPU. `:small` takes 2 layers of 32 channels, less than ten minutes on two CPU cores,
and forecasts with an RMSE of 6.2 bikes, the average of the hour with 8.5 (results/bikenyc.md),
measured with a shorter file, NYC14_M16x8_T60.h5: 1,295 hours from 2014-08-08 to 2014-09-30.

The last command runs what results/bikenyc.json does not have yet of `--sweep=get_sweep`, models of
like size beside the small one, and writes its table. ST-ResNet has its published size, L4, and its
authors' rate; with the days and weeks before, also ten times as many updates.
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg

SEEDS = (0, 1, 2)

_ST_RESNET = {
    'model.name': 'st_resnet', 'model.layers': 4, 'model.features': 64,
    'optimizer.learning_rate': 2e-4,
}  # fmt: skip
_DAYS = {**_ST_RESNET, 'model.closeness': 3, 'model.period': 4, 'model.trend': 4}
# Of the small form. Features are such that the numbers of parameters are alike, but for ST-ResNet.
ENTRIES = {
    'e3d_lstm': {},
    'gated': {'model.variant': 'gated', 'model.recall': 'in_place', 'model.features': 30},
    'convlstm': {'model.name': 'convlstm', 'model.features': 68},
    'predrnn': {'model.name': 'predrnn', 'model.features': 48},
    'gsta': {
        'model.name': 'simvp', 'model.features': 128, 'model.layers': 5, 'model.encoder_layers': 2,
        'optimizer.learning_rate': 1e-3,
    },
    'st_resnet': _ST_RESNET,
    'st_resnet_days': _DAYS,
    'st_resnet_days_longer': {**_DAYS, 'train.steps': 10_000, 'train.evaluate_every': 1_000},
}  # fmt: skip


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = parse_arg(arg, small=False).small
    config = default_config('taxibj')
    config.name = 'bikenyc_small' if small else 'bikenyc'
    config.model.patch_size = 4
    config.dataset.update({'test_days': 10, 'validation_days': 4})
    # The RMSE in counts is to be small, which L1 has no part in.
    config.loss.l1_weight = 0.0
    config.sampling.decrease = 1 / 2_500
    config.optimizer.update({'schedule': 'cosine', 'warmup_steps': 50, 'clip_norm': 1.0})
    config.optimizer.ema_decay = 0.99
    config.train.update({'batch_size': 16, 'steps': 5_000, 'evaluate_every': 500})
    if small:
        config.model.update({'layers': 2, 'features': 32})
        config.sampling.decrease = 1 / 200
        config.optimizer.learning_rate = 3e-3
        config.train.update({'steps': 1_000, 'evaluate_every': 250})
        config.checkpoint.every = 250
    return config


def get_sweep(arg: str | None = None) -> list[dict]:
    """Every model with every seed."""
    del arg
    return [
        {'name': f'{name},seed={seed}', 'seed': seed, **keys}
        for seed in SEEDS
        for name, keys in ENTRIES.items()
    ]
