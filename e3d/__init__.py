"""E3D-LSTM: forecasting video and other sequences of grids, in JAX and Flax.

From frames to numbers, in the order in which they depend on each other:

    errors          InputError and RunError, the two kinds of failure with a plain message
    signals         SIGTERM and Ctrl-C
    terminal        what is said on stdout and stderr
    files           files of others, looked at before they are opened; atomic writes
    pixel_values    which numbers are pixels, and what white is
    options         what a key of a config is: default, meaning, what is allowed
    kernels         convolution, attention, LayerNorm, the time loop: fast gradients on any backend
    model           cell, stack, forecaster, recognizer: arrays `[B, T, H, W, C]` in, arrays out
    data            sources of sequences and batches of them, `{'frames': [B, T, H, W, C]}`
    evaluation      metrics, reports and pictures of forecasts
    parallel        the only part that knows devices and processes
    tasks           prediction, recognition: loss, evaluator, report of each
    configuration   one config, of the options of model, data set, task and training; its check
    runs            what a workdir holds: config, checkpoints, metrics; `load_run`
    training        the update and the loop: `train(config, workdir)`
    prediction      a trained run continues your own clip: `forecast(run, frames, horizon)`
    weights         weights of other codes made a run, a run made a file for others
    command_line    what `launch.py` understands
    import_weights  `python -m e3d.import_weights`
    export          `python -m e3d.export`
    sweep           an experiment with many values, one run after the other

Each imports only from those above it. The names below can be imported from `e3d` itself; what they
need is imported when they are first used.
"""

import importlib

_HOMES = {
    'e3d.errors': ('InputError', 'RunError'),
    'e3d.model': (
        'CNNRecognizer',
        'CausalLSTMCell',
        'ConvLSTM',
        'ConvLSTMCell',
        'E3DLSTM',
        'E3DLSTMCarry',
        'E3DLSTMCell',
        'E3DLSTMStack',
        'E3DLSTMStackCarry',
        'E3DRecognizer',
        'Forecaster',
        'GradientHighwayUnit',
        'PredRNN',
        'PredRNNPlusPlus',
        'Recognizer',
        'RecurrentCell',
        'RecurrentStack',
        'STLSTMCell',
        'STLSTMRecognizer',
        'build_model',
        'observe',
        'register_forecaster',
        'register_recognizer',
        'start',
    ),
    'e3d.data.preparation': ('prepare',),
    'e3d.data.sources.registry': ('open_source',),
    'e3d.data.batches': ('evaluation_batches', 'training_batches'),
    'e3d.evaluation.metrics': ('frame_metrics',),
    'e3d.configuration': ('check_config', 'default_config', 'make_config'),
    'e3d.data.sources.dataset': ('Dataset', 'register_dataset'),
    'e3d.evaluation.presets': ('register_metric',),
    'e3d.options.option': ('option',),
    'e3d.tasks.registry': ('Task', 'register_task'),
    'e3d.runs.trained_run': ('Run', 'load_run'),
    'e3d.training.evaluation': ('evaluate',),
    'e3d.training.loop': ('train',),
    'e3d.training.step': ('train_step',),
    'e3d.prediction.forecast': ('forecast', 'predict_file'),
    'e3d.prediction.presentation': ('Presentation',),
    'e3d.weights.importing': ('import_run',),
    'e3d.weights.exporting': ('export_run',),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])
