"""How much RECALL reads of the context in the copy test, and what it reads in one sequence.

    python -m benchmarks.attention_maps --workdir=runs/study/brief/refined_1e-2,seed=0 --output=maps.png

Of the first test sequences, at the step that sees the last observed frame and at its brightest patch:
the share of the weights that falls on the context, the sequence that comes again, and not on the
unrelated one after it. The picture is the lowest layer's of the first sequence; `--mode=inspect` draws
all of them.
"""

import argparse
import pathlib

import numpy as np

from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import open_source
from e3d.errors import InputError
from e3d.evaluation.figures import save_figure
from e3d.evaluation.intervals import mean_interval
from e3d.prediction.inspection import inspect_sequence
from e3d.prediction.inspection_pictures import draw_attention
from e3d.runs.trained_run import load_run


def main():
    """Draws one picture and prints the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--workdir', type=pathlib.Path, required=True, help='of the run')
    parser.add_argument('--output', type=pathlib.Path, help='a .png')
    parser.add_argument('--sequences', type=int, default=32)
    arguments = parser.parse_args()
    run = load_run(arguments.workdir)
    dataset = run.config.dataset
    if getattr(run.model, 'recall', 'none') == 'none' or not dataset.copy_test:
        raise InputError(f'{arguments.workdir}: must be a copy test of a model with RECALL')
    source, layout = open_source(dataset, 'test'), layout_of(dataset)
    last, context = layout.input_frames - 1, dataset.input_frames + dataset.output_frames
    shares = []
    for sequence in range(min(arguments.sequences, len(source))):
        found = inspect_sequence(run, source[sequence]['frames'])
        shares.append(found.by_step[:, last, 0, :context].sum(axis=-1))
        if arguments.output and not sequence:
            figure = draw_attention(found, 0, [last], run.model.patch_size)
            save_figure(figure, [arguments.output])
    print(f'of the weights fall on the context, {context} of {last} steps ({context / last:.0%})')
    for layer, of_layer in enumerate(np.transpose(shares)):
        low, high = mean_interval(of_layer)
        print(f'layer {layer + 1}: {of_layer.mean():.1%} ({low:.1%} to {high:.1%})')


if __name__ == '__main__':
    main()
