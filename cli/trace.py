"""`mlpbp trace`: the numbers of one training step, each with the formula that computes it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError

from .console import Console
from .options import ConfigFile, Overrides, find_config

if TYPE_CHECKING:
    from mlp_core.explain.trace import Trace

HELP = "Print the numbers of a training step on chosen rows: forward, backward and update, with their formulas."
WIDTH = 80
ROWS = 6
ALL_LAYERS = 4


def trace(
    config: ConfigFile,
    overrides: Overrides = None,
    row: Annotated[
        list[int] | None, typer.Option("--row", help="Training row, from 0; give it again for more. [default: 0]")
    ] = None,
    layer: Annotated[
        list[int] | None, typer.Option("--layer", help="Layer, from 1; give it again for more. [default: all of a few]")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps, all on these rows.")] = 1,
) -> int:
    from mlp_core.config import load
    from mlp_core.explain.trace import trace as steps_of
    from mlp_core.training.experiment import Experiment

    console = Console("trace")
    rows = row or [0]
    documents = []
    for number, one in enumerate(steps_of(Experiment.build(load(find_config(config), overrides or [])), rows, steps)):
        layers = _layers(one.layers, layer)
        if number == 0:
            console.show(one.explanation.title)
            console.show(f"training rows {', '.join(map(str, rows))}; ... stands for numbers left out")
            if not layer and len(layers) < one.layers:
                console.note(f"layer 1 of {one.layers}; --layer shows another")
        for line in _lines(one, layers):
            console.show(line)
        documents.append(_document(one, layers))
    return console.result({"rows": rows, "steps": documents})


def _layers(count: int, chosen: list[int] | None) -> list[int]:
    for number in chosen or []:
        if not 1 <= number <= count:
            raise UsageError(Problem("no_such_layer", f"no layer {number}", f"layers are 1 to {count}", key="--layer"))
    return chosen or (list(range(1, count + 1)) if count <= ALL_LAYERS else [1])


def _lines(one: Trace, layers: list[int]) -> Iterator[str]:
    """One step: the arrays in their order, then the update of every tensor of these layers."""
    from mlp_core.explain.text import plain

    yield f"\nStep {one.step}: loss {one.loss:.6g}, learning rate {one.lr:.6g}"
    title = ""
    for section, equation, array in one.shown(layers):
        if section != title:
            title = section
            yield f"\n{section}"
            yield from _given(one, section, layers)
        formula = f"{plain(equation.target)} = {plain(equation.value)}"
        yield from _name(formula) if array is None else _array(formula, array)
    rule = next(section for section in one.explanation.sections if section.title.startswith("Update"))
    yield f"\n{rule.title}"
    for e in rule.equations():
        yield from _name(f"{plain(e.target)} = {plain(e.value)}")
    for symbol in one.before:
        if _number(symbol) in (*layers, 0):
            yield from _update(one, symbol)


def _given(one: Trace, section: str, layers: list[int]) -> Iterator[str]:
    """What a layer's forward pass starts from: its parameters, its input if it is not told before; or the targets."""
    from mlp_core.explain.trace import layer_of

    if section.startswith("Loss"):
        for symbol in ("Y", "w"):
            yield from _array(symbol, one.arrays[symbol]) if symbol in one.arrays else ()
    if ", forward" not in section:
        return
    number = layer_of(section) or 0  # the tables of words come before the first layer
    if number and number - 1 not in layers:
        yield from _array(one.inputs[number], one.arrays[one.inputs[number]])
    for symbol, array in one.before.items():
        if _number(symbol) == number:
            yield from _array(f"{symbol}  (parameter {one.names[symbol]})", array)
    if f"M[{number}]" in one.arrays:
        yield from _array(f"M[{number}]  (dropout)", one.arrays[f"M[{number}]"])


def _update(one: Trace, symbol: str) -> Iterator[str]:
    """Old value, gradient, what the optimizer remembers, step, new value."""
    old, new = one.before[symbol], one.after[symbol]
    yield f"\n{symbol}, parameter {one.names[symbol]}"
    yield from _array("old", old)
    yield from _array(f"g, the part for {symbol}", one.gradient[symbol])
    for slot, array in one.state.get(symbol, {}).items():
        if array.any():
            yield from _array(slot, array)
    yield from _array("new - old", new - old)
    yield from _array("new", new)


def _number(symbol: str) -> int:
    """The layer of a tensor; the tables of words come before the first."""
    return 0 if symbol.startswith(("E[", "dE[", "C[")) else int(symbol[:-1].split("[")[1])


def _array(name: str, array: Any) -> Iterator[str]:
    """A name with the shape at the right end, and the first numbers in columns under it."""
    shape = f"[{', '.join(map(str, array.shape))}]" if array.ndim else ""
    if not array.ndim:
        name = f"{name} = {float(array):.6g}"
    *before, last = _name(name)
    yield from before
    fits = len(last) + len(shape) + 2 <= WIDTH
    yield (last + shape.rjust(WIDTH - len(last))) if shape and fits else last
    if shape and not fits:
        yield shape.rjust(WIDTH)
    if array.ndim:
        yield from numbers(array)


def _name(words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH - 2, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)


def numbers(array: Any) -> Iterator[str]:
    """The first entries of an array in aligned columns, 80 characters wide at most, at most 6 rows."""
    table = array.reshape(1, -1) if array.ndim == 1 else array.reshape(-1, array.shape[-1])
    cut = table[:ROWS]
    most = (WIDTH - 10) // 8
    while True:
        cells = [[f"{value + 0.0:.4g}" for value in line[:most]] for line in cut.tolist()]
        wide = max((len(cell) for line in cells for cell in line), default=0) + 2
        if 4 + wide * min(most, table.shape[1]) + 5 <= WIDTH or most == 1:
            break
        most -= 1
    rest = "  ..." if table.shape[1] > most else ""
    for line in cells:
        yield "    " + "".join(cell.rjust(wide) for cell in line) + rest
    if len(table) > ROWS:
        yield "      ..."


def _document(one: Trace, layers: list[int]) -> dict[str, Any]:
    """Everything recorded, as plain lists."""
    chosen = {symbol for symbol in one.arrays if not symbol.endswith("]") or _number(symbol) in (0, *layers)}
    chosen |= {one.inputs[number] for number in layers}
    tensors = [symbol for symbol in one.before if _number(symbol) in (*layers, 0)]
    return {
        "step": one.step,
        "loss": one.loss,
        "lr": one.lr,
        "formulas": {e.target: f"{e.target} = {e.value}" for _, e, _ in one.shown(layers)},
        "arrays": {symbol: one.arrays[symbol].tolist() for symbol in sorted(chosen)},
        "update": {
            symbol: {
                "parameter": one.names[symbol],
                "old": one.before[symbol].tolist(),
                "gradient": one.gradient[symbol].tolist(),
                "state": {slot: array.tolist() for slot, array in one.state.get(symbol, {}).items()},
                "new": one.after[symbol].tolist(),
            }
            for symbol in tensors
        },
    }
