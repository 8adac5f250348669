"""A trained run as a file for others: its parameters, or its whole forecast as a program."""

import importlib.util
import os
from collections.abc import Sequence

from e3d.errors import InputError
from e3d.files import atomic_write, local_path
from e3d.model import RECOGNIZERS
from e3d.model.needs import needs_of
from e3d.runs.trained_run import Run, check_lengths, load_run
from e3d.weights.programs import ANY_BATCH, export_onnx, export_stablehlo
from e3d.weights.tensor_file import write_run

# What can be said of each format.
_OPTIONS: dict[str, tuple[str, ...]] = {
    'safetensors': (),
    'stablehlo': ('horizon', 'frames', 'batch', 'platforms'),
    'onnx': ('horizon', 'frames', 'batch'),
}
FORMATS = tuple(_OPTIONS)
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')
# What writes each format, where that is not a package which this library needs anyway.
_WRITERS = {'stablehlo': 'flatbuffers', 'onnx': 'jax2onnx'}
_USES = {
    'stablehlo': 'With jax and flatbuffers alone: '
    "jax.export.deserialize(bytearray(open(FILE, 'rb').read())).call(frames)",
    'onnx': "With onnxruntime alone: InferenceSession(FILE).run(['forecast'], {'frames': frames})[0]",
}


def export_run(
    run: Run | str | os.PathLike,
    output: str | os.PathLike,
    format: str = 'safetensors',
    *,
    horizon: int | None = None,
    frames: int | None = None,
    batch: int | str | None = None,
    platforms: Sequence[str] | None = None,
    overwrite: bool = False,
) -> str:
    """Writes a run as one file.

    Args:
      run: of `e3d.load_run`, or the path of its workdir, whose newest checkpoint is taken.
      output: the file.
      format: 'safetensors', the parameters with the config in the metadata, which `import_run` makes a
        run of; or the forecast as a program, frames in and frames out, see `programs`: 'stablehlo' for
        JAX, 'onnx' for ONNX Runtime. The arguments below, but for `overwrite`, are for programs alone.
      horizon: how many frames are forecast; as in training, if not given.
      frames: how many are seen, at most as many as in training; as many, if not given.
      batch: how many clips go at once, or 'any', which ONNX cannot have; if not given, 'any', and 1
        for ONNX.
      platforms: what a program for JAX is for, of 'cpu', 'cuda', 'rocm' and 'tpu'; ('cpu',), if not
        given.
      overwrite: whether to replace an output that exists.

    Returns:
      What was written, in a few lines for the user.

    Raises:
      InputError: the run or an option cannot be used; nothing is written.
      RunError: the file cannot be written, or the model cannot be written in ONNX.

    Example:
      >>> e3d.export_run(run, 'run.safetensors').split(' of ')[0]
      'Wrote the parameters'
    """
    output = local_path(output, 'The output')
    if format not in FORMATS:
        raise InputError(f'format={format!r}: must be one of {", ".join(map(repr, FORMATS))}.')
    options = {'horizon': horizon, 'frames': frames, 'batch': batch, 'platforms': platforms}
    for name, value in options.items():
        if value is not None and name not in _OPTIONS[format]:
            others = ' or '.join(repr(other) for other in FORMATS if name in _OPTIONS[other])
            raise InputError(
                f'{name}={value!r} is not for format={format!r}: leave it out, or take format={others}.'
            )
    if os.path.lexists(output) and not (overwrite and output.is_file()):
        raise InputError(f'{output} exists already: give another name, or --overwrite for a file.')
    run = run if isinstance(run, Run) else load_run(run)
    if format == 'safetensors':
        write_run(run, output)
        return f'Wrote the parameters of {run} to {output}; the metadata have its config.'
    if run.config.model.name in RECOGNIZERS:
        raise InputError(f'format={format!r} is for forecasters; {run.config.model.name} is none.')
    if needs_of(run.model).noise:
        raise InputError(
            f'format={format!r} is for runs with one future; this one has model.noise_channels='
            f"{needs_of(run.model).noise}. Use format='safetensors'."
        )
    if inputs := needs_of(run.model).inputs:
        raise InputError(
            f'format={format!r}: {run} needs {" and ".join(inputs)} beside the frames, which a program '
            "does not take. Use format='safetensors'."
        )
    seen = run.config.dataset.input_frames
    horizon = run.config.dataset.output_frames if horizon is None else horizon
    frames = seen if frames is None else frames
    _check_count('horizon', horizon)
    _check_count('frames', frames, seen)
    check_lengths(run, (seen, horizon))
    batch = (1 if format == 'onnx' else ANY_BATCH) if batch is None else batch
    if format == 'onnx' or batch != ANY_BATCH:
        _check_count('batch', batch)
    platforms = ('cpu',) if platforms is None else platforms
    if not platforms or set(platforms) - set(PLATFORMS):
        raise InputError(f'platforms={tuple(platforms)}: must be some of {", ".join(PLATFORMS)}.')
    package = _WRITERS[format]
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f'format={format!r} is written with the package {package}, which is not installed: '
            f'python -m pip install {package}'
        )
    if run.beside or run.scale.ranges or run.scale.transform:
        raise InputError(
            f'format={format!r}: {run} sees more than frames (masks, the calendar and the like), or its '
            "scale is not linear, which a program does not do. Use format='safetensors'."
        )
    if format == 'onnx':
        program, target = export_onnx(run, frames, horizon, batch), 'ONNX Runtime'
    else:
        program = export_stablehlo(run, frames, horizon, batch, platforms)
        target = ', '.join(platforms)
    with atomic_write(output) as temporary:
        temporary.write_bytes(program)
    shape = ' x '.join(map(str, run.frame_shape))
    values = '[0, 1]' if run.scale.value_range is None else 'the unit of the data'
    return (
        f'Wrote the forecast of {run} to {output}, for {target}: float32 [{batch}, '
        f'{frames}, {shape}] in, [{batch}, {horizon}, {shape}] out, in {values}. {_USES[format]}'
    )


def _check_count(name: str, value: object, most: int | None = None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < 1 or (most is not None and value > most):
        bound = (
            '' if most is None else f' and <= {most}, the frames that the model was trained to see'
        )
        raise InputError(f'{name}={value!r}: must be an integer >= 1{bound}.')
