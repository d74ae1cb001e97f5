"""`mlpbp explain`: the formulas of the user's own model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Failed, Problem, UsageError

from .console import Console
from .options import ConfigFile, Overrides, find_config

if TYPE_CHECKING:
    from mlp_core.explain import Explanation

HELP = "Print the formulas of a model, forward, backward and update, with its shapes and numbers."
SUFFIXES = {".md": "markdown", ".tex": "latex", ".txt": "text"}


def explain(
    config: ConfigFile,
    overrides: Overrides = None,
    format: Annotated[
        str | None, typer.Option("--format", help="text, markdown or latex. [default: by the name of FILE, else text]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this file; - for the screen.")
    ] = None,
) -> int:
    output = None if str(output) == "-" else output
    chosen = format or (SUFFIXES.get(output.suffix.lower(), "text") if output else "text")
    if chosen not in SUFFIXES.values():
        raise UsageError(Problem("usage", "no such format", "choose from text, markdown, latex", got=chosen))
    from mlp_core.config import load
    from mlp_core.explain import FORMATS
    from mlp_core.explain import explain as explanation_of
    from mlp_core.training.experiment import Experiment

    console = Console("explain")
    explanation = explanation_of(Experiment.build(load(find_config(config), overrides or [])))
    shown = FORMATS[chosen](explanation)
    if output is None:
        console.show(shown.rstrip("\n"))
    else:
        _write(output, shown)
        console.note(f"written to {output}")
    return console.result({"title": explanation.title, "format": chosen, "sections": _sections(explanation)})


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        problem = Problem("not_writable", f"cannot be written: {error.strerror}", file=str(path))
        raise Failed(problem) from None


def _sections(explanation: Explanation) -> list[dict[str, Any]]:
    """The equations for programs: in Python's syntax and as LaTeX."""
    from mlp_core.explain.latex import latex

    return [
        {
            "title": section.title,
            "equations": [
                {
                    "equation": f"{equation.target} = {equation.value}",
                    "latex": f"{latex(equation.target)} = {latex(equation.value)}",
                    "shape": None if equation.shape is None else list(equation.shape),
                }
                for equation in section.equations()
            ],
        }
        for section in explanation.sections
    ]
