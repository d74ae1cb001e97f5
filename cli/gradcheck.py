"""`mlpbp gradcheck`: prove the gradients of the user's own model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Failed, Problem, UsageError, counted

from .console import Console
from .options import ConfigOrModel, Device, Overrides, find_config

if TYPE_CHECKING:
    from mlp_core.gradcheck import Report

HELP = "Prove every gradient of a model by the complex step; without CONFIG, of everything this program can build."


def gradcheck(
    source: ConfigOrModel = None,
    overrides: Overrides = None,
    full: Annotated[bool, typer.Option("--full", help="Every single entry, however many there are.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Four random directions per tensor.")] = False,
    tolerance: Annotated[float | None, typer.Option("--tol", help="Largest relative error. [default: 1e-8]")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Rows of the data used. [default: 4]")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of rows and directions. [default: the config's]")
    ] = None,
    device: Device = None,
    epochs: Annotated[
        int | None, typer.Option("-e", "--epochs", help="As train is given it: what is proved is what train then does.")
    ] = None,
    batch_size: Annotated[str | None, typer.Option("-b", "--batch-size", help="The same for rows per step.")] = None,
    probes: Annotated[str | None, typer.Option("--probes", help="Where: init,burn,wild.")] = None,
    matrix: Annotated[bool, typer.Option("--matrix", help="Everything the config schema admits.")] = False,
    self_test: Annotated[bool, typer.Option("--self-test", help="Plant bugs and see that each is caught.")] = False,
) -> int:
    console = Console("gradcheck")
    if full and fast:
        raise UsageError(Problem("usage", "--full and --fast exclude each other", "keep one of them"))
    if (matrix or self_test) and source is not None:
        raise UsageError(Problem("usage", "--matrix and --self-test take no config", "leave it out"))
    if self_test:
        return _self_test(console, seed or 0)
    if source is None:
        return _matrix(console, seed or 0)
    changes = list(overrides or [])
    for key, given in (("device", device), ("train.epochs", epochs), ("train.batch_size", batch_size)):
        changes += [] if given is None else [f"{key}={given}"]
    for key, value in (("gradcheck.tolerance", tolerance), ("gradcheck.batch", batch), ("seed", seed)):
        changes += [] if value is None else [f"{key}={value}"]
    changes += [] if probes is None else [f"gradcheck.probes=[{probes}]"]
    changes += ["gradcheck.mode=full"] if full else ["gradcheck.mode=fast"] if fast else []
    from mlp_core.runs.prove import check_config, check_model

    with console.working("checking") as progress:
        if source.is_dir() or source.suffix == ".safetensors":
            proof = check_model(source, changes, progress, console.note)
        else:
            proof = check_config(find_config(source), changes, progress)
    if proof.note:
        console.warn(proof.note)
    from mlp_core.proof.report import to_json
    from mlp_core.runs.prove import gradient_wrong

    steps = {"steps": to_json(proof.walked)}
    return _show(console, proof.report, proof.subject, steps, gradient_wrong(proof))


def _show(console: Console, report: Report, subject: str, more: Any = None, problem: Problem | None = None) -> int:
    """The table, the preconditions, the verdict; exit code 1 unless everything passed, because of `problem`."""
    code = 0 if report.passed else 1
    if not console.json:
        from .render import gradcheck_table

        console.show(gradcheck_table(report.tensors))
        for row in report.preconditions:
            console.show(f"{row.verdict:4}  {row.name}: {row.detail}")
        if report.hint:
            console.show(f"hint  {report.hint}")
        console.show(_verdict(report, subject))
        if report.method == "fast":
            from mlp_core.gradcheck import miss_probability

            missed = miss_probability(report.tolerance, 1e-6)
            console.show(f"four directions miss an error of 1e-6 of a tensor with probability {missed:.0e}")
    fields = {**report.to_json(), "subject": subject, "passed": report.passed, "seconds": round(report.seconds, 3)}
    fields |= more or {}
    if report.passed:
        return console.result(fields)
    problem = problem or Problem("gradient_wrong", f"gradient wrong in {', '.join(report.failures())}")
    if console.json:
        return console.result({**fields, "errors": [{"code": problem.code, "message": problem.message}]}, code)
    raise Failed(problem)


def _verdict(report: Report, subject: str) -> str:
    right = not any(tensor.verdict == "fail" for tensor in report.tensors)
    word = "gradients verified" if report.passed else "STEPS WRONG" if right else "GRADIENTS WRONG"
    entries = counted(report.checked, "entry", "entries")
    how = "compared along rows and columns" if report.method == "sweep" else "compared"
    return (
        f"{word}: {subject}, {entries} {how} ({report.method}, at {', '.join(report.probes)}), "
        f"worst relative error {report.worst:.1e}, tolerance {report.tolerance:.0e}, {report.seconds:.2f} s"
    )


def _matrix(console: Console, seed: int) -> int:
    from mlp_core.gradcheck import matrix

    with console.working("checking") as progress:
        report = matrix(seed=seed, progress=progress)
    return _show(console, report, "everything the config admits")


def _self_test(console: Console, seed: int) -> int:
    """Plant bugs in the backward pass and in the checker itself; every one must be caught."""
    from mlp_core.gradcheck import self_test
    from mlp_core.proof.self_test import self_test as test_of_steps
    from mlp_core.runs.prove import answer

    with console.working("planting bugs") as progress:
        report = self_test(seed=seed, progress=progress)
    for line in report.lines():
        console.show(line)
    with console.working("planting slips") as progress:
        steps = test_of_steps(progress=progress, answer=answer)
    for line in steps.lines():
        console.show(line)
    passed = report.passed and steps.passed
    if passed or console.json:
        return console.result({**report.to_json(), "steps": steps.to_json()}, 0 if passed else 1)
    raise Failed(Problem("bug_survived", "a planted bug was not caught"))
