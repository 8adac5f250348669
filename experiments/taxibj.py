"""TaxiBJ, traffic in Beijing, the next 2 hours from the last 2, as in the paper (section 4.3).

    python launch.py --config=experiments/taxibj.py --config.dataset.path=FOLDER
    python launch.py --config=experiments/taxibj.py:small --config.dataset.path=FOLDER

FOLDER holds BJ13_M32x32_T30_InOut.h5 to BJ16... (up to 370 MB), which the authors of ST-ResNet give
out by the link in https://github.com/lucktroy/DeepST/tree/master/data/TaxiBJ; or name the file
dataset.npz of OpenSTL. In- and outflow on a grid of 32 x 32, a frame each half hour, 4 frames to 4;
the last 28 days are for testing. The MSE is that of the paper: squared errors summed over the grid,
scaled to [0, 1] by the training days. As in the published codes nothing is held out for validation:
the evaluations during training are on the test split, and no best checkpoint is selected by them;
--config.dataset.validation_days=7 holds out the week before. This is for a GPU: 11.9 million
parameters, at least 0.8 GiB. `:small` takes 2 layers of 16 channels, for minutes on two CPU cores.
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = parse_arg(arg, small=False).small
    config = default_config('taxibj')
    config.name = 'taxibj_small' if small else 'taxibj'
    config.model.patch_size = 2
    config.evaluation.max_sequences = 256
    if small:
        config.model.update({'layers': 2, 'features': 16, 'patch_size': 4})
        config.sampling.decrease = 1 / 200
        config.train.update({'steps': 300, 'evaluate_every': 150})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
    return config
