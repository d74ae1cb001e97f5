"""The inputs of a model as C: from a row of raw cells to what the network sees."""

from __future__ import annotations

from mlp_core.data.preprocess import quantile_scores as ranks
from mlp_core.export import operations as op
from mlp_core.export.c_text import Source, number, string
from mlp_core.export.description import Member
from mlp_core.export.walk import Lines

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


class Cells(Lines):
    """The lines of a function `inputs` as they grow. at: the next input to be filled."""

    to = "C"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source, self.columns = source, source.description.columns
        self.numbers = self.at = 0

    def each(self, count: int, *body: str) -> None:
        """Lines for each k below a count."""
        self.line(f"for (k = 0; k < {count}; k++)", *(f"    {line}" for line in body))

    def at_places(self, name: str, places: tuple[int, ...], body: str) -> None:
        """A line for each of these places of v; in it, PLACE is the place."""
        table = self.source.table(name, places, "int")
        self.each(len(places), body.replace("PLACE", f"{table}[k]"))

    def visit_Numbers(self, one: op.Numbers) -> None:
        self.numbers = self.at = len(one.columns)
        places = [column + 1 for column in one.columns]
        for j, column in enumerate(one.columns):
            self.line(f"v[{j}] = row->{self.source.fields[column]};")
        in_turn = places == [*range(1, len(places) + 1)]
        number_of = "k + 1" if in_turn else f"{self.source.table('number_columns', places, 'int')}[k]"
        self.each(self.numbers, "if (isinf(v[k]))", f"    return {number_of};")
        for j, column in enumerate(one.columns):
            if self.columns[column].required:
                self.line(f"if (isnan(v[{j}]))", f"    return {column + 1};")
            if self.columns[column].kind == "boolean":
                self.line(f"if (!isnan(v[{j}]) && v[{j}] != 0 && v[{j}] != 1)", f"    return {column + 1};")

    def visit_Flag(self, one: op.Flag) -> None:
        self.at_places("flagged", one.places, f"x[{self.at} + k] = isnan(v[PLACE]) ? 1 : 0;")
        self.at += len(one.places)

    def visit_Circles(self, one: op.Circles) -> None:
        for place, period in zip(one.places, one.periods, strict=True):
            for f in ("sin", "cos"):
                angle = f"6.283185307179586 * fmod(v[{place}], {number(period)}) / {number(period)}"
                self.line(f"x[{self.at}] = isnan(v[{place}]) ? 0 : (real){f}({angle});")
                self.at += 1

    def visit_Fill(self, one: op.Fill) -> None:
        name = self.source.table("fill", one.values, "double")
        self.each(self.numbers, "if (isnan(v[k]))", f"    v[k] = {name}[k];")

    def visit_Clip(self, one: op.Clip) -> None:
        low, high = self.source.doubles(low=one.low, high=one.high)
        self.each(self.numbers, f"v[k] = fmin(fmax(v[k], {low}[k]), {high}[k]);")

    def visit_Log(self, one: op.Log) -> None:
        self.at_places("logarithms", one.places, "v[PLACE] = log1p(fmax(v[PLACE], -0.999999));")

    def visit_Scale(self, one: op.Scale) -> None:
        shift, scale = self.source.doubles(shift=one.shift, scale=one.scale)
        self.each(self.numbers, f"v[k] = (v[k] - {shift}[k]) * {scale}[k];")

    def visit_Bend(self, one: op.Bend) -> None:
        self.at_places("smooth", one.places, "v[PLACE] /= hypot(1, v[PLACE] / 3);")

    def visit_Ranks(self, one: op.Ranks) -> None:
        if "normal_score" not in self.source.functions:
            for name, (top, bottom) in {"centre": ranks._CENTRE, "tail": ranks._TAIL}.items():
                self.source.doubles(**{f"{name}_top": top, f"{name}_bottom": bottom})
            self.source.need("normal_score", SCORE.replace("LIMIT", number(ranks.LIMIT)))
        name = self.source.table(f"quantiles{one.place}", one.quantiles, "double")
        self.line(f"v[{one.place}] = normal_score(v[{one.place}], {name}, {len(one.quantiles)});")

    def place(self, one: op.Words) -> None:
        """Lines that put the place of a word into k, or leave with its column where it is refused (-2)."""
        column, source = self.columns[one.column], self.source
        missing = -2 if column.required else one.missing
        field = f"row->{source.fields[one.column]}"
        gaps = [string(gap, "a word of data.csv.na") for gap in source.description.gaps]
        lines = (f"    if (word != NULL && strcmp(word, {gap}) == 0)\n        return 1;\n" for gap in gaps)
        source.need("is_gap", IS_GAP.replace("GAPS", "".join(lines)))
        if one.hashed:
            source.need("hashed", HASH)
            self.line(f"k = hashed({field}, {one.hashed}, {missing});")
        else:
            source.need("find", FIND)
            words = source.words(f"words{one.column}", one.words, f'a word of column "{column.name}"')
            self.line(f"k = find({field}, {words}, {len(one.words)}, {-2 if one.refuse else one.unknown}, {missing});")
        if column.required or one.refuse:
            self.line("if (k == -2)", f"    return {one.column + 1};")

    def visit_OneHot(self, one: op.OneHot) -> None:
        self.place(one)
        others = "".join(f" && k != {place}" for place in one.silent)
        self.line(f"if (k >= 0{others})", f"    x[{self.at} + k] = 1;")
        self.at += one.places

    def visit_Levels(self, one: op.Levels) -> None:
        self.place(one)
        width = one.table.shape[1]
        if width:
            name = self.source.table(f"levels{one.column}", one.table, "double")
            self.line(f"if (k < 0)\n        k = {one.places};")
            self.line(*(f"x[{self.at + at}] = (real){name}[k * {width} + {at}];" for at in range(width)))
        self.at += width

    def visit_Ordinal(self, one: op.Ordinal) -> None:
        self.place(one)
        self.line(f"x[{self.at}] = (real)(k / {number(max(1, one.places - 1))});")
        self.at += 1

    def visit_Code(self, one: op.Code) -> None:
        self.place(one)
        self.line(f"x[{self.at}] = (real)k;")
        self.at += 1


def inputs_function(member: Member, source: Source) -> str:
    """The name of a function `inputs`: 0, the number of a column whose cell is refused, or -1 for a number that is too
    large."""
    cells = Cells(source)
    cells.walk(member.inputs)
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
