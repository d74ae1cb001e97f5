"""The format of libsvm and svmlight: a target and `place:value` pairs on every line, places not named are 0."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlp_core.data.readers.arrays import Arrays, array_names
from mlp_core.data.readers.csv_options import number
from mlp_core.data.readers.format import Format, ReadOptions
from mlp_core.data.readers.open_file import STDIN, check_file, check_growth, check_memory, refusal, refuse_width
from mlp_core.data.readers.text_stream import open_text
from mlp_core.errors import counted

WANTED = "a libsvm file"


def _read(path: Path, options: ReadOptions, names: Sequence[str]) -> Arrays:
    """Read a libsvm file, gzip or not, as dense arrays; `names` tell the count of inputs where it is known,
    `options.base` the number of the first place.

    Where it is not known, places count from 1, or from 0 when a 0 occurs; `qid:` and what follows a `#` is left out.
    Raises DataError with file and line for anything else, and when the dense array would not fit.
    """
    targets, values = array("d"), array("d")
    places, ends, lines = array("q"), array("q"), array("q")
    with open_text(path, "utf-8", WANTED) as stream:
        for at, line in enumerate(stream, 1):
            cells = line.partition("#")[0].split()
            if not cells:
                continue
            targets.append(_target(path, at, cells[0]))
            last = -1
            for cell in cells[1:]:
                name, _, text = cell.partition(":")
                if name == "qid":
                    continue
                value = number(text)
                if value is None or not np.isfinite(value) or not name.isdecimal() or len(name) > 9:
                    hint = "write pairs such as 3:0.5"
                    raise refusal(path, "bad_pair", f'not a pair ("{cell}")', hint=hint, line=at)
                if int(name) <= last:
                    raise refusal(path, "bad_pair", f"place {name} is not above the one before", line=at)
                last = int(name)
                places.append(last)
                values.append(value)
            ends.append(len(places))
            lines.append(at)
    if not targets:
        raise refusal(path, "no_rows", "no rows in this file")
    first = (0 if 0 in places else 1) if options.base is None else options.base
    if first == 1 and 0 in places:
        row = int(np.searchsorted(ends, places.index(0), side="right"))
        message = "a place 0, but the training file counts from 1"
        raise refusal(path, "bad_pair", message, hint="count from 1 here, too", line=lines[row])
    found = max(places, default=0) + 1 - first
    width = sum(re.fullmatch(r"x\d+", name) is not None for name in names) or max(found, 1)
    refuse_width(path, found)
    if found > width:
        message = f"place {max(places)}, but there are {width:,} inputs"
        raise refusal(path, "columns_differ", message, hint="give files with the same inputs")
    check_growth(
        path, len(targets) * 16 + len(values) * 8 if path == STDIN else check_file(path), 8 * len(targets) * width
    )
    check_memory(path, len(targets) * width * 8)
    X = np.zeros((len(targets), width))
    rows = np.repeat(np.arange(len(targets)), np.diff([0, *ends]))
    X[rows, np.array(places, np.int64) - first] = values
    note = f"libsvm: {counted(len(targets), 'row')} of {counted(width, 'input')} counted from {first}, "
    note += f"{len(values) / X.size:.1%} of them named"
    Y = np.array(targets)[:, None]
    return Arrays(Y, path, path, cells=X, names=array_names(width, 1), notes=(note,), base=first)


def _target(path: Path, line: int, cell: str) -> float:
    value = number(cell)
    if value is None:
        hint = "several labels on one line are not supported" if "," in cell else "write a number first"
        raise refusal(path, "not_a_number", f'not a number ("{cell}")', hint=hint, line=line, column=1)
    return value


LIBSVM = Format(
    "libsvm",
    told=lambda start, file: file.endswith((".libsvm", ".svm", ".svmlight")),
    read=_read,
    parts=lambda path, options, names, numbers: iter([_read(path, options, names)]),
)
