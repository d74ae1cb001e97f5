"""One place of data (a file, or a pair of array files), read by whatever reader fits what is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from mlp_core.data.readers.arrays import Arrays, pair
from mlp_core.data.readers.converted_table import is_folder, read_folder, table_size
from mlp_core.data.readers.csv import WANTED, Reading, read_csv
from mlp_core.data.readers.csv_dialect import CsvOptions
from mlp_core.data.readers.idx import looks_like_idx, read_idx
from mlp_core.data.readers.jsonl import read_jsonl
from mlp_core.data.readers.libsvm import read_libsvm
from mlp_core.data.readers.npy import MAGIC, read_npy, read_npz
from mlp_core.data.readers.npy_on_disk import OnDisk, disk_pair, fits
from mlp_core.data.readers.open_file import ENDS, STDIN, ZIP_MAGIC, head, members, open_binary, refusal, shown
from mlp_core.data.readers.parquet import read_parquet
from mlp_core.data.readers.table import Table, concatenate
from mlp_core.data.readers.text_stream import peek_stdin
from mlp_core.errors import DataError

Source: TypeAlias = Table | Arrays
SMALL = 64 << 20  # bytes that always fit
FOREIGN = {
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"SQLi": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
}
PACKED = {
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x04\x22\x4d\x18": "an lz4 file",
    b"\x1f\x9d": "a file of compress (.Z)",
}


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


def read(where: Path | tuple[Path, Path], options: ReadOptions, names: Sequence[str] = ()) -> Source:
    """Read a table, a .npz file, or a pair (inputs, targets) of array files.

    names: columns that a header line, if there is one, should contain. Raises DataError with the place of what is
    wrong; no file is trusted, no code in it is run.
    """
    if isinstance(where, tuple):
        x, y = where
        x_kind, y_kind = (options.format if options.format in ("npy", "idx") else detect(path) for path in where)
        for path, kind in ((x, x_kind), (y, y_kind)):
            if kind not in ("npy", "idx"):
                hint = "for a table write its path and data.target instead of {x:, y:}"
                raise refusal(path, "not_arrays", "expected a .npy or IDX file of arrays", hint=hint)
        if options.memory != "ram" and (disk := _on_disk(x, x_kind, options)) is not None:
            targets = read_npy(y) if y_kind == "npy" else read_idx(y)
            return disk_pair(disk, targets, y, labels=y_kind == "idx" and targets.dtype.kind in "iu")
        arrays = [read_npy(path) if kind == "npy" else read_idx(path) for path, kind in ((x, x_kind), (y, y_kind))]
        return pair(arrays[0], arrays[1], x, y, labels=y_kind == "idx" and arrays[1].dtype.kind in "iu")
    if is_folder(where):
        return read_folder(where, _stays(where, options))
    kind = detect(where) if options.format == "auto" else options.format
    if kind == "npz":
        inputs, targets = read_npz(where, (options.x, options.y))
        return pair(inputs, targets, where, where)
    if kind == "jsonl":
        return read_jsonl(where, options.csv, options.text)
    if kind == "parquet":
        return read_parquet(where, options.csv, options.text)
    if kind == "libsvm":
        known = sum(re.fullmatch(r"x\d+", name) is not None for name in names)
        return read_libsvm(where, known or None, options.base)
    if kind in ("npy", "idx"):
        hint = f"write {{x: {shown(where)}, y: FILE}}"
        raise refusal(where, "not_a_table", "a single array; inputs and targets are two files", hint=hint)
    return read_csv(where, options.csv, "\t" if kind == "tsv" else None, names, options.text, options.progress)


def read_all(paths: Sequence[Path], options: ReadOptions, names: Sequence[str] = ()) -> Source:
    """Read one file, or several tables with the same columns as one.

    A column that is text in one of the files is read as text in all of them.
    """
    if len(paths) == 1:
        return read(paths[0], options, names)
    tables: list[Table] = []
    for path in paths:
        source = read(path, options, names)
        if isinstance(source, Arrays):
            hint = "give tables, or one file of arrays"
            raise refusal(path, "not_a_table", "arrays cannot be put together with other files", hint=hint)
        tables.append(source)
    text = {table.names[column] for table in tables for column in table.words} | set(options.text)
    for place, table in enumerate(tables):
        if text - {table.names[column] for column in table.words} & set(table.names):
            again = read(paths[place], replace(options, text=tuple(text)), names)
            assert isinstance(again, Table)
            tables[place] = again
    return concatenate(tables)


def _on_disk(x: Path, kind: str, options: ReadOptions) -> OnDisk | None:
    """The inputs left on the disk, if they are to be and can."""
    if options.memory == "memmap":
        if kind != "npy":
            raise refusal(x, "not_mappable", f"{kind} cannot stay on the disk", hint="write it with numpy.save")
        return OnDisk.open(x)
    if kind != "npy" or x.stat().st_size < SMALL:
        return None
    try:
        disk = OnDisk.open(x)
    except DataError:
        return None
    made = disk.size * disk.dtype.itemsize
    return None if fits(made, disk.size * options.itemsize) else disk


def _stays(where: Path, options: ReadOptions) -> bool:
    """Whether a converted table stays on the disk: in memory are its cells, the inputs, and those of the network."""
    if options.memory != "auto":
        return options.memory == "memmap"
    cells = table_size(where)
    return 8 * cells >= SMALL and not fits(16 * cells, options.itemsize * cells)


def detect(path: Path) -> str:
    """The format of a file, or of standard input: by its first bytes, for text by its name."""
    name = path.name.lower()
    if path != STDIN and head(path, 4).startswith((ZIP_MAGIC, b"PK\x05\x06")):
        if path.suffix.lower() in (".xlsx", ".ods", ".docx"):
            raise refusal(path, "foreign_format", "this is a spreadsheet", hint="export it as CSV")
        try:
            inside = members(path)
        except DataError:
            inside = []  # whoever reads it tells what is wrong
        if not inside or path.suffix.lower() == ".npz" or any(one.endswith(".npy") for one in inside):
            return "npz"
        name = inside[0].lower()
    name = next((name.removesuffix(end) for end in ENDS if name.endswith(end)), name)
    start = _start(path)
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise refusal(path, "foreign_format", f"this is {what}", hint="export it as CSV")
    for magic, what in PACKED.items():
        if start.startswith(magic):
            raise refusal(path, "foreign_format", f"this is {what}", hint="unpack it first")
    if start[257:262] == b"ustar":
        raise refusal(path, "foreign_format", "this is a tar archive", hint="unpack it first")
    if start.lstrip(b"\xef\xbb\xbf \r\n").lower().startswith(b"@relation") or path.suffix.lower() == ".arff":
        hint = "save it as CSV: the names of its @attribute lines, and below them what follows @data"
        raise refusal(path, "foreign_format", "this is an ARFF file, of Weka", hint=hint)
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(MAGIC):
        return "npy"
    if looks_like_idx(start):
        return "idx"
    if name.endswith((".jsonl", ".ndjson", ".json")) or start.lstrip(b"\xef\xbb\xbf \r\n").startswith(
        (b"{", b"[{", b"[\n", b"[\r", b"[ ")
    ):
        return "jsonl"
    if name.endswith((".libsvm", ".svm", ".svmlight")):
        return "libsvm"
    return "tsv" if name.endswith((".tsv", ".tab")) else "csv"


def _start(path: Path) -> bytes:
    """The first bytes, unpacked."""
    if path == STDIN:
        return peek_stdin(262)
    with open_binary(path, WANTED) as (stream, _):
        return stream.read(262)
