"""A run that was trained is measured again, on its own data or on others."""

import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from e3d.configuration import check_config, find_differences
from e3d.data.preparation import summarize
from e3d.data.sources.file_facts import UNNAMED, check_facts
from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import class_names, facts_of, scale_of
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.model.beside import widths_beside
from e3d.pages.writing import write_page
from e3d.parallel import devices, processes
from e3d.runs.fingerprint import (
    UNKNOWN,
    Fingerprint,
    fingerprint_of,
    read_fingerprint,
    training_moments,
)
from e3d.runs.stored_run import describe_other_classes
from e3d.runs.trained_run import Run, check_lengths, load_run, with_model
from e3d.runs.workdir import (
    CHECKPOINTS_FOLDER,
    other_config_message,
    prepare_workdir,
    resolve_workdir,
)
from e3d.tasks.evaluator import REPORT_NAME, Evaluator, check_sources, tell_of_trained_clips
from e3d.tasks.provenance import describe, describe_choice, report_name
from e3d.tasks.registry import TASKS
from e3d.terminal import tell
from e3d.training import memory, shared
from e3d.training.failures import evaluation_explained


def evaluate(
    config: ConfigDict | None, workdir: str | pathlib.Path, checkpoint: str | int = 'newest'
) -> dict[str, Any]:
    """Evaluates a checkpoint of a run on the whole test split.

    Args:
      config: of the evaluation: the data and the lengths may be others than in training, and of the
        model what changes nothing that is learned, as its precision. None takes the config of the
        run.
      workdir: of the run; gets evaluation.json, evaluation.png and samples/.
      checkpoint: which, see `load_run`.

    Returns:
      The report, see `Evaluator.evaluate`.

    Raises:
      InputError: there is no trained run, the config does not fit it, or processes that evaluate
        together have different runs, configs or data.

    Example:
      >>> report = e3d.evaluate(None, 'runs/mine')
      >>> report['protocol']
      'moving_mnist test 5 -> 5'
    """
    run = load_run(workdir, checkpoint=checkpoint)
    config = run.config if config is None else config
    check_config(config)
    shared.check_shared_config(config)
    differences = [
        line
        for line in find_differences(run.config, config)
        if line.startswith(('task:', 'model.'))
    ]
    if differences:
        raise InputError(other_config_message(workdir, differences))
    run = with_model(run, config.model)
    check_lengths(run, layout_of(config.dataset).lengths)
    if processes.is_first():
        workdir = prepare_workdir(workdir)
    memory.check_sequence(config)
    mesh = devices.local_mesh()
    # A run of an earlier version does not tell by which split the best was selected.
    untold = read_fingerprint(resolve_workdir(workdir) / CHECKPOINTS_FOLDER) is None
    splits = ('test', 'validation') if checkpoint == 'best' and untold else ('test',)
    with processes.first_alone():  # which makes the data ready
        evaluator = TASKS[config.task].evaluator(
            config, run.model, workdir, mesh, splits, run.scale, 'valid' in run.beside
        )
    check_sources(config, evaluator.sources, run.frame_shape[2])
    check_same_classes(config, run.class_names, class_names(evaluator.sources['test']))
    beside = widths_beside(evaluator.sources['test'][0])
    if beside != dict(run.beside):
        raise InputError(
            f'The data have {beside or "nothing"} beside the frames, in channels; those that the run '
            f'was trained on had {dict(run.beside) or "nothing"}: valid where there are gaps, known and '
            'others as dataset.known, static, calendar and targets say. Give data of the same kind.'
        )
    check_evaluation(config, evaluator)
    differences = _other_facts(run, config, evaluator)
    if processes.is_first():
        for line in differences:
            tell(line)
        tell(summarize(config.dataset, evaluator.sources))
        tell_of_trained_clips(run.config, config, evaluator.sources)
        tell_other_scale(run.scale, scale_of(evaluator.sources['test']))
    train, training = evaluator.sources.get('train'), UNKNOWN
    if train is not None and processes.count() > 1:  # of it is the mean image beside the model
        training = training_moments(train)
    fingerprint = fingerprint_of(evaluator.sources, training=training)
    shared.check_shared_data(fingerprint)
    shared.check_shared_weights(run.step, run.variables)
    evaluator.name = _name_report(run, config, workdir, fingerprint)
    variables = devices.place_state(run.variables, mesh)
    with evaluation_explained(config):
        report = evaluator.evaluate(variables, run.step, 'test')
    choice = describe_choice(checkpoint, run.step, evaluator.sources)
    report |= describe(run.config, config, 'test', choice)
    if processes.is_first():
        evaluator.present(report)
        write_page(pathlib.Path(workdir), config, report, evaluator)
    return report


def _other_facts(run: Run, config: ConfigDict, evaluator: Evaluator) -> list[str]:
    """What the files of grids state otherwise than those of the training, in lines."""
    found = facts_of(evaluator.sources['test'])
    if not found or not run.facts:
        return []
    names = tuple(run.facts.units)
    if len(names) > 1 and names != tuple(found.units) and UNNAMED not in found.units:
        raise InputError(
            f'{config.dataset.path} has the variables {", ".join(found.units)} in this order; the run '
            f'was trained with {", ".join(names)}. Name these: --config.dataset.variables="{names}".'
        )
    return check_facts(found, run.facts, config.dataset.path)


def _name_report(
    run: Run, config: ConfigDict, workdir: str | pathlib.Path, found: Fingerprint
) -> str:
    """The name of the files of an evaluation; says where the data are not those of the run."""
    before = read_fingerprint(resolve_workdir(workdir) / CHECKPOINTS_FOLDER)
    # A run of an earlier version tells nothing of its data, and other lengths cannot be compared.
    other_data = config.dataset.path != run.config.dataset.path
    if before is not None and report_name(run.config, config) == REPORT_NAME:
        other_data = _tell_other_data(before, found)
    name = report_name(run.config, config, other_data)
    if name != REPORT_NAME and processes.is_first():
        tell(f'Other data or lengths than those of the run were measured: see {name}.json.')
    return name


def _tell_other_data(before: Fingerprint, found: Fingerprint) -> bool:
    """Says how data differ from those of a run, and whether they do."""
    differences = before.find_differences(found)
    if differences and processes.is_first():
        lines = '; '.join(differences)
        tell(f'The data are not those that the run was trained with: {lines}.')
    return bool(differences)


def check_same_classes(config: ConfigDict, trained: Sequence[str], found: Sequence[str]) -> None:
    """Raises InputError where a recognizer has learned other numbers of the classes than data have."""
    others = describe_other_classes(trained, found) if TASKS[config.task].labeled else ''
    if others:
        raise InputError(
            f'The run was trained with other classes, or other numbers of them: {others}. Give the '
            'labels that it was trained with, or train another run with these.'
        )


def tell_other_scale(trained: Scale, found: Scale) -> None:
    """Says where 0 and 1 stand for other values than in training."""
    if trained.value_range and found.value_range and trained.value_range != found.value_range:
        (old_low, old_high), (low, high) = trained.value_range, found.value_range
        tell(
            f'The training days of these data go from {low:g} to {high:g}, those that the model was '
            f'trained on from {old_low:g} to {old_high:g}: it sees equal values as different ones.'
        )


def check_evaluation(config: ConfigDict, evaluator: Evaluator) -> None:
    """Raises InputError where a batch of an evaluation does not fit into memory."""
    measured = [source for split, source in evaluator.sources.items() if split != 'train']
    most = max(measured, key=len)
    memory.check_evaluation(most[0], len(most), config.evaluation.batch_size)
