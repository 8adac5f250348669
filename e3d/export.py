"""Writes a trained run as one file for others.

python -m e3d.export --workdir=runs/quickstart --output=run.safetensors
    the parameters by name, with the config in the metadata; python -m e3d.import_weights makes a run
    of it again
python -m e3d.export --workdir=runs/quickstart --output=next.stablehlo --format=stablehlo --horizon=20
    the whole forecast as a program, frames in and frames out, for jax.export.deserialize: to run it
    takes jax and nothing of this library; --platforms=cpu,cuda,tpu says what it is for
python -m e3d.export --workdir=runs/quickstart --output=next.onnx --format=onnx --batch=1
    the same for ONNX Runtime, of one number of clips; the package jax2onnx writes it
"""

import argparse
import sys

from e3d.errors import InputError, RunError, exit_code
from e3d.runs.trained_run import load_run
from e3d.terminal import show
from e3d.weights.exporting import FORMATS, export_run


def main(arguments: list[str]) -> int:
    """Does what the command line says.

    Args:
      arguments: without the program's name.

    Returns:
      The exit code: 0; 1 for a failure during work; 2 for input that cannot be used.
    """
    parser = argparse.ArgumentParser(
        'python -m e3d.export',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--workdir', required=True, help='of the run')
    parser.add_argument('--output', required=True, help='the file')
    parser.add_argument('--format', choices=FORMATS, default=FORMATS[0])
    parser.add_argument('--checkpoint', default='newest', help='newest, best, or a step')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that exists')
    program = parser.add_argument_group('of --format=stablehlo and onnx')
    program.add_argument('--horizon', type=int, help='frames that are forecast; as in training')
    program.add_argument('--frames', type=int, help='frames that are seen; as in training')
    program.add_argument('--batch', type=_batch, help='clips at once, or any; any, and 1 for onnx')
    program.add_argument('--platforms', help='for stablehlo, of cpu, cuda, rocm, tpu; cpu')
    values = parser.parse_args(arguments)
    try:
        account = export_run(
            load_run(values.workdir, checkpoint=values.checkpoint),
            values.output,
            values.format,
            horizon=values.horizon,
            frames=values.frames,
            batch=values.batch,
            platforms=None if values.platforms is None else values.platforms.split(','),
            overwrite=values.overwrite,
        )
    except (InputError, RunError) as error:
        print(f'export: {error}', file=sys.stderr)
        return exit_code(error)
    show(account)
    return 0


def _batch(text: str) -> int | str:
    return text if text == 'any' else int(text)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
