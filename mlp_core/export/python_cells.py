"""From raw cells to inputs, in exported Python files: what numpy's and PyTorch's have in common."""

from __future__ import annotations

from mlp_core.export import operations as op
from mlp_core.export import python_parts as parts
from mlp_core.export.description import Member
from mlp_core.export.python_text import Script
from mlp_core.export.walk import Lines


def inputs_text(member: Member, script: Script) -> str:
    """The name of a function `inputs`: from columns of raw cells to what the network sees."""
    script.table("GAPS", script.description.gaps)
    cells = Cells(script)
    cells.walk(member.inputs)
    script.need(parts.finite)
    head = f'    """What the network sees, [rows, {member.width}], from columns of raw cells."""'
    whole = cells.parts[0] if len(cells.parts) == 1 else f"np.concatenate([{', '.join(cells.parts)}], axis=1)"
    return script.function("inputs", "table", [head, *cells.lines, f"    return finite({whole})"])


class Cells(Lines):
    """The lines of a function `inputs` as they grow, and the parts that are joined to what the network sees."""

    to = "Python"

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script, self.columns = script, script.description.columns
        self.parts: list[str] = []

    def visit_Numbers(self, one: op.Numbers) -> None:
        script, chosen = self.script, [self.columns[place] for place in one.columns]
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
        self.line(f"X = np.stack([{made} for name in {names}], axis=1)")
        self.parts.append("X")

    def visit_Flag(self, one: op.Flag) -> None:
        self.line(f"flags = np.isnan(X[:, {list(one.places)}])")
        self.parts.append("flags")

    def visit_Circles(self, one: op.Circles) -> None:
        self.script.need(parts.on_circles)
        self.line(f"circles = on_circles(X[:, {list(one.places)}], {list(one.periods)})")
        self.parts.append("circles")

    def visit_Fill(self, one: op.Fill) -> None:
        self.line(f"X = np.where(np.isnan(X), {self.script.array('FILL', one.values)}, X)")

    def visit_Clip(self, one: op.Clip) -> None:
        self.script.table("inf", 0, "np.inf")
        self.line(f"X = np.clip(X, {self.script.array('LOW', one.low)}, {self.script.array('HIGH', one.high)})")

    def visit_Log(self, one: op.Log) -> None:
        places = self.script.table("LOGARITHMS", list(one.places))
        self.line(f"X[:, {places}] = np.log1p(np.maximum(X[:, {places}], -0.999999))")

    def visit_Scale(self, one: op.Scale) -> None:
        self.line(f"X = (X - {self.script.array('SHIFT', one.shift)}) * {self.script.array('SCALE', one.scale)}")

    def visit_Bend(self, one: op.Bend) -> None:
        places = self.script.table("SMOOTH", list(one.places))
        self.line(f"X[:, {places}] /= np.hypot(1, X[:, {places}] / 3)")

    def visit_Ranks(self, one: op.Ranks) -> None:
        self.script.need(parts.normal_scores)
        name = self.script.array(f"QUANTILES_{one.place}", one.quantiles)
        self.line(f"X[:, {one.place}] = normal_scores(X[:, {one.place}], {name})")

    def place(self, one: op.Words) -> str:
        """The variable that has the places of a column of words."""
        script, column = self.script, self.columns[one.column]
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
            self.line(f"{place} = hashed({cells}, GAPS, {one.hashed}, {one.missing})")
        else:
            script.need(parts.places)
            self.line(f"{place} = places({cells}, {words}, GAPS, {one.unknown}, {one.missing})")
        return place

    def visit_OneHot(self, one: op.OneHot) -> None:
        place = self.place(one)
        self.script.need(parts.one_hot)
        if one.silent:
            self.line(f"{place}[np.isin({place}, {list(one.silent)})] = -1")
        self.parts.append(f"one_hot({place}, {one.places})")

    def visit_Levels(self, one: op.Levels) -> None:
        place = self.place(one)
        self.parts.append(f"{self.script.array(f'LEVELS_{one.column}', one.table)}[{place}]")

    def visit_Ordinal(self, one: op.Ordinal) -> None:
        self.parts.append(f"{self.place(one)}[:, None] / {max(1, one.places - 1)}")

    def visit_Code(self, one: op.Code) -> None:
        self.parts.append(f"{self.place(one)}[:, None]")
