"""Compiles the forecaster for GPUs and TPUs that are not there, and counts what their programs do.

python -m benchmarks.accelerators --features=64 --layers=4 --size=64 --batch=8
python -m benchmarks.accelerators --topology h100 v5e --json

XLA's compilers for NVIDIA GPUs and TPUs run on any machine and make the real program for a described
device. Nothing is run on it, so there are no seconds but those of compiling; what can be counted are
kernels, loops, copies and bytes, and from them the least time that the chip's peak rates allow. It
needs the extra `cuda12` for GPUs and `tpu` for TPUs: pip install 'e3d[cuda12,tpu]'.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
import time

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks.compiled_programs import profile
from benchmarks.operation_counts import BACKWARD_PER_FORWARD, forward_operations
from benchmarks.train_step import build, make_parser

# As XLA's GpuTargetConfigProto has it.
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclasses.dataclass(frozen=True)
class Chip:
    """A device, with its peak rates as its maker states them, without sparsity.

    Attributes:
      platform: 'cuda' or 'tpu'.
      topology: what `get_topology_desc` is given.
      rates: operations a second of products, by the type of their factors.
      bandwidth: bytes a second of its memory.
      source: where the rates are from.
    """

    platform: str
    topology: dict[str, str]
    rates: dict[str, float]
    bandwidth: float
    source: str


CHIPS = {
    'h100': Chip(
        'cuda',
        {'topology_name': '1x1x1', 'topology': '1x1x1', 'target_config': _H100},
        {'float32': 67e12, 'tf32': 495e12, 'bfloat16': 989e12},
        3.35e12,
        'NVIDIA H100 SXM data sheet',
    ),
    'v5e': Chip(
        'tpu', {'topology_name': 'v5e:2x2'}, {'bfloat16': 197e12}, 0.819e12, 'Cloud TPU v5e manual'
    ),
    'v6e': Chip(
        'tpu', {'topology_name': 'v6e:2x2'}, {'bfloat16': 918e12}, 1.64e12, 'Cloud TPU v6e manual'
    ),
}
_EXTRAS = {'cuda': ('cuda12', 'jax_cuda12_plugin'), 'tpu': ('tpu', 'libtpu')}

# Of a described GPU nothing can be timed, and a described TPU has no host that could tell its kind.
_ENVIRONMENT = {
    'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} --xla_gpu_autotune_level=0',
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
}


def describe(chip: Chip) -> jax.Device:
    """A device of this kind, to compile for.

    Raises:
      SystemExit: the compiler for it is not installed.
    """
    extra, package = _EXTRAS[chip.platform]
    if importlib.util.find_spec(package) is None:
        sys.exit(f"the compiler for {chip.platform} is not installed: pip install 'e3d[{extra}]'")
    jax.devices()  # finds the compilers
    topology = topologies.get_topology_desc(platform=chip.platform, **chip.topology)
    return topology.devices[0]


def compile_for(chip: Chip, device: jax.Device, function, arguments, donated=()):
    """The compiled function, seconds of waiting and seconds of all cores that compiling took."""
    sharding = SingleDeviceSharding(device)
    shapes = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding), arguments
    )
    with jax.default_device(device):  # what kernels of our own are made for
        traced = jax.jit(function, donate_argnums=donated).trace(*shapes)
        lowered = traced.lower(lowering_platforms=(chip.platform,))
    start, processor_start = time.perf_counter(), time.process_time()
    compiled = lowered.compile()
    return compiled, time.perf_counter() - start, time.process_time() - processor_start


def describe_program(compiled, seconds, processor_seconds, turns: float, chip: Chip) -> dict:
    """The figures of one compiled function."""
    memory = compiled.memory_analysis()
    counted = profile(compiled.as_text(), turns)
    return {
        'compile_seconds': seconds,
        'compile_processor_seconds': processor_seconds,
        'temporary_bytes': memory.temp_size_in_bytes,
        'argument_bytes': memory.argument_size_in_bytes,
        **dataclasses.asdict(counted),
        'products': dict(counted.products),
        'seconds_at_peak_bandwidth': counted.moved_bytes / chip.bandwidth,
    }


def measure(arguments: argparse.Namespace, name: str) -> dict:
    """All figures of one setting on one chip."""
    chip = CHIPS[name]
    device = describe(chip)
    model, forward, train_step, params, state, frames = build(arguments)
    steps = arguments.frames - 1
    turns = (steps - 1) / 2  # RECALL at step t looks at t earlier ones
    size = (arguments.size, arguments.size)
    operations = arguments.batch * forward_operations(model, size, 1, steps)
    programs = {
        'update': (train_step, (params, state, frames), (0, 1), 1 + BACKWARD_PER_FORWARD),
        'forecast': (forward, (params, frames), (), 1),
    }
    figures = {'jax': jax.__version__, 'device': device.device_kind, 'rates_from': chip.source}
    for program in arguments.programs:
        function, values, donated, passes = programs[program]
        compiled = compile_for(chip, device, function, values, donated)
        if arguments.text:
            with open(f'{arguments.text}.{name}.{program}.txt', 'w') as file:
                file.write(compiled[0].as_text())
        figures[program] = describe_program(*compiled, turns, chip) | {
            'model_operations': passes * operations,
            'seconds_at_peak_rate': {
                kind: passes * operations / rate for kind, rate in chip.rates.items()
            },
        }
    return figures


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('--topology', nargs='+', default=['h100', 'v5e'], choices=tuple(CHIPS))
    parser.add_argument(
        '--programs', nargs='+', default=['update', 'forecast'], choices=('update', 'forecast')
    )
    parser.add_argument('--text', metavar='PREFIX', help='write the text of each program to a file')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    return parser.parse_args()


def _rows(figures: dict, prefix: str = ''):
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _rows(value, f'{prefix}{name} ')
        else:
            yield prefix + name.replace('_', ' '), value


def _printed(value) -> str:
    return f'{value:.6g}' if isinstance(value, int | float) else str(value)


def main():
    """Compiles for each chip and prints a table, a column for each."""
    arguments = parse_arguments()
    os.environ.update(_ENVIRONMENT)
    jax.config.update('jax_platforms', 'cpu')
    figures = {name: measure(arguments, name) for name in arguments.topology}
    if arguments.json:
        print(json.dumps({**vars(arguments), 'figures': figures}))
        return
    columns = {name: dict(_rows(of_chip)) for name, of_chip in figures.items()}
    names = dict.fromkeys(name for rows in columns.values() for name in rows)
    print(f'{"compiled, not run":48}' + ''.join(f'{name:>24}' for name in columns))
    for name in names:
        values = [_printed(rows.get(name, '-')) for rows in columns.values()]
        print(f'{name:48}' + ''.join(f'{value:>24}' for value in values))


if __name__ == '__main__':
    main()
