r"""Makes a run of weights that another code trained, or that `e3d.export` wrote.

python -m e3d.import_weights model.ckpt-80000 --workdir=runs/google --patch_size=4 \
        --config=experiments/moving_mnist.py
    a checkpoint of github.com/google/e3d_lstm (model.ckpt-N.index and .data-...); --ema takes the
    moving averages of its weights
python -m e3d.import_weights weights.pth --workdir=runs/openstl --patch_size=4 --stride=1 \
        --config=experiments/moving_mnist.py
    a .pth or .ckpt file of OpenSTL's E3D-LSTM; those of Lightning tell patch size and stride
python -m e3d.import_weights run.safetensors --workdir=runs/copy
    a file of python -m e3d.export --format=safetensors

--config is the experiment whose data and lengths the run gets; without it the data are your own
(experiments/video_folder.py). --config.section.key=VALUE changes a value of it that the weights do not
tell: what the model is they say themselves.
"""

import argparse
import sys

from e3d.command_line.parsing import MOST_SHOWN, changed_keys, parse
from e3d.errors import InputError, RunError, exit_code
from e3d.terminal import show
from e3d.weights.importing import import_run

OWN_DATA = 'video_folder'


def main(arguments: list[str]) -> int:
    """Does what the command line says.

    Args:
      arguments: without the program's name.

    Returns:
      The exit code: 0; 1 for a failure during work; 2 for input that cannot be used.
    """
    parser = argparse.ArgumentParser(
        'python -m e3d.import_weights',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', help='the weights')
    parser.add_argument('--workdir', required=True, help='of the run that is made')
    parser.add_argument('--config', help='experiment, FILE.py or FILE.py:ARG')
    parser.add_argument('--patch_size', type=int, help='side of a patch, in pixels')
    parser.add_argument('--stride', type=int, help='of the convolutions in the cells of OpenSTL')
    parser.add_argument(
        '--frame_size', type=_size, metavar='H,W', help='height and width of frames'
    )
    parser.add_argument('--ema', action='store_true', help='moving averages of the weights')
    values, rest = parser.parse_known_args(arguments)
    try:
        config, changed = None, changed_keys(rest)
        for argument in rest:
            if argument.startswith('-') and not changed_keys([argument]):
                raise InputError(
                    f"'{argument[:MOST_SHOWN]}' is no flag of e3d.import_weights: leave it out. --help "
                    'lists those that are.'
                )
        if values.config or changed or not values.source.endswith('.safetensors'):
            _, config = parse(['', f'--config={values.config or OWN_DATA}', *rest])
        elif rest:
            raise InputError(f"'{rest[0][:MOST_SHOWN]}' is not understood: leave it out.")
        account = import_run(
            values.source,
            values.workdir,
            config,
            patch_size=values.patch_size,
            stride=values.stride,
            frame_size=values.frame_size,
            average=values.ema,
            kept=changed,
        )
    except (InputError, RunError) as error:
        print(f'import_weights: {error}', file=sys.stderr)
        return exit_code(error)
    show(account)
    return 0


def _size(text: str) -> tuple[int, int]:
    height, width = (int(side) for side in text.split(','))
    if min(height, width) < 1:
        raise ValueError(text)
    return height, width


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
