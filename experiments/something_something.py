"""Something-Something v2: what will happen, from the front quarter of a clip (section 4.4).

    python launch.py --config=experiments/something_something.py --config.dataset.path=FOLDER
    python launch.py --config=experiments/something_something.py:online --config.dataset.path=FOLDER
    python launch.py --config=experiments/something_something.py:small --config.dataset.path=FOLDER
    python launch.py --config=experiments/something_something.py:prediction --config.dataset.path=FOLDER

FOLDER holds the videos (19.4 GB) and the .json lists, which Qualcomm gives out for research at
https://www.qualcomm.com/developer/software/something-something-v-2-dataset. The 41
classes of the paper, 24 frames a second, 224 x 224 in RGB; --config.dataset.fraction=0.5 observes the
front half. Of what is observed the last 24 frames enter, and the next 10 are predicted beside.
Accuracy is reported as that of the fraction of the whole clip, here 'accuracy_25'. The weight of
equation 4, 10 falling to 0.1, multiplies a mean over the elements of the predicted frames, not their
sum: in the paper it weighs 224 * 224 * 3 = 150,528 times as much per predicted frame.
`:online` classifies by the last 5 states; `:prediction` only forecasts, with the network for that
on patches of 8. `:small` takes 32 x 32 and 2 layers of 16 channels, for minutes on two CPU cores.
The rest is for a GPU: 17.9 million parameters, at least 5.5 GiB. With one clip an update needs 2.17
GiB of temporary memory, 5.74 GiB with model.memory=save, as XLA compiles it for CPU (`python -m
benchmarks.recognition_memory --memory recompute save`).
"""

from ml_collections import ConfigDict

from e3d.configuration import default_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for minutes on a CPU, 'online', or 'prediction' for forecasts alone."""
    options = parse_arg(arg, small=False, online=False, prediction=False)
    task = 'prediction' if options.prediction else 'recognition'
    config = default_config('something_something', task)
    config.name = '_'.join(['something_something', *(key for key in options if options[key])])
    config.model.memory = 'recompute'
    config.evaluation.max_sequences = 256
    if options.prediction:
        config.model.patch_size = 8
    else:
        config.dataset.input_frames = 24
        config.loss.observed = ()  # dataset.fraction
        config.model.classes = config.dataset.num_classes
        if options.online:
            config.model.update({'history': 5, 'window': 5})
    if options.small:
        config.model.update({'layers': 2, 'features': 16})
        config.dataset.update({'frame_size': (32, 32), 'input_frames': 5, 'output_frames': 5})
        config.sampling.decrease = 1 / 200
        config.train.update({'steps': 300, 'evaluate_every': 150})
        config.evaluation.max_sequences = 64
        config.checkpoint.every = 100
        if options.prediction:
            config.model.patch_size = 4
        else:
            config.model.update({'classifier_features': 32, 'classifier_hidden': 64})
    return config
