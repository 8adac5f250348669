"""KTH, human actions, trained 10 frames to 10, in the setting of the paper (section 4.2).

    python launch.py --config=experiments/kth.py
    python launch.py --config=experiments/kth.py --config.dataset.path=FOLDER
    python launch.py --config=experiments/kth.py:small

Gray frames of 128 x 128 in patches of 8; persons 1-16 for training, 17-25 for testing. The six
archives are fetched (about 1 GB), or taken from FOLDER, which may as well hold the .avi files or
folders of pictures, and 00sequences.txt. Where that is only a few clips,
--config.dataset.split=ranges tests on the last stretch of each.

The paper measures the same weights over longer horizons:

    python launch.py --config=experiments/kth.py --mode=evaluate --config.dataset.output_frames=20

and 40, each into a report of its own. As in the published codes nothing is held out for validation:
the evaluations during training are on the test split, and no best checkpoint is selected by them;
--config.dataset.validation_persons="(15, 16)" holds two persons out. This is for a GPU: 13.2
million parameters, at least 1.0 GiB. `:small` takes 32 x 32 and 2 layers of 32 channels, about a
quarter of an hour on two CPU cores.
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = parse_arg(arg, small=False).small
    config = default_config('kth')
    config.name = 'kth_small' if small else 'kth'
    config.model.patch_size = 8
    config.sampling.decrease = 1e-5
    config.train.update({'batch_size': 4, 'steps': 200_000, 'evaluate_every': 10_000})
    config.evaluation.max_sequences = 256
    if small:
        config.model.update({'layers': 2, 'features': 32, 'patch_size': 4})
        config.dataset.frame_size = (32, 32)
        config.loss.l1_weight = 0.0
        config.sampling.decrease = 1 / 200
        config.optimizer.update({'learning_rate': 2e-3, 'schedule': 'cosine'})
        config.optimizer.update({'warmup_steps': 20, 'clip_norm': 1.0, 'ema_decay': 0.99})
        config.train.update({'batch_size': 8, 'steps': 600, 'evaluate_every': 200})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
    return config
