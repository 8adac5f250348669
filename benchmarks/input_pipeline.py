"""Sequences a second that the input pipeline makes on one core, without a model.

python -m benchmarks.input_pipeline --config=experiments/moving_mnist.py
python -m benchmarks.input_pipeline --config=experiments/video_folder.py --path=FOLDER_OF_VIDEOS
"""

import argparse
import contextlib
import os
import time

from e3d.configuration import load_config
from e3d.data.batches import training_batches
from e3d.data.sources.registry import open_source


def measure(config_file: str, path: str, seconds: float) -> float:
    """Sequences a second of the training batches of an experiment."""
    config = load_config(config_file)
    config.dataset.path = path
    source = open_source(config.dataset, 'train', config.seed)
    batches = training_batches(source, config.train.batch_size, config.seed)
    with contextlib.closing(batches):
        for _ in range(5):  # the prefetched ones are not counted
            next(batches)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            next(batches)
            count += config.train.batch_size
        return count / (time.perf_counter() - start)


def main():
    """Prints the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--config', default='experiments/moving_mnist.py')
    parser.add_argument('--path', default='', help="dataset.path: the user's own files")
    parser.add_argument('--seconds', type=float, default=5)
    arguments = parser.parse_args()
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rate = measure(arguments.config, arguments.path, arguments.seconds)
    print(f'{arguments.config}: {rate:.0f} sequences/s on one core')


if __name__ == '__main__':
    main()
