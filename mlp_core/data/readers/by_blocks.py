"""Tables read block by block, in each of three ways: whole, in parts of bounded size, or each block given away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from mlp_core.data.readers.format import Asked, Blocks, Format, ReadOptions
from mlp_core.data.readers.table import Table
from mlp_core.data.readers.table_builder import Builder, Reread

ATTEMPTS = 4  # readings of a table whose columns turn out to hold text
PART = 65_536  # rows


def table_format(
    name: str, told: Callable[[bytes, str], bool], blocks: Blocks, part: int = PART, piped: bool = True
) -> Format:
    """The format of tables that are read by these blocks; name, told, piped: as in `Format`. part: as in `Asked`."""
    return Format(name, told, partial(_whole, blocks), partial(in_parts, blocks, part), blocks, piped=piped)


def settled(
    blocks: Blocks,
    path: Path,
    options: ReadOptions,
    names: Sequence[str],
    take: Callable[[Builder], int],
    forget: Callable[[], None] = lambda: None,
    whole: bool = False,
) -> Table:
    """The table behind its last block; the builder of each is handed to `take`, which says how many rows there are now.

    Read anew, with further columns of words, as long as some turn out to hold text: `forget` is called before.
    """
    text = set(options.text)
    for attempt in range(ATTEMPTS):
        try:
            for builder in blocks(Asked(path, options, names, text.__contains__, attempt == ATTEMPTS - 1, whole)):
                rows = take(builder)
                if options.progress is not None:
                    options.progress(path, rows)
        except Reread as reread:
            text |= reread.names
            forget()
        else:
            return builder.table()
    raise AssertionError("the last attempt does not ask for another")


def _whole(blocks: Blocks, path: Path, options: ReadOptions, names: Sequence[str]) -> Table:
    return settled(blocks, path, options, names, lambda builder: builder.rows, whole=True)


def in_parts(
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
