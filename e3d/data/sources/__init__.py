"""The data sets: sequences by random access, `source[index] -> {'frames': [T, H, W, C]}`.

    registry             `open_source`: the data set a config names, by its name
    dataset              what each data set is: its keys, how a split is opened
    moving_mnist         bouncing digits: digits, moving_digits; stored by others: arrays, array_copies
    moving_actions       digits and what one of them does, for early recognition
    kth                  human actions; its archives and clips: kth_files; rules: kth_windows
    taxibj               flows over the grid of a city; its files: flow_files, flow_archives
    grids                one's own grids over time, with a unit and gaps: grid_setup, grid_survey,
                         grid_timeline, grid_scales, grid_sequences, calendar, hour_averages
    something_something  people and things; its files: something_something_files,
                         and records: something_something_records
    in_memory            arrays of a program, as `e3d.fit` is given them
    video_folder         anyone's clips; its files and who gets them: video_folder_files,
                         video_folder_splits
    copy_test            any of these with a sequence seen before
    labeled              any of these with labels, which are checked

    splits               the parts into which each is divided
    layouts              which frames of a sequence are observed, which forecast
    adaptation           decoded frames made into those that a model takes

What they share: `records` (TFDS builders run without TensorFlow, whole or not there), `clip_records`
(clips in pieces), `clip_sequences` (anywhere in them) and `scales` (what the numbers of a model stand
for).
"""

# Each enters itself into `dataset.DATASETS`.
from e3d.data.sources import (
    grids,
    in_memory,
    kth,
    moving_actions,
    moving_mnist,
    something_something,
    taxibj,
    video_folder,
)

__all__ = [
    'grids',
    'in_memory',
    'kth',
    'moving_actions',
    'moving_mnist',
    'something_something',
    'taxibj',
    'video_folder',
]
