"""`mlpbp eval`: measure a trained model on a split of its own data or on a further file."""

from __future__ import annotations

import math
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Failed, Problem, UsageError, counted

from .console import Console
from .options import ModelFile, Overrides, split_off
from .standard_input import copied
from .trained import tell_trained
from .workers import Workers, by_workers

if TYPE_CHECKING:
    from mlp_core.data.task import Task
    from mlp_core.runs.evaluate import Report
    from mlp_core.runs.worst import WorstRow
    from mlp_core.training.ensemble import Saved
    from mlp_core.workers.world import World

HELP = "Measure a trained model: metrics per split, by class and by group; calibrate it, choose its threshold."
_REQUIREMENT = re.compile(r"\s*(\w[\w -]*(?:\([\d.]+\))?)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*")
CLASSES_LISTED = 40
CALIBRATIONS = ("temperature", "platt")  # as eval.calibrate has them; the config is not read for an error


def evaluate(
    model: ModelFile,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="A data file; without it the run's own splits.")
    ] = None,
    overrides: Overrides = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="The targets, where DATA holds only inputs.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="train, val or test; without it every split there is (of folds: the rows that each held out).",
        ),
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option("--require", help="Fail unless this holds, for example 'accuracy>=0.95'.")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="COLUMN", help="Metrics of the groups of a column.")] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Fit a temperature to the validation rows first.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Write what was fitted or chosen into MODEL, for predict too.")
    ] = False,
    keep_as: Annotated[
        Path | None, typer.Option("--keep-as", metavar="FILE", help="The same into a new checkpoint.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="Probability from which two classes are told apart, or a metric to choose it"),
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", min=0, metavar="N", help="Show the N rows that the model is most wrong about.")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write those rows to a file: .csv, .jsonl, .parquet or .npz.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    workers: Workers = None,
) -> int:
    console = Console("eval")
    _check_output(console, output, worst, force)
    if (keep or keep_as) and not (calibrate or threshold):
        hint = "add --calibrate or --threshold"
        raise UsageError(Problem("usage", "there is nothing fitted or chosen to keep", hint))
    if calibrate and data in CALIBRATIONS and not Path(data).exists():
        hint = f"write --calibrate eval.calibrate={data}"
        raise UsageError(Problem("usage", f"--calibrate takes no value (got {data})", hint))
    file, changes = split_off(data, overrides)
    requirements, wished = [_parse(text) for text in require or []], _threshold(threshold)

    def work(world: World) -> int:
        from mlp_core.machine import single_thread_blas
        from mlp_core.runs.evaluate import Wishes, evaluate_model, help_evaluate, keep_calibration, open_model
        from mlp_core.runs.members import trained_rows

        read = copied(file) if file is not None and worst else file
        loaded, path = open_model(model, changes)
        single_thread_blas()
        _check_names(requirements, loaded.task.kind)
        method = None if not calibrate else "platt" if loaded.config.eval.calibrate == "platt" else "temperature"
        named = tuple(name for name, _, _ in requirements)
        trained = None if read is None else trained_rows(path)
        wishes = Wishes(split, read, labels, method, wished, by, named, worst, trained=trained)
        if not world.writes:
            help_evaluate(loaded, wishes, world)
            return 0
        report = evaluate_model(loaded, wishes, console.note, world)
        _show(console, report, loaded.task, by)
        for note in report.notes:
            console.warn(note)
        tell_trained(console, report.trained_on, len(report.splits[report.chosen].outcome.y))
        kept = keep_calibration(path, report.calibration, keep_as) if keep or keep_as else None
        if kept is not None:
            console.note(f"kept in {kept}; predict uses it")
        elif calibrate or threshold:
            console.note(f"to keep it: mlpbp {shlex.join(sys.argv[1:])} --keep")
        if worst:
            _worst(console, report, loaded, output, force)
        for name, one in report.splits.items():
            if one.rows is not None:
                console.note(f"{name}: measured on {counted(len(one.rows), 'row')} drawn at random")
        return _result(console, requirements, report, {"model": str(path)}, kept, _details(report, loaded.task, by))

    return by_workers(workers, work, file)


def _result(
    console: Console,
    requirements: list[tuple[str, str, float]],
    report: Report,
    fields: dict[str, Any],
    kept: Path | None,
    details: dict[str, Any],
) -> int:
    """The whole report for programs, and whether what was required holds. Raises Failed."""
    from mlp_core.metrics import plain

    chosen = report.splits[report.chosen]
    fields |= {
        "split": report.chosen,
        "rows": len(chosen.outcome.y),
        "metrics": plain(chosen.metrics),
        "trained_on": report.trained_on,
        "notes": list(report.notes),
        "kept": None if kept is None else str(kept),
        "splits": {
            name: {"rows": len(one.outcome.y), "metrics": plain(one.metrics)} for name, one in report.splits.items()
        },
        **details,
    }
    failed = [text for text in requirements if not _holds(text, chosen.metrics)]
    if not failed:
        return console.result(fields)
    name, sign, bound = failed[0]
    value = "not defined" if math.isnan(chosen.metrics[name]) else f"{chosen.metrics[name]:.6g}"
    problem = Problem("requirement", f"{report.chosen} {name} is {value}, required {sign} {bound:g}")
    if console.json:
        return console.result({**fields, "errors": [{"code": problem.code, "message": problem.message}]}, 1)
    raise Failed(problem)


def _check_output(console: Console, output: Path | None, worst: int, force: bool) -> None:
    """Refuse before any work what could not be written after it."""
    if output is None:
        return
    if not worst:
        raise UsageError(Problem("usage", "-o takes the worst rows", "add --worst 20"))
    console.check_output(output, force)


def _worst(console: Console, report: Report, model: Saved, output: Path | None, force: bool) -> None:
    """The worst rows: as many columns as fit on the screen, all of them in a file."""
    from mlp_core.runs.worst import columns

    if not console.json:
        from .tables import worst_table

        rows = f"the {counted(len(report.worst), 'row')} it is most wrong about"
        console.show(f"{report.chosen}: {rows}" if report.worst else f"{report.chosen}: no rows with a weight")
        if report.worst:
            console.show(worst_table(report.worst, model.task.classifies))
    if output is not None and report.worst:
        digits = 9 if model.config.dtype == "float32" else 17
        console.write(output, columns(report.worst, model.task.classifies), force, digits)
        if str(output) != "-":
            console.note(f"{counted(len(report.worst), 'row')} written to {output}")


def _worst_fields(row: WorstRow, task: Task) -> dict[str, Any]:
    """One of the worst rows, for programs."""
    from mlp_core.metrics import plain

    sure = {"p_truth": row.p_truth, "p_prediction": row.p_predicted} if task.classifies else {}
    told = {"row": row.row, "place": row.place or None, "truth": row.truth, "prediction": row.predicted}
    return {**told, **plain({**sure, "loss": row.loss}), "columns": dict(row.cells)}


def _parse(text: str) -> tuple[str, str, float]:
    match = _REQUIREMENT.fullmatch(text)
    try:
        if match:
            return re.sub(r"[ -]+", "_", match[1].strip()), match[2], float(match[3])
    except ValueError:
        pass
    raise UsageError(Problem("usage", "--require: not a condition", "for example --require 'accuracy>=0.95'", got=text))


def _check_names(requirements: list[tuple[str, str, float]], kind: str) -> None:
    """Refuse, before data is read, what is no metric of such a task."""
    from mlp_core.metrics import fitting, known

    for name, _, _ in requirements:
        if not known(kind, name):
            hint = "there are loss, " + ", ".join(fitting(kind))
            raise UsageError(Problem("usage", f"--require: no such metric for a {kind} task", hint, got=name))


def _threshold(text: str | None) -> float | str | None:
    """A probability, or the name of a metric."""
    try:
        number = None if text is None else float(text)
    except ValueError:
        return text
    if number is not None and not 0 < number < 1:
        raise UsageError(Problem("usage", "--threshold: expected a probability or a metric", "for example f1", text))
    return number


def _holds(requirement: tuple[str, str, float], metrics: dict[str, float]) -> bool:
    name, sign, bound = requirement
    value = metrics[name]
    return {">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound}[sign]


def _details(report: Report, task: Task, by: str | None) -> dict[str, Any]:
    """Everything beyond the metrics, for programs."""
    from mlp_core.metrics import plain
    from mlp_core.metrics.groups import per_class, residuals

    outcome, calibration = report.splits[report.chosen].outcome, report.calibration
    fields: dict[str, Any] = {"task": task.kind}
    if task.kind == "regression":
        fields["residuals"] = [asdict(row) for row in residuals(outcome, task.targets)]
    else:
        fields["classes"] = list(task.classes)
        fields["per_class"] = [
            {"class": row.name, **plain({key: value for key, value in asdict(row).items() if key != "name"})}
            for row in per_class(outcome, task.classes)
        ]
        fields["threshold"] = calibration.threshold
    if task.classifies:
        fields["confusion"] = outcome.cells.tolist()
    if calibration.fitted:
        method = {"method": calibration.method, "slope": calibration.slope, "offset": calibration.offset}
        fields["calibration"] = {**method, "temperature": calibration.temperature}
    if report.before:
        fields["calibration"] |= {"before": plain(report.before), "after": plain(report.after)}
    if report.worst:
        fields["worst"] = [_worst_fields(row, task) for row in report.worst]
    if by is not None:
        groups = [{"group": row.name, "rows": row.rows, "metrics": plain(row.metrics)} for row in report.groups]
        fields |= {"by": by, "groups": groups}
    return fields


def _show(console: Console, report: Report, task: Task, by: str | None) -> None:
    if console.json:
        return
    from mlp_core.metrics.groups import confusions, per_class, residuals

    from .render import CLASSES_SHOWN, confusion_table, metrics_table
    from .tables import class_table, group_table, mistakes_table, residual_table

    outcome = report.splits[report.chosen].outcome
    _show_fit(console, report)
    console.show(metrics_table({name: result.metrics for name, result in report.splits.items()}))
    if task.kind == "regression":
        console.show(f"{report.chosen}: errors")
        console.show(residual_table(residuals(outcome, task.targets)))
    else:
        rows = per_class(outcome, task.classes)
        shown = sorted(rows, key=lambda row: -1 if math.isnan(row.f1) else row.f1)[:CLASSES_LISTED]
        weakest = f", the {CLASSES_LISTED} weakest of {len(rows)}" if len(rows) > CLASSES_LISTED else ""
        console.show(f"{report.chosen}: by class{weakest}")
        console.show(class_table(shown if weakest else rows))
    if task.classifies and len(task.classes) > CLASSES_SHOWN:
        console.show(f"{report.chosen}: most frequent mistakes")
        console.show(mistakes_table(confusions(outcome.cells, task.classes)))
    elif task.classifies:
        console.show(f"{report.chosen}: confusion matrix (rows: true class, columns: predicted)")
        console.show(confusion_table(outcome.cells, task.classes))
    if by is not None:
        console.show(f"{report.chosen}: by {by}")
        console.show(group_table(by, report.groups))


def _show_fit(console: Console, report: Report) -> None:
    """What was fitted on validation rows, and what it changed there if that was done now."""
    calibration = report.calibration
    if not calibration.fitted:
        return
    if calibration.method == "temperature":
        word = "too sure" if calibration.temperature > 1 else "not sure enough"
        console.show(f"temperature {calibration.temperature:.4f}: the model was {word}")
    elif calibration.method == "platt":
        console.show(f"platt scaling: slope {calibration.slope:.4f}, offset {calibration.offset:.4f}")
    if calibration.threshold != 0.5:
        console.show(f"threshold {calibration.threshold:.4f}")
    if report.before:
        from .tables import change_table

        console.show(change_table(report.before, report.after))
