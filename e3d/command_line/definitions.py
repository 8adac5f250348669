"""The flags of the command `e3d`, each with what it is for."""

from typing import Any

from absl import flags

from e3d.progress import VERBOSITY
from e3d.runs.published import PUBLISHED


def define_flags() -> flags.FlagValues:
    """The flags there are beside `--config.section.key`."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    define: dict[str, Any] = {'flag_values': values}
    modes = ['train', 'evaluate', 'predict', 'inspect', 'recognize', 'prepare']
    flags.DEFINE_string(
        'config',
        None,
        'experiment, FILE.py or FILE.py:ARG; --config.section.key=VALUE changes a value of it',
        **define,
    )
    flags.DEFINE_string('workdir', None, 'folder of the run; runs/NAME if not given', **define)
    flags.DEFINE_enum('mode', 'train', modes, 'what to do; train if not given', **define)
    flags.DEFINE_string(
        'checkpoint',
        None,
        'all but train: newest (if not given), best, or a step',
        **define,
    )
    flags.DEFINE_string(
        'input', None, 'predict, inspect, recognize: the clip to continue or to recognize', **define
    )
    flags.DEFINE_string(
        'output',
        None,
        'predict: where the continuation goes; recognize: where a picture goes, if one is wanted; '
        'compare: the page',
        **define,
    )
    flags.DEFINE_enum(
        'weights',
        None,
        PUBLISHED,
        'recognize: published weights, in place of a run in --workdir',
        **define,
    )
    flags.DEFINE_integer(
        'horizon',
        None,
        'predict, inspect: number of frames; as in training if not given',
        lower_bound=1,
        **define,
    )
    flags.DEFINE_string(
        'pixels',
        None,
        "inspect: whose queries are looked at, 'ROW,COLUMN;ROW,COLUMN'; the brightest if not given",
        **define,
    )
    flags.DEFINE_string(
        'steps',
        None,
        'inspect: whose queries are drawn, times of frames from 1, as 5,9; that of the last observed '
        'frame and the last if not given',
        **define,
    )
    flags.DEFINE_integer(
        'members',
        None,
        'predict: number of futures of a run with model.noise_channels',
        lower_bound=1,
        upper_bound=10_000,
        **define,
    )
    flags.DEFINE_boolean(
        'overwrite', False, 'predict, recognize: replace an output that exists', **define
    )
    flags.DEFINE_boolean(
        'with_input',
        False,
        'predict: the frames that the model saw first, with a blue border; the forecast has an '
        'orange one',
        **define,
    )
    flags.DEFINE_integer(
        'scale',
        1,
        'predict: enlarge the pictures, each pixel becomes N x N',
        lower_bound=1,
        upper_bound=64,
        **define,
    )
    flags.DEFINE_enum(
        'size',
        'model',
        ['model', 'input'],
        'predict: size of the pictures, that of the model or that of the input',
        **define,
    )
    flags.DEFINE_string(
        'sweep',
        None,
        "train: every combination of 'key=VALUE,VALUE;key=VALUE,VALUE', or with get_sweep the "
        "entries of the experiment's file, each in a folder of --workdir",
        **define,
    )
    flags.DEFINE_integer(
        'sweep_index',
        None,
        'train only this entry of --sweep, from 0; alone, though a scheduler starts several at once, '
        'unless --coordinator is given',
        lower_bound=0,
        **define,
    )
    flags.DEFINE_string(
        'coordinator',
        None,
        'several processes train or evaluate together: HOST:PORT of the first; auto, where JAX finds '
        'it; none: this one is alone whatever a scheduler says',
        **define,
    )
    flags.DEFINE_integer(
        'num_processes', None, 'how many processes there are', lower_bound=1, **define
    )
    flags.DEFINE_integer(
        'process_id', None, 'the number of this process, from 0', lower_bound=0, **define
    )
    flags.DEFINE_integer(
        'patience',
        None,
        'several processes: seconds without a sign of life after which one has ended; 60 if not '
        'given',
        lower_bound=5,
        **define,
    )
    flags.DEFINE_enum(
        'verbosity',
        'normal',
        VERBOSITY,
        'quiet: nothing of where work stands; detailed: a line every train.log_every updates, and what '
        'libraries log; normal if not given: a bar in a terminal, elsewhere a line every 30 seconds',
        **define,
    )
    flags.DEFINE_boolean('debug', False, 'show tracebacks', **define)
    flags.DEFINE_boolean('help', False, 'show this', short_name='h', **define)
    return values
