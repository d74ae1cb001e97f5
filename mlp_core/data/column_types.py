"""What the columns of a source hold: numbers, categories, yes or no, dates, times, or nothing that can be learned from.

The contract for everything that looks at data: `infer_types(source, types)` gives one `Column` for every column of the
source, targets included, in order, and how its numbers are written; it is quick (no sorting of numbers).
`profile(source, column)` adds what a person wants to see: distinct values, examples, range.

    table = read(path, ReadOptions())
    for column in infer_types(table, config.data.types):
        print(column.name, column.kind, column.why, column.missing)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np

from mlp_core.data.dates import are_compact, is_open
from mlp_core.data.notation import Notation, find, markers, mostly_dates
from mlp_core.data.readers.csv_options import number as plain_number
from mlp_core.data.readers.source import Source, on_disk
from mlp_core.data.readers.table import number_name
from mlp_core.errors import clean

ColumnKind: TypeAlias = Literal["numeric", "categorical", "boolean", "ignore", "date", "time"]
TRUTHS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "y": 1.0, "n": 0.0, "t": 1.0, "f": 0.0, "1": 1.0, "0": 0.0}
_PAIRS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
IDENTIFIER_SHARE = 0.9  # text with more distinct values per present cell names rows, it does not describe them
IDENTIFIER_ROWS = 20  # in fewer rows that says nothing
LOOKED_AT = 1000  # rows in which notations are looked for


@dataclass(frozen=True)
class Column:
    """One column of a source.

    kind: numeric and boolean columns become numbers, dates and times too, categorical ones categories, `ignore` is left
    out. why: the reason in a few words. missing: cells without a value. distinct: words of a text column; None for
    numbers (see `profile`). notation: how numbers, dates and times are written, where that is not plain.
    """

    name: str
    kind: ColumnKind
    why: str
    missing: int
    distinct: int | None = None
    notation: Notation | None = None


@dataclass(frozen=True)
class Profile:
    """What a person wants to know of one column. examples: the most frequent values as text, the commonest first.

    low, mean, high: of the present numbers, None for text. top: rows that have the commonest value.
    """

    distinct: int
    examples: tuple[str, ...]
    top: int
    low: float | None = None
    mean: float | None = None
    high: float | None = None


def infer_types(source: Source, types: Mapping[str, str] | None = None, order: str = "auto") -> list[Column]:
    """What every column of a source holds; `types` maps names to kinds that are set, not inferred (data.types), `order`
    is that of dates (data.date_order).

    A column of numbers is numeric. A text column is numeric when all its words are numbers in one notation, a date when
    most are dates, a time when all are, boolean when its words are true and false, yes and no, y and n or t and f in
    any case; to be ignored when it is empty or nearly every cell holds another word (a name, an identifier, prose);
    else categorical.
    """
    types = types or {}
    if source.targets is not None and not types:
        return [Column(name, "numeric", "an array", 0) for name in source.names]
    decimal = "." if source.dialect is None else source.dialect.decimal
    order = "" if order == "auto" else order
    return [_column(source, place, types.get(name), decimal, order) for place, name in enumerate(source.names)]


def _column(source: Source, place: int, wish: str | None, decimal: str, order: str) -> Column:
    name = source.names[place]
    gaps = source.missing(place)
    words = source.words.get(place)
    kind = None if wish is None else cast(ColumnKind, wish)
    if words is None:
        odd = source.odd.get(place, {})
        missing = markers(odd.values()) if odd else None
        notation = None if missing is None else Notation(missing=missing)
        gaps -= len(odd) if missing is None else 0
        return Column(name, kind or "numeric", _why(wish, "numbers"), gaps, None, notation)
    notation = None if kind in ("categorical", "boolean", "ignore") else find(words, decimal, order)
    if notation is None and kind in (None, "date"):
        notation = mostly_dates(words, order)
    if notation is not None and kind is not None and notation.way not in _WAYS.get(kind, ()):
        notation = None
    if notation is not None:
        kind = kind or next(known for known, ways in _WAYS.items() if notation.way in ways)
        gaps += sum(_rows_of(source, place, words, notation.missing)) if notation.missing else 0
        return Column(name, kind or "numeric", _why(wish, _shown(words, notation)), gaps, len(words), notation)
    if kind is not None:
        return Column(name, kind, "as data.types says", gaps, len(words))
    kind, why = _text_kind(words, source.rows - gaps)
    return Column(name, kind, why, gaps, len(words))


_WAYS: Mapping[ColumnKind, tuple[str, ...]] = {"numeric": ("number", "duration"), "date": ("date",), "time": ("time",)}


def _why(wish: str | None, why: str) -> str:
    return why if wish is None else "as data.types says"


def _rows_of(source: Source, place: int, words: Sequence[str], some: Sequence[str]) -> list[int]:
    """In how many rows each of some of the words of a column stands."""
    values = source.matrix([place])[:, 0]
    return [int((values == words.index(word)).sum()) for word in some]


def _shown(words: Sequence[str], notation: Notation) -> str:
    """An example of how the words of a column are read."""
    usual = next((word for word in words if word not in notation.missing and not word.isdigit()), words[0])
    if notation.way == "date":
        first = {"dmy": "day first", "mdy": "month first"}.get(notation.order, "year first")
        return f'dates such as "{usual}"' + (f", taken with the {first}" if is_open(words[:1000]) else "")
    if notation.way == "time":
        return f'times such as "{usual}"'
    if notation.way == "duration":
        return f'"{usual}" is {notation.number(usual) or 0:.4g} hours'
    usual = next((w for w in words if w not in notation.missing and plain_number(w, notation.decimal) is None), usual)
    value, bare = notation.number(usual), plain_number(usual, notation.decimal)
    unlike = bare is None or not notation.plain
    return f'"{usual}" is {number_name(value)}' if value is not None and unlike else "numbers"


def _text_kind(words: Sequence[str], present: int) -> tuple[ColumnKind, str]:
    """The kind of a text column by its vocabulary and the count of its cells that are not missing."""
    if not words:
        return "ignore", "no values"
    if len(words) <= 4 and any({word.casefold() for word in words} <= pair for pair in _PAIRS):
        return "boolean", " and ".join(words)
    if present >= IDENTIFIER_ROWS and len(words) > IDENTIFIER_SHARE * present:
        told = f'{len(words):,} different words in {present:,} cells, such as "{clean(words[0], 20)}"'
        return "ignore", f"{told}, like names or identifiers"
    return "categorical", f"{len(words):,} different words"


def unread(source: Source) -> list[str]:
    """The columns of numbers that only the text tells: with cells in another notation, and dates such as 20240131."""
    found = compact_dates(source)
    head = np.asarray(source.cells[:LOOKED_AT], np.float64)
    for place, cells in source.odd.items():
        texts = list(dict.fromkeys(cell.strip() for cell in cells.values()))
        if place not in source.words and markers(cells.values()) is None:
            values = head[:, place]
            plain = [number_name(float(value)) for value in values[~np.isnan(values)][:50]]
            rest = [text for text in texts if any(sign.isdigit() for sign in text)]
            if len(texts) - len(rest) <= 1 and rest and find([*rest, *plain]) is not None:
                found.append(source.names[place])
    return found


def compact_dates(source: Source) -> list[str]:
    """The columns of numbers whose first ones are dates such as 20240131 or 10.2024."""
    head = source.cells[:LOOKED_AT]
    if head.dtype.itemsize < 4:  # bytes are no dates
        return []
    places = (place for place in range(head.shape[1]) if place not in source.words)
    return [source.names[place] for place in places if are_compact(head[:, place].tolist())]


def is_empty(source: Source, column: int) -> bool:
    """Whether a column has no value at all. Of arrays on the disk that is not known, and none is taken for empty."""
    if on_disk(source):
        return source.targets is None and source.missing(column) == source.rows
    values = source.cells[:, column]
    return bool(np.isnan(values[0]) and np.isnan(values).all())  # the first cell says no for nearly all columns


def profile(source: Source, place: int, examples: int = 5) -> Profile:
    """Distinct values, the commonest of them and the range of one column. Sorts the column once."""
    values = np.asarray(source.matrix([place])[:, 0], np.float64)
    values = values[~np.isnan(values)]
    distinct, counts = np.unique(values, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:examples]
    words = source.words.get(place)
    shown = [words[int(distinct[at])] if words is not None else number_name(float(distinct[at])) for at in common]
    top = int(counts.max()) if len(counts) else 0
    if words is not None or not len(values):
        return Profile(len(distinct), tuple(shown), top)
    low, mean, high = float(distinct[0]), float(values.mean()), float(distinct[-1])
    return Profile(len(distinct), tuple(shown), top, low, mean, high)


def truth(word: str) -> float:
    """1 or 0 for a word that means true or false, NaN for any other."""
    word = word.strip().casefold()
    return TRUTHS.get({"1.0": "1", "0.0": "0"}.get(word, word), float("nan"))


def are_truths(words: Sequence[str]) -> bool:
    """Whether all words of a column are those of yes and no, of one kind.

    >>> are_truths(["True", "false"]), are_truths(["yes", "maybe"])
    (True, False)
    """
    return bool(words) and any({word.strip().casefold() for word in words} <= pair for pair in _PAIRS)
