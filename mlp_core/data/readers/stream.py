"""A source in parts, so that what is larger than memory can be predicted: text tables, JSON Lines, Parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mlp_core.data.readers.converted_table import checked_blocks, is_folder, read_folder
from mlp_core.data.readers.csv import WANTED
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import format_of
from mlp_core.data.readers.live import is_live, stream_live
from mlp_core.data.readers.open_file import STDIN, refusal
from mlp_core.data.readers.source import Source


def stream(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Source]:
    """The source at `path`, or on standard input for `-`, in parts of bounded size; only packed arrays in one part.

    names: columns that a header line should contain. numbers: the columns of numbers; all others are words. Arrays
    may come without targets. Raises DataError.
    """
    if is_folder(path):
        table = read_folder(path, on_disk=True)
        for start, stored in checked_blocks(table):
            yield table.part(start, table.values.made(stored))
        return
    kind = format_of(path, options)
    if path == STDIN and not kind.piped:
        message, hint = f"standard input holds {kind.name}, not {WANTED}", "write it to a file first"
        raise refusal(path, "not_a_table", message, hint=hint)
    if path == STDIN and is_live(options.csv):
        yield from stream_live(kind.name, options, names, numbers)
    else:
        yield from kind.parts(path, options, names, numbers)
