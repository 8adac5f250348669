"""Bytes that an update of early recognition needs beside its arguments, one clip on a device.

    python -m benchmarks.recognition_memory

The whole update of `experiments/something_something.py` (224 x 224, 24 frames observed, 10
predicted, 41 classes, Adam) by XLA's own memory analysis; nothing is run.
"""

import argparse

import jax
import numpy as np

from e3d.data.sources.layouts import layout_of
from e3d.model import build_model
from e3d.training.update import build_update
from experiments import something_something


def main():
    """Prints a line for each way to keep memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--memory', nargs='+', default=('recompute',))
    for memory in parser.parse_args().memory:
        config = something_something.get_config()
        config.model.memory = memory
        model = build_model(**config.model)
        shape = (*config.dataset.frame_size, 3)
        update = build_update(config, model, shape)
        state = jax.eval_shape(update.create)
        number = jax.ShapeDtypeStruct((1,), np.int32)
        frames = jax.ShapeDtypeStruct((1, layout_of(config.dataset).length, *shape), np.float32)
        batch = {'frames': frames, 'label': number, 'repeated': number}
        analysis = (
            jax.jit(update.step, donate_argnums=0).lower(state, batch).compile().memory_analysis()
        )
        temporary, kept = analysis.temp_size_in_bytes, analysis.argument_size_in_bytes
        print(
            f'{memory:<10} temporary {temporary / 2**30:.2f} GiB, arguments {kept / 2**30:.2f} GiB',
            flush=True,
        )


if __name__ == '__main__':
    main()
