"""The inputs of a model as C: from a row of raw cells to what the network sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlp_core.data.preprocess import quantile_scores as ranks
from mlp_core.export import operations as op
from mlp_core.export.c_text import Source, number, string
from mlp_core.export.description import Description, Member

IS_GAP = """
/* Whether a cell holds no word. */
static int is_gap(const char *word)
{
GAPS    return word == NULL;
}
"""
FIND = """
/* The place of a word among n that are sorted by their bytes; `unknown` for another, `missing` for none. */
static int find(const char *word, const char *const *words, int n, int unknown, int missing)
{
    int low = 0, high = n;
    if (is_gap(word))
        return missing;
    while (low < high) {
        const int middle = low + (high - low) / 2, order = strcmp(word, words[middle]);
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return unknown;
}
"""
HASH = """
/* The place of a word by its checksum (CRC-32), `missing` for none. */
static int hashed(const char *word, unsigned long places, int missing)
{
    unsigned long crc = 0xffffffffUL;
    int bit;
    if (is_gap(word))
        return missing;
    for (; *word != '\\0'; word++) {
        crc ^= (unsigned char)*word;
        for (bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320UL : crc >> 1;
    }
    return (int)((crc ^ 0xffffffffUL) % places);
}
"""
SCORE = """
/* A polynomial, highest power first. */
static double polynomial(const double *c, int n, double x)
{
    double value = 0;
    int i;
    for (i = 0; i < n; i++)
        value = value * x + c[i];
    return value;
}

/* The share of training rows below x: between n quantiles, and for one of these in the middle of its shares. */
static double share(double x, const double *q, int n)
{
    const double near = 1e-15 * fabs(x), step = 1.0 / (n - 1); /* rounding must not take x off a quantile */
    int above = 0, below = 0, high = n;
    double s0, s1, slope;
    while (above < high) { /* the first quantile that is not below x */
        const int middle = above + (high - above) / 2;
        if (q[middle] < x - near)
            above = middle + 1;
        else
            high = middle;
    }
    for (below = above, high = n; below < high;) { /* the last one that is not above x */
        const int middle = below + (high - below) / 2;
        if (q[middle] <= x + near)
            below = middle + 1;
        else
            high = middle;
    }
    below = below > 0 ? below - 1 : 0;
    above = above < n ? above : n - 1;
    s0 = below == n - 1 ? 1 : below * step;
    s1 = above == n - 1 ? 1 : above * step;
    slope = q[above] > q[below] ? (s1 - s0) / (q[above] - q[below]) : 0;
    return (slope * (x - q[below]) + s0 + (s1 - slope * (q[above] - x))) / 2;
}

/* The quantile of the normal distribution for the share of rows below x (Wichura's AS 241). */
static double normal_score(double x, const double *quantiles, int n)
{
    const double p = fmin(fmax(share(x, quantiles, n), 1e-7), 1 - 1e-7), q = p - 0.5, r = 0.180625 - q * q;
    double t, value;
    if (fabs(q) <= 0.425)
        return q * polynomial(centre_top, 8, r) / polynomial(centre_bottom, 8, r);
    t = sqrt(-log(fmin(p, 1 - p))) - 1.6;
    value = copysign(polynomial(tail_top, 8, t) / polynomial(tail_bottom, 8, t), q);
    return fmin(fmax(value, -LIMIT), LIMIT);
}
"""


class Cells:
    """The lines of a function `inputs` as they grow. at: the next input to be filled."""

    def __init__(self, description: Description, source: Source, fields: dict[int, str]) -> None:
        self.description, self.source, self.fields = description, source, fields
        self.numbers = self.at = 0
        self.lines: list[str] = []
        self.flags: list[str] = []

    def add(self, operations: tuple[Any, ...]) -> None:
        for one in operations:
            _CELLS[type(one)](one, self)

    def line(self, *text: str) -> None:
        self.lines += [f"    {line}" for line in text]


def _numbers(one: op.Numbers, cells: Cells) -> None:
    cells.numbers = cells.at = len(one.columns)
    places = [column + 1 for column in one.columns]
    for j, column in enumerate(one.columns):
        cells.line(f"v[{j}] = row->{cells.fields[column]};")
    number_of = (
        f"{cells.source.table('number_columns', places, 'int')}[k]"
        if places != [*range(1, len(places) + 1)]
        else "k + 1"
    )
    cells.line(f"for (k = 0; k < {cells.numbers}; k++)", "    if (isinf(v[k]))", f"        return {number_of};")
    columns = cells.description.columns
    for j, column in enumerate(one.columns):
        if columns[column].required:
            cells.line(f"if (isnan(v[{j}]))", f"    return {column + 1};")
        if columns[column].kind == "boolean":
            cells.line(f"if (!isnan(v[{j}]) && v[{j}] != 0 && v[{j}] != 1)", f"    return {column + 1};")


def _flag(one: op.Flag, cells: Cells) -> None:
    name = cells.source.table("flagged", one.places, "int")
    cells.line(f"for (k = 0; k < {len(one.places)}; k++)", f"    x[{cells.at} + k] = isnan(v[{name}[k]]) ? 1 : 0;")
    cells.at += len(one.places)


def _circles(one: op.Circles, cells: Cells) -> None:
    for place, period in zip(one.places, one.periods, strict=True):
        for f in ("sin", "cos"):
            angle = f"6.283185307179586 * fmod(v[{place}], {number(period)}) / {number(period)}"
            cells.line(f"x[{cells.at}] = isnan(v[{place}]) ? 0 : (real){f}({angle});")
            cells.at += 1


def _each(cells: Cells, *body: str) -> None:
    cells.line(f"for (k = 0; k < {cells.numbers}; k++)", *(f"    {line}" for line in body))


def _fill(one: op.Fill, cells: Cells) -> None:
    name = cells.source.table("fill", one.values, "double")
    _each(cells, "if (isnan(v[k]))", f"    v[k] = {name}[k];")


def _clip(one: op.Clip, cells: Cells) -> None:
    low, high = (cells.source.table(name, v, "double") for name, v in (("low", one.low), ("high", one.high)))
    _each(cells, f"v[k] = fmin(fmax(v[k], {low}[k]), {high}[k]);")


def _log(one: op.Log, cells: Cells) -> None:
    name = cells.source.table("logarithms", one.places, "int")
    cells.line(f"for (k = 0; k < {len(one.places)}; k++)", f"    v[{name}[k]] = log1p(fmax(v[{name}[k]], -0.999999));")


def _scale(one: op.Scale, cells: Cells) -> None:
    shift, scale = (cells.source.table(name, v, "double") for name, v in (("shift", one.shift), ("scale", one.scale)))
    _each(cells, f"v[k] = (v[k] - {shift}[k]) * {scale}[k];")


def _bend(one: op.Bend, cells: Cells) -> None:
    name = cells.source.table("smooth", one.places, "int")
    cells.line(f"for (k = 0; k < {len(one.places)}; k++)", f"    v[{name}[k]] /= hypot(1, v[{name}[k]] / 3);")


def _ranks(one: op.Ranks, cells: Cells) -> None:
    source = cells.source
    if "normal_score" not in source.functions:
        for name, values in zip(("centre", "tail"), (ranks._CENTRE, ranks._TAIL), strict=True):
            for part, coefficients in zip(("top", "bottom"), values, strict=True):
                source.table(f"{name}_{part}", coefficients, "double")
        source.need("normal_score", SCORE.replace("LIMIT", number(ranks.LIMIT)))
    name = source.table(f"quantiles{one.place}", one.quantiles, "double")
    cells.line(f"v[{one.place}] = normal_score(v[{one.place}], {name}, {len(one.quantiles)});")


def _place(one: op.Words, cells: Cells) -> None:
    """Lines that put the place of a word into k, or leave with its column where it is refused (-2)."""
    column = cells.description.columns[one.column]
    missing = -2 if column.required else one.missing
    field = f"row->{cells.fields[one.column]}"
    gaps = [string(gap, "a word of data.csv.na") for gap in cells.description.gaps]
    lines = (f"    if (word != NULL && strcmp(word, {gap}) == 0)\n        return 1;\n" for gap in gaps)
    cells.source.need("is_gap", IS_GAP.replace("GAPS", "".join(lines)))
    if one.hashed:
        cells.source.need("hashed", HASH)
        cells.line(f"k = hashed({field}, {one.hashed}, {missing});")
    else:
        cells.source.need("find", FIND)
        words = cells.source.words(f"words{one.column}", one.words, f'a word of column "{column.name}"')
        cells.line(f"k = find({field}, {words}, {len(one.words)}, {-2 if one.refuse else one.unknown}, {missing});")
    if column.required or one.refuse:
        cells.line("if (k == -2)", f"    return {one.column + 1};")


def _one_hot(one: op.OneHot, cells: Cells) -> None:
    _place(one, cells)
    others = "".join(f" && k != {place}" for place in one.silent)
    cells.line(f"if (k >= 0{others})", f"    x[{cells.at} + k] = 1;")
    cells.at += one.places


def _levels(one: op.Levels, cells: Cells) -> None:
    _place(one, cells)
    width = one.table.shape[1]
    if width:
        name = cells.source.table(f"levels{one.column}", one.table.ravel(), "double")
        cells.line(f"if (k < 0)\n        k = {one.places};")
        values = (f"x[{cells.at + at}] = (real){name}[k * {width} + {at}];" for at in range(width))
        cells.line(*values)
    cells.at += width


def _ordinal(one: op.Ordinal, cells: Cells) -> None:
    _place(one, cells)
    cells.line(f"x[{cells.at}] = (real)(k / {number(max(1, one.places - 1))});")
    cells.at += 1


def _code(one: op.Code, cells: Cells) -> None:
    _place(one, cells)
    cells.line(f"x[{cells.at}] = (real)k;")
    cells.at += 1


_CELLS: dict[type, Callable[[Any, Cells], None]] = {
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


def inputs_function(member: Member, description: Description, source: Source, fields: dict[int, str]) -> str:
    """The name of a function `inputs`: 0, the number of a column whose cell is refused, or -1 for a number that is too
    large."""
    cells = Cells(description, source, fields)
    cells.add(member.inputs)
    head = [f"    double v[{cells.numbers}];"] if cells.numbers else []
    head += ["    int k;", f"    for (k = 0; k < {member.width}; k++)", "        x[k] = 0;"]
    last = [
        f"    for (k = 0; k < {cells.numbers}; k++) {{",
        "        x[k] = (real)v[k];",
        "        if (isinf(x[k]))",
        "            return -1;",
        "    }",
    ]
    comment = "/* From a row of cells to the inputs of the network. */"
    body = [*head, *cells.lines, *(last if cells.numbers else []), "    return 0;", "}"]
    return source.function("inputs", "\n".join([comment, "static int NAME(const ROW *row, real *x)", "{", *body]))
