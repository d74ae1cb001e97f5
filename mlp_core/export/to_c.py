"""A model as C99: one header and one source file that need nothing but libm, allocate nothing, and check themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlp_core.export.c_answers import answers_of, starts, told_of
from mlp_core.export.c_cells import inputs_function
from mlp_core.export.c_network import Calls
from mlp_core.export.c_text import Source, array, comment, identifier, number, string
from mlp_core.export.description import Description, Member
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
    source = Source(description)
    made = [_member(member, source) for member in description.members]
    count = starts(description)[-1]
    predict = PREDICT.format(
        name=name,
        told=len(made) * count,
        values=max(2, *(len(answer.columns) for answer in description.answers)),
        refused=" || ".join(
            f"(refused = {member}(row, told{f' + {k * count}' if k else ''})) != 0"
            for k, (member, _) in enumerate(made)
        ),
        answers="\n".join(answers_of(source)),
    )
    check = _check(probes, source, name)
    body = [
        f'/* {path.name}: see {header.name} */\n#include "{header.name}"\n\n#include <math.h>\n#include <stddef.h>\n'
        f"#include <string.h>\n\ntypedef {source.real} real;\n#define R(x) ((real)(x))",
        *_labels(description, name),
        *(text.replace("ROW", f"{name}_row", 1) for text in source.definitions()),
        predict.strip("\n"),
        check.strip("\n"),
    ]
    declared = _header(source, path, name, stack=max(size for _, size in made) + 8 * len(made) * count)
    return {
        path.with_suffix(".c"): sealed("\n\n".join(body), "/* sha256 ", " */").encode(),
        header: sealed(declared, "/* sha256 ", " */").encode(),
    }


def _member(member: Member, source: Source) -> tuple[str, int]:
    """The name of the function of one network, and how many bytes of stack it takes."""
    calls = Calls(source, member.width)
    calls.walk(member.network)
    text = MEMBER.format(
        largest=calls.largest,
        skips="".join(f"    real {skip}[{width}];\n" for skip, width in calls.skips),
        values=max(2, member.outputs),
        inputs=inputs_function(member, source),
        network="\n".join(calls.lines),
        told="\n".join(told_of(member, source, calls.here)),
    )
    numbers = 2 * calls.largest + sum(width for _, width in calls.skips)
    return source.function("member", text), numbers * (4 if source.f else 8)


def _header(source: Source, path: Path, name: str, stack: int) -> str:
    """The text of the header: what a row holds, what is answered, how the source is compiled."""
    description, file = source.description, path.with_suffix(".c").name
    columns, decision = description.columns, description.decision
    row = []
    for field, column in zip(source.fields, columns, strict=True):
        kind = "const char *" if column.kind == "categorical" else "double "
        meaning = f": {comment(column.meaning)}" if column.meaning else ""
        row.append(f"    {kind}{field}; /* {comment(column.name)}{meaning} */")
    answer, labels = [], ""
    if decision is not None:
        count = len(decision.labels)
        holds, index = f"    int labels[{count}]; /* 1 where it holds */", "    int label; /* in the array of labels */"
        answer.append(holds if decision.several else index)
        labels = f"/* {comment(named(decision.labels))} */\nextern const char *const {name}_labels[{count}];\n\n"
    answer += [
        f"    double {field}[{len(one.columns)}]; /* {comment(named(one.columns))} */"
        for field, one in zip(source.answers, description.answers, strict=True)
    ]
    text = wrapped(
        f"Takes {len(columns):,} columns, gives {named([one.name for one in description.answers])}. Needs nothing but "
        f"libm and allocates nothing: {source.bytes:,} bytes of tables, about {stack:,} bytes of stack."
    )
    text += ["", f"    cc -O2 -c {file}"]
    text += [f"    cc -D{name.upper()}_CHECK {file} -lm && ./a.out     # runs its test rows"]
    return HEADER.format(
        title=f"Predictions of {comment(named(description.targets))}, by {trained_by(description)}.",
        text="\n".join(f" * {line}".rstrip() for line in text),
        upper=name.upper(),
        name=name,
        gaps="".join(f" or {comment(repr(gap))}" for gap in description.gaps),
        row="\n".join(row),
        answer="\n".join(answer),
        labels=labels,
    )


def _labels(description: Description, name: str) -> list[str]:
    """The definition of the array of labels, where there are any."""
    if description.decision is None:
        return []
    words = ", ".join(string(label, "a label") for label in description.decision.labels)
    return [f"const char *const {name}_labels[{len(description.decision.labels)}] = {{{words}}};"]


def _check(probes: Probes, source: Source, name: str) -> str:
    """The function `main`, its rows and what is to be answered."""
    description, count = source.description, probes.count
    decision = description.decision
    columns = [
        [
            ("NULL" if cell is None else string(str(cell), "a word"))
            if column.kind == "categorical"
            else number(float("nan") if cell is None else float(cell))
            for cell in probes.rows[column.name]
        ]
        for column in description.columns
    ]
    rows = ",\n    ".join("{" + ", ".join(row) + "}" for row in zip(*columns, strict=True))
    texts = [f"static const {name}_row test_rows[{count}] = {{\n    {rows}\n}};"]
    compare: list[str] = []

    def expected(field: str, kind: str, values: list[list[str]]) -> str:
        width = len(values[0])
        body = ",\n    ".join("{" + ", ".join(row) + "}" for row in values)
        texts.append(f"static const {kind} expected_{field}[{count}][{width}] = {{\n    {body}\n}};")
        return f"expected_{field}[i][j]"

    for field, answer in zip(source.answers, description.answers, strict=True):
        values = [[number(probes.numbers[column][i]) for column in answer.columns] for i in range(count)]
        units = np.array([probes.units[column] for column in answer.columns])
        texts.append(array(units, "double", "float64").replace("NAME", f"units_{field}", 1))
        right = expected(field, "double", values)
        compare += [
            f"        for (j = 0; j < {len(answer.columns)}; j++) {{",
            f"            difference = fabs(answer.{field}[j] - {right}) / units_{field}[j];",
            "            if (!(difference <= worst))",
            "                worst = difference;",
            "        }",
        ]
    if decision is not None:
        if decision.several:
            held = [[str(probes.labels[label][i]) for label in decision.labels] for i in range(count)]
            place, width = "answer.labels[j]", len(decision.labels)
        else:
            held = [[str(decision.labels.index(label))] for label in probes.labels["prediction"]]
            place, width = "answer.label", 1
        compare += [
            f"        for (j = 0; j < {width}; j++) {{",
            f"            if ({place} != {expected('labels', 'int', held)}) {{",
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
