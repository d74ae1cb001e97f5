"""A format of data files: how it is told, and how a file of it is read whole, in parts, and block by block.

A reader ends with the object that says so; `formats` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from mlp_core.data.readers.csv_options import CsvOptions
from mlp_core.data.readers.source import Source
from mlp_core.data.readers.table_builder import Builder

Reading: TypeAlias = Callable[[Path, int], None]
"""Called now and then while a file is read, with its path and the count of rows so far."""

WHITE = b"\xef\xbb\xbf \r\n"
"""What may stand before the first sign of a text file."""


@dataclass(frozen=True)
class ReadOptions:
    """How to read: the format or `auto`, the array names inside npz files, the ways of text tables.

    text: columns that hold words even where these look like numbers. progress: told how many rows are read. memory:
    ram, memmap for arrays that stay on the disk, or auto for those that do where they would take too much memory beside
    the same numbers of `itemsize` bytes. base: the number of the first input in a libsvm file, where it is known.
    """

    format: str = "auto"
    x: str = "x"
    y: str = "y"
    csv: CsvOptions = field(default_factory=CsvOptions)
    text: tuple[str, ...] = ()
    progress: Reading | None = None
    memory: str = "ram"
    itemsize: int = 4
    base: int | None = None


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


@dataclass(frozen=True)
class Format:
    """What there is to know of a format. In all of it, names are columns that a header line should contain.

    told: whether a file is of it, by its first bytes and its name in small letters, both unpacked.
    read: the whole file; (path, options, names).
    parts: the same in parts of bounded size, where it can be cut; (path, options, names, the columns of numbers).
    blocks: those of a table, which can be converted.
    array: the one array in a file; `labels`: integers in it are classes. piped: whether standard input may hold it.
    """

    name: str
    told: Callable[[bytes, str], bool]
    read: Callable[[Path, ReadOptions, Sequence[str]], Source]
    parts: Callable[[Path, ReadOptions, Sequence[str], Collection[str]], Iterator[Source]]
    blocks: Blocks | None = None
    array: Callable[[Path], npt.NDArray[Any]] | None = None
    labels: bool = False
    piped: bool = False
