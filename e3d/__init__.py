"""E3D-LSTM: forecasting video and other sequences of grids, in JAX and Flax.

From frames to numbers, in the order in which they depend on each other:

    errors          InputError and RunError, the two kinds of failure with a plain message
    signals         SIGTERM and Ctrl-C
    terminal        what is said on stdout and stderr
    progress        where work stands, as a bar or in plain lines
    files           files of others, looked at before they are opened; atomic writes
    pixel_values    which numbers are pixels, and what white is
    options         what a key of a config is: default, meaning, what is allowed
    kernels         convolution, attention, LayerNorm, the time loop: fast gradients on any backend
    weights.readers weights in the files of other codes, read as data
    model           cell, stack, forecaster, recognizer: arrays `[B, T, H, W, C]` in, arrays out
    data            sources of sequences and batches of them, `{'frames': [B, T, H, W, C]}`
    evaluation      metrics, reports and pictures of forecasts
    parallel        the only part that knows devices and processes
    tasks           prediction, recognition: loss, evaluator, report of each
    configuration   one config, of the options of model, data set, task and training; its check
    runs            what a workdir holds: config, checkpoints, metrics; `load_run`
    pages           report.html of a run, and the page that compares several
    training        the update and the loop: `train(config, workdir)`
    prediction      a trained run continues your own clip, `forecast(run, frames, horizon)`, or says
                    what happens in it, `recognize(run, frames)`
    fitting         from Python with arrays alone: `fit(frames)`, and a run that shows itself
    weights         weights of other codes made a run, a run made a file for others
    command_line    what the command `e3d` understands
    import_weights  `python -m e3d.import_weights`
    export          `python -m e3d.export`
    sweep           an experiment with many values, one run after the other
    launcher        the command `e3d`; it begins in `__main__`

Each imports only from those above it. The names in `__init__.pyi` can be imported from `e3d` itself;
what they need is imported when they are first used. Errors, kernels and models need only JAX, Flax,
Optax and NumPy; the rest needs pip's extra `all`.
"""

import importlib.metadata

import lazy_loader

from e3d.errors import missing_extra

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

try:
    __version__ = importlib.metadata.version('e3d')
except importlib.metadata.PackageNotFoundError:  # a checkout that was never installed
    __version__ = 'unknown'


def __getattr__(name):
    try:
        return _import(name)
    except ModuleNotFoundError as error:
        raise missing_extra(f'e3d.{name}', error) from error
