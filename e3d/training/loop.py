"""Training from start to end.

The order of a step is: evaluate if due, save if due, take the next batch, begin the update, write
the metrics of the steps before. So what is saved is what was evaluated, a checkpoint of step s is
followed by batch s wherever the run goes on, and the devices wait for the host only where it
writes, evaluates or saves. A signal to stop is looked at once in a step, before it saves; an
evaluation that it cuts off is made up for when the run goes on.

Where several processes train together, all of them come this way with their shares of the data, and
only the first one has the workdir and its files. A signal to one of them stops all at the same step.
"""

import contextlib
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from e3d.configuration import find_differences, measures_the_same
from e3d.data.batches import training_batches, training_order
from e3d.data.preparation import summarize
from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import channel_names, class_names, facts_of
from e3d.errors import InputError
from e3d.pages.writing import write_page
from e3d.parallel import devices, processes
from e3d.parallel.followers import FollowingCheckpoints, FollowingReporter
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.fingerprint import check_same_data, read_fingerprint, write_fingerprint
from e3d.runs.reporting import METRICS_FILE, Reporter, StepMetrics, drop_line, scalars
from e3d.runs.state import TrainState
from e3d.runs.stored_run import StoredRun
from e3d.runs.transfer import begin_from
from e3d.runs.workdir import (
    CONFIG_FILE,
    held,
    other_config_message,
    read_config,
    unused_removed,
    write_config,
)
from e3d.signals import Interrupted
from e3d.tasks.provenance import describe, split_label
from e3d.terminal import tell
from e3d.training.evaluation import check_same_classes, evaluate, tell_other_scale
from e3d.training.failures import check_replicas, evaluation_explained, explained
from e3d.training.interruption import Interruption
from e3d.training.parts import Parts, prepare

__all__ = ['evaluate', 'train']


def train(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, Any]:
    """Trains, or goes on where an earlier call stopped, then evaluates on the whole test split.

    A run that is finished is evaluated only.

    Args:
      config: of an experiment.
      workdir: gets config.json, metrics.jsonl, tensorboard/, checkpoints/, samples/ and, at the
        end, evaluation.json and evaluation.png.

    Returns:
      The report on the test split, see `Evaluator.evaluate`.

    Raises:
      InputError: the config, the data or the workdir cannot be used.
      RunError: the training diverged, or a file could not be written.
      KeyboardInterrupt: by SIGTERM or SIGINT, after what is to be kept was saved.

    Example:
      >>> values = {'train.steps': 2, 'evaluation.perceptual': False}
      >>> config = e3d.make_config('quickstart:small', model='convlstm', **values)
      >>> report = e3d.train(config, 'runs/mine')
      >>> report['step'], report['num_sequences'], len(report['mse_per_frame'])
      (2, 32, 5)
    """
    clean = unused_removed(workdir) if processes.is_first() else contextlib.nullcontext()
    with clean:
        return _train(config, workdir)


def _train(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, Any]:
    parts = prepare(config, workdir)
    steps = config.train.steps
    with (
        Interruption(processes.count() == 1) as interruption,
        held_checkpoints(parts) as checkpoints,
    ):
        state, step = create_or_restore(parts, checkpoints)
        if isinstance(checkpoints, Checkpoints):  # the first process
            tell(summarize(config.dataset, parts.evaluator.sources))
            tell(f'The model {config.model.name} has {parts.footprint}.')
            if step >= steps:
                tell(f'The run in {parts.workdir} is finished, at step {step}. Evaluating it.')
            elif step:
                tell(f'Resuming the run in {parts.workdir}, from step {step}.')
            if step and (before := read_fingerprint(checkpoints.folder)):
                check_same_data(before, parts.fingerprint)
            if parts.fingerprint.no_best and config.checkpoint.keep_best:
                tell(f'No checkpoint is kept as the best: {parts.fingerprint.no_best}')
            drop_other_test(parts, step)
            write_config(parts.workdir, config)
            write_fingerprint(checkpoints.folder, parts.fingerprint)
        with open_reporter(parts, step) as reporter:
            if step < steps or (step == steps and not is_validated(parts, step, reporter)):
                state = run_updates(parts, state, step, checkpoints, reporter, interruption)
                step = steps
            with interruption.at_once(), evaluation_explained(config):
                report = parts.evaluator.evaluate(state.forecast_variables, step, 'test')
            report |= describe(config, config, 'test', 'newest')
            if (step, 'test') not in reporter.kept:
                reporter.write(step, 'test', scalars(report))
    if processes.is_first():
        parts.evaluator.present(report)
        write_page(parts.workdir, config, report, parts.evaluator)
    return report


def drop_other_test(parts: Parts, step: int) -> None:
    """Removes the numbers of a finished run's test that were measured in another way than it now is."""
    path = parts.workdir / CONFIG_FILE
    same = path.exists() and measures_the_same(read_config(path), parts.config)
    if step >= parts.config.train.steps and not same:
        drop_line(parts.workdir / METRICS_FILE, step, 'test')


@contextlib.contextmanager
def held_checkpoints(parts: Parts) -> Iterator[Checkpoints | FollowingCheckpoints]:
    """The checkpoints of a run, which no other training may use meanwhile."""
    if not processes.is_first():
        yield FollowingCheckpoints()
        return
    options = parts.config.checkpoint
    keep_best = options.keep_best and not parts.fingerprint.no_best
    with (
        held(parts.workdir),
        Checkpoints(parts.workdir, options.keep, keep_best) as checkpoints,
    ):
        yield checkpoints


def open_reporter(parts: Parts, step: int) -> Reporter | FollowingReporter:
    """The reporter of a run that goes on from a step."""
    reporter = None
    if processes.is_first():
        reporter = Reporter(parts.workdir, step, max(step, parts.config.train.steps))
    kept = processes.from_first(reporter and list(reporter.kept))
    return reporter or FollowingReporter(map(tuple, kept))


def create_or_restore(
    parts: Parts, checkpoints: Checkpoints | FollowingCheckpoints
) -> tuple[TrainState, int]:
    """The state of the newest checkpoint, or a new one; placed on all devices, and its step."""
    step = processes.from_first(checkpoints.newest())
    names = class_names(parts.evaluator.sources['train'])
    if step is not None and isinstance(checkpoints, Checkpoints):
        # Where config.json has gone, this is what is left to say which run it is.
        stored = checkpoints.read_run(step)
        differences = find_differences(stored.config, parts.config)
        if differences:
            raise InputError(other_config_message(parts.workdir, differences))
        tell_other_scale(stored.scale, parts.scale)
        check_same_classes(parts.config, stored.class_names, names)
    if step is None or not isinstance(checkpoints, Checkpoints):
        state = create(parts)  # all processes but the first give only its shapes
        if step is None and parts.config.init_from and processes.is_first():
            options = parts.config
            state = begin_from(state, options.init_from, options.init_optimizer, names)
    else:
        template = devices.abstract_state(jax.eval_shape(parts.create), parts.mesh)
        state = checkpoints.restore(template, step)
    with processes.others_explained():
        devices.connect(parts.mesh, lambda: processes.gather(None))
        return devices.share_state(state, parts.mesh), step or 0


def create(parts: Parts) -> TrainState:
    """The first state, random numbers for the most part.

    They are drawn once: XLA's CPU compiler takes ten times as long to make that fast, and the numbers
    are the same.
    """
    options = {'xla_backend_optimization_level': 1} if jax.default_backend() == 'cpu' else {}
    return jax.jit(parts.create, compiler_options=options)()


def run_updates(
    parts: Parts,
    state: TrainState,
    first_step: int,
    checkpoints: Checkpoints | FollowingCheckpoints,
    reporter: Reporter | FollowingReporter,
    interruption: Interruption,
) -> TrainState:
    """The updates from `first_step` to the last, as the head of this file orders them.

    Raises:
      Interrupted: there was a signal; the state is saved.
      RunError: the training diverged, or a file could not be written.
    """
    config, evaluator = parts.config, parts.evaluator
    frames = config.train.batch_size * layout_of(config.dataset).length
    source = evaluator.sources['train']
    order = training_order(len(source), config.train.batch_size, config.seed)
    metrics = StepMetrics(
        reporter,
        config.train.steps,
        frames,
        lambda step: order[step - 1],
        config.train.skip_nonfinite,
    )
    batches = training_batches(
        source,
        config.train.batch_size,
        config.seed,
        start_step=first_step,
        workers=config.dataset.workers,
        share=(processes.index(), processes.count()),
    )
    run = StoredRun(
        config,
        parts.frame_shape,
        parts.scale,
        parts.beside,
        class_names(source),
        channel_names(source),
        facts_of(source),
    )
    agreement = devices.Agreement(parts.mesh)
    reporter.announce('compiling the update, once')
    with (
        processes.others_explained(),
        explained(parts.config, checkpoints),
        contextlib.closing(batches),
    ):
        for step in range(first_step, config.train.steps + 1):
            last = step == config.train.steps
            due = step > 0 and (last or step % config.train.evaluate_every == 0)
            if due and not is_validated(parts, step, reporter):
                metrics.write()
                with contextlib.suppress(Interrupted):  # what is saved is evaluated later
                    validate(parts, state, step, checkpoints, reporter, interruption)
                metrics.restart_clock()
            stopping = agreement.ask(interruption.number or 0)
            if step > first_step and (due or stopping or step % config.checkpoint.every == 0):
                metrics.write()
                check_replicas(state, step)
                checkpoints.save(state, run)
                metrics.restart_clock()
            if last or stopping:
                break
            started = time.perf_counter()
            batch = devices.place_batch(next(batches), parts.mesh)
            waited = time.perf_counter() - started
            state, numbers = parts.step_function(state, batch)
            metrics.add(step + 1, numbers, waited)
            if step == first_step:
                metrics.restart_clock()  # the compilation
            if step % config.train.log_every == 0:
                metrics.write(but=1)
        checkpoints.wait()
    if stopping:
        interruption.stop(stopping)
    return state


def is_validated(parts: Parts, step: int, reporter: Reporter | FollowingReporter) -> bool:
    """Whether a step was evaluated before, under the name of today or of earlier versions."""
    label = split_label('validation', parts.evaluator.sources['validation'])
    return not reporter.kept.isdisjoint([(step, label), (step, 'validation')])


def validate(
    parts: Parts,
    state: TrainState,
    step: int,
    checkpoints: Checkpoints | FollowingCheckpoints,
    reporter: Reporter | FollowingReporter,
    interruption: Interruption,
) -> None:
    """Evaluates a state on the validation split and notes the result, or raises Interrupted."""
    with interruption.at_once(), evaluation_explained(parts.config):
        report = parts.evaluator.evaluate(
            state.forecast_variables, step, 'validation', parts.config.evaluation.max_sequences
        )
    if not parts.fingerprint.no_best:
        checkpoints.record_error(step, parts.evaluator.error(report))
    label = split_label('validation', parts.evaluator.sources['validation'])
    reporter.write(step, label, scalars(report))
