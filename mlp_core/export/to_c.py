"""A model as C99: one header and one source file that need nothing but libm, allocate nothing, and check themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlp_core.export.c_answers import answers_of, starts, told_of
from mlp_core.export.c_cells import inputs_function
from mlp_core.export.c_network import Calls
from mlp_core.export.c_text import Source, array, comment, identifier, number, string
from mlp_core.export.description import Column, Description, Member
from mlp_core.export.probes import Probes
from mlp_core.export.python_text import named, sealed, trained_by, wrapped

HEADER = """
/* {title}
 *
{text}
 */
#ifndef {upper}_H
#define {upper}_H

#ifdef __cplusplus
extern "C" {{
#endif

/* A row of cells. Missing: NAN for a number, NULL{gaps} for a word. Yes and no are 1 and 0. */
typedef struct {{
{row}
}} {name}_row;

/* The answer to a row. */
typedef struct {{
{answer}
}} {name}_answer;

{labels}/* Answers a row. 0: done; the number of a column, from 1: its cell is refused; -1: a number is too large. */
int {name}_predict(const {name}_row *row, {name}_answer *answer);

#ifdef __cplusplus
}}
#endif

#endif
"""
MEMBER = """
/* What a network tells of a row. 0: done; else the row is refused. */
static int NAME(const ROW *row, double *told)
{{
    real a[{largest}], b[{largest}];
{skips}    double v[{values}];
    int k, refused = {inputs}(row, a);
    if (refused != 0)
        return refused;
{network}
{told}
    return 0;
}}
"""
PREDICT = """
int {name}_predict(const {name}_row *row, {name}_answer *answer)
{{
    double told[{told}], v[{values}];
    int k, refused;
    if ({refused})
        return refused;
{answers}
    return 0;
}}
"""
CHECK = """
#ifdef {upper}_CHECK
#include <stdint.h>
#include <stdio.h>

static uint64_t bits_of_real(const real *x, size_t n)
{{
    uint64_t sum = 0;
    uint{bits}_t word;
    size_t i;
    for (i = 0; i < n; i++) {{
        memcpy(&word, x + i, sizeof word);
        sum += word * (uint64_t)(2 * i + 1);
    }}
    return sum;
}}
{doubles}
{rows}

/* Runs {count} test rows: how far they are from the answers of the model that was trained. */
int main(void)
{{
    {name}_answer answer;
    double worst = 0, difference;
    int i, j;
    uint64_t sum = 0;
{sums}    if (sum != UINT64_C({total})) {{
        fprintf(stderr, "the tables are not as they were written\\n");
        return 1;
    }}
    for (i = 0; i < {count}; i++) {{
        if ({name}_predict(&test_rows[i], &answer) != 0) {{
            fprintf(stderr, "test row %d is refused\\n", i);
            return 1;
        }}
{compare}    }}
    if (!(worst <= {limit})) {{
        fprintf(stderr, "the test rows differ by %.1e\\n", worst);
        return 1;
    }}
    printf("{count} test rows: labels agree, largest difference %.1e (limit {shown})\\n", worst);
    return j < 0;
}}
#endif
"""
DOUBLES = """
static uint64_t bits_of_double(const double *x, size_t n)
{
    uint64_t sum = 0, word;
    size_t i;
    for (i = 0; i < n; i++) {
        memcpy(&word, x + i, sizeof word);
        sum += word * (2 * i + 1);
    }
    return sum;
}
"""


def write(description: Description, probes: Probes, path: Path) -> dict[Path, bytes]:
    """The files of a model at `path`, by name: a .c and a .h. Raises UsageError for a word that C does not take."""
    header, name = path.with_suffix(".h"), identifier(path.stem)
    source = Source(description.dtype)
    fields = _fields([column.name for column in description.columns])
    answers = _fields([answer.name for answer in description.answers], ("label", "labels"))
    made = [_member(member, description, source, fields, answers) for member in description.members]
    count = starts(description)[-1]
    predict = PREDICT.format(
        name=name,
        told=len(made) * count,
        values=max(2, *(len(answer.columns) for answer in description.answers)),
        refused=" || ".join(
            f"(refused = {member}(row, told{f' + {k * count}' if k else ''})) != 0"
            for k, (member, _) in enumerate(made)
        ),
        answers="\n".join(answers_of(description, source, answers)),
    )
    check = _check(description, probes, source, name, fields, answers)
    labels = _labels(description, name)
    body = [
        f'/* {path.name}: see {header.name} */\n#include "{header.name}"\n\n#include <math.h>\n#include <stddef.h>\n'
        f"#include <string.h>\n\ntypedef {source.real} real;\n#define R(x) ((real)(x))",
        *([labels] if labels else []),
        *(text.replace("ROW", f"{name}_row", 1) for text in source.definitions()),
        predict.strip("\n"),
        check.strip("\n"),
    ]
    stack = max(size for _, size in made) + 8 * len(made) * count
    declared = _header(description, path, name, fields, answers, source, stack)
    return {
        path.with_suffix(".c"): sealed("\n\n".join(body), "/* sha256 ", " */").encode(),
        header: sealed(declared, "/* sha256 ", " */").encode(),
    }


def _member(
    member: Member, description: Description, source: Source, fields: dict[int, str], answers: dict[int, str]
) -> tuple[str, int]:
    """The name of the function of one network, and how many bytes of stack it takes."""
    calls = Calls(source, member.width)
    calls.add(member.network)
    text = MEMBER.format(
        largest=calls.largest,
        skips="".join(f"    real {skip}[{width}];\n" for skip, width in calls.skips),
        values=max(2, member.outputs),
        inputs=inputs_function(member, description, source, fields),
        network="\n".join(calls.lines),
        told="\n".join(told_of(member, description, source, answers, calls.here)),
    )
    numbers = 2 * calls.largest + sum(width for _, width in calls.skips)
    return source.function("member", text), numbers * (4 if source.f else 8)


_CELLS = {"categorical": "const char *"}


def _fields(names: Sequence[str], taken: Sequence[str] = ()) -> dict[int, str]:
    """A C name for each of some names, all different."""
    found: dict[int, str] = {}
    for place, name in enumerate(names):
        found[place] = identifier(name, (*taken, *found.values()))
    return found


def _meaning(column: Column) -> str:
    return f": {comment(column.meaning)}" if column.meaning else ""


def _header(
    description: Description,
    path: Path,
    name: str,
    fields: dict[int, str],
    answers: dict[int, str],
    source: Source,
    stack: int,
) -> str:
    columns, decision = description.columns, description.decision
    row = [
        f"    {_CELLS.get(column.kind, 'double ')}{fields[place]}; /* {comment(column.name)}{_meaning(column)} */"
        for place, column in enumerate(columns)
    ]
    answer = []
    labels = ""
    if decision is not None:
        count = len(decision.labels)
        held = (
            f"    int labels[{count}]; /* 1 where it holds */"
            if decision.several
            else "    int label; /* in the array of labels */"
        )
        answer.append(held)
        labels = f"/* {comment(named(decision.labels))} */\nextern const char *const {name}_labels[{count}];\n\n"
    answer += [
        f"    double {answers[place]}[{len(one.columns)}]; /* {comment(named(one.columns))} */"
        for place, one in enumerate(description.answers)
    ]
    text = wrapped(
        f"Takes {len(columns):,} columns, gives {named([one.name for one in description.answers])}. Needs nothing but "
        f"libm and allocates nothing: {source.bytes:,} bytes of tables, about {stack:,} bytes of stack."
    )
    text += ["", "    cc -O2 -c " + path.with_suffix(".c").name]
    text += [f"    cc -D{name.upper()}_CHECK {path.with_suffix('.c').name} -lm && ./a.out     # runs its test rows"]
    title = f"Predictions of {comment(named(description.targets))}, by {trained_by(description)}."
    others = [gap for gap in description.gaps]
    return HEADER.format(
        title=title,
        text="\n".join(f" * {line}".rstrip() for line in text),
        upper=name.upper(),
        name=name,
        gaps="".join(f" or {comment(repr(gap))}" for gap in others),
        row="\n".join(row),
        answer="\n".join(answer),
        labels=labels,
    )


def _labels(description: Description, name: str) -> str:
    if description.decision is None:
        return ""
    words = ", ".join(string(label, "a label") for label in description.decision.labels)
    return f"const char *const {name}_labels[{len(description.decision.labels)}] = {{{words}}};"


def _check(
    description: Description,
    probes: Probes,
    source: Source,
    name: str,
    fields: dict[int, str],
    answers: dict[int, str],
) -> str:
    """The function `main`, its rows and what is to be answered."""
    count, decision = probes.count, description.decision
    columns = list(probes.rows.values())
    rows = []
    for i in range(count):
        cells = [
            ("NULL" if column[i] is None else string(str(column[i]), "a word"))
            if kind.kind == "categorical"
            else number(float("nan") if column[i] is None else float(column[i]))  # type: ignore[arg-type]
            for kind, column in zip(description.columns, columns, strict=True)
        ]
        rows.append("{" + ", ".join(cells) + "}")
    texts = [f"static const {name}_row test_rows[{count}] = {{\n    " + ",\n    ".join(rows) + "\n};"]
    compare: list[str] = []

    def expected(field: str, kind: str, values: list[list[str]]) -> str:
        width = len(values[0])
        body = ",\n    ".join("{" + ", ".join(row) + "}" for row in values)
        texts.append(f"static const {kind} expected_{field}[{count}][{width}] = {{\n    {body}\n}};")
        return f"expected_{field}[i][j]"

    for place, answer in enumerate(description.answers):
        values = [[number(probes.numbers[column][i]) for column in answer.columns] for i in range(count)]
        units = np.array([probes.units[column] for column in answer.columns])
        texts.append(array(units, "double", "float64").replace("NAME", f"units_{answers[place]}", 1))
        compare += [
            f"        for (j = 0; j < {len(answer.columns)}; j++) {{",
            f"            difference = fabs(answer.{answers[place]}[j] - "
            f"{expected(answers[place], 'double', values)}) / units_{answers[place]}[j];",
            "            if (!(difference <= worst))",
            "                worst = difference;",
            "        }",
        ]
    if decision is not None:
        if decision.several:
            held = [[str(probes.labels[label][i]) for label in decision.labels] for i in range(count)]
            field, width = "answer.labels[j]", len(decision.labels)
        else:
            held = [[str(decision.labels.index(label))] for label in probes.labels["prediction"]]
            field, width = "answer.label", 1
        compare += [
            f"        for (j = 0; j < {width}; j++) {{",
            f"            if ({field} != {expected('labels', 'int', held)}) {{",
            '                fprintf(stderr, "test row %d: another label than expected\\n", i);',
            "                return 1;",
            "            }",
            "        }",
        ]
    sums = [f"    sum += bits_of_{kind}({table}, {length});\n" for table, kind, length in source.sums]
    return CHECK.format(
        upper=name.upper(),
        name=name,
        bits=32 if source.f else 64,
        doubles=DOUBLES if any(kind == "double" for _, kind, _ in source.sums) else "",
        rows="\n\n".join(texts),
        count=count,
        sums="".join(sums),
        total=source.total,
        compare="\n".join(compare) + "\n",
        limit=number(description.limit),
        shown=f"{description.limit:.0e}",
    )
