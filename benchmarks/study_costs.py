"""What an update and a forecast of every model of the study cost; keeps it in results/costs.json.

    python -m benchmarks.study_costs
    python -m benchmarks.study_costs --only 'forecast/*'

Parameters and batches are those of the runs, frames are random. The seconds of an update are those
that the cores of the process were busy, and the least of several, so that other work on the machine
changes little; on one core (`taskset -c 1`) they are what an update takes there alone. Operations are
the multiplications and additions of all convolutions and matrix products of the forecast of one
sequence, as they stand in the equations: without what a backend saves by minimal filtering. RECALL over
all positions is counted as far as there are remembered steps. Additions of other kinds, as DFN's
filters and CDNA's masks, are not counted.
"""

import argparse
import fnmatch
import json
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from benchmarks.operation_counts import forward_operations
from benchmarks.study import COSTS, STUDIES
from benchmarks.train_step import timed
from benchmarks.update_step import make_update
from e3d.data.sources.layouts import layout_of
from e3d.files import atomic_write
from e3d.model import E3DLSTM, build_model
from e3d.model.needs import initialize, needs_of
from e3d.sweep.entries import make_entries

MEASURED = ('forecast', 'rivals')
UPDATES = 8


def main():
    """Measures what is asked for, and keeps it beside what is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', default='*', metavar='PATTERN', help="models by 'study/name'")
    pattern = parser.parse_args().only
    costs = json.loads(COSTS.read_text('utf-8')) if COSTS.exists() else {}
    for study in MEASURED:
        flag = STUDIES[study].flag
        for entry in make_entries('get_sweep', flag, ['launch.py', f'--config={flag}']):
            name = entry.name.partition(',')[0]
            if entry.config.seed == 0 and fnmatch.fnmatchcase(f'{study}/{name}', pattern):
                found = {'operations': operations(entry.config), 'seconds': seconds(entry.config)}
                costs.setdefault(study, {})[name] = found
                print(study, name, found, flush=True)
                with atomic_write(COSTS) as temporary:
                    temporary.write_text(json.dumps(costs, indent=1) + '\n', 'utf-8')


def seconds(config: Any) -> float:
    """The least busy seconds of the cores for an update, after the first."""
    step, state, batch = make_update(config, (*config.dataset.canvas, 1))
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()

    def update():
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    return min(timed(update, UPDATES, time.process_time))


def operations(config: Any) -> int:
    """Of the forecast of one sequence."""
    model, layout = build_model(**config.model), layout_of(config.dataset)
    shape, steps = (*config.dataset.canvas, 1), layout.length - 1
    if isinstance(model, E3DLSTM):
        return forward_operations(model, shape[:2], 1, steps)
    variables = jax.eval_shape(lambda: initialize(model, jax.random.key(0), shape, layout.lengths))
    if needs_of(model).future_only:
        return of_call(model, variables, (1, layout.input_frames, *shape), layout.output_frames)
    return steps * of_step(model, variables, (1, 1, *shape))


def of_step(model: Any, variables: Any, shape: tuple[int, ...]) -> int:
    """What one more frame takes; so what is done once, as preparing kernels for a CPU, is left out."""
    two, three = (of_call(model, variables, shape, ahead) for ahead in (2, 3))
    return three - two


def of_call(model: Any, variables: Any, shape: tuple[int, ...], ahead: int) -> int:
    """What a call takes that sees frames of this shape and forecasts so many."""
    frames = jax.ShapeDtypeStruct(shape, jnp.float32)
    return count(jax.make_jaxpr(lambda v, x: model.apply(v, x, ahead))(variables, frames))


def count(program: ClosedJaxpr | Jaxpr) -> int:
    """Multiplications and additions of the convolutions and matrix products of a program."""
    program = getattr(program, 'jaxpr', program)
    total = 0
    for equation in program.eqns:
        name, parameters = equation.primitive.name, equation.params
        inner = [count(part) for part in _programs(parameters)]
        if name == 'dot_general':
            (contracted, _), _ = parameters['dimension_numbers']
            sides = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(sides)
        elif name == 'conv_general_dilated':
            kernel, numbers = equation.invars[1].aval.shape, parameters['dimension_numbers']
            taps = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
            total += 2 * math.prod(equation.outvars[0].aval.shape) * taps
        elif name == 'scan':
            total += parameters['length'] * sum(inner)
        elif name == 'cond':
            total += inner[-1]  # of the choice by backend that of all others: as in the equations
        else:
            total += sum(inner)
    return total


def _programs(parameters: Any) -> list[Any]:
    values = jax.tree.leaves(list(parameters.values()), is_leaf=lambda v: hasattr(v, 'eqns'))
    return [value for value in values if isinstance(value, ClosedJaxpr | Jaxpr)]


if __name__ == '__main__':
    main()
