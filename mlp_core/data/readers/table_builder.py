"""A table as it grows: chunks of lines made into numbers, codes of words, and cells that are neither.

A chunk of clean numbers (of a large file, of words too) is converted in one piece; when that fails, it is read again
cell by cell, which is where text, missing values and errors are sorted out.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlp_core.data.readers.csv_dialect import CsvOptions, Dialect, number, records
from mlp_core.data.readers.memory import check_memory, free_memory
from mlp_core.data.readers.open_file import STDIN, refusal
from mlp_core.data.readers.table import Floats, Lines, Piece, Table

if TYPE_CHECKING:
    from mlp_core.data.readers.blocks import Parsed, Parser

TEXT_SHARE = 0.1  # a column with more odd cells than this holds text
ODD_KEPT = 20
CHUNK_ROWS = 4096
COMPILED_SIZE = 2 << 20
"""Bytes of a file from which the compiled parser gains more time than it takes to load."""

COMPILING_SIZE = 64 << 20
"""Bytes of a file from which it is compiled, where that was never done on this machine. That takes as long as reading
words of this size without it, or twice as long as reading numbers, which the next reading makes up for."""


Drain: TypeAlias = Generator[tuple[tuple[str, ...], Floats, Mapping[int, dict[str, int]]], None, Table]
"""A table in blocks: (names, rows [b, columns], the codes of the words so far), and at the end all but its rows."""

Submit: TypeAlias = Callable[..., "Future[Any]"]
"""Calls a function with its arguments, now or in another thread."""


@dataclass(frozen=True)
class Block:
    """Lines on their way through a parser: their UTF-8, who parses them, and what comes of it."""

    lines: bytes
    parser: Parser | None = None
    parsed: Future[Parsed | None] | None = None


class Reread(Exception):
    """Columns that looked like numbers at first turned out to hold text."""

    def __init__(self, columns: set[int], names: Sequence[str]) -> None:
        self.columns, self.names = columns, {names[column] for column in columns}


class Builder:
    """The table so far: one growing matrix, the vocabularies, and the cells that are not numbers."""

    def __init__(
        self,
        path: Path,
        options: CsvOptions,
        names: tuple[str, ...],
        text: Collection[int],
        final: bool,
    ) -> None:
        self.path, self.options, self.names, self.final = path, options, names, final
        self.values: Floats = np.empty((0, len(names)))
        self.rows = self.given = 0
        self.codes: dict[int, dict[str, int]] = {column: {} for column in text if column < len(names)}
        self.odd: dict[int, dict[int, str]] = {}
        self.odd_count: dict[int, int] = {}
        self.missing: dict[int, int] = {}
        self.lines = Lines()
        self.na = frozenset(options.na)
        # markers such as -999 look like numbers, so every cell must be compared with them
        self.bulk = options.decimal == "." and all(number(marker) is None for marker in self.na)
        self.compiled = _compiled(path) if self.bulk else None
        self.size = path.stat().st_size if self.compiled is not None else 0
        self.parsed = self.parsed_size = 0  # rows and bytes of the blocks so far
        self.foreseen = False
        self.parsers: list[Parser] = []  # the idle ones

    def add_plain(self, chunk: list[str], dialect: Dialect, line: int) -> bool:
        """Take a chunk of plain cells, one row per line; False when it is anything else."""
        if not self.bulk or not chunk[-1].strip():
            return False
        text = "".join(chunk)
        if self.compiled is not None:
            try:
                lines = text.encode("utf-8")
            except UnicodeEncodeError:
                return False
            return self.end_block(self.begin_block(lines, dialect, _at_once), line, len(chunk)) > 0
        quoted = dialect.quote is not None and dialect.quote in text
        if self.codes or quoted or not _plain(text):
            return False
        delimiter = None if dialect.delimiter == " " else dialect.delimiter
        try:
            block = np.loadtxt(chunk, delimiter=delimiter, comments=None, ndmin=2)
        except ValueError:
            return False
        if block.shape != (len(chunk), len(self.names)) or not np.isfinite(block).all():
            return False
        self._take(block, line)
        return True

    @property
    def takes_blocks(self) -> bool:
        """Whether the columns are told apart, and the parser of blocks is there."""
        return self.compiled is not None and self.rows > 0

    def begin_block(self, lines: bytes, dialect: Dialect, submit: Submit) -> Block:
        """Begin to parse lines, in another thread if `submit` says so."""
        if self.compiled is None or not dialect.splits_bytes:
            return Block(lines)
        parser = self.parsers.pop() if self.parsers else self.compiled(len(self.names), self.codes, self.na)
        return Block(lines, parser, submit(parser.parse, lines, dialect.delimiter, dialect.quote))

    def end_block(self, block: Block, line: int, most: int) -> int:
        """Take a block's lines, the first of them number `line`: the count of rows, or 0 where a cell is not plain or
        they are more than `most`.

        Blocks are taken in the order of the file.
        """
        if block.parser is None or block.parsed is None or (parsed := block.parsed.result()) is None:
            return 0
        values, missing = parsed
        if len(values) > most:
            return 0
        for column in np.flatnonzero(missing).tolist():
            self.missing[column] = self.missing.get(column, 0) + int(missing[column])
        codes = block.parser.codes
        if new := [self._code(column, word) for column, word in block.parser.since(len(codes))]:
            codes = block.parser.codes = np.append(codes, new)
        for column in self.codes:
            values[:, column] = codes[values[:, column].astype(np.intp)]
        self.parsers.append(block.parser)
        self.parsed, self.parsed_size = self.parsed + len(values), self.parsed_size + len(block.lines)
        self._take(values, line)
        return len(values)

    def _take(self, block: Floats, line: int) -> None:
        self._reserve(len(block))
        self.values[self.rows - self.given : self.rows - self.given + len(block)] = block
        self.lines.add(self.rows, line)
        self.rows += len(block)

    def add_cells(self, chunk: list[str], lines: Iterator[str], dialect: Dialect, line: int) -> int:
        """Take a chunk cell by cell, with the further lines its last quoted cell may need; the count of lines."""
        rows: list[list[str]] = []
        taken = 0
        try:
            for row, count in records(chain(chunk, lines), dialect):
                if row and (len(row) > 1 or row[0] or len(self.names) == 1):
                    if len(row) != len(self.names):
                        raise self._ragged(row, line + taken, dialect)
                    self.lines.add(self.rows + len(rows), line + taken)
                    rows.append(row)
                taken = count
                if count >= len(chunk):
                    break
        except csv.Error as error:
            raise refusal(
                self.path,
                "broken_quotes",
                f"broken quoting ({error})",
                hint="mend the row, or set data.csv.quote",
                line=line + taken,
            ) from None
        if rows:
            self._add(rows)
        return taken

    def add_rows(self, rows: list[list[str]], lines: Sequence[int]) -> None:
        """Take rows that are cut into cells already, each with the line it starts on."""
        for row, line in enumerate(lines, self.rows):
            self.lines.add(row, line)
        self._add(rows)

    def _add(self, rows: list[list[str]]) -> None:
        self._reserve(len(rows))
        self._convert(rows)
        self.rows += len(rows)

    def table(self, note: str, header: int, keyed: bool = False) -> Table:
        """The table of what was added; `header` is the line of the names, 0 for none."""
        self.values.resize((self.rows, len(self.names)), refcheck=False)
        words = {column: list(codes) for column, codes in self.codes.items()}
        lines = (Piece(self.path, 0, self.lines),)
        return Table(self.names, self.values, words, self.odd, lines, header, (note,), keyed)

    def facts(self, note: str, header: int, keyed: bool = False) -> Table:
        """The table without its rows, after `drain` gave them away."""
        self.given, self.rows, rows = 0, 0, self.rows
        facts = self.table(note, header, keyed)
        self.rows = self.given = rows
        return facts

    def clear(self) -> None:
        """Forget the rows, after `table` gave them away, and go on with new ones."""
        self.values, self.rows, self.given, self.lines = np.empty((0, len(self.names))), 0, 0, Lines()
        self.codes = {column: {} for column in self.codes}
        self.odd, self.odd_count, self.missing = {}, {}, {}
        self.parsers = []

    def drain(self) -> Floats:
        """Give away the rows that are held, [rows, columns], and go on as if they were still there."""
        block, self.values = self.values[: self.rows - self.given], np.empty((0, len(self.names)))
        self.given = self.rows
        return block

    def foresee(self) -> None:
        """Room at once for every row that the file will reach, for a table that is kept whole.

        Memory taken in one piece comes in large pages where the system has them; untouched, it costs nothing.
        """
        if self.foreseen or not self.parsed:
            return
        self.foreseen = True
        room, held = self._reach, self.rows - self.given
        free = free_memory()
        if room > len(self.values) and free is not None and room * len(self.names) * 8 < free // 2:
            try:
                values = np.empty((room, len(self.names)))
            except MemoryError:  # then as far as it goes
                return
            values[:held] = self.values[:held]
            self.values = values

    @property
    def _reach(self) -> int:
        """The count of rows that the file will reach, by the length of its lines so far."""
        return CHUNK_ROWS + int(1.01 * self.size / self.parsed_size * self.parsed)

    def _reserve(self, count: int) -> None:
        """Room for more rows. Growing in place moves pages, not bytes, and untouched pages cost nothing."""
        held = self.rows - self.given
        if held + count > len(self.values):
            check_memory(self.path, (held + count) * len(self.names) * 8)
            room = int(1.5 * len(self.values))
            if self.parsed:
                room = min(room, self._reach)
            room = max(held + count, room)
            self.values.resize((room, len(self.names)), refcheck=False)

    def _convert(self, rows: list[list[str]]) -> None:
        span = slice(self.rows - self.given, self.rows - self.given + len(rows))
        late: set[int] = set()
        for column, cells in enumerate(zip(*rows, strict=True)):
            if column not in self.codes:
                self.values[span, column] = self._numbers(column, cells)
                if self._is_text(column, len(rows)):
                    if self.rows and not self.final:
                        late.add(column)
                    elif not self.rows:
                        self.codes[column], self.parsers = {}, []
                        self.odd.pop(column)
            if column in self.codes:
                self.values[span, column] = self._codes(column, cells)
        if late:
            raise Reread(late, self.names)

    def _is_text(self, column: int, count: int) -> bool:
        present = self.rows + count - self.missing.get(column, 0)
        return self.odd_count.get(column, 0) > TEXT_SHARE * present

    def _numbers(self, column: int, cells: Sequence[str]) -> Floats:
        """The cells as numbers; missing and odd ones are NaN and counted."""
        if self.bulk and _plain("".join(cells)):
            present = [cell not in self.na for cell in cells]
            try:
                values = np.array([float(cell) if there else nan for cell, there in zip(cells, present, strict=True)])
            except ValueError:
                pass
            else:
                count = sum(present)
                if np.isfinite(values).sum() == count:
                    self.missing[column] = self.missing.get(column, 0) + len(cells) - count
                    return values
        values = np.empty(len(cells))
        for index, cell in enumerate(cells):
            values[index] = self._number(column, self.rows + index, cell)
        return values

    def _number(self, column: int, row: int, cell: str) -> float:
        if cell.strip() in self.na:
            self.missing[column] = self.missing.get(column, 0) + 1
            return nan
        value = number(cell, self.options.decimal)
        if value is not None and isfinite(value):
            return value
        self.odd_count[column] = self.odd_count.get(column, 0) + 1
        kept = self.odd.setdefault(column, {})
        if len(kept) < ODD_KEPT:
            kept[row] = cell
        return nan

    def _codes(self, column: int, cells: Sequence[str]) -> Floats:
        """The cells as codes of their words; missing ones are NaN."""
        lookup = {cell: self._code(column, cell) for cell in dict.fromkeys(cells)}
        return np.fromiter(map(lookup.__getitem__, cells), np.float64, len(cells))

    def _code(self, column: int, cell: str) -> float:
        codes, word = self.codes[column], cell.strip()
        return nan if word in self.na else float(codes.setdefault(word, len(codes)))

    def _ragged(self, row: Sequence[str], line: int, dialect: Dialect) -> Exception:
        message = f"{len(row)} cells, expected {len(self.names)} as in the first row"
        hint = f'mend the row, or set data.csv.delimiter (now "{dialect.delimiter}")'
        if len(self.names) == 1 and self.rows == 0:
            hint = "if the first line is no data, set data.csv.comment to its first character"
        column = min(len(row), len(self.names)) + 1
        return refusal(self.path, "ragged_row", message, hint=hint.replace("\t", "tab"), line=line, column=column)


def _compiled(path: Path) -> type[Parser] | None:
    """The compiled parser, where it can be had and the file is large enough to repay the time that takes."""
    if path == STDIN or (size := path.stat().st_size) < COMPILED_SIZE:
        return None
    from mlp_core.backends.cpu.machine_code import CannotCompile, machine_code
    from mlp_core.data.readers.blocks import FUNCTIONS, Parser

    code = machine_code()
    if size < COMPILING_SIZE and not code.has(FUNCTIONS):
        return None
    try:
        code.functions(FUNCTIONS)
    except CannotCompile:
        return None
    return Parser


def _at_once(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    done: Future[Any] = Future()
    done.set_result(function(*arguments))
    return done


def _plain(text: str) -> bool:
    return text.isascii() and "_" not in text
