"""Bytes that a training step needs beside its arguments, by the number of frames.

    python -m benchmarks.memory

XLA's own memory analysis of the compiled step; nothing is run.
"""

import jax

from benchmarks.train_step import build, make_parser


def main():
    """Prints the table, a row for each number of frames."""
    parser = make_parser(__doc__)
    parser.set_defaults(features=64, layers=4, size=64, batch=4)
    parser.add_argument('--lengths', type=int, nargs='+', default=(20, 40, 80, 160))
    arguments = parser.parse_args()
    print(f'{"frames":>8} {"save":>12} {"recompute":>12}   temporary bytes, 10^6')
    for frames in arguments.lengths:
        row = []
        for memory in ('save', 'recompute'):
            arguments.frames, arguments.memory = frames, memory
            _, _, train_step, *state = build(arguments)
            compiled = jax.jit(train_step, donate_argnums=(0, 1)).lower(*state).compile()
            row.append(compiled.memory_analysis().temp_size_in_bytes / 1e6)
        print(f'{frames:>8} {row[0]:>12.0f} {row[1]:>12.0f}', flush=True)


if __name__ == '__main__':
    main()
