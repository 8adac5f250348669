"""What a training step needs, by the number of frames: bytes beside its arguments, and operations.

    python -m benchmarks.memory
    python -m benchmarks.memory --variant=refined --recall=in_place

The bytes are XLA's own memory analysis of the compiled step, the operations those of the model (forward
and backward, nothing recomputed); nothing is run.
"""

import jax

from benchmarks.operation_counts import BACKWARD_PER_FORWARD, forward_operations
from benchmarks.train_step import build, make_parser


def main():
    """Prints the table, a row for each number of frames."""
    parser = make_parser(__doc__)
    parser.set_defaults(features=64, layers=4, size=64, batch=4)
    parser.add_argument('--lengths', type=int, nargs='+', default=(20, 40, 80, 160, 320))
    arguments = parser.parse_args()
    size = (arguments.size, arguments.size)
    print(f'{"frames":>8} {"save":>12} {"recompute":>12} {"operations":>12}   10^6 bytes, 10^12')
    for frames in arguments.lengths:
        row = []
        for memory in ('save', 'recompute'):
            arguments.frames, arguments.memory = frames, memory
            model, _, train_step, *state = build(arguments)
            compiled = jax.jit(train_step, donate_argnums=(0, 1)).lower(*state).compile()
            row.append(compiled.memory_analysis().temp_size_in_bytes / 1e6)
        operations = arguments.batch * forward_operations(model, size, 1, frames - 1)
        row.append(operations * (1 + BACKWARD_PER_FORWARD) / 1e12)
        print(f'{frames:>8} {row[0]:>12.0f} {row[1]:>12.0f} {row[2]:>12.2f}', flush=True)


if __name__ == '__main__':
    main()
