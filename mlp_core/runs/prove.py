"""The proof of a user's model: its gradient by the complex step, and the steps that train it by their formulas, on rows
of its own data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import Config, with_overrides
from mlp_core.config import load as load_config
from mlp_core.data.config_sources import moved, told_files
from mlp_core.data.load import Dataset
from mlp_core.errors import DataError, Failed, Problem, counted
from mlp_core.gradcheck import Report, check, fast_check
from mlp_core.nn.layers import Pass
from mlp_core.proof.compare import Tally
from mlp_core.proof.report import rows_of
from mlp_core.proof.training import first_step, prove_training
from mlp_core.rng import generator
from mlp_core.runs.evaluate import open_model
from mlp_core.runs.members import Members, is_members, members_at
from mlp_core.runs.predict import Columns, Predictor
from mlp_core.runs.prove_kept import prove_kept
from mlp_core.training.checkpoint import Checkpoint
from mlp_core.training.checkpoint import load as load_checkpoint
from mlp_core.training.ensemble import Ensemble
from mlp_core.training.experiment import Experiment
from mlp_core.training.model import Model, model_of
from mlp_core.training.peak_memory import PAPER_PARAMETERS

MOST_CELLS = 1 << 20
"""Numbers of inputs and units in a step's rows up to which the first step is proved before training: on paper each
takes the memory of several in float64."""

OTHER_DATA = "the data are not what the model was trained on: how its inputs were fitted was not looked at"


@dataclass(frozen=True)
class Proof:
    """A report, in words what was checked on what, and what the formulas said of the steps that train it."""

    report: Report
    subject: str
    note: str | None = None
    walked: tuple[Tally, ...] = ()


def check_config(path: Path, overrides: Sequence[str] = (), progress: Any = None) -> Proof:
    """Check the model of a config at its initial weights, on rows of its data.

    Raises ConfigError and DataError.
    """
    config = load_config(path, overrides)
    return check_experiment(Experiment.build(config), config, str(path), progress, config)


def check_model(
    path: Path, overrides: Sequence[str] = (), progress: Any = None, tell: Callable[[str], None] | None = None
) -> Proof:
    """Check a trained model at its weights, on rows of the data it was trained on; of a folder of members all of them.

    Raises CheckpointError; where the data cannot be read any more, synthetic rows take its place and the note says so.
    """
    if is_members(path):
        members = members_at(path)
        proofs = [
            check_model(file, overrides, progress, tell if not i else None)
            for i, file in enumerate(members.checkpoints())
        ]
        return _together(proofs, members)
    model, file = open_model(path)
    assert not isinstance(model, Ensemble)
    return check_checkpoint(load_checkpoint(file), str(file), with_overrides(model.config, overrides), progress, tell)


def check_checkpoint(
    checkpoint: Checkpoint,
    subject: str,
    config: Config,
    progress: Any = None,
    tell: Callable[[str], None] | None = None,
) -> Proof:
    """The same for a checkpoint that is loaded, and its config."""
    if tell is not None and (files := told_files(config)):
        tell(f"reading what the model was trained on: {files}")
    try:
        experiment = Experiment.build(config, own=checkpoint)
    except DataError as error:
        note = f"synthetic rows: {moved(config, error).problems[0]}"
        return _check_synthetic(checkpoint, subject, config, note, progress)
    experiment.restore(checkpoint, subject)
    fitted = checkpoint.document.get("data") == experiment.data.sha256
    proof = check_experiment(experiment, config, subject, progress, fitted=fitted)
    return proof if fitted else replace(proof, note=OTHER_DATA)


def _together(proofs: Sequence[Proof], members: Members) -> Proof:
    """The proofs of members as one, whose tensors are called after them."""
    reports = [proof.report for proof in proofs]
    named = list(zip(members.runs, reports, strict=True))
    tensors = tuple(replace(one, name=f"{name}: {one.name}") for name, report in named for one in report.tensors)
    rows = tuple(replace(one, name=f"{name}: {one.name}") for name, report in named for one in report.preconditions)
    report = replace(
        reports[0],
        checked=sum(one.checked for one in reports),
        parameters=sum(one.parameters for one in reports),
        worst=max(one.worst for one in reports),
        tensors=tensors,
        preconditions=rows,
        passed=all(one.passed for one in reports),
        seconds=sum(one.seconds for one in reports),
        hint=next((one.hint for one in reports if one.hint), None),
    )
    note = next((proof.note for proof in proofs if proof.note), None)
    walked = tuple(one for proof in proofs for one in proof.walked)
    return Proof(report, f"{counted(len(reports), 'member')} of {members.folder}", note, walked)


def check_experiment(
    experiment: Experiment,
    config: Config,
    subject: str,
    progress: Any = None,
    given: Config | None = None,
    fitted: bool = True,
) -> Proof:
    """Check a model at its weights, on training rows drawn by the seed, as the config's `gradcheck` says. given: the
    config before anything in it was decided, where that is at hand. fitted: whether its inputs were fitted to these
    rows."""
    train, backend = experiment.splits["train"], experiment.model.network.backend
    classes = train.y if experiment.model.task.classifies else None
    rows = _rows(config, len(train.X), None if train.w is None else backend.to_host(train.w), classes)
    X, Y, w = train.on_host(backend, rows)
    report = _run(experiment.model.objective, X, Y, w, config, progress)
    walked = (*prove_training(experiment, given=given, answer=answer, fitted=fitted), prove_kept(experiment))
    return Proof(_with_steps(report, walked), subject, walked=walked)


def answer(model: Model, rows: Dataset) -> Columns:
    """The columns that `predict` gives for rows as they were read."""
    return Predictor(model, probabilities=True, rows=8).answer(rows.X, rows.words)


def _with_steps(report: Report, walked: Sequence[Tally]) -> Report:
    """A report of the gradient with what was found of the steps."""
    passed = report.passed and not any(one.wrong for one in walked)
    return replace(report, preconditions=(*report.preconditions, *rows_of(walked)), passed=passed)


CLASSES = 10
"""Classes of which there is a row each, unless it is said how many rows are used."""


def _rows(config: Config, count: int, w: Any, classes: Any = None) -> Any:
    """Which training rows are used: `gradcheck.batch` of them, drawn by the seed, of weight above 0; of as many classes
    as there are."""
    candidates = np.arange(count) if w is None else np.flatnonzero(w > 0)
    drawn = candidates[generator(config.seed, "gradcheck").permutation(len(candidates))]
    batch = config.gradcheck.batch
    if classes is not None:
        drawn = drawn[in_turn(np.asarray(classes)[drawn])]
        if not config.written("gradcheck.batch"):
            batch = max(batch, min(CLASSES, len(np.unique(classes))))
    return np.sort(drawn[:batch])


def in_turn(classes: Any) -> Any:
    """An order of rows that takes a row of each class, then another of each, and so on."""
    turn = np.zeros(len(classes), np.int64)
    for label in np.unique(classes):
        mine = np.flatnonzero(classes == label)
        turn[mine] = np.arange(len(mine))
    return np.argsort(turn, kind="stable")


def _check_synthetic(checkpoint: Checkpoint, subject: str, config: Config, note: str, progress: Any) -> Proof:
    """Rows of the right shape where there is no data: normal inputs, every class or random targets."""
    batch = config.gradcheck.batch
    model = model_of(checkpoint, subject, rows=batch)
    rng = generator(config.seed, "gradcheck")
    X = rng.standard_normal((batch, model.inputs.inputs))
    if model.task.classifies:
        y: Any = rng.integers(0, len(model.task.classes), batch)
    else:
        y = rng.random((batch, model.task.outputs)).round(0 if model.task.kind == "multilabel" else 6)
    Y = model.targets(y)
    return Proof(_run(model.objective, X.astype(config.dtype), Y, None, config, progress), subject, note)


def _run(objective: Any, X: Any, Y: Any, w: Any, config: Config, progress: Any) -> Report:
    values = config.gradcheck
    return check(
        objective,
        X,
        Y,
        w,
        mode=Pass(True, config.seed, 0, False),
        tolerance=values.tolerance,
        method=values.mode,
        probes=values.probes,
        seed=config.seed,
        progress=progress,
    )


def preflight(experiment: Experiment, subject: str) -> None:
    """The proof before the first step, as `train.preflight` asks for it; raises Failed: a wrong model is not trained.
    Its result is stamped into the checkpoints."""
    config = experiment.config
    if config.train.preflight == "off" or experiment.trainer.progress.step:
        return
    full = config.train.preflight == "full"
    proof = check_experiment(experiment, config, subject) if full else _quick_check(experiment)
    if not proof.report.passed:
        raise Failed(gradient_wrong(proof, "run mlpbp gradcheck on the config for the whole report"))
    experiment.stamp = f"{proof.report.worst:.0e}"
    if proof.walked:
        numbers, steps = (sum(getattr(one, what) for one in proof.walked) for what in ("numbers", "steps"))
        experiment.stamp += f"; {counted(steps, 'step')} as printed, {numbers:,} numbers"


def gradient_wrong(proof: Proof, hint: str | None = None) -> Problem:
    """What to say of a proof that failed: the gradient is wrong, or the steps are not those of their formulas."""
    wrong = next((one.wrong for one in proof.walked if one.wrong), None)
    mine = {row.name for row in rows_of(proof.walked)}
    failed = [name for name in proof.report.failures() if name not in mine]
    if wrong is not None and not failed:
        message = f"the steps of this model are not those of their formulas: {wrong.where} is {wrong.here:.9g}"
        return Problem("step_wrong", f"{message}, and should be {wrong.there:.9g}", hint)
    message = (
        f"the gradient of this model is wrong (worst relative error {proof.report.worst:.1e} in {', '.join(failed)})"
    )
    return Problem("gradient_wrong", message, hint)


def _quick_check(experiment: Experiment) -> Proof:
    """The fast check of the gradient on the first training rows, and the first step as it will be taken."""
    report = _quick_gradient(experiment)
    walked = (first_step(experiment),) if report.passed and _small(experiment) else ()
    return Proof(_with_steps(report, walked), "", walked=walked)


def _small(experiment: Experiment) -> bool:
    """Whether the first step on paper takes little time and memory."""
    architecture = experiment.model.network.architecture
    widths = architecture.inputs + architecture.outputs + sum(block.units for block in architecture.hidden)
    rows = experiment.model.network.rows * experiment.trainer.job.limits.accumulate
    return experiment.model.network.parameters.size <= PAPER_PARAMETERS and rows * widths <= MOST_CELLS


def _quick_gradient(experiment: Experiment) -> Report:
    """The fast gradient check on the first training rows."""
    model, train, seed = experiment.model, experiment.splits["train"], experiment.config.seed
    first = np.arange(min(256, len(train.X)))
    if train.w is not None:
        first = first[np.asarray(model.network.backend.to_host(train.w[: len(first)])) > 0]
    order = in_turn(np.asarray(train.y)[first]) if model.task.classifies else slice(None)
    rows = train.on_host(model.network.backend, first[order][:16])
    return fast_check(model.objective, *rows, Pass(True, seed, 0, False), seed)
