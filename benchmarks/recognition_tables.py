"""Tables 5 to 8 of early recognition on moving digits, in Markdown, from the runs of the sweep.

    python launch.py --config=experiments/moving_actions.py --sweep=get_sweep
    python -m benchmarks.recognition_tables

The second command also tells how many parameters each model has; a run that is not finished has no
accuracy.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp

from e3d.data.moving_actions import MovingActions
from e3d.model import build_model
from e3d.sweep.entries import Entry, make_entries
from e3d.sweep.results import FINISHED, read_result
from experiments.moving_actions import RUNS

FLAG = 'experiments/moving_actions.py'
PARTS = (25, 50)
# The rows of each table of the paper, with its accuracies for the front 25 % and 50 % of 41 classes.
TABLES = {
    'Table 5: feed-forward and separable convolutions': {
        'cnn_3d': (9.11, 10.30),
        'separable_cnn': (8.94, 9.62),
        'cnn_2_1d': (9.08, 10.17),
        'e2_1d_lstm': (12.45, 19.86),
        'e3d_lstm': (14.59, 22.73),
    },
    'Table 6: ablations': {
        'cnn_at_bottom': (10.28, 16.05),
        'cnn_on_top': (9.63, 14.82),
        'without_3d_convolutions': (9.58, 13.92),
        'without_attention': (11.39, 18.84),
        'e3d_lstm': (14.59, 22.73),
    },
    'Table 7: strategies': {
        'classification_only': (13.78, 20.91),
        'pre_trained': (14.00, 22.15),
        'fixed_ratio': (13.57, 20.46),
        'e3d_lstm': (14.59, 22.73),
    },
    'Table 8: online': {
        'online_classification_only': (13.49, 18.94),
        'online': (14.30, 20.85),
    },
}


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--runs', type=pathlib.Path, default=pathlib.Path(RUNS))
    folder = parser.parse_args().runs
    arguments = ['launch.py', f'--config={FLAG}']
    entries = {entry.name: entry for entry in make_entries('get_sweep', FLAG, arguments)}
    for heading, rows in TABLES.items():
        print(f'### {heading}\n')
        print('| entry | parameters | front 25 % | front 50 % | in the paper |')
        print('|---|---|---|---|---|')
        for name, paper in rows.items():
            cells = [name, f'{count_parameters(entries[name]):,}']
            cells += accuracies(entries[name], folder / name)
            print('| ' + ' | '.join([*cells, ', '.join(f'{value:.2f}' for value in paper)]) + ' |')
        print()
    actions = MovingActions()
    frames = [actions.clip_frames * part // 100 for part in PARTS]
    known = ', '.join(f'{100 * actions.oracle_accuracy(count):.1f}' for count in frames)
    print(f'The rules known and positions seen exactly: {known}.')


def count_parameters(entry: Entry) -> int:
    """How many parameters the model of an entry has."""
    model = build_model(**entry.config.model)
    frames = jax.ShapeDtypeStruct((1, 1, *entry.config.dataset.canvas, 1), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), frames)
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


def accuracies(entry: Entry, workdir: pathlib.Path) -> list[str]:
    """Top-1 accuracy in per cent with its interval of 95 %, by the part observed."""
    if read_result(entry, workdir).status != FINISHED:
        return ['not run'] * len(PARTS)
    report = json.loads((workdir / 'evaluation.json').read_text('utf-8'))
    cells = []
    for part in PARTS:
        low, high = report['intervals'][f'accuracy_{part}']
        cells.append(
            f'{100 * report[f"accuracy_{part}"]:.1f} ({100 * low:.1f} to {100 * high:.1f})'
        )
    return cells


if __name__ == '__main__':
    main()
