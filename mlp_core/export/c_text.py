"""C99 as text: names, comments, strings, and tables of numbers with their checksum."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mlp_core.errors import Problem, UsageError, clean
from mlp_core.export.description import Description
from mlp_core.export.python_text import kept_once

LONGEST = 4095  # characters of a string that every C99 compiler takes
_TAKEN = re.compile(  # words of the language, and macros that headers may define
    r"auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|register|"
    r"restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|"
    r"NULL|NAN|INFINITY|EOF|BUFSIZ|stdin|stdout|stderr|linux|unix|math_errhandling|_.*|"
    r"(HUGE|FP|FLT|DBL|LDBL|MATH|INT|UINT|SIZE|PTRDIFF|SEEK|FILENAME|FOPEN|TMP|L|M|RAND|WCHAR|WINT|SIG)_.*"
)


def identifier(text: str, taken: Iterable[str] = ()) -> str:
    """A name that C takes, like the text, and none of those that are taken."""
    name = re.sub(r"[^0-9A-Za-z_]+", "_", text).strip("_") or "x"
    if name[0].isdigit() or _TAKEN.fullmatch(name):
        name = f"x_{name}"
    others, made, count = set(taken), name, 1
    while made in others:
        count += 1
        made = f"{name}_{count}"
    return made


def fields(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """A C name for each of some names, all different."""
    found: list[str] = []
    for name in names:
        found.append(identifier(name, (*taken, *found)))
    return found


def comment(text: str) -> str:
    """A text as it may stand in a comment."""
    return clean(text, 200).replace("*/", "* /").replace("/*", "/ *")


def string(text: str, what: str) -> str:
    """A string literal, in UTF-8. Raises UsageError for one that is too long; `what` says what it is."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > LONGEST:
        message = f"{what} is longer than C takes ({len(data):,} bytes, at most {LONGEST:,})"
        raise UsageError(Problem("not_exportable", message, got=text))
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in data) + '"'


def number(value: float, dtype: str = "float64") -> str:
    """A literal with all digits that count."""
    if not np.isfinite(value):
        return "NAN" if np.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    text = f"{value:.9g}" if dtype == "float32" else repr(float(value))
    text += "" if "." in text or "e" in text else ".0"
    return text + ("f" if dtype == "float32" else "")


def lines(items: Sequence[str], indent: str = "    ", width: int = 110) -> str:
    """Items of an initializer in lines."""
    found, line = [], indent
    for item in items:
        if len(line) + len(item) > width and line.strip():
            found.append(line.rstrip())
            line = indent
        line += item + ", "
    return "\n".join([*found, line.rstrip().rstrip(",")])


def array(values: Any, kind: str, dtype: str) -> str:
    """The definition of a constant array NAME of numbers [n]."""
    items = [str(int(value)) for value in values] if kind == "int" else [number(v, dtype) for v in values.tolist()]
    return f"static const {kind} NAME[{len(values)}] = {{\n{lines(items)}\n}};"


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with words in capital letters replaced."""
    return re.sub(r"\b(" + "|".join(values) + r")\b", lambda found: values[found[1]], text)


class Source:
    """A C file as it grows: tables, functions that are needed, and the checksum of the tables of numbers.

    What has a name already has it once: an equal one is taken in its place, another one is numbered.
    fields, answers: what the columns of a row and the answers to it are called in C.
    """

    def __init__(self, description: Description) -> None:
        self.description, self.dtype = description, description.dtype
        self.real, self.f = ("float", "f") if self.dtype == "float32" else ("double", "")
        self.fields = fields([column.name for column in description.columns])
        self.answers = fields([answer.name for answer in description.answers], ("label", "labels"))
        self.tables: dict[str, str] = {}
        self.bodies: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.sums: list[tuple[str, str, int]] = []
        self.total = 0
        self.bytes = 0

    def table(self, name: str, values: Any, kind: str = "real") -> str:
        """A constant array of numbers: `real` (the model's type), `double` or `int`; its name."""
        dtype = self.dtype if kind == "real" else "float64"
        flat = np.asarray(values).reshape(-1).astype("int64" if kind == "int" else dtype)
        before = len(self.tables)
        made = kept_once(self.tables, name, array(flat, kind, dtype))
        if kind != "int" and len(self.tables) > before:
            self._sum(made, kind, flat)
        return made

    def doubles(self, **named: Any) -> list[str]:
        """Constant arrays of doubles; their names."""
        return [self.table(name, values, "double") for name, values in named.items()]

    def _sum(self, name: str, kind: str, flat: Any) -> None:
        """Add a table to the checksum: its numbers' bits, each times an odd number, so that no single change hides."""
        words = flat.view("<u4" if flat.dtype.itemsize == 4 else "<u8").astype(np.uint64)
        odd = 2 * np.arange(len(flat), dtype=np.uint64) + np.uint64(1)
        with np.errstate(over="ignore"):
            self.total = (self.total + int((words * odd).sum(dtype=np.uint64))) % 2**64
        self.sums.append((name, "real" if kind == "real" else "double", len(flat)))
        self.bytes += flat.nbytes

    def words(self, name: str, words: Sequence[str], what: str) -> str:
        """A constant array of strings; its name, NULL for an empty one."""
        if not words:
            return "NULL"
        items = lines([string(word, what) for word in words])
        return kept_once(self.tables, name, f"static const char *const NAME[{len(words)}] = {{\n{items}\n}};")

    def function(self, name: str, text: str) -> str:
        """Have a function called NAME in its text; its name."""
        return kept_once(self.bodies, name, text.strip("\n"))

    def definitions(self) -> list[str]:
        """All tables, functions that are needed, and functions that need them."""
        named = [
            [text.replace("NAME", name, 1) for name, text in texts.items()] for texts in (self.tables, self.bodies)
        ]
        return [*named[0], *self.functions.values(), *named[1]]

    def need(self, name: str, text: str) -> None:
        """Have a function in the file, once."""
        self.functions.setdefault(name, text.strip("\n"))
