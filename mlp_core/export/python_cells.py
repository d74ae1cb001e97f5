"""From raw cells to inputs, in exported Python files: what numpy's and PyTorch's have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlp_core.export import operations as op
from mlp_core.export import python_parts as parts
from mlp_core.export.description import Description, Member
from mlp_core.export.python_text import Script


def inputs_text(member: Member, description: Description, script: Script) -> str:
    """The name of a function `inputs`: from columns of raw cells to what the network sees."""
    script.table("GAPS", description.gaps)
    lines = [f'    """What the network sees, [rows, {member.width}], from columns of raw cells."""']
    joined = ["X"] if any(isinstance(one, op.Numbers) for one in member.inputs) else []
    for one in member.inputs:
        made, part = _INPUTS[type(one)](one, description, script)
        lines += made
        joined += [part] if part else []
    script.need(parts.finite)
    whole = joined[0] if len(joined) == 1 else f"np.concatenate([{', '.join(joined)}], axis=1)"
    return script.function("inputs", "table", [*lines, f"    return finite({whole})"])


Made = tuple[list[str], str | None]


def _numbers(one: op.Numbers, description: Description, script: Script) -> Made:
    chosen = [description.columns[place] for place in one.columns]
    names = script.table("NUMBERS", tuple(column.name for column in chosen))
    script.need(parts.numbers)
    cells = "table[name]"
    if needed := tuple(column.name for column in chosen if column.required):
        script.need(parts.present)
        required = script.table("REQUIRED", needed)
        cells = f"(present(table[name], name, GAPS) if name in {required} else table[name])"
    if meanings := {column.name: column.meaning for column in chosen if column.meaning}:
        script.need(parts.written)
        table = script.table("WRITTEN", meanings)
        cells = f"(written({cells}, name, {table}[name], GAPS) if name in {table} else {cells})"
    made = f"numbers({cells}, name, GAPS)"
    if yes := tuple(column.name for column in chosen if column.kind == "boolean"):
        script.need(parts.truths)
        made = f"truths({cells}, name, GAPS) if name in {script.table('YES_OR_NO', yes)} else {made}"
    return [f"    X = np.stack([{made} for name in {names}], axis=1)"], None


def _flag(one: op.Flag, description: Description, script: Script) -> Made:
    return [f"    flags = np.isnan(X[:, {list(one.places)}])"], "flags"


def _circles(one: op.Circles, description: Description, script: Script) -> Made:
    script.need(parts.on_circles)
    return [f"    circles = on_circles(X[:, {list(one.places)}], {list(one.periods)})"], "circles"


def _fill(one: op.Fill, description: Description, script: Script) -> Made:
    return [f"    X = np.where(np.isnan(X), {script.array('FILL', one.values)}, X)"], None


def _clip(one: op.Clip, description: Description, script: Script) -> Made:
    script.table("inf", 0, "np.inf")
    return [f"    X = np.clip(X, {script.array('LOW', one.low)}, {script.array('HIGH', one.high)})"], None


def _log(one: op.Log, description: Description, script: Script) -> Made:
    places = script.table("LOGARITHMS", list(one.places))
    return [f"    X[:, {places}] = np.log1p(np.maximum(X[:, {places}], -0.999999))"], None


def _scale(one: op.Scale, description: Description, script: Script) -> Made:
    return [f"    X = (X - {script.array('SHIFT', one.shift)}) * {script.array('SCALE', one.scale)}"], None


def _bend(one: op.Bend, description: Description, script: Script) -> Made:
    places = script.table("SMOOTH", list(one.places))
    return [f"    X[:, {places}] /= np.hypot(1, X[:, {places}] / 3)"], None


def _ranks(one: op.Ranks, description: Description, script: Script) -> Made:
    script.need(parts.normal_scores)
    name = script.array(f"QUANTILES_{one.place}", one.quantiles)
    return [f"    X[:, {one.place}] = normal_scores(X[:, {one.place}], {name})"], None


def _words(one: op.Words, description: Description, script: Script) -> tuple[list[str], str]:
    """The lines that find the places of a column of words, and the variable they are in."""
    column = description.columns[one.column]
    place, cells = f"place_{one.column}", f"table[{column.name!r}]"
    words = "" if one.hashed else script.table(f"WORDS_{one.column}", one.words)
    if column.required:
        script.need(parts.present)
        cells = f"present({cells}, {column.name!r}, GAPS)"
    if one.refuse:
        script.need(parts.known)
        cells = f"known({cells}, {column.name!r}, {words}, GAPS)"
    if one.hashed:
        script.need(parts.hashed)
        return [f"    {place} = hashed({cells}, GAPS, {one.hashed}, {one.missing})"], place
    script.need(parts.places)
    return [f"    {place} = places({cells}, {words}, GAPS, {one.unknown}, {one.missing})"], place


def _one_hot(one: op.OneHot, description: Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    script.need(parts.one_hot)
    if one.silent:
        lines.append(f"    {place}[np.isin({place}, {list(one.silent)})] = -1")
    return lines, f"one_hot({place}, {one.places})"


def _levels(one: op.Levels, description: Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    return lines, f"{script.array(f'LEVELS_{one.column}', one.table)}[{place}]"


def _ordinal(one: op.Ordinal, description: Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    return lines, f"{place}[:, None] / {max(1, one.places - 1)}"


def _code(one: op.Code, description: Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    return lines, f"{place}[:, None]"


_INPUTS: dict[type, Callable[[Any, Description, Script], Made]] = {
    op.Numbers: _numbers,
    op.Flag: _flag,
    op.Circles: _circles,
    op.Fill: _fill,
    op.Clip: _clip,
    op.Log: _log,
    op.Scale: _scale,
    op.Bend: _bend,
    op.Ranks: _ranks,
    op.OneHot: _one_hot,
    op.Levels: _levels,
    op.Ordinal: _ordinal,
    op.Code: _code,
}
