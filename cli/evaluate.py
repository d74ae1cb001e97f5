"""`mlpbp eval`: measure a trained model on a split of its own data or on a further file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Failed, Problem, UsageError

from .console import Console

if TYPE_CHECKING:
    from mlp_core.evaluator import Evaluation

HELP = "Measure a trained model: metrics per split, confusion matrix for few classes."
_REQUIREMENT = re.compile(r"\s*(\w+(?:\(\d+\))?)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*")


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint, or a run directory (its best).")],
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="A data file; without it the run's own splits.")
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="The targets, where DATA holds only inputs.")] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="train, val or test; without it every split there is.")
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option("--require", help="Fail unless this holds, for example 'accuracy>=0.95'.")
    ] = None,
) -> int:
    requirements = [_parse(text) for text in require or []]
    console = Console("eval")
    from mlp_core.environment import set_threads
    from mlp_core.evaluation import evaluate_model, open_model

    loaded, path = open_model(model)
    set_threads(loaded.config.threads)
    results, y = evaluate_model(loaded, split, data, labels)
    chosen = "test" if "test" in results else "val" if "val" in results else next(iter(results))
    _show(console, results, y[chosen], chosen, loaded.task)
    result = results[chosen]
    failed = [text for text in requirements if not _holds(text, result.metrics, loaded.task.kind)]
    fields = {
        "model": str(path),
        "split": chosen,
        "rows": len(result.P),
        "metrics": result.metrics,
        "splits": {name: {"rows": len(one.P), "metrics": one.metrics} for name, one in results.items()},
    }
    if failed:
        name, sign, bound = failed[0]
        problem = Problem("requirement", f"{chosen} {name} is {result.metrics[name]:.6g}, required {sign} {bound:g}")
        if console.json:
            return console.result({**fields, "errors": [{"code": problem.code, "message": problem.message}]}, 1)
        raise Failed(problem)
    return console.result(fields)


def _parse(text: str) -> tuple[str, str, float]:
    match = _REQUIREMENT.fullmatch(text)
    try:
        if match:
            return match[1], match[2], float(match[3])
    except ValueError:
        pass
    raise UsageError(Problem("usage", "--require: not a condition", "for example --require 'accuracy>=0.95'", got=text))


def _holds(requirement: tuple[str, str, float], metrics: dict[str, float], kind: str) -> bool:
    name, sign, bound = requirement
    if name not in metrics:
        hint = "measured are " + ", ".join(metrics)
        raise UsageError(Problem("usage", f"--require: no such metric for a {kind} task", hint, got=name))
    value = metrics[name]
    return {">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound}[sign]


def _show(console: Console, results: dict[str, Evaluation], y: Any, chosen: str, task: Any) -> None:
    if console.json:
        return
    from .render import confusion_table, metrics_table

    console.show(metrics_table({name: result.metrics for name, result in results.items()}))
    if task.classifies:
        from mlp_core.metrics import Outcome

        console.show(f"{chosen}: confusion matrix")
        console.show(confusion_table(Outcome(results[chosen].P, y).cells, task.classes))
