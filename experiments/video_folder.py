"""Your own videos: 10 frames to 10, in gray, on 64 x 64.

    python launch.py --config=experiments/video_folder.py --config.dataset.path=FOLDER
    python launch.py --config=experiments/video_folder.py:small --config.dataset.path=FOLDER
    python launch.py --mode=predict --workdir=runs/video_folder --input=clip.mp4 --output=next.mp4

FOLDER holds, at any depth, video files, animated pictures, .npy or .npz arrays [T, H, W, C], and
folders of pictures. Arrays that tell their axes may have others, as [T, H, W] or [T, C, H, W];
--config.dataset.layout=HWT names those of arrays that do not. White is 255 in uint8, 65535 in
uint16, True in bool and 1 in floats; videos and pictures of more than 8 bits keep their depth (AVIF
does not). Pictures follow each other in even steps of the numbers, dates or times in their names;
where one is missing, no sequence goes on. What is transparent lies on black, turned and mirrored
clips come upright, and pixels that are not square are taken as they are stored. Folders for
training, validation and testing (`train`, `val`, `test`, in any case) are the splits; otherwise
whole files are divided by dataset.split_fractions. Each clip counts once: neither frames beside
their video nor copies are in two splits. `--mode=prepare` says how the files were read, by which
rule they were divided, and what was left out. Size, color, frame rate and strides are keys of the
data set: --config.dataset.frame_size="(96, 128)" --config.dataset.channels=3. With a frame rate
each instant shows the frame that is on the screen then, by the time stamps of the file. This is for
a GPU: 13.6 million parameters, at least 1.8 GiB. `:small` takes 32 x 32 and 2 layers of 16
channels, for minutes on two CPU cores.
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU."""
    small = parse_arg(arg, small=False).small
    config = default_config('video_folder')
    config.name = 'video_folder_small' if small else 'video_folder'
    config.model.update({'variant': 'gated', 'recall': 'in_place'})
    config.evaluation.max_sequences = 256
    if small:
        config.model.update({'layers': 2, 'features': 16})
        config.dataset.frame_size = (32, 32)
        config.loss.l1_warmup_steps = 300
        config.sampling.decrease = 1 / 200
        config.train.update({'steps': 300, 'evaluate_every': 150})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
    return config
