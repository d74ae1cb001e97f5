"""Tables read block by block, in each of three ways: whole, in parts of bounded size, or each block given away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from mlp_core.data.readers.format import Format, ReadOptions
from mlp_core.data.readers.table import Table
from mlp_core.data.readers.table_builder import Builder, Drain, Reread

ATTEMPTS = 4  # readings of a table whose columns turn out to hold text
PART = 65_536  # rows


@dataclass(frozen=True)
class Asked:
    """What is read: the file at a path, and how.

    names: columns that a header line should contain. is_text: whether a column holds words, by its name; another one of
    which a later cell shows it stays a column of numbers if this is `final`. whole: whether all rows are to be held at
    once. part: how many make a part, where the table is read in parts, which may be none.
    """

    path: Path
    options: ReadOptions
    names: Sequence[str]
    is_text: Callable[[str], bool]
    final: bool = True
    whole: bool = False
    part: int | None = None


Blocks: TypeAlias = Callable[[Asked], Iterator[Builder]]
"""All that a format has to know: one builder again and again, each time with some more rows. Raises DataError where
there are none, and Reread."""


def table_format(
    name: str, told: Callable[[bytes, str], bool], blocks: Blocks, part: int = PART, piped: bool = True
) -> Format:
    """The format of tables that are read by these blocks; name, told, piped: as in `Format`. part: as in `Asked`."""
    ways = (partial(_whole, blocks), partial(_in_parts, blocks, part), partial(_drained, blocks))
    return Format(name, told, *ways, piped=piped)


def _whole(blocks: Blocks, path: Path, options: ReadOptions, names: Sequence[str]) -> Table:
    """The table; read anew, with further columns of words, as long as some turn out to hold text."""
    text = set(options.text)
    for attempt in range(ATTEMPTS):
        asked = Asked(path, options, names, text.__contains__, attempt == ATTEMPTS - 1, whole=True)
        try:
            for builder in blocks(asked):
                if options.progress is not None:
                    options.progress(path, builder.rows)
        except Reread as reread:
            text |= reread.names
        else:
            return builder.table()
    raise AssertionError("the last attempt does not ask for another")


def _in_parts(
    blocks: Blocks, part: int, path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]
) -> Iterator[Table]:
    """The same as tables of so many rows (the last one: fewer), whatever parses them: what is computed part by part
    must not depend on that. All columns but `numbers` are words, whatever they look like."""
    builder: Builder | None = None
    for builder in blocks(Asked(path, options, names, lambda name: name not in numbers, part=part)):
        if builder.rows >= part:
            yield builder.table()
            builder.clear()
    if builder is not None and builder.rows:
        yield builder.table()


def _drained(
    blocks: Blocks, path: Path, options: ReadOptions, names: Sequence[str], words: Collection[str], final: bool
) -> Drain:
    """The same, each block as it comes. Raises Reread where a column turns out to hold text, unless `final`."""
    for builder in blocks(Asked(path, options, names, words.__contains__, final)):
        yield builder.names, builder.drain(), builder.codes
    return builder.table()
