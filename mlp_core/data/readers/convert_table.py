"""From tables of text, JSON Lines or Parquet to a folder that training reads from the disk, in bounded memory."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mlp_core.atomic_files import write_atomically
from mlp_core.data.readers.by_blocks import settled
from mlp_core.data.readers.converted_table import FORMAT, TABLE, VALUES, is_folder, read_folder, text_of
from mlp_core.data.readers.format import Blocks, ReadOptions
from mlp_core.data.readers.formats import format_of
from mlp_core.data.readers.npy_writer import Growing
from mlp_core.data.readers.open_file import refusal, shown
from mlp_core.data.readers.publish_folder import check_place, hidden, put, restore
from mlp_core.data.readers.table import Table, of_all
from mlp_core.data.readers.table_builder import Builder
from mlp_core.errors import DataError, Failed, Problem

Unread: TypeAlias = Callable[[Table], Sequence[str]]

ARRAYS = "save arrays as .npy files (numpy.save): data.train: {x: X.npy, y: y.npy} is read from the disk as it is"
MOST_WORDS = 4_000_000


@dataclass(frozen=True)
class Converted:
    """What was written: the folder, rows and columns, bytes of a cell, and what is to be said."""

    folder: Path
    rows: int
    names: tuple[str, ...]
    dtype: str
    bytes: int
    notes: tuple[str, ...]


def convert(
    paths: Sequence[Path],
    options: ReadOptions,
    folder: Path,
    names: Sequence[str] = (),
    force: bool = False,
    needed: Sequence[str] = (),
    drop: Collection[int | str] = (),
    unread: Unread | None = None,
) -> Converted:
    """Write the table in `paths` (several: one after another) to a new `folder`, which appears when it is complete.

    names: columns that a header should contain. needed: columns that must be there. drop: columns that are left
    out, by name or position. unread: which columns of the table have to be read once more, as text. A converted table
    that is there is replaced if `force`. Raises DataError for what cannot
    be read, UsageError for a folder that is there, Failed when the disk does not take it; then nothing is left of it.
    """
    place = Path(os.path.abspath(folder))  # noqa: PTH100
    try:
        restore(place.parent, place.name)
        check_place(folder, paths, force)
        place.parent.mkdir(parents=True, exist_ok=True)
        with hidden(place) as temporary:
            done = _written(paths, options, names, temporary, needed, drop, unread)
            if options.progress is not None:
                options.progress(paths[-1], done.rows)  # which may raise, for the last time
            put(temporary, place, force)
    except OSError as error:
        reason = error.strerror or str(error)
        problem = Problem(
            "not_written", f"cannot be written: {reason}", "make room, or choose another -o", file=shown(folder)
        )
        raise Failed(problem) from None
    return replace(done, folder=folder)


def _written(
    paths: Sequence[Path],
    options: ReadOptions,
    names: Sequence[str],
    folder: Path,
    needed: Sequence[str],
    drop: Collection[int | str],
    unread: Unread | None,
) -> Converted:
    """The table written to a folder of its own, read again as long as columns turn out to hold text."""
    table = _Table(folder, needed, drop)
    try:
        for path in paths:
            if is_folder(path):
                hint = "name it in data.train as it is"
                raise refusal(path, "converted", "this is a converted table already", hint=hint)
            kind = format_of(path, options)
            if kind.blocks is None:
                message = f"{kind.name} is not converted, only CSV, TSV, JSON Lines and Parquet"
                raise refusal(path, "not_a_table", message, hint=ARRAYS)
            table.add(path, kind.blocks, options, names)
        texts = [{facts.names[column] for column in facts.words} for facts in table.facts]  # those left out, too
        found = set(options.text).union(*texts)
        if all(found & set(table.every) <= mine for mine in texts):
            done = table.finish()
            further = set() if unread is None else {*unread(_again(folder))} - found
            if not further:
                return done
            found |= further
    finally:
        table.close()
    (folder / VALUES).unlink()
    return _written(paths, replace(options, text=tuple(sorted(found))), names, folder, needed, drop, unread)


def _again(folder: Path) -> Table:
    """The table that was just written. Raises Failed where it cannot be read, which is no fault of the input."""
    try:
        return read_folder(folder, on_disk=True)
    except DataError as error:
        raise Failed(*error.problems) from None


class _Table:
    """The converted table so far."""

    def __init__(self, folder: Path, needed: Sequence[str], drop: Collection[int | str]) -> None:
        self.folder, self.needed, self.drop = folder, needed, drop
        self.every = self.names = tuple[str, ...]()
        self.places: dict[int, int] = {}
        self.file: Growing | None = None
        self.words: dict[int, dict[str, int]] = {}
        self.odd: dict[int, dict[int, str]] = {}
        self.gaps: Any = 0
        self.facts: list[Table] = []
        self.pieces: list[dict[str, Any]] = []
        self._lookups: dict[int, list[float]] = {}  # the codes here of those in the file that is read
        self._kept: tuple[int, dict[int, int], Any] = (0, {}, 0)

    def add(self, path: Path, blocks: Blocks, options: ReadOptions, names: Sequence[str]) -> None:
        """Take all rows of one more file."""
        rows, self._lookups = 0 if self.file is None else self.file.rows, {}
        self._kept = (rows, {column: len(words) for column, words in self.words.items()}, self.gaps)
        facts = settled(blocks, path, options, names, self._take, self._forget)
        assert self.file is not None
        for place, cells in facts.odd.items():
            if (column := self.every.index(facts.names[place])) in self.places:
                odd = self.odd.setdefault(self.places[column], {})
                odd.update({row + rows: cell for row, cell in cells.items()})
        lines = facts.pieces[0].lines
        self.pieces.append({"path": str(path.absolute()), "first": rows, "rows": lines.rows, "lines": lines.lines})
        self.facts.append(facts)

    def _forget(self) -> None:
        """Drop the rows of a file that is read again."""
        rows, sizes, self.gaps = self._kept
        if self.file is not None:
            self.file.rows = rows
        self._lookups = {}
        self.words = {column: dict(islice(self.words[column].items(), size)) for column, size in sizes.items()}

    def _take(self, builder: Builder) -> int:
        """Take the rows that a builder holds; how many there are now."""
        names, block, codes = builder.names, builder.drain(), builder.codes
        if self.file is None:
            self.file = self._begin(builder.path, names)
        if names != self.every and sorted(names) == sorted(self.every):
            codes = {self.every.index(names[column]): words for column, words in codes.items()}
            block = block[:, [names.index(name) for name in self.every]]
        elif names != self.every:
            message, hint = f"other columns than {self.pieces[0]['path']}", "give files with equal columns"
            raise refusal(builder.path, "columns_differ", message, hint=hint)
        for column, words in codes.items():
            if column not in self.places:
                words.clear()  # nobody will ask for them
                continue
            lookup, known = self._lookups.setdefault(column, []), self.words.setdefault(self.places[column], {})
            lookup += [float(known.setdefault(word, len(known))) for word in islice(words, len(lookup), None)]
            present = ~np.isnan(block[:, column])
            block[present, column] = np.array(lookup)[block[present, column].astype(np.int64)] if lookup else np.nan
        self._check_words(builder.path)
        block = block if len(self.names) == len(names) else block[:, list(self.places)]
        self.gaps = self.gaps + np.isnan(block).sum(axis=0)
        self.file.add(block)
        return self.file.rows

    def _begin(self, path: Path, names: tuple[str, ...]) -> Growing:
        """Begin with the columns of the first file."""
        drop = {one if isinstance(one, str) else names[one] for one in self.drop if one in (*names, *range(len(names)))}
        if unknown := [str(one) for one in (*self.needed, *self.drop) if one not in (*names, *range(len(names)))]:
            close = difflib.get_close_matches(unknown[0], names, 1)
            hint = f'did you mean "{close[0]}"?' if close else "columns are " + ", ".join(names[:12])
            raise refusal(path, "unknown_column", f'no column "{unknown[0]}" in the data', hint=hint)
        kept = [column for column, name in enumerate(names) if name not in drop]
        if not kept:
            raise refusal(path, "no_columns", "no columns are left", hint="drop fewer")
        self.every, self.names = names, tuple(names[column] for column in kept)
        self.places = {column: place for place, column in enumerate(kept)}
        return Growing(self.folder / VALUES, len(kept))

    def _check_words(self, path: Path) -> None:
        """Refuse more words than memory should hold."""
        if sum(map(len, self.words.values())) > MOST_WORDS:
            place = max(self.words, key=lambda column: len(self.words[column]))
            message = f'column "{self.names[place]}" holds {len(self.words[place]):,} different words, and goes on'
            hint = f"names of rows teach nothing: leave it out with data.drop=[{self.names[place]}]"
            raise refusal(path, "too_many_words", message, hint=hint)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()

    def finish(self) -> Converted:
        """Write the header of the array, and all that is not numbers beside it."""
        assert self.file is not None
        first, file, sha = self.facts[0], self.file, self.file.finish()
        notes = first.notes if len(self.facts) == 1 else of_all(first.notes, file.rows, len(self.facts))
        document = {
            "format": FORMAT,
            "rows": file.rows,
            "names": list(self.names),
            "words": {str(column): list(words) for column, words in sorted(self.words.items())},
            "odd": {str(column): {str(row): cell for row, cell in cells.items()} for column, cells in self.odd.items()},
            "gaps": self.gaps.tolist(),
            "pieces": self.pieces,
            "header": first.header,
            "keyed": first.keyed,
            "notes": list(notes),
            "dialect": None if first.dialect is None else asdict(first.dialect),
            "sha256": sha,
        }
        write_atomically(self.folder / TABLE, (text_of(document) + "\n").encode())
        size = (self.folder / VALUES).stat().st_size
        return Converted(self.folder, file.rows, self.names, file.dtype.name, size, notes)
