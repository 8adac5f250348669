"""One's own grids, counts, rain or temperatures in .npy, .npz, .h5, netCDF or zarr, 4 frames to 4.

    python launch.py --config=experiments/grids.py --config.dataset.path=FILE
    python launch.py --config=experiments/grids.py:small --config.dataset.path=FILE

FILE has arrays [T, H, W], [T, H, W, C] or [N, T, H, W, C]; the last tenth of the time is the test, the
tenth before it the validation. Gaps are NaN, or what --config.dataset.missing and --config.dataset.mask
say. Reports are in the unit that the file states, or --config.dataset.unit. This is for a GPU: 12
million parameters, 4 layers of 64 channels. `:small` takes 2 layers of 16, for minutes on two CPU
cores. docs/own_data.md makes rain to try it with.
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = parse_arg(arg, small=False).small
    config = default_config('grids')
    config.name = 'grids_small' if small else 'grids'
    config.dataset.update({'input_frames': 4, 'output_frames': 4})
    # Grids have any size.
    config.model.update({'patch_size': 4, 'pad_frames': True})
    config.sampling.decrease = 1 / 2_500
    config.optimizer.update({'schedule': 'cosine', 'warmup_steps': 50, 'clip_norm': 1.0})
    config.train.update({'steps': 5_000, 'evaluate_every': 500})
    config.evaluation.max_sequences = 256
    if small:
        config.model.update({'layers': 2, 'features': 16})
        config.sampling.decrease = 1 / 200
        config.train.update({'steps': 300, 'evaluate_every': 150})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
    return config
