"""What the columns of a source hold: numbers, categories, yes or no, dates, or nothing that can be learned from.

The contract for everything that looks at data: `infer_types(source, types)` gives one `Column` for every column of the
source, targets included, in order; it is quick (no sorting of numbers). `profile(source, column)` adds what a person
wants to see: distinct values, examples, range.

    table = read(path, ReadOptions())
    for column in infer_types(table, config.data.types):
        print(column.name, column.kind, column.why, column.missing)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.arrays import Arrays
from mlp_core.data.readers.formats import Source
from mlp_core.data.readers.table import number_name

ColumnKind: TypeAlias = Literal["numeric", "categorical", "boolean", "ignore", "date"]
TRUTHS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "y": 1.0, "n": 0.0, "t": 1.0, "f": 0.0, "1": 1.0, "0": 0.0}
_PAIRS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))"
    r"([T ]+\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[AaPp][Mm]|[-+]\d{2}:?\d{2})?)?",
    re.ASCII,
)
IDENTIFIER_SHARE = (
    0.9  # text with more distinct values per present cell than this names rows, it does not describe them
)
IDENTIFIER_ROWS = 20  # in fewer rows that says nothing
SAMPLE = 1000


@dataclass(frozen=True)
class Column:
    """One column of a source.

    kind: numeric and boolean columns become numbers, categorical ones categories, `ignore` is left out, `date` is
    refused as an input unless data.types or data.drop says otherwise. why: the reason in a few words.
    missing: cells without a value. distinct: words of a text column; None for numbers (see `profile`).
    """

    name: str
    kind: ColumnKind
    why: str
    missing: int
    distinct: int | None = None


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


def infer_types(source: Source, types: Mapping[str, str] | None = None) -> list[Column]:
    """What every column of a source holds; `types` maps names to kinds that are set, not inferred (data.types).

    A column of numbers is numeric. A text column is a date when most of its words are dates, boolean when its words
    are true and false, yes and no, y and n or t and f in any case; to be ignored when it is empty or nearly every cell
    holds another word (a name, an identifier, prose); else categorical.
    """
    types = types or {}
    if isinstance(source, Arrays) and not types:
        return [Column(name, "numeric", "an array", 0) for name in source.names]
    return [_column(source, place, types.get(name)) for place, name in enumerate(source.names)]


def _column(source: Source, place: int, wish: str | None) -> Column:
    name = source.names[place]
    gaps = source.missing(place)
    words = source.words.get(place)
    if words is None:
        missing = gaps - len(source.odd.get(place, ()))
        if wish is not None:
            return Column(name, _kind(wish), "as data.types says", missing)
        return Column(name, "numeric", "numbers", missing)
    distinct, present = len(words), source.rows - gaps
    if wish is not None:
        return Column(name, _kind(wish), "as data.types says", gaps, distinct)
    kind, why = _text_kind(words, present)
    return Column(name, kind, why, gaps, distinct)


def _kind(wish: str) -> ColumnKind:
    kinds: dict[str, ColumnKind] = {
        "numeric": "numeric", "categorical": "categorical", "boolean": "boolean", "ignore": "ignore"
    }  # fmt: skip
    return kinds[wish]


def _text_kind(words: Sequence[str], present: int) -> tuple[ColumnKind, str]:
    """The kind of a text column by its vocabulary and the count of its cells that are not missing."""
    if not words:
        return "ignore", "no values"
    sample = words[:SAMPLE]
    dates = sum(bool(_DATE.fullmatch(word)) for word in sample)
    if 2 * dates > len(sample):
        return "date", f'dates such as "{next(word for word in sample if _DATE.fullmatch(word))}"'
    if len(words) <= 4 and any({word.casefold() for word in words} <= pair for pair in _PAIRS):
        return "boolean", " and ".join(words)
    if present >= IDENTIFIER_ROWS and len(words) > IDENTIFIER_SHARE * present:
        return "ignore", f"{len(words):,} different words in {present:,} cells, like names or identifiers"
    return "categorical", f"{len(words):,} different words"


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
    return Profile(
        len(distinct), tuple(shown), top, float(distinct[0]), float(values.mean()), float(distinct[-1])
    )  # fmt: skip


def truth(word: str) -> float:
    """1 or 0 for a word that means true or false, NaN for any other."""
    return TRUTHS.get(word.strip().casefold(), float("nan"))


def as_words(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], list[str]]:
    """A column of numbers as codes of words (`3` for 3.0), missing ones NaN: for numbers that are names."""
    distinct, codes = np.unique(values, return_inverse=True)
    words = [number_name(float(value)) for value in distinct if not np.isnan(value)]
    coded = codes.reshape(-1).astype(np.float64)
    coded[np.isnan(values)] = np.nan
    return coded, words
