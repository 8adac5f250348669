"""E3D-LSTM beside its ablations and rivals, at a size that two CPU cores can train.

    python -m benchmarks.study
    python launch.py --config=experiments/study.py --sweep=get_sweep
    python launch.py --config=experiments/study.py:copy --sweep=get_sweep

The models of tables 1 and 2 of the paper on the task of `quickstart.py`: one digit of 14 pixels on
32 x 32, 5 frames to 5. All have two recurrent layers and, within 10 %, the number of parameters of
E3D-LSTM with 16 channels (411,440); all train for the same number of updates on the same
sequences, with the same learning rate and sampling. `:copy` is the copy test of table 1. Three
seeds each, seed 0 of every model first. The first command runs what RESULTS.md does not have
yet and writes its tables; the others only run the sweep.
"""

from ml_collections import ConfigDict

from experiments import base, quickstart

SEEDS = (0, 1, 2)

_PLAIN = {'model.depth': 1, 'model.kernel_size': (1, 5, 5)}

# Features are such that the numbers of parameters are alike.
ENTRIES = {
    'e3d_lstm': {'model.features': 16},
    'e3d_lstm_released': {'model.variant': 'released', 'model.features': 15},
    'without_3d_convolutions': {**_PLAIN, 'model.features': 23},
    'without_attention': {'model.recall': 'none', 'model.features': 17},
    '3d_cnn_at_bottom': {
        'model.name': 'predrnn', 'model.encoder_layers': 2, 'model.features': 21,
    },
    '3d_cnn_on_top': {'model.name': 'predrnn', 'model.decoder_layers': 2, 'model.features': 22},
    'convlstm': {'model.name': 'convlstm', 'model.features': 34},
    'predrnn': {'model.name': 'predrnn', 'model.features': 23},
    'predrnn_plus_plus': {'model.name': 'predrnn_plus_plus', 'model.features': 19},
}  # fmt: skip
COPY_ENTRIES = ('e3d_lstm', 'without_attention', 'predrnn', 'convlstm')


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'copy' for the copy test; 'small' for a few seconds of training."""
    options = base.parse_arg(arg, small=False, copy=False)
    config = quickstart.get_config('small' if options.small else None)
    config.name = '_'.join(['study', *(key for key in ('copy', 'small') if options[key])])
    if not options.small:
        config.train.update({'steps': 400, 'evaluate_every': 100})
    config.checkpoint.update({'every': 200, 'keep': 1})
    if options.copy:
        config.dataset.update({'input_frames': 3, 'output_frames': 3, 'copy_test': (3, 3)})
        config.loss.frames = 'future'
    return config


def get_sweep(arg: str | None = None) -> list[dict]:
    """Every model with every seed."""
    names = COPY_ENTRIES if base.parse_arg(arg, small=False, copy=False).copy else ENTRIES
    return [
        {'name': f'{name},seed={seed}', 'seed': seed, **ENTRIES[name]}
        for seed in SEEDS
        for name in names
    ]
