"""Moving MNIST, 10 frames to 10, in the setting of the paper (section 4.1).

    python launch.py --config=experiments/moving_mnist.py
    python launch.py --config=experiments/moving_mnist.py:small

Two digits of 28 pixels on 64 x 64; 4 layers of 64 channels, patches of 4; 80,000 updates of 8
sequences with Adam at 1e-3; the probability of true frames falls by 2e-5 an update. Training
sequences are ever new, as in the papers that report on this data set; validation and test are fixed
sets of 3,000 and 5,000 sequences. --config.dataset.test_path=mnist_test_seq.npy tests on that file
instead, --config.dataset.digits=array --config.dataset.path=FILE trains on stored sequences
[N, T, H, W, C]; --config.dataset.layout=NTCHW names the axes of an array that does not tell them.
This is for a GPU: 12.1 million parameters, at least 1.6 GiB; 80,000 updates at 0.245 s are 5.4 hours on
an H100, 1.9 at the 0.084 s of --config.model.precision=fast (benchmarks/README.md).
`:small` takes one digit on 32 x 32 and 2 layers of 16 channels, for minutes on two CPU cores (0.37
s a step on two of an Intel Xeon).
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = parse_arg(arg, small=False).small
    config = default_config('moving_mnist')
    config.name = 'moving_mnist_small' if small else 'moving_mnist'
    if small:
        config.model.update({'layers': 2, 'features': 16})
        config.dataset.update({'canvas': (32, 32), 'num_digits': 1, 'digit_size': 14, 'speed': 1.8})
        config.dataset.update({'validation_size': 100, 'test_size': 200})
        config.sampling.decrease = 1 / 200
        config.train.update({'steps': 300, 'evaluate_every': 150})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
    return config
