"""`mlpbp inspect`: what a checkpoint holds, or how two differ."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean, counted

from .console import Console
from .options import ModelFile

WIDTH = 80
HELP = "Show what a checkpoint holds: task, progress, metrics, tensors, digests; or how two differ."


def inspect(
    model: ModelFile,
    other: Annotated[Path | None, typer.Argument(metavar="[MODEL2]", help="Another one to compare with.")] = None,
) -> int:
    from mlp_core.diagnostics.inspect import differences, inspect_members
    from mlp_core.diagnostics.inspect import inspect as examine
    from mlp_core.runs.members import is_members

    console = Console("inspect")
    if is_members(model) or (other is not None and is_members(other)):
        if other is not None:
            hint = "compare two members"
            raise UsageError(Problem("usage", "a folder of members is not compared as a whole", hint))
        found = inspect_members(model)
        if not console.json:
            _show_members(console, found)
        return console.result(found)
    facts, checkpoint = examine(model)
    if other is None:
        if not console.json:
            _show(console, facts)
        return console.result(facts)
    further, second = examine(other)
    found = differences(checkpoint, second)
    same = not any(found.values())
    if not console.json:
        _show_differences(console, facts["file"], further["file"], found, same)
    return console.result({"models": [facts["file"], further["file"]], "same": same, "differences": found})


def _show(console: Console, facts: Mapping[str, Any]) -> None:
    """Facts, one a line, and a table of the tensors."""
    from .tables import grid

    for name, text in _facts(facts):
        console.show(textwrap.fill(f"{name:<13} {text}", WIDTH, subsequent_indent=" " * 14))
    rows = (
        (
            clean(t["name"], 26),
            "×".join(map(str, t["shape"])) or "number",
            t["dtype"],
            f"{t['norm']:.4g}",
            t["sha256"][:12],
        )
        for t in facts["tensors"]
    )
    console.show(grid(("tensor", "shape", "dtype", "norm", "SHA-256"), rows))


def _show_members(console: Console, found: Mapping[str, Any]) -> None:
    """What the members are together, and a line for each."""
    from .tables import grid

    said = "each held out a fold" if found["kind"] == "cv" else "averaged"
    console.show(f"{clean(found['file'], 120)}: {counted(len(found['members']), 'member')}, {said}")
    console.show(f"{found['task']} of {clean(', '.join(found['targets']), 60)}, {found['parameters']:,} parameters")
    names = list(dict.fromkeys(name for one in found["members"] for name in one["metrics"]))[:3]
    rows = []
    for one in found["members"]:
        values = [one["metrics"].get(name) for name in names]
        numbers = [f"{value:.4g}" if isinstance(value, float) else "" for value in values]
        widths, epoch = "-".join(map(str, one["network"])), str(one["progress"].get("epoch"))
        rows.append((clean(one["run"], 20), widths, epoch, *numbers))
    console.show(grid(("member", "network", "epoch", *names), rows))


def _facts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    progress, made = facts["progress"], facts["environment"]
    yield "file", clean(facts["file"], 120)
    yield "format", f"{facts['format']}, {facts['bytes']:,} bytes, every bit under SHA-256 {facts['sha256'][:16]}"
    classes = f", {len(facts['classes'])} classes: {', '.join(facts['classes'])}" if facts["classes"] else ""
    yield "task", clean(f"{facts['task']} of {', '.join(facts['targets'])}{classes}", 120)
    widths = "-".join(map(str, facts["network"]))
    yield "network", f"{widths}, {facts['parameters']:,} parameters, {facts['dtype']}"
    yield "trained by", f"{facts['optimizer']}, lr {facts['lr']}, {facts['schedule']}, loss {facts['loss']}"
    yield "progress", f"epoch {progress.get('epoch')}, step {_number(progress.get('step'))}, seed {facts['seed']}"
    for name, value in facts["metrics"].items():
        yield name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value)
    yield "gradient", f"proved, worst error {facts['gradient']}" if facts["gradient"] else "not checked before training"
    yield "data", f"SHA-256 {str(facts['data_sha256'])[:16]}"
    yield "made with", clean(", ".join(f"{name} {value}" for name, value in made.items()), 240)


def _number(value: object) -> str:
    """A number with its thousands apart; whatever else stands there, short."""
    return f"{value:,}" if isinstance(value, int) else clean(str(value), 20)


def _show_differences(console: Console, one: str, other: str, found: Mapping[str, Any], same: bool) -> None:
    from .tables import grid

    if same:
        console.show(f"{one} and {other} hold the same")
        return
    rows = [
        (clean(key if section == key else f"{section}: {key}", 30), *(clean(value, 20) for value in values))
        for section, values in found.items()
        if section != "tensors"
        for key, values in values.items()
    ]
    if rows:
        console.show(grid(("", "first ", "second "), rows))
    tensors = (
        (clean(t["name"], 26), *map(clean, t["shapes"]), "", "")
        if t["changed"] is None
        else (clean(t["name"], 26), str(t["shapes"][0]), "same", f"{t['changed']:,}", f"{t['largest']:.3g}")
        for t in found["tensors"]
    )
    if found["tensors"]:
        console.show(grid(("tensor", "first", "second", "changed", "by at most"), tensors))
