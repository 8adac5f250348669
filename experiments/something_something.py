"""Something-Something v2: from the front quarter of a clip to the next 10 frames (section 4.4).

    python launch.py --config=experiments/something_something.py --config.dataset.path=FOLDER
    python launch.py --config=experiments/something_something.py:small --config.dataset.path=FOLDER

FOLDER holds the .webm files and the .json lists, which are given out on request by Qualcomm. The 41
classes of the paper, 24 frames a second, 224 x 224 in RGB. Here the network is that for prediction,
on patches of 8. --config.dataset.fraction=0.5 observes the front half. This is for a GPU: 16.0
million parameters, at least 1.2 GiB. `:small` takes 32 x 32 and 2 layers of 16 channels, for
minutes on two CPU cores.
"""

from ml_collections import ConfigDict

from experiments import base


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = base.parse_arg(arg, small=False).small
    config = base.get_base_config()
    config.name = 'something_something_small' if small else 'something_something'
    config.model.update({'patch_size': 8, 'memory': 'recompute'})
    config.dataset.update(base.something_something())
    config.evaluation.max_sequences = 256
    if small:
        config.model.update({'layers': 2, 'features': 16, 'patch_size': 4})
        config.dataset.update({'frame_size': (32, 32), 'input_frames': 5, 'output_frames': 5})
        config.sampling.decrease = 1 / 200
        config.train.update({'steps': 300, 'evaluate_every': 150})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
    return config
