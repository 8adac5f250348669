"""The copy test on Moving MNIST (section 4.1): forecasting what was seen before something else.

    python launch.py --config=experiments/moving_mnist_copy.py
    python launch.py --config=experiments/moving_mnist_copy.py:small

Observed are a context of 20 frames, which is the whole of sequence 2, and 10 frames of sequence 1,
which has nothing to do with it; the next 10 frames of sequence 1 are forecast; then 10 frames of
sequence 2 are observed and its next 10 forecast. Both forecasts are trained, the second is
measured. Other lengths: --config.dataset.copy_test="(5, 15)" for sequence 1, and
dataset.input_frames and dataset.output_frames for sequence 2 and its context.

The paper is silent on what enters while sequence 1 is forecast; here it is the forecast, in
training as scheduled sampling has it. This is for a GPU: 12.1 million parameters, at least 4.5 GiB.
`:small` takes one digit on 32 x 32, 5 frames to 5, and 2 layers of 16 channels, for minutes on two
CPU cores.
"""

from ml_collections import ConfigDict

from e3d.configuration import load_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = parse_arg(arg, small=False).small
    config = load_config('moving_mnist:small' if small else 'moving_mnist')
    config.name = 'moving_mnist_copy_small' if small else 'moving_mnist_copy'
    config.loss.frames = 'future'  # the two objectives of the paper
    config.dataset.copy_test = (10, 10)
    if small:
        config.dataset.update({'input_frames': 5, 'output_frames': 5, 'copy_test': (5, 5)})
    return config
